"""How a loop hears of what is over: a mailbox for each, and a ring.

Rules:

1. What is over goes into the mailbox of its loop, and the loop is rung once for all that
   was dequeued together: each ring is a write to a socket, and wakes a thread that would
   only get in the way of this one.
2. A mailbox is emptied in its loop's thread. Any number of loops, in as many threads, may
   use one disk, each with its own; a loop that is closed is told nothing.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyvhdmp.aio.request import Request

__all__ = ["Mailbox", "mailbox_of"]


class Mailbox:
    """What is over, for one loop to hear of."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: weakref.ref[asyncio.AbstractEventLoop] = weakref.ref(loop)
        self._lock = threading.RLock()  # a finalizer may come back in
        self._letters: list[Request[object]] = []
        self._is_rung = False

    def put(self, request: Request[object]) -> None:
        """Have the loop hear of a request."""
        with self._lock:
            self._letters.append(request)
            if self._is_rung:  # rule 1
                return
            self._is_rung = True
        request.port.call_last(partial(self._ring, request.get_loop()))

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._empty)
        except BaseException:
            self._is_rung = False  # so the next one rings, if this was for want of memory
            if not loop.is_closed():
                raise
            self._take()  # nobody will: rule 2

    def _take(self) -> list[Request[object]]:
        with self._lock:
            letters, self._letters, self._is_rung = self._letters, [], False
            return letters

    def _empty(self) -> None:
        for request in self._take():
            request.arrive()


class _Local(threading.local):
    mailbox: Mailbox | None = None


_local: Final = _Local()


def mailbox_of(loop: asyncio.AbstractEventLoop) -> Mailbox:
    """Return the mailbox of the loop that runs in this thread.

    Should two loops take turns here, each turn has a new one. The old ones are emptied by
    those who were rung for them.
    """
    mailbox = _local.mailbox
    if mailbox is None or mailbox.loop() is not loop:
        mailbox = _local.mailbox = Mailbox(loop)
    return mailbox
