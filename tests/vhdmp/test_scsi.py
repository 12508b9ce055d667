"""SCSI commands to disks of a real driver, and what unmapping does to their content."""

from __future__ import annotations

import struct

import pytest

from pyvhdmp import ScsiError, UnmapBehavior, VhdmpDisk, VirtualDisk, VirtualDiskType
from pyvhdmp._win32 import Handle, constants, current
from pyvhdmp._win32 import virtdisk_enums as enums
from tests.support.files import FilePath
from tests.vhdmp.helpers import MIB, SECONDS, Found, aligned, code_of, opened, pattern

pytestmark = pytest.mark.usefixtures("machine")

SIZE = 64 * MIB
INQUIRY = struct.pack(">BBBHB", 0x12, 0, 0, 96, 0)
CAPACITY_16 = struct.pack(">BBQIBB", 0x9E, 0x10, 0, 32, 0, 0)


def page(number: int) -> bytes:
    return struct.pack(">BBBHB", 0x12, 1, number, 252, 0)


def make(path: FilePath, disk_type: VirtualDiskType) -> None:
    if disk_type is VirtualDiskType.FIXED:
        VirtualDisk.create_fixed(path, SIZE).close()
    elif path.name.endswith(".vhd"):
        VirtualDisk.create_dynamic(path, SIZE).close()
    else:
        VirtualDisk.create_dynamic(path, SIZE, block_size=MIB).close()


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.vhdx"
    make(path, VirtualDiskType.DYNAMIC)
    return path


# -- Commands ---------------------------------------------------------------------


def test_a_handle_of_version_2_and_a_mask_of_none_takes_commands(
    path: FilePath, found: Found
) -> None:
    """The one public example has a handle of version 1 with a mask of ALL."""
    codes = {}
    for version, mask in ((2, enums.VIRTUAL_DISK_ACCESS.NONE), (1, enums.VIRTUAL_DISK_ACCESS.ALL)):
        code, handle = opened(path, version=version, mask=int(mask))
        assert code == 0
        with VirtualDisk(current(), Handle(handle), str(path)) as disk:
            disk.attach_raw()
            codes[version] = code_of(lambda disk=disk: disk.raw_scsi(INQUIRY, length=96))  # type: ignore[misc]  # its default
    found(f"errors by version: {codes}")
    assert codes[2] == 0


