"""Power cuts: what was flushed is there, and of the rest there is any part."""

from __future__ import annotations

import pytest

from pyvhdmp import open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows, SimulationError
from tests.testing.program import Overlapped, Program

OLD, NEW, NEWER = b"o" * 4096, b"n" * 4096, b"N" * 4096
SEEDS = range(60)


def after_power_cut(seed: int, *, flushed: bool) -> bytes:
    """Write NEW over OLD, flush it or not, write NEWER, cut the power; return what is there."""
    with SimulatedWindows(seed) as windows, Program(windows) as program:
        windows.files["disk.img"] = OLD
        handle = program.open("disk.img")
        program.put(handle, 0, NEW)
        if flushed:
            assert program.flush(handle) == 0
            program.put(handle, 0, NEWER)
        windows.power_cut()
        return windows.files["disk.img"]


def sectors(content: bytes) -> list[bytes]:
    return [content[start : start + 512] for start in range(0, len(content), 512)]


def test_what_was_flushed_survives_a_power_cut() -> None:
    for seed in SEEDS:
        left = after_power_cut(seed, flushed=True)
        assert all(sector in (NEW[:512], NEWER[:512]) for sector in sectors(left))


def test_what_was_not_flushed_is_lost_in_any_part() -> None:
    outcomes = {after_power_cut(seed, flushed=False) for seed in SEEDS}
    assert {OLD, NEW} < outcomes
    for left in outcomes:
        assert all(sector in (OLD[:512], NEW[:512]) for sector in sectors(left))


def test_what_the_cache_has_no_room_for_is_on_the_medium() -> None:
    for seed in range(10):
        with SimulatedWindows(seed, cache_size=4096) as windows, Program(windows) as program:
            windows.files["disk.img"] = OLD * 4
            handle = program.open("disk.img")
            for place in range(4):
                program.put(handle, place * 4096, NEW)
            windows.power_cut()
            assert windows.files["disk.img"][: 3 * 4096] == NEW * 3


def test_names_that_were_not_flushed_are_lost_from_the_last_on() -> None:
    outcomes = set()
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            for name in ("a", "b", "c"):
                program.close(program.create(name, disposition=constants.CREATE_NEW)[0])
            windows.power_cut()
            outcomes.add("".join(path[-1] for path in windows.files))
    assert outcomes == {"", "a", "ab", "abc"}


def test_a_flush_of_any_file_carries_the_names_over() -> None:
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            windows.files["old"] = windows.files["gone"] = b"x"
            handle, _ = program.create("new", disposition=constants.CREATE_NEW)
            program.put(handle, 0, NEW)
            program.kernel32.DeleteFileW("gone")
            program.kernel32.MoveFileExW("old", "renamed", 0)
            program.flush(handle)
            windows.power_cut()
            assert set(windows.files) == {"C:\\new", "C:\\renamed"}
            assert windows.files["new"] == NEW


@pytest.mark.parametrize("write_through", [True, False])
def test_a_rename_is_kept_for_sure_if_it_is_written_through(write_through: bool) -> None:
    flags = constants.MOVEFILE_REPLACE_EXISTING
    if write_through:
        flags |= constants.MOVEFILE_WRITE_THROUGH
    outcomes = set()
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            windows.files["partial"], windows.files["target"] = b"new", b"old"
            assert program.kernel32.MoveFileExW("partial", "target", flags)
            windows.power_cut()
            outcomes.add((windows.files["target"], "partial" in windows.files))
    renamed, not_yet = (b"new", False), (b"old", True)
    assert outcomes == ({renamed} if write_through else {renamed, not_yet})


def test_a_deleted_file_may_come_back() -> None:
    outcomes = set()
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            windows.files["file"] = b"x"
            assert program.kernel32.DeleteFileW("file")
            assert "file" not in windows.files
            windows.power_cut()
            outcomes.add("file" in windows.files)
    assert outcomes == {True, False}


def test_what_is_in_flight_fails_and_what_is_open_can_only_be_closed(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512)
    program.machine.power_cut()
    gone = constants.ERROR_DEVICE_NOT_CONNECTED
    assert program.windows.ntdll.RtlNtStatusToDosError(overlapped.result[0]) == gone
    assert program.begin("ReadFile", handle, block.address, 512, Overlapped()) == gone
    assert program.failure(program.kernel32.GetFileSizeEx(handle, block.address)) == gone
    assert program.flush(handle) >= 0xC0000000
    assert program.close(handle) == 0
    assert program.create("disk.img")[1] == 0
    assert program.machine.power_cuts == 1


def test_without_power_nothing_can_be_opened(program: Program) -> None:
    program.machine.power_cut(restart=False)
    assert program.create("disk.img")[1] == constants.ERROR_NOT_READY
    program.machine.restart()
    assert program.create("disk.img")[1] == 0


def test_a_fua_write_survives_as_disks_promise() -> None:
    for seed in range(20):
        with SimulatedWindows(seed) as windows:
            windows.files["disk.img"] = bytes(1 << 20)
            with open_disk("disk.img") as disk:
                futures = [disk.write(sector, b"\x55" * 512, fua=True) for sector in range(10)]
                done = [number for number, f in enumerate(futures) if f.result(30) is None]
                disk.write(100, b"\x66" * 512).result(30)
                windows.power_cut()
                for number in done:
                    assert windows.files["disk.img"][number * 512] == 0x55


def test_what_is_written_to_a_file_that_was_cut_survives_when_it_was_flushed() -> None:
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            windows.files["disk.img"] = OLD
            handle, code = program.create("disk.img", disposition=constants.CREATE_ALWAYS)
            assert code == 0
            program.put(handle, 0, NEW)
            assert program.flush(handle) == 0
            windows.power_cut()
            assert windows.files["disk.img"] == NEW


def test_a_file_that_is_put_in_is_on_the_medium_at_once() -> None:
    for seed in SEEDS:
        with SimulatedWindows(seed) as windows, Program(windows) as program:
            handle, _ = program.create("disk.img", disposition=constants.CREATE_NEW)
            program.close(handle)
            windows.files["disk.img"] = NEW
            windows.power_cut()
            assert windows.files["disk.img"] == NEW


def cut_the_power_over_memory_that_is_gone(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Program(windows) as program:
        windows.files["disk.img"] = OLD
        memory = Block(PAGE_SIZE)
        handle = program.open("disk.img")
        program.begin_pending("WriteFile", handle, memory.address, PAGE_SIZE)
        memory.memory.close()
        windows.power_cut()


def test_a_power_cut_reports_memory_that_was_let_go_and_reads_none_of_it() -> None:
    for seed in SEEDS:
        with pytest.raises(SimulationError, match="was released"):
            cut_the_power_over_memory_that_is_gone(seed)


def test_sectors_are_not_torn() -> None:
    for seed in SEEDS:
        with SimulatedWindows(seed, sector_size=4096) as windows, Program(windows) as program:
            windows.files["disk.img"] = OLD
            program.put(program.open("disk.img"), 0, NEW)
            windows.power_cut()
            assert windows.files["disk.img"] in (OLD, NEW)
