"""Waits that let Ctrl+C through, and what they wait for.

Rules:

1. On Windows a wait lets no Ctrl+C through before its end. So who waits does so in slices.
2. Python looks for signals between its steps: when a function of its own is entered, behind a
   call of one in C, and in loops. So what must not come apart is one call of a function in C.
3. Nobody is left waiting for what another had when Ctrl+C came. A `Condition` may then stay
   locked for good, so none is used here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["InterruptibleLock", "Latch", "wait_interruptibly"]

_SLICE_SECONDS: Final = 0.1


class Latch:
    """Something that comes about once, and who waits for it.

    Who takes the lock out of a wait and is interrupted before it gives it on makes others look
    at `is_set` a little later, and nothing else.
    """

    __slots__ = ("_lock", "is_set")

    def __init__(self) -> None:
        self.is_set: bool = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """It has come about. Never blocks; can be repeated."""
        self.is_set = True
        self._release()

    def wait(self, seconds: float) -> bool:
        """Wait for so long at the most; return whether it has come about."""
        if not self.is_set and self._lock.acquire(timeout=seconds):
            self._release()
        return self.is_set

    def _release(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is free already
            self._lock.release()


class InterruptibleLock:
    """A lock for `with`, which Ctrl+C ends the wait for, and never leaves locked.

    The thread that holds it can take it again.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        taken: list[bool] = []
        try:
            while True not in taken:  # rule 1
                # It is taken, and noted, in one step: rule 2.
                taken.extend(map(self._lock.acquire, (True,), (_SLICE_SECONDS,)))
        except BaseException:
            if True in taken:
                self._lock.release()
            raise

    @property
    def __exit__(self) -> Callable[..., None]:
        """What the end of a `with` calls, which has it before the lock is taken.

        It is in C, so no Ctrl+C can come between the call and the release: rule 2.
        """
        return self._lock.__exit__


def wait_interruptibly(event: threading.Event | Latch) -> None:
    """Wait for an event, letting Ctrl+C through."""
    while not event.wait(_SLICE_SECONDS):
        pass
