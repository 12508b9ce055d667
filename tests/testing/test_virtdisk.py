"""The simulated virtdisk.dll: its rules, sizes and codes, and what lies on its disks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyvhdmp import (
    FixedVhdDisk,
    VhdmpDisk,
    VirtualDisk,
    _win32,
    make_fixed_vhd,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import (
    ATTACH_VIRTUAL_DISK_PARAMETERS,
    CREATE_VIRTUAL_DISK_PARAMETERS,
    GET_VIRTUAL_DISK_INFO,
    GUID,
    HANDLE_CELL,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    ULONG_CELL,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.testing import SimulatedWindows
from pyvhdmp.virtual_disk import VirtualDiskFormat, VirtualDiskType
from tests.support.windows import winerror

MIB = 1 << 20
SECONDS = 30


@pytest.fixture
def windows() -> Iterator[SimulatedWindows]:
    with SimulatedWindows(seed=5) as windows:
        yield windows


@contextmanager
def fails(code: int) -> Iterator[pytest.ExceptionInfo[OSError]]:
    """Expect an error of Windows, by its code: its text is not the same everywhere."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the code tells
        yield caught
    assert winerror(caught.value) == code


def storage_type(device: int, vendor: uuid.UUID | None = None) -> VIRTUAL_STORAGE_TYPE:
    vendor = vendor or enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT
    return VIRTUAL_STORAGE_TYPE(DeviceId=device, VendorId=GUID.of(vendor))


VHD = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
VHDX = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX


def opened(
    path: str,
    *,
    device: int = VHDX,
    vendor: uuid.UUID | None = None,
    access: int = 0,
    flags: int = 0,
    version: int = 2,
) -> int:
    """Call OpenVirtualDisk itself; return the code. What is opened is closed."""
    current = _win32.current()
    asked = OPEN_VIRTUAL_DISK_PARAMETERS(Version=version)
    kind, cell = storage_type(device, vendor), HANDLE_CELL()
    code = current.virtdisk.OpenVirtualDisk(
        address_of(kind), path, access, flags, address_of(asked), address_of(cell)
    )
    if code == 0:
        assert current.kernel32.CloseHandle(cell.Value)
    return code


def created(
    path: str,
    size: int,
    *,
    device: int = VHDX,
    sector_size: int = 512,
    block_size: int = 0,
    access: int = 0,
    version: int = 2,
) -> int:
    """Call CreateVirtualDisk itself; return the code. What is created is closed."""
    current = _win32.current()
    asked = CREATE_VIRTUAL_DISK_PARAMETERS(Version=version)
    asked.Version2.MaximumSize = size
    asked.Version2.SectorSizeInBytes = sector_size
    asked.Version2.BlockSizeInBytes = block_size
    kind, cell = storage_type(device), HANDLE_CELL()
    code = current.virtdisk.CreateVirtualDisk(
        address_of(kind), path, access, 0, 0, 0, address_of(asked), 0, address_of(cell)
    )
    if code == 0:
        assert current.kernel32.CloseHandle(cell.Value)
    return code


# -- Creating -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sector_size", "physical"), [("a.vhd", 512, 512), ("a.vhdx", 4096, 4096)]
)
def test_a_dynamic_disk_is_what_was_asked_for_and_takes_no_room(
    windows: SimulatedWindows, name: str, sector_size: int, physical: int
) -> None:
    disk_id = uuid.uuid4()
    with VirtualDisk.create_dynamic(
        name, 64 * MIB, sector_size=sector_size, disk_id=disk_id
    ) as disk:
        info = disk.info
    assert info.format is VirtualDiskFormat(name[2:])
    assert info.disk_type is VirtualDiskType.DYNAMIC
    assert (info.virtual_size, info.sector_size) == (64 * MIB, sector_size)
    assert info.physical_sector_size == physical
    assert info.disk_id == disk_id
    assert info.physical_size < MIB
    assert info.block_size in (2 * MIB, 32 * MIB)


def test_a_fixed_vhd_is_one_for_everybody(windows: SimulatedWindows) -> None:
    VirtualDisk.create_fixed("a.vhd", 3 * MIB).close()
    assert len(windows.files["a.vhd"]) == 3 * MIB + 512
    with open_disk("a.vhd") as through, through:
        assert isinstance(through, VhdmpDisk)
        through.write(7, b"\x77" * 512, fua=True).result(SECONDS)
    with open_disk("a.vhd", backend="fixed-vhd") as directly:
        assert isinstance(directly, FixedVhdDisk)
        assert directly.disk_id == through.disk_id
        assert directly.read(7, 1).result(SECONDS) == b"\x77" * 512