def test_inquiry_names_a_disk(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        data = disk.raw_scsi(INQUIRY, length=96).check()
    found(f"it calls itself {data[8:36]!r}")
    assert data[0] & 0x1F == 0
    assert len(data) >= 36


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_read_capacity_tells_size_and_sectors(tmp_path: FilePath, sector_size: int) -> None:
    path = tmp_path / "disk.vhdx"
    with VirtualDisk.create_dynamic(path, SIZE, sector_size=sector_size) as disk:
        disk.attach_raw()
        data = disk.raw_scsi(CAPACITY_16, length=32).check()
        last, size = struct.unpack_from(">QI", data)
        assert ((last + 1) * size, size) == (SIZE, sector_size)


def test_what_is_written_by_command_is_read_by_the_data_path_and_the_other_way_round(
    path: FilePath,
) -> None:
    with VhdmpDisk.open(path) as data:
        disk = VirtualDisk(data.port.windows, Handle(data._file.handle), data.path)
        try:
            write = struct.pack(">BBIBHB", 0x2A, 0, 8, 0, 8, 0)
            disk.raw_scsi(write, data=pattern(4096)).check()
            assert data.read(8, 8).result(SECONDS) == pattern(4096)
            data.write(16, pattern(4096, seed=50), fua=True).result(SECONDS)
            read = struct.pack(">BBIBHB", 0x28, 0, 16, 0, 8, 0)
            assert disk.raw_scsi(read, length=4096).check() == pattern(4096, seed=50)
        finally:
            disk.release()


def test_a_command_that_no_disk_knows_is_delivered_and_refused_with_sense_data(
    path: FilePath, found: Found
) -> None:
    """ERROR_SUCCESS is not the disk's success."""
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        response = disk.raw_scsi(bytes([0xFF]).ljust(6, b"\0"))
        found(f"{response}")
        assert not response.is_good
        assert response.sense_key == 5  # ILLEGAL REQUEST
        with pytest.raises(ScsiError):
            response.check()


def test_a_read_past_the_end_is_refused_by_the_disk(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        read = struct.pack(">BBIBHB", 0x28, 0, SIZE // 512, 0, 8, 0)
        response = disk.raw_scsi(read, length=4096)
        found(f"{response.status}, {response.sense_key}, {response.additional_sense}")
        assert not response.is_good


def test_a_disk_that_is_not_attached_takes_no_command(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        code = code_of(lambda: disk.raw_scsi(INQUIRY, length=96))
    found(f"error {code:#x}")
    assert code != 0


@pytest.mark.parametrize("length", [4096, 65536, MIB])
def test_a_command_may_transfer_as_much(path: FilePath, found: Found, length: int) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        write = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, length // 512, 0)
        code = code_of(lambda: disk.raw_scsi(write, data=pattern(length)).check())
        found(f"{length} bytes: error {code:#x}")
        assert code == 0
        read = struct.pack(">BBIBHB", 0x28, 0, 0, 0, length // 512, 0)
        assert disk.raw_scsi(read, length=length).check() == pattern(length)


# -- Unmapping --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["disk.vhd", "disk.vhdx"])
@pytest.mark.parametrize("disk_type", [VirtualDiskType.FIXED, VirtualDiskType.DYNAMIC])
def test_what_a_disk_says_about_unmapping(
    tmp_path: FilePath, found: Found, name: str, disk_type: VirtualDiskType
) -> None:
    """The VPD pages that are asked: 00h, B0h and B2h."""
    path = tmp_path / name
    make(path, disk_type)
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        for number in (0x00, 0x83, 0xB0, 0xB1, 0xB2):
            response = disk.raw_scsi(page(number), length=252)
            found(f"page {number:02X}h: status {response.status}, {response.data.hex(' ')}")
        data = disk.raw_scsi(page(0), length=252).check()
        assert data[1] == 0
    with VhdmpDisk.open(path) as data_disk:
        found(f"unmap_behavior {data_disk.unmap_behavior}")


@pytest.mark.parametrize("name", ["disk.vhd", "disk.vhdx"])
@pytest.mark.parametrize("disk_type", [VirtualDiskType.FIXED, VirtualDiskType.DYNAMIC])
def test_unmap_does_what_unmap_behavior_says(
    tmp_path: FilePath, found: Found, name: str, disk_type: VirtualDiskType
) -> None:
    path = tmp_path / name
    make(path, disk_type)
    content = pattern(32 * MIB)
    with VhdmpDisk.open(path) as disk:
        disk.write_vectored([aligned(content)], 0).result(SECONDS)
        disk.sync_cache().result(SECONDS)
        with VirtualDisk.open(path, info_only=True) as asked:
            before = asked.info.physical_size
            disk.unmap(8 * 2048, 8 * 2048).result(SECONDS)
            disk.unmap(24 * 2048 + 1, 3).result(SECONDS)  # far less than a block
            disk.sync_cache().result(SECONDS)
            after = asked.info.physical_size
        read = disk.read(0, 32 * 2048).result(SECONDS)
        behavior = disk.unmap_behavior
    whole, odd = read[8 * MIB : 16 * MIB], read[24 * MIB + 512 : 24 * MIB + 2048]
    found(
        f"{behavior}: file {before} to {after} bytes, zeros in whole blocks: {not any(whole)}, "
        f"in three sectors: {not any(odd)}"
    )
    assert read[: 8 * MIB] == content[: 8 * MIB]
    assert read[16 * MIB : 24 * MIB + 512] == content[16 * MIB : 24 * MIB + 512]
    assert read[24 * MIB + 2048 :] == content[24 * MIB + 2048 :]
    if behavior is UnmapBehavior.IGNORED:
        assert read == content
    elif behavior is UnmapBehavior.ZEROES:
        assert not any(whole)
        assert not any(odd)
    else:
        assert whole == content[8 * MIB : 16 * MIB] or not any(whole)


def test_all_of_a_disk_can_be_unmapped_at_once(path: FilePath) -> None:
    """In as many commands as the disk's limits make of it."""
    with VhdmpDisk.open(path) as disk:
        disk.write(0, pattern(MIB)).result(SECONDS)
        disk.unmap(0, disk.sector_count).result(SECONDS)
        disk.write(0, pattern(4096)).result(SECONDS)
        assert disk.read(0, 8).result(SECONDS) == pattern(4096)


def test_unmapping_between_writes_harms_none_of_them(path: FilePath) -> None:
    with VhdmpDisk.open(path) as disk:
        requests = []
        for number in range(32):
            requests.append(disk.write(number * 4096, pattern(8192, seed=number + 1)))
            requests.append(disk.unmap(number * 4096 + 2048, 2048))
        for request in requests:
            request.result(SECONDS)
        for number in range(32):
            assert disk.read(number * 4096, 16).result(SECONDS) == pattern(8192, seed=number + 1)


def test_what_unmapping_a_detached_disk_does(path: FilePath, found: Found) -> None:
    with VhdmpDisk.open(path) as disk, VirtualDisk.open(path, info_only=True) as other:
        behavior = disk.unmap_behavior
        if code_of(other.detach):
            pytest.skip("it cannot be detached by another handle")
        code = code_of(lambda: disk.unmap(0, 2048).result(SECONDS))
    found(f"{behavior}, then error {code:#x}")
    if behavior is not UnmapBehavior.IGNORED:
        assert code not in (0, constants.ERROR_INVALID_FUNCTION)
