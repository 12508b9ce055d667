"""A disk as a binary file: for every library that reads or writes one.

    with pyvhdmp.BlockingDisk.open("data.vhd") as file:
        file.seek(510)
        signature = file.read(2)

Rules:

1. A call is one request, waited for. It is made of the caller's memory and, where the range
   does not begin or end with a sector, of what is missing there, which has memory of its own.
   So what is page-aligned in the caller's memory is not copied, whatever lies around it.
2. What is missing around a write is read first. One lock is held from then until all is
   written, so no write of the same object comes between. What others do to those sectors
   meanwhile, through the disk or another such object, is lost: as with any two writers.
3. The disk ends where it ends. A read gets what there is before the end, a write writes what
   there is room for, and where there is no room at all it fails with ENOSPC. It never writes
   nothing and says so, upon which `io.BufferedWriter` would try for ever.
4. Ctrl+C lets the caller go when the kernel has let go of the caller's memory, not before.
   Nor does who waits for another thread's call hinder it: see `InterruptibleLock`.
5. Nobody waits in a finalizer. A disk that is left open says so itself. A finalizer or a signal
   handler that comes in while its thread reads or writes is refused, as those of `io` are.
"""

from __future__ import annotations

import errno
import io
import operator
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final, TypeAlias

from pyvhdmp.buffers import PAGE_SIZE, PageBuffer
from pyvhdmp.checks import instance, whole_number
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk import Backend, Disk, open_disk
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.waiting import InterruptibleLock

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from pyvhdmp.buffers import Buffer

    Do: TypeAlias = Callable[[list[Buffer], int], None]

__all__ = ["BlockingDisk"]

_MAX_OFFSET: Final = (1 << 63) - 1


