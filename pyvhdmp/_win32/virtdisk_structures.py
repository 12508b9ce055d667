"""virtdisk.h's structures, as ctypes states layouts.

Rules:

1. A structure is filled by its fields and handed over by `memory.address_of`. Whoever
   made it keeps it until the call has returned.
2. A PCWSTR field keeps the str that it is given, so that lives as long as the structure.
3. A BOOL and an enum are four bytes. What Windows writes as WCHARs is UTF-16-LE, on
   every system (`memory.wide_text`), so it is declared as 16-bit numbers.

Sizes are given for 64-bit [32-bit].
"""

from __future__ import annotations

import ctypes
import uuid
from typing import ClassVar, Final, Self, TypeAlias

from pyvhdmp._win32.library import BOOL, BYTE, DWORD, PCWSTR, POINTER, CType

Field: TypeAlias = "type[CData] | CType"
CData: TypeAlias = "ctypes.Structure | ctypes.Union | ctypes.Array[ctypes.c_uint8]"
Fields: TypeAlias = list[tuple[str, Field]]

ULONG = DWORD
ULONGLONG = ctypes.c_uint64
WCHAR = ctypes.c_uint16


class HANDLE_CELL(ctypes.Structure):
    """Where a function puts the handle that it gives out: 8 [4] bytes."""

    _fields_: ClassVar[Fields] = [("Value", POINTER)]
    Value: int


class ULONG_CELL(ctypes.Structure):
    """Where a function reads and writes a size: 4 bytes."""

    _fields_: ClassVar[Fields] = [("Value", ULONG)]
    Value: int


class GUID(ctypes.Structure):
    """guiddef.h, 16 bytes, aligned to 4."""

    _fields_: ClassVar[Fields] = [
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", BYTE * 8),
    ]

    @classmethod
    def of(cls, value: uuid.UUID) -> Self:
        """Return the GUID that is written the same way as `value`."""
        return cls.from_buffer_copy(value.bytes_le)

    def uuid(self) -> uuid.UUID:
        """Return the UUID that is written the same way as this GUID."""
        return uuid.UUID(bytes_le=bytes(self))


class VIRTUAL_STORAGE_TYPE(ctypes.Structure):
    """virtdisk.h, 20 bytes: which format, and whose."""

    _fields_: ClassVar[Fields] = [("DeviceId", ULONG), ("VendorId", GUID)]
    DeviceId: int
    VendorId: GUID


class _OpenVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("RWDepth", ULONG)]
    RWDepth: int


class _OpenVersion2(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("GetInfoOnly", BOOL),
        ("ReadOnly", BOOL),
        ("ResiliencyGuid", GUID),
    ]
    GetInfoOnly: int
    ReadOnly: int
    ResiliencyGuid: GUID


class _OpenVersion3(ctypes.Structure):
    _fields_: ClassVar[Fields] = [*_OpenVersion2._fields_, ("SnapshotId", GUID)]
    GetInfoOnly: int
    ReadOnly: int
    ResiliencyGuid: GUID
    SnapshotId: GUID


class _OpenVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("Version1", _OpenVersion1),
        ("Version2", _OpenVersion2),
        ("Version3", _OpenVersion3),
    ]


class OPEN_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 44 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _OpenVersions)]
    Version: int
    Version1: _OpenVersion1
    Version2: _OpenVersion2
    Version3: _OpenVersion3


_CREATE: Final[Fields] = [
    ("UniqueId", GUID),
    ("MaximumSize", ULONGLONG),
    ("BlockSizeInBytes", ULONG),
    ("SectorSizeInBytes", ULONG),
]
_CREATE_2: Final[Fields] = [
    *_CREATE,
    ("PhysicalSectorSizeInBytes", ULONG),
    ("ParentPath", PCWSTR),
    ("SourcePath", PCWSTR),
    ("OpenFlags", ULONG),
    ("ParentVirtualStorageType", VIRTUAL_STORAGE_TYPE),
    ("SourceVirtualStorageType", VIRTUAL_STORAGE_TYPE),
    ("ResiliencyGuid", GUID),
]
_CREATE_3: Final[Fields] = [
    *_CREATE_2,
    ("SourceLimitPath", PCWSTR),
    ("BackingStorageType", VIRTUAL_STORAGE_TYPE),
]


