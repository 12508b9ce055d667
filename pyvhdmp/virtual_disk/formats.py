"""Formats of virtual disks, and what can be checked before Windows is asked.

Windows answers ERROR_INVALID_PARAMETER to everything that is wrong with a new disk. What is
checked here is named by its argument instead.
"""

from __future__ import annotations

import enum
import ntpath
import uuid
from typing import Final, NamedTuple

from pyvhdmp import files
from pyvhdmp._win32 import Windows
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    CREATE_VIRTUAL_DISK_PARAMETERS,
    GUID,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.checks import identity, whole_number
from pyvhdmp.errors import InvalidInputError

__all__ = [
    "VirtualDiskFormat",
    "VirtualDiskType",
    "absolute",
    "check_flags",
    "check_new_disk",
    "check_new_name",
    "check_parent",
    "check_size",
    "create_parameters",
    "format_of",
    "guid",
    "set_block_size",
    "set_sizes",
    "storage_type",
    "suffix_of",
]

MAX_ULONG: Final = (1 << 32) - 1
"""ctypes drops what a field has no room for, and says nothing."""

NAMES: Final = "a .vhd, .avhd, .vhdx, .avhdx, .vhds or .iso"
"""What a virtual disk is by its name."""

MIN_SIZE: Final = 3 << 20
"""The smallest virtual disk that Windows makes, in bytes."""


class VirtualDiskFormat(enum.Enum):
    """The format of a virtual disk's file."""

    VHD = "vhd"
    VHDX = "vhdx"
    VHD_SET = "vhds"
    ISO = "iso"


class VirtualDiskType(enum.Enum):
    """How a virtual disk's file holds its content."""

    FIXED = "fixed"
    """All of it is there from the start."""
    DYNAMIC = "dynamic"
    """The file grows with what is written."""
    DIFFERENCING = "differencing"
    """It holds what differs from a parent."""


class _Limits(NamedTuple):
    """What a format can hold."""

    name: str
    size: int
    sector_sizes: tuple[int, ...]
    physical_sector_sizes: tuple[int, ...]
    block_sizes: tuple[int, ...]


_VHD: Final = _Limits("VHD", 2040 << 30, (512,), (512,), (512 << 10, 2 << 20))
_VHDX: Final = _Limits(
    "VHDX", 64 << 40, (512, 4096), (512, 4096), tuple(1 << bit for bit in range(20, 29))
)
_LIMITS: Final = {
    VirtualDiskFormat.VHD: _VHD,
    VirtualDiskFormat.VHDX: _VHDX,
    VirtualDiskFormat.VHD_SET: _VHDX,
}
_SUFFIXES: Final = {
    ".vhd": VirtualDiskFormat.VHD,
    ".avhd": VirtualDiskFormat.VHD,
    ".vhdx": VirtualDiskFormat.VHDX,
    ".avhdx": VirtualDiskFormat.VHDX,
    ".vhds": VirtualDiskFormat.VHD_SET,
    ".iso": VirtualDiskFormat.ISO,
}
_DEVICES: Final = {
    VirtualDiskFormat.VHD: enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD,
    VirtualDiskFormat.VHDX: enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX,
    VirtualDiskFormat.VHD_SET: enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET,
    VirtualDiskFormat.ISO: enums.VIRTUAL_STORAGE_TYPE_DEVICE_ISO,
}
FORMATS: Final = {device: format for format, device in _DEVICES.items()}
TYPES: Final = {
    enums.PROVIDER_SUBTYPE_FIXED: VirtualDiskType.FIXED,
    enums.PROVIDER_SUBTYPE_DYNAMIC: VirtualDiskType.DYNAMIC,
    enums.PROVIDER_SUBTYPE_DIFFERENCING: VirtualDiskType.DIFFERENCING,
}


def check_flags(flags: int, path: str) -> None:
    """Raise `InvalidInputError` for flags that would be cut."""
    if not 0 <= whole_number(flags, "flags") <= MAX_ULONG:
        raise InvalidInputError.because(f"flags must have 32 bits, not be {flags:#x}", path)


def guid(value: uuid.UUID, name: str) -> GUID:
    """Return a caller's UUID as Windows has it."""
    return GUID.of(identity(value, name))


def suffix_of(path: str) -> str:
    """Return what a name ends with, in lower case: ".vhdx", or nothing."""
    return ntpath.splitext(path)[1].lower()


def format_of(path: str) -> VirtualDiskFormat | None:
    """Return the format that a name stands for, None for one that says nothing."""
    return _SUFFIXES.get(suffix_of(path))


def absolute(windows: Windows, path: str) -> str:
    """Return a path as virtdisk.dll wants it: absolute, and in the extended form if it is long."""
    if files.is_verbatim(path):
        return path  # which Windows would make something else of, if there is a .. in it
    return files.extended(windows, files.full_path(windows, path))


