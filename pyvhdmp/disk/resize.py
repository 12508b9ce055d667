"""Waiting for a disk to change its size.

Nobody else can write an image file while it is open, so the size of a disk in a plain
file does not change, and a waiter waits until it is cancelled or the disk is closed. A
disk behind a driver can be resized by others, and nothing tells: then a `ResizeWatch`
asks, twice a second, in a thread that is there for as long as somebody waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Final

from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.waiting import Latch

__all__ = ["ResizeWaiter", "ResizeWatch"]

_PERIOD: Final = 0.5
"""Seconds from one question to the next."""


class ResizeWaiter:
    """One call of `wait_resize`: work of the file that a cancel or a close ends.

    `known`: the number of sectors that the caller knows of. `watch`: who asks for it.
    """

    is_idle: Final = True

    def __init__(self, file: OverlappedFile, known: int, watch: ResizeWatch | None) -> None:
        self.future: IoFuture[int] = IoFuture(self.cancel)
        self._file = file
        self._known = known
        self._watch = watch

    def start(self) -> IoFuture[int]:
        """Begin to wait. Raises `ValueError` if the file is closed."""
        self._file.enter(self)
        try:
            if self._watch is not None:
                self._watch.add(self)
        except BaseException:  # no thread could be started, or Ctrl+C
            self.cancel()
            raise
        return self.future

    def look(self, count: int) -> None:
        """The disk has `count` sectors."""
        if count != self._known:
            self._end(partial(self.future.resolve, count))

    def fail(self, error: BaseException) -> None:
        """The disk cannot be asked any more."""
        self._end(partial(self.future.fail, error))

    def cancel(self) -> None:
        """Finish the future as cancelled."""
        self._end(partial(self.future.fail, CancelledError()))

    def _end(self, finish: Callable[[], None]) -> None:
        """Finish the future on the completion thread, where no Ctrl+C comes. Can be repeated."""
        self._file.port.call_soon(partial(self._finish, finish))

    def _finish(self, finish: Callable[[], None]) -> None:
        if self.future.done():
            return
        try:
            if self._watch is not None:
                self._watch.remove(self)
            finish()
        finally:
            self._file.leave(self)


class ResizeWatch:
    """Asks a disk for its number of sectors while there are waiters. `ask` may block."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._lock = threading.RLock()  # which Ctrl+C never leaves locked, unlike a Condition
        self._waiters: list[ResizeWaiter] = []
        self._emptied = Latch()
        self._running = False

    def add(self, waiter: ResizeWaiter) -> None:
        """Tell `waiter` what the disk answers, until it is removed."""
        with self._lock:
            self._waiters.append(waiter)
            if not self._running:
                thread = threading.Thread(target=self._run, name="pyvhdmp-resize", daemon=True)
                thread.start()
                self._running = True

    def remove(self, waiter: ResizeWaiter) -> None:
        """Forget a waiter. Without any the thread ends."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if not self._waiters:
                self._emptied.set()

    def _run(self) -> None:
        while True:
            self._emptied.wait(_PERIOD)
            with self._lock:
                if not self._waiters:
                    self._running = False
                    return
                waiters, self._emptied = list(self._waiters), Latch()
            try:
                count = self._ask()
            except BaseException as error:  # whoever waits must get it
                for waiter in waiters:
                    waiter.fail(error)
            else:
                for waiter in waiters:
                    waiter.look(count)
