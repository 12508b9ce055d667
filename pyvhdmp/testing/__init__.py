"""Other functions in the place of Windows' own, behind the same C calling convention.

    def failing(file, buffer, length, transferred, overlapped):
        set_last_error(ERROR_CRC)
        return 0

    with substituted(kernel32={"ReadFile": failing}):
        ...  # whatever is opened in here reads through it

A substitute is called through a C function pointer made from the very prototype that
binds the real function. It is given ints, as the kernel is: addresses, not objects.
An object of this package keeps the functions that were in force when it was made.
An exception in a substitute cannot pass through C: the call fails, with
ERROR_GEN_FAILURE or STATUS_UNSUCCESSFUL, and the with block raises it at its end.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import kernel32 as _kernel32
from pyvhdmp._win32 import ntdll as _ntdll
from pyvhdmp._win32.library import CType, Prototype

__all__ = ["set_last_error", "substituted"]

if sys.platform == "win32":
    set_last_error = ctypes.set_last_error
    """Set the code that the caller of this substitute will see as the last error."""

    def _convention(*prototype: CType) -> Callable[[Callable[..., int]], object]:
        return ctypes.WINFUNCTYPE(*prototype, use_last_error=True)

else:
    set_last_error = ctypes.set_errno

    def _convention(*prototype: CType) -> Callable[[Callable[..., int]], object]:
        return ctypes.CFUNCTYPE(*prototype, use_errno=True)


@contextmanager
def substituted(
    *,
    kernel32: Mapping[str, Callable[..., int]] | None = None,
    ntdll: Mapping[str, Callable[..., int]] | None = None,
) -> Iterator[None]:
    """Put functions in the place of Windows' own for the length of a with block.

    The keys are Win32 names. Functions that are not named stay what they are: the
    real ones, or those of an enclosing block. Raises `ValueError` for an unknown name.
    """
    below = _win32.current() if _win32.is_available() else None
    raised: list[BaseException] = []
    windows = _win32.Windows(
        cast(
            _win32.Kernel32,
            _StandIn(below and below.kernel32, _kernel32.PROTOTYPES, kernel32 or {}, raised),
        ),
        cast(
            _win32.Ntdll,
            _StandIn(below and below.ntdll, _ntdll.PROTOTYPES, ntdll or {}, raised),
        ),
    )
    with _win32.installed(windows):
        yield
    if raised:
        raise raised[0]


def _guarded(
    function: Callable[..., int], failure: int, raised: list[BaseException]
) -> Callable[..., int]:
    def call(*arguments: int) -> int:
        try:
            return function(*arguments)
        except BaseException as error:
            raised.append(error)
            set_last_error(constants.ERROR_GEN_FAILURE)
            return failure

    return call


class _StandIn:
    """A DLL some of whose functions are others."""

    def __init__(
        self,
        below: object,
        prototypes: Mapping[str, Prototype],
        functions: Mapping[str, Callable[..., int]],
        raised: list[BaseException],
    ) -> None:
        self._below = below
        for name, function in functions.items():
            if name not in prototypes:
                raise ValueError(f"no function {name} is used by this package")
            failure = constants.STATUS_UNSUCCESSFUL if name.startswith("Nt") else 0
            guarded = _guarded(function, failure, raised)
            setattr(self, name, _convention(*prototypes[name])(guarded))

    def __getattr__(self, name: str) -> object:
        return getattr(self._below, name)
