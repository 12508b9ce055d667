"""Disks in plain files, opened without any driver: raw images and fixed VHDs.

Rules:

1. Files are opened unbuffered, so pages go between caller and device. On a volume
   whose sectors are larger than the disk's that cannot work; there, and where a
   device knows no scatter/gather, the file is opened buffered and pages that lie
   apart go by plain calls, run by run. A probe at open decides, once.
2. Nobody else may write a file while it is open here, so its size is known.
3. A new image is made to look finished last: a fixed VHD has no footer until `seal`.
   Written first, the footer would also make NTFS write zeros all the way up to it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp._win32.structures import FILE_ZERO_DATA_STRUCT
from pyvhdmp.buffers import PageBuffer
from pyvhdmp.checks import identity, whole_number
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk, UnmapBehavior
from pyvhdmp.disk.other_formats import check_raw
from pyvhdmp.disk.probe import is_supported, takes_pages
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.logs import logger
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.vhd import FOOTER_SIZE, SECTOR_SIZE, Footer, check_size

if TYPE_CHECKING:
    from typing import Self

__all__ = ["FixedVhdDisk", "NewImage", "RawDisk", "make_fixed_vhd"]


class _ImageDisk(Disk):
    """A disk whose payload starts at byte 0 of a file. `_trailer` bytes follow it."""

    _trailer: ClassVar[int] = 0
    _can_be_device: ClassVar[bool] = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        port: CompletionPort | None = None,
    ) -> Self:
        """Open an image file. `port`: the completion port to use, by default the process's.

        Raises the `OSError` of CreateFileW, and `InvalidInputError` for a file that
        is no image of this kind, saying why.
        """
        return cls._open_examined(
            path, cls._examine, device=cls._can_be_device, read_only=read_only, port=port
        )

    @classmethod
    def _open_examined(
        cls,
        path: str | os.PathLike[str],
        examine: Callable[[OverlappedFile, str, int], uuid.UUID | None],
        *,
        device: bool = False,
        read_only: bool,
        port: CompletionPort | None,
    ) -> Self:
        name = files.checked_path(path, device=device)
        file, scatter = _open(name, constants.OPEN_EXISTING, read_only=read_only, port=port)
        try:
            file_size = files.file_size(file.port.windows, file.handle)
            disk_id = examine(file, name, file_size)
            return cls._over(
                file, scatter, name, file_size - cls._trailer, disk_id, read_only=read_only
            )
        except BaseException:
            file.close()
            raise

    @classmethod
    def _examine(cls, file: OverlappedFile, path: str, file_size: int) -> uuid.UUID | None:
        """Return the identity that the image carries. Raises for what is no such image."""
        raise NotImplementedError

    @classmethod
    def _over(
        cls,
        file: OverlappedFile,
        scatter: bool,
        path: str,
        size: int,
        disk_id: uuid.UUID | None,
        *,
        read_only: bool,
    ) -> Self:
        return cls(
            file,
            path=path,
            size=size,
            sector_size=SECTOR_SIZE,
            physical_sector_size=SECTOR_SIZE,
            disk_id=disk_id,
            read_only=read_only,
            scatter=scatter,
            unmap_behavior=UnmapBehavior.IGNORED if read_only else _probe_unmap(file),
        )


class RawDisk(_ImageDisk):
    """A raw image: the file is the disk, sector by sector of 512 bytes."""

    disk_type: str = "raw"
    _can_be_device: ClassVar[bool] = True

    @classmethod
    def open_unless_other(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        port: CompletionPort | None = None,
    ) -> Self:
        """Open what only its name says is a raw image, and refuse what is of another format.

        Raises as `open` does.
        """
        return cls._open_examined(path, cls._examine_content, read_only=read_only, port=port)

    @classmethod
    def _examine_content(cls, file: OverlappedFile, path: str, file_size: int) -> None:
        cls._examine(file, path, file_size)
        check_raw(_sector(file, 0), _sector(file, file_size - SECTOR_SIZE), path)

    @classmethod
    def _examine(cls, file: OverlappedFile, path: str, file_size: int) -> None:
        if file_size == 0:
            raise InvalidInputError.because("no raw image: the file is empty", path)
        if file_size % SECTOR_SIZE:
            raise InvalidInputError.because(
                f"no raw image: {file_size} bytes are no whole number of sectors of {SECTOR_SIZE}",
                path,
            )


class FixedVhdDisk(_ImageDisk):
    """A fixed VHD: the sectors, and then a footer of 512 bytes that is no part of the disk."""

    disk_type: str = "fixed-vhd"
    _trailer: ClassVar[int] = FOOTER_SIZE

    @classmethod
    def _examine(cls, file: OverlappedFile, path: str, file_size: int) -> uuid.UUID:
        raw = b""
        if file_size >= FOOTER_SIZE and file_size % SECTOR_SIZE == 0:
            buffer = PageBuffer(FOOTER_SIZE)
            length = file.read_at(buffer, file_size - FOOTER_SIZE).result()
            raw = buffer[:length]
        elif file_size >= FOOTER_SIZE:
            raise InvalidInputError.because(
                f"no fixed VHD, or a truncated one: {file_size} bytes are no whole number of "
                f"sectors of {SECTOR_SIZE}",
                path,
            )
        return Footer.parse(raw, file_size=file_size, filename=path).disk_id


class NewImage:
    """An image being made: `disk` can be written at once, `seal` makes it whole.

    Until it is sealed, the file of a fixed VHD is not one.
    """

    def __init__(
        self,
        path: str,
        size: int,
        kind: type[RawDisk] | type[FixedVhdDisk],
        *,
        overwrite: bool = False,
        disk_id: uuid.UUID | None = None,
        port: CompletionPort | None = None,
    ) -> None:
        """Make the file, `size` bytes of zeros. `overwrite`: even if one is there."""
        self._footer = _footer(size, disk_id) if kind is FixedVhdDisk else None
        self._size = size
        disposition = constants.CREATE_ALWAYS if overwrite else constants.CREATE_NEW
        file_size = size + kind._trailer
        file, scatter = _open(
            path,
            disposition,
            read_only=False,
            port=port,
            size=file_size,
            sparse=kind is RawDisk,  # VHDMP refuses a sparse VHD
        )
        self._file = file
        try:
            identity = self._footer.disk_id if self._footer else None
            self.disk: Disk = kind._over(file, scatter, path, size, identity, read_only=False)
        except BaseException:
            file.close()
            files.discard_file(file.port.windows, path)
            raise

    def seal(self) -> None:
        """Write what makes the image whole, see rule 3, and return when it is on stable storage.

        Everything written to `disk` must be finished.
        """
        if self._footer is not None:
            buffer = PageBuffer(FOOTER_SIZE)
            buffer[:] = self._footer.pack()
            self._file.flush().result()  # no footer on the medium before what it vouches for
            self._file.write_at(buffer, self._size).result()
        self._file.flush().result()


def make_fixed_vhd(
    path: str | os.PathLike[str], size: int, *, disk_id: uuid.UUID | None = None
) -> uuid.UUID:
    """Create a fixed .vhd of `size` bytes of zeros; return its identity. Needs no driver.

    Its name must end in .vhd, as `open_disk` goes by that. `size`: a multiple of 512, up to
    2040 GiB; Windows itself makes no disk of less than 3 MiB, and this does. `disk_id`: its
    identity, by default a new one. Raises `FileExistsError` if there is such a file,
    `InvalidInputError` for another size or name, and the `OSError` of Windows.
    """
    name, size = files.checked_path(path), whole_number(size, "size")
    if disk_id is not None:
        identity(disk_id, "disk_id")
    if not name.lower().endswith(".vhd"):
        raise InvalidInputError.because("the name of a fixed VHD must end in .vhd", name)
    check_size(size, name)
    image = NewImage(name, size, FixedVhdDisk, disk_id=disk_id)
    try:
        image.seal()
    except BaseException:
        image.disk.close()
        files.discard_file(current(), name)
        raise
    image.disk.close()
    assert image.disk.disk_id is not None
    return image.disk.disk_id


def _footer(size: int, disk_id: uuid.UUID | None) -> Footer:
    return Footer(size) if disk_id is None else Footer(size, disk_id)


def _open(
    path: str,
    disposition: int,
    *,
    read_only: bool,
    port: CompletionPort | None,
    size: int | None = None,
    sparse: bool = False,
) -> tuple[OverlappedFile, bool]:
    """Open a file; return it, and whether it takes pages. With a `size`, it is a new file.

    A new file is deleted again if something fails.
    """
    windows, writable = current(), not read_only
    own, owners = partial(OverlappedFile, port=port), list[OverlappedFile]()
    handles = [
        files.open_file(
            windows,
            path,
            writable=writable,
            disposition=disposition,
            flags=constants.FILE_FLAG_NO_BUFFERING,
        )
    ]
    try:
        # Each handle gets its owner in one step, which no Ctrl+C interrupts.
        owners.extend(map(own, handles))
        file = owners[0]
        if sparse:
            _make_sparse(file)
        if size is not None:
            files.set_file_size(windows, file.handle, size, path)
        if _probe_unbuffered(file):  # rule 1
            return file, True
        logger.info("%s takes no unbuffered pages: opened through the cache, page by page", path)
        file.close()
        handles.append(
            files.open_file(windows, path, writable=writable, disposition=constants.OPEN_EXISTING)
        )
        owners.extend(map(own, handles[1:]))
        return owners[1], False
    except BaseException:
        for owner in owners:
            owner.close()
        for handle in handles[len(owners) :]:
            files.close_handle(windows, handle)
        if size is not None:
            files.discard_file(windows, path)
        raise


def _sector(file: OverlappedFile, offset: int) -> bytes:
    """Return a sector, or nothing: what cannot be read can be opened all the same."""
    buffer = PageBuffer(SECTOR_SIZE)
    try:
        length = file.read_at(buffer, offset).result()
    except OSError:
        return b""
    return buffer[:length]


def _probe_unbuffered(file: OverlappedFile) -> bool:
    """Whether the file takes reads of one sector, at any sector, and of pages."""
    sector = PageBuffer(SECTOR_SIZE)
    return is_supported(lambda: file.read_at(sector, SECTOR_SIZE)) and takes_pages(file)


def _probe_unmap(file: OverlappedFile) -> UnmapBehavior:
    """What zeroing a range of no bytes says about zeroing."""
    try:
        file.device_io_control(
            constants.FSCTL_SET_ZERO_DATA, FILE_ZERO_DATA_STRUCT.pack(0, 0)
        ).result()
    except OSError:
        return UnmapBehavior.IGNORED
    return UnmapBehavior.ZEROES


def _make_sparse(file: OverlappedFile) -> None:
    """Let zeros take no room, where the file system can."""
    with contextlib.suppress(OSError):
        file.device_io_control(constants.FSCTL_SET_SPARSE, b"\x01").result()
