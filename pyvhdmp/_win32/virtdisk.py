"""virtdisk.dll: everything that Windows does with virtual disks, other than their I/O.

Every function returns a Win32 code, 0 for success, and sets no last error. A handle
that is given out is undefined after a failure. A function that this Windows has not
answers ERROR_CALL_NOT_IMPLEMENTED, so that a failure has one form; `SINCE` tells which
Windows has it. So it does on Wine, which exports more than it has, and ends a process that
calls what it has not. The source of each signature is the function's page in Microsoft's Win32
documentation (virtdisk.h).
"""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable
from typing import Final, Protocol, cast

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.library import DWORD, PCWSTR, POINTER, DynamicLibrary, Prototype
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import (
    GUID,
    HANDLE_CELL,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    VIRTUAL_STORAGE_TYPE,
)

ULONG64 = ctypes.c_uint64


class Virtdisk(Protocol):
    """The functions, in Win32 spelling. Pointers and handles are ints."""

    # -- Opening, attaching -------------------------------------------------------

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

    # -- Asking and setting -------------------------------------------------------

    def GetVirtualDiskPhysicalPath(self, disk: int, size_in_bytes: int, path: int, /) -> int: ...
    def GetAllAttachedVirtualDiskPhysicalPaths(self, size_in_bytes: int, paths: int, /) -> int: ...
    def GetStorageDependencyInformation(
        self, object: int, flags: int, size: int, info: int, size_used: int, /
    ) -> int: ...
    def GetVirtualDiskInformation(
        self, disk: int, size: int, info: int, size_used: int, /
    ) -> int: ...
    def SetVirtualDiskInformation(self, disk: int, info: int, /) -> int: ...
    def EnumerateVirtualDiskMetadata(self, disk: int, count: int, items: int, /) -> int: ...
    def GetVirtualDiskMetadata(self, disk: int, item: int, size: int, data: int, /) -> int: ...
    def SetVirtualDiskMetadata(self, disk: int, item: int, size: int, data: int, /) -> int: ...
    def DeleteVirtualDiskMetadata(self, disk: int, item: int, /) -> int: ...
    def AddVirtualDiskParent(self, disk: int, parent_path: str, /) -> int: ...

    # -- Long operations ----------------------------------------------------------

    def GetVirtualDiskOperationProgress(
        self, disk: int, overlapped: int, progress: int, /
    ) -> int: ...
    def CompactVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def MergeVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def ExpandVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def ResizeVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def MirrorVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def BreakMirrorVirtualDisk(self, disk: int, /) -> int: ...
    def ForkVirtualDisk(
        self, disk: int, flags: int, parameters: int, overlapped: int, /
    ) -> int: ...
    def CompleteForkVirtualDisk(self, disk: int, /) -> int: ...

    # -- Changed blocks, VHD sets, SCSI -------------------------------------------

    def QueryChangesVirtualDisk(
        self,
        disk: int,
        change_tracking_id: str,
        offset: int,
        length: int,
        flags: int,
        ranges: int,
        count: int,
        processed: int,
        /,
    ) -> int: ...
    def TakeSnapshotVhdSet(self, disk: int, parameters: int, flags: int, /) -> int: ...
    def DeleteSnapshotVhdSet(self, disk: int, parameters: int, flags: int, /) -> int: ...
    def ModifyVhdSet(self, disk: int, parameters: int, flags: int, /) -> int: ...
    def ApplySnapshotVhdSet(self, disk: int, parameters: int, flags: int, /) -> int: ...
    def RawSCSIVirtualDisk(
        self, disk: int, parameters: int, flags: int, response: int, /
    ) -> int: ...


_LONG_OPERATION: Final[Prototype] = (DWORD, POINTER, DWORD, POINTER, POINTER)
_OF_A_SET: Final[Prototype] = (DWORD, POINTER, POINTER, DWORD)

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
    "GetVirtualDiskPhysicalPath": (DWORD, POINTER, POINTER, POINTER),
    "GetAllAttachedVirtualDiskPhysicalPaths": (DWORD, POINTER, POINTER),
    "GetStorageDependencyInformation": (DWORD, POINTER, DWORD, DWORD, POINTER, POINTER),
    "GetVirtualDiskInformation": (DWORD, POINTER, POINTER, POINTER, POINTER),
    "SetVirtualDiskInformation": (DWORD, POINTER, POINTER),
    "EnumerateVirtualDiskMetadata": (DWORD, POINTER, POINTER, POINTER),
    "GetVirtualDiskMetadata": (DWORD, POINTER, POINTER, POINTER, POINTER),
    "SetVirtualDiskMetadata": (DWORD, POINTER, POINTER, DWORD, POINTER),
    "DeleteVirtualDiskMetadata": (DWORD, POINTER, POINTER),
    "AddVirtualDiskParent": (DWORD, POINTER, PCWSTR),
    "GetVirtualDiskOperationProgress": (DWORD, POINTER, POINTER, POINTER),
    "CompactVirtualDisk": _LONG_OPERATION,
    "MergeVirtualDisk": _LONG_OPERATION,
    "ExpandVirtualDisk": _LONG_OPERATION,
    "ResizeVirtualDisk": _LONG_OPERATION,
    "MirrorVirtualDisk": _LONG_OPERATION,
    "BreakMirrorVirtualDisk": (DWORD, POINTER),
    "ForkVirtualDisk": _LONG_OPERATION,
    "CompleteForkVirtualDisk": (DWORD, POINTER),
    "QueryChangesVirtualDisk": (
        DWORD,
        POINTER,
        PCWSTR,
        ULONG64,
        ULONG64,
        DWORD,
        POINTER,
        POINTER,
        POINTER,
    ),
    "TakeSnapshotVhdSet": _OF_A_SET,
    "DeleteSnapshotVhdSet": _OF_A_SET,
    "ModifyVhdSet": _OF_A_SET,
    "ApplySnapshotVhdSet": _OF_A_SET,
    "RawSCSIVirtualDisk": (DWORD, POINTER, POINTER, DWORD, POINTER),
}

