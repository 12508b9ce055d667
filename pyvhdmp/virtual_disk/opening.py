"""Opening and creating virtual disks.

Rules:

1. What Windows writes where the handle is to be, when it fails, is none, and is never closed.
2. Every open and create has a fresh random ResiliencyGuid, so that VHDMP takes no two of
   them for one; who may open what together is then decided by the files' own sharing.
3. Everything is opened with parameters of version 2 or 3, which want an access mask of NONE;
   with version 1 only an ISO image, which has no other, and what is to be detached, which
   only an access mask of DETACH gets past an attachment.
4. A structure, and any str in it, lives until its call has returned.
5. What Python can check is checked before the call, as Windows says 87 to all of it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from pyvhdmp import files
from pyvhdmp._win32 import Handle, Windows, constants, current
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import GUID, HANDLE_CELL
from pyvhdmp.checks import instance, whole_number
from pyvhdmp.errors import InvalidInputError, code_of, windows_error
from pyvhdmp.virtual_disk import formats, questions
from pyvhdmp.virtual_disk.formats import VirtualDiskFormat, VirtualDiskType, absolute, check_flags
from pyvhdmp.virtual_disk.handle import DiskHandle
from pyvhdmp.virtual_disk.operation import Operation

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Opening"]

_NO_DISK: Final = (
    constants.ERROR_NOT_SUPPORTED,
    constants.ERROR_INVALID_PARAMETER,
    constants.ERROR_FILE_CORRUPT,
    constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND,
    constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK,
)
"""What Windows says of a file that is no virtual disk, and of some that are."""
_OF_A_NEW_FILE: Final = (
    constants.ERROR_FILE_EXISTS,
    constants.ERROR_DISK_FULL,
    constants.ERROR_ALREADY_EXISTS,
    constants.ERROR_OPERATION_ABORTED,
)
"""What it says of no other one."""


class Opening(DiskHandle):
    """How there comes to be an open virtual disk."""

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        cached_io: bool = False,
        info_only: bool = False,
        no_parents: bool = False,
        custom_chain: bool = False,
        snapshot_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Self:
        """Open a virtual disk file; its name says which format it has.

        `read_only`: any number may have it open so. `cached_io`: through Windows' cache,
        and neither unbuffered nor written through. `info_only`: only to ask about it, even
        while it is attached elsewhere. `no_parents`: a differencing disk alone, even if its
        parent is missing. `custom_chain`: the same, and `add_parent` then names each parent.
        `snapshot_id`: a snapshot of a VHD set. `flags`: more of Windows'
        OPEN_VIRTUAL_DISK_FLAG. An ISO image can be opened read-only, and is.

        Raises the `OSError` of OpenVirtualDisk: `FileNotFoundError`, also for a parent that is
        missing (`winerror` 0xC03A000D), `PermissionError` for a file that is open elsewhere,
        and others.
        """
        windows, name = current(), files.checked_path(path)
        format = formats.format_of(name)
        if snapshot_id is not None and format is VirtualDiskFormat.ISO:
            raise InvalidInputError.because(
                f"snapshot_id must be None for an ISO image, not {snapshot_id}", name
            )
        if format is VirtualDiskFormat.ISO:  # rule 3
            version, mask = (
                enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1,
                enums.VIRTUAL_DISK_ACCESS.READ,
            )
            read_only = True
        else:
            version, mask = (
                enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_2,
                enums.VIRTUAL_DISK_ACCESS.NONE,
            )
        parameters = structures.OPEN_VIRTUAL_DISK_PARAMETERS(Version=version)
        if format is not VirtualDiskFormat.ISO:
            parameters.Version2.GetInfoOnly = bool(info_only)
            parameters.Version2.ReadOnly = bool(read_only)
            parameters.Version2.ResiliencyGuid = GUID.of(uuid.uuid4())  # rule 2
        if snapshot_id is not None:
            parameters.Version = enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_3
            parameters.Version3.SnapshotId = formats.guid(snapshot_id, "snapshot_id")
        check_flags(flags, name)  # before Python's own flags cut them
        if cached_io:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.CACHED_IO
        if no_parents:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.NO_PARENTS
        if custom_chain:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.CUSTOM_DIFF_CHAIN
        try:
            handle = _open_call(windows, name, mask, flags, parameters)
        except OSError as error:
            code = code_of(error)
            if code == constants.ERROR_VHD_PARENT_VHD_NOT_FOUND and not no_parents:
                cls._note_where_looked(error, name)
            raise
        return cls(windows, handle, name, read_only=read_only, info_only=info_only)

    @classmethod
    def open_attached(cls, path: str | os.PathLike[str]) -> Self:
        """Open a disk that is attached, by whomever, only to `detach` it or to ask about it.

        While a disk is attached, `open` is refused as long as it asks for more than questions.
        Raises as `open` does.
        """
        windows, name = current(), files.checked_path(path)
        parameters = structures.OPEN_VIRTUAL_DISK_PARAMETERS(
            Version=enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1
        )
        parameters.Version1.RWDepth = enums.OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT
        access = enums.VIRTUAL_DISK_ACCESS
        handle = _open_call(windows, name, access.GET_INFO | access.DETACH, 0, parameters)
        return cls(windows, handle, name, read_only=True, info_only=True)

    @classmethod
    def _note_where_looked(cls, error: OSError, name: str) -> None:
        """Add the places where the missing parent of a disk was looked for, if it tells."""
        try:
            with cls.open(name, info_only=True, no_parents=True) as disk:
                _, places = questions.parent_location(disk.windows, disk.handle, name)
        except OSError:
            return
        if places:
            error.add_note(f"It was looked for at {', '.join(places)}.")

    @classmethod
    def create_fixed(
        cls,
        path: str | os.PathLike[str],
        size: int,
        *,
        sector_size: int = 512,
        physical_sector_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Self:
        """Create a fixed disk of `size` bytes and return it, open. The whole file is made.

        The name says which format. `size` is at least 3 MiB and at most 2040 GiB (VHD) or
        64 TiB (VHDX), a multiple of `sector_size`, which is 512 or, in a VHDX, 4096, and so
        is `physical_sector_size`, of which 0 is Windows' choice. `disk_id`: its identity, by
        default a new one. `flags`: more of Windows' CREATE_VIRTUAL_DISK_FLAG.

        Interrupted by Ctrl+C it leaves no file behind. `begin_create_fixed` does not wait.

        Raises `InvalidInputError` that names the argument, `FileExistsError`, and the
        `OSError` of CreateVirtualDisk.
        """
        return cls.begin_create_fixed(
            path,
            size,
            sector_size=sector_size,
            physical_sector_size=physical_sector_size,
            disk_id=disk_id,
            flags=flags,
        ).follow()

    @classmethod
    def begin_create_fixed(
        cls,
        path: str | os.PathLike[str],
        size: int,
        *,
        sector_size: int = 512,
        physical_sector_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Operation[Self]:
        """Begin what `create_fixed` does. The operation's result is the disk, open.

        If it fails or is cancelled, the file is deleted. Raises as `create_fixed` does: what
        CreateVirtualDisk refuses at once here, and the rest by the operation.
        """
        name = files.checked_path(path)
        parameters = formats.create_parameters(name, disk_id)
        formats.set_sizes(parameters, name, size, sector_size, physical_sector_size)  # rule 5
        check_flags(flags, name)
        flags |= enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
        return cls._begin_create(name, flags, parameters)

    @classmethod
    def create_dynamic(
        cls,
        path: str | os.PathLike[str],
        size: int,
        *,
        block_size: int = 0,
        sector_size: int = 512,
        physical_sector_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Self:
        """Create a disk of `size` bytes whose file grows with use; return it, open.

        `block_size`: what it grows by, in bytes; 0 is Windows' choice, else 512 KiB or 2 MiB
        in a VHD, a power of two from 1 to 256 MiB in a VHDX. The rest, and what is raised,
        is as for `create_fixed`.
        """
        name = files.checked_path(path)
        parameters = formats.create_parameters(name, disk_id)
        formats.set_sizes(parameters, name, size, sector_size, physical_sector_size)
        formats.set_block_size(parameters, name, block_size)
        return cls._create(name, flags, parameters)

    @classmethod
    def create_differencing(
        cls,
        path: str | os.PathLike[str],
        parent: str | os.PathLike[str],
        *,
        block_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Self:
        """Create a disk that begins with the content of `parent` and holds what is changed.

        The parent must not be changed any more. `block_size` is as for `create_dynamic`.
        Size and sector size are the parent's. Raises as `create_fixed` does.
        """
        name, parent_name = files.checked_path(path), files.checked_path(parent)
        parameters = formats.create_parameters(name, disk_id)
        formats.check_parent(name, parent_name)
        formats.set_block_size(parameters, name, block_size)
        version = parameters.Version2
        version.ParentPath = absolute(current(), parent_name)
        version.ParentVirtualStorageType = formats.storage_type(formats.format_of(parent_name))
        return cls._create(name, flags, parameters, parent_name)

    @classmethod
    def create_from(
        cls,
        path: str | os.PathLike[str],
        source: str | os.PathLike[str],
        *,
        disk_type: VirtualDiskType = VirtualDiskType.DYNAMIC,
        size: int = 0,
        block_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Self:
        """Create a disk with the content of another, of any format and type; return it, open.

        `source`: a .vhd or .vhdx, or an attached disk such as ``\\\\.\\PhysicalDrive3``; what a
        differencing one takes from its parents is copied with it. `disk_type`: fixed, which
        has no `block_size`, or dynamic. `size`: 0 for the source's, or more than that. Raises as
        `create_fixed` does, and leaves no file behind either. `begin_create_from` does not wait.
        """
        return cls.begin_create_from(
            path,
            source,
            disk_type=disk_type,
            size=size,
            block_size=block_size,
            disk_id=disk_id,
            flags=flags,
        ).follow()

    @classmethod
    def begin_create_from(
        cls,
        path: str | os.PathLike[str],
        source: str | os.PathLike[str],
        *,
        disk_type: VirtualDiskType = VirtualDiskType.DYNAMIC,
        size: int = 0,
        block_size: int = 0,
        disk_id: uuid.UUID | None = None,
        flags: int = 0,
    ) -> Operation[Self]:
        """Begin what `create_from` does. The operation's result is the disk, open.

        Raises as `create_from` does: what CreateVirtualDisk refuses at once here, and the
        rest by the operation.
        """
        name, source_name = files.checked_path(path), files.checked_path(source, device=True)
        parameters = formats.create_parameters(name, disk_id)
        if instance(disk_type, VirtualDiskType, "disk_type") is VirtualDiskType.DIFFERENCING:
            raise InvalidInputError.because("disk_type must be FIXED or DYNAMIC in a copy", name)
        check_flags(flags, name)
        if disk_type is VirtualDiskType.FIXED:
            if whole_number(block_size, "block_size"):
                raise InvalidInputError.because(
                    f"block_size must be 0 in a fixed disk, which has no blocks, not {block_size}",
                    name,
                )
            flags |= enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
        else:
            formats.set_block_size(parameters, name, block_size)
        if size:
            format = formats.format_of(name) or VirtualDiskFormat.VHDX
            parameters.Version2.MaximumSize = formats.check_size(name, format, size, 512)
        version = parameters.Version2
        version.SourcePath = absolute(current(), source_name)
        version.SourceVirtualStorageType = formats.storage_type(formats.format_of(source_name))
        return cls._begin_create(name, flags, parameters, source_name)

    @classmethod
    def _create(
        cls,
        name: str,
        flags: int,
        parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS,
        parent: str | None = None,
    ) -> Self:
        """Create what is made in no time."""
        windows, handle = current(), HANDLE_CELL()
        code = _create_call(windows, name, flags, parameters, handle)(0)
        if code != constants.ERROR_SUCCESS:
            raise cls._error_of_two(code, "CreateVirtualDisk", name, parent)
        return cls(windows, Handle(handle.Value), name)

    @classmethod
    def _begin_create(
        cls,
        name: str,
        flags: int,
        parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS,
        source: str | None = None,
    ) -> Operation[Self]:
        """Create what takes long. The handle is given out when it begins."""
        windows, handle = current(), HANDLE_CELL()
        file = absolute(windows, name)  # now, as the current folder may be another one later
        size = parameters.Version2.MaximumSize
        operation: Operation[Self] = Operation(
            windows,
            "CreateVirtualDisk",
            handle,
            _create_call(windows, name, flags, parameters, handle),
            partial(cls._created, windows, name, file, handle, source, size),
            cls.close,
        )
        return operation.start()

    @classmethod
    def _created(
        cls,
        windows: Windows,
        name: str,
        file: str,
        handle: HANDLE_CELL,
        source: str | None,
        size: int,
        code: int,
        begun: bool,
    ) -> Self:
        """A creation is over: return the disk, or raise, and leave nothing half made."""
        if code == constants.ERROR_SUCCESS:
            return cls(windows, Handle(handle.Value), name)
        if begun:  # else rule 1: now the handle is one, and the file ours, unless Windows says no
            files.close_handle(windows, handle.Value)
            if code not in (constants.ERROR_FILE_EXISTS, constants.ERROR_ALREADY_EXISTS):
                files.discard_file(windows, file)
        raise cls._error_of_two(code, "CreateVirtualDisk", name, source, size=size)

    @classmethod
    def _error_of_two(
        cls,
        code: int,
        function: str,
        name: str,
        other: str | None,
        *,
        alone: bool = False,
        size: int = 0,
    ) -> OSError:
        """Return the error of a call about the file `name`, or else about `other`.

        Windows does not say which of them is wrong: it is `other` if that cannot be opened
        for the same reason, or for any if Windows knows none. `alone`: without its parents.
        `size`: to be at least that of the other, or 0.
        """
        error = windows_error(code, function, name)
        if other is None or code in _OF_A_NEW_FILE or other.startswith("\\\\.\\"):  # a device
            return error
        is_unclear = code == constants.ERROR_INVALID_PARAMETER
        try:
            with cls.open(other, read_only=True, no_parents=alone) as disk:
                least = questions.virtual_size(disk.windows, disk.handle, other)
        except OSError as cause:
            if not is_unclear and code_of(cause) != code:
                return error
            cause.__cause__ = error
            return cause
        if not (is_unclear and 0 < size < least):
            return error
        return InvalidInputError.because(
            f"size must be at least that of {other}, {least} bytes, not {size}", name
        )


def _open_call(
    windows: Windows,
    name: str,
    mask: int,
    flags: int,
    parameters: structures.OPEN_VIRTUAL_DISK_PARAMETERS,
) -> Handle:
    """Open a disk, and return its handle or raise."""
    storage_type = formats.storage_type(formats.format_of(name))
    handle = HANDLE_CELL()
    code = windows.virtdisk.OpenVirtualDisk(
        address_of(storage_type),
        absolute(windows, name),
        mask,
        flags,
        address_of(parameters),
        address_of(handle),
    )
    if code != constants.ERROR_SUCCESS:
        error = windows_error(code, "OpenVirtualDisk", name)
        if code in _NO_DISK and formats.format_of(name) is None:
            error.add_note(f"A virtual disk is {formats.NAMES} by its name.")
        raise error
    return Handle(handle.Value)


def _create_call(
    windows: Windows,
    name: str,
    flags: int,
    parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS,
    handle: HANDLE_CELL,
) -> Callable[[int], int]:
    """Return the call that creates a disk: it takes an OVERLAPPED, and owns the rest, by rule 4."""
    check_flags(flags, name)
    storage_type = formats.storage_type(formats.format_of(name))
    path = absolute(windows, name)

    def call(overlapped: int) -> int:
        return windows.virtdisk.CreateVirtualDisk(
            address_of(storage_type),
            path,
            enums.VIRTUAL_DISK_ACCESS.NONE,
            0,  # the security descriptor that the folder gives
            flags,
            0,
            address_of(parameters),
            overlapped,
            address_of(handle),
        )

    return call
