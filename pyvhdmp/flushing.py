"""Flushes of one file, shared by all who ask for one at about the same time.

Rules:

1. A flush covers every write that had finished when it was asked for, so one that
   begins later than that serves just as well, and serves any number who wait for it.
   So there is one at a time, and all who ask while it runs share the next.
2. It always blocks, so it is called on the flush executor. Who is being served is the
   completion thread's to know, which also tells them how it went.
3. The handle is open for as long as anybody waits, as whoever asks is work of the file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from pyvhdmp._win32 import constants
from pyvhdmp.errors import is_success, status_error, windows_error
from pyvhdmp.futures import IoFuture

if TYPE_CHECKING:
    from pyvhdmp._win32 import Handle
    from pyvhdmp.completion import CompletionPort
    from pyvhdmp.overlapped import OverlappedFile

__all__ = ["Flush", "FlushDone", "Flushes"]

FlushDone: TypeAlias = "Callable[[BaseException | None], None]"
"""What is called when a flush is over: with None, or why it failed."""


class Flush(IoFuture[None]):
    """The future of a flush that somebody has asked a file for, and work of that file."""

    is_idle: Final = False

    def __init__(self, file: OverlappedFile) -> None:
        super().__init__()  # without a canceller, as a flush has no OVERLAPPED to name
        self._file = file

    def finish(self, error: BaseException | None) -> None:
        """The flush is over, or was never begun: finish the future, leave the file."""
        try:
            if error is None:
                self.resolve(None)
            else:
                self.fail(error)
        finally:
            self._file.leave(self)


class Flushes:
    """The flushes of the file that `handle` is of, one at a time."""

    def __init__(self, port: CompletionPort, handle: Handle) -> None:
        # Not the file, which would then wait for a garbage collection.
        self._port = port
        self._handle = handle
        self._lock = threading.RLock()  # a finalizer may come back in
        self._wanted: list[FlushDone] = []
        self._served: list[FlushDone] = []  # the completion thread's own

    def ask(self, done: FlushDone) -> None:
        """Flush, then call `done` on the completion thread. The file is entered (rule 3)."""
        with self._lock:
            self._wanted.append(done)
        self._port.call_soon(self._begin)

    def abandon(self, flush: Flush, error: BaseException) -> None:
        """On the completion thread: an exception came up while a flush was asked for."""
        with self._lock:
            if flush.finish in self._wanted:
                self._wanted.remove(flush.finish)
        if flush.finish not in self._served and not flush.done():
            flush.finish(error)

    def _begin(self) -> None:
        """On the completion thread: begin one flush for all, if none runs (rule 1)."""
        if self._served:
            return
        with self._lock:
            served, self._wanted = self._wanted, []
        if not served:
            return
        self._served = served
        try:
            self._port.call_blocking(self._flush_and_tell)
        except BaseException as error:  # for want of memory
            self._tell(0, error)

    def _flush_and_tell(self) -> None:
        """On the executor: flush."""
        status, failure = 0, None
        try:
            status = self._flush()
        except BaseException as error:  # for want of memory; whoever waits must get it
            failure = error
        self._port.call_soon(partial(self._tell, status, failure))

    def _flush(self) -> int:
        """Flush; return the status."""
        slots, windows = self._port.slots, self._port.windows
        slot = slots.take()  # its first two fields are an IO_STATUS_BLOCK
        status = windows.ntdll.NtFlushBuffersFileEx(self._handle, 0, 0, 0, slot.address)
        if status == constants.STATUS_PENDING:
            # It always blocks, says Windows (rule 2). If not, the slot is the kernel's for good.
            raise windows_error(constants.ERROR_IO_PENDING, "NtFlushBuffersFileEx")
        slots.give(slot)
        return status

    def _tell(self, status: int, failure: BaseException | None) -> None:
        """On the completion thread: tell everybody how it went, and flush for the next."""
        served, self._served = self._served, []
        try:
            for done in served:
                error = failure
                if error is None and not is_success(status):  # an error of its own for each
                    error = status_error(self._port.windows, status, "NtFlushBuffersFileEx")
                self._port.call_soon(partial(done, error))
        finally:
            self._begin()
