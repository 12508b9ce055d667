"""The functions of Windows that the hand-written loops call, bound once, addresses as ints."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import Final

from pyvhdmp._win32.kernel32 import load_kernel32

__all__ = ["FLAGS", "INFINITE", "PAGE", "Memory", "bound", "library", "open_file"]

PAGE: Final = 4096
INFINITE: Final = 0xFFFFFFFF
FLAGS: Final = 0x60000000
"""FILE_FLAG_OVERLAPPED, FILE_FLAG_NO_BUFFERING."""

_kernel32: Final = load_kernel32()


def library(path: str) -> ctypes.CDLL:
    """Load a DLL."""
    if sys.platform != "win32":
        raise OSError("a DLL is for Windows")
    return ctypes.WinDLL(path, use_last_error=True)


def bound(name: str) -> Callable[..., int]:
    """Return a function of kernel32.dll."""
    function: Callable[..., int] = getattr(_kernel32, name)
    return function


def open_file(path: str) -> int:
    """Return a handle for overlapped, unbuffered reading."""
    handle = bound("CreateFileW")(path, 0x80000000, 7, 0, 3, FLAGS, 0)
    assert handle != ctypes.c_size_t(-1).value
    return handle


class Memory:
    """Page-aligned memory at a known address."""

    def __init__(self, size: int) -> None:
        self.map = mmap.mmap(-1, size)
        self._hold = ctypes.c_char.from_buffer(self.map)
        self.address = ctypes.addressof(self._hold)
