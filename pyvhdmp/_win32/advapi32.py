"""advapi32.dll: security descriptors, as text tells them.

Source: ConvertStringSecurityDescriptorToSecurityDescriptorW, sddl.h. What it gives out is freed
by LocalFree of kernel32.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from pyvhdmp._win32.library import BOOL, DWORD, PCWSTR, POINTER, DynamicLibrary, Prototype


class Advapi32(Protocol):
    """The function used. It returns FALSE for failure and sets the last error."""

    def ConvertStringSecurityDescriptorToSecurityDescriptorW(
        self, text: str, revision: int, descriptor: int, size: int, /
    ) -> int: ...


PROTOTYPES: Final[dict[str, Prototype]] = {
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": (
        BOOL,
        PCWSTR,
        DWORD,
        POINTER,
        POINTER,
    ),
}


def load_advapi32() -> Advapi32:
    """Return the real advapi32.dll, its functions bound as they are used."""
    return cast("Advapi32", DynamicLibrary("advapi32", PROTOTYPES))
