"""Things of the Windows in force, real or simulated, for the tests to work on: pipes, handles."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp.testing import SimulatedWindows, simulated_virtdisk
from tests.support.files import FilePath
from tests.support.vhdx import HELPER

_kernel32: Any
if sys.platform == "win32":
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateNamedPipeW.restype = ctypes.c_size_t
    _kernel32.CreateNamedPipeW.argtypes = [
        ctypes.c_wchar_p,
        *[ctypes.c_uint32] * 6,
        ctypes.c_size_t,
    ]
    _kernel32.GetCurrentProcess.restype = ctypes.c_size_t
    _kernel32.GetProcessHandleCount.argtypes = [ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint32)]

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether this Python has threads take turns."""

READ_AND_WRITE = constants.GENERIC_READ | constants.GENERIC_WRITE

_numbers = itertools.count()
_simulation: SimulatedWindows | None = None


@contextlib.contextmanager
def simulated(seed: int) -> Iterator[SimulatedWindows]:
    """Have a simulated Windows in force for the length of a with block.

    It has no VHDMP, like Wine, until `vhdmp()`.
    """
    global _simulation
    with SimulatedWindows(seed, vhdmp=False) as simulation:
        _simulation = simulation
        try:
            yield simulation
        finally:
            _simulation = None


@contextlib.contextmanager
def vhdmp() -> Iterator[None]:
    """Have a simulated driver for virtual disks for the length of a with block.

    Where .vhdx are genuine, see `tests.support.vhdx`, it is there all the time.
    """
    if _simulation is None and HELPER in os.environ:
        yield
    elif _simulation is None:
        with simulated_virtdisk():
            yield
    else:
        _simulation.vhdmp = True
        try:
            yield
        finally:
            _simulation.vhdmp = False


def _created(name: str, access: int, share_mode: int, flags: int) -> int:
    windows = _win32.current()
    handle = windows.kernel32.CreateFileW(
        name, access, share_mode, 0, constants.OPEN_EXISTING, flags, 0
    )
    if handle == constants.INVALID_HANDLE_VALUE:
        raise OSError(f"Windows error {windows.get_last_error()}")
    return handle


def create_file(path: str | FilePath, *, overlapped: bool = True, unbuffered: bool = False) -> int:
    """Open a file that exists for reading and writing; return its handle."""
    flags = (constants.FILE_FLAG_OVERLAPPED if overlapped else 0) | (
        constants.FILE_FLAG_NO_BUFFERING if unbuffered else 0
    )
    return _created(os.fspath(path), READ_AND_WRITE, 7, flags)


def close_handle(handle: int) -> None:
    """Close a handle; raise if it is none."""
    windows = _win32.current()
    if not windows.kernel32.CloseHandle(handle):
        raise OSError(f"Windows error {windows.get_last_error()}")


def pipe_handles() -> tuple[int, int]:
    """Return two ends of a pipe, both overlapped. A read stays pending until a write."""
    if _simulation is not None:
        return _simulation.pipe()
    name = rf"\\.\pipe\pyvhdmp-test-{os.getpid()}-{next(_numbers)}"
    duplex = 3 | constants.FILE_FLAG_OVERLAPPED
    server: int = _kernel32.CreateNamedPipeW(name, duplex, 0, 1, 1 << 16, 1 << 16, 0, 0)
    assert server != constants.INVALID_HANDLE_VALUE
    return server, _created(name, READ_AND_WRITE, 0, constants.FILE_FLAG_OVERLAPPED)


def handle_count() -> int:
    """Return how many handles this process has open, or a number that grows as that does.

    Wine says 0. But it gives out the lowest handle that is free, so that one tells.
    """
    if _simulation is not None:
        return len(_simulation.open_handles)
    count = ctypes.c_uint32()
    assert _kernel32.GetProcessHandleCount(_kernel32.GetCurrentProcess(), ctypes.byref(count))
    if count.value:
        return count.value
    lowest_free = _created("NUL", constants.GENERIC_READ, 7, 0)
    close_handle(lowest_free)
    return lowest_free // 4


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what another thread will bring about."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        never.wait(0.005)  # unlike a sleep, a simulated Windows can tell this from computing


@contextlib.contextmanager
def closing(*handles: int) -> Iterator[None]:
    """Close handles at the end of a with block."""
    try:
        yield
    finally:
        for handle in handles:
            close_handle(handle)


def read_u64(address: int, count: int) -> list[int]:
    """Return 64-bit numbers from an address."""
    return list((ctypes.c_uint64 * count).from_address(address))


def write_u64(address: int, value: int) -> None:
    """Write a 64-bit number to an address."""
    ctypes.c_uint64.from_address(address).value = value


def write_u32(address: int, value: int) -> None:
    """Write a 32-bit number to an address."""
    ctypes.c_uint32.from_address(address).value = value


def is_in_simulation(frame: FrameType | None) -> bool:
    """Whether a stack leads through a simulated kernel, which in reality has no frames."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("pyvhdmp.testing."):
            return True
        frame = frame.f_back
    return False


def is_simulated() -> bool:
    """Whether the Windows in force is a simulated one."""
    return _simulation is not None


def is_inheritable(handle: int) -> bool:
    """Whether child processes get a handle of a real Windows."""
    if sys.platform == "win32":
        return os.get_handle_inheritable(handle)
    raise NotImplementedError


def winerror(error: BaseException | None) -> int:
    """Return the Windows code of an error, on any system."""
    code = getattr(error, "winerror", None)
    assert isinstance(code, int), f"{error!r} carries none"
    return code
