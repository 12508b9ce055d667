"""Waiting for a disk to change its size.

Nobody else can write an image file while it is open, so the size of a disk in a plain
file does not change, and a waiter waits until it is cancelled or the disk is closed.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from functools import partial
from typing import Final

from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile

__all__ = ["ResizeWaiter"]


class ResizeWaiter:
    """One call of `wait_resize`: work of the file that a cancel or a close ends."""

    is_idle: Final = True

    def __init__(self, file: OverlappedFile) -> None:
        self.future: IoFuture[int] = IoFuture(self.cancel)
        self._file = file
        self._claim = threading.Lock()  # taken by the one cancel that counts

    def start(self) -> IoFuture[int]:
        """Begin to wait. Raises `ValueError` if the file is closed."""
        self._file.enter(self)
        return self.future

    def cancel(self) -> None:
        """Finish the future as cancelled, on the completion thread as all futures are."""
        if self._claim.acquire(blocking=False):
            self._file.port.call_soon(partial(self._finish, CancelledError()))

    def _finish(self, error: BaseException) -> None:
        try:
            self.future.fail(error)
        finally:
            self._file.leave(self)
