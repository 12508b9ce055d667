"""What Windows tells about an open virtual disk: GetVirtualDiskInformation and its kin.

Rules:

1. Whoever asks keeps the handle open, and each structure alive, until the call has returned.
2. Nothing is remembered: each question goes to Windows.
3. An answer of unknown length is asked for again with as much memory as it wants, up to a limit.
4. An answer may come from a file that was made to do harm. What is counted with is checked
   against what there is of it; what cannot be is a `DiskError`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyvhdmp._win32 import Windows, constants
from pyvhdmp._win32.memory import address_of, wide_text, wide_texts
from pyvhdmp._win32.virtdisk_enums import GET_VIRTUAL_DISK_INFO_VERSION as QUESTION
from pyvhdmp._win32.virtdisk_structures import (
    GET_VIRTUAL_DISK_INFO,
    INFO_SIZE,
    MOST_RECENT_ID_AT,
    PARENT_LOCATION_AT,
    ULONG_CELL,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import DiskError, InvalidInputError, check_code
from pyvhdmp.virtual_disk.formats import FORMATS, TYPES, VirtualDiskFormat, VirtualDiskType

__all__ = [
    "PhysicalDisk",
    "VirtualDiskInfo",
    "ask",
    "describe",
    "grown",
    "implausible",
    "virtual_size",
]

_SECTOR_SIZES: Final = tuple(1 << bit for bit in range(9, 17))
_MAX_SIZE: Final = (1 << 63) - 1
_TOO_SMALL: Final = (constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA)


@dataclass(frozen=True)
class VirtualDiskInfo:
    """What Windows tells about a virtual disk. Sizes are in bytes.

    `path`: that the disk was opened by. `virtual_size`: of the disk, which a `Disk` calls its
    `size`. `physical_size`: of the file. `block_size`: 0 for a fixed disk. `disk_type`: None for a
    kind that has no name here. `parent_path`: of a differencing disk whose parent was found;
    if it was not, `parent_candidates` are the places where it was looked for.
    """

    path: str
    format: VirtualDiskFormat
    disk_type: VirtualDiskType | None
    virtual_size: int
    physical_size: int
    sector_size: int
    physical_sector_size: int
    block_size: int
    disk_id: uuid.UUID | None
    parent_path: str | None = None
    parent_candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhysicalDisk:
    """The disk as Windows sees it while it is attached. Sizes are in bytes."""

    sector_size: int
    physical_sector_size: int
    is_remote: bool


def implausible(function: str, answer: str, path: str | None = None) -> DiskError:
    """Return the error for an answer that cannot be: rule 4."""
    return DiskError.because(f"{function} answers what cannot be: {answer}", path)


def virtual_size(windows: Windows, handle: int, path: str) -> int:
    """Return the bytes of the disk behind a handle, as it is now.

    For whoever keeps the handle open meanwhile. Raises the `OSError` of
    GetVirtualDiskInformation, and `DiskError` for a size that no disk has; `path` is for that.
    """
    size = ask(windows, handle, path, QUESTION.SIZE).Size.VirtualSize
    if size > _MAX_SIZE:
        raise implausible("GetVirtualDiskInformation", f"{size} bytes", path)
    return size


def ask(windows: Windows, handle: int, path: str, question: int) -> GET_VIRTUAL_DISK_INFO:
    """Ask one question whose answer has a fixed size."""
    info, size = GET_VIRTUAL_DISK_INFO(Version=question), ULONG_CELL(INFO_SIZE)
    code = windows.virtdisk.GetVirtualDiskInformation(handle, address_of(size), address_of(info), 0)
    check_code(code, "GetVirtualDiskInformation", path)
    return info


def describe(windows: Windows, handle: int, path: str) -> VirtualDiskInfo:
    """Return everything that is always known about a disk.

    Raises the `OSError` of GetVirtualDiskInformation, `InvalidInputError` for a format that has no
    name here, and `DiskError` for sizes that no disk has.
    """
    size = ask(windows, handle, path, QUESTION.SIZE).Size
    if size.SectorSize not in _SECTOR_SIZES or size.VirtualSize > _MAX_SIZE:
        raise implausible(
            "GetVirtualDiskInformation",
            f"{size.VirtualSize} bytes in sectors of {size.SectorSize}",
            path,
        )
    device = ask(windows, handle, path, QUESTION.VIRTUAL_STORAGE_TYPE).VirtualStorageType.DeviceId
    if device not in FORMATS:
        raise InvalidInputError.because(f"a virtual disk of an unknown format, {device}", path)
    format = FORMATS[device]
    if format is VirtualDiskFormat.ISO:  # to which the other questions are foreign
        return VirtualDiskInfo(
            path=path,
            format=format,
            disk_type=VirtualDiskType.FIXED,
            virtual_size=size.VirtualSize,
            physical_size=size.PhysicalSize,
            sector_size=size.SectorSize,
            physical_sector_size=size.SectorSize,
            block_size=size.BlockSize,
            disk_id=None,
        )
    subtype = ask(windows, handle, path, QUESTION.PROVIDER_SUBTYPE).ProviderSubtype
    physical = ask(windows, handle, path, QUESTION.VHD_PHYSICAL_SECTOR_SIZE)
    if format is VirtualDiskFormat.VHD:
        disk_id = ask(windows, handle, path, QUESTION.IDENTIFIER).Identifier.uuid()
    else:
        disk_id = ask(windows, handle, path, QUESTION.VIRTUAL_DISK_ID).VirtualDiskId.uuid()
    parents: tuple[str, ...] = ()
    is_found = False
    if TYPES.get(subtype) is VirtualDiskType.DIFFERENCING:
        is_found, parents = parent_location(windows, handle, path)
    return VirtualDiskInfo(
        path=path,
        format=format,
        disk_type=TYPES.get(subtype),
        virtual_size=size.VirtualSize,
        physical_size=size.PhysicalSize,
        sector_size=size.SectorSize,
        physical_sector_size=physical.VhdPhysicalSectorSize,
        block_size=size.BlockSize,
        disk_id=disk_id,
        parent_path=parents[0] if is_found and parents else None,
        parent_candidates=() if is_found else parents,
    )


def parent_location(windows: Windows, handle: int, path: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether the parent was found, and where it is, or else is looked for."""
    code, info, memory = _ask_for_text(windows, handle, QUESTION.PARENT_LOCATION)
    if code == constants.ERROR_VHD_INVALID_TYPE:
        return False, ()  # it has none
    check_code(code, "GetVirtualDiskInformation", path)
    is_found = bool(info.ParentLocation.ParentResolved)
    found = wide_texts(memory[PARENT_LOCATION_AT:])
    return is_found, found[:1] if is_found else found


