"""Disk: sectors, read and written concurrently. What all kinds of disk have in common.

Rules, numbered as users are promised them:

 1. A buffer is anything contiguous with the buffer protocol, and is not copied
    where it is page-aligned. The total is a whole number of sectors.
 2. The range is checked first, in Python integers, before any system call.
 3. Only pages that are not aligned are bounced; waiting for bounce memory blocks nobody.
 4. A request is done in full or fails, whatever its length, and is finished once.
 5. Nothing orders two requests in flight.
 6. With ``fua=True`` the future finishes after the data is on stable storage.
 7. `cancel()` of a future asks the kernel, returns False, and is believed only
    when the kernel confirms it.
 8. `close()` refuses new requests, waits for those in flight, then closes the handle.
 9. Memory that the kernel can touch lives until its packet has been dequeued.
10. Done-callbacks run on the completion thread, and cannot stop it.
11. On a read-only disk writes and unmaps raise before any system call.
12. Any number of threads may use one disk.

1 to 6 are kept here, in `plan`, `direct`, `request` and `waited`, 7 in `calls`, 8 in
`overlapped`, 9 in `register` and `transfers`, 10 in `register` and `futures`, and 11 here.
"""

from __future__ import annotations

import enum
import operator
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import Pins
from pyvhdmp._win32.structures import FILE_ZERO_DATA_STRUCT
from pyvhdmp.buffers import PAGE_SIZE, PageBuffer
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.direct import DirectTransfer, PooledRead, direct_memory
from pyvhdmp.disk.direction import Counters, Direction
from pyvhdmp.disk.held import HeldBuffers, SharedPins
from pyvhdmp.disk.plan import MAX_PART, plan
from pyvhdmp.disk.request import Request
from pyvhdmp.disk.resize import ResizeWaiter, ResizeWatch
from pyvhdmp.disk.waited import transfer_and_wait
from pyvhdmp.errors import IllegalBlockError, InvalidInputError, ReadOnlyError
from pyvhdmp.futures import IoFuture, finished
from pyvhdmp.logs import logger
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.transfers import as_list, pin_buffers

if TYPE_CHECKING:
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["Disk", "UnmapBehavior"]

_MAX_OFFSET: Final = (1 << 63) - 1

T = TypeVar("T")


class UnmapBehavior(enum.Enum):
    """What `Disk.unmap` does to the content of the sectors it names."""

    ZEROES = "zeroes"
    """They read as zeros afterwards."""
    UNSPECIFIED = "unspecified"
    """They may read as anything afterwards, old content included."""
    IGNORED = "ignored"
    """Nothing: the request is checked, and has no effect."""


