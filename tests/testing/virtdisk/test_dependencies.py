"""GetStorageDependencyInformation."""

from __future__ import annotations

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp.buffers import PAGE_SIZE, Block
from tests.testing.program import content
from tests.testing.virtdisk.disks import MIB, VHDX, Disks

READ, OPEN_EXISTING = constants.GENERIC_READ, constants.OPEN_EXISTING
FLAG = enums.GET_STORAGE_DEPENDENCY_FLAG
DEPENDENT = enums.DEPENDENT_DISK_FLAG
P, C = "C:\\folder\\p.vhdx", "C:\\folder\\c.vhdx"


def drive(disks: Disks) -> int:
    """The drive that a child is attached as, read-only."""
    disks.machine.files.make_folder("C:\\folder")
    disks.make(P, 4 * MIB)
    disks.make(C, parent=P)
    assert disks.attach(disks.open(C), enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY) == 0
    return disks.drive("\\\\.\\PhysicalDrive1")


def asked(
    disks: Disks, handle: int, flags: int, version: int, room: int = PAGE_SIZE
) -> tuple[int, int, Block]:
    block, used = Block(PAGE_SIZE), v.ULONG_CELL()
    v.STORAGE_DEPENDENCY_INFO.from_buffer(block.memory).Version = version
    code = disks.virtdisk.GetStorageDependencyInformation(
        handle, flags, room, block.address, address_of(used)
    )
    return code, used.Value, block


def text(address: int) -> str:
    """A text that lies in the block."""
    return wide_text(content(address, 100))


def test_a_drive_depends_on_its_file_and_its_parents(disks: Disks) -> None:
    handle = drive(disks)
    for flags, paths in (
        (FLAG.DISK_HANDLE, ["\\folder\\c.vhdx"]),
        (FLAG.DISK_HANDLE | FLAG.HOST_VOLUMES, ["\\folder\\c.vhdx", "\\folder\\p.vhdx"]),
    ):
        code, used, block = asked(disks, handle, flags, 2)
        assert code == 0
        info = v.STORAGE_DEPENDENCY_INFO.from_buffer(block.memory)
        assert info.NumberEntries == len(paths)
        kind = v.STORAGE_DEPENDENCY_INFO_TYPE_2 * len(paths)
        entries = list(kind.from_buffer(block.memory, 8))
        assert [text(entry.DependentVolumeRelativePath) for entry in entries] == paths
        assert [entry.AncestorLevel for entry in entries] == list(range(len(paths)))
        assert text(entries[0].DependencyDeviceName) == "\\\\.\\PhysicalDrive1"
        assert text(entries[0].HostVolumeName).startswith("\\\\?\\Volume{")
        assert entries[0].DependencyTypeFlags & DEPENDENT.READ_ONLY
        assert entries[-1].VirtualStorageType.DeviceId == VHDX
        assert asked(disks, handle, flags, 2, used - 1)[:2] == (122, used)


def test_entries_of_version_1_have_no_texts(disks: Disks) -> None:
    code, used, block = asked(disks, drive(disks), FLAG.DISK_HANDLE, 1)
    assert (code, used) == (0, 8 + 28)
    entry = v.STORAGE_DEPENDENCY_INFO_TYPE_1.from_buffer(block.memory, 8)
    assert entry.VirtualStorageType.DeviceId == VHDX


def test_what_is_asked_wrongly_is_refused(disks: Disks) -> None:
    handle = drive(disks)
    assert asked(disks, handle, 0, 1)[0] == 87
    assert asked(disks, handle, FLAG.DISK_HANDLE, 3)[0] == 87
    assert asked(disks, handle, FLAG.DISK_HANDLE, 1, 4)[0] == 87
    none = disks.open(P, read_only=True)
    code = constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK
    assert asked(disks, none, FLAG.DISK_HANDLE, 1)[0] == code
    folder = disks.kernel32.CreateFileW(
        "\\\\.\\C:", READ, 7, 0, OPEN_EXISTING, constants.FILE_FLAG_BACKUP_SEMANTICS, 0
    )
    disks.handles.append(folder)
    assert asked(disks, folder, FLAG.HOST_VOLUMES, 1)[0] == code
    (attached,) = [h for h in disks.handles if h not in (handle, none, folder)]
    assert disks.virtdisk.DetachVirtualDisk(attached, 0, 0) == 0
    assert asked(disks, handle, FLAG.DISK_HANDLE, 1)[0] == code
