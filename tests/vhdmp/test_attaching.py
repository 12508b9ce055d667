"""AttachVirtualDisk of a real driver: raw and as a drive, rights, and the end of an attachment."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pyvhdmp import VhdmpDisk, VirtualDisk, VirtualDiskFormat
from pyvhdmp._win32 import Handle, constants, current
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.errors import windows_error
from tests.examples import data_disk
from tests.support import windows
from tests.support.files import FilePath
from tests.vhdmp.helpers import (
    MIB,
    SECONDS,
    Found,
    code_of,
    fails,
    only_real,
    opened,
    pattern,
    read,
    write,
)

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture(params=["disk.vhd", "disk.vhdx"])
def path(request: pytest.FixtureRequest, tmp_path: FilePath) -> FilePath:
    path: FilePath = tmp_path / request.param
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    return path


# -- Raw --------------------------------------------------------------------------


def test_a_raw_attachment_is_no_drive(path: FilePath, found: Found) -> None:
    """NO_LOCAL_HOST: nobody sees it but who has the handle."""
    before = VirtualDisk.attached_disks()
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        assert VirtualDisk.attached_disks() == before
        with fails() as caught:
            print(disk.physical_path)
        found(f"the path of a raw attachment: {caught.value.__notes__[0]}")
        disk.detach()
        assert code_of(disk.detach) == constants.ERROR_NOT_READY


def test_what_was_detached_can_be_attached_again_and_not_twice(
    path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        for _ in range(3):
            disk.attach_raw()
            code = code_of(disk.attach_raw)
            found(f"attached twice: error {code:#x}")
            assert code != 0
            disk.detach()


def test_a_raw_attachment_ends_with_its_handle(path: FilePath) -> None:
    for _ in range(3):
        disk = VirtualDisk.open(path)
        disk.attach_raw()
        disk.close()
    write(path, 0, pattern(4096))
    assert read(path, 0, 4096) == pattern(4096)


def test_a_disk_that_is_not_attached_takes_no_io(path: FilePath, found: Found) -> None:
    disk = VirtualDisk.open(path)
    with VhdmpDisk.take_over(disk, read_only=False) as unattached:
        code = code_of(lambda: unattached.read(0, 8).result(SECONDS))
    found(f"a read of what is not attached: error {code}")
    assert code != 0


def test_what_is_in_flight_ends_when_the_disk_is_detached_by_another(
    path: FilePath, found: Found
) -> None:
    with VhdmpDisk.open(path) as disk, VirtualDisk.open(path, info_only=True) as other:
        reads = [disk.read(sector, 8) for sector in range(0, 4096, 8)]
        code = code_of(other.detach)
        found(f"DetachVirtualDisk by a handle that was opened to ask: error {code}")
        if code == 0:
            assert code_of(lambda: disk.read(0, 8).result(SECONDS)) != 0
        codes = {code_of(lambda read=read: read.result(SECONDS)) for read in reads}  # type: ignore[misc]  # its default
        found(f"what was in flight then: errors {codes}")


def test_a_disk_attached_read_only_refuses_writes_itself(path: FilePath, found: Found) -> None:
    """Below this package's own refusal."""
    with VirtualDisk.open(path) as disk:
        disk.attach_raw(read_only=True)
        with VhdmpDisk.take_over(disk, read_only=False) as writable:
            code = code_of(lambda: writable.write(0, pattern(512)).result(SECONDS))
    found(f"a write to a disk that is attached read-only: error {code}")
    assert code != 0


def test_opened_read_only_it_can_only_be_attached_read_only(path: FilePath) -> None:
    with VirtualDisk.open(path, read_only=True) as disk:
        disk._read_only = False  # or it would be attached read-only of itself
        with fails():
            disk.attach_raw()
        disk._read_only = True
        disk.attach_raw()


DROP_THE_RIGHT = """
import ctypes, sys
from ctypes import wintypes
advapi32, kernel32 = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
kernel32.GetCurrentProcess.restype = wintypes.HANDLE
token = wintypes.HANDLE()
advapi32.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p]
assert advapi32.OpenProcessToken(kernel32.GetCurrentProcess(), 0x28, ctypes.byref(token))
class PRIVILEGES(ctypes.Structure):
    _pack_ = 4
    _fields_ = [("count", wintypes.DWORD), ("luid", ctypes.c_int64), ("attributes", wintypes.DWORD)]
privileges = PRIVILEGES(1, 0, 4)  # SE_PRIVILEGE_REMOVED
luid = ctypes.c_int64()
assert advapi32.LookupPrivilegeValueW(None, "SeManageVolumePrivilege", ctypes.byref(luid))
privileges.luid = luid.value
advapi32.AdjustTokenPrivileges.argtypes = [
    wintypes.HANDLE, wintypes.BOOL, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p,
    ctypes.c_void_p]
assert advapi32.AdjustTokenPrivileges(token, False, ctypes.byref(privileges), 0, None, None)
import pyvhdmp
for local in (False, True):
    with pyvhdmp.VirtualDisk.open(sys.argv[1]) as disk:
        try:
            disk.attach(drive_letter=False) if local else disk.attach_raw()
            print(0)
        except OSError as error:
            print(error.winerror)
"""


