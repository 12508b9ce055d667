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
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final, TypeVar

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

    def __init__(self, canceller: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._canceller = canceller
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Ask the kernel to cancel the request; return False.

        The future then finishes as cancelled if the kernel cancelled it, and
        with its result if that came first. Until then the buffers are in use.
        """
        canceller = self._canceller
        if canceller is not None and not self.done():
            canceller()
        return False

    def cancelled(self) -> bool:
        """Whether the kernel confirmed that it cancelled the request."""
        return self.done() and isinstance(super().exception(), CancelledError)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise the error.

        Raises `TimeoutError` after `timeout` seconds, and `RuntimeError` in a
        done-callback if it would have to wait. Ctrl+C ends the wait.
        """
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error or None; raise `CancelledError` if cancelled. Waits as `result` does."""
        self._wait(timeout)
        error = super().exception(0)
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
        super().add_done_callback(partial(_call_guarded, fn))

    def resolve(self, result: T) -> None:
        """Finish with a result. For the engine."""
        self._canceller = None
        self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Finish with an error, `CancelledError` for a confirmed cancellation. For the engine."""
        self._canceller = None
        self.set_exception(error)


def _call_guarded(fn: Callable[[Future[T]], object], future: Future[T]) -> None:
    try:
        fn(future)
    except Exception:
        _logger.exception("a done-callback of %r raised", future)
    except BaseException:  # SystemExit, KeyboardInterrupt: one callback's wish is not the thread's
        _logger.exception("a done-callback of %r tried to end its thread", future)
