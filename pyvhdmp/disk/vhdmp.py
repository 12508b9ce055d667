"""Disks behind Windows' own driver for virtual disks, VHDMP: every kind of VHD and VHDX.

Rules:

1. The handle that OpenVirtualDisk gives, and AttachVirtualDisk attaches raw, is the disk:
   it takes overlapped reads and writes. The attachment ends when it is closed.
2. It has one owner at any time: the `VirtualDisk` until the `OverlappedFile` has been
   made, and that from then on.
3. Others can resize the disk, and nothing notifies. Its size is asked for again whenever
   somebody asks for it, waits for it, or wants to go past the end that was known.
4. A new disk is one from the moment it is created, empty, and looks finished all the time.
   So it is made under a name that says it is not.
5. A question holds the handle as a request does, so that no close comes in between. It
   is answered while it is asked. Should Windows post a packet for it all the same, that
   is a stray, which the port ignores.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk, UnmapBehavior
from pyvhdmp.disk.probe import takes_pages
from pyvhdmp.disk.resize import ResizeWatch
from pyvhdmp.disk.unmap import UnmapQueue
from pyvhdmp.errors import code_of
from pyvhdmp.logs import logger
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskType
from pyvhdmp.virtual_disk.questions import virtual_size
from pyvhdmp.virtual_disk.scsi import UnmapLimits, unmap_limits

if TYPE_CHECKING:
    from typing import Self

__all__ = ["NewVirtualImage", "VhdmpDisk"]

_NO_SCSI: Final = (
    constants.ERROR_INVALID_FUNCTION,
    constants.ERROR_ACCESS_DENIED,
    constants.ERROR_NOT_SUPPORTED,
    constants.ERROR_INVALID_PARAMETER,
    constants.ERROR_CALL_NOT_IMPLEMENTED,
    constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK,
)
"""What a Windows, or a handle, answers that takes no SCSI commands."""


class VhdmpDisk(Disk):
    """A virtual disk of any kind, opened and attached through virtdisk.dll.

    Windows wants a process that is run as administrator for that. `unmap` gives blocks back
    to the host where the disk takes SCSI's UNMAP, and is checked and ignored where not.
    """

    disk_type: str = "vhdmp"

    def __init__(
        self,
        file: OverlappedFile,
        *,
        path: str,
        size: int,
        sector_size: int,
        physical_sector_size: int,
        disk_id: uuid.UUID | None,
        read_only: bool,
        scatter: bool,
    ) -> None:
        super().__init__(
            file,
            path=path,
            size=size,
            sector_size=sector_size,
            physical_sector_size=physical_sector_size,
            disk_id=disk_id,
            read_only=read_only,
            scatter=scatter,
            unmap_behavior=UnmapBehavior.IGNORED,
        )
        self._resize_watch = ResizeWatch(self._count_sectors)
        self._unmaps = UnmapQueue(file, path, self._ask_unmap_limits)
        self._unmap_limits: UnmapLimits | None = None
        self._unmap_lock = threading.Lock()
        self._unmap_asked = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        cached_io: bool = False,
        port: CompletionPort | None = None,
    ) -> Self:
        """Open a virtual disk file, attach it raw, and return the disk in it.

        `cached_io`: through Windows' cache, and not written through. `port`: the completion
        port to use, by default the process's.

        Raises as `VirtualDisk.open` and `VirtualDisk.attach_raw` do.
        """
        disk = cls.attach(path, read_only=read_only, cached_io=cached_io)
        return cls.take_over(disk, read_only=read_only, port=port)

    @staticmethod
    def attach(
        path: str | os.PathLike[str], *, read_only: bool, cached_io: bool = False
    ) -> VirtualDisk:
        """Return a virtual disk, attached raw: the part of `open` that wants VHDMP and rights."""
        disk = VirtualDisk.open(path, read_only=read_only, cached_io=cached_io)
        _attach_raw(disk, read_only=read_only)
        return disk

    @classmethod
    def take_over(
        cls, disk: VirtualDisk, *, read_only: bool, port: CompletionPort | None = None
    ) -> Self:
        """Return the disk behind a `VirtualDisk` that is attached raw, and is closed by that.

        `read_only`: also if that was not opened so. Whatever is raised, the handle is closed.
        """
        owners: list[OverlappedFile] = []
        try:
            read_only, info = read_only or disk.is_read_only, disk.info
            # In one step, which no Ctrl+C interrupts.
            owners.extend(map(partial(OverlappedFile, port=port), [disk.handle]))
            disk.release()  # rule 2
        except BaseException:
            if disk.closed:
                for file in owners:
                    file.close()
            else:  # Ctrl+C, or an operation that uses the handle, and for which `close` waits
                for file in owners:
                    file.detach()
                disk.close()
            raise
        (file,) = owners
        try:
            scatter = takes_pages(file)
            if not scatter:
                logger.info("%s takes no scattered pages: they go by plain calls", disk.path)
            taken = cls(
                file,
                path=disk.path,
                size=info.virtual_size,
                sector_size=info.sector_size,
                physical_sector_size=info.physical_sector_size,
                disk_id=info.disk_id,
                read_only=read_only,
                scatter=scatter,
            )
        except BaseException:
            file.close()
            raise
        return taken

    @property
    def unmap_behavior(self) -> UnmapBehavior:
        """What `unmap` does to the content.

        UNSPECIFIED where the disk says that it takes UNMAP: blocks that are given up whole read
        as zeros, and the edges keep what they hold. IGNORED where it does not, or where
        Windows has no way to ask. Raises `ValueError` if that was not asked before it was closed,
        and the `OSError` of RawSCSIVirtualDisk.
        """
        if not self._unmap_asked:
            question = _Question()
            self._file.enter(question)
            try:
                self._ask_unmap_limits()
            finally:
                self._file.leave(question)
        return UnmapBehavior.UNSPECIFIED if self._unmap_limits else UnmapBehavior.IGNORED

    def _unmap(self, sector: int, count: int) -> Future[None]:
        return self._unmaps.unmap(sector, count)

    def _ask_unmap_limits(self) -> UnmapLimits | None:
        """Return what the disk takes. Asked once, by whoever has the file entered."""
        with self._unmap_lock:
            if not self._unmap_asked:
                windows, handle = self._file.port.windows, self._file.handle
                try:
                    self._unmap_limits = unmap_limits(windows, handle, self._path)
                except OSError as error:
                    if code_of(error) not in _NO_SCSI:
                        raise
                self._unmap_asked = True
            return self._unmap_limits

    def _look_again(self) -> None:
        self._count_sectors()

    def _count_sectors(self) -> int:
        """Ask for the number of sectors: rule 3. A closed disk keeps the last one."""
        question = _Question()
        try:
            try:
                self._file.enter(question)
            except ValueError:
                return self._sector_count
            size = virtual_size(self._file.port.windows, self._file.handle, self._path)
            self._sector_count = size // self._sector_size
        finally:
            self._file.leave(question)
        return self._sector_count


class NewVirtualImage:
    """A virtual disk being made: `disk` can be written at once, see rule 4."""

    def __init__(
        self,
        path: str,
        size: int,
        *,
        disk_type: VirtualDiskType = VirtualDiskType.DYNAMIC,
        sector_size: int = 512,
        parent: str | None = None,
        port: CompletionPort | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        """Make the file, a disk of `size` bytes of zeros, in the place of one that is there.

        A differencing one has all that from its `parent` instead. `report`: how far it is.
        """
        windows = current()
        files.delete_file(windows, path)  # CreateVirtualDisk overwrites nothing
        if parent is not None:
            new = VirtualDisk.create_differencing(path, parent)
        elif disk_type is VirtualDiskType.FIXED:
            making = VirtualDisk.begin_create_fixed(path, size, sector_size=sector_size)
            new = making.follow(report)
        else:
            new = VirtualDisk.create_dynamic(path, size, sector_size=sector_size)
        try:
            _attach_raw(new, read_only=False)
            self.disk: Disk = VhdmpDisk.take_over(new, read_only=False, port=port)
        except BaseException:
            files.discard_file(windows, path)
            raise

    def seal(self) -> None:
        """Return when everything that was written to `disk` is on stable storage."""
        self.disk.sync_cache().result()


def _attach_raw(disk: VirtualDisk, *, read_only: bool) -> None:
    """Attach a disk raw. Whatever is raised, it is closed."""
    try:
        disk.attach_raw(read_only=read_only)
    except BaseException:
        disk.close()
        raise


class _Question:
    """A question to the driver, while which the handle stays open: rule 5."""

    is_idle: Final = False

    def cancel(self) -> None:
        """Nothing to do: the answer comes at once."""