class Disk:
    """An open disk. Made by `open_disk`, or by the `open` of one of the kinds.

    All methods can be called from any thread. Sizes are in bytes, `sector` and
    `count` in sectors. A request that cannot be right raises at once: see `read_vectored`.
    """

    disk_type: str
    """The kind of disk, as `open_disk` names its backends."""

    _noun: ClassVar[str] = "disk"
    _make_slice: ClassVar[Callable[[Disk, int, int], Disk]]
    """Given by `slices`, as a slice is a disk, too."""

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
        unmap_behavior: UnmapBehavior,
    ) -> None:
        assert PAGE_SIZE % sector_size == 0, "a page is a whole number of sectors"
        self._file = file
        file.opened_as = f"<{type(self).__name__} {path!r}>"
        self._path = path
        self._sector_size = sector_size
        self._physical_sector_size = physical_sector_size
        self._sector_count = size // sector_size
        self._disk_id = disk_id
        self._read_only = read_only
        self._scatter = scatter
        self._reading = Direction(file, path, write=False)
        self._writing = Direction(file, path, write=True)
        self._unmap_behavior = unmap_behavior
        self._resize_watch: ResizeWatch | None = None  # nobody asks where nothing changes

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ", read-only" if self._read_only else ""
        size = self._sector_count * self._sector_size  # a repr asks nobody
        return f"<{type(self).__name__} {self._path!r}, {size} bytes{state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- What the disk is -----------------------------------------------------

    @property
    def path(self) -> str:
        """The path that the disk was opened by."""
        return self._path

    @property
    def port(self) -> CompletionPort:
        """The completion port that its requests are finished on."""
        return self._file.port

    @property
    def sector_size(self) -> int:
        """Bytes in a sector, the unit of all addressing."""
        return self._sector_size

    @property
    def physical_sector_size(self) -> int:
        """Bytes that the medium writes at a time; writes aligned to it are the fast ones."""
        return self._physical_sector_size

    @property
    def sector_count(self) -> int:
        """Sectors on the disk, as it is now.

        Asks the driver of a virtual disk, and raises the `OSError` of GetVirtualDiskInformation.
        """
        self._look_again()
        return self._sector_count

    @property
    def size(self) -> int:
        """Bytes on the disk, as it is now. Asks and raises as `sector_count` does."""
        return self.sector_count * self._sector_size

    @property
    def disk_id(self) -> uuid.UUID | None:
        """The identity that the image carries, if it does."""
        return self._disk_id

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused."""
        return self._read_only

    @property
    def is_fua_respected(self) -> bool:
        """Whether ``fua=True`` reaches stable storage by itself. Always so: it flushes."""
        return True

    @property
    def unmap_behavior(self) -> UnmapBehavior:
        """What `unmap` does to the content."""
        return self._unmap_behavior

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._file.closed

    @property
    def counters(self) -> Counters:
        """Requests and bytes so far: read, written and, of these, bounced."""
        reading, writing = self._reading, self._writing
        return Counters(
            requests=sum(d.requests + d.waited_for for d in (reading, writing)),
            bytes_read=reading.transferred + reading.waited_for_transferred,
            bytes_written=writing.transferred + writing.waited_for_transferred,
            bytes_bounced=sum(d.bounced + d.waited_for_bounced for d in (reading, writing)),
        )

    # -- Requests -------------------------------------------------------------

    def read_vectored(self, buffers: Sequence[Buffer] | HeldBuffers, sector: int) -> Future[None]:
        """Fill every buffer, in order, from `sector` on. Future of None.

        Raises `InvalidInputError` for a buffer that is read-only or not contiguous,
        or a total that is no whole number of sectors; `IllegalBlockError` for a
        range not inside the disk; `ValueError` on a closed disk. The future fails
        with `ShortTransferError`, `MediumError` or the `OSError` of Windows.
        """
        return self._transfer(self._reading, buffers, sector, False, None)

    def write_vectored(
        self, buffers: Sequence[Buffer] | HeldBuffers, sector: int, *, fua: bool = False
    ) -> Future[None]:
        """Write the buffers, in order, from `sector` on. Future of None.

        `fua`: finish only when the data is on stable storage. The buffers must not
        change before the future is finished. Raises as `read_vectored` does, and
        `ReadOnlyError` on a read-only disk.
        """
        self._check_writable()
        return self._transfer(self._writing, buffers, sector, fua, None)

    def read(self, sector: int, count: int) -> Future[bytes]:
        """Read `count` sectors. Future of the bytes; `read_vectored` saves a copy of them.

        Raises as `read_vectored` does.
        """
        length = operator.index(count) * self._sector_size
        start = self._check_range(sector, length)
        if not length:
            return self._transfer(self._reading, [], sector, False, bytes)
        bounce = self._file.port.bounce
        block = bounce.take_now(length) if length <= MAX_PART else None
        if block is None:
            buffer = PageBuffer(-(-length // PAGE_SIZE) * PAGE_SIZE)
            view = memoryview(buffer)[:length]
            return self._transfer(self._reading, [view], sector, False, lambda: bytes(view))
        # Memory of our own need not be mapped for each read, and one call will always do.
        transfer = None
        try:
            transfer = PooledRead(self._reading, block, length, start)
            return transfer.start(block.address)
        except BaseException:
            if transfer is None:
                bounce.give(block)
            else:
                transfer.abandon()
            raise

    def write(self, sector: int, data: Buffer, *, fua: bool = False) -> Future[None]:
        """Write `data` from `sector` on. Future of None. Raises as `write_vectored` does."""
        return self.write_vectored([data], sector, fua=fua)

    def sync_cache(self) -> Future[None]:
        """Put every write whose future has finished on stable storage. Future of None.

        Raises `ValueError` on a closed disk. The future fails with the `OSError` of
        NtFlushBuffersFileEx; a cancel has no effect on it.
        """
        if self._read_only:
            if self.closed:
                raise ValueError("I/O operation on a closed file")
            return finished()
        return self._file.flush()

    def unmap(self, sector: int, count: int) -> Future[None]:
        """Say that `count` sectors are no longer needed; `unmap_behavior` says what they then hold.

        Where that is zeros, Windows writes them, unless the file is sparse, and may do so
        before this returns. The future of a virtual disk fails with `ScsiError` if the disk
        refuses.
        Raises `IllegalBlockError` and `ReadOnlyError` as `write_vectored` does.
        """
        self._check_writable()
        sector, count = operator.index(sector), operator.index(count)
        self._check_range(sector, count * self._sector_size)
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        if not count:
            return finished()
        return self._unmap(sector, count)

    def wait_resize(self, sector_count: int) -> Future[int]:
        """Future of the number of sectors, once it is not `sector_count`.

        Can be cancelled; closing the disk cancels it. Raises `ValueError` on a closed disk.
        """
        known, now = operator.index(sector_count), self.sector_count
        waiter = ResizeWaiter(self._file, known, self._resize_watch)
        if now != known and not self.closed:
            waiter.future.resolve(now)
            return waiter.future
        return waiter.start()

    def slice(self, first_sector: int, count: int) -> Disk:
        """Return a part of the disk, say a partition, as a disk: `count` sectors long.

        Its sector 0 is `first_sector` here, and it has every member of a disk. Type, path,
        port, sector sizes, whether it is read-only, and what `unmap` does are those of this
        disk. `disk_id` is None; `counters` are of what went through the slice, which this
        disk's do not count; `sync_cache` flushes the whole file. Its size never changes, so
        `wait_resize` of it ends with a cancel or a close.

        Closing the slice waits for what is in flight through it, and leaves this disk open;
        closing this disk closes its slices. A slice keeps its disk alive. A slice of a slice
        is one, too.

        Raises `IllegalBlockError` for a range not inside the disk, and `ValueError` on a
        closed disk. If the disk becomes smaller later, a request past its end raises
        `IllegalBlockError`, or its future fails as Windows has it.
        """
        return Disk._make_slice(self, first_sector, count)

    def close(self, *, cancel: bool = False) -> None:
        """Refuse new requests, wait for those in flight, then close the file.

        `cancel`: cancel them first. Idempotent. In a done-callback it does not wait;
        the file is closed when the last request is done.
        """
        self._file.close(cancel=cancel)
        logger.debug("closed %s", self._path)

    # -- Inside ---------------------------------------------------------------

    def _check_writable(self) -> None:
        """Raise on a read-only disk: rule 11."""
        if self._read_only:
            raise ReadOnlyError.because("the disk was opened read-only", self._path)

    def _check_range(self, sector: int, length: int) -> int:
        """Return the byte at which `sector` begins, if `length` bytes from there are inside."""
        sector, size = operator.index(sector), self._sector_size
        start = sector * size
        if start >= 0 <= length and start + length <= self._sector_count * size:
            return start  # most are, and need not be asked why not
        if sector < 0 or length < 0:
            problem = "is negative"
        elif start + length > _MAX_OFFSET:
            problem = "cannot be addressed in 63 bits"
        elif self._reaches_past_end(start + length):
            problem = f"reaches past the {self._sector_count} sectors of the {self._noun}"
        else:
            return start
        raise IllegalBlockError.because(
            f"the range of {length // size} sectors from sector {sector} {problem}", self._path
        )

    def _reaches_past_end(self, end: int) -> bool:
        if end > self._sector_count * self._sector_size:
            self._look_again()  # it may have grown
        return end > self._sector_count * self._sector_size

    def _look_again(self) -> None:
        """Find out how many sectors there are now, where that can change."""

    def _unmap(self, sector: int, count: int) -> Future[None]:
        """Unmap a range that is inside the disk, and not empty."""
        if self._unmap_behavior is not UnmapBehavior.ZEROES:
            return finished()
        start, end = sector * self._sector_size, (sector + count) * self._sector_size
        control = self._file.device_io_control(
            constants.FSCTL_SET_ZERO_DATA, FILE_ZERO_DATA_STRUCT.pack(start, end)
        )
        return _without_result(control)

    def _transfer(
        self,
        direction: Direction,
        buffers: Sequence[Buffer] | HeldBuffers,
        sector: int,
        flush: bool,
        result: Callable[[], T] | None,
    ) -> Future[T]:
        writable = not direction.is_write
        pins: Pins
        if type(buffers) is list:
            pins = pin_buffers(buffers, writable=writable)
        elif isinstance(buffers, HeldBuffers):
            pins = buffers.pins
            buffers.pins.check(writable=writable)
        else:
            pins = pin_buffers(as_list(buffers), writable=writable)
        request: DirectTransfer[T] | Request[T] | None = None
        try:
            start = self._start_of(pins.length, sector)
            if flush:
                memory = None
            elif type(pins) is SharedPins:
                memory = pins.scattered if self._scatter else pins.contiguous
            else:
                memory = direct_memory(pins, scatter=self._scatter)
            if memory is not None:
                request = transfer = DirectTransfer(direction, pins, start, result)
                return transfer.start(memory)
            request = parts = self._request(direction, pins, start, result, flush=flush)
            return parts.start()
        except BaseException:
            if request is None:
                pins.release()
            else:
                request.abandon()
            raise

    def _request(
        self,
        direction: Direction,
        pins: Pins,
        start: int,
        result: Callable[[], T] | None,
        *,
        flush: bool = False,
    ) -> Request[T]:
        parts = zip(pins.addresses, pins.lengths, strict=True)
        return Request(
            direction,
            offset=start,
            parts=plan(parts, self._sector_size, scatter=self._scatter),
            pins=pins,
            result=result,
            flush=flush,
        )

    def _read_now(self, buffers: list[Buffer], sector: int) -> None:
        """Do what `read_vectored` begins, and return when it is done."""
        self._transfer_now(self._reading, buffers, sector)

    def _write_now(self, buffers: list[Buffer], sector: int) -> None:
        """Do what `write_vectored` begins, and return when it is done."""
        self._check_writable()
        self._transfer_now(self._writing, buffers, sector)

    def _transfer_now(self, direction: Direction, buffers: list[Buffer], sector: int) -> None:
        pins = pin_buffers(buffers, writable=not direction.is_write)
        try:
            start = self._start_of(pins.length, sector)
            if pins.length <= MAX_PART:
                transfer_and_wait(direction, pins, start, self._sector_size)
                return
        finally:
            pins.release()
        # Many calls are carried out side by side, and finished by the completion thread.
        if self._file.port.on_thread():
            raise RuntimeError("a done-callback cannot wait for its own thread")
        pins = pin_buffers(buffers, writable=not direction.is_write)
        request: Request[None] | None = None
        try:
            start = self._start_of(pins.length, sector)
            request = self._request(direction, pins, start, None)
            request.run()
        except BaseException:
            if request is None:
                pins.release()
            else:
                request.abandon()
            raise

    def _start_of(self, length: int, sector: int) -> int:
        """Return the byte at which a request begins, if it is right: rules 1 and 2."""
        start = self._check_range(sector, length)
        if length % self._sector_size:
            raise InvalidInputError.because(
                f"{length} bytes are no whole number of sectors of {self._sector_size}", self._path
            )
        return start


def _without_result(control: Future[int]) -> Future[None]:
    """Return a future of None that ends as `control` does."""

    def cancel() -> None:
        control.cancel()

    def outcome() -> None:
        control.result()

    future: IoFuture[None] = IoFuture(cancel)
    control.add_done_callback(lambda _: future.resolve_with(outcome))
    return future
