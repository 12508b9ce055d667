"""VirtualDisk: one open virtual disk file, and everything Windows does with it but its I/O.

Rules:

1. A `VirtualDisk` owns one handle, from a successful `open` or `create` until `close` or
   `release`. What Windows writes there when it fails is no handle, and is never closed.
2. Every open and create has a fresh random ResiliencyGuid, so that VHDMP takes no two of
   them for one; who may open what together is then decided by the files' own sharing.
3. Everything is opened with parameters of version 2 or 3, which want an access mask of NONE;
   with version 1 only an ISO image, which has no other, and what is to be detached, which
   only an access mask of DETACH gets past an attachment.
4. A call holds the lock, so the handle is not closed under it. A long operation is noted
   before it begins, and `close` waits for those that are.
5. A structure, and any str in it, lives until its call has returned.
6. An attachment without a permanent lifetime ends with the last handle of its disk.
7. What Python can check is checked before the call, as Windows says 87 to all of it.
"""

from __future__ import annotations

import contextlib
import operator
import os
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from pyvhdmp import files
from pyvhdmp._win32 import Handle, Windows, constants, current
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp._win32.virtdisk_enums import GET_VIRTUAL_DISK_INFO_VERSION as QUESTION
from pyvhdmp._win32.virtdisk_enums import SET_VIRTUAL_DISK_INFO_VERSION as SETTING
from pyvhdmp._win32.virtdisk_structures import GUID, HANDLE_CELL, ULONG_CELL
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import InvalidInputError, windows_error
from pyvhdmp.virtual_disk import formats, machine, questions, scsi
from pyvhdmp.virtual_disk.changes import ChangedRange, ChangeTracking, changed_ranges
from pyvhdmp.virtual_disk.formats import VirtualDiskFormat, VirtualDiskType, absolute
from pyvhdmp.virtual_disk.machine import StorageDependency
from pyvhdmp.virtual_disk.metadata import Metadata
from pyvhdmp.virtual_disk.operation import Operation
from pyvhdmp.virtual_disk.questions import PhysicalDisk, VirtualDiskInfo
from pyvhdmp.virtual_disk.scsi import ScsiResponse

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    Parameters = (
        structures.COMPACT_VIRTUAL_DISK_PARAMETERS
        | structures.EXPAND_VIRTUAL_DISK_PARAMETERS
        | structures.FORK_VIRTUAL_DISK_PARAMETERS
        | structures.MERGE_VIRTUAL_DISK_PARAMETERS
        | structures.MIRROR_VIRTUAL_DISK_PARAMETERS
        | structures.RESIZE_VIRTUAL_DISK_PARAMETERS
    )
    SetParameters = (
        structures.APPLY_SNAPSHOT_VHDSET_PARAMETERS
        | structures.DELETE_SNAPSHOT_VHDSET_PARAMETERS
        | structures.MODIFY_VHDSET_PARAMETERS
        | structures.TAKE_SNAPSHOT_VHDSET_PARAMETERS
    )

__all__ = ["VirtualDisk", "finished"]

_MAX_ULONG: Final = (1 << 32) - 1  # ctypes drops what a field has no room for, and says nothing
_MAX_OFFSET: Final = (1 << 63) - 1

Disk = TypeVar("Disk", bound="VirtualDisk")