def storage_type(format: VirtualDiskFormat | None) -> VIRTUAL_STORAGE_TYPE:
    """Return how Windows names a format. None has it look into the file."""
    if format is None:
        return VIRTUAL_STORAGE_TYPE()  # DEVICE_UNKNOWN, VENDOR_UNKNOWN
    vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
    return VIRTUAL_STORAGE_TYPE(DeviceId=_DEVICES[format], VendorId=vendor)


def _limits(path: str) -> _Limits:
    """Return what a new disk of this name can hold."""
    format = format_of(path)
    limits = None if format is None else _LIMITS.get(format)
    if limits is None:
        raise InvalidInputError.because(
            "the name of a new virtual disk must end in .vhd, .avhd, .vhdx, .avhdx or .vhds", path
        )
    return limits


def check_new_name(path: str) -> None:
    """Raise `InvalidInputError` for a name of no format that a new disk can have."""
    _limits(path)


def create_parameters(path: str, disk_id: uuid.UUID | None) -> CREATE_VIRTUAL_DISK_PARAMETERS:
    """Return what every new disk has. Raises as `check_new_name` does."""
    check_new_name(path)
    parameters = CREATE_VIRTUAL_DISK_PARAMETERS(Version=enums.CREATE_VIRTUAL_DISK_VERSION.VERSION_2)
    if disk_id is not None:
        parameters.Version2.UniqueId = guid(disk_id, "disk_id")
    parameters.Version2.ResiliencyGuid = GUID.of(uuid.uuid4())
    return parameters


def check_parent(path: str, parent: str) -> None:
    """Raise `InvalidInputError` for a parent whose name says another format than the child's.

    In a VHD set the files are of one kind with VHDX.
    """
    limits, format = _limits(path), format_of(parent)
    if format is not None and _LIMITS.get(format) is not limits:
        raise InvalidInputError.because(
            f"the parent of a {limits.name} must be a {limits.name}, too", parent
        )


def check_size(path: str, format: VirtualDiskFormat, size: int, sector_size: int) -> int:
    """Return a size that a disk of a format can have, or raise `InvalidInputError`."""
    size, limits = whole_number(size, "size"), _LIMITS.get(format, _VHDX)
    if size < MIN_SIZE:
        problem = f"at least {MIN_SIZE} bytes (3 MiB)"
    elif size > limits.size:
        problem = f"at most {limits.size} bytes ({limits.size >> 30} GiB) in a {limits.name}"
    elif size % sector_size:
        problem = f"a multiple of the sector size, {sector_size}"
    else:
        return size
    raise InvalidInputError.because(f"size must be {problem}, not {size}", path)


def check_new_disk(path: str, size: int, sector_size: int, physical_sector_size: int = 0) -> None:
    """Raise `InvalidInputError` if no disk of this name can have these sizes.

    A physical sector size of 0 is Windows' choice.
    """
    limits = _limits(path)
    _check_choice("sector_size", sector_size, limits.sector_sizes, limits.name, path)
    if physical_sector_size:
        _check_choice(
            "physical_sector_size",
            physical_sector_size,
            limits.physical_sector_sizes,
            limits.name,
            path,
        )
        if physical_sector_size < sector_size:
            raise InvalidInputError.because(
                f"physical_sector_size, {physical_sector_size}, must not be smaller than "
                f"sector_size, {sector_size}",
                path,
            )
    check_size(path, format_of(path) or VirtualDiskFormat.VHDX, size, sector_size)


def set_sizes(
    parameters: CREATE_VIRTUAL_DISK_PARAMETERS,
    path: str,
    size: int,
    sector_size: int,
    physical_sector_size: int,
) -> None:
    """Set what a new disk, made from nothing, has."""
    size, sector_size = whole_number(size, "size"), whole_number(sector_size, "sector_size")
    physical_sector_size = whole_number(physical_sector_size, "physical_sector_size")
    check_new_disk(path, size, sector_size, physical_sector_size)
    parameters.Version2.MaximumSize = size
    parameters.Version2.SectorSizeInBytes = sector_size
    parameters.Version2.PhysicalSectorSizeInBytes = physical_sector_size


def set_block_size(parameters: CREATE_VIRTUAL_DISK_PARAMETERS, path: str, block_size: int) -> None:
    """Set the block size; 0 is Windows' choice."""
    block_size, limits = whole_number(block_size, "block_size"), _limits(path)
    if block_size and block_size not in limits.block_sizes:
        allowed = ", ".join(map(str, limits.block_sizes))
        raise InvalidInputError.because(
            f"block_size must be 0 or, in a {limits.name}, one of {allowed}, not {block_size}", path
        )
    parameters.Version2.BlockSizeInBytes = block_size


def _check_choice(
    argument: str, value: int, allowed: tuple[int, ...], name: str, path: str
) -> None:
    if value not in allowed:
        choices = " or ".join(map(str, allowed))
        raise InvalidInputError.because(
            f"{argument} must be {choices} in a {name}, not {value}", path
        )
