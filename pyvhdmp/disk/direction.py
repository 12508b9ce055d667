"""Reading, and writing: what the requests of one disk in one direction have in common.

Rules:

1. Fewer bytes than were asked for are a failure, also where Windows reports success.
2. A cancellation is one only if it was asked for and the kernel says so.
3. What is counted is the completion thread's to change, and takes no lock. Calls that are
   waited for end in any thread, and are counted by themselves.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cached_property
from threading import RLock

from pyvhdmp._win32 import constants
from pyvhdmp.errors import ShortTransferError, windows_error
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.register import Call

__all__ = ["Counters", "Direction"]


@dataclass(frozen=True)
class Counters:
    """What the reads and writes of a disk had done at one moment.

    `requests` that were finished, however they ended; `bytes_read`; `bytes_written`; and of
    all these `bytes_bounced`, which were copied because of where they lie in memory.
    """

    requests: int
    bytes_read: int
    bytes_written: int
    bytes_bounced: int


class Direction:
    """The calls for one direction, looked up when they are first made, and what comes of them.

    `requests`, `transferred` and `bounced` count those that are finished, and bytes;
    those that begin with `waited_for` are of requests whose own thread waited for them.
    """

    def __init__(self, file: OverlappedFile, path: str, *, write: bool) -> None:
        self.file = file
        self.path = path
        self.is_write = write
        self.requests = 0
        self.transferred = 0
        self.bounced = 0
        self.waited_for: int = 0
        self.waited_for_transferred: int = 0
        self.waited_for_bounced: int = 0
        self._lock = RLock()  # a finalizer may come back in

    @cached_property
    def plain(self) -> Call:
        """The call for contiguous memory."""
        kernel32 = self.file.port.windows.kernel32
        return kernel32.WriteFile if self.is_write else kernel32.ReadFile

    @cached_property
    def paged(self) -> Call:
        """The call for pages that lie apart, by a list. Not every device knows it."""
        kernel32 = self.file.port.windows.kernel32
        return kernel32.WriteFileGather if self.is_write else kernel32.ReadFileScatter

    def count_waited_for(self, transferred: int, bounced: int) -> None:
        """A request is over that its own thread has waited for: see rule 3."""
        with self._lock:
            self.waited_for += 1
            self.waited_for_transferred += transferred
            self.waited_for_bounced += bounced

    def _function(self, *, paged: bool) -> str:
        if paged:
            return "WriteFileGather" if self.is_write else "ReadFileScatter"
        return "WriteFile" if self.is_write else "ReadFile"

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
            count = f"{transferred} of {length} bytes at byte {offset}"
            return ShortTransferError.because(
                f"wrote {count}: no more room?" if self.is_write else f"read {count}", self.path
            )
        if code == constants.ERROR_OPERATION_ABORTED and cancel_wanted:
            return CancelledError()
        where = f" at byte {offset}"
        return windows_error(code, self._function(paged=paged), self.path, where=where)
