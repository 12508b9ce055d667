"""VirtualDisk: virtual disk files through Windows' own VHDMP driver, by way of virtdisk.dll.

Rules:

1. A `VirtualDisk` owns one handle, from a successful `open` or `create` until `close` or
   `release`. What Windows writes there when it fails is no handle, and is never closed.
2. Every open and create has a fresh random ResiliencyGuid, so that VHDMP takes no two of
   them for one; who may open what together is then decided by the files' own sharing.
3. Everything is opened with parameters of version 2, which want an access mask of NONE.
4. A call holds the lock, so the handle is not closed under it.
5. A structure, and any str in it, is a local variable until its call has returned.
6. An attachment without a permanent lifetime ends with the last handle of its disk.
7. What Python can check is checked before the call, as Windows says 87 to all of it.
"""

from __future__ import annotations

import enum
import ntpath
import operator
import os
import threading
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pyvhdmp import files
from pyvhdmp._win32 import Handle, Windows, constants, current
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp._win32.structures import WCHAR_SIZE
from pyvhdmp._win32.virtdisk_structures import (
    ATTACH_VIRTUAL_DISK_PARAMETERS,
    CREATE_VIRTUAL_DISK_PARAMETERS,
    GET_VIRTUAL_DISK_INFO,
    GUID,
    HANDLE_CELL,
    INFO_SIZE,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    PARENT_LOCATION_AT,
    ULONG_CELL,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import InvalidInputError, windows_error

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "VirtualDisk",
    "VirtualDiskFormat",
    "VirtualDiskInfo",
    "VirtualDiskType",
    "check_size",
    "virtual_size",
]

MIN_SIZE: Final = 3 << 20
"""The smallest virtual disk that Windows makes, in bytes."""


class VirtualDiskFormat(enum.Enum):
    """The format of a virtual disk's file."""

    VHD = "vhd"
    VHDX = "vhdx"
    VHD_SET = "vhds"


class VirtualDiskType(enum.Enum):
    """How a virtual disk's file holds its content."""

    FIXED = "fixed"
    """All of it is there from the start."""
    DYNAMIC = "dynamic"
    """The file grows with what is written."""
    DIFFERENCING = "differencing"
    """It holds what differs from a parent."""


@dataclass(frozen=True)
class VirtualDiskInfo:
    """What Windows tells about a virtual disk. Sizes are in bytes.

    `physical_size`: of the file. `block_size`: 0 for a fixed disk. `disk_type`: None for a
    kind that has no name here. `parent_path`: of a differencing disk whose parent was found;
    if it was not, `parent_candidates` are the places where it was looked for.
    """

    format: VirtualDiskFormat
    disk_type: VirtualDiskType | None
    virtual_size: int
    physical_size: int
    sector_size: int
    physical_sector_size: int
    block_size: int
    disk_id: uuid.UUID
    parent_path: str | None = None
    parent_candidates: tuple[str, ...] = ()


class _Limits(NamedTuple):
    """What a format can hold."""

    name: str
    size: int
    sector_sizes: tuple[int, ...]
    block_sizes: tuple[int, ...]


_VHD: Final = _Limits("VHD", 2040 << 30, (512,), (512 << 10, 2 << 20))
_VHDX: Final = _Limits("VHDX", 64 << 40, (512, 4096), tuple(1 << bit for bit in range(20, 29)))
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
}
_DEVICES: Final = {
    VirtualDiskFormat.VHD: constants.VIRTUAL_STORAGE_TYPE_DEVICE_VHD,
    VirtualDiskFormat.VHDX: constants.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX,
    VirtualDiskFormat.VHD_SET: constants.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET,
}
_FORMATS: Final = {device: format for format, device in _DEVICES.items()}
_TYPES: Final = {
    constants.PROVIDER_SUBTYPE_FIXED: VirtualDiskType.FIXED,
    constants.PROVIDER_SUBTYPE_DYNAMIC: VirtualDiskType.DYNAMIC,
    constants.PROVIDER_SUBTYPE_DIFFERENCING: VirtualDiskType.DIFFERENCING,
}
_TOO_SMALL: Final = (constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA)


