"""The future of an I/O request.

Rules:

1. It is running from birth, so that nobody can believe a request was withdrawn
   which the kernel is already working on.
2. `cancel()` asks the kernel and returns False. Whether the request was cancelled
   is known when the future is finished: `cancelled()` says so, and only if the
   kernel confirmed it.
3. A callback that raises, SystemExit included, harms neither the completion
   thread nor the callbacks after it. It is told as of any future, by the logger of
   `concurrent.futures`: the program's mistake is not for the package to be silent about.
4. A wait never hangs for want of the thread that waits: a completion thread is
   refused, and any other lets Ctrl+C through.
5. One that nobody waits for has no Condition and no lock, which would cost as much as
   all the rest of it. Its end takes no lock, either: it says that it is finished, and
   then looks for who waits and for callbacks. Who waits says so first, and then looks
   whether it is finished; who adds a callback likewise. So in whatever order these steps
   come, one of the two sees the other.
6. The thread that finishes futures never waits for a lock that another may keep. Ctrl+C can
   leave a Condition locked for good, on its way in or out; so who waits has a `Latch`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED, LOGGER, RUNNING
from typing import TYPE_CHECKING, Final, TypeVar

from pyvhdmp.waiting import Latch

__all__ = ["IoFuture", "finished", "is_completion_thread", "mark_completion_thread"]

_SLICE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 1.0
"""Nobody holds the Condition of a future for longer than it takes to put a waiter on a list."""

T = TypeVar("T")
_thread = threading.local()
_first: Final = threading.RLock()
"""Held to be the first to wait for a future, or to add a callback. No code of others runs then."""


def mark_completion_thread() -> None:
    """Say that the calling thread finishes futures, and so cannot wait for them."""
    _thread.finishes_futures = True


def is_completion_thread() -> bool:
    """Whether the calling thread finishes futures."""
    return getattr(_thread, "finishes_futures", False)


class IoFuture(Future[T]):
    """A `concurrent.futures.Future` that the kernel finishes.

    It works with `concurrent.futures.wait`, `as_completed` and
    `asyncio.wrap_future`. Callbacks run on the completion thread: they must not
    wait for another future of the same port.
    """

    # What all are born with costs each of them nothing.
    _state = RUNNING
    _result = None
    _exception = None
    _canceller: Callable[[], None] | None = None
    _callbacks: list[list[Callable[[Future[T]], object]]] | None = None
    _waited_for: threading.Condition | None = None
    _latches: list[Latch] | None = None

    def __init__(self, canceller: Callable[[], None] | None = None) -> None:
        # Not super().__init__(), for rule 5.
        if canceller is not None:
            self._canceller = canceller

    if not TYPE_CHECKING:  # to a type checker it is the attribute that it is in any Future

        @property
        def _condition(self) -> threading.Condition:
            """What `concurrent.futures` locks a future by, and waits on."""
            if self._waited_for is None:
                condition, waiters = threading.Condition(), []
                with _first:
                    if self._waited_for is None:
                        self._waiters = waiters
                        self._waited_for = condition
            return self._waited_for

    def cancel(self) -> bool:
        """Ask the kernel to cancel the request; return False.

        The future then finishes as cancelled if the kernel cancelled it, and
        with its result if that came first. Until then the buffers are in use.
        """
        canceller = self._canceller
        if canceller is not None and not self.done():
            canceller()
        return False

    def done(self) -> bool:
        """Whether the future is finished."""
        return self._state == FINISHED

    def cancelled(self) -> bool:
        """Whether the kernel confirmed that it cancelled the request."""
        return self.done() and isinstance(self._exception, CancelledError)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise the error.

        Raises `TimeoutError` after `timeout` seconds, and `RuntimeError` in a
        done-callback if it would have to wait. Ctrl+C ends the wait.
        """
        if self._state != FINISHED:
            self._wait(timeout)
        if self._state == FINISHED and self._exception is None:
            return self._result  # type: ignore[return-value]  # it has one, as it is finished
        return super().result(0)  # which raises

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error or None; raise `CancelledError` if cancelled. Waits as `result` does."""
        if self._state != FINISHED:
            self._wait(timeout)
        error = self._exception if self._state == FINISHED else super().exception(0)
        if isinstance(error, CancelledError):
            raise error
        return error

    def _wait(self, timeout: float | None) -> None:
        """Wait until the future is finished or the time is up."""
        if self.done():
            return
        if is_completion_thread():
            raise RuntimeError(
                "a done-callback cannot wait for a future: it runs on the thread that finishes them"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        latch = Latch()
        with _first:
            if self._latches is None:
                self._latches = []
            self._latches.append(latch)
        while not self.done():
            # On Windows a wait lets no Ctrl+C through before its end; so many short ones.
            left = _SLICE_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            latch.wait(min(left, _SLICE_SECONDS))
        with contextlib.suppress(ValueError):
            self._latches.remove(latch)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn` with this future when it is finished, on the completion thread.

        If it is finished already, `fn` is called at once, in the calling thread.
        """
        if self._state != FINISHED:
            callback = [fn]  # who takes it out calls it
            with _first:
                callbacks = self._callbacks
                if callbacks is None:
                    callbacks = self._callbacks = []
                callbacks.append(callback)
            if self._state != FINISHED:
                return
            try:
                callback.pop()
            except IndexError:
                return
        if is_completion_thread():
            _call_guarded(fn, self)
        else:
            try:
                fn(self)
            except Exception:  # but Ctrl+C is the caller's
                LOGGER.exception("a done-callback of %r raised", self)

    def resolve(self, result: T) -> None:
        """Finish with a result. For the engine."""
        self._result = result
        self._end()

    def resolve_with(self, result: Callable[[], T] | None) -> None:
        """Finish with what `result` returns, or what it raises; with None without it."""
        if result is not None:
            try:
                self._result = result()
            except BaseException as error:  # MemoryError
                self._exception = error
        self._end()

    def fail(self, error: BaseException) -> None:
        """Finish with an error, `CancelledError` for a confirmed cancellation. For the engine."""
        self._exception = error
        self._end()

    def _end(self) -> None:
        self._state = FINISHED  # from here on rule 5
        if self._latches is not None:
            for latch in self._latches:
                latch.set()
        if self._waited_for is not None:
            self._tell_waiters(self._waited_for)
        if self._canceller is not None:
            self._canceller = None  # it may refer to whoever refers to this future
        if self._callbacks is not None:
            self._call_all(self._callbacks)

    def _tell_waiters(self, condition: threading.Condition) -> None:
        """As `concurrent.futures` does it, for its `wait` and `as_completed`."""
        is_held = condition.acquire(timeout=_PATIENCE_SECONDS)  # rule 6: if need be, go on without
        try:
            for waiter in list(self._waiters):
                if self._exception is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            if is_held:
                condition.notify_all()
        finally:
            if is_held:
                condition.release()

    def _call_all(self, callbacks: list[list[Callable[[Future[T]], object]]]) -> None:
        for callback in callbacks:  # and those that are added meanwhile
            try:
                fn = callback.pop()
            except IndexError:  # who has just added it calls it
                continue
            _call_guarded(fn, self)
        self._callbacks = None  # they may refer to whoever refers to this future


def finished() -> IoFuture[None]:
    """Return the future of what there is nothing to do for."""
    future: IoFuture[None] = IoFuture()
    future.resolve(None)
    return future


def _call_guarded(fn: Callable[[Future[T]], object], future: Future[T]) -> None:
    try:
        fn(future)
    except Exception:
        LOGGER.exception("a done-callback of %r raised", future)
    except BaseException:  # SystemExit, KeyboardInterrupt: one callback's wish is not the thread's
        LOGGER.exception("a done-callback of %r tried to end its thread", future)