class BlockingDisk(io.RawIOBase):
    """An open disk as a raw binary file: any byte, any length, one call after the other.

    `disk`: an open disk, which can be used by itself, too. `close_disk`: whether closing the
    file closes the disk.

    It is as `open(path, "rb+", buffering=0)` is, or ``"rb"`` on a read-only disk, but that it
    has no `fileno` and cannot be truncated. For many small reads and writes, and for lines of
    text, wrap it in an `io.BufferedReader` or `io.BufferedRandom`. What is written is on stable
    storage after `flush` or `close`; the `flush` of a buffer around it does not reach the disk.

    Offsets and lengths are in bytes. What is past the end can be sought, and reads as b"". A
    write that reaches past the end writes what there is room for and says how much that was;
    where there is no room it fails with errno ENOSPC.

    All methods can be called from any thread; one at a time is carried out. They raise
    `ValueError` on a closed file, and what the future of the request would: `MediumError` or
    another `OSError` of Windows; with errno ECANCELED if ``disk.close(cancel=True)`` cancelled
    it. Ctrl+C cancels the request and is raised when the kernel has let go of the buffers. What
    a finalizer or a signal handler does while its thread reads or writes raises `RuntimeError`.
    """

    _disk: Disk

    def __init__(self, disk: Disk, *, close_disk: bool = True) -> None:
        self._disk = instance(disk, Disk, "disk")
        self._close_disk = close_disk
        self._position = 0
        self._known_size = 0
        edges = memoryview(PageBuffer(2 * PAGE_SIZE))
        self._head = edges[: disk.sector_size]
        self._tail = edges[PAGE_SIZE:][: disk.sector_size]
        self._lock = InterruptibleLock()
        self._busy_thread = 0

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        backend: Backend = "auto",
        port: CompletionPort | None = None,
    ) -> Self:
        """Open a disk image as `open_disk` does, and raise as that does."""
        return cls(open_disk(path, read_only=read_only, backend=backend, port=port))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"at byte {self._position}"
        return f"<BlockingDisk of {self._disk!r}, {state}>"

    def __del__(self) -> None:
        """Do nothing, unlike other files: see rule 5."""

    # -- What it is -------------------------------------------------------------

    @property
    def disk(self) -> Disk:
        """The disk beneath."""
        return self._disk

    @property
    def name(self) -> str:
        """The path that the disk was opened by."""
        return self._disk.path

    @property
    def mode(self) -> str:
        """As `open` has it: "rb" for a read-only disk, else "rb+"."""
        return "rb" if self._disk.is_read_only else "rb+"

    @property
    def size(self) -> int:
        """Bytes on the disk, as it is now."""
        return self._disk.size

    def readable(self) -> bool:
        """Whether it can be read: always. Raises `ValueError` on a closed file."""
        self._check_open()
        return True

    def writable(self) -> bool:
        """Whether it can be written: not on a read-only disk. Raises as `readable` does."""
        self._check_open()
        return not self._disk.is_read_only

    def seekable(self) -> bool:
        """Whether it can be sought: always. Raises as `readable` does."""
        self._check_open()
        return True

    # -- The position -----------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to `offset` bytes from the start, from here or from the end; return where that is.

        Raises `InvalidInputError`, which is an `OSError` and a `ValueError`, for what is before
        the start, or cannot be addressed in 63 bits, or for another `whence`.
        """
        offset, whence = whole_number(offset, "offset"), whole_number(whence, "whence")
        with self._lock:
            self._check_open()
            if whence == os.SEEK_CUR:
                offset += self._position
            elif whence == os.SEEK_END:
                offset += self._disk.size
            elif whence != os.SEEK_SET:
                raise InvalidInputError.because(f"whence must be 0, 1 or 2, not {whence}")
            if not 0 <= offset <= _MAX_OFFSET:
                raise InvalidInputError.because(f"there is no byte {offset} to seek", self.name)
            self._position = offset
            return offset

    def tell(self) -> int:
        """Return the byte that the next read or write begins at. Raises as `readable` does."""
        self._check_open()
        return self._position

    # -- Reading ----------------------------------------------------------------

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a writable buffer, as far as the disk goes; return the number of bytes.

        Raises `TypeError` for a buffer that is read-only or not contiguous.
        """
        with memoryview(buffer) as whole, whole.cast("B") as memory, self._lock:
            if memory.readonly:
                kind = type(buffer).__name__
                raise TypeError(f"readinto() takes a buffer that can be written, not {kind}")
            length = self._room(len(memory))
            if length:
                with memory[:length] as target:
                    self._transfer_alone(target, write=False)
            return length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, or all that there are without it; fewer only at the end.

        Raises as the class says.
        """
        size = -1 if size is None else operator.index(size)
        with self._lock:
            length = self._room(_MAX_OFFSET if size < 0 else size)
            content = io.BytesIO(bytes(length))  # whose memory becomes the result, uncopied
            with content.getbuffer() as memory:
                self.readinto(memory)
            return content.getvalue()

    def readall(self) -> bytes:
        """Read all that there is from here to the end, in one request. Raises as `read` does."""
        return self.read()

    # -- Writing ----------------------------------------------------------------

    def write(self, data: Buffer, /) -> int:
        """Write what `data` holds; return the number of bytes, fewer only at the end.

        Raises `io.UnsupportedOperation` on a read-only disk, `OSError` with ENOSPC where the
        disk has no room at all, `TypeError` for a buffer that is not contiguous.
        """
        with memoryview(data) as whole, whole.cast("B") as memory, self._lock:
            if not self.writable():
                raise io.UnsupportedOperation("the disk was opened read-only")
            length = self._room(len(memory))
            if length:
                with memory[:length] as source:
                    self._transfer_alone(source, write=True)
            elif len(memory):
                raise OSError(errno.ENOSPC, "the disk ends here", self.name)
            return length

    def flush(self) -> None:
        """Put what was written on stable storage. Nothing is to be done on a read-only disk.

        Raises as the class says.
        """
        with self._lock:
            self._check_open()
            self._disk.sync_cache().result()

    def truncate(self, size: int | None = None, /) -> NoReturn:
        """Raise `io.UnsupportedOperation`: a disk has the size that it has."""
        self._check_open()
        raise io.UnsupportedOperation("a disk cannot be truncated")

    def close(self) -> None:
        """Flush, then close the disk, unless it was asked not to. Idempotent.

        The disk is closed even if the flush fails, and is not flushed if it is closed already.
        Raises `RuntimeError` in a finalizer or a signal handler that comes into another call.
        """
        with self._lock:
            if self.closed:
                return
            self._check_alone()
            try:
                super().close()  # which flushes
            except ValueError:
                if not self._disk.closed:
                    raise
            finally:
                if self._close_disk:
                    self._disk.close()

    # -- Inside -----------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        self._check_alone()

    def _check_alone(self) -> None:
        if self._busy_thread == threading.get_ident():  # see rule 5
            raise RuntimeError(f"reentrant call inside of {self!r}")

    def _room(self, length: int) -> int:
        """Return how many of `length` bytes from here lie on the disk."""
        self._check_open()
        end = self._position + length
        if end > self._known_size:  # else nobody need be asked: the disk checks the range
            self._known_size = self._disk.size
        return max(0, min(end, self._known_size) - self._position)

    def _transfer_alone(self, memory: memoryview, *, write: bool) -> None:
        self._busy_thread = threading.get_ident()
        try:
            self._transfer(memory, write=write)
        finally:
            self._busy_thread = 0

    def _transfer(self, memory: memoryview, *, write: bool) -> None:
        """Read or write the bytes from here on, and with them what makes whole sectors of them."""
        disk, size = self._disk, self._disk.sector_size
        first, lead = divmod(self._position, size)
        last, end = divmod(self._position + len(memory), size)
        tail = self._head if last == first else self._tail
        if write:  # see rule 2
            if lead or (end and last == first):
                self._do(disk._read_now, [self._head], first)
            if end and last != first:
                self._do(disk._read_now, [self._tail], last)
        parts = [self._head[:lead], memory, tail[end or size :]]
        do = disk._write_now if write else disk._read_now
        self._do(do, [part for part in parts if len(part)], first)
        self._position += len(memory)

    def _do(self, do: Do, buffers: list[Buffer], sector: int) -> None:
        """Carry out one request. A cancelled one is an error of a file's."""
        try:
            do(buffers, sector)
        except CancelledError as error:
            raise OSError(errno.ECANCELED, "the request was cancelled", self.name) from error
