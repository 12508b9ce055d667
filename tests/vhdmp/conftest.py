"""What only a real Windows can show about its VHDMP driver, and whether this is one.

`python -m pytest -m vhdmp`, in a process that is run as administrator, runs every test here on
the real driver; it takes up to 10 GB at a time in the temporary folder. The same tests run on a
simulated one everywhere, so that they are known to work, but for those marked `only_real`.
"""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp.testing import SimulatedWindows
from tests.support import windows
from tests.support.files import FilePath
from tests.support.vhdx import HELPER

MIB: Final = 1 << 20

_MEANINGS: Final = {
    5: "it needs to be run as administrator",
    87: "this virtdisk.dll, such as Wine's, knows no virtual disks",
    120: "this virtdisk.dll, such as Wine's, has no virtual disks",
    1314: "it needs to be run as administrator",
}

_findings: Final[list[str]] = []


@pytest.fixture(scope="session")
def missing_vhdmp(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Why no disk can be attached here, found out by trying; empty if it can."""
    if sys.platform != "win32":
        return "needs Windows, with its VHDMP driver"
    if HELPER in os.environ:
        return "virtdisk.dll is simulated here"
    return why_not(tmp_path_factory.mktemp("vhdmp") / "probe.vhdx")


def why_not(path: os.PathLike[str]) -> str:
    """Try to create, open, attach and detach a disk; return what kept it from being done."""
    try:
        VirtualDisk.create_dynamic(path, 8 * MIB).close()
        with VirtualDisk.open(path) as disk:
            disk.attach_raw()
            disk.detach()
    except OSError as error:
        code = getattr(error, "winerror", None)
        meaning = _MEANINGS.get(code or 0, str(error))
        return f"no working VHDMP: {error.__notes__[0].removesuffix('.')}: {meaning}"
    return ""


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.vhdmp), "simulated"])
def machine(request: pytest.FixtureRequest) -> Iterator[SimulatedWindows | None]:
    """A Windows with VHDMP to run on, one after the other: the real one (None), and a simulation.

    What the simulation does not have yet is skipped, and says so.
    """
    if request.param == "real":
        if reason := request.getfixturevalue("missing_vhdmp"):
            pytest.skip(reason)
        yield None
    else:
        seed = zlib.crc32(request.node.name.encode())
        with windows.simulated(seed) as simulation, windows.vhdmp():
            yield simulation


@pytest.fixture
def tmp_path(tmp_path: FilePath) -> Iterator[FilePath]:
    """A folder on the machine of the test, which is not kept: real disks are large."""
    yield tmp_path
    if isinstance(tmp_path, Path):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test that gets to a function which the simulation does not have."""
    try:
        return (yield)
    except AttributeError as error:
        if str(error).startswith("the simulated Windows has no "):
            pytest.skip(str(error))
        raise


@pytest.fixture
def found(
    request: pytest.FixtureRequest, machine: SimulatedWindows | None
) -> Callable[[str], None]:
    """Note what the real Windows does where nothing says what it should: it ends the report."""

    def note(what: str) -> None:
        request.node.user_properties.append(("found", what))
        if machine is None:
            _findings.append(f"{request.node.name}: {what}")

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was found out about the real Windows."""
    if _findings:
        terminalreporter.section("found out about this Windows")
        for finding in _findings:
            terminalreporter.line(finding)
