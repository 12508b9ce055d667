"""virtdisk.dll: creating, opening, attaching and querying virtual disks.

Every function returns a Win32 code, 0 for success, and sets no last error. A handle
that is given out is undefined after a failure. A function that this Windows has not
answers ERROR_CALL_NOT_IMPLEMENTED, so that a failure has one form. The source of each
signature is the function's page in Microsoft's Win32 documentation (virtdisk.h).
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from pyvhdmp._win32 import constants
from pyvhdmp._win32.library import DWORD, PCWSTR, POINTER, DynamicLibrary, Prototype


class Virtdisk(Protocol):
    """The functions used, in Win32 spelling. Pointers and handles are ints."""

    def OpenVirtualDisk(
        self,
        storage_type: int,
        path: str,
        access_mask: int,
        flags: int,
        parameters: int,
        handle: int,
        /,
    ) -> int: ...
    def CreateVirtualDisk(
        self,
        storage_type: int,
        path: str,
        access_mask: int,
        security_descriptor: int,
        flags: int,
        provider_specific_flags: int,
        parameters: int,
        overlapped: int,
        handle: int,
        /,
    ) -> int: ...
    def AttachVirtualDisk(
        self,
        disk: int,
        security_descriptor: int,
        flags: int,
        provider_specific_flags: int,
        parameters: int,
        overlapped: int,
        /,
    ) -> int: ...
    def DetachVirtualDisk(self, disk: int, flags: int, provider_specific_flags: int, /) -> int: ...
    def GetVirtualDiskInformation(
        self, disk: int, size: int, info: int, size_used: int, /
    ) -> int: ...
    def GetVirtualDiskPhysicalPath(self, disk: int, size_in_bytes: int, path: int, /) -> int: ...


PROTOTYPES: Final[dict[str, Prototype]] = {
    "OpenVirtualDisk": (DWORD, POINTER, PCWSTR, DWORD, DWORD, POINTER, POINTER),
    "CreateVirtualDisk": (
        DWORD,
        POINTER,
        PCWSTR,
        DWORD,
        POINTER,
        DWORD,
        DWORD,
        POINTER,
        POINTER,
        POINTER,
    ),
    "AttachVirtualDisk": (DWORD, POINTER, POINTER, DWORD, DWORD, POINTER, POINTER),
    "DetachVirtualDisk": (DWORD, POINTER, DWORD, DWORD),
    "GetVirtualDiskInformation": (DWORD, POINTER, POINTER, POINTER, POINTER),
    "GetVirtualDiskPhysicalPath": (DWORD, POINTER, POINTER, POINTER),
}


def load_virtdisk() -> Virtdisk:
    """Return the real virtdisk.dll, its functions bound as they are used."""
    library = DynamicLibrary("virtdisk", PROTOTYPES, absent=constants.ERROR_CALL_NOT_IMPLEMENTED)
    return cast("Virtdisk", library)
