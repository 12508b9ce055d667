"""Copying and comparing disks with many requests in flight.

Rules:

1. A pipeline runs on the completion thread from its first request to its last: each
   finished request begins the next, and no thread is woken in between. What a pipeline
   knows is that thread's own. The caller's thread waits, and reports how far it is.
2. Writes alone are begun by a thread that does nothing else: Windows carries some of
   them out while they are begun, as all that make a file longer, and what is read next
   need not wait for that. It is given blocks by a queue, in their order, and tells the
   completion thread what has become of them. It never asks whether to go on, which
   would have the same seed do other things on a simulated Windows.
3. What is in flight, and whether all of it is to be cancelled, is known under one lock:
   so a request that was being begun when it was decided is cancelled, too.
4. Its memory is bounded from the start: blocks for what may be in flight in each
   direction, and no more, however large the disks are.
5. After an error, a difference or Ctrl+C no more is read or handed over, what is in
   flight or handed over is cancelled, and `run` returns only when it is over.
6. Requests are as large as they were asked for, since each costs the same. What need not
   be written is left out by granules all the same: see `blocks`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import Queue
from typing import Final, TypeAlias

from pyvhdmp.blocks import GRANULE, BlockBuffer, BlockPool, Run, differing_runs, nonzero_runs
from pyvhdmp.checks import whole_number
from pyvhdmp.course import REPORT_SECONDS, Course, Report
from pyvhdmp.disk import Disk
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.waiting import Latch, wait_interruptibly

__all__ = ["Compare", "Copy", "CopyDifferences", "check_requests"]

_Request: TypeAlias = Callable[[list[memoryview], int], "Future[None]"]

_MOST_IN_FLIGHT: Final = 1024
_LARGEST_SECTOR: Final = 4096
_MOST_AT_ONCE: Final = 64 * 1024 * 1024

_READS_AT_A_TIME: Final = 2
"""Reads that begin when one request is over, and one at the very beginning. Windows may carry
out a read while it is begun, and nothing is written until that returns; where it does not, two
for each that is over soon are as many as may be in flight."""


def check_requests(queue_depth: int, io_size: int) -> None:
    """Raise `InvalidInputError` for requests of which there are too many, or that are too long."""
    if not 1 <= whole_number(queue_depth, "queue_depth") <= _MOST_IN_FLIGHT:
        raise InvalidInputError.because(
            f"queue_depth must be 1 to {_MOST_IN_FLIGHT}, not {queue_depth}"
        )
    size = whole_number(io_size, "io_size")
    if size % _LARGEST_SECTOR or not 0 < size <= _MOST_AT_ONCE:
        raise InvalidInputError.because(
            f"io_size must be a multiple of {_LARGEST_SECTOR} up to {_MOST_AT_ONCE}, not {size}"
        )


class _Pipeline:
    """What `Copy` and `Compare` share: blocks in order, waiting, stopping."""

    def __init__(self, first: Disk, second: Disk, *, queue_depth: int, io_size: int) -> None:
        if first.port is not second.port:
            raise ValueError("both disks must be on one completion port")
        check_requests(queue_depth, io_size)
        self._port = first.port
        self._size = first.size
        self._io_size = io_size
        self._next = 0
        self._done = 0
        self._running = 0  # requests that were asked for, and are not over
        self._error: BaseException | None = None
        self._over = Latch()
        self._lock = threading.Lock()
        self._in_flight: dict[Future[None], None] = {}  # in the order they began
        self._cancelled = False

    def run(self, phase: str, report: Report | None = None) -> float:
        """Do it all; return how many seconds it took. `phase`: what the report calls it.

        Raises the first error; Ctrl+C cancels what is in flight first.
        """
        course = Course(phase, self._size, report)
        try:
            self._port.call_soon(partial(self._step, self._advance))  # rule 1
            while not self._over.wait(REPORT_SECONDS):
                course.reach(self._done)
        except BaseException:  # rule 5
            self._port.call_soon(partial(self._step, self._cancel))
            wait_interruptibly(self._over)
            raise
        if self._error is not None:
            raise self._error
        return course.end(self._done)

    # -- On the completion thread, all but `_begin` -----------------------------

    def _advance(self) -> None:
        """Ask for as many requests as may be in flight."""
        raise NotImplementedError

    def _end(self) -> None:
        """Everything is over."""
        self._over.set()

    def _take_block(self) -> tuple[int, int]:
        """Return the place and the length, in bytes, of the next block."""
        offset = self._next
        length = min(self._io_size, self._size - offset)
        self._next += length
        return offset, length

    @property
    def _has_blocks(self) -> bool:
        return not self._cancelled and self._next < self._size

    def _read(self, disk: Disk, offset: int, view: memoryview, then: Callable[[], None]) -> None:
        """Begin to read, and go on with `then` when that is done."""
        self._running += 1
        self._begin(disk.read_vectored, offset // disk.sector_size, view, then)

    def _begin(
        self, request: _Request, sector: int, view: memoryview, then: Callable[[], None]
    ) -> None:
        """On any thread: begin one of those that are `_running`."""
        try:
            future = request([view], sector)
        except BaseException as error:  # it was refused: the disk was closed
            self._port.call_soon(partial(self._step, partial(self._ended, None, error, then)))
            return
        with self._lock:  # rule 3
            self._in_flight[future] = None
            cancelled = self._cancelled
        if cancelled:
            future.cancel()
        future.add_done_callback(partial(self._finished, then))

    def _finished(self, then: Callable[[], None], future: Future[None]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        step = partial(self._step, partial(self._ended, future, error, then))
        if self._port.on_thread():
            step()
        else:  # it was over before there was a callback
            self._port.call_soon(step)

    def _ended(
        self, future: Future[None] | None, error: BaseException | None, then: Callable[[], None]
    ) -> None:
        self._running -= 1
        if future is not None:
            with self._lock:
                del self._in_flight[future]
        if error is not None:
            self._fail(error)
        else:
            then()
            self._advance()

    def _step(self, step: Callable[[], None]) -> None:
        """Do something. It may be the last there was to do."""
        try:
            step()
        except BaseException as error:  # for want of memory
            self._fail(error)
        if not self._running and not self._has_blocks and not self._over.is_set:
            self._end()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._cancel()

    def _cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            in_flight = list(self._in_flight)
        for future in in_flight:
            future.cancel()


_Write: TypeAlias = tuple[int, memoryview, Callable[[], None]]
"""What is to be written: the place, the data, and what is done when it has been."""


class Copy(_Pipeline):
    """Copy all of `source` to the beginning of `target`.

    Up to `queue_depth` reads and as many writes of `io_size` bytes are in flight.
    `target_is_zero`: granules of zeros need not be written.
    """

    def __init__(
        self,
        source: Disk,
        target: Disk,
        *,
        queue_depth: int,
        io_size: int,
        target_is_zero: bool = False,
    ) -> None:
        super().__init__(source, target, queue_depth=queue_depth, io_size=io_size)
        if source.size > target.size:
            raise InvalidInputError.because(
                f"{source.size} bytes do not fit on a disk of {target.size}", target.path
            )
        self._source = source
        self._target = target
        self._target_is_zero = target_is_zero
        self._queue_depth = queue_depth
        self._reads = self._writes = 0
        self._blocks = BlockPool(io_size, 2 * queue_depth)  # rule 4
        self._to_write: deque[_Write] = deque()
        # Not a SimpleQueue: a simulated Windows would not see that the writer waits in it.
        self._handed_over: Queue[_Write | None] = Queue()
        self._writer: threading.Thread | None = None
        self.bytes_skipped: int = 0
        """Bytes that were not written: zeros, or what the target holds already."""

    def _advance(self) -> None:
        while self._to_write and self._writes < self._queue_depth and not self._cancelled:
            self._hand_over(self._to_write.popleft())
        for _ in range(_READS_AT_A_TIME if self._next else 1):
            if not (self._has_blocks and self._blocks.free and self._reads < self._queue_depth):
                break
            self._begin_read(self._blocks.take())

    def _end(self) -> None:
        self._handed_over.put(None)
        super()._end()

    def _begin_read(self, block: BlockBuffer) -> None:
        offset, length = self._take_block()
        self._reads += 1

        def was_read() -> None:
            self._reads -= 1
            data = block.view[:length]
            runs = nonzero_runs(data) if self._target_is_zero else [(0, length)]
            self._write_runs(offset, length, block, runs)

        self._read(self._source, offset, block.view[:length], was_read)

    def _write_runs(self, offset: int, length: int, block: BlockBuffer, runs: list[Run]) -> None:
        """Have runs of a block written, see rule 6, which then is free again."""
        unwritten = len(runs)
        self.bytes_skipped += length - sum(end - start for start, end in runs)
        if not runs:
            self._release(length, block)

        def was_written() -> None:
            nonlocal unwritten
            self._writes -= 1
            unwritten -= 1
            if not unwritten:
                self._release(length, block)

        for start, end in runs:
            self._to_write.append((offset + start, block.view[start:end], was_written))

    def _hand_over(self, write: _Write) -> None:
        if self._writer is None:  # here, where no Ctrl+C comes in between
            writer = threading.Thread(target=self._write, name="pyvhdmp-writer", daemon=True)
            writer.start()
            self._writer = writer
        self._writes += 1
        self._running += 1
        self._handed_over.put(write)

    def _write(self) -> None:
        """On the writer's thread, see rule 2: begin what is handed over, until it is None."""
        request, sector_size = self._target.write_vectored, self._target.sector_size
        while (write := self._handed_over.get()) is not None:
            offset, data, then = write
            self._begin(request, offset // sector_size, data, then)

    def _release(self, length: int, block: BlockBuffer) -> None:
        self._done += length
        self._blocks.give(block)


class CopyDifferences(Copy):
    """Copy what differs of `source` to `target`, which is read, too, before it is written."""

    def __init__(self, source: Disk, target: Disk, *, queue_depth: int, io_size: int) -> None:
        super().__init__(source, target, queue_depth=queue_depth, io_size=io_size)
        self._held = BlockPool(io_size, queue_depth)

    def _begin_read(self, block: BlockBuffer) -> None:
        held = self._held.take()
        offset, length = self._take_block()
        missing = 2
        self._reads += 1

        def was_read() -> None:
            nonlocal missing
            missing -= 1
            if missing:
                return
            self._reads -= 1
            runs = differing_runs(block.view[:length], held)
            self._held.give(held)
            self._write_runs(offset, length, block, runs)

        for disk, into in ((self._source, block), (self._target, held)):
            self._read(disk, offset, into.view[:length], was_read)


class Compare(_Pipeline):
    """Compare two disks of one size. `difference` is the first byte that differs, or None."""

    def __init__(self, first: Disk, second: Disk, *, queue_depth: int, io_size: int) -> None:
        super().__init__(first, second, queue_depth=queue_depth, io_size=io_size)
        if first.size != second.size:
            raise InvalidInputError.because(
                f"its size is {second.size} bytes, that of {first.path} is {first.size}",
                second.path,
            )
        self._disks = (first, second)
        self._blocks = BlockPool(io_size, 2 * queue_depth)
        self.difference: int | None = None

    def _advance(self) -> None:
        while self._has_blocks and self._blocks.free >= len(self._disks):
            self._begin_reads(self._blocks.take(), self._blocks.take())

    def _begin_reads(self, first: BlockBuffer, second: BlockBuffer) -> None:
        offset, length = self._take_block()
        missing = 2

        def was_read() -> None:
            nonlocal missing
            missing -= 1
            if missing:
                return
            self._compare(offset, first.view[:length], second)
            self._done += length
            self._blocks.give(first)
            self._blocks.give(second)

        for disk, into in zip(self._disks, (first, second), strict=True):
            self._read(disk, offset, into.view[:length], was_read)

    def _compare(self, offset: int, data: memoryview, other: BlockBuffer) -> None:
        runs = differing_runs(data, other)
        if not runs:
            return
        self._next = self._size  # blocks before this one are in flight already
        start, end = runs[0]
        pairs = zip(data[start : start + GRANULE], other.view[start:end], strict=False)
        at = offset + start + next(i for i, (x, y) in enumerate(pairs) if x != y)
        if self.difference is None or at < self.difference:
            self.difference = at
