"""How many requests of a disk are in flight, and which is begun next.

Rules:

1. At most `limit` requests are begun and not over. The others wait in order, hold no
   memory but their caller's, and are withdrawn at once when cancelled.
2. The end of one begins the next, wherever that comes about; no loop has to turn for it.
3. Whether a request is withdrawn, and which future it was begun as, is known under one
   lock: so one that is withdrawn while it is being begun is cancelled, too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from pyvhdmp.completion import CompletionPort

if TYPE_CHECKING:
    from pyvhdmp.aio.request import Request

__all__ = ["Gate"]

T = TypeVar("T")


class Gate:
    """Lets `limit` requests be in flight, or all without one; the rest waits in order."""

    def __init__(self, limit: int | None, port: CompletionPort) -> None:
        self.port: CompletionPort = port
        self._limit = limit
        self._lock = threading.RLock()  # a finalizer may come back in
        self._in_flight = 0
        self._waiting: OrderedDict[Request[object], None] = OrderedDict()  # then it is full
        self._last: OrderedDict[Request[object], None] = OrderedDict()  # until all others are over

    def enter(self, request: Request[object]) -> None:
        """Begin a request, or queue it."""
        with self._lock:
            if self._in_flight == self._limit:  # rule 1
                self._waiting[request] = None
                return
            self._in_flight += 1
        if request.begin():
            self.leave()

    def enter_when_idle(self, request: Request[object]) -> None:
        """Begin a request when no other is in flight or waits."""
        with self._lock:
            if self._in_flight:
                self._last[request] = None
                return
            self._in_flight += 1
        if request.begin():
            self.leave()

    def leave(self) -> None:
        """A request is over. Begin the next one, see rule 2, and others that are over at once."""
        while True:
            with self._lock:
                queue = self._waiting
                if not queue and self._in_flight == 1:
                    queue = self._last
                if not queue:
                    self._in_flight -= 1
                    return
                request, _ = queue.popitem(last=False)
            if not request.begin():
                return

    def begun(self, request: Request[T], outcome: Future[T]) -> None:
        """A request has been begun. If it was withdrawn meanwhile, this cancels it: rule 3."""
        with self._lock:
            request.outcome = outcome
            is_withdrawn = request.is_withdrawn
        if is_withdrawn:
            outcome.cancel()

    def withdraw(self, request: Request[object]) -> None:
        """Cancel a request: if it waits at once, otherwise by the kernel."""
        with self._lock:
            if request.is_withdrawn:
                return
            request.is_withdrawn = True
            queue = self._waiting if request in self._waiting else self._last
            waited = request in queue
            if waited:
                del queue[request]
            outcome = request.outcome
        if waited:
            request.give_up()
        elif outcome is not None:
            outcome.cancel()

    def withdraw_all(self) -> None:
        """Withdraw all that wait."""
        with self._lock:
            waiting = [*self._waiting, *self._last]
        for request in waiting:
            self.withdraw(request)
