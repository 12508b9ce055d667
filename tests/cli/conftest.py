"""A simulated Windows with VHDMP, and a way to run commands on it."""

from __future__ import annotations

import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest

from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows

MIB = 1 << 20


class Done(NamedTuple):
    """What a command came to."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        """Its output, as JSON on one line."""
        assert (self.code, self.errors) == (0, "")
        assert self.output.count("\n") == 1
        result: dict[str, Any] = json.loads(self.output)
        return result

    @property
    def text(self) -> str:
        """Its output, if it was done."""
        assert (self.code, self.errors) == (0, "")
        return self.output

    @property
    def error(self) -> str:
        """The one line that it failed with."""
        assert (self.code, self.output) == (1, "")
        assert self.errors.count("\n") == 1
        assert self.errors.startswith("pyvhdmp: ")
        return self.errors.removeprefix("pyvhdmp: ").rstrip("\n")

    @property
    def interruption(self) -> str:
        """The one line that it was interrupted with."""
        assert (self.code, self.output) == (130, "")
        assert self.errors.count("\n") == 1
        assert self.errors.startswith("pyvhdmp: interrupted: ")
        return self.errors.removeprefix("pyvhdmp: interrupted: ").rstrip("\n")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


Run: TypeAlias = Callable[..., Done]


@pytest.fixture
def vhdmp(request: pytest.FixtureRequest) -> Iterator[SimulatedWindows]:
    """A simulated Windows with a driver for virtual disks, and a seed of the test's own."""
    with SimulatedWindows(zlib.crc32(request.node.name.encode())) as simulation:
        yield simulation


@pytest.fixture
def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where rich is not installed."""
    monkeypatch.setitem(sys.modules, "rich.console", None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command: ``run("create", "disk.vhdx", "10G")``."""

    def run(*arguments: str) -> Done:
        code = main(list(arguments))
        output, errors = capsys.readouterr()
        return Done(code, output, errors)

    return run
