"""Waiting for a disk to change its size. Windows announces that to nobody, so one
thread per watched disk asks, and only while somebody waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final

from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile

__all__ = ["ResizeWatch"]

_INTERVAL: Final = 0.1
"""Seconds between two questions."""

_logger = logging.getLogger("pyvhdmp")


class ResizeWatch:
    """The waiters for one disk's size, finished on the completion thread as all futures are."""

    def __init__(self, file: OverlappedFile, sector_count: Callable[[], int]) -> None:
        self._file = file
        self._sector_count = sector_count
        self._changed = threading.Condition()
        self._waiters: list[tuple[int, IoFuture[int]]] = []
        self._running = False
        self._closed = False

    def wait(self, sector_count: int) -> Future[int]:
        """Future of the number of sectors, once it is not `sector_count`."""
        future: IoFuture[int] = IoFuture(lambda: self._drop(future))
        with self._changed:
            if self._closed:
                raise ValueError("I/O operation on a closed file")
            self._waiters.append((sector_count, future))
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="pyvhdmp-resize", daemon=True).start()
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """Cancel every waiter and let the thread end."""
        with self._changed:
            self._closed = True
            waiters, self._waiters = self._waiters, []
            self._changed.notify_all()
        for _, future in waiters:
            self._finish(future, CancelledError())

    def cancel(self) -> None:
        """Nothing to cancel: a question to Windows takes no time."""

    def _drop(self, future: IoFuture[int]) -> None:
        with self._changed:
            kept = [waiter for waiter in self._waiters if waiter[1] is not future]
            found = len(kept) != len(self._waiters)
            self._waiters = kept
        if found:
            self._finish(future, CancelledError())

    def _watch(self) -> None:
        while True:
            outcome = self._ask()
            with self._changed:
                if isinstance(outcome, int):
                    ready = [waiter for waiter in self._waiters if waiter[0] != outcome]
                else:
                    ready = self._waiters
                self._waiters = [waiter for waiter in self._waiters if waiter not in ready]
                for _, future in ready:
                    self._finish(future, outcome)
                if not self._waiters:
                    self._running = False
                    return
                self._changed.wait(_INTERVAL)

    def _ask(self) -> int | BaseException:
        try:
            self._file.enter(self)  # the handle stays open for as long as the question
        except ValueError:
            return CancelledError()
        try:
            return self._sector_count()
        except OSError as error:
            return error
        finally:
            self._file.leave(self)

    def _finish(self, future: IoFuture[int], outcome: int | BaseException) -> None:
        if isinstance(outcome, int):
            self._file.port.call_soon(partial(future.resolve, outcome))
        else:
            self._file.port.call_soon(partial(future.fail, outcome))
