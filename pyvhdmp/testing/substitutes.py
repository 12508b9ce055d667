"""Single functions in the place of Windows' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from pyvhdmp import _win32
from pyvhdmp.completion import CompletionPort
from pyvhdmp.testing.convention import Failures, c_function

__all__ = ["substituted"]


@contextmanager
def substituted(
    *,
    kernel32: Mapping[str, Callable[..., int]] | None = None,
    ntdll: Mapping[str, Callable[..., int]] | None = None,
    virtdisk: Mapping[str, Callable[..., int]] | None = None,
    advapi32: Mapping[str, Callable[..., int]] | None = None,
) -> Iterator[None]:
    """Put functions in the place of Windows' own for the length of a with block.

    The keys are Win32 names. Functions that are not named stay what they are: the
    real ones, or those of an enclosing block. Raises `ValueError` for an unknown name.
    """
    below = _win32.current() if _win32.is_available() else None
    raised: Failures = []
    windows = _win32.Windows(
        cast(
            _win32.Kernel32,
            _StandIn("kernel32", below and below.kernel32, kernel32 or {}, raised),
        ),
        cast(_win32.Ntdll, _StandIn("ntdll", below and below.ntdll, ntdll or {}, raised)),
        cast(
            _win32.Virtdisk,
            _StandIn("virtdisk", below and below.virtdisk, virtdisk or {}, raised),
        ),
        cast(
            _win32.Advapi32,
            _StandIn("advapi32", below and below.advapi32, advapi32 or {}, raised),
        ),
    )
    default = CompletionPort._default
    try:
        with _win32.installed(windows):
            yield
    finally:
        CompletionPort._default = default  # one made in the block ends when nobody uses it
    if raised:
        raise raised[0]


class _StandIn:
    """A DLL some of whose functions are others."""

    def __init__(
        self,
        dll: str,
        below: object,
        functions: Mapping[str, Callable[..., int]],
        raised: Failures,
    ) -> None:
        self._below = below
        for name, function in functions.items():
            setattr(self, name, c_function(dll, name, function, raised))

    def __getattr__(self, name: str) -> object:
        return getattr(self._below, name)