class VirtualDisk:
    """An open virtual disk file.

    Made by `open` and the `create_...` methods. For reading and writing it, see `VhdmpDisk`.
    All methods can be called from any thread. A method that fails raises the `OSError` of the
    virtdisk.h function it is named for, with `winerror` and `filename`, and in its notes what
    is known to help. Sizes are in bytes. Paths may be relative, and of any length.
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
        self._closing = False
        self._lock = threading.RLock()  # a finalizer may come back in
        self._operations: set[Operation[None]] = set()

    # -- Opening --------------------------------------------------------------

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

        Raises the `OSError` of OpenVirtualDisk: `FileNotFoundError`, `PermissionError` for a
        file that is open elsewhere, and others.
        """
        windows, name = current(), files.checked_path(path)
        format = formats.format_of(name)
        if format is VirtualDiskFormat.ISO:
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
            parameters.Version2.GetInfoOnly = info_only
            parameters.Version2.ReadOnly = read_only
            parameters.Version2.ResiliencyGuid = GUID.of(uuid.uuid4())
        if snapshot_id is not None:
            parameters.Version = enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_3
            parameters.Version3.SnapshotId = GUID.of(snapshot_id)
        if cached_io:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.CACHED_IO
        if no_parents:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.NO_PARENTS
        if custom_chain:
            flags |= enums.OPEN_VIRTUAL_DISK_FLAG.CUSTOM_DIFF_CHAIN
        try:
            handle = _open_call(windows, name, mask, flags, parameters)
        except OSError as error:
            code = getattr(error, "winerror", None)
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
                places = disk.info.parent_candidates
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

        Interrupted by Ctrl+C it leaves no file behind, unless it is `AlreadyDone`: then the
        disk is there, and not open. `begin_create_fixed` does not wait.

        Raises `InvalidInputError` that names the argument, `FileExistsError`, and the
        `OSError` of CreateVirtualDisk.
        """
        return finished(
            cls.begin_create_fixed(
                path,
                size,
                sector_size=sector_size,
                physical_sector_size=physical_sector_size,
                disk_id=disk_id,
                flags=flags,
            )
        )

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

        If it fails or is cancelled, the file is deleted.
        """
        name = files.checked_path(path)
        parameters = formats.create_parameters(name, disk_id)
        sector_size = formats.set_sector_sizes(parameters, name, sector_size, physical_sector_size)
        format = formats.format_of(name) or VirtualDiskFormat.VHDX
        parameters.Version2.MaximumSize = formats.check_size(name, format, size, sector_size)
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
        sector_size = formats.set_sector_sizes(parameters, name, sector_size, physical_sector_size)
        format = formats.format_of(name) or VirtualDiskFormat.VHDX
        parameters.Version2.MaximumSize = formats.check_size(name, format, size, sector_size)
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
        formats.set_block_size(parameters, name, block_size)
        version = parameters.Version2
        version.ParentPath = absolute(current(), parent_name)
        version.ParentVirtualStorageType = formats.storage_type(formats.format_of(parent_name))
        return cls._create(name, flags, parameters)

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
        differencing one takes from its parents is copied with it. `disk_type`: fixed or
        dynamic. `size`: 0 for the source's, or more than that. Raises, and leaves behind, what
        `create_fixed` does. `begin_create_from` does not wait.
        """
        return finished(
            cls.begin_create_from(
                path,
                source,
                disk_type=disk_type,
                size=size,
                block_size=block_size,
                disk_id=disk_id,
                flags=flags,
            )
        )

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
        """Begin what `create_from` does. The operation's result is the disk, open."""
        name, source_name = files.checked_path(path), files.checked_path(source)
        parameters = formats.create_parameters(name, disk_id)
        if disk_type is VirtualDiskType.DIFFERENCING:
            raise InvalidInputError.because("disk_type must be fixed or dynamic in a copy", name)
        if disk_type is VirtualDiskType.FIXED:
            flags |= enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
        else:
            formats.set_block_size(parameters, name, block_size)
        if size:
            format = formats.format_of(name) or VirtualDiskFormat.VHDX
            parameters.Version2.MaximumSize = formats.check_size(name, format, size, 512)
        version = parameters.Version2
        version.SourcePath = absolute(current(), source_name)
        version.SourceVirtualStorageType = formats.storage_type(formats.format_of(source_name))
        return cls._begin_create(name, flags, parameters)

    @classmethod
    def _create(
        cls, name: str, flags: int, parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS
    ) -> Self:
        """Create what is made in no time."""
        windows, handle = current(), HANDLE_CELL()
        code = _create_call(windows, name, flags, parameters, handle)(0)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "CreateVirtualDisk", name)
        return cls(windows, Handle(handle.Value), name)

    @classmethod
    def _begin_create(
        cls, name: str, flags: int, parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS
    ) -> Operation[Self]:
        """Create what takes long. The handle is given out when it begins."""
        windows, handle = current(), HANDLE_CELL()
        file = absolute(windows, name)  # now, as the current folder may be another one later
        operation: Operation[Self] = Operation(
            windows,
            "CreateVirtualDisk",
            handle,
            _create_call(windows, name, flags, parameters, handle),
            partial(cls._created, windows, name, file, handle),
        )
        try:
            return operation.start()
        except BaseException:
            _close_unwanted(operation)
            raise

    @classmethod
    def _created(
        cls, windows: Windows, name: str, file: str, handle: HANDLE_CELL, code: int, begun: bool
    ) -> Self:
        """A creation is over: return the disk, or raise, and leave nothing half made."""
        if code == constants.ERROR_SUCCESS:
            return cls(windows, Handle(handle.Value), name)
        if begun:  # then the handle is one, and the file is ours, unless Windows says otherwise
            files.close_handle(windows, handle.Value)
            if code not in (constants.ERROR_FILE_EXISTS, constants.ERROR_ALREADY_EXISTS):
                files.discard_file(windows, file)
        raise windows_error(code, "CreateVirtualDisk", name)

    # -- The object -----------------------------------------------------------

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
    def is_read_only(self) -> bool:
        """Whether it was opened read-only, as an ISO image always is."""
        return self._read_only

    @property
    def windows(self) -> Windows:
        """The Windows that it was opened on."""
        return self._windows

    @property
    def handle(self) -> int:
        """The handle, still owned by this object. Raises `ValueError` if it is closed."""
        handle = self._handle
        if handle is None or self._closing:
            raise ValueError("operation on a closed virtual disk")
        return handle

    @property
    def closed(self) -> bool:
        """Whether the handle is closed, or has been released."""
        return self._handle is None or self._closing

    def release(self) -> int:
        """Hand the handle over to the caller, open and, if it was, attached.

        This object is closed from here on. Raises `ValueError` if it is already, or if a long
        operation is running.
        """
        with self._lock:
            handle = self.handle
            if self._operations:
                raise ValueError(f"{next(iter(self._operations))!r} uses the handle")
            self._handle = None
            return handle

    def close(self, *, cancel: bool = False) -> None:
        """Wait for long operations that are running, then close the handle. Idempotent.

        With it ends an attachment that it is the last handle of. `cancel`: cancel the
        operations first; a mirror, which would never end, is cancelled in any case.
        """
        with self._lock:
            self._closing = True
            operations = list(self._operations)
        for operation in operations:
            if cancel or operation.is_endless:
                operation.cancel()
        for operation in operations:
            operation.wait_until_over()
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            files.close_handle(self._windows, handle)

    # -- What it is -----------------------------------------------------------

    @property
    def info(self) -> VirtualDiskInfo:
        """What the disk is at this moment: each access asks GetVirtualDiskInformation."""
        with self._lock:
            return questions.describe(self._windows, self.handle, self._path)

    @property
    def parent(self) -> str | None:
        """The path of the parent of a differencing disk, None for any other disk.

        Raises `FileNotFoundError` that names the places where a missing one was looked for.
        """
        with self._lock:
            found, places = questions.parent_location(self._windows, self.handle, self._path)
        if places and not found:
            error = windows_error(
                constants.ERROR_FILE_NOT_FOUND, "GetVirtualDiskInformation", self._path
            )
            error.add_note(f"Its parent was looked for at {', '.join(places)}.")
            raise error
        return places[0] if places else None

    @property
    def chain(self) -> tuple[VirtualDiskInfo, ...]:
        """This disk, its parent, the parent's parent, and so on to the one without.

        Each is opened for that, only to ask. A parent that is missing ends the chain with a
        disk that has `parent_candidates`.
        """
        chain = [self.info]
        while (parent := chain[-1].parent_path) is not None:
            chain.append(_described(parent))
        return tuple(chain)

    @property
    def parent_id(self) -> uuid.UUID:
        """The identity that a differencing disk wants its parent to have."""
        return self._ask(QUESTION.PARENT_IDENTIFIER).ParentIdentifier.uuid()

    @property
    def parent_timestamp(self) -> int:
        """When the parent was last changed, as the differencing disk noted it; 0 in a VHDX."""
        return self._ask(QUESTION.PARENT_TIMESTAMP).ParentTimestamp

    @property
    def identifier(self) -> uuid.UUID:
        """What a child knows this disk by. In a VHD that is its `disk_id`, too."""
        return self._ask(QUESTION.IDENTIFIER).Identifier.uuid()

    @property
    def is_4k_aligned(self) -> bool:
        """Whether the file's blocks lie at multiples of 4 KiB."""
        return bool(self._ask(QUESTION.IS_4K_ALIGNED).Is4kAligned)

    @property
    def is_loaded(self) -> bool:
        """Whether the disk is in use: attached, or open for more than questions."""
        return bool(self._ask(QUESTION.IS_LOADED).IsLoaded)

    @property
    def fragmentation(self) -> int:
        """How far, in percent, its blocks lie in another order than its sectors."""
        return self._ask(QUESTION.FRAGMENTATION).FragmentationPercentage

    @property
    def smallest_safe_size(self) -> int:
        """The size, in bytes, that its partitions need: what it can be resized to safely."""
        return self._ask(QUESTION.SMALLEST_SAFE_VIRTUAL_SIZE).SmallestSafeVirtualSize

    @property
    def physical_disk(self) -> PhysicalDisk:
        """The disk that it is while it is attached."""
        answer = self._ask(QUESTION.PHYSICAL_DISK).PhysicalDisk
        return PhysicalDisk(
            answer.LogicalSectorSize, answer.PhysicalSectorSize, bool(answer.IsRemote)
        )

    @property
    def metadata(self) -> Metadata:
        """Bytes by UUID that the file carries: a mutable mapping, each access a call."""
        return Metadata(self, self._lock)

    def _ask(self, question: QUESTION) -> structures.GET_VIRTUAL_DISK_INFO:
        with self._lock:
            return questions.ask(self._windows, self.handle, self._path, question)

    # -- Attaching ------------------------------------------------------------

    @property
    def is_attached(self) -> bool:
        """Whether this object has attached the disk. An attachment by others does not count."""
        return self._attached and not self.closed

    @property
    def physical_path(self) -> str:
        r"""The device that the attached disk is, such as ``\\.\PhysicalDrive3``.

        Raises the `OSError` of GetVirtualDiskPhysicalPath: a disk that is not attached, or
        attached raw, has none.
        """
        function = self._windows.virtdisk.GetVirtualDiskPhysicalPath

        def call(block: Block, size: int) -> tuple[int, int]:
            cell = ULONG_CELL(size)  # in bytes, and so is what it asks for
            code = function(self.handle, address_of(cell), block.address)
            return code, cell.Value

        with self._lock:
            block, code = questions.grown(call, PAGE_SIZE)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "GetVirtualDiskPhysicalPath", self._path)
        return wide_text(block.memory[:])

    def attach_raw(self, *, read_only: bool = False) -> None:
        """Attach the disk so that this handle reads and writes its sectors, and nothing else.

        No volume is mounted, no drive appears, and Windows itself does not touch the
        content. A disk that was opened read-only is attached so in any case. The attachment
        ends with `detach`, or with the handle.

        Raises `InvalidInputError` for a disk that was opened `info_only`, and the `OSError`
        of AttachVirtualDisk: 1314, or `PermissionError`, where the process is not run as
        administrator.
        """
        self._attach(enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST, read_only, None)

    def attach(
        self,
        *,
        read_only: bool = False,
        drive_letter: bool = True,
        permanent: bool = False,
        restrict_to: tuple[int, int] | None = None,
        flags: int = 0,
    ) -> str:
        """Attach the disk to this machine, as if it had been plugged in; return its device.

        Windows then mounts its volumes. `drive_letter`: whether they get one. `permanent`:
        it stays attached when the handle is closed, until somebody calls `detach` or the
        machine restarts. `restrict_to`: show only this part, offset and length in bytes
        (Windows 10, version 1903). `flags`: more of Windows' ATTACH_VIRTUAL_DISK_FLAG.

        Raises as `attach_raw` and `physical_path` do; the disk is not attached then.
        """
        if permanent:
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.PERMANENT_LIFETIME
        if not drive_letter:
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.NO_DRIVE_LETTER
        self._attach(flags, read_only, restrict_to)
        try:
            return self.physical_path
        except BaseException:  # whoever gets no device cannot know that there is one
            with contextlib.suppress(OSError):
                self.detach()
            raise

    def _attach(self, flags: int, read_only: bool, part: tuple[int, int] | None) -> None:
        if self._info_only:
            raise InvalidInputError.because(
                "a disk opened with info_only=True cannot be attached", self._path
            )
        _check_flags(flags, self._path)
        version = enums.ATTACH_VIRTUAL_DISK_VERSION
        parameters = structures.ATTACH_VIRTUAL_DISK_PARAMETERS(Version=version.VERSION_1)
        if part is not None:
            offset, length = map(operator.index, part)
            if offset < 0 or length <= 0 or offset + length > _MAX_OFFSET:
                raise InvalidInputError.because(
                    f"restrict_to must be an offset and a length, not {part}", self._path
                )
            parameters.Version = version.VERSION_2
            parameters.Version2.RestrictedOffset = offset
            parameters.Version2.RestrictedLength = length
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.RESTRICTED_RANGE
        if read_only or self._read_only:
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
        with self._lock:
            code = self._windows.virtdisk.AttachVirtualDisk(
                self.handle, 0, flags, 0, address_of(parameters), 0
            )
            if code != constants.ERROR_SUCCESS:
                raise windows_error(code, "AttachVirtualDisk", self._path)
            self._attached = True

    def detach(self) -> None:
        """End the attachment, whoever made it.

        Raises the `OSError` of DetachVirtualDisk: 21 if the disk is not attached.
        """
        with self._lock:
            code = self._windows.virtdisk.DetachVirtualDisk(
                self.handle, enums.DETACH_VIRTUAL_DISK_FLAG.NONE, 0
            )
            if code != constants.ERROR_SUCCESS:
                raise windows_error(code, "DetachVirtualDisk", self._path)
            self._attached = False

    @staticmethod
    def attached_disks() -> tuple[str, ...]:
        r"""The devices, such as ``\\.\PhysicalDrive3``, that virtual disks are attached as.

        Raises the `OSError` of GetAllAttachedVirtualDiskPhysicalPaths.
        """
        return machine.attached_disks(current())

    @staticmethod
    def dependencies(path: str | os.PathLike[str]) -> tuple[StorageDependency, ...]:
        r"""The virtual disks that a volume (``C:``), a folder, a file or a disk lies on.

        The nearest comes first; a volume of a plain disk lies on none.
        Raises the `OSError` of CreateFileW or GetStorageDependencyInformation.
        """
        return machine.dependencies(current(), files.checked_path(path))

    # -- Changing what it is --------------------------------------------------

    def set_parent(self, path: str | os.PathLike[str], *, depth: int | None = None) -> None:
        """Say where the parent of this differencing disk is now.

        The disk is to be opened with `no_parents`, or, to do so for an ancestor, with
        `custom_chain`, and `depth` then says for which: 1 is the disk itself.

        Raises the `OSError` of SetVirtualDiskInformation: 0xC03A000E if that is not the disk
        that it was made from.
        """
        parent = absolute(self._windows, files.checked_path(path))
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PARENT_PATH)
        if depth is None:
            setting.ParentFilePath = parent
        elif not 1 <= operator.index(depth) <= _MAX_ULONG:
            raise InvalidInputError.because(f"depth must be at least 1, not {depth}", self._path)
        else:
            setting.Version = SETTING.PARENT_PATH_WITH_DEPTH
            setting.ParentPathWithDepthInfo.ChildDepth = operator.index(depth)
            setting.ParentPathWithDepthInfo.ParentFilePath = parent
        self._set(setting)

    def set_parent_locator(self, path: str | os.PathLike[str], linkage_id: uuid.UUID) -> None:
        """Write both into a differencing VHDX, unchecked: where its parent is, and which id
        it has to have."""
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PARENT_LOCATOR)
        setting.ParentLocator.LinkageId = GUID.of(linkage_id)
        setting.ParentLocator.ParentFilePath = files.checked_path(path)
        self._set(setting)

    def add_parent(self, path: str | os.PathLike[str]) -> None:
        """Name the next parent of a disk that was opened with `custom_chain`.

        Raises the `OSError` of AddVirtualDiskParent.
        """
        parent = absolute(self._windows, files.checked_path(path))
        with self._lock:
            code = self._windows.virtdisk.AddVirtualDiskParent(self.handle, parent)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "AddVirtualDiskParent", self._path)

    def set_disk_id(self, disk_id: uuid.UUID) -> None:
        """Give the disk another identity. Raises the `OSError` of SetVirtualDiskInformation."""
        if self.info.format is VirtualDiskFormat.VHD:
            setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.IDENTIFIER)
            setting.UniqueIdentifier = GUID.of(disk_id)
        else:
            setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.VIRTUAL_DISK_ID)
            setting.VirtualDiskId = GUID.of(disk_id)
        self._set(setting)

    def set_physical_sector_size(self, size: int) -> None:
        """Set what the disk calls its physical sectors, 512 or 4096 bytes; in a VHDX only."""
        if operator.index(size) not in (512, 4096):
            raise InvalidInputError.because(f"size must be 512 or 4096, not {size}", self._path)
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PHYSICAL_SECTOR_SIZE)
        setting.VhdPhysicalSectorSize = size
        self._set(setting)

    def _set(self, setting: structures.SET_VIRTUAL_DISK_INFO) -> None:
        with self._lock:
            code = self._windows.virtdisk.SetVirtualDiskInformation(
                self.handle, address_of(setting)
            )
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "SetVirtualDiskInformation", self._path)

    # -- Long operations ------------------------------------------------------

    def resize(self, size: int, *, allow_unsafe: bool = False) -> Operation[None]:
        """Make the disk larger or smaller. Its partitions stay what they are.

        Below `smallest_safe_size` it cuts off what a partition holds, and is refused without
        `allow_unsafe`. A VHD can only grow. Raises `InvalidInputError`, and the `OSError` of
        ResizeVirtualDisk.
        """
        enum, flags = enums.RESIZE_VIRTUAL_DISK_VERSION, enums.RESIZE_VIRTUAL_DISK_FLAG.NONE
        if allow_unsafe:
            flags = enums.RESIZE_VIRTUAL_DISK_FLAG.ALLOW_UNSAFE_VIRTUAL_SIZE
        parameters = structures.RESIZE_VIRTUAL_DISK_PARAMETERS(Version=enum.VERSION_1)
        parameters.Version1.NewSize = self._checked_size(size)
        return self._begin("ResizeVirtualDisk", flags, parameters)

    def resize_to_smallest(self) -> Operation[None]:
        """Make the disk as small as its partitions allow: `smallest_safe_size`."""
        parameters = structures.RESIZE_VIRTUAL_DISK_PARAMETERS(
            Version=enums.RESIZE_VIRTUAL_DISK_VERSION.VERSION_1
        )
        flags = enums.RESIZE_VIRTUAL_DISK_FLAG.RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE
        return self._begin("ResizeVirtualDisk", flags, parameters)

    def expand(self, size: int, *, notify: bool = False) -> Operation[None]:
        """Make the disk larger, on a Windows that has no `resize` as well.

        `notify`: have Windows look at an attached disk again. Raises `InvalidInputError`, and
        the `OSError` of ExpandVirtualDisk.
        """
        enum, flags = enums.EXPAND_VIRTUAL_DISK_VERSION, enums.EXPAND_VIRTUAL_DISK_FLAG.NONE
        if notify:
            flags = enums.EXPAND_VIRTUAL_DISK_FLAG.NOTIFY_CHANGE
        parameters = structures.EXPAND_VIRTUAL_DISK_PARAMETERS(Version=enum.VERSION_1)
        parameters.Version1.NewSize = self._checked_size(size)
        return self._begin("ExpandVirtualDisk", flags, parameters)

    def _checked_size(self, size: int) -> int:
        info = self.info
        return formats.check_size(self._path, info.format, size, info.sector_size)

    def compact(self, *, zero_scan: bool = True, block_moves: bool = True) -> Operation[None]:
        """Make the file of a dynamic or differencing disk smaller, and its content stay.

        Windows finds blocks that are all zeros, and, on a disk that is attached read-only,
        space that its file system does not use. `zero_scan`, `block_moves`: without, it only
        moves blocks, or only drops them. Raises the `OSError` of CompactVirtualDisk.
        """
        flags = enums.COMPACT_VIRTUAL_DISK_FLAG.NONE
        if not zero_scan:
            flags |= enums.COMPACT_VIRTUAL_DISK_FLAG.NO_ZERO_SCAN
        if not block_moves:
            flags |= enums.COMPACT_VIRTUAL_DISK_FLAG.NO_BLOCK_MOVES
        parameters = structures.COMPACT_VIRTUAL_DISK_PARAMETERS(
            Version=enums.COMPACT_VIRTUAL_DISK_VERSION.VERSION_1
        )
        return self._begin("CompactVirtualDisk", flags, parameters)

    def merge(self, *, source_depth: int = 1, target_depth: int = 2) -> Operation[None]:
        """Write what a differencing disk holds into its parent.

        Depth 1 is this disk, 2 its parent, and so on: what lies from `source_depth` to just
        before `target_depth` goes into the disk there. The files that were merged are not
        deleted; whoever still uses one of them as a parent has lost it.

        Raises `InvalidInputError`, and the `OSError` of MergeVirtualDisk.
        """
        source, target = operator.index(source_depth), operator.index(target_depth)
        if not 1 <= source < target <= _MAX_ULONG:
            raise InvalidInputError.because(
                f"source_depth must be at least 1 and below target_depth, not {source} and "
                f"{target}, and both have 32 bits",
                self._path,
            )
        parameters = structures.MERGE_VIRTUAL_DISK_PARAMETERS(
            Version=enums.MERGE_VIRTUAL_DISK_VERSION.VERSION_2
        )
        parameters.Version2.MergeSourceDepth = source
        parameters.Version2.MergeTargetDepth = target
        return self._begin("MergeVirtualDisk", enums.MERGE_VIRTUAL_DISK_FLAG.NONE, parameters)

    def mirror(
        self, path: str | os.PathLike[str], *, existing: bool = False, flags: int = 0
    ) -> Operation[None]:
        """Copy the disk to `path`, and from then on write to both.

        The operation never ends by itself: when its progress is complete, `break_mirror` goes
        over to the copy, and `cancel` stays with the original. `existing`: into a file there
        is. `flags`: more of Windows' MIRROR_VIRTUAL_DISK_FLAG.

        Raises the `OSError` of MirrorVirtualDisk.
        """
        _check_flags(flags, self._path)
        if existing:
            flags |= enums.MIRROR_VIRTUAL_DISK_FLAG.EXISTING_FILE
        parameters = structures.MIRROR_VIRTUAL_DISK_PARAMETERS(
            Version=enums.MIRROR_VIRTUAL_DISK_VERSION.VERSION_1
        )
        parameters.Version1.MirrorVirtualDiskPath = absolute(
            self._windows, files.checked_path(path)
        )
        return self._begin("MirrorVirtualDisk", flags, parameters)

    def break_mirror(self) -> None:
        """End a mirror, and go on with the copy. Raises the `OSError` of BreakMirrorVirtualDisk."""
        with self._lock:
            code = self._windows.virtdisk.BreakMirrorVirtualDisk(self.handle)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "BreakMirrorVirtualDisk", self._path)

    def fork(self, path: str | os.PathLike[str], *, existing: bool = False) -> Operation[None]:
        """Begin to keep at `path` what the disk is now; `complete_fork` ends it.

        `existing`: in a file there is. Raises the `OSError` of ForkVirtualDisk.
        """
        flags = enums.FORK_VIRTUAL_DISK_FLAG.NONE
        if existing:
            flags = enums.FORK_VIRTUAL_DISK_FLAG.EXISTING_FILE
        parameters = structures.FORK_VIRTUAL_DISK_PARAMETERS(
            Version=enums.FORK_VIRTUAL_DISK_VERSION.VERSION_1
        )
        parameters.Version1.ForkedVirtualDiskPath = absolute(
            self._windows, files.checked_path(path)
        )
        return self._begin("ForkVirtualDisk", flags, parameters)

    def complete_fork(self) -> None:
        """End what `fork` began. Raises the `OSError` of CompleteForkVirtualDisk."""
        with self._lock:
            code = self._windows.virtdisk.CompleteForkVirtualDisk(self.handle)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, "CompleteForkVirtualDisk", self._path)

    def _begin(self, name: str, flags: int, parameters: Parameters) -> Operation[None]:
        """Begin an operation on this handle, which stays open until it is over."""
        function: Callable[[int, int, int, int], int] = getattr(self._windows.virtdisk, name)

        def call(overlapped: int) -> int:
            return function(handle.Value, flags, address_of(parameters), overlapped)

        def settle(code: int, begun: bool) -> None:
            with self._lock:
                self._operations.discard(operation)
            if code != constants.ERROR_SUCCESS:
                raise windows_error(code, name, self._path)

        with self._lock:
            handle = HANDLE_CELL(self.handle)
            operation = Operation(self._windows, name, handle, call, settle)
            self._operations.add(operation)
        try:
            operation.start()
        except BaseException:
            if operation.is_over:  # else it goes on, and `settle` comes
                self._operations.discard(operation)
            raise
        return operation

    # -- Changed blocks -------------------------------------------------------

    @property
    def change_tracking(self) -> ChangeTracking:
        """Whether the disk notes its changes, and since when; in a VHDX only."""
        with self._lock:
            return ChangeTracking(
                *questions.change_tracking(self._windows, self.handle, self._path)
            )

    def set_change_tracking(self, enabled: bool) -> None:
        """Begin or stop to note changes. Raises the `OSError` of SetVirtualDiskInformation."""
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.CHANGE_TRACKING_STATE)
        setting.ChangeTrackingEnabled = enabled
        self._set(setting)

    def changes(
        self, since: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[ChangedRange]:
        """Iterate over the ranges of bytes that have changed since the moment of an id.

        `since`: a `change_tracking.most_recent_id` of then. `offset`, `length`: only in this
        part, in bytes. Change tracking must have been on since.

        Raises `InvalidInputError`, and, while it is iterated over, the `OSError` of
        QueryChangesVirtualDisk.
        """
        if (
            not since
            or "\0" in since
            or len(since) >= (enums.VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH)
        ):
            raise InvalidInputError.because(
                f"since must be a change tracking id, not {since!r}", self._path
            )
        size = self.info.virtual_size
        start, end = operator.index(offset), size
        if length is not None:
            end = start + operator.index(length)
        if not 0 <= start <= end <= size:
            raise InvalidInputError.because(
                f"offset and length must lie inside the {size} bytes of the disk, not "
                f"{start} and {end - start}",
                self._path,
            )
        return changed_ranges(partial(self._query_changes, since), self._path, start, end)

    def _query_changes(
        self, since: str, offset: int, length: int, ranges: int, count: int, processed: int
    ) -> int:
        with self._lock:
            return self._windows.virtdisk.QueryChangesVirtualDisk(
                self.handle,
                since,
                offset,
                length,
                enums.QUERY_CHANGES_VIRTUAL_DISK_FLAG.NONE,
                ranges,
                count,
                processed,
            )

    # -- Snapshots of a VHD set -----------------------------------------------

    def take_snapshot(
        self, snapshot_id: uuid.UUID | None = None, *, writable: bool = False
    ) -> uuid.UUID:
        """Keep what a VHD set holds now, under an id, by default a new one; return the id.

        `writable`: a snapshot that can be written to. Raises the `OSError` of
        TakeSnapshotVhdSet.
        """
        snapshot_id = uuid.uuid4() if snapshot_id is None else snapshot_id
        parameters = structures.TAKE_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.TAKE_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = GUID.of(snapshot_id)
        flag = enums.TAKE_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "TakeSnapshotVhdSet", parameters, flag.WRITEABLE if writable else flag.NONE
        )
        return snapshot_id

    def delete_snapshot(self, snapshot_id: uuid.UUID, *, keep_changes: bool = False) -> None:
        """Drop a snapshot. `keep_changes`: but stay able to tell `changes` since it.

        Raises the `OSError` of DeleteSnapshotVhdSet.
        """
        parameters = structures.DELETE_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.DELETE_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = GUID.of(snapshot_id)
        flag = enums.DELETE_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "DeleteSnapshotVhdSet", parameters, flag.PERSIST_RCT if keep_changes else flag.NONE
        )

    def apply_snapshot(
        self,
        snapshot_id: uuid.UUID,
        *,
        leaf_snapshot_id: uuid.UUID | None = None,
        writable: bool = False,
    ) -> None:
        """Go back to a snapshot. `leaf_snapshot_id`: the id under which to keep what is now.

        Raises the `OSError` of ApplySnapshotVhdSet.
        """
        parameters = structures.APPLY_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.APPLY_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = GUID.of(snapshot_id)
        if leaf_snapshot_id is not None:
            parameters.Version1.LeafSnapshotId = GUID.of(leaf_snapshot_id)
        flag = enums.APPLY_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "ApplySnapshotVhdSet", parameters, flag.WRITEABLE if writable else flag.NONE
        )

    def set_snapshot_path(
        self, snapshot_id: uuid.UUID, path: str | os.PathLike[str], *, writable: bool = False
    ) -> None:
        """Say in which file a VHD set has a snapshot. Raises the `OSError` of ModifyVhdSet."""
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.SNAPSHOT_PATH
        )
        parameters.SnapshotPath.SnapshotId = GUID.of(snapshot_id)
        parameters.SnapshotPath.SnapshotFilePath = absolute(self._windows, files.checked_path(path))
        flag = enums.MODIFY_VHDSET_FLAG
        self._change_set(
            "ModifyVhdSet", parameters, flag.WRITEABLE_SNAPSHOT if writable else flag.NONE
        )

    def forget_snapshot(self, snapshot_id: uuid.UUID) -> None:
        """Take a snapshot out of a VHD set, its file untouched. Raises as above."""
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.REMOVE_SNAPSHOT
        )
        parameters.SnapshotId = GUID.of(snapshot_id)
        self._change_set("ModifyVhdSet", parameters, enums.MODIFY_VHDSET_FLAG.NONE)

    def set_default_snapshot_path(self, path: str | os.PathLike[str]) -> None:
        """Say which file a VHD set's current content is in. Raises as above."""
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.DEFAULT_SNAPSHOT_PATH
        )
        parameters.DefaultFilePath = absolute(self._windows, files.checked_path(path))
        self._change_set("ModifyVhdSet", parameters, enums.MODIFY_VHDSET_FLAG.NONE)

    def _change_set(self, name: str, parameters: SetParameters, flags: int) -> None:
        function: Callable[[int, int, int], int] = getattr(self._windows.virtdisk, name)
        with self._lock:
            code = function(self.handle, address_of(parameters), flags)
        if code != constants.ERROR_SUCCESS:
            raise windows_error(code, name, self._path)

    # -- SCSI -----------------------------------------------------------------

    def raw_scsi(self, cdb: bytes, *, data: bytes = b"", length: int = 0) -> ScsiResponse:
        """Send a SCSI command to the attached disk, and return what it came to.

        `cdb`: the command. `data`: what it writes, or `length`: the most that it reads.
        Success means that it was delivered: see the response's `check`.

        Raises `InvalidInputError`, and the `OSError` of RawSCSIVirtualDisk.
        """
        with self._lock:
            return scsi.send(self._windows, self.handle, self._path, cdb, data=data, length=length)


