"""Reading, and writing: what the requests of one disk in one direction have in common.

Rules:

1. Fewer bytes than were asked for are a failure, also where Windows reports success.
2. A cancellation is one only if it was asked for and the kernel says so.
3. The counters of a disk are the completion thread's to change, and take no lock.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from functools import cached_property

from pyvhdmp._win32 import constants
from pyvhdmp.errors import ShortTransferError, windows_error
from pyvhdmp.overlapped import Call, OverlappedFile

__all__ = ["Counters", "Direction"]


class Counters:
    """What the reads and writes of a disk have done so far.

    `requests` that are finished, however they ended; `bytes_read`; `bytes_written`; and of
    all these `bytes_bounced`, which were copied because of where they lie in memory.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.bytes_bounced = 0

    def __repr__(self) -> str:
        return (
            f"<Counters: {self.requests} requests, {self.bytes_read} bytes read, "
            f"{self.bytes_written} written, {self.bytes_bounced} bounced>"
        )


class Direction:
    """The calls for one direction, looked up when they are first made, and what comes of them."""

    def __init__(
        self, file: OverlappedFile, counters: Counters, path: str, *, write: bool, scatter: bool
    ) -> None:
        self.file = file
        self.path = path
        self.is_write = write
        self._scatter = scatter
        self._counters = counters

    @cached_property
    def plain(self) -> Call:
        """The call for contiguous memory."""
        kernel32 = self.file.port.windows.kernel32
        return kernel32.WriteFile if self.is_write else kernel32.ReadFile

    @cached_property
    def paged(self) -> Call | None:
        """The call for a list of pages, None if the device knows none."""
        kernel32 = self.file.port.windows.kernel32
        if not self._scatter:
            return None
        return kernel32.WriteFileGather if self.is_write else kernel32.ReadFileScatter

    def _function(self, *, paged: bool) -> str:
        if paged:
            return "WriteFileGather" if self.is_write else "ReadFileScatter"
        return "WriteFile" if self.is_write else "ReadFile"

    def count(self, transferred: int, bounced: int) -> None:
        """Count one finished request. On the completion thread."""
        counters = self._counters
        counters.requests += 1
        if self.is_write:
            counters.bytes_written += transferred
        else:
            counters.bytes_read += transferred
        counters.bytes_bounced += bounced

    def error(
        self,
        code: int,
        transferred: int,
        length: int,
        offset: int,
        *,
        paged: bool,
        cancel_wanted: bool,
    ) -> BaseException | None:
        """Return what was wrong with a call that is over, or None: `length` bytes at `offset`."""
        if code in (constants.ERROR_SUCCESS, constants.ERROR_HANDLE_EOF):
            if transferred == length:
                return None
            what = "wrote" if self.is_write else "read"
            return ShortTransferError.because(
                f"{what} {transferred} of {length} bytes at byte {offset}", self.path
            )
        if code == constants.ERROR_OPERATION_ABORTED and cancel_wanted:
            return CancelledError()
        where = f" at byte {offset}"
        return windows_error(code, self._function(paged=paged), self.path, where=where)
