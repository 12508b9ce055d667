"""The way into the simulation: what stands between a caller and a simulated function.

Rules:

1. Arguments are looked at before ctypes has cut them to size: a number that does not
   fit its type is a violation, as the real function would get another one.
2. Then the call goes through the C convention, like one of a real function.
3. Ctrl+C in the main thread does not interrupt it halfway, as it would not a call into the
   real kernel. It comes a moment later.
"""

from __future__ import annotations

import _thread
import ctypes
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp.testing import statuses
from pyvhdmp.testing.clock import HELPERS
from pyvhdmp.testing.convention import DLLS, Failures, c_function, failure_of, set_last_error
from pyvhdmp.testing.io_manager import IoManager
from pyvhdmp.testing.kernel import CallFailed, Kernel

__all__ = ["SimulatedDll", "SwitchBoard"]

_TRANSFERS: Final = frozenset(
    {"ReadFile", "WriteFile", "ReadFileScatter", "WriteFileGather", "DeviceIoControl"}
)
_LONG: Final = frozenset(
    {
        "CreateVirtualDisk",
        "AttachVirtualDisk",
        "CompactVirtualDisk",
        "MergeVirtualDisk",
        "ExpandVirtualDisk",
        "ResizeVirtualDisk",
        "MirrorVirtualDisk",
        "ForkVirtualDisk",
    }
)
_ON_THE_VOLUME: Final = (
    _TRANSFERS
    | (_LONG - {"AttachVirtualDisk"})
    | {
        "RawSCSIVirtualDisk",
        "TakeSnapshotVhdSet",
        "ApplySnapshotVhdSet",
        "DeleteSnapshotVhdSet",
        "CreateFileW",
        "DeleteFileW",
        "MoveFileExW",
        "SetFileInformationByHandle",
        "NtFlushBuffersFileEx",
        "OpenVirtualDisk",
    }
)

_BLOCKING: Final = {"RawSCSIVirtualDisk"}
"""Functions that the package has a pool of threads for: a call there takes a turn, as a flush."""
_BRIEF: Final = 50_000
"""How long such a call takes, in nanoseconds."""


def _done() -> None:
    pass


class SwitchBoard:
    """Makes the functions of the simulated DLLs callable, and plans their failures."""

    def __init__(self, kernel: Kernel, io: IoManager) -> None:
        self._kernel = kernel
        self._io = io
        self._planned: dict[str, list[tuple[int, bool]]] = {}
        self._countdown = 0
        self._at_zero: Callable[[], None] = lambda: None
        self.absent: set[str] = set()
        """DLLs that this Windows does not have."""
        self.raised: Failures = []

    def fail_next(self, function: str, code: int, *, after: int, calls: int, pending: bool) -> None:
        """Have calls of a function fail, after some that do not."""
        if not any(function in prototypes for prototypes in DLLS.values()):
            raise ValueError(f"no function {function} is used by this package")
        if pending and function not in _TRANSFERS | _LONG:
            raise ValueError(f"{function} is never pending")
        plan = self._planned.setdefault(function, [])
        plan += [(0, False)] * after + [(code, pending)] * calls

    def after(self, calls: int, event: Callable[[], None]) -> None:
        """Have something happen at a later call that touches the volume, before it is made."""
        self._countdown, self._at_zero = calls, event

    def _count_down(self) -> None:
        if self._countdown:
            self._countdown -= 1
            if not self._countdown:
                self._at_zero()

    def function(self, dll: str, name: str, body: Callable[..., int]) -> Callable[..., int]:
        """Return what callers call."""
        kernel, planned, io = self._kernel, self._planned, self._io
        failure = failure_of(dll, name)
        counts, blocks = name in _ON_THE_VOLUME, name in _BLOCKING

        def run(*arguments: int) -> int:
            with kernel.entered():
                try:
                    if dll in self.absent:
                        raise CallFailed(constants.ERROR_CALL_NOT_IMPLEMENTED)
                    if counts:
                        self._count_down()
                    if blocks and threading.current_thread().name.startswith(HELPERS):
                        kernel.flush(int(arguments[0]), lambda: (kernel.clock.now + _BRIEF, _done))
                    plan = planned.get(name)
                    if plan:
                        code, pending = plan.pop(0)
                        if pending:
                            io.fails_later = code
                        elif code:
                            io.faults_injected += 1
                            raise CallFailed(code)
                    return body(*arguments)
                except CallFailed as failed:
                    if failed.code != constants.ERROR_IO_PENDING:
                        kernel.note(f"{name} fails, {failed.code}")
                    if dll == "virtdisk":
                        return failed.code
                    if dll == "ntdll":
                        return statuses.status_of(failed.code)
                    set_last_error(failed.code)
                    return failure
                finally:
                    io.fails_later = 0  # of a call that was refused before it began anything

        call = c_function(dll, name, run, self.raised)
        limits = [
            (1 << 8 * ctypes.sizeof(kind)) - 1 if kind is not ctypes.c_wchar_p else None
            for kind in DLLS[dll][name][1:]
        ]

        def checked(*arguments: int) -> int:
            for position, (value, limit) in enumerate(zip(arguments, limits, strict=True)):
                if limit is not None and not 0 <= value <= limit:
                    kernel.violation(
                        f"argument {position} of {name}, {value}, does not fit its type"
                    )
            if threading.current_thread() is threading.main_thread():
                with _interrupts_deferred():
                    return call(*arguments)
            return call(*arguments)

        return checked


class _interrupts_deferred:
    """Ctrl+C in the main thread takes effect just after a with block."""

    def __enter__(self) -> None:
        self._came = False
        self._before = signal.getsignal(signal.SIGINT)
        if callable(self._before):
            signal.signal(signal.SIGINT, self._remember)

    def __exit__(self, *_: object) -> None:
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)
            if self._came:
                # Not from here: what the call has returned would be lost on its way.
                threading.Timer(0.001, self._deliver).start()

    def _deliver(self) -> None:
        if signal.getsignal(signal.SIGINT) is self._before:  # else nobody waits for it any more
            _thread.interrupt_main()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._came = True


class SimulatedDll:
    """A DLL whose functions are the methods of an object, called as C functions."""

    def __init__(self, board: SwitchBoard, dll: str, functions: object) -> None:
        for name in DLLS[dll]:
            body = getattr(functions, name, None)
            if body is not None:
                setattr(self, name, board.function(dll, name, body))

    def __getattr__(self, name: str) -> Callable[..., int]:
        raise AttributeError(f"the simulated Windows has no {name}")
