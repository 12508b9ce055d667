"""Change tracking."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.virtdisk.disks import MIB, VHD, Disks

GET = enums.GET_VIRTUAL_DISK_INFO_VERSION
SET = enums.SET_VIRTUAL_DISK_INFO_VERSION
A, UNIT = "C:\\a.vhdx", 64 << 10


def track(disks: Disks, handle: int, *, enabled: bool = True) -> int:
    asked = v.SET_VIRTUAL_DISK_INFO(Version=SET.CHANGE_TRACKING_STATE)
    asked.ChangeTrackingEnabled = enabled
    return disks.virtdisk.SetVirtualDiskInformation(handle, address_of(asked))


def state(disks: Disks, handle: int) -> tuple[bool, bool, str]:
    """Return whether changes are tracked, whether there are newer ones, and the id."""
    block, size, used = Block(PAGE_SIZE), v.ULONG_CELL(PAGE_SIZE), v.ULONG_CELL()
    info = v.GET_VIRTUAL_DISK_INFO.from_buffer(block.memory)
    info.Version = GET.CHANGE_TRACKING_STATE
    ask = disks.virtdisk.GetVirtualDiskInformation
    assert ask(handle, address_of(size), block.address, address_of(used)) == 0
    found = info.ChangeTrackingState
    text = wide_text(block.memory[v.MOST_RECENT_ID_AT : used.Value])
    return bool(found.Enabled), bool(found.NewerChanges), text


def query(
    disks: Disks, handle: int, since: str, offset: int = 0, length: int = 8 * MIB, room: int = 16
) -> tuple[int, list[tuple[int, int]], int]:
    """Return the code, the ranges, and the bytes processed."""
    ranges, processed = (v.QUERY_CHANGES_VIRTUAL_DISK_RANGE * 16)(), v.ULONG64_CELL()
    count = v.ULONG_CELL(room)
    code = disks.virtdisk.QueryChangesVirtualDisk(
        handle,
        since,
        offset,
        length,
        0,
        address_of(ranges[0]),
        address_of(count),
        address_of(processed),
    )
    found = [(each.ByteOffset, each.ByteLength) for each in ranges[: count.Value]]
    return code, found if code == 0 else [], processed.Value


def tracked(disks: Disks) -> tuple[int, str]:
    """Return a handle to a disk that is tracked and attached, and its id."""
    handle = disks.create(A, 8 * MIB)
    assert track(disks, handle) == 0
    assert disks.attach(handle) == 0
    return handle, state(disks, handle)[2]


def test_nothing_is_known_before_it_is_switched_on(disks: Disks) -> None:
    handle = disks.create(A, 8 * MIB)
    assert state(disks, handle) == (False, False, "")
    assert query(disks, handle, "x")[0] == constants.ERROR_VHD_CHANGE_TRACKING_DISABLED
    assert track(disks, handle) == 0
    enabled, newer, name = state(disks, handle)
    assert (enabled, newer, name[:5]) == (True, False, "rctX:")
    assert track(disks, handle) == 0
    assert state(disks, handle)[2] == name
    assert track(disks, handle, enabled=False) == 0
    assert state(disks, handle) == (False, False, "")


def test_what_was_written_is_told_in_units_and_in_order(disks: Disks) -> None:
    handle, name = tracked(disks)
    for at in (3 * MIB, UNIT, 2 * UNIT, 6 * UNIT + 512):
        assert disks.put(handle, at, b"\x11" * 512) == 0
    assert state(disks, handle)[1]
    expected = [(UNIT, 2 * UNIT), (6 * UNIT, UNIT), (3 * MIB, UNIT)]
    assert query(disks, handle, name) == (0, expected, 8 * MIB)
    assert query(disks, handle, name, UNIT + 512, UNIT) == (0, [(UNIT + 512, UNIT)], UNIT)
    assert query(disks, handle, name, 4 * MIB, 4 * MIB) == (0, [], 4 * MIB)


def test_who_has_little_room_asks_again_from_where_it_got_to(disks: Disks) -> None:
    handle, name = tracked(disks)
    for at in range(0, 10 * UNIT, 2 * UNIT):
        assert disks.put(handle, at, bytes(512)) == 0
    found, at = [], 0
    while at < 8 * MIB:
        code, ranges, done = query(disks, handle, name, at, 8 * MIB - at, room=2)
        assert code == 0
        assert done > 0
        found += ranges
        at += done
    assert found == [(at, UNIT) for at in range(0, 10 * UNIT, 2 * UNIT)]


def test_ids_follow_one_another_and_outlive_their_handles(disks: Disks) -> None:
    handle, first = tracked(disks)
    assert disks.put(handle, 0, bytes(512)) == 0
    disks.close(handle)
    handle = disks.open(A)
    assert disks.attach(handle) == 0
    enabled, newer, second = state(disks, handle)
    assert (enabled, newer) == (True, False)
    assert second != first
    assert disks.put(handle, MIB, bytes(512)) == 0
    assert query(disks, handle, first)[1] == [(0, UNIT), (MIB, UNIT)]
    assert query(disks, handle, second)[1] == [(MIB, UNIT)]
    disks.close(handle)
    reader = disks.open(A, read_only=True)
    assert state(disks, reader) == (True, True, second)
    assert query(disks, reader, first)[1] == [(0, UNIT), (MIB, UNIT)]


def test_after_a_power_cut_no_id_is_known_that_may_miss_something() -> None:
    for seed in range(5):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, first = tracked(disks)
            disks.close(handle)
            windows.power_cut()
            handle = disks.open(A)
            assert query(disks, handle, first)[0] == 0  # nothing was written
            assert disks.attach(handle) == 0
            assert disks.put(handle, 0, bytes(512)) == 0
            windows.power_cut()
            disks.close(handle)
            handle = disks.open(A)
            code = constants.ERROR_VHD_INVALID_CHANGE_TRACKING_ID
            assert query(disks, handle, first)[0] == code
            enabled, _, name = state(disks, handle)
            assert enabled
            assert query(disks, handle, name)[1] == []


def test_what_a_merge_writes_is_a_change_of_the_parent(disks: Disks) -> None:
    handle, name = tracked(disks)
    disks.close(handle)
    disks.make("C:\\c.vhdx", parent=A)
    disks.fill("C:\\c.vhdx", MIB, b"\x11" * 512)
    handle = disks.open("C:\\c.vhdx")
    assert disks.merge(handle) == 0
    disks.close(handle)
    parent = disks.open(A, read_only=True)
    assert query(disks, parent, name)[1] == [(MIB, UNIT)]


def test_what_is_asked_wrongly_is_refused(disks: Disks) -> None:
    handle, name = tracked(disks)
    code = constants.ERROR_VHD_INVALID_CHANGE_TRACKING_ID
    assert query(disks, handle, name + "0")[0] == code
    assert query(disks, handle, name, 0, 0)[0] == 87
    assert query(disks, handle, name, 8 * MIB, 1)[0] == 87
    assert query(disks, handle, name, 0, 8 * MIB + 1)[0] == 87
    assert query(disks, handle, name, room=0)[0] == 87


@pytest.mark.parametrize("enabled", [True, False])
def test_a_vhd_cannot_be_tracked(disks: Disks, enabled: bool) -> None:
    handle = disks.create("C:\\a.vhd", 8 * MIB, device=VHD)
    assert track(disks, handle, enabled=enabled) == 50