_WINDOWS_7: Final = (
    "OpenVirtualDisk",
    "CreateVirtualDisk",
    "AttachVirtualDisk",
    "DetachVirtualDisk",
    "GetVirtualDiskPhysicalPath",
    "GetAllAttachedVirtualDiskPhysicalPaths",
    "GetStorageDependencyInformation",
    "GetVirtualDiskInformation",
    "SetVirtualDiskInformation",
    "GetVirtualDiskOperationProgress",
    "CompactVirtualDisk",
    "MergeVirtualDisk",
    "ExpandVirtualDisk",
)
_WINDOWS_8: Final = (
    "EnumerateVirtualDiskMetadata",
    "GetVirtualDiskMetadata",
    "SetVirtualDiskMetadata",
    "DeleteVirtualDiskMetadata",
    "ResizeVirtualDisk",
    "MirrorVirtualDisk",
    "BreakMirrorVirtualDisk",
    "AddVirtualDiskParent",
)
_WINDOWS_10: Final = (
    "QueryChangesVirtualDisk",
    "TakeSnapshotVhdSet",
    "DeleteSnapshotVhdSet",
    "ModifyVhdSet",
    "ApplySnapshotVhdSet",
    "RawSCSIVirtualDisk",
)
_WINDOWS_10_1809: Final = ("ForkVirtualDisk", "CompleteForkVirtualDisk")

SINCE: Final[dict[str, str]] = (
    dict.fromkeys(_WINDOWS_7, "Windows 7")
    | dict.fromkeys(_WINDOWS_8, "Windows 8")
    | dict.fromkeys(_WINDOWS_10, "Windows 10")
    | dict.fromkeys(_WINDOWS_10_1809, "Windows 10, version 1809")
)
"""The Windows that brought each function: the header's condition for declaring it."""


_WITHOUT_A_HANDLE: Final = ("CreateVirtualDisk", "GetAllAttachedVirtualDiskPhysicalPaths")
"""What Wine has not, and can be called with nothing that it has given out before."""
_NO_DRIVER: Final = (
    constants.ERROR_INVALID_FUNCTION,
    constants.ERROR_NOT_SUPPORTED,
    constants.ERROR_INVALID_PARAMETER,
    constants.ERROR_CALL_NOT_IMPLEMENTED,
)


class _RealVirtdisk(DynamicLibrary):
    """The DLL of this Windows, or of Wine."""

    def _find(self, function: str, prototype: Prototype) -> Callable[..., int]:
        if function in _WITHOUT_A_HANDLE and not self._opens_disks():
            raise AttributeError(f"{function} is exported, and that is all")
        return super()._find(function, prototype)

    def _opens_disks(self) -> bool:
        """Whether OpenVirtualDisk, which Wine has, takes what it is given: a disk that is not."""
        vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
        kind = VIRTUAL_STORAGE_TYPE(enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX, vendor)
        parameters = OPEN_VIRTUAL_DISK_PARAMETERS(Version=2)
        handle = HANDLE_CELL()
        code = self.OpenVirtualDisk(
            address_of(kind),
            f"C:\\{uuid.uuid4()}.vhdx",
            enums.VIRTUAL_DISK_ACCESS.NONE,
            enums.OPEN_VIRTUAL_DISK_FLAG.NONE,
            address_of(parameters),
            address_of(handle),
        )
        return code not in _NO_DRIVER


def load_virtdisk() -> Virtdisk:
    """Return the real virtdisk.dll, its functions bound as they are used."""
    library = _RealVirtdisk("virtdisk", PROTOTYPES, absent=constants.ERROR_CALL_NOT_IMPLEMENTED)
    return cast("Virtdisk", library)
