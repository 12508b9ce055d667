"""ISO images, which are files of nothing but their payload."""

from __future__ import annotations

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.buffers import PAGE_SIZE, Block
from tests.testing.virtdisk.disks import ISO, RAW, VHDX, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
READ_ONLY = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
GET = enums.GET_VIRTUAL_DISK_INFO_VERSION


def test_an_iso_is_read_and_nothing_else(disks: Disks) -> None:
    disks.machine.files["a.iso"] = bytes(2048) + b"\x11" * 2048
    handle = disks.open("C:\\a.iso", device=ISO, version=1, mask=ACCESS.READ)
    assert disks.size(handle) == 4096
    assert disks.info(handle, GET.VIRTUAL_STORAGE_TYPE).VirtualStorageType.DeviceId == ISO
    assert disks.asked(handle, GET.VIRTUAL_DISK_ID)[0] == 87
    assert disks.attach(handle) == constants.ERROR_WRITE_PROTECT
    assert disks.attach(handle, RAW | READ_ONLY) == 0
    assert disks.get(handle, 2048, 2048) == b"\x11" * 2048
    block = Block(PAGE_SIZE)
    assert disks.transfer("ReadFile", handle, 512, block, 512) == 87  # its sectors have 2048


def test_an_iso_wants_parameters_of_version_1_that_read(disks: Disks) -> None:
    disks.machine.files["a.iso"] = bytes(4096)
    assert disks.opened("C:\\a.iso", device=ISO)[0] == 87
    assert disks.opened("C:\\a.iso", device=ISO, version=1, mask=ACCESS.ALL)[0] == 87
    assert disks.opened("C:\\a.iso", device=VHDX)[0] == constants.ERROR_FILE_CORRUPT
    disks.machine.files["b.iso"] = bytes(1000)
    code, _ = disks.opened("C:\\b.iso", version=1, mask=ACCESS.READ)
    assert code == constants.ERROR_FILE_CORRUPT


def test_an_iso_that_is_mounted_is_a_cd(disks: Disks) -> None:
    disks.machine.files["a.iso"] = b"\x11" * 4096
    handle = disks.open("C:\\a.iso", version=1, mask=ACCESS.READ)
    assert disks.attach(handle, READ_ONLY) == 0
    assert disks.get(disks.drive("\\\\.\\CDROM1"), 0, 2048) == b"\x11" * 2048