def _open_call(
    windows: Windows,
    name: str,
    mask: int,
    flags: int,
    parameters: structures.OPEN_VIRTUAL_DISK_PARAMETERS,
) -> Handle:
    """Open a disk, and return its handle or raise."""
    _check_flags(flags, name)
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
        raise windows_error(code, "OpenVirtualDisk", name)
    return Handle(handle.Value)


def _create_call(
    windows: Windows,
    name: str,
    flags: int,
    parameters: structures.CREATE_VIRTUAL_DISK_PARAMETERS,
    handle: HANDLE_CELL,
) -> Callable[[int], int]:
    """Return the call that creates a disk: it takes an OVERLAPPED, and owns what it points to."""
    _check_flags(flags, name)
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


def _check_flags(flags: int, name: str) -> None:
    if not 0 <= operator.index(flags) <= _MAX_ULONG:
        raise InvalidInputError.because(f"flags must have 32 bits, not be {flags:#x}", name)


def finished(operation: Operation[Disk], report: Callable[[int, int], None] | None = None) -> Disk:
    """Wait for a new disk, as `Operation.follow` does; whatever is raised, it is not open.

    So its file can be deleted when Ctrl+C came too late to cancel its making.
    """
    try:
        return operation.follow(report)
    except BaseException:
        _close_unwanted(operation)
        raise


def _close_unwanted(operation: Operation[Disk]) -> None:
    """Close the disk that an operation has made, if it has, and nobody is going to."""
    if operation.done() and not operation.cancelled() and operation.exception() is None:
        operation.result().close()


def _described(path: str) -> VirtualDiskInfo:
    """Return what a disk is, its own parent found or not."""
    try:
        with VirtualDisk.open(path, info_only=True) as disk:
            return disk.info
    except OSError as error:
        if getattr(error, "winerror", None) != constants.ERROR_VHD_PARENT_VHD_NOT_FOUND:
            raise
    with VirtualDisk.open(path, info_only=True, no_parents=True) as disk:
        return disk.info
