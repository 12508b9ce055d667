"""A compaction that is watched ends, or is cancelled, and the disk is whole in any case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from pyvhdmp import Operation, VirtualDisk, open_disk
from pyvhdmp.testing import SimulatedWindows
from tests.examples import watch_compact
from tests.support import windows
from tests.support.files import FilePath

MIB: Final = 1 << 20
SEEDS: Final = range(15)
"""With some of which the kernel is faster than who cancels, and with some not."""


def make_disk(path: FilePath | str) -> None:
    """Make a dynamic disk of 8 MiB, with 2 MiB of content and then 2 MiB of zeros."""
    VirtualDisk.create_dynamic(path, 8 * MIB, block_size=MIB).close()
    with open_disk(path) as disk:
        disk.write(0, b"\x01" * 4 * MIB).result()
        disk.write(2 * MIB // 512, bytes(2 * MIB)).result()


def content(path: FilePath | str) -> bytes:
    with open_disk(path, read_only=True) as disk:
        return disk.read(0, 4 * MIB // 512).result()


def outcomes(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[str, int, bool]]:
    """Yield what a Windows of each seed comes to: what is said, the exit code, if it is smaller."""
    for seed in SEEDS:
        with SimulatedWindows(seed):
            make_disk("a.vhdx")
            before = watch_compact.file_size("a.vhdx")
            code = watch_compact.main(["a.vhdx", *arguments])
            after = watch_compact.file_size("a.vhdx")
            said, state = capsys.readouterr().out.split(": ", 1)
            assert state == f"a.vhdx is whole, and takes {after} bytes (before: {before})\n"
            assert content("a.vhdx") == b"\x01" * 2 * MIB + bytes(2 * MIB)
            yield said, code, after < before


def test_a_compaction_comes_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(outcomes([], capsys)) == {("done", 0, True)}


def test_it_is_not_cancelled_before_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(outcomes(["--timeout", "600"], capsys)) == {("done", 0, True)}


def test_when_its_time_is_over_it_is_cancelled_unless_it_is_faster(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = set(outcomes(["--timeout", "0"], capsys))
    assert seen == {("out of time", 124, False), ("done", 0, True)}


def test_ctrl_c_cancels_it_and_tells_if_that_came_too_late(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(line: str) -> None:
        if line:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch_compact, "show", interrupted)
    seen = set(outcomes([], capsys))
    assert ("interrupted", 130, False) in seen
    assert ("interrupted when it was done", 130, True) in seen
    assert seen <= {
        ("interrupted", 130, False),
        ("interrupted when it was done", 130, True),
        ("done", 0, True),  # before there was anything to show
    }


def test_progress_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    follow = Operation.follow

    def watched(self: Operation[None], report: Callable[[int, int], None]) -> None:
        for progress in [(0, 0), (0, 8), (3, 8), (8, 8)]:
            report(*progress)
        follow(self)

    monkeypatch.setattr(Operation, "follow", watched)
    monkeypatch.setattr(watch_compact, "show", shown.append)
    with SimulatedWindows(seed=1):
        make_disk("a.vhdx")
        assert watch_compact.main(["a.vhdx"]) == 0
    lines = [f"compacting a.vhdx: {percent} %" for percent in (0, 0, 37, 100)]
    assert shown == [*lines, ""]


@pytest.mark.usefixtures("machine")
def test_it_says_what_is_wrong(tmp_path: FilePath, capsys: pytest.CaptureFixture[str]) -> None:
    with windows.vhdmp():
        fixed, missing = tmp_path / "fixed.vhdx", tmp_path / "missing.vhdx"
        VirtualDisk.create_fixed(fixed, 8 * MIB).close()
        for path in (fixed, missing):
            assert watch_compact.main([str(path)]) == 1
            said, *notes = capsys.readouterr().err.splitlines()
            assert path.name in said
            assert "failed with Windows error" in notes[0]
