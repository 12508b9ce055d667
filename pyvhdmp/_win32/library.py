"""How a table of prototypes becomes callable functions.

A prototype is a tuple: the type of the result, then those of the arguments. The
same table binds the real DLL and gives a stand-in its calling convention.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias

CType: TypeAlias = "type[ctypes._SimpleCData[int]] | type[ctypes.c_wchar_p]"
Prototype: TypeAlias = tuple[CType, ...]

BOOL = ctypes.c_int32
BYTE = ctypes.c_uint8
DWORD = ctypes.c_uint32
NTSTATUS = ctypes.c_uint32
"""Unsigned, as the constants are written; see `pyvhdmp.errors.is_success`."""
POINTER = ctypes.c_size_t
"""A pointer, a HANDLE or a ULONG_PTR: an int, 0 for NULL."""
PCWSTR = ctypes.c_wchar_p

if sys.platform == "win32":
    get_last_error = ctypes.get_last_error

    def load(name: str) -> ctypes.CDLL:
        """Load a DLL of Windows, from System32 alone: none elsewhere is ever picked up."""
        return ctypes.WinDLL(f"{name}.dll", use_last_error=True, winmode=0x800)

else:
    # Off Windows a stand-in's functions hand their code over in errno, the
    # other value that ctypes swaps around a call, thread by thread.
    get_last_error = ctypes.get_errno

    def load(name: str) -> ctypes.CDLL:
        """Load a DLL of Windows, of which there is none here."""
        raise OSError(f"{name}.dll is a part of Windows, and this is {sys.platform}")


class DynamicLibrary:
    """A system DLL whose functions are bound when they are first used.

    `absent`: what a function answers that this Windows has not, or has no DLL for. Without
    it, that is an `AttributeError` or `OSError` which names what is missing.
    """

    def __init__(
        self, name: str, prototypes: Mapping[str, Prototype], *, absent: int | None = None
    ) -> None:
        self._name = name
        self._prototypes = prototypes
        self._absent = absent

    def __getattr__(self, function: str) -> Callable[..., int]:
        prototype = self._prototypes.get(function)
        if prototype is None:
            raise AttributeError(f"{self._name} has no prototype for {function}")
        bound: Callable[..., int]
        try:
            bound = self._find(function, prototype)
        except (AttributeError, OSError):
            if self._absent is None:
                raise
            absent = self._absent

            def bound(*_: int | str) -> int:
                return absent

        setattr(self, function, bound)
        return bound

    def _find(self, function: str, prototype: Prototype) -> Callable[..., int]:
        """Return a function of the DLL. Raises `AttributeError` or `OSError` if there is none."""
        exported = load(self._name)[function]
        exported.restype, *exported.argtypes = prototype
        found: Callable[..., int] = exported
        return found