def change_tracking(windows: Windows, handle: int, path: str) -> tuple[bool, bool, str]:
    """Return whether changes are tracked, whether there are newer ones, and the latest id."""
    code, info, memory = _ask_for_text(windows, handle, QUESTION.CHANGE_TRACKING_STATE)
    check_code(code, "GetVirtualDiskInformation", path)
    state = info.ChangeTrackingState
    return bool(state.Enabled), bool(state.NewerChanges), wide_text(memory[MOST_RECENT_ID_AT:])


def _ask_for_text(
    windows: Windows, handle: int, question: int
) -> tuple[int, GET_VIRTUAL_DISK_INFO, bytes]:
    function = windows.virtdisk.GetVirtualDiskInformation

    def call(block: Block, size: int) -> tuple[int, int]:
        info = GET_VIRTUAL_DISK_INFO.from_buffer(block.memory)
        info.Version = question
        cell = ULONG_CELL(size)
        code = function(handle, address_of(cell), address_of(info), 0)
        return code, cell.Value

    block, code = grown(call, PAGE_SIZE)
    memory = bytes(block.memory)
    return code, GET_VIRTUAL_DISK_INFO.from_buffer_copy(memory), memory


def grown(
    call: Callable[[Block, int], tuple[int, int]], size: int, *, limit: int = 1 << 20
) -> tuple[Block, int]:
    """Make a call with as much memory as it asks for, see rule 3: it returns a code, and that size.

    Some functions tell the size and some do not, so at least twice as much is offered next.
    """
    while True:
        block = Block(size)
        code, wanted = call(block, size)
        if code not in _TOO_SMALL or size >= limit:
            return block, code
        size = min(max(wanted, 2 * size), limit)
