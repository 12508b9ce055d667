"""The future of an I/O request.

Rules:

1. It is running from birth, so that nobody can believe a request was withdrawn
   which the kernel is already working on.
2. `cancel()` asks the kernel and returns False. Whether the request was cancelled
   is known when the future is finished: `cancelled()` says so, and only if the
   kernel confirmed it.
3. A callback that raises, SystemExit included, harms neither the completion
   thread nor the callbacks after it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final, TypeVar

__all__ = ["IoFuture"]

_SLICE_SECONDS: Final = 0.1

T = TypeVar("T")
_logger = logging.getLogger("pyvhdmp")


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

        Raises `TimeoutError` after `timeout` seconds. Ctrl+C ends the wait.
        """
        self._wait_interruptibly(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error or None; raise `CancelledError` if cancelled."""
        self._wait_interruptibly(timeout)
        error = super().exception(timeout)
        if isinstance(error, CancelledError):
            raise error
        return error

    def _wait_interruptibly(self, timeout: float | None) -> None:
        # On Windows a wait without a limit lets no Ctrl+C through; many short ones do.
        while timeout is None and not self.done():
            with contextlib.suppress(TimeoutError):
                super().exception(_SLICE_SECONDS)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn` with this future when it is finished, on the completion thread."""
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
