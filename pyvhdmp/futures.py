"""The future of an I/O request.

Rules:

1. It is running from birth, so that nobody can believe a request was withdrawn
   which the kernel is already working on.
2. `cancel()` asks the kernel and returns False. Whether the request was cancelled
   is known when the future is finished: `cancelled()` says so, and only if the
   kernel confirmed it.
3. A callback that raises, SystemExit included, harms neither the completion
   thread nor the callbacks after it.
4. A wait never hangs for want of the thread that waits: a completion thread is
   refused, and any other lets Ctrl+C through.
5. One that is never waited for makes no Condition, which would cost as much as all
   the rest of it. What changes hands does so under one lock, which the Condition of
   whoever waits is made over; so `concurrent.futures`, which goes by a future's
   Condition, sees no difference.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED, RUNNING
from typing import TYPE_CHECKING, Final, TypeVar

__all__ = ["IoFuture", "mark_completion_thread"]

_SLICE_SECONDS: Final = 0.1

T = TypeVar("T")
_logger = logging.getLogger("pyvhdmp")
_thread = threading.local()


def mark_completion_thread() -> None:
    """Say that the calling thread finishes futures, and so cannot wait for them."""
    _thread.finishes_futures = True


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
    _callbacks: list[Callable[[Future[T]], object]] | None = None
    _waited_for: threading.Condition | None = None

    def __init__(self, canceller: Callable[[], None] | None = None) -> None:
        # Not super().__init__(), for rule 5. An RLock, as a finalizer may come back in.
        self._lock = threading.RLock()
        if canceller is not None:
            self._canceller = canceller

    if not TYPE_CHECKING:  # to a type checker it is the attribute that it is in any Future

        @property
        def _condition(self) -> threading.Condition:
            """What `concurrent.futures` locks a future by, and waits on."""
            with self._lock:
                if self._waited_for is None:
                    self._waiters = []
                    self._waited_for = threading.Condition(self._lock)
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
        if getattr(_thread, "finishes_futures", False):
            raise RuntimeError(
                "a done-callback cannot wait for a future: it runs on the thread that finishes them"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.done():
            # On Windows a wait lets no Ctrl+C through before its end; so many short ones.
            left = _SLICE_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                super().exception(min(left, _SLICE_SECONDS))

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn` with this future when it is finished, on the completion thread.

        If it is finished already, `fn` is called at once, in the calling thread.
        """
        with self._lock:
            if self._state != FINISHED:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        _call_guarded(fn, self)

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
        with self._lock:
            self._state = FINISHED
            if self._waited_for is not None:
                self._tell_waiters(self._waited_for)
        if self._canceller is not None:
            self._canceller = None  # it may refer to whoever refers to this future
        if self._callbacks is not None:  # nobody adds to them any more
            callbacks, self._callbacks = self._callbacks, None
            for fn in callbacks:
                _call_guarded(fn, self)

    def _tell_waiters(self, condition: threading.Condition) -> None:
        """Under the lock, as `concurrent.futures` does it."""
        for waiter in self._waiters:
            if self._exception is None:
                waiter.add_result(self)
            else:
                waiter.add_exception(self)
        condition.notify_all()


def _call_guarded(fn: Callable[[Future[T]], object], future: Future[T]) -> None:
    try:
        fn(future)
    except Exception:
        _logger.exception("a done-callback of %r raised", future)
    except BaseException:  # SystemExit, KeyboardInterrupt: one callback's wish is not the thread's
        _logger.exception("a done-callback of %r tried to end its thread", future)
