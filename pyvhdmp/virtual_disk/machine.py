"""The virtual disks of this machine: which are attached, and what depends on which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyvhdmp import files
from pyvhdmp._win32 import Windows, constants
from pyvhdmp._win32.memory import address_of, wide_text, wide_texts
from pyvhdmp._win32.virtdisk_enums import (
    DEPENDENT_DISK_FLAG,
    GET_STORAGE_DEPENDENCY_FLAG,
    STORAGE_DEPENDENCY_INFO_VERSION,
)
from pyvhdmp._win32.virtdisk_structures import (
    DEPENDENCY_SIZE,
    STORAGE_DEPENDENCY_INFO,
    STORAGE_DEPENDENCY_INFO_TYPE_2,
    ULONG_CELL,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import check_code, last_error
from pyvhdmp.virtual_disk.formats import FORMATS, VirtualDiskFormat
from pyvhdmp.virtual_disk.questions import grown, implausible

__all__ = ["StorageDependency", "attached_disks", "dependencies"]

_ENTRIES_AT: Final = 8


@dataclass(frozen=True)
class StorageDependency:
    """A virtual disk that something lies on.

    `level`: the larger, the further down. `device`: the attached disk,
    such as ``\\\\?\\PhysicalDrive3``. `host_volume`: where its file is, and `path` the file
    there, relative to that volume (`volume`). `flags`: Windows' DEPENDENT_DISK_FLAG.
    """

    level: int
    format: VirtualDiskFormat | None
    flags: DEPENDENT_DISK_FLAG
    device: str
    host_volume: str
    volume: str
    path: str


def attached_disks(windows: Windows) -> tuple[str, ...]:
    """Return the devices that virtual disks are attached as."""

    def call(block: Block, size: int) -> tuple[int, int]:
        cell = ULONG_CELL(size)  # in bytes, and so is what it asks for
        code = windows.virtdisk.GetAllAttachedVirtualDiskPhysicalPaths(
            address_of(cell), block.address
        )
        return code, cell.Value

    block, code = grown(call, PAGE_SIZE)
    check_code(code, "GetAllAttachedVirtualDiskPhysicalPaths")
    return wide_texts(bytes(block.memory))


def dependencies(windows: Windows, path: str) -> tuple[StorageDependency, ...]:
    """Return the virtual disks that a volume, a file, a folder or a disk lies on."""
    flags = GET_STORAGE_DEPENDENCY_FLAG.HOST_VOLUMES
    name = path
    if len(path.rstrip("\\")) == 2 and path[1] == ":":
        name = f"\\\\.\\{path[:2]}"  # a volume goes without the backslash of its root folder
    elif path.lower().startswith("\\\\.\\physicaldrive"):
        flags |= GET_STORAGE_DEPENDENCY_FLAG.DISK_HANDLE
    handle = windows.kernel32.CreateFileW(
        files.extended(windows, name),
        constants.GENERIC_READ,
        constants.FILE_SHARE_READ | constants.FILE_SHARE_WRITE | constants.FILE_SHARE_DELETE,
        0,
        constants.OPEN_EXISTING,
        constants.FILE_FLAG_BACKUP_SEMANTICS,  # without which a folder cannot be opened
        0,
    )
    if handle == constants.INVALID_HANDLE_VALUE:
        raise last_error(windows, "CreateFileW", path)
    try:
        return _ask(windows, handle, flags, path)
    finally:
        files.close_handle(windows, handle)


def _ask(windows: Windows, handle: int, flags: int, path: str) -> tuple[StorageDependency, ...]:
    def call(block: Block, size: int) -> tuple[int, int]:
        info = STORAGE_DEPENDENCY_INFO.from_buffer(block.memory)
        info.Version = STORAGE_DEPENDENCY_INFO_VERSION.VERSION_2
        used = ULONG_CELL()
        code = windows.virtdisk.GetStorageDependencyInformation(
            handle, flags, size, block.address, address_of(used)
        )
        return code, used.Value

    block, code = grown(call, PAGE_SIZE)
    check_code(code, "GetStorageDependencyInformation", path)
    header = STORAGE_DEPENDENCY_INFO.from_buffer_copy(block.memory)
    if header.NumberEntries > (block.size - _ENTRIES_AT) // DEPENDENCY_SIZE:
        raise implausible(
            "GetStorageDependencyInformation",
            f"{header.NumberEntries} entries in {block.size} bytes",
            path,
        )
    found = []
    for index in range(header.NumberEntries):
        at = _ENTRIES_AT + index * DEPENDENCY_SIZE
        entry = STORAGE_DEPENDENCY_INFO_TYPE_2.from_buffer_copy(block.memory, at)
        found.append(
            StorageDependency(
                level=entry.AncestorLevel,
                format=FORMATS.get(entry.VirtualStorageType.DeviceId),
                flags=DEPENDENT_DISK_FLAG(entry.DependencyTypeFlags),
                device=_text(block, entry.DependencyDeviceName),
                host_volume=_text(block, entry.HostVolumeName),
                volume=_text(block, entry.DependentVolumeName),
                path=_text(block, entry.DependentVolumeRelativePath),
            )
        )
    return tuple(found)


def _text(block: Block, address: int) -> str:
    """Return a text that lies in the block; there is none at any other address."""
    at = address - block.address
    if not 0 <= at < block.size:
        return ""
    end = at + (block.size - at) // 2 * 2
    return wide_text(block.memory[at:end])
