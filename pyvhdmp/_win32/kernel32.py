"""kernel32.dll: files, completion ports, overlapped I/O, events.

The source of each signature is the function's page in Microsoft's Win32
documentation (fileapi.h, ioapiset.h, winbase.h, handleapi.h, synchapi.h).
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from pyvhdmp._win32.library import BOOL, DWORD, PCWSTR, POINTER, DynamicLibrary, Prototype


class Kernel32(Protocol):
    """The functions used, in Win32 spelling. Pointers and handles are ints.

    A BOOL result of 0 is a failure, and `get_last_error` then has the code.
    """

    def CreateFileW(
        self,
        name: str,
        access: int,
        share_mode: int,
        security_attributes: int,
        creation_disposition: int,
        flags_and_attributes: int,
        template: int,
        /,
    ) -> int: ...
    def CloseHandle(self, handle: int, /) -> int: ...
    def DeleteFileW(self, name: str, /) -> int: ...
    def MoveFileExW(self, existing: str, new: str, flags: int, /) -> int: ...
    def GetFileAttributesW(self, name: str, /) -> int: ...
    def FindFirstFileW(self, name: str, data: int, /) -> int: ...
    def FindNextFileW(self, search: int, data: int, /) -> int: ...
    def FindClose(self, search: int, /) -> int: ...
    def GetFullPathNameW(self, name: str, length: int, path: int, file_part: int, /) -> int: ...
    def GetFileSizeEx(self, file: int, size: int, /) -> int: ...
    def SetFileInformationByHandle(
        self, file: int, information_class: int, information: int, size: int, /
    ) -> int: ...

    def CreateIoCompletionPort(self, file: int, port: int, key: int, threads: int, /) -> int: ...
    def SetFileCompletionNotificationModes(self, file: int, flags: int, /) -> int: ...
    def GetQueuedCompletionStatusEx(
        self,
        port: int,
        entries: int,
        count: int,
        removed: int,
        milliseconds: int,
        alertable: int,
        /,
    ) -> int: ...
    def PostQueuedCompletionStatus(
        self, port: int, transferred: int, key: int, overlapped: int, /
    ) -> int: ...

    def ReadFile(
        self, file: int, buffer: int, length: int, transferred: int, overlapped: int, /
    ) -> int: ...
    def WriteFile(
        self, file: int, buffer: int, length: int, transferred: int, overlapped: int, /
    ) -> int: ...
    def ReadFileScatter(
        self, file: int, segments: int, length: int, reserved: int, overlapped: int, /
    ) -> int: ...
    def WriteFileGather(
        self, file: int, segments: int, length: int, reserved: int, overlapped: int, /
    ) -> int: ...
    def DeviceIoControl(
        self,
        device: int,
        code: int,
        input: int,
        input_length: int,
        output: int,
        output_length: int,
        returned: int,
        overlapped: int,
        /,
    ) -> int: ...
    def CancelIoEx(self, file: int, overlapped: int, /) -> int: ...
    def GetOverlappedResult(
        self, file: int, overlapped: int, transferred: int, wait: int, /
    ) -> int: ...

    def CreateEventW(
        self, security_attributes: int, manual_reset: int, initial_state: int, name: int, /
    ) -> int: ...
    def WaitForSingleObject(self, object: int, milliseconds: int, /) -> int: ...
    def LocalFree(self, memory: int, /) -> int: ...


PROTOTYPES: Final[dict[str, Prototype]] = {
    "CreateFileW": (POINTER, PCWSTR, DWORD, DWORD, POINTER, DWORD, DWORD, POINTER),
    "CloseHandle": (BOOL, POINTER),
    "DeleteFileW": (BOOL, PCWSTR),
    "MoveFileExW": (BOOL, PCWSTR, PCWSTR, DWORD),
    "GetFileAttributesW": (DWORD, PCWSTR),
    "FindFirstFileW": (POINTER, PCWSTR, POINTER),
    "FindNextFileW": (BOOL, POINTER, POINTER),
    "FindClose": (BOOL, POINTER),
    "GetFullPathNameW": (DWORD, PCWSTR, DWORD, POINTER, POINTER),
    "GetFileSizeEx": (BOOL, POINTER, POINTER),
    "SetFileInformationByHandle": (BOOL, POINTER, DWORD, POINTER, DWORD),
    "CreateIoCompletionPort": (POINTER, POINTER, POINTER, POINTER, DWORD),
    "SetFileCompletionNotificationModes": (BOOL, POINTER, DWORD),
    "GetQueuedCompletionStatusEx": (BOOL, POINTER, POINTER, DWORD, POINTER, DWORD, BOOL),
    "PostQueuedCompletionStatus": (BOOL, POINTER, DWORD, POINTER, POINTER),
    "ReadFile": (BOOL, POINTER, POINTER, DWORD, POINTER, POINTER),
    "WriteFile": (BOOL, POINTER, POINTER, DWORD, POINTER, POINTER),
    "ReadFileScatter": (BOOL, POINTER, POINTER, DWORD, POINTER, POINTER),
    "WriteFileGather": (BOOL, POINTER, POINTER, DWORD, POINTER, POINTER),
    "DeviceIoControl": (BOOL, POINTER, DWORD, POINTER, DWORD, POINTER, DWORD, POINTER, POINTER),
    "CancelIoEx": (BOOL, POINTER, POINTER),
    "GetOverlappedResult": (BOOL, POINTER, POINTER, POINTER, BOOL),
    "CreateEventW": (POINTER, POINTER, BOOL, BOOL, POINTER),
    "WaitForSingleObject": (DWORD, POINTER, DWORD),
    "LocalFree": (POINTER, POINTER),
}


def load_kernel32() -> Kernel32:
    """Return the real kernel32.dll, its functions bound as they are used."""
    return cast("Kernel32", DynamicLibrary("kernel32", PROTOTYPES))
