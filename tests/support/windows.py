"""Real Windows things for the tests to work on: pipes, files, handle counts."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_kernel32: Any
if sys.platform == "win32":
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.CreateNamedPipeW.restype = ctypes.c_size_t
    _kernel32.CreateNamedPipeW.argtypes = [
        ctypes.c_wchar_p,
        *[ctypes.c_uint32] * 6,
        ctypes.c_size_t,
    ]
    _kernel32.CreateFileW.restype = ctypes.c_size_t
    _kernel32.CreateFileW.argtypes = [
        ctypes.c_wchar_p,
        *[ctypes.c_uint32] * 2,
        ctypes.c_size_t,
        *[ctypes.c_uint32] * 2,
        ctypes.c_size_t,
    ]
    _kernel32.CloseHandle.argtypes = [ctypes.c_size_t]
    _kernel32.GetCurrentProcess.restype = ctypes.c_size_t
    _kernel32.GetProcessHandleCount.argtypes = [ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint32)]

INVALID_HANDLE_VALUE = (1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 1
GENERIC_READ, GENERIC_WRITE = 0x80000000, 0x40000000
FILE_FLAG_OVERLAPPED, FILE_FLAG_NO_BUFFERING = 0x40000000, 0x20000000
OPEN_EXISTING = 3

_numbers = itertools.count()


def _checked(handle: int) -> int:
    if handle == INVALID_HANDLE_VALUE:
        raise OSError(f"Windows error {_last_error()}")
    return handle


def _last_error() -> int:
    if sys.platform == "win32":
        return ctypes.get_last_error()
    raise NotImplementedError


def create_file(path: str | Path, *, overlapped: bool = True, unbuffered: bool = False) -> int:
    """Open a file that exists for reading and writing; return its handle."""
    flags = (FILE_FLAG_OVERLAPPED if overlapped else 0) | (
        FILE_FLAG_NO_BUFFERING if unbuffered else 0
    )
    return _checked(
        _kernel32.CreateFileW(
            os.fspath(path), GENERIC_READ | GENERIC_WRITE, 7, 0, OPEN_EXISTING, flags, 0
        )
    )


def close_handle(handle: int) -> None:
    """Close a handle; raise if it is none."""
    if not _kernel32.CloseHandle(handle):
        raise OSError(f"Windows error {_last_error()}")


def pipe_handles() -> tuple[int, int]:
    """Return two ends of a named pipe, both overlapped. A read stays pending until a write."""
    name = rf"\\.\pipe\pyvhdmp-test-{os.getpid()}-{next(_numbers)}"
    duplex = 3 | FILE_FLAG_OVERLAPPED
    server = _checked(_kernel32.CreateNamedPipeW(name, duplex, 0, 1, 1 << 16, 1 << 16, 0, 0))
    client = _checked(
        _kernel32.CreateFileW(
            name, GENERIC_READ | GENERIC_WRITE, 0, 0, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, 0
        )
    )
    return server, client


def handle_count() -> int:
    """Return how many handles this process has open, or a number that grows as that does.

    Wine says 0. But it gives out the lowest handle that is free, so that one tells.
    """
    count = ctypes.c_uint32()
    if not _kernel32.GetProcessHandleCount(_kernel32.GetCurrentProcess(), ctypes.byref(count)):
        raise OSError(f"Windows error {_last_error()}")
    if count.value:
        return count.value
    lowest_free = _checked(_kernel32.CreateFileW("NUL", GENERIC_READ, 7, 0, OPEN_EXISTING, 0, 0))
    close_handle(lowest_free)
    return lowest_free // 4


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what another thread will bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


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


def make_folders(path: Path) -> None:
    """Make a folder of any length of path, and those above it."""
    extended = Path("\\\\?\\" + str(path.absolute()))
    extended.mkdir(parents=True, exist_ok=True)


def is_inheritable(handle: int) -> bool:
    """Whether child processes get a handle."""
    if sys.platform == "win32":
        return os.get_handle_inheritable(handle)
    raise NotImplementedError


def winerror(error: BaseException | None) -> int:
    """Return the Windows code of an error, on any system."""
    code = getattr(error, "winerror", None)
    assert isinstance(code, int), f"{error!r} carries none"
    return code
