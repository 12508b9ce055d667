"""What each method of VirtualDisk passes to virtdisk.dll, and that a failure names it."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable
from typing import TypeVar

import pytest

from pyvhdmp import Operation, VirtualDisk, VirtualDiskType
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk as _virtdisk
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.testing import substituted
from tests.support import windows
from tests.support.vhdmp import DISK_ID, Driver

MIB = 1 << 20
OTHER = uuid.UUID("fedcba98-7654-3210-fedc-ba9876543210")
LONG = "x" * 3000 + ".vhdx"

Structure = TypeVar("Structure", bound=ctypes.Structure)


class Noted:
    """Stands in for one function, and keeps what it was called with."""

    def __init__(self, function: str, look: Callable[..., object], code: int = 0) -> None:
        self.seen: list[object] = []
        self._look = look
        self.code = code
        self.block = substituted(virtdisk={function: self._called})

    def _called(self, *arguments: int) -> int:
        self.seen.append(self._look(*arguments))
        return self.code


def at(kind: type[Structure], address: int) -> Structure:
    """Return the structure at an address, for as long as the call takes."""
    return kind.from_address(address)


def resized(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.RESIZE_VIRTUAL_DISK_PARAMETERS, parameters)
    return flags, given.Version, given.Version1.NewSize, overlapped != 0


def expanded(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.EXPAND_VIRTUAL_DISK_PARAMETERS, parameters)
    return flags, given.Version, given.Version1.NewSize, overlapped != 0


def compacted(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.COMPACT_VIRTUAL_DISK_PARAMETERS, parameters)
    return flags, given.Version, given.Version1.Reserved, overlapped != 0


def merged(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.MERGE_VIRTUAL_DISK_PARAMETERS, parameters)
    depths = given.Version2.MergeSourceDepth, given.Version2.MergeTargetDepth
    return flags, given.Version, depths, overlapped != 0


def mirrored(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.MIRROR_VIRTUAL_DISK_PARAMETERS, parameters)
    return flags, given.Version, given.Version1.MirrorVirtualDiskPath, overlapped != 0


def forked(disk: int, flags: int, parameters: int, overlapped: int) -> object:
    given = at(v.FORK_VIRTUAL_DISK_PARAMETERS, parameters)
    return flags, given.Version, given.Version1.ForkedVirtualDiskPath, overlapped != 0


def set_info(disk: int, info: int) -> object:
    given = at(v.SET_VIRTUAL_DISK_INFO, info)
    values: dict[int, Callable[[], object]] = {
        1: lambda: given.ParentFilePath,
        2: lambda: given.UniqueIdentifier.uuid(),
        3: lambda: (
            given.ParentPathWithDepthInfo.ChildDepth,
            given.ParentPathWithDepthInfo.ParentFilePath,
        ),
        4: lambda: given.VhdPhysicalSectorSize,
        5: lambda: given.VirtualDiskId.uuid(),
        6: lambda: given.ChangeTrackingEnabled,
        7: lambda: (given.ParentLocator.LinkageId.uuid(), given.ParentLocator.ParentFilePath),
    }
    return given.Version, values[given.Version]()


def taken(disk: int, parameters: int, flags: int) -> object:
    given = at(v.TAKE_SNAPSHOT_VHDSET_PARAMETERS, parameters)
    return given.Version, given.Version1.SnapshotId.uuid(), flags


def deleted(disk: int, parameters: int, flags: int) -> object:
    given = at(v.DELETE_SNAPSHOT_VHDSET_PARAMETERS, parameters)
    return given.Version, given.Version1.SnapshotId.uuid(), flags


def applied(disk: int, parameters: int, flags: int) -> object:
    given = at(v.APPLY_SNAPSHOT_VHDSET_PARAMETERS, parameters)
    ids = given.Version1.SnapshotId.uuid(), given.Version1.LeafSnapshotId.uuid()
    return given.Version, ids, flags


def modified(disk: int, parameters: int, flags: int) -> object:
    given = at(v.MODIFY_VHDSET_PARAMETERS, parameters)
    values: dict[int, Callable[[], object]] = {
        1: lambda: (given.SnapshotPath.SnapshotId.uuid(), given.SnapshotPath.SnapshotFilePath),
        2: lambda: given.SnapshotId.uuid(),
        3: lambda: given.DefaultFilePath,
    }
    return given.Version, values[given.Version](), flags


def attached(
    disk: int, security: int, flags: int, provider: int, parameters: int, overlapped: int
) -> object:
    given = at(v.ATTACH_VIRTUAL_DISK_PARAMETERS, parameters)
    part = (given.Version2.RestrictedOffset, given.Version2.RestrictedLength)
    return security, flags, given.Version, part if given.Version == 2 else None, overlapped


@pytest.mark.parametrize(
    ("function", "look", "use", "passed"),
    [
        ("ResizeVirtualDisk", resized, lambda d: d.resize(8 * MIB), (0, 1, 8 * MIB, True)),
        (
            "ResizeVirtualDisk",
            resized,
            lambda d: d.resize(64 << 40, allow_unsafe=True),
            (1, 1, 64 << 40, True),
        ),
        ("ResizeVirtualDisk", resized, lambda d: d.resize_to_smallest(), (2, 1, 0, True)),
        ("ExpandVirtualDisk", expanded, lambda d: d.expand(9 * MIB), (0, 1, 9 * MIB, True)),
        (
            "ExpandVirtualDisk",
            expanded,
            lambda d: d.expand(9 * MIB, notify=True),
            (1, 1, 9 * MIB, True),
        ),
        ("CompactVirtualDisk", compacted, lambda d: d.compact(), (0, 1, 0, True)),
        (
            "CompactVirtualDisk",
            compacted,
            lambda d: d.compact(zero_scan=False, block_moves=False),
            (3, 1, 0, True),
        ),
        ("MergeVirtualDisk", merged, lambda d: d.merge(), (0, 2, (1, 2), True)),
        (
            "MergeVirtualDisk",
            merged,
            lambda d: d.merge(source_depth=2, target_depth=4),
            (0, 2, (2, 4), True),
        ),
        (
            "MirrorVirtualDisk",
            mirrored,
            lambda d: d.mirror("m.vhdx"),
            (0, 1, "C:\\disks\\m.vhdx", True),
        ),
        (
            "MirrorVirtualDisk",
            mirrored,
            lambda d: d.mirror(LONG, existing=True, flags=4),
            (5, 1, f"\\\\?\\C:\\disks\\{LONG}", True),
        ),
        ("BreakMirrorVirtualDisk", lambda d: None, lambda d: d.break_mirror(), None),
        ("ForkVirtualDisk", forked, lambda d: d.fork("f.vhdx"), (0, 1, "C:\\disks\\f.vhdx", True)),
        (
            "ForkVirtualDisk",
            forked,
            lambda d: d.fork("f.vhdx", existing=True),
            (1, 1, "C:\\disks\\f.vhdx", True),
        ),
        ("CompleteForkVirtualDisk", lambda d: None, lambda d: d.complete_fork(), None),
        (
            "SetVirtualDiskInformation",
            set_info,
            lambda d: d.set_parent("p.vhdx"),
            (1, "C:\\disks\\p.vhdx"),
        ),
        (
            "SetVirtualDiskInformation",
            set_info,
            lambda d: d.set_parent("p.vhdx", depth=2),
            (3, (2, "C:\\disks\\p.vhdx")),
        ),
        (
            "SetVirtualDiskInformation",
            set_info,
            lambda d: d.set_parent_locator(".\\p.vhdx", OTHER),
            (7, (OTHER, ".\\p.vhdx")),
        ),
        ("SetVirtualDiskInformation", set_info, lambda d: d.set_disk_id(OTHER), (5, OTHER)),
        (
            "SetVirtualDiskInformation",
            set_info,
            lambda d: d.set_physical_sector_size(4096),
            (4, 4096),
        ),
        (
            "SetVirtualDiskInformation",
            set_info,
            lambda d: d.set_change_tracking(True),
            (6, 1),
        ),
        (
            "AddVirtualDiskParent",
            lambda disk, path: path,
            lambda d: d.add_parent("p.vhdx"),
            "C:\\disks\\p.vhdx",
        ),
        ("TakeSnapshotVhdSet", taken, lambda d: d.take_snapshot(OTHER), (1, OTHER, 0)),
        (
            "TakeSnapshotVhdSet",
            taken,
            lambda d: d.take_snapshot(OTHER, writable=True),
            (1, OTHER, 1),
        ),
        ("DeleteSnapshotVhdSet", deleted, lambda d: d.delete_snapshot(OTHER), (1, OTHER, 0)),
        (
            "DeleteSnapshotVhdSet",
            deleted,
            lambda d: d.delete_snapshot(OTHER, keep_changes=True),
            (1, OTHER, 1),
        ),
        (
            "ApplySnapshotVhdSet",
            applied,
            lambda d: d.apply_snapshot(OTHER),
            (1, (OTHER, uuid.UUID(int=0)), 0),
        ),
        (
            "ApplySnapshotVhdSet",
            applied,
            lambda d: d.apply_snapshot(OTHER, leaf_snapshot_id=DISK_ID, writable=True),
            (1, (OTHER, DISK_ID), 1),
        ),
        (
            "ModifyVhdSet",
            modified,
            lambda d: d.set_snapshot_path(OTHER, "s.avhdx", writable=True),
            (1, (OTHER, "C:\\disks\\s.avhdx"), 1),
        ),
        ("ModifyVhdSet", modified, lambda d: d.forget_snapshot(OTHER), (2, OTHER, 0)),
        (
            "ModifyVhdSet",
            modified,
            lambda d: d.set_default_snapshot_path("d.avhdx"),
            (3, "C:\\disks\\d.avhdx", 0),
        ),
        ("AttachVirtualDisk", attached, lambda d: d.attach(), (0, 0, 1, None, 0)),
        (
            "AttachVirtualDisk",
            attached,
            lambda d: d.attach(read_only=True, drive_letter=False, permanent=True, flags=0x40),
            (0, 0x47, 1, None, 0),
        ),
        (
            "AttachVirtualDisk",
            attached,
            lambda d: d.attach(restrict_to=(MIB, 2 * MIB)),
            (0, 0x80, 2, (MIB, 2 * MIB), 0),
        ),
    ],
)
def test_each_method_passes_on_what_it_was_given(
    driver: Driver,
    function: str,
    look: Callable[..., object],
    use: Callable[[VirtualDisk], object],
    passed: object,
) -> None:
    noted = Noted(function, look)
    with noted.block, VirtualDisk.open("a.vhdx") as disk:
        result = use(disk)
        if isinstance(result, Operation):
            assert result.result() is None
    assert noted.seen == [passed]


def test_the_identity_of_a_vhd_is_set_as_its_identifier(driver: Driver) -> None:
    driver.device = 2
    noted = Noted("SetVirtualDiskInformation", set_info)
    with noted.block, VirtualDisk.open("a.vhd") as disk:
        disk.set_disk_id(OTHER)
    assert noted.seen == [(2, OTHER)]


def test_a_snapshot_has_an_id_of_its_own_unless_it_is_given_one(driver: Driver) -> None:
    noted = Noted("TakeSnapshotVhdSet", taken)
    with noted.block, VirtualDisk.open("a.vhds") as disk:
        first, second = disk.take_snapshot(), disk.take_snapshot()
    assert first != second
    assert noted.seen == [(1, first, 0), (1, second, 0)]


def test_create_from_names_source_type_and_size(driver: Driver) -> None:
    def look(*arguments: int | str) -> object:
        assert isinstance(arguments[6], int)
        given = at(v.CREATE_VIRTUAL_DISK_PARAMETERS, arguments[6]).Version2
        assert isinstance(arguments[8], int)
        at(v.HANDLE_CELL, arguments[8]).Value = driver.new_handle()
        return (
            arguments[1],
            arguments[4],
            given.SourcePath,
            given.SourceVirtualStorageType.DeviceId,
            given.ParentPath,
            given.MaximumSize,
            given.BlockSizeInBytes,
        )

    noted = Noted("CreateVirtualDisk", look)
    fixed = VirtualDiskType.FIXED
    with noted.block:
        VirtualDisk.create_from("a.vhdx", "b.vhd", block_size=MIB).close()
        VirtualDisk.create_from("a.vhd", "b.vhdx", disk_type=fixed, size=8 * MIB).close()
        VirtualDisk.create_from("a.vhdx", "\\\\.\\PhysicalDrive3").close()
    assert noted.seen == [
        ("C:\\disks\\a.vhdx", 0, "C:\\disks\\b.vhd", 2, None, 0, MIB),
        ("C:\\disks\\a.vhd", 1, "C:\\disks\\b.vhdx", 3, None, 8 * MIB, 0),
        ("C:\\disks\\a.vhdx", 0, "\\\\.\\PhysicalDrive3", 0, None, 0, 0),
    ]


def test_open_can_name_a_snapshot_a_custom_chain_and_more_flags(driver: Driver) -> None:
    VirtualDisk.open("a.vhds", snapshot_id=OTHER, custom_chain=True, flags=0x200).close()
    call = driver.of("OpenVirtualDisk")
    assert call.flags == 0x210
    assert call.open is not None
    assert (call.open.Version, call.open.Version3.SnapshotId.uuid()) == (3, OTHER)
    assert call.open.Version3.ResiliencyGuid.uuid() != uuid.UUID(int=0)


def test_an_iso_image_is_opened_the_only_way_it_can_be(driver: Driver) -> None:
    with VirtualDisk.open("a.iso") as disk:
        disk.attach_raw()
    call = driver.of("OpenVirtualDisk")
    assert call.open is not None
    assert (call.device, call.mask, call.open.Version, call.open.Version1.RWDepth) == (
        1,
        0xD0000,
        1,
        0,
    )
    assert driver.of("AttachVirtualDisk").flags & 1  # read-only


# -- Failures ---------------------------------------------------------------------

USES: dict[str, Callable[[VirtualDisk], object]] = {
    "OpenVirtualDisk": lambda disk: VirtualDisk.open("a.vhdx"),
    "CreateVirtualDisk": lambda disk: VirtualDisk.create_from("a.vhdx", "b.vhdx"),
    "AttachVirtualDisk": lambda disk: disk.attach(),
    "DetachVirtualDisk": lambda disk: disk.detach(),
    "GetVirtualDiskPhysicalPath": lambda disk: disk.physical_path,
    "GetAllAttachedVirtualDiskPhysicalPaths": lambda disk: VirtualDisk.attached_disks(),
    "GetStorageDependencyInformation": lambda disk: VirtualDisk.dependencies("C:"),
    "GetVirtualDiskInformation": lambda disk: disk.fragmentation,
    "SetVirtualDiskInformation": lambda disk: disk.set_change_tracking(True),
    "EnumerateVirtualDiskMetadata": lambda disk: list(disk.metadata),
    "GetVirtualDiskMetadata": lambda disk: disk.metadata[OTHER],
    "SetVirtualDiskMetadata": lambda disk: disk.metadata.__setitem__(OTHER, b"x"),
    "DeleteVirtualDiskMetadata": lambda disk: disk.metadata.__delitem__(OTHER),
    "AddVirtualDiskParent": lambda disk: disk.add_parent("p.vhdx"),
    "CompactVirtualDisk": lambda disk: disk.compact(),
    "MergeVirtualDisk": lambda disk: disk.merge(),
    "ExpandVirtualDisk": lambda disk: disk.expand(9 * MIB),
    "ResizeVirtualDisk": lambda disk: disk.resize(9 * MIB),
    "MirrorVirtualDisk": lambda disk: disk.mirror("m.vhdx"),
    "BreakMirrorVirtualDisk": lambda disk: disk.break_mirror(),
    "ForkVirtualDisk": lambda disk: disk.fork("f.vhdx"),
    "CompleteForkVirtualDisk": lambda disk: disk.complete_fork(),
    "QueryChangesVirtualDisk": lambda disk: list(disk.changes("since")),
    "TakeSnapshotVhdSet": lambda disk: disk.take_snapshot(),
    "DeleteSnapshotVhdSet": lambda disk: disk.delete_snapshot(OTHER),
    "ModifyVhdSet": lambda disk: disk.forget_snapshot(OTHER),
    "ApplySnapshotVhdSet": lambda disk: disk.apply_snapshot(OTHER),
    "RawSCSIVirtualDisk": lambda disk: disk.raw_scsi(bytes(6)),
}
OF_THE_MACHINE = {"GetAllAttachedVirtualDiskPhysicalPaths"}
NAMED_OTHERWISE = {"GetStorageDependencyInformation": "C:"}


def test_every_function_of_the_dll_can_be_reached() -> None:
    # The progress of an operation is the subject of test_operation.
    assert USES.keys() | {"GetVirtualDiskOperationProgress"} == _virtdisk.PROTOTYPES.keys()


@pytest.mark.parametrize("function", USES)
@pytest.mark.parametrize(
    "code", [constants.ERROR_ACCESS_DENIED, 0xC03A001C, constants.ERROR_CALL_NOT_IMPLEMENTED]
)
def test_a_function_that_fails_is_named_with_its_code_and_the_file(
    driver: Driver, function: str, code: int
) -> None:
    failing = substituted(
        virtdisk={function: lambda *_: code},
        kernel32={"CreateFileW": lambda *_: driver.new_handle()},
    )
    with VirtualDisk.open("a.vhdx") as disk, failing:
        on = VirtualDisk.open("a.vhdx") if function != "OpenVirtualDisk" else disk
        with on, pytest.raises(OSError, match=r".") as caught:
            USES[function](on)
    assert windows.winerror(caught.value) == code
    assert caught.value.__notes__[0].startswith(f"{function} failed with Windows error ")
    if function not in OF_THE_MACHINE:
        assert caught.value.filename == NAMED_OTHERWISE.get(function, "a.vhdx")


@pytest.mark.parametrize(
    "function",
    [
        "AttachVirtualDisk",
        "CompactVirtualDisk",
        "CreateVirtualDisk",
        "ExpandVirtualDisk",
        "GetVirtualDiskInformation",
        "MergeVirtualDisk",
        "MirrorVirtualDisk",
        "QueryChangesVirtualDisk",
        "RawSCSIVirtualDisk",
        "ResizeVirtualDisk",
        "SetVirtualDiskInformation",
    ],
)
def test_error_87_comes_with_what_was_ruled_out(driver: Driver, function: str) -> None:
    failing = substituted(virtdisk={function: lambda *_: constants.ERROR_INVALID_PARAMETER})
    with (
        failing,
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(OSError, match=r"vhdx") as caught,
    ):
        USES[function](disk)
    assert len(caught.value.__notes__) == 2


@pytest.mark.parametrize(
    ("use", "complaint"),
    [
        (lambda disk: disk.resize(MIB), "size must be at least 3145728"),
        (lambda disk: disk.resize(8 * MIB + 1), "multiple of the sector size, 512"),
        (lambda disk: disk.resize((64 << 40) + 512), "size must be at most"),
        (lambda disk: disk.expand(0), "size must be at least"),
        (lambda disk: disk.merge(source_depth=0), "source_depth must be at least 1"),
        (lambda disk: disk.merge(source_depth=2), "below target_depth, not 2 and 2"),
        (lambda disk: disk.merge(target_depth=(1 << 32) + 2), "4294967298, and both have 32 bits"),
        (lambda disk: disk.mirror(""), "is no path"),
        (lambda disk: disk.fork("a\0"), "is no path"),
        (lambda disk: disk.set_parent(""), "is no path"),
        (lambda disk: disk.add_parent(""), "is no path"),
        (lambda disk: disk.set_physical_sector_size(1024), "must be 512 or 4096"),
        (lambda disk: VirtualDisk.open("a.vhdx", flags=1 << 32), "flags must have 32 bits"),
        (lambda disk: VirtualDisk.create_dynamic("a.vhd", 8 * MIB, flags=-1), "flags must"),
        (lambda disk: VirtualDisk.create_fixed("a.vhd", 8 * MIB, flags=-1), "flags must"),
        (lambda disk: disk.attach(flags=1 << 32), "flags must have 32 bits"),
        (lambda disk: disk.mirror("b.vhdx", flags=1 << 32), "flags must have 32 bits"),
        (lambda disk: disk.attach(restrict_to=(-1, 5)), "restrict_to"),
        (lambda disk: disk.attach(restrict_to=(0, 0)), "restrict_to"),
        (lambda disk: disk.attach(restrict_to=(1 << 64, 4096)), "restrict_to"),
        (lambda disk: disk.set_parent("p.vhdx", depth=0), "depth must be at least 1"),
        (lambda disk: disk.set_parent("p.vhdx", depth=1 << 32), "depth must be at least 1"),
        (lambda disk: disk.changes(""), "since must be a change tracking id"),
        (lambda disk: disk.changes("x" * 256), "since must be a change tracking id"),
        (lambda disk: disk.changes("a", offset=-1), "inside the 8388608 bytes"),
        (lambda disk: disk.changes("a", length=9 * MIB), "inside the 8388608 bytes"),
        (lambda disk: disk.raw_scsi(b""), "cdb must have 6 to 32 bytes"),
        (lambda disk: disk.raw_scsi(bytes(33)), "cdb must have 6 to 32 bytes"),
        (lambda disk: disk.raw_scsi(bytes(6), data=b"x", length=1), "either writes data or reads"),
        (lambda disk: disk.raw_scsi(bytes(6), length=-1), "length must be in"),
        (lambda disk: VirtualDisk.create_from("a.img", "b.vhd"), r"must end in \.vhd"),
        (lambda disk: VirtualDisk.create_from("a.vhd", ""), "is no path"),
        (lambda disk: VirtualDisk.create_from("a.vhd", "b.vhd", size=MIB), "size must be at least"),
        (lambda disk: VirtualDisk.create_from("a.vhd", "b.vhd", block_size=3), "block_size must"),
        (
            lambda disk: VirtualDisk.create_from(
                "a.vhd", "b.vhd", disk_type=VirtualDiskType.DIFFERENCING
            ),
            "disk_type must be FIXED or DYNAMIC",
        ),
        (
            lambda disk: VirtualDisk.create_from(
                "a.vhd", "b.vhd", disk_type=VirtualDiskType.FIXED, block_size=2 * MIB
            ),
            "block_size must be 0 in a fixed disk",
        ),
        (
            lambda disk: VirtualDisk.open("a.iso", snapshot_id=uuid.uuid4()),
            "snapshot_id must be None for an ISO image",
        ),
        (lambda disk: VirtualDisk.create_fixed("a.iso", 8 * MIB), r"must end in \.vhd"),
        (
            lambda disk: VirtualDisk.create_fixed("a.vhdx", 8 * MIB, physical_sector_size=1024),
            "physical_sector_size must be 512 or 4096 in a VHDX, not 1024",
        ),
        (
            lambda disk: VirtualDisk.create_fixed(
                "a.vhdx", 8 * MIB, sector_size=4096, physical_sector_size=512
            ),
            "must not be smaller than sector_size",
        ),
    ],
)
def test_what_python_can_check_is_named_before_windows_says_87(
    driver: Driver, use: Callable[[VirtualDisk], object], complaint: str
) -> None:
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(InvalidInputError, match=complaint):
        use(disk)
    assert set(driver.names()) <= {"OpenVirtualDisk", "GetVirtualDiskInformation"}


@pytest.mark.parametrize("value", ["01234567-89ab-cdef-0123-456789abcdef", b"0" * 16, 5])
@pytest.mark.parametrize(
    ("use", "argument"),
    [
        (lambda disk, it: VirtualDisk.create_dynamic("a.vhdx", 8 * MIB, disk_id=it), "disk_id"),
        (lambda disk, it: VirtualDisk.open("a.vhds", snapshot_id=it), "snapshot_id"),
        (lambda disk, it: disk.set_disk_id(it), "disk_id"),
        (lambda disk, it: disk.set_parent_locator("p.vhdx", it), "linkage_id"),
        (lambda disk, it: disk.take_snapshot(it), "snapshot_id"),
        (lambda disk, it: disk.delete_snapshot(it), "snapshot_id"),
        (lambda disk, it: disk.apply_snapshot(it), "snapshot_id"),
        (
            lambda disk, it: disk.apply_snapshot(uuid.uuid4(), leaf_snapshot_id=it),
            "leaf_snapshot_id",
        ),
        (lambda disk, it: disk.set_snapshot_path(it, "s.avhdx"), "snapshot_id"),
        (lambda disk, it: disk.forget_snapshot(it), "snapshot_id"),
    ],
)
def test_an_identity_that_is_none_is_named(
    driver: Driver, use: Callable[[VirtualDisk, object], object], argument: str, value: object
) -> None:
    with (
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(TypeError, match=rf"^{argument} must be a uuid\.UUID, not "),
    ):
        use(disk, value)
    assert set(driver.names()) <= {"OpenVirtualDisk", "GetVirtualDiskInformation"}
