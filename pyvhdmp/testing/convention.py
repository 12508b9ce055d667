"""Python functions behind the C calling convention of Windows' own.

Rules:

1. A stand-in is called through a C function pointer made from the very prototype that
   binds the real function, so it is given what the kernel is given: ints, and no objects.
2. An exception cannot pass through C. The call fails, in the way of its DLL, and the
   exception is kept for whoever asked for the stand-in.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Final

from pyvhdmp._win32 import advapi32 as _advapi32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import kernel32 as _kernel32
from pyvhdmp._win32 import ntdll as _ntdll
from pyvhdmp._win32 import virtdisk as _virtdisk
from pyvhdmp._win32.library import CType, Prototype

__all__ = ["DLLS", "Failures", "c_function", "failure_of", "set_last_error"]

Failures = list[BaseException]

DLLS: Final[Mapping[str, Mapping[str, Prototype]]] = {
    "advapi32": _advapi32.PROTOTYPES,
    "kernel32": _kernel32.PROTOTYPES,
    "ntdll": _ntdll.PROTOTYPES,
    "virtdisk": _virtdisk.PROTOTYPES,
}

_FAILURE: Final = {
    "advapi32": 0,
    "kernel32": 0,
    "ntdll": constants.STATUS_UNSUCCESSFUL,
    "virtdisk": constants.ERROR_GEN_FAILURE,
}
_FAILURE_OF: Final = {
    "CreateFileW": constants.INVALID_HANDLE_VALUE,
    "FindFirstFileW": constants.INVALID_HANDLE_VALUE,
    "GetFileAttributesW": constants.INVALID_FILE_ATTRIBUTES,
    "WaitForSingleObject": constants.WAIT_FAILED,
}

if sys.platform == "win32":
    _set_last_error = ctypes.set_last_error

    def _convention(*prototype: CType) -> Callable[[Callable[..., int]], Callable[..., int]]:
        return ctypes.WINFUNCTYPE(*prototype, use_last_error=True)

else:
    _set_last_error = ctypes.set_errno

    def _convention(*prototype: CType) -> Callable[[Callable[..., int]], Callable[..., int]]:
        return ctypes.CFUNCTYPE(*prototype, use_errno=True)


def set_last_error(value: int, /) -> int:
    """Set the code that the caller of this substitute will see as the last error.

    Return the one before. To be called last. Source: SetLastError, errhandlingapi.h.
    """
    return _set_last_error(value)


def failure_of(dll: str, name: str) -> int:
    """Return what a function returns when it fails."""
    return _FAILURE_OF.get(name, _FAILURE[dll])


def c_function(
    dll: str, name: str, function: Callable[..., int], raised: Failures
) -> Callable[..., int]:
    """Return `function` as a C function that can be called in the place of `name` of `dll`.

    What it raises is appended to `raised`. Raises `ValueError` for an unknown name.
    """
    prototype = DLLS[dll].get(name)
    if prototype is None:
        raise ValueError(f"no function {name} of {dll} is used by this package")
    failure = failure_of(dll, name)

    def guarded(*arguments: int) -> int:
        try:
            return function(*arguments)
        except BaseException as error:
            raised.append(error)
            set_last_error(constants.ERROR_GEN_FAILURE)
            return failure

    return _convention(*prototype)(guarded)
