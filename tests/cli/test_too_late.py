"""Ctrl+C that comes when the kernel has just done what it was to cancel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvhdmp import Operation, VirtualDisk
from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows

MIB = 1 << 20


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedWindows]:
    real = Operation._wait

    def wait(self: Operation[object], timeout: float | None) -> None:
        real(self, None)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with SimulatedWindows() as machine:  # which ends with an error if a handle is left open
        machine.files["source.img"] = b"\x11" * (4 * MIB)
        VirtualDisk.create_dynamic("C:\\parent.vhdx", 4 * MIB).close()
        VirtualDisk.create_differencing("C:\\child.vhdx", "C:\\parent.vhdx").close()
        monkeypatch.setattr(Operation, "_wait", wait)
        yield machine


@pytest.mark.parametrize("what", [["4M", "--type", "fixed"], ["--from", "C:\\parent.vhdx"]])
def test_what_was_made_is_unmade(
    machine: SimulatedWindows, capsys: pytest.CaptureFixture[str], what: list[str]
) -> None:
    before = sorted(machine.files)
    assert main(["create", "C:\\new.vhdx", *what]) == 130
    line = "pyvhdmp: interrupted: create was cancelled; no file is left\n"
    assert capsys.readouterr() == ("", line)
    assert sorted(machine.files) == before


def test_a_copy_that_was_only_allocated_is_unmade(machine: SimulatedWindows) -> None:
    before = sorted(machine.files)
    arguments = ["copy", "C:\\source.img", "C:\\new.vhdx", "--type", "fixed"]
    assert main(arguments) == 130
    assert sorted(machine.files) == before


def test_a_merge_that_is_done_says_who_holds_the_content(
    machine: SimulatedWindows, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "C:\\child.vhdx", "--delete"]) == 130
    line = "merge was already done; C:\\parent.vhdx holds the content"
    assert capsys.readouterr() == ("", f"pyvhdmp: interrupted: {line}\n")
    assert "child.vhdx" in machine.files  # nothing was deleted after Ctrl+C
