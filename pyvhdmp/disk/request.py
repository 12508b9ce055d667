"""One read or write of a disk: its parts in flight, its bounce memory, its future.

Rules:

1. The future is finished once, when no part is with the kernel any more: with the
   first error there was, else with the result. Nothing is written into the
   caller's memory after that.
2. The first error stops the request: parts not yet begun are dropped, those in
   flight are cancelled. So does a cancel; it is reported as one only if a part
   was really cancelled or dropped.
3. A part is done when all its bytes were transferred; fewer is a `ShortTransferError`.
4. At most `PARTS_IN_FLIGHT` parts of one request are with the kernel, so a long
   request takes no more memory than a short one, and leaves room for others.
5. A part that gets no bounce memory waits in the pool's queue, and blocks nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Final, Generic, TypeVar

from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PooledBlock
from pyvhdmp.disk.direction import Direction
from pyvhdmp.disk.plan import Part
from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.register import KernelCall

__all__ = ["PARTS_IN_FLIGHT", "Request"]

PARTS_IN_FLIGHT: Final = 32
_SLICE_SECONDS: Final = 0.1

T = TypeVar("T")


class Request(Generic[T]):
    """A read or a write of one disk, from `start` until its future is finished.

    `offset`: where the request begins in the file. `parts`: its plan. `pins`: the
    buffers it covers, released at its end. `result` is asked for the future's
    result then. `flush`: flush before the future is finished.
    """

    is_idle: Final = False

    def __init__(
        self,
        direction: Direction,
        *,
        offset: int,
        parts: Iterator[Part],
        pins: Pins,
        result: Callable[[], T] | None,
        flush: bool = False,
    ) -> None:
        self.future: IoFuture[T] = IoFuture(self.cancel)
        self.file: OverlappedFile = direction.file
        self.direction = direction
        self.offset = offset
        self._transferred = 0
        self._bounced = 0
        self._parts = parts
        self._pins = pins
        self._result = result
        self._flush = flush
        self._lock = threading.RLock()  # a finalizer may come back in
        self._running: dict[_PartOperation, None] = {}  # in the order they began
        self._stopped = False
        self._error: BaseException | None = None
        # The request is over when no part is running and `start` has begun all it will.
        # The parts and two flags, not a count: each step can be repeated, or be cut short by
        # Ctrl+C and made up for, without the sum going wrong.
        self._starting = True
        self._over = False

    def start(self) -> IoFuture[T]:
        """Begin. Raises `ValueError`, with nothing begun, if the file is closed."""
        try:
            self._pins.use(self)
            self.file.enter(self)
        except BaseException:  # there is nothing to wait for
            self._pins.release(self)
            self.file.leave(self)
            raise
        try:
            for _ in range(PARTS_IN_FLIGHT):
                if not self._begin_next_part():
                    break
        except BaseException as error:  # Ctrl+C: what was begun comes to its end
            self._fail(error)
            raise
        finally:
            try:
                self._started()
            except BaseException:  # Ctrl+C: this, which can be repeated, must not be missed
                self._started()
                raise
        return self.future

    def abandon(self) -> None:
        """An exception came up. If this was begun, it comes to its end; else it is over."""
        if not self.file.has(self):
            self._pins.release(self)

    def run(self) -> T:
        """Begin, and return the result or raise the error when the kernel has let go.

        What Ctrl+C ends is cancelled first, and its end waited for.
        """
        try:
            self.start()
            return self.future.result()
        except BaseException:
            while True:
                try:
                    if self.future.done() or not self.file.has(self):
                        break
                    self.cancel()
                    self.future.exception(_SLICE_SECONDS)
                except BaseException:  # Ctrl+C once more, or its time is up
                    continue
            raise

    def _started(self) -> None:
        """No more is begun in this thread. The last part settles, or if there is none, this."""
        self._starting = False
        if not self._running:
            self.file.port.call_soon(self._settle)

    def cancel(self) -> None:
        """Drop what has not begun, and ask the kernel to cancel what has."""
        self._stop()

    def part_finished(
        self, operation: _PartOperation, error: BaseException | None, transferred: int, bounced: int
    ) -> None:
        """The kernel has let go of a part."""
        with self._lock:
            self._transferred += transferred
            self._bounced += bounced
        try:
            if error is not None:
                self._fail(error)
            self._begin_next_part()
        except BaseException as failure:  # for want of memory: the request ends with it
            self._fail(failure)
        finally:
            with self._lock:
                self._running.pop(operation, None)
            self._settle()

    def claim(self, operation: _PartOperation, *, by_grant: bool) -> bool:
        """Whether the caller is to go on with a part that waits for memory, or give it up.

        It is one of the two: the completion thread, which has the memory, or who is interrupted.
        """
        with self._lock:
            is_free = not operation.begun and not operation.is_claimed
            if is_free:
                operation.is_claimed = by_grant
                operation.begun = not by_grant
            return is_free

    @property
    def stopped(self) -> bool:
        """Whether parts that have not begun are to be dropped."""
        return self._stopped

    def _begin_next_part(self) -> bool:
        operation = None
        try:
            with self._lock:
                part = None if self._stopped else next(self._parts, None)
                if part is None:
                    return False
                operation = _PartOperation(self, part)
                self._running[operation] = None
            operation.start()
        except BaseException as error:
            if operation is not None:
                operation.abandon(error)
            raise
        return True

    def _fail(self, error: BaseException) -> None:
        """Note the first error, and stop. One that is raised to who begins is not kept.

        Its traceback would keep what they have, the buffers included.
        """
        if not self.file.port.on_thread():
            error = CancelledError()
        with self._lock:
            if self._error is not None:
                return
            self._error = error
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for operation in running:
            operation.cancel()

    def _settle(self) -> None:
        """On the completion thread: end the request if nothing of it is left to end."""
        with self._lock:
            if self._running or self._starting or self._over:
                return
            self._over = True
        direction = self.direction
        direction.requests += 1
        direction.transferred += self._transferred
        direction.bounced += self._bounced
        if self._error is None and self._stopped and next(self._parts, None) is not None:
            self._error = CancelledError()  # parts were dropped, and no error was the cause
        if self._flush and self._error is None:
            try:
                self.file.flush_then(self._finish)
            except BaseException as error:
                self._finish(error)
                raise
        else:
            self._finish(self._error)

    def _finish(self, error: BaseException | None) -> None:
        try:
            self._pins.release(self)
            if error is None:
                self.future.resolve_with(self._result)
            else:
                self.future.fail(error)
        finally:
            self.file.leave(self)


class _PartOperation(KernelCall):
    """One part: directly in the caller's pages, or through a bounce block."""

    def __init__(self, request: Request[T], part: Part) -> None:
        self.file: OverlappedFile = request.file
        self._request: Request[T] = request
        self._part = part
        self._block: PooledBlock | None = None
        self.is_claimed: bool = False

    def start(self) -> None:
        if self._part.is_direct:
            self._submit()
        else:
            block = self.file.port.bounce.take(self._part.length, self._granted)
            if block is not None:
                self._use(block)
            elif self._request.stopped:  # and was so before there was a waiter to forget
                self.cancel()

    def cancel(self) -> None:
        if self._part.is_direct or self._block is not None:
            self.file.cancel_operation(self)
        else:
            self.file.port.call_soon(self._give_up)  # there no Ctrl+C comes in between

    def _give_up(self) -> None:
        """On the completion thread: cancel a part that waits for memory, or did so just now."""
        if not self.file.port.bounce.forget(self._granted):
            self.file.cancel_operation(self)
        elif self._request.claim(self, by_grant=True):
            self._end(CancelledError(), 0)

    def abandon(self, error: BaseException) -> None:
        """An exception came up while this was being begun. If it was, its packet will come."""
        if self._request.claim(self, by_grant=False):
            self.file.port.bounce.forget(self._granted)
            self._end(error, 0)

    def _granted(self, block: PooledBlock) -> None:
        if not self._request.claim(self, by_grant=True):
            self.file.port.bounce.give(block)
            return
        try:
            self._use(block)
        except BaseException as error:  # on the completion thread there is nobody to raise it to
            if not self.begun:
                self.begun = True
                self._end(error, 0)

    def _use(self, block: PooledBlock) -> None:
        self._block = block
        if self._request.stopped:
            self.begun: bool = True
            self._end(CancelledError(), 0)
            return
        if self._request.direction.is_write:
            self._part.copy_to(block.address)
        self._submit()

    def _submit(self) -> None:
        direction, part = self._request.direction, self._part
        offset = self._request.offset + part.start
        if self._block is not None:
            self.file.submit(self, direction.plain, self._block.address, part.length, offset)
        elif part.is_paged:
            self.file.submit_pages(self, direction.paged, part.pages(), offset)
        else:
            ((address, length),) = part.runs
            self.file.submit(self, direction.plain, address, length, offset)

    def finish(self, code: int, transferred: int) -> None:
        self.file.release_slot(self)
        direction, part = self._request.direction, self._part
        error = direction.error(
            code,
            transferred,
            part.length,
            self._request.offset + part.start,
            paged=part.is_paged,
            cancel_wanted=self.cancel_wanted,
        )
        if error is None and self._block is not None and not direction.is_write:
            part.copy_from(self._block.address)
        self._end(error, transferred)

    def _end(self, error: BaseException | None, transferred: int) -> None:
        block, self._block = self._block, None
        if block is not None:
            self.file.port.bounce.give(block)
        self._request.part_finished(
            self, error, transferred, transferred if block is not None else 0
        )
