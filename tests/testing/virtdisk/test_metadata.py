"""The metadata of a VHDX."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from pyvhdmp.buffers import Block
from pyvhdmp.testing import SimulatedWindows, SimulationError
from tests.testing.virtdisk.disks import MIB, VHD, Disks

A = "C:\\a.vhdx"
FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


class Items:
    """Calls of the four functions on a handle."""

    def __init__(self, disks: Disks, handle: int) -> None:
        self.virtdisk, self.handle = disks.virtdisk, handle

    def ids(self, room: int = 16) -> tuple[int, list[uuid.UUID]]:
        count, items = v.ULONG_CELL(room), (v.GUID * 16)()
        code = self.virtdisk.EnumerateVirtualDiskMetadata(
            self.handle, address_of(count), address_of(items[0])
        )
        return code, [item.uuid() for item in items[: count.Value]]

    def set(self, item: uuid.UUID, data: bytes) -> int:
        block, guid = Block(2 * MIB), v.GUID.of(item)
        block.memory[: len(data)] = data
        return self.virtdisk.SetVirtualDiskMetadata(
            self.handle, address_of(guid), len(data), block.address
        )

    def get(self, item: uuid.UUID, room: int = 2 * MIB) -> tuple[int, bytes]:
        block, guid, size = Block(2 * MIB), v.GUID.of(item), v.ULONG_CELL(room)
        code = self.virtdisk.GetVirtualDiskMetadata(
            self.handle, address_of(guid), address_of(size), block.address
        )
        return code, bytes(block.memory[: size.Value])

    def delete(self, item: uuid.UUID) -> int:
        guid = v.GUID.of(item)
        return self.virtdisk.DeleteVirtualDiskMetadata(self.handle, address_of(guid))


def test_items_are_kept_and_told_and_taken_away(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    items = Items(disks, handle)
    assert items.ids() == (0, [])
    assert items.set(SECOND, b"two") == 0
    assert items.set(FIRST, b"1" * 100_000) == 0
    assert items.set(SECOND, b"") == 0
    disks.close(handle)
    items = Items(disks, disks.open(A))
    assert items.ids() == (0, [FIRST, SECOND])
    assert items.get(FIRST) == (0, b"1" * 100_000)
    assert items.get(SECOND) == (0, b"")
    assert items.delete(FIRST) == 0
    assert items.ids() == (0, [SECOND])


def test_the_disk_beside_them_stays_what_it_is(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    disks.fill(A, 4 * MIB - 512, b"\x11" * 512)
    handle = disks.open(A)
    for size in (10, 500_000, 1):
        assert Items(disks, handle).set(FIRST, bytes(size)) == 0
        assert disks.resize(handle, disks.size(handle) + MIB) == 0
    disks.close(handle)
    assert disks.content(A, 4 * MIB - 512, MIB) == b"\x11" * 512 + bytes(MIB - 512)


def test_no_room_is_said_in_either_way() -> None:
    codes = set()
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            items = Items(disks, disks.create(A, 4 * MIB))
            assert items.set(FIRST, b"one") == 0
            assert items.set(SECOND, b"two") == 0
            codes |= {items.ids(1)[0], items.ids(0)[0], items.get(FIRST, 2)[0]}
            assert items.get(FIRST, 3)[0] == 0
    assert codes == {122, 234}


def test_what_is_not_there_cannot_be_had(disks: Disks) -> None:
    items = Items(disks, disks.create(A, 4 * MIB))
    assert items.get(FIRST)[0] == 1168
    assert items.delete(FIRST) == 1168


def test_what_is_too_large_or_too_many_is_refused(disks: Disks) -> None:
    items = Items(disks, disks.create(A, 4 * MIB))
    assert items.set(FIRST, bytes(MIB)) == 0
    assert items.set(FIRST, bytes(MIB + 1)) == 87


def test_it_wants_a_vhdx_and_a_handle_of_version_2(disks: Disks) -> None:
    vhd = Items(disks, disks.create("C:\\a.vhd", 4 * MIB, device=VHD))
    assert (vhd.ids()[0], vhd.get(FIRST)[0], vhd.set(FIRST, b""), vhd.delete(FIRST)) == (50,) * 4
    disks.make(A, 4 * MIB)
    old = disks.open(A, version=1, mask=enums.VIRTUAL_DISK_ACCESS.ALL)
    first = Items(disks, old)
    assert (first.ids()[0], first.set(FIRST, b"")) == (87, 87)
    disks.close(old)
    reader = Items(disks, disks.open(A, read_only=True))
    assert (reader.ids()[0], reader.set(FIRST, b""), reader.delete(FIRST)) == (0, 5, 5)


@contextmanager
def reported(problem: str) -> Iterator[Disks]:
    """Expect what is done in a with block to be reported at its end."""
    with pytest.raises(SimulationError, match=problem), SimulatedWindows() as windows:
        yield Disks(windows)


def test_memory_that_is_not_there_is_reported() -> None:
    with reported("was given 0x1000, where there is no memory") as disks, disks:
        handle, guid = disks.create(A, 4 * MIB), v.GUID.of(FIRST)
        set_item = disks.virtdisk.SetVirtualDiskMetadata
        assert set_item(handle, address_of(guid), 100, 0x1000) == 998
