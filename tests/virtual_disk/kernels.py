"""A kernel for the tests of operations: it answers what the test says, when it says so."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.structures import OVERLAPPED
from pyvhdmp.testing import set_last_error, substituted
from tests.support.vhdmp import Driver

__all__ = ["Kernel"]

EVENT: Final = 0xE0


class Kernel:
    """One long operation, which ends when the test says so."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.answer = constants.ERROR_IO_PENDING
        self.status = constants.ERROR_IO_PENDING
        self.progress = (0, 0)
        self.progress_fails = 0
        self.event = threading.Event()
        self.open_events = 0
        self.overlapped: OVERLAPPED | None = None
        self.thread: threading.Thread | None = None
        self.cancels: list[tuple[int, bool]] = []
        self.on_cancel: Callable[[], object] = lambda: None
        self.deleted: list[str] = []

    def installed(self, *functions: str) -> ExitStack:
        stack = ExitStack()
        virtdisk: dict[str, Callable[..., int]] = {
            "CreateVirtualDisk": self.create,
            "GetVirtualDiskOperationProgress": self.ask,
        }
        for function in functions:
            virtdisk[function] = self.begin
        stack.enter_context(
            substituted(
                virtdisk=virtdisk,
                kernel32={
                    "CreateEventW": self.create_event,
                    "WaitForSingleObject": self.wait,
                    "GetOverlappedResult": self.result,
                    "CancelIoEx": self.cancel,
                    "CloseHandle": self.close,
                    "DeleteFileW": self.delete,
                },
            )
        )
        return stack

    # -- What the test does -----------------------------------------------------

    def finish(self, code: int = 0) -> None:
        self.status = code
        assert self.overlapped is not None
        self.overlapped.Internal = 0xC0000120 if code else 0
        self.event.set()

    def has_begun(self) -> bool:
        return self.overlapped is not None

    # -- What the package calls -------------------------------------------------

    def create_event(self, attributes: int, manual: int, initial: int, name: int) -> int:
        assert (attributes, manual, initial, name) == (0, 1, 0, 0)
        self.open_events += 1
        return EVENT

    def begin(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        return self._begin(overlapped)

    def create(self, *arguments: int) -> int:
        if self.answer in (0, constants.ERROR_IO_PENDING):
            v.HANDLE_CELL.from_address(arguments[8]).Value = self.driver.new_handle()
        return self._begin(arguments[7])

    def _begin(self, overlapped: int) -> int:
        self.thread = threading.current_thread()
        if self.answer == constants.ERROR_IO_PENDING:
            self.overlapped = OVERLAPPED.from_address(overlapped)
            assert self.overlapped.hEvent == EVENT
            self.overlapped.Internal = constants.STATUS_PENDING
        return self.answer

    def ask(self, disk: int, overlapped: int, progress: int) -> int:
        assert self.overlapped is not None
        assert overlapped == ctypes.addressof(self.overlapped)
        assert disk in self.driver.handles
        if self.progress_fails:
            return self.progress_fails
        answer = v.VIRTUAL_DISK_PROGRESS.from_address(progress)
        answer.OperationStatus = self.status
        answer.CurrentValue, answer.CompletionValue = self.progress
        return 0

    def wait(self, handle: int, milliseconds: int) -> int:
        assert (handle, milliseconds) == (EVENT, constants.INFINITE)
        self.event.wait()
        return constants.WAIT_OBJECT_0

    def result(self, disk: int, overlapped: int, transferred: int, wait: int) -> int:
        if self.status in (0, constants.ERROR_IO_PENDING):
            set_last_error(constants.ERROR_IO_INCOMPLETE)
            return int(self.status == 0)
        set_last_error(self.status)
        return 0

    def cancel(self, disk: int, overlapped: int) -> int:
        assert disk in self.driver.handles
        assert self.overlapped is not None
        self.cancels.append((disk, overlapped == ctypes.addressof(self.overlapped)))
        self.on_cancel()
        return 1

    def close(self, handle: int) -> int:
        if handle != EVENT:
            return self.driver.CloseHandle(handle)
        self.open_events -= 1
        return 1

    def delete(self, path: str) -> int:
        self.deleted.append(path)
        return 1
