"""ntdll.dll: what has no Win32 counterpart.

Sources: NtFlushBuffersFileEx and NtQueryInformationFile in the Windows driver
documentation (ntifs.h), RtlNtStatusToDosError in winternl.h.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from pyvhdmp._win32.library import DWORD, NTSTATUS, POINTER, DynamicLibrary, Prototype


class Ntdll(Protocol):
    """The functions used. Those named Nt return an NTSTATUS and set no last error."""

    def NtFlushBuffersFileEx(
        self, file: int, flags: int, parameters: int, parameters_size: int, io_status: int, /
    ) -> int: ...
    def NtQueryInformationFile(
        self, file: int, io_status: int, information: int, length: int, information_class: int, /
    ) -> int: ...
    def RtlNtStatusToDosError(self, status: int, /) -> int: ...


PROTOTYPES: Final[dict[str, Prototype]] = {
    "NtFlushBuffersFileEx": (NTSTATUS, POINTER, DWORD, POINTER, DWORD, POINTER),
    "NtQueryInformationFile": (NTSTATUS, POINTER, POINTER, POINTER, DWORD, DWORD),
    "RtlNtStatusToDosError": (DWORD, NTSTATUS),
}


def load_ntdll() -> Ntdll:
    """Return the real ntdll.dll, its functions bound as they are used."""
    return cast("Ntdll", DynamicLibrary("ntdll", PROTOTYPES))