def test_a_new_disk_without_an_identity_gets_one_from_the_seed(windows: SimulatedWindows) -> None:
    ids = []
    for seed in (1, 1, 2):
        with SimulatedWindows(seed), VirtualDisk.create_dynamic("a.vhdx", 4 * MIB) as disk:
            ids.append(disk.info.disk_id)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        (3 * MIB - 512, {}),
        (3 * MIB + 1, {}),
        ((64 << 40) + 512, {}),
        ((2040 << 30) + 512, {"device": VHD}),
        (4 * MIB, {"sector_size": 1024}),
        (4 * MIB, {"sector_size": 4096, "device": VHD}),
        (4 * MIB, {"block_size": 3 * MIB}),
        (4 * MIB, {"block_size": MIB, "device": VHD}),
        (4 * MIB, {"access": 0x3F0000}),
        (4 * MIB, {"version": 7}),
        (4 * MIB, {"device": 0}),
    ],
)
def test_what_cannot_be_created_is_error_87_and_leaves_no_file(
    windows: SimulatedWindows, size: int, arguments: dict[str, int]
) -> None:
    assert created("C:\\a.vhdx", size, **arguments) == 87
    assert created("a.vhdx", 4 * MIB) == 87  # not absolute
    assert list(windows.files) == []


def test_nothing_is_overwritten(windows: SimulatedWindows) -> None:
    windows.files["a.vhdx"] = b"precious"
    assert created("C:\\a.vhdx", 4 * MIB) == 80
    assert created("C:\\missing\\a.vhdx", 4 * MIB) == 3
    assert windows.files["a.vhdx"] == b"precious"


# -- Opening --------------------------------------------------------------------