@only_real
def test_attaching_without_the_right_to_manage_volumes_is_error_1314(
    path: FilePath, found: Found
) -> None:
    """Whether NO_LOCAL_HOST needs SE_MANAGE_VOLUME_PRIVILEGE too, nobody says."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", DROP_THE_RIGHT, path],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    raw, local = map(int, done.stdout.split())
    found(f"without SeManageVolumePrivilege: raw: error {raw}, as a drive: error {local}")
    assert local == constants.ERROR_PRIVILEGE_NOT_HELD
    assert raw in (0, constants.ERROR_PRIVILEGE_NOT_HELD)


# -- As a drive -------------------------------------------------------------------


def test_a_drive_has_a_path_and_is_among_all_that_are_attached(path: FilePath) -> None:
    with VirtualDisk.open(path) as disk:
        device = disk.attach(drive_letter=False)
        assert device == disk.physical_path
        assert device.lower().startswith("\\\\.\\physicaldrive")
        assert device.lower() in [name.lower() for name in VirtualDisk.attached_disks()]
        assert disk.physical_disk.sector_size == 512
        assert not disk.physical_disk.is_remote
        disk.detach()
        assert device.lower() not in [name.lower() for name in VirtualDisk.attached_disks()]


def test_a_drive_tells_which_file_it_depends_on(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        device = disk.attach(drive_letter=False)
        dependencies = VirtualDisk.dependencies(device)
        disk.detach()
    found(f"the dependencies of a drive: {dependencies}")
    nearest = min(dependencies, key=lambda dependency: dependency.level)
    assert nearest.level in (0, 1)
    assert nearest.path.lower().endswith(path.name)
    assert nearest.format is (
        VirtualDiskFormat.VHD if path.name.endswith(".vhd") else VirtualDiskFormat.VHDX
    )


def test_a_permanent_attachment_stays_until_somebody_detaches_it(
    path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        device = disk.attach(drive_letter=False, permanent=True)
    try:
        assert device.lower() in [name.lower() for name in VirtualDisk.attached_disks()]
    finally:
        codes = detach(path)
    found(f"detached by an open to ask, to write, with version 1 and DETACH: errors {codes}")
    assert codes[-1] == 0
    assert device.lower() not in [name.lower() for name in VirtualDisk.attached_disks()]


def detach(path: FilePath) -> list[int]:
    """Detach a disk by one handle or another; return the codes, the last of them 0."""

    def by_version_1() -> None:
        code, handle = opened(path, version=1, mask=int(enums.VIRTUAL_DISK_ACCESS.DETACH))
        if code:
            raise windows_error(code, "OpenVirtualDisk")
        with VirtualDisk(current(), Handle(handle), os.fspath(path)) as disk:
            disk.detach()

    def by_open(info_only: bool) -> None:
        with VirtualDisk.open(path, info_only=info_only) as disk:
            disk.detach()

    codes: list[int] = []
    for attempt in (partial(by_open, True), partial(by_open, False), by_version_1):
        codes.append(code_of(attempt))
        if codes[-1] == 0:
            break
    return codes


def test_a_part_of_a_disk_can_be_attached_alone(tmp_path: FilePath, found: Found) -> None:
    """RESTRICTED_RANGE, with parameters of version 2, came with Windows 10, version 1903."""
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 16 * MIB).close()
    with VirtualDisk.open(path) as disk:
        code = code_of(lambda: disk.attach(drive_letter=False, restrict_to=(4 * MIB, 8 * MIB)))
    found(f"a restricted attachment: error {code}")
    if code == constants.ERROR_INVALID_PARAMETER:
        pytest.skip("a Windows before 10, version 1903")
    assert code == 0


@only_real
def test_windows_mounts_the_data_disk_of_the_example_and_reads_its_files(
    tmp_path: Path, found: Found
) -> None:
    files = {"readme.txt": b"of Python", "A long name, with spaces.bin": pattern(3 * MIB)}
    path = tmp_path / "data.vhdx"
    VirtualDisk.create_dynamic(path, data_disk.DISK_SIZE).close()
    data_disk.write(path, data_disk.fat32(files, volume_id=0x12345678))

    def drives() -> set[str]:
        return {
            f"{letter}:\\" for letter in string.ascii_uppercase if Path(f"{letter}:\\").exists()
        }

    before = drives()
    with VirtualDisk.open(path) as disk:
        disk.attach(read_only=True)
        windows.wait_until(lambda: drives() > before, SECONDS)
        (drive,) = drives() - before
        assert {file.name: file.read_bytes() for file in Path(drive).iterdir()} == files
        dependencies = VirtualDisk.dependencies(drive)
        found(f"the dependencies of a volume: {dependencies}")
        assert any(found.path.lower().endswith("data.vhdx") for found in dependencies)
        disk.detach()


@only_real
def test_a_volume_of_a_plain_disk_depends_on_nothing(found: Found) -> None:
    drive = os.environ["SYSTEMDRIVE"]
    found(f"the dependencies of {drive}: {VirtualDisk.dependencies(drive)}")
