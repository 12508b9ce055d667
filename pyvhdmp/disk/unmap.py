"""Unmapping sectors of a disk behind VHDMP, by SCSI's UNMAP.

Rules:

1. RawSCSIVirtualDisk blocks, so it is called on the flush executor. The file is entered
   meanwhile, and its handle open.
2. The limits are asked for once, of the disk's own VPD pages, when they are first wanted.
3. A cancel takes effect between two commands; one that was sent is carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from typing import Final

from pyvhdmp.futures import IoFuture
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.virtual_disk.scsi import UnmapLimits, send, unmap_commands

__all__ = ["Unmap"]


class Unmap:
    """One call of `unmap`. `limits`: what the disk takes, None if it takes no UNMAP."""

    is_idle: Final = False

    def __init__(
        self,
        file: OverlappedFile,
        path: str,
        sector: int,
        count: int,
        limits: Callable[[], UnmapLimits | None],
    ) -> None:
        self.future: IoFuture[None] = IoFuture(self.cancel)
        self._file = file
        self._path = path
        self._range = (sector, count)
        self._limits = limits
        self._cancel_wanted = False

    def start(self) -> IoFuture[None]:
        """Begin. Raises `ValueError` if the file is closed."""
        self._file.enter(self)
        try:
            self._file.port.call_blocking(self._run)
        except BaseException:
            self._file.leave(self)
            raise
        return self.future

    def cancel(self) -> None:
        """Send no further command."""
        self._cancel_wanted = True

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._send_all()
        except BaseException as failure:  # whoever waits must get it
            error = failure
        self._file.port.call_soon(partial(self._finish, error))

    def _send_all(self) -> None:
        limits = self._limits()
        if limits is None:
            return
        for cdb, data in unmap_commands(*self._range, limits):
            if self._cancel_wanted:
                raise CancelledError
            windows = self._file.port.windows
            send(windows, self._file.handle, self._path, cdb, data=data).check()

    def _finish(self, error: BaseException | None) -> None:
        try:
            if error is None:
                self.future.resolve(None)
            else:
                self.future.fail(error)
        finally:
            self._file.leave(self)