def test_an_open_is_checked_as_windows_checks_it(windows: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("a.vhdx", 4 * MIB).close()
    path = "C:\\a.vhdx"
    assert opened(path) == 0
    assert opened(path, version=3) == 0
    assert opened(path, version=1, access=0x3F0000) == 0
    assert opened(path, device=enums.VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN) == 0
    assert opened(path, access=0x3F0000) == 87  # version 2 wants none
    assert opened(path, version=1) == 87  # version 1 wants some
    assert opened(path, version=9) == 87
    assert opened("a.vhdx") == 87
    assert opened(path, flags=0x8000) == 87
    assert opened(path, device=VHD) == constants.ERROR_FILE_CORRUPT
    assert opened(path, vendor=uuid.uuid4()) == constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND
    assert opened("C:\\b.vhdx") == 2
    assert opened("C:\\b\\b.vhdx") == 3
    windows.files["c.vhdx"] = bytes(8192)
    assert opened("C:\\c.vhdx") == constants.ERROR_FILE_CORRUPT


def test_two_may_read_and_a_third_may_not_write(windows: SimulatedWindows) -> None:
    make_fixed_vhd("a.vhd", 4 * MIB)
    with open_disk("a.vhd", read_only=True), open_disk("a.vhd", read_only=True):
        with pytest.raises(PermissionError) as caught:
            open_disk("a.vhd")
        assert winerror(caught.value) == 32
    with open_disk("a.vhd"):
        for read_only in (True, False):
            with pytest.raises(PermissionError):
                open_disk("a.vhd", read_only=read_only)
        with VirtualDisk.open("a.vhd", info_only=True) as asked:
            assert asked.info.virtual_size == 4 * MIB


# -- Attaching ------------------------------------------------------------------


def test_a_disk_reads_and_writes_while_it_is_attached(windows: SimulatedWindows) -> None:
    with VirtualDisk.create_dynamic("a.vhdx", 4 * MIB) as disk:
        with fails(21):
            disk.detach()
        disk.attach_raw()
        with fails(constants.ERROR_VHD_INVALID_STATE):
            disk.attach_raw()
        with fails(21):  # a raw attachment is no drive
            assert disk.physical_path
        disk.detach()


def test_an_attachment_that_is_mounted_is_a_drive(windows: SimulatedWindows) -> None:
    with VirtualDisk.create_dynamic("a.vhdx", 4 * MIB) as disk:
        asked = ATTACH_VIRTUAL_DISK_PARAMETERS(Version=1)
        attach = _win32.current().virtdisk.AttachVirtualDisk
        assert attach(disk.handle, 0, 0, 0, address_of(asked), 0) == 0
        assert disk.physical_path == "\\\\.\\PhysicalDrive1"
        asked.Version = 3
        assert attach(disk.handle, 0, 0, 0, address_of(asked), 0) == 87


def test_without_rights_nothing_is_attached() -> None:
    with SimulatedWindows(elevated=False) as windows:
        with VirtualDisk.create_dynamic("a.vhdx", 4 * MIB) as disk, fails(1314) as caught:
            disk.attach_raw()
        assert any("administrator" in note for note in caught.value.__notes__)
        with fails(1314):
            open_disk("a.vhdx")
        make_fixed_vhd("b.vhd", MIB)
        with open_disk("b.vhd") as fallback:
            assert isinstance(fallback, FixedVhdDisk)
        assert len(windows.open_handles) <= 1  # the default port


def test_a_disk_attached_read_only_takes_no_writes(windows: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("a.vhdx", 4 * MIB).close()
    with VirtualDisk.open("a.vhdx", read_only=True) as disk:
        attach = _win32.current().virtdisk.AttachVirtualDisk
        assert attach(disk.handle, 0, 8, 0, 0, 0) == 5  # opened to read, attached to write
        disk.attach_raw()
        assert disk.is_attached


# -- Querying -------------------------------------------------------------------


def test_a_question_wants_room_for_its_answer(windows: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("parent.vhdx", 4 * MIB).close()
    with VirtualDisk.create_differencing("b.avhdx", "parent.vhdx") as disk:
        ask = _win32.current().virtdisk.GetVirtualDiskInformation
        info = GET_VIRTUAL_DISK_INFO(Version=enums.GET_VIRTUAL_DISK_INFO_VERSION.PARENT_LOCATION)
        size = ULONG_CELL(32)
        assert ask(disk.handle, address_of(size), address_of(info), 0) == 122
        assert size.Value > 32
        info.Version, size.Value = 99, 32
        assert ask(disk.handle, address_of(size), address_of(info), 0) == 87
        assert disk.info.parent_path == "C:\\parent.vhdx"
    assert ask(0x7FFF0, address_of(size), address_of(info), 0) == 6


# -- Differencing ---------------------------------------------------------------


def test_a_child_shows_its_parent_and_keeps_what_is_its_own(windows: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("parent.vhdx", 4 * MIB).close()
    with open_disk("parent.vhdx") as disk:
        disk.write(0, b"\x01" * 4096, fua=True).result(SECONDS)
    VirtualDisk.create_differencing("child.avhdx", "parent.vhdx").close()
    VirtualDisk.create_differencing("grandchild.avhdx", "child.avhdx").close()
    with open_disk("child.avhdx") as disk:
        disk.write(1, b"\x02" * 512, fua=True).result(SECONDS)
    with open_disk("grandchild.avhdx") as disk:
        disk.write(2, b"\x03" * 512, fua=True).result(SECONDS)
        whole = disk.read(0, 4).result(SECONDS)
    assert whole == b"".join(bytes([n]) * 512 for n in (1, 2, 3, 1))
    with open_disk("parent.vhdx", read_only=True) as disk:
        assert disk.read(0, 4).result(SECONDS) == b"\x01" * 2048


def test_a_missing_or_another_parent_is_said(windows: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("parent.vhdx", 4 * MIB).close()
    VirtualDisk.create_differencing("child.avhdx", "parent.vhdx").close()
    del windows.files["parent.vhdx"]
    with fails(constants.ERROR_VHD_PARENT_VHD_NOT_FOUND):
        open_disk("child.avhdx")
    with VirtualDisk.open("child.avhdx", no_parents=True, info_only=True) as disk:
        assert disk.info.parent_path is None
        assert disk.info.parent_candidates == ("C:\\parent.vhdx", ".\\parent.vhdx")
    VirtualDisk.create_dynamic("parent.vhdx", 4 * MIB).close()
    with fails(constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH):
        open_disk("child.avhdx")


# -- The power ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_what_was_flushed_on_a_dynamic_disk_survives_a_power_cut(seed: int) -> None:
    with SimulatedWindows(seed) as windows:
        VirtualDisk.create_dynamic("a.vhdx", 4 * MIB).close()
        with open_disk("a.vhdx") as disk:
            disk.write(8, b"\x08" * 4096, fua=True).result(SECONDS)
            disk.write(16, b"\x10" * 4096).result(SECONDS)
            windows.power_cut()
            with fails(constants.ERROR_DEVICE_NOT_CONNECTED):
                disk.read(8, 8).result(SECONDS)
        with open_disk("a.vhdx") as disk:
            assert disk.read(8, 8).result(SECONDS) == b"\x08" * 4096
            rest = disk.read(16, 8).result(SECONDS)
            assert set(rest) <= {0, 0x10}
