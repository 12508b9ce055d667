"""VirtualDisk: what reaches virtdisk.dll, what comes back, and who closes what."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import PureWindowsPath

import pytest

from pyvhdmp import (
    InvalidInputError,
    PhysicalDisk,
    VirtualDisk,
    VirtualDiskFormat,
    VirtualDiskInfo,
    VirtualDiskType,
)
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import GET_VIRTUAL_DISK_INFO, GUID
from pyvhdmp.testing import substituted
from tests.support import windows
from tests.support.vhdmp import DISK_ID, Driver

MIB = 1 << 20
MICROSOFT = uuid.UUID("ec984aec-a0f9-47e9-901f-71415a66345b")


# -- Opening --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device", "vendor"),
    [
        ("a.vhd", 2, MICROSOFT),
        ("A.AVHD", 2, MICROSOFT),
        ("a.vhdx", 3, MICROSOFT),
        ("a.avhdx", 3, MICROSOFT),
        ("a.vhds", 4, MICROSOFT),
        ("a", 0, uuid.UUID(int=0)),
    ],
)
def test_open_names_the_format_and_asks_for_no_access(
    driver: Driver, name: str, device: int, vendor: uuid.UUID
) -> None:
    with VirtualDisk.open(name) as disk:
        assert disk.path == name
    call = driver.of("OpenVirtualDisk")
    assert (call.device, call.vendor) == (device, vendor)
    assert (call.path, call.mask, call.flags) == (f"C:\\disks\\{name}", 0, 0)
    assert call.open is not None
    assert (call.open.Version, call.open.Version2.GetInfoOnly) == (2, 0)
    assert call.open.Version2.ReadOnly == 0


def test_open_passes_its_options_on(driver: Driver) -> None:
    path = PureWindowsPath("d:/vm/../a.vhdx")
    VirtualDisk.open(path, read_only=True, cached_io=True, info_only=True, no_parents=True).close()
    call = driver.of("OpenVirtualDisk")
    assert call.path == "d:\\a.vhdx"
    assert call.flags == 0x8 | 0x1
    assert call.open is not None
    assert (call.open.Version2.GetInfoOnly, call.open.Version2.ReadOnly) == (1, 1)


def test_a_long_path_is_passed_in_its_extended_form(driver: Driver) -> None:
    name = "x" * 3000 + ".vhdx"
    VirtualDisk.open(name).close()
    assert driver.of("OpenVirtualDisk").path == f"\\\\?\\C:\\disks\\{name}"


def test_each_open_and_create_has_a_resiliency_guid_of_its_own(driver: Driver) -> None:
    for _ in range(3):
        VirtualDisk.open("a.vhdx").close()
        VirtualDisk.create_fixed("a.vhdx", 8 * MIB).close()
    guids = {call.open.Version2.ResiliencyGuid.uuid() for call in driver.calls if call.open}
    guids |= {call.create.Version2.ResiliencyGuid.uuid() for call in driver.calls if call.create}
    assert len(guids) == 6
    assert uuid.UUID(int=0) not in guids


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (constants.ERROR_FILE_NOT_FOUND, FileNotFoundError, None),
        (constants.ERROR_ACCESS_DENIED, PermissionError, None),
        (constants.ERROR_SHARING_VIOLATION, PermissionError, "open elsewhere"),
        (constants.ERROR_INVALID_PARAMETER, OSError, "The path was absolute"),
        (constants.ERROR_FILE_SYSTEM_LIMITATION, OSError, "exFAT"),
        (constants.ERROR_VIRTUAL_DISK_LIMITATION, OSError, "compressed, encrypted or sparse"),
        (constants.ERROR_VHD_PARENT_VHD_NOT_FOUND, FileNotFoundError, "put the parent back"),
    ],
)
def test_a_failed_open_raises_what_the_code_stands_for_and_closes_nothing(
    driver: Driver, code: int, kind: type[OSError], hint: str | None
) -> None:
    driver.fails["OpenVirtualDisk"] = code
    with pytest.raises(kind) as caught:
        VirtualDisk.open("a.vhdx")
    assert windows.winerror(caught.value) == code
    assert caught.value.filename == "a.vhdx"
    assert caught.value.__notes__[0].startswith("OpenVirtualDisk failed with Windows error ")
    assert hint is None or hint in caught.value.__notes__[1]
    assert driver.closed == []


@pytest.mark.parametrize("path", ["", "a\0.vhd", b"a.vhd"])
def test_what_is_no_path_is_refused_before_any_call(driver: Driver, path: str) -> None:
    with pytest.raises((InvalidInputError, TypeError)):
        VirtualDisk.open(path)
    assert driver.calls == []


# -- Creating -------------------------------------------------------------------


def test_create_fixed(driver: Driver) -> None:
    with VirtualDisk.create_fixed("a.vhdx", 8 * MIB, sector_size=4096, disk_id=DISK_ID) as disk:
        assert disk.path == "a.vhdx"
    call = driver.of("CreateVirtualDisk")
    assert (call.path, call.mask, call.flags) == ("C:\\disks\\a.vhdx", 0, 1)
    assert (call.device, call.vendor, call.parent) == (3, MICROSOFT, None)
    assert call.create is not None
    version = call.create.Version2
    assert (call.create.Version, version.MaximumSize) == (2, 8 * MIB)
    assert (version.BlockSizeInBytes, version.SectorSizeInBytes) == (0, 4096)
    assert (version.PhysicalSectorSizeInBytes, version.OpenFlags) == (0, 0)
    assert version.UniqueId.uuid() == DISK_ID


def test_create_dynamic(driver: Driver) -> None:
    VirtualDisk.create_dynamic("a.vhd", 2040 << 30, block_size=512 << 10).close()
    call = driver.of("CreateVirtualDisk")
    assert (call.device, call.flags) == (2, 0)
    assert call.create is not None
    version = call.create.Version2
    assert (version.MaximumSize, version.BlockSizeInBytes) == (2040 << 30, 512 << 10)
    assert version.UniqueId.uuid() == uuid.UUID(int=0)


def test_create_differencing(driver: Driver) -> None:
    VirtualDisk.create_differencing("a.avhdx", "base\\b.vhdx").close()
    call = driver.of("CreateVirtualDisk")
    assert call.parent == "C:\\disks\\base\\b.vhdx"
    assert call.create is not None
    version = call.create.Version2
    assert (version.MaximumSize, version.SectorSizeInBytes) == (0, 0)
    assert version.ParentVirtualStorageType.DeviceId == 3
    assert version.ParentVirtualStorageType.VendorId.uuid() == MICROSOFT
    assert version.SourceVirtualStorageType.DeviceId == 0


@pytest.mark.parametrize(
    ("create", "complaint"),
    [
        (lambda: VirtualDisk.create_fixed("a.vhdx", 0), "size must be at least 3145728"),
        (lambda: VirtualDisk.create_fixed("a.vhd", 3 * MIB - 512), "size must be at least 3145728"),
        (lambda: VirtualDisk.create_fixed("a.vhd", 3 * MIB + 1), "multiple of the sector size"),
        (
            lambda: VirtualDisk.create_dynamic("a.vhdx", 3 * MIB + 512, sector_size=4096),
            "multiple of the sector size, 4096",
        ),
        (
            lambda: VirtualDisk.create_dynamic("a.vhd", (2040 << 30) + 512),
            r"size must be at most 2190433320960 bytes \(2040 GiB\) in a VHD, not",
        ),
        (lambda: VirtualDisk.create_dynamic("a.vhdx", (64 << 40) + 512), "65536 GiB"),
        (
            lambda: VirtualDisk.create_fixed("a.vhd", 8 * MIB, sector_size=4096),
            "sector_size must be 512 in a VHD, not 4096",
        ),
        (
            lambda: VirtualDisk.create_fixed("a.vhdx", 8 * MIB, sector_size=1024),
            "sector_size must be 512 or 4096 in a VHDX, not 1024",
        ),
        (lambda: VirtualDisk.create_dynamic("a.vhd", 8 * MIB, block_size=MIB), "block_size must"),
        (lambda: VirtualDisk.create_dynamic("a.vhdx", 8 * MIB, block_size=512), "block_size must"),
        (
            lambda: VirtualDisk.create_dynamic("a.vhdx", 8 * MIB, block_size=512 * MIB),
            "block_size must",
        ),
        (
            lambda: VirtualDisk.create_differencing("a.vhdx", "b.vhdx", block_size=3 * MIB),
            "block_size must",
        ),
        (lambda: VirtualDisk.create_fixed("a.img", 8 * MIB), r"must end in \.vhd"),
        (lambda: VirtualDisk.create_differencing("a", "b.vhdx"), r"must end in \.vhd"),
        (lambda: VirtualDisk.create_differencing("a.vhdx", ""), "is no path"),
        (lambda: VirtualDisk.create_differencing("a.vhdx", "b.vhd"), "of a VHDX must be a VHDX"),
        (lambda: VirtualDisk.create_differencing("a.vhd", "b.avhdx"), "of a VHD must be a VHD,"),
        (lambda: VirtualDisk.create_differencing("a.vhd", "b.iso"), "of a VHD must be a VHD,"),
    ],
)
def test_create_refuses_what_windows_would_call_error_87_and_names_the_argument(
    driver: Driver, create: Callable[[], VirtualDisk], complaint: str
) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        create()
    assert driver.calls == []


def test_the_smallest_and_the_largest_disks_are_let_through(driver: Driver) -> None:
    for name, size in [("a.vhd", 3 * MIB), ("a.vhd", 2040 << 30), ("a.vhdx", 64 << 40)]:
        VirtualDisk.create_dynamic(name, size).close()
    for shift in range(20, 29):
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB, block_size=1 << shift).close()


def test_a_failed_create_closes_nothing(driver: Driver) -> None:
    driver.fails["CreateVirtualDisk"] = constants.ERROR_FILE_EXISTS
    with pytest.raises(FileExistsError) as caught:
        VirtualDisk.create_fixed("a.vhdx", 8 * MIB)
    assert caught.value.filename == "a.vhdx"
    assert driver.closed == []


# -- Attaching ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opened", "attached", "flags"),
    [(False, False, 8), (False, True, 9), (True, False, 9), (True, True, 9)],
)
def test_attach_raw_attaches_to_no_host(
    driver: Driver, opened: bool, attached: bool, flags: int
) -> None:
    with VirtualDisk.open("a.vhdx", read_only=opened) as disk:
        assert not disk.is_attached
        disk.attach_raw(read_only=attached)
        assert disk.is_attached
        call = driver.of("AttachVirtualDisk")
        assert (call.handle, call.flags) == (disk.handle, flags)
        assert call.attach is not None
        assert call.attach.Version == 1
        disk.detach()
        assert not disk.is_attached
    assert driver.names()[-1] == "DetachVirtualDisk"


def test_closing_leaves_the_end_of_the_attachment_to_windows(driver: Driver) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.attach_raw()
    assert not disk.is_attached
    assert "DetachVirtualDisk" not in driver.names()


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (constants.ERROR_PRIVILEGE_NOT_HELD, "run as administrator"),
        (constants.ERROR_ACCESS_DENIED, "run as administrator"),
        (constants.ERROR_SHARING_VIOLATION, "open elsewhere"),
    ],
)
def test_a_failed_attach_says_what_it_takes_and_keeps_the_disk_open(
    driver: Driver, code: int, hint: str
) -> None:
    driver.fails["AttachVirtualDisk"] = code
    with VirtualDisk.open("a.vhdx") as disk:
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            disk.attach_raw()
        assert windows.winerror(caught.value) == code
        assert hint in caught.value.__notes__[1]
        assert not disk.is_attached
        assert not disk.closed


def test_a_disk_opened_for_its_info_cannot_be_attached(driver: Driver) -> None:
    with (
        VirtualDisk.open("a.vhdx", info_only=True) as disk,
        pytest.raises(InvalidInputError, match="info_only"),
    ):
        disk.attach_raw()


def test_detaching_what_is_not_attached_says_so(driver: Driver) -> None:
    driver.fails["DetachVirtualDisk"] = constants.ERROR_NOT_READY
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(OSError, match="vhdx") as caught:
        disk.detach()
    assert windows.winerror(caught.value) == constants.ERROR_NOT_READY
    assert caught.value.__notes__[1] == "The disk was not attached."


# -- Asking ---------------------------------------------------------------------


def test_info(driver: Driver) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.info == VirtualDiskInfo(
            path="a.vhdx",
            format=VirtualDiskFormat.VHDX,
            disk_type=VirtualDiskType.DYNAMIC,
            virtual_size=8 * MIB,
            physical_size=4 * MIB,
            sector_size=512,
            physical_sector_size=4096,
            block_size=32 * MIB,
            disk_id=DISK_ID,
        )
        driver.size = 16 * MIB
        assert disk.info.virtual_size == 16 * MIB


def test_the_file_says_what_format_it_has_and_each_keeps_its_identity_elsewhere(
    driver: Driver,
) -> None:
    driver.device, driver.subtype = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD, 2
    with VirtualDisk.open("a") as disk:
        info = disk.info
    assert (info.format, info.disk_type) == (VirtualDiskFormat.VHD, VirtualDiskType.FIXED)
    assert info.disk_id == DISK_ID
    asked = {call.what for call in driver.calls}
    assert enums.GET_VIRTUAL_DISK_INFO_VERSION.IDENTIFIER in asked
    assert enums.GET_VIRTUAL_DISK_INFO_VERSION.VIRTUAL_DISK_ID not in asked


@pytest.mark.parametrize(
    ("parents", "found", "path", "candidates"),
    [
        (["C:\\base.vhdx"], True, "C:\\base.vhdx", ()),
        (["C:\\" + "long" * 5000 + ".vhdx"], True, "C:\\" + "long" * 5000 + ".vhdx", ()),
        (["C:\\a.vhdx", ".\\a.vhdx"], False, None, ("C:\\a.vhdx", ".\\a.vhdx")),
        ([], False, None, ()),
    ],
)
def test_the_parent_of_a_differencing_disk(
    driver: Driver, parents: list[str], found: bool, path: str | None, candidates: tuple[str, ...]
) -> None:
    driver.subtype = enums.PROVIDER_SUBTYPE_DIFFERENCING
    driver.parents, driver.parent_found = parents, found
    with VirtualDisk.open("a.avhdx", no_parents=not found) as disk:
        info = disk.info
    assert info.disk_type is VirtualDiskType.DIFFERENCING
    assert (info.parent_path, info.parent_candidates) == (path, candidates)


def set_field(name: str, value: object) -> Callable[[GET_VIRTUAL_DISK_INFO], object]:
    return lambda answer: setattr(answer, name, value)


def set_physical_disk(answer: GET_VIRTUAL_DISK_INFO) -> None:
    answer.PhysicalDisk.LogicalSectorSize = 512
    answer.PhysicalDisk.PhysicalSectorSize = 4096
    answer.PhysicalDisk.IsRemote = 1


@pytest.mark.parametrize(
    ("question", "answer", "ask", "answered"),
    [
        (2, set_field("Identifier", GUID.of(DISK_ID)), lambda d: d.identifier, DISK_ID),
        (4, set_field("ParentIdentifier", GUID.of(DISK_ID)), lambda d: d.parent_id, DISK_ID),
        (5, set_field("ParentTimestamp", 7), lambda d: d.parent_timestamp, 7),
        (8, set_field("Is4kAligned", 1), lambda d: d.is_4k_aligned, True),
        (9, set_physical_disk, lambda d: d.physical_disk, PhysicalDisk(512, 4096, True)),
        (
            11,
            set_field("SmallestSafeVirtualSize", 1 << 40),
            lambda d: d.smallest_safe_size,
            1 << 40,
        ),
        (12, set_field("FragmentationPercentage", 12), lambda d: d.fragmentation, 12),
        (13, set_field("IsLoaded", 0), lambda d: d.is_loaded, False),
    ],
)
def test_what_is_asked_one_by_one(
    driver: Driver,
    question: int,
    answer: Callable[[GET_VIRTUAL_DISK_INFO], object],
    ask: Callable[[VirtualDisk], object],
    answered: object,
) -> None:
    driver.answers[question] = answer
    with VirtualDisk.open("a.vhdx") as disk:
        assert ask(disk) == answered


def test_the_parent_is_named_or_where_it_was_looked_for(driver: Driver) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.parent is None
        driver.parents, driver.parent_found = ["C:\\base.vhdx"], True
        assert disk.parent == "C:\\base.vhdx"
        driver.parents, driver.parent_found = ["C:\\a.vhdx", ".\\a.vhdx"], False
        with pytest.raises(FileNotFoundError) as caught:
            print(disk.parent)
    assert caught.value.filename == "C:\\a.vhdx"
    said = "The parent of a.vhdx was looked for at C:\\a.vhdx, .\\a.vhdx."
    assert caught.value.__notes__[-1] == said


def test_a_disk_whose_parent_is_missing_says_where_it_was_looked_for(driver: Driver) -> None:
    open_alone, missing = driver.OpenVirtualDisk, constants.ERROR_VHD_PARENT_VHD_NOT_FOUND

    def open(storage: int, path: str, mask: int, flags: int, *rest: int) -> int:
        return open_alone(storage, path, mask, flags, *rest) if flags & 1 else missing

    driver.subtype = enums.PROVIDER_SUBTYPE_DIFFERENCING
    driver.parents, driver.parent_found = ["C:\\a.vhdx", ".\\a.vhdx"], False
    with (
        substituted(virtdisk={"OpenVirtualDisk": open}),
        pytest.raises(OSError, match=r"a\.avhdx") as caught,
    ):
        VirtualDisk.open("a.avhdx")
    assert windows.winerror(caught.value) == missing
    assert caught.value.__notes__[-1] == "It was looked for at C:\\a.vhdx, .\\a.vhdx."


def test_a_type_and_a_format_that_are_not_known(driver: Driver) -> None:
    driver.subtype = 99
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.info.disk_type is None
        driver.device = 99
        with pytest.raises(InvalidInputError, match="unknown format, 99"):
            print(disk.info)


@pytest.mark.parametrize("path", ["\\\\.\\PhysicalDrive3", "\\\\.\\" + "long" * 5000])
def test_the_physical_path_of_any_length(driver: Driver, path: str) -> None:
    driver.physical_path = path
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.physical_path == path


@pytest.mark.parametrize("ask", [lambda disk: disk.info, lambda disk: disk.physical_path])
def test_a_question_that_fails(driver: Driver, ask: Callable[[VirtualDisk], object]) -> None:
    driver.fails["GetVirtualDiskInformation"] = constants.ERROR_VHD_INVALID_STATE
    driver.fails["GetVirtualDiskPhysicalPath"] = constants.ERROR_VHD_INVALID_STATE
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(OSError, match="vhdx") as caught:
        ask(disk)
    assert windows.winerror(caught.value) == 0xC03A001C
    assert "0xC03A001C" in caught.value.__notes__[0]


# -- The handle -----------------------------------------------------------------


def test_a_closed_disk_begins_no_with_block(driver: Driver) -> None:
    disk = VirtualDisk.open("a.vhdx")
    disk.close()
    with pytest.raises(ValueError, match="closed virtual disk"), disk:
        pass
    released = VirtualDisk.open("a.vhdx")
    handle = released.release()
    with pytest.raises(ValueError, match="closed virtual disk"), released:
        pass
    driver.CloseHandle(handle)


def test_close_closes_once(driver: Driver) -> None:
    disk = VirtualDisk.open("a.vhdx")
    handle = disk.handle
    assert repr(disk) == f"<VirtualDisk 'a.vhdx', handle {handle:#x}>"
    disk.close()
    disk.close()
    assert driver.closed == [handle]
    assert disk.closed
    assert repr(disk) == "<VirtualDisk 'a.vhdx', closed>"
    for use in (
        lambda: disk.handle,
        lambda: disk.info,
        lambda: disk.physical_path,
        disk.attach_raw,
        disk.detach,
        disk.release,
    ):
        with pytest.raises(ValueError, match="closed virtual disk"):
            use()


def test_release_hands_the_handle_over_open(driver: Driver) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        handle = disk.release()
        assert disk.closed
    assert driver.handles == {handle}
    driver.handles.clear()


def test_a_disk_that_nobody_closed_is_closed_with_a_warning(driver: Driver) -> None:
    disk = VirtualDisk.open("a.vhdx")
    handle = disk.handle
    held = [disk]
    del disk
    with pytest.warns(ResourceWarning, match=r"unclosed <VirtualDisk 'a\.vhdx'"):
        held.clear()
    assert driver.closed == [handle]


def test_a_disk_whose_device_is_not_told_is_not_left_attached(driver: Driver) -> None:
    driver.fails["GetVirtualDiskPhysicalPath"] = constants.ERROR_NOT_READY
    with VirtualDisk.open("a.vhdx") as disk:
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            disk.attach(permanent=True)
        assert caught.value.__notes__[0].startswith("GetVirtualDiskPhysicalPath failed")
        assert not disk.is_attached
    assert driver.names()[-3:] == [
        "AttachVirtualDisk",
        "GetVirtualDiskPhysicalPath",
        "DetachVirtualDisk",
    ]