class _CreateVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [*_CREATE, ("ParentPath", PCWSTR), ("SourcePath", PCWSTR)]


class _CreateVersion2(ctypes.Structure):
    _fields_: ClassVar[Fields] = _CREATE_2
    UniqueId: GUID
    MaximumSize: int
    BlockSizeInBytes: int
    SectorSizeInBytes: int
    PhysicalSectorSizeInBytes: int
    ParentPath: str | None
    SourcePath: str | None
    OpenFlags: int
    ParentVirtualStorageType: VIRTUAL_STORAGE_TYPE
    SourceVirtualStorageType: VIRTUAL_STORAGE_TYPE
    ResiliencyGuid: GUID


class _CreateVersion3(ctypes.Structure):
    _fields_: ClassVar[Fields] = _CREATE_3


class _CreateVersion4(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        *_CREATE_3,
        ("PmemAddressAbstractionType", GUID),
        ("DataAlignment", ULONGLONG),
    ]


class _CreateVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("Version1", _CreateVersion1),
        ("Version2", _CreateVersion2),
        ("Version3", _CreateVersion3),
        ("Version4", _CreateVersion4),
    ]


class CREATE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 184 [160] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _CreateVersions)]
    Version: int
    Version1: _CreateVersion1
    Version2: _CreateVersion2
    Version3: _CreateVersion3
    Version4: _CreateVersion4


class _AttachVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("Reserved", ULONG)]


class _AttachVersion2(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("RestrictedOffset", ULONGLONG),
        ("RestrictedLength", ULONGLONG),
    ]


class _AttachVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _AttachVersion1), ("Version2", _AttachVersion2)]


class ATTACH_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 24 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _AttachVersions)]
    Version: int
    Version1: _AttachVersion1
    Version2: _AttachVersion2


class _Size(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("VirtualSize", ULONGLONG),
        ("PhysicalSize", ULONGLONG),
        ("BlockSize", ULONG),
        ("SectorSize", ULONG),
    ]
    VirtualSize: int
    PhysicalSize: int
    BlockSize: int
    SectorSize: int


class _ParentLocation(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("ParentResolved", BOOL),
        ("ParentLocationBuffer", WCHAR),  # and as many more as there is room for
    ]
    ParentResolved: int


class _PhysicalDisk(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("LogicalSectorSize", ULONG),
        ("PhysicalSectorSize", ULONG),
        ("IsRemote", BOOL),
    ]


class _ChangeTrackingState(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("Enabled", BOOL),
        ("NewerChanges", BOOL),
        ("MostRecentId", WCHAR),  # and as many more as there is room for
    ]


class _Infos(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("Size", _Size),
        ("Identifier", GUID),
        ("ParentLocation", _ParentLocation),
        ("ParentIdentifier", GUID),
        ("ParentTimestamp", ULONG),
        ("VirtualStorageType", VIRTUAL_STORAGE_TYPE),
        ("ProviderSubtype", ULONG),
        ("Is4kAligned", BOOL),
        ("IsLoaded", BOOL),
        ("PhysicalDisk", _PhysicalDisk),
        ("VhdPhysicalSectorSize", ULONG),
        ("SmallestSafeVirtualSize", ULONGLONG),
        ("FragmentationPercentage", ULONG),
        ("VirtualDiskId", GUID),
        ("ChangeTrackingState", _ChangeTrackingState),
    ]


class GET_VIRTUAL_DISK_INFO(ctypes.Structure):
    """virtdisk.h, 32 bytes, and more where a text follows."""

    _anonymous_: ClassVar[tuple[str]] = ("infos",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("infos", _Infos)]
    Version: int
    Size: _Size
    Identifier: GUID
    ParentLocation: _ParentLocation
    VirtualStorageType: VIRTUAL_STORAGE_TYPE
    ProviderSubtype: int
    VhdPhysicalSectorSize: int
    VirtualDiskId: GUID


PARENT_LOCATION_AT: Final = 12
"""Where the text of a PARENT_LOCATION begins in a GET_VIRTUAL_DISK_INFO."""

INFO_SIZE: Final = ctypes.sizeof(GET_VIRTUAL_DISK_INFO)
