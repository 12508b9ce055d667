"""Unmapping sectors of a disk behind VHDMP, by SCSI's UNMAP.

Rules:

1. RawSCSIVirtualDisk blocks, so it is called on the flush executor, for one request of a disk
   at a time. Everything else happens on the completion thread. The file is entered
   meanwhile, and its handle open.
2. The limits are asked for once, of the disk's own VPD pages, when they are first wanted.
3. A cancel takes effect between two commands; one that was sent is carried out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final

from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.virtual_disk.scsi import UnmapLimits, send, unmap_commands

__all__ = ["UnmapQueue"]


class _Unmap:
    """One request: work of the file."""

    is_idle: Final = False

    def __init__(self, sector: int, count: int) -> None:
        self.future: IoFuture[None] = IoFuture(self.cancel)
        self.sector = sector
        self.count = count
        self.is_begun = False
        self.cancel_wanted = False

    def cancel(self) -> None:
        """Send no further command: rule 3."""
        self.cancel_wanted = True


class UnmapQueue:
    """Unmaps ranges, one after the other. `limits`: what the disk takes, None if no UNMAP."""

    def __init__(
        self, file: OverlappedFile, path: str, limits: Callable[[], UnmapLimits | None]
    ) -> None:
        self._file = file
        self._path = path
        self._limits = limits
        self._lock = threading.Lock()
        self._waiting: deque[_Unmap] = deque()
        self._running: _Unmap | None = None

    def unmap(self, sector: int, count: int) -> Future[None]:
        """Begin. Raises `ValueError` if the file is closed."""
        request = _Unmap(sector, count)
        self._file.enter(request)
        try:
            with self._lock:
                self._waiting.append(request)
            self._file.port.call_soon(self._begin)
        except BaseException:  # Ctrl+C
            with self._lock:
                if is_begun := request.is_begun:
                    request.cancel_wanted = True
                else:
                    self._waiting = deque(one for one in self._waiting if one is not request)
            if not is_begun:  # else it leaves when it has ended
                self._file.leave(request)
            raise
        return request.future

    def _begin(self) -> None:
        with self._lock:
            if self._running is not None or not self._waiting:  # rule 1
                return
            request = self._running = self._waiting.popleft()
            request.is_begun = True
        try:
            self._file.port.call_blocking(partial(self._run, request))
        except BaseException as error:  # for want of memory
            self._ended(request, error)

    def _run(self, request: _Unmap) -> None:
        """On the executor."""
        error: BaseException | None = None
        try:
            self._send_all(request)
        except BaseException as failure:  # whoever waits must get it
            error = failure
        self._file.port.call_soon(partial(self._ended, request, error))

    def _send_all(self, request: _Unmap) -> None:
        limits = self._limits()
        if limits is None:
            return
        for cdb, data in unmap_commands(request.sector, request.count, limits):
            if request.cancel_wanted:
                raise CancelledError
            windows = self._file.port.windows
            send(windows, self._file.handle, self._path, cdb, data=data).check()

    def _ended(self, request: _Unmap, error: BaseException | None) -> None:
        with self._lock:
            self._running = None
        try:
            self._begin()
            if error is None:
                request.future.resolve(None)
            else:
                request.future.fail(error)
        finally:
            self._file.leave(request)
