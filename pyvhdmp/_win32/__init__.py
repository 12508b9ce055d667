"""Raw Windows: prototypes, structures, constants, and addresses of memory.

Rules of this layer, and of the modules in it:

1. ctypes is imported here and nowhere above. What leaves this layer is plain
   ints, bytes and callables.
2. Types have a fixed width (``c_uint32``, never ``wintypes.DWORD``, which is
   8 bytes on Linux), so every layout is the same, and tested, on every machine.
3. A handle, an address and a ULONG_PTR cross the boundary as a plain int, 0 for
   NULL: the cheapest argument ctypes knows, and nothing to keep alive by accident.
   *Who* keeps the memory alive is the caller's concern, and said there.
4. A DLL is loaded, and a function looked up, when it is first used.
5. Nothing here raises for a Windows failure; `pyvhdmp.errors` does that.

`current()` is the Windows in force. `pyvhdmp.testing` can put another in its
place; an object keeps the one it was made with for its whole life.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NewType

from pyvhdmp._win32.advapi32 import Advapi32, load_advapi32
from pyvhdmp._win32.kernel32 import Kernel32, load_kernel32
from pyvhdmp._win32.library import get_last_error
from pyvhdmp._win32.messages import format_message
from pyvhdmp._win32.ntdll import Ntdll, load_ntdll
from pyvhdmp._win32.virtdisk import Virtdisk, load_virtdisk

__all__ = [
    "Advapi32",
    "Handle",
    "Kernel32",
    "Ntdll",
    "Virtdisk",
    "Windows",
    "current",
    "format_message",
    "get_last_error",
    "installed",
    "is_available",
]

Handle = NewType("Handle", int)
"""A HANDLE that is open: neither NULL nor INVALID_HANDLE_VALUE."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The DLLs that one object works with, and how to ask for the last error.

    `get_last_error` is the thread's code as it was right after the last call,
    which is not what a GetLastError made by hand would say.
    """

    kernel32: Kernel32
    ntdll: Ntdll
    virtdisk: Virtdisk
    advapi32: Advapi32
    get_last_error: Callable[[], int] = get_last_error


_installed: Windows | None = None


def is_available() -> bool:
    """Whether there is a Windows, real or installed, to do anything on."""
    return sys.platform == "win32" or _installed is not None


def current() -> Windows:
    """Return the Windows in force: the real one unless another is installed.

    Raises `RuntimeError` where there is none.
    """
    global _installed
    if _installed is None:
        if not is_available():
            raise RuntimeError(
                f"pyvhdmp does its I/O through Windows' own DLLs, and this is {sys.platform}: "
                "run it with a Windows Python, or have pyvhdmp.testing put other functions in "
                "their place"
            )
        _installed = Windows(load_kernel32(), load_ntdll(), load_virtdisk(), load_advapi32())
    return _installed


@contextmanager
def installed(windows: Windows) -> Iterator[Windows]:
    """Put `windows` in force for the length of a with block, for all threads."""
    global _installed
    before, _installed = _installed, windows
    try:
        yield windows
    finally:
        _installed = before
