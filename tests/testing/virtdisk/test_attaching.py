"""AttachVirtualDisk, its lifetimes and ranges, and the drives that come of it."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp._win32.virtdisk_structures import ATTACH_VIRTUAL_DISK_PARAMETERS, ULONG_CELL
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.virtdisk.disks import MIB, PENDING, RAW, Disks

ATTACH = enums.ATTACH_VIRTUAL_DISK_FLAG
A, B = "C:\\a.vhdx", "C:\\b.vhdx"


def paths(disks: Disks, room: int = PAGE_SIZE) -> tuple[int, int, list[str]]:
    """Return the code, the size, and the drives that are virtual disks."""
    block, size = Block(PAGE_SIZE), ULONG_CELL(room)
    code = disks.virtdisk.GetAllAttachedVirtualDiskPhysicalPaths(address_of(size), block.address)
    text = bytes(block.memory[: size.Value]).decode("utf-16-le")
    return code, size.Value, text.split("\0")


def test_attaching_with_an_overlapped_is_over_at_once_or_later() -> None:
    codes = set()
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create(A, 4 * MIB), disks.overlapped()
            attach = disks.virtdisk.AttachVirtualDisk
            codes.add(attach(handle, 0, RAW, 0, 0, overlapped.address))
            assert disks.result(handle, overlapped) == 0
            assert disks.put(handle, 0, bytes(512)) == 0
    assert codes == {0, PENDING}


def test_an_attachment_that_is_cancelled_is_none() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create(A, 4 * MIB), disks.overlapped()
            attach = disks.virtdisk.AttachVirtualDisk
            if attach(handle, 0, RAW, 0, 0, overlapped.address) == PENDING:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
            code = disks.result(handle, overlapped)
            detached = disks.virtdisk.DetachVirtualDisk(handle, 0, 0)
            assert (code, detached) in ((0, 0), (995, constants.ERROR_NOT_READY))


def test_a_permanent_attachment_outlives_its_handle(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    assert disks.attach(handle, ATTACH.PERMANENT_LIFETIME) == 0
    disks.close(handle)
    assert not disks.machine.open_handles
    assert paths(disks)[2][0] == "\\\\.\\PhysicalDrive1"
    assert disks.opened(A)[0] == 32  # it is in use
    with pytest.raises(ValueError, match="is open"):
        del disks.machine.files["a.vhdx"]
    later = disks.open(A, info_only=True)
    assert disks.info(later, enums.GET_VIRTUAL_DISK_INFO_VERSION.IS_LOADED).IsLoaded
    assert disks.virtdisk.DetachVirtualDisk(later, 0, 0) == 0
    assert disks.virtdisk.DetachVirtualDisk(later, 0, 0) == constants.ERROR_NOT_READY
    disks.open(A)


def test_a_permanent_attachment_does_not_outlive_a_power_cut(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    assert disks.attach(handle, ATTACH.PERMANENT_LIFETIME) == 0
    disks.close(handle)
    disks.machine.power_cut()
    assert disks.attach(disks.open(A)) == 0


def test_detaching_fails_what_is_in_flight_on_every_handle(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    first, second = disks.open(A, guid=1), disks.open(A, guid=1)
    assert disks.attach(first) == 0
    assert disks.virtdisk.DetachVirtualDisk(second, 1, 0) == 87
    assert disks.virtdisk.DetachVirtualDisk(second, 0, 0) == 0
    block = Block(PAGE_SIZE)
    assert disks.transfer("ReadFile", first, 0, block, 512) == 1


def test_a_range_of_a_disk_can_be_attached(disks: Disks) -> None:
    disks.make(A, 8 * MIB)
    disks.fill(A, MIB, b"\x11" * 512)
    handle = disks.open(A)
    asked = ATTACH_VIRTUAL_DISK_PARAMETERS(Version=2)
    asked.Version2.RestrictedOffset, asked.Version2.RestrictedLength = MIB, 2 * MIB
    flags = RAW | ATTACH.RESTRICTED_RANGE
    for offset, length in ((1, 512), (0, 511), (0, 0), (8 * MIB, 512), (0, 9 * MIB)):
        bad = ATTACH_VIRTUAL_DISK_PARAMETERS(Version=2)
        bad.Version2.RestrictedOffset, bad.Version2.RestrictedLength = offset, length
        assert disks.attach(handle, flags, address_of(bad)) == 87
    assert disks.attach(handle, flags, address_of(asked)) == 0
    assert disks.get(handle, 0, 512) == b"\x11" * 512
    block = Block(PAGE_SIZE)
    assert disks.transfer("ReadFile", handle, 2 * MIB, block, 512) == 27
    assert disks.size(handle) == 8 * MIB


def test_flags_that_are_none_are_refused(disks: Disks) -> None:
    assert disks.attach(disks.create(A, 4 * MIB), 0x1000) == 87


def test_all_drives_are_told_in_bytes_of_a_multi_sz(disks: Disks) -> None:
    assert paths(disks) == (0, 2, ["", ""])
    for path, flags in ((A, 0), (B, ATTACH.NO_DRIVE_LETTER), ("C:\\c.vhdx", RAW)):
        assert disks.attach(disks.create(path, 4 * MIB), flags) == 0
    code, size, drives = paths(disks)
    assert (code, drives) == (0, ["\\\\.\\PhysicalDrive1", "\\\\.\\PhysicalDrive2", "", ""])
    assert paths(disks, size - 1)[:2] == (constants.ERROR_INSUFFICIENT_BUFFER, size)


def test_a_drive_is_opened_by_its_name_and_reads_the_disk(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    disks.fill(A, 0, b"\x11" * 512)
    handle = disks.open(A)
    assert disks.attach(handle, 0) == 0
    block, size = Block(PAGE_SIZE), ULONG_CELL(PAGE_SIZE)
    path = disks.virtdisk.GetVirtualDiskPhysicalPath
    assert path(handle, address_of(size), block.address) == 0
    drive = disks.drive(wide_text(block.memory[: size.Value]))
    assert disks.get(drive, 0, 512) == b"\x11" * 512
    assert disks.put(drive, 0, b"\x22" * 512) == 0
    assert disks.get(handle, 0, 512) == b"\x22" * 512
    assert disks.virtdisk.DetachVirtualDisk(handle, 0, 0) == 0
    assert disks.transfer("ReadFile", drive, 0, block, 512) == 1167