class VirtualDisk:
    """An open virtual disk file: what it is, and whether it is attached.

    Made by `open`, `create_fixed`, `create_dynamic` and `create_differencing`. For reading
    and writing it, see `VhdmpDisk`. All methods can be called from any thread.
    """

    def __init__(
        self,
        windows: Windows,
        handle: Handle,
        path: str,
        *,
        read_only: bool = False,
        info_only: bool = False,
    ) -> None:
        """Take over a handle. For the class methods."""
        self._handle: Handle | None = handle
        self._windows = windows
        self._path = path
        self._read_only = read_only
        self._info_only = info_only
        self._attached = False
        self._lock = threading.RLock()  # a finalizer may come back in

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        cached_io: bool = False,
        info_only: bool = False,
        no_parents: bool = False,
    ) -> Self:
        """Open a virtual disk file; its name says which format it has.

        `read_only`: any number may have it open so. `cached_io`: through Windows' cache,
        and neither unbuffered nor written through. `info_only`: only to ask for its `info`,
        even while it is attached elsewhere. `no_parents`: a differencing disk alone, even
        if its parent is missing.

        Raises the `OSError` of OpenVirtualDisk, virtdisk.h: `FileNotFoundError`,
        `PermissionError` for a file that is open elsewhere, and others.
        """
        windows, name = current(), files.checked_path(path)
        parameters = OPEN_VIRTUAL_DISK_PARAMETERS(Version=constants.OPEN_VIRTUAL_DISK_VERSION_2)
        parameters.Version2.GetInfoOnly = info_only
        parameters.Version2.ReadOnly = read_only
        parameters.Version2.ResiliencyGuid = GUID.of(uuid.uuid4())
        flags = constants.OPEN_VIRTUAL_DISK_FLAG_CACHED_IO if cached_io else 0
        if no_parents:
            flags |= constants.OPEN_VIRTUAL_DISK_FLAG_NO_PARENTS
        storage_type = _storage_type(_SUFFIXES.get(_suffix(name)))
        handle = HANDLE_CELL()
        code = windows.virtdisk.OpenVirtualDisk(
            address_of(storage_type),
            _absolute(windows, name),
            constants.VIRTUAL_DISK_ACCESS_NONE,
            flags,
            address_of(parameters),
            address_of(handle),
        )
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "OpenVirtualDisk", name)
        return cls(windows, Handle(handle.Value), name, read_only=read_only, info_only=info_only)

    @classmethod
    def create_fixed(
        cls,
        path: str | os.PathLike[str],
        size: int,
        *,
        sector_size: int = 512,
        disk_id: uuid.UUID | None = None,
    ) -> Self:
        """Create a fixed disk of `size` bytes and return it, open. The whole file is made.

        The name says which format. `size` is at least 3 MiB and at most 2040 GiB (VHD) or
        64 TiB (VHDX), a multiple of `sector_size`, which is 512 or, in a VHDX, 4096.
        `disk_id`: its identity, by default a new one.

        Raises `InvalidInputError` that names the argument, `FileExistsError`, and the
        `OSError` of CreateVirtualDisk, virtdisk.h.
        """
        name = files.checked_path(path)
        parameters = _create_parameters(name, disk_id)
        _set_size(parameters, name, size, sector_size)
        flags = constants.CREATE_VIRTUAL_DISK_FLAG_FULL_PHYSICAL_ALLOCATION
        return cls._create(name, flags, parameters)

    @classmethod
    def create_dynamic(
        cls,
        path: str | os.PathLike[str],
        size: int,
        *,
        block_size: int = 0,
        sector_size: int = 512,
        disk_id: uuid.UUID | None = None,
    ) -> Self:
        """Create a disk of `size` bytes whose file grows with use; return it, open.

        `block_size`: what it grows by, in bytes; 0 is Windows' choice, else 512 KiB or 2 MiB
        in a VHD, a power of two from 1 to 256 MiB in a VHDX. The rest, and what is raised,
        is as for `create_fixed`.
        """
        name = files.checked_path(path)
        parameters = _create_parameters(name, disk_id)
        _set_size(parameters, name, size, sector_size)
        _set_block_size(parameters, name, block_size)
        return cls._create(name, 0, parameters)

    @classmethod
    def create_differencing(
        cls,
        path: str | os.PathLike[str],
        parent: str | os.PathLike[str],
        *,
        block_size: int = 0,
        disk_id: uuid.UUID | None = None,
    ) -> Self:
        """Create a disk that begins with the content of `parent` and holds what is changed.

        The parent must not be changed any more. `block_size` is as for `create_dynamic`.
        Size and sector size are the parent's. Raises as `create_fixed` does.
        """
        name, parent_name = files.checked_path(path), files.checked_path(parent)
        parameters = _create_parameters(name, disk_id)
        _set_block_size(parameters, name, block_size)
        version = parameters.Version2
        version.ParentPath = _absolute(current(), parent_name)
        version.ParentVirtualStorageType = _storage_type(_SUFFIXES.get(_suffix(parent_name)))
        return cls._create(name, 0, parameters)

    @classmethod
    def _create(cls, name: str, flags: int, parameters: CREATE_VIRTUAL_DISK_PARAMETERS) -> Self:
        windows = current()
        storage_type = _storage_type(_SUFFIXES[_suffix(name)])
        handle = HANDLE_CELL()
        code = windows.virtdisk.CreateVirtualDisk(
            address_of(storage_type),
            _absolute(windows, name),
            constants.VIRTUAL_DISK_ACCESS_NONE,
            0,  # the security descriptor that the folder gives
            flags,
            0,
            address_of(parameters),
            0,  # no OVERLAPPED: it returns when the file is made
            address_of(handle),
        )
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "CreateVirtualDisk", name)
        return cls(windows, Handle(handle.Value), name)

    def __repr__(self) -> str:
        handle = self._handle
        state = "closed" if handle is None else f"handle {handle:#x}"
        return f"<{type(self).__name__} {self._path!r}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            text = f"unclosed {self!r}"
            self.close()  # first, as a warning may be an error
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    @property
    def path(self) -> str:
        """The path that the disk was opened or created by."""
        return self._path

    @property
    def handle(self) -> int:
        """The handle, still owned by this object. Raises `ValueError` if it is closed."""
        handle = self._handle
        if handle is None:
            raise ValueError("operation on a closed virtual disk")
        return handle

    @property
    def closed(self) -> bool:
        """Whether the handle is closed, or has been released."""
        return self._handle is None

    @property
    def is_attached(self) -> bool:
        """Whether this object has attached the disk. An attachment by others does not count."""
        return self._attached and self._handle is not None

    @property
    def info(self) -> VirtualDiskInfo:
        """What the disk is at this moment: each access asks Windows.

        Raises the `OSError` of GetVirtualDiskInformation, virtdisk.h.
        """
        with self._lock:
            return _info(self._windows, self.handle, self._path)

    @property
    def physical_path(self) -> str:
        r"""The device that the attached disk is, such as ``\\.\PhysicalDrive3``.

        Raises the `OSError` of GetVirtualDiskPhysicalPath, virtdisk.h: a disk that is not
        attached, or attached raw, has none.
        """
        function = self._windows.virtdisk.GetVirtualDiskPhysicalPath

        def call(block: Block, size: int) -> tuple[int, int]:
            cell = ULONG_CELL(size)  # in bytes, and so is what it asks for
            code = function(self.handle, address_of(cell), block.address)
            return code, cell.Value

        with self._lock:
            block, code = _grown(call, PAGE_SIZE)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "GetVirtualDiskPhysicalPath", self._path)
        return wide_text(block.memory[:])

    def attach_raw(self, *, read_only: bool = False) -> None:
        """Attach the disk so that this handle reads and writes its sectors, and nothing else.

        No volume is mounted, no drive appears, and Windows itself does not touch the
        content. A disk that was opened read-only is attached so in any case. The attachment
        ends with `detach`, or with the handle.

        Raises `InvalidInputError` for a disk that was opened `info_only`, and the `OSError`
        of AttachVirtualDisk, virtdisk.h: 1314, or `PermissionError`, where the process is
        not run as administrator.
        """
        if self._info_only:
            raise InvalidInputError.because(
                "a disk opened with info_only=True cannot be attached", self._path
            )
        parameters = ATTACH_VIRTUAL_DISK_PARAMETERS(Version=constants.ATTACH_VIRTUAL_DISK_VERSION_1)
        flags = constants.ATTACH_VIRTUAL_DISK_FLAG_NO_LOCAL_HOST
        if read_only or self._read_only:
            flags |= constants.ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY
        with self._lock:
            code = self._windows.virtdisk.AttachVirtualDisk(
                self.handle, 0, flags, 0, address_of(parameters), 0
            )
            if code != constants.ERROR_SUCCESS:
                raise windows_error(code, "AttachVirtualDisk", self._path)
            self._attached = True

    def detach(self) -> None:
        """End the attachment, whoever made it.

        Raises the `OSError` of DetachVirtualDisk, virtdisk.h: 21 if the disk is not attached.
        """
        with self._lock:
            code = self._windows.virtdisk.DetachVirtualDisk(self.handle, 0, 0)
            if code != constants.ERROR_SUCCESS:
                raise windows_error(code, "DetachVirtualDisk", self._path)
            self._attached = False

    def release(self) -> int:
        """Hand the handle over to the caller, open and, if it was, attached.

        This object is closed from here on. Raises `ValueError` if it is already.
        """
        with self._lock:
            handle, self._handle = self.handle, None
            return handle

    def close(self) -> None:
        """Close the handle, and with it an attachment that it is the last one of. Idempotent."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            files.close_handle(self._windows, handle)


# -- Names and parameters -----------------------------------------------------


def _suffix(path: str) -> str:
    return ntpath.splitext(path)[1].lower()


def _absolute(windows: Windows, path: str) -> str:
    return files.extended(windows, files.full_path(windows, path))


def _storage_type(format: VirtualDiskFormat | None) -> VIRTUAL_STORAGE_TYPE:
    """Return how Windows names a format. None has it look into the file."""
    if format is None:
        return VIRTUAL_STORAGE_TYPE()  # DEVICE_UNKNOWN, VENDOR_UNKNOWN
    vendor = GUID.of(constants.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
    return VIRTUAL_STORAGE_TYPE(DeviceId=_DEVICES[format], VendorId=vendor)


def _limits(path: str) -> _Limits:
    """Return what a new disk of this name can hold."""
    format = _SUFFIXES.get(_suffix(path))
    limits = None if format is None else _LIMITS.get(format)
    if limits is None:
        raise InvalidInputError.because(
            "the name of a new virtual disk must end in .vhd, .avhd, .vhdx, .avhdx or .vhds", path
        )
    return limits


def _create_parameters(path: str, disk_id: uuid.UUID | None) -> CREATE_VIRTUAL_DISK_PARAMETERS:
    _limits(path)
    parameters = CREATE_VIRTUAL_DISK_PARAMETERS(Version=constants.CREATE_VIRTUAL_DISK_VERSION_2)
    if disk_id is not None:
        parameters.Version2.UniqueId = GUID.of(disk_id)
    parameters.Version2.ResiliencyGuid = GUID.of(uuid.uuid4())
    return parameters


def check_size(path: str, size: int, sector_size: int) -> None:
    """Raise `InvalidInputError` if a new disk of this name cannot have this size."""
    limits = _limits(path)
    if sector_size not in limits.sector_sizes:
        allowed = " or ".join(map(str, limits.sector_sizes))
        raise InvalidInputError.because(
            f"sector_size must be {allowed} in a {limits.name}, not {sector_size}", path
        )
    if size < MIN_SIZE:
        problem = f"at least {MIN_SIZE} bytes (3 MiB)"
    elif size > limits.size:
        problem = f"at most {limits.size} bytes ({limits.size >> 30} GiB) in a {limits.name}"
    elif size % sector_size:
        problem = f"a multiple of the sector size, {sector_size}"
    else:
        return
    raise InvalidInputError.because(f"size must be {problem}, not {size}", path)


def _set_size(
    parameters: CREATE_VIRTUAL_DISK_PARAMETERS, path: str, size: int, sector_size: int
) -> None:
    size, sector_size = operator.index(size), operator.index(sector_size)
    check_size(path, size, sector_size)
    parameters.Version2.MaximumSize = size
    parameters.Version2.SectorSizeInBytes = sector_size


def _set_block_size(parameters: CREATE_VIRTUAL_DISK_PARAMETERS, path: str, block_size: int) -> None:
    block_size, limits = operator.index(block_size), _limits(path)
    if block_size and block_size not in limits.block_sizes:
        allowed = ", ".join(map(str, limits.block_sizes))
        raise InvalidInputError.because(
            f"block_size must be 0 or, in a {limits.name}, one of {allowed}, not {block_size}", path
        )
    parameters.Version2.BlockSizeInBytes = block_size


# -- Questions ----------------------------------------------------------------


def virtual_size(windows: Windows, handle: int, path: str) -> int:
    """Return the bytes of the disk behind a handle, as it is now.

    For whoever keeps the handle open meanwhile. Raises the `OSError` of
    GetVirtualDiskInformation; `path` is for that.
    """
    info = _ask(windows, handle, path, constants.GET_VIRTUAL_DISK_INFO_SIZE)
    return info.Size.VirtualSize


def _ask(windows: Windows, handle: int, path: str, what: int) -> GET_VIRTUAL_DISK_INFO:
    """Ask one question whose answer has a fixed size."""
    info, size = GET_VIRTUAL_DISK_INFO(Version=what), ULONG_CELL(INFO_SIZE)
    code = windows.virtdisk.GetVirtualDiskInformation(handle, address_of(size), address_of(info), 0)
    if code != constants.ERROR_SUCCESS:
        raise windows_error(code, "GetVirtualDiskInformation", path)
    return info


def _info(windows: Windows, handle: int, path: str) -> VirtualDiskInfo:
    size = _ask(windows, handle, path, constants.GET_VIRTUAL_DISK_INFO_SIZE).Size
    storage = _ask(windows, handle, path, constants.GET_VIRTUAL_DISK_INFO_VIRTUAL_STORAGE_TYPE)
    subtype = _ask(windows, handle, path, constants.GET_VIRTUAL_DISK_INFO_PROVIDER_SUBTYPE)
    physical = _ask(windows, handle, path, constants.GET_VIRTUAL_DISK_INFO_VHD_PHYSICAL_SECTOR_SIZE)
    device = storage.VirtualStorageType.DeviceId
    if device not in _FORMATS:
        raise InvalidInputError.because(f"a virtual disk of an unknown format, {device}", path)
    format, disk_type = _FORMATS[device], _TYPES.get(subtype.ProviderSubtype)
    if format is VirtualDiskFormat.VHD:
        what = constants.GET_VIRTUAL_DISK_INFO_IDENTIFIER
        disk_id = _ask(windows, handle, path, what).Identifier.uuid()
    else:
        what = constants.GET_VIRTUAL_DISK_INFO_VIRTUAL_DISK_ID
        disk_id = _ask(windows, handle, path, what).VirtualDiskId.uuid()
    parents: tuple[str, ...] = ()
    is_found = False
    if disk_type is VirtualDiskType.DIFFERENCING:
        is_found, parents = _parents(windows, handle, path)
    return VirtualDiskInfo(
        format=format,
        disk_type=disk_type,
        virtual_size=size.VirtualSize,
        physical_size=size.PhysicalSize,
        sector_size=size.SectorSize,
        physical_sector_size=physical.VhdPhysicalSectorSize,
        block_size=size.BlockSize,
        disk_id=disk_id,
        parent_path=parents[0] if is_found and parents else None,
        parent_candidates=() if is_found else parents,
    )


def _parents(windows: Windows, handle: int, path: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether the parent was found, and where it is, or else is looked for."""
    function = windows.virtdisk.GetVirtualDiskInformation

    def call(block: Block, size: int) -> tuple[int, int]:
        info = GET_VIRTUAL_DISK_INFO.from_buffer(block.memory)
        info.Version = constants.GET_VIRTUAL_DISK_INFO_PARENT_LOCATION
        cell = ULONG_CELL(size)
        code = function(handle, address_of(cell), address_of(info), 0)
        return code, cell.Value

    block, code = _grown(call, PAGE_SIZE)
    if code == constants.ERROR_VHD_INVALID_TYPE:
        return False, ()  # it has none
    if code != constants.ERROR_SUCCESS:
        raise windows_error(code, "GetVirtualDiskInformation", path)
    is_found = GET_VIRTUAL_DISK_INFO.from_buffer_copy(block.memory).ParentLocation.ParentResolved
    # A text that ends with a NUL or, where there are several, a row of them with two.
    text = block.memory[PARENT_LOCATION_AT : len(block.memory) // WCHAR_SIZE * WCHAR_SIZE]
    found = []
    while first := wide_text(text):
        found.append(first)
        if is_found:
            break
        text = text[len(first.encode("utf-16-le", "surrogatepass")) + WCHAR_SIZE :]
    return bool(is_found), tuple(found)


def _grown(
    call: Callable[[Block, int], tuple[int, int]], size: int, *, limit: int = 1 << 20
) -> tuple[Block, int]:
    """Make a call with as much memory as it asks for: it returns a code, and that size."""
    while True:
        block = Block(size)
        code, wanted = call(block, size)
        if code not in _TOO_SMALL or size >= limit:
            return block, code
        size = min(max(wanted, 2 * size), limit)
