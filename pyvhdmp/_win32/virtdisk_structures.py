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
from typing import Any, ClassVar, Final, Self, TypeAlias

from pyvhdmp._win32.library import BOOL, BYTE, DWORD, PCWSTR, POINTER, CType

Field: TypeAlias = "type[CData] | CType"
CData: TypeAlias = "ctypes.Structure | ctypes.Union | ctypes.Array[Any]"
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


class ULONG64_CELL(ctypes.Structure):
    """Where a function puts a long size: 8 bytes."""

    _fields_: ClassVar[Fields] = [("Value", ULONGLONG)]
    Value: int


class GUID(ctypes.Structure):
    """guiddef.h, 16 bytes, aligned to 4."""

    _fields_: ClassVar[Fields] = [
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", BYTE * 8),
    ]
    Data1: int
    Data2: int
    Data3: int
    Data4: ctypes.Array[ctypes.c_uint8]

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
    UniqueId: GUID
    MaximumSize: int
    BlockSizeInBytes: int
    SectorSizeInBytes: int
    ParentPath: str | None
    SourcePath: str | None


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
    SourceLimitPath: str | None
    BackingStorageType: VIRTUAL_STORAGE_TYPE


class _CreateVersion4(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        *_CREATE_3,
        ("PmemAddressAbstractionType", GUID),
        ("DataAlignment", ULONGLONG),
    ]
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
    SourceLimitPath: str | None
    BackingStorageType: VIRTUAL_STORAGE_TYPE
    PmemAddressAbstractionType: GUID
    DataAlignment: int


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
    Reserved: int


class _AttachVersion2(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("RestrictedOffset", ULONGLONG),
        ("RestrictedLength", ULONGLONG),
    ]
    RestrictedOffset: int
    RestrictedLength: int


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
    ParentLocationBuffer: int


class _PhysicalDisk(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("LogicalSectorSize", ULONG),
        ("PhysicalSectorSize", ULONG),
        ("IsRemote", BOOL),
    ]
    LogicalSectorSize: int
    PhysicalSectorSize: int
    IsRemote: int


class _ChangeTrackingState(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("Enabled", BOOL),
        ("NewerChanges", BOOL),
        ("MostRecentId", WCHAR),  # and as many more as there is room for
    ]
    Enabled: int
    NewerChanges: int
    MostRecentId: int


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
    ParentIdentifier: GUID
    ParentTimestamp: int
    VirtualStorageType: VIRTUAL_STORAGE_TYPE
    ProviderSubtype: int
    Is4kAligned: int
    IsLoaded: int
    PhysicalDisk: _PhysicalDisk
    VhdPhysicalSectorSize: int
    SmallestSafeVirtualSize: int
    FragmentationPercentage: int
    VirtualDiskId: GUID
    ChangeTrackingState: _ChangeTrackingState


PARENT_LOCATION_AT: Final = 12
"""Where the text of a PARENT_LOCATION begins in a GET_VIRTUAL_DISK_INFO."""
MOST_RECENT_ID_AT: Final = 16
"""Where the text of a CHANGE_TRACKING_STATE begins in a GET_VIRTUAL_DISK_INFO."""

INFO_SIZE: Final = ctypes.sizeof(GET_VIRTUAL_DISK_INFO)


class _ParentPathWithDepth(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("ChildDepth", ULONG), ("ParentFilePath", PCWSTR)]
    ChildDepth: int
    ParentFilePath: str | None


class _ParentLocator(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("LinkageId", GUID), ("ParentFilePath", PCWSTR)]
    LinkageId: GUID
    ParentFilePath: str | None


class _NewInfos(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("ParentFilePath", PCWSTR),
        ("UniqueIdentifier", GUID),
        ("ParentPathWithDepthInfo", _ParentPathWithDepth),
        ("VhdPhysicalSectorSize", ULONG),
        ("VirtualDiskId", GUID),
        ("ChangeTrackingEnabled", BOOL),
        ("ParentLocator", _ParentLocator),
    ]


class SET_VIRTUAL_DISK_INFO(ctypes.Structure):
    """virtdisk.h, 32 [24] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("infos",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("infos", _NewInfos)]
    Version: int
    ParentFilePath: str | None
    UniqueIdentifier: GUID
    ParentPathWithDepthInfo: _ParentPathWithDepth
    VhdPhysicalSectorSize: int
    VirtualDiskId: GUID
    ChangeTrackingEnabled: int
    ParentLocator: _ParentLocator


# -- Long operations ----------------------------------------------------------


class VIRTUAL_DISK_PROGRESS(ctypes.Structure):
    """virtdisk.h, 24 bytes."""

    _fields_: ClassVar[Fields] = [
        ("OperationStatus", DWORD),
        ("CurrentValue", ULONGLONG),
        ("CompletionValue", ULONGLONG),
    ]
    OperationStatus: int
    CurrentValue: int
    CompletionValue: int


class _CompactVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("Reserved", ULONG)]
    Reserved: int


class _CompactVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _CompactVersion1)]


class COMPACT_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 8 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _CompactVersions)]
    Version: int
    Version1: _CompactVersion1


class _MergeVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("MergeDepth", ULONG)]
    MergeDepth: int


class _MergeVersion2(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("MergeSourceDepth", ULONG), ("MergeTargetDepth", ULONG)]
    MergeSourceDepth: int
    MergeTargetDepth: int


class _MergeVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _MergeVersion1), ("Version2", _MergeVersion2)]


class MERGE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 12 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _MergeVersions)]
    Version: int
    Version1: _MergeVersion1
    Version2: _MergeVersion2


class _NewSize(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("NewSize", ULONGLONG)]
    NewSize: int


class _NewSizes(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _NewSize)]


class EXPAND_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 16 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _NewSizes)]
    Version: int
    Version1: _NewSize


class RESIZE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 16 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _NewSizes)]
    Version: int
    Version1: _NewSize


class _MirrorVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("MirrorVirtualDiskPath", PCWSTR)]
    MirrorVirtualDiskPath: str | None


class _MirrorVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _MirrorVersion1)]


class MIRROR_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 16 [8] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _MirrorVersions)]
    Version: int
    Version1: _MirrorVersion1


class _ForkVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("ForkedVirtualDiskPath", PCWSTR)]
    ForkedVirtualDiskPath: str | None


class _ForkVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _ForkVersion1)]


class FORK_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 16 [8] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _ForkVersions)]
    Version: int
    Version1: _ForkVersion1


# -- Who depends on whom ------------------------------------------------------


class STORAGE_DEPENDENCY_INFO_TYPE_1(ctypes.Structure):
    """virtdisk.h, 28 bytes."""

    _fields_: ClassVar[Fields] = [
        ("DependencyTypeFlags", ULONG),
        ("ProviderSpecificFlags", ULONG),
        ("VirtualStorageType", VIRTUAL_STORAGE_TYPE),
    ]
    DependencyTypeFlags: int
    ProviderSpecificFlags: int
    VirtualStorageType: VIRTUAL_STORAGE_TYPE


class STORAGE_DEPENDENCY_INFO_TYPE_2(ctypes.Structure):
    """virtdisk.h, 64 [48] bytes.

    The texts (PWSTR in the header) are Windows' to fill in: they lie after the entries, in the
    same memory.
    """

    _fields_: ClassVar[Fields] = [
        *STORAGE_DEPENDENCY_INFO_TYPE_1._fields_,
        ("AncestorLevel", ULONG),
        ("DependencyDeviceName", POINTER),
        ("HostVolumeName", POINTER),
        ("DependentVolumeName", POINTER),
        ("DependentVolumeRelativePath", POINTER),
    ]
    DependencyTypeFlags: int
    ProviderSpecificFlags: int
    VirtualStorageType: VIRTUAL_STORAGE_TYPE
    AncestorLevel: int
    DependencyDeviceName: int
    HostVolumeName: int
    DependentVolumeName: int
    DependentVolumeRelativePath: int


DEPENDENCY_SIZE: Final = ctypes.sizeof(STORAGE_DEPENDENCY_INFO_TYPE_2)


class _Entries(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("Version1Entries", STORAGE_DEPENDENCY_INFO_TYPE_1 * 0),
        ("Version2Entries", STORAGE_DEPENDENCY_INFO_TYPE_2 * 0),
    ]


class STORAGE_DEPENDENCY_INFO(ctypes.Structure):
    """virtdisk.h, 8 bytes, and then NumberEntries entries of the type of its Version.

    The arrays have no length here, as in the header: they say where the entries begin.
    """

    _anonymous_: ClassVar[tuple[str]] = ("entries",)
    _fields_: ClassVar[Fields] = [
        ("Version", ULONG),
        ("NumberEntries", ULONG),
        ("entries", _Entries),
    ]
    Version: int
    NumberEntries: int
    Version1Entries: ctypes.Array[STORAGE_DEPENDENCY_INFO_TYPE_1]
    Version2Entries: ctypes.Array[STORAGE_DEPENDENCY_INFO_TYPE_2]


# -- Changed blocks and VHD sets ----------------------------------------------


class QUERY_CHANGES_VIRTUAL_DISK_RANGE(ctypes.Structure):
    """virtdisk.h, 24 bytes."""

    _fields_: ClassVar[Fields] = [
        ("ByteOffset", ULONGLONG),
        ("ByteLength", ULONGLONG),
        ("Reserved", ULONGLONG),
    ]
    ByteOffset: int
    ByteLength: int
    Reserved: int


class _Snapshot(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("SnapshotId", GUID)]
    SnapshotId: GUID


class _Snapshots(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _Snapshot)]


class TAKE_SNAPSHOT_VHDSET_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 20 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _Snapshots)]
    Version: int
    Version1: _Snapshot


class DELETE_SNAPSHOT_VHDSET_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 20 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _Snapshots)]
    Version: int
    Version1: _Snapshot


class _ApplyVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("SnapshotId", GUID), ("LeafSnapshotId", GUID)]
    SnapshotId: GUID
    LeafSnapshotId: GUID


class _ApplyVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _ApplyVersion1)]


class APPLY_SNAPSHOT_VHDSET_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 36 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _ApplyVersions)]
    Version: int
    Version1: _ApplyVersion1


class _SnapshotPath(ctypes.Structure):
    _fields_: ClassVar[Fields] = [("SnapshotId", GUID), ("SnapshotFilePath", PCWSTR)]
    SnapshotId: GUID
    SnapshotFilePath: str | None


class _Modifications(ctypes.Union):
    _fields_: ClassVar[Fields] = [
        ("SnapshotPath", _SnapshotPath),
        ("SnapshotId", GUID),
        ("DefaultFilePath", PCWSTR),
    ]


class MODIFY_VHDSET_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 32 [24] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("modifications",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("modifications", _Modifications)]
    Version: int
    SnapshotPath: _SnapshotPath
    SnapshotId: GUID
    DefaultFilePath: str | None


# -- SCSI ---------------------------------------------------------------------


class _ScsiVersion1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("RSVDHandle", BOOL),
        ("DataIn", BYTE),
        ("CdbLength", BYTE),
        ("SenseInfoLength", BYTE),
        ("SrbFlags", ULONG),
        ("DataTransferLength", ULONG),
        ("DataBuffer", POINTER),
        ("SenseInfo", POINTER),
        ("Cdb", POINTER),
    ]
    RSVDHandle: int
    DataIn: int
    CdbLength: int
    SenseInfoLength: int
    SrbFlags: int
    DataTransferLength: int
    DataBuffer: int
    SenseInfo: int
    Cdb: int


class _ScsiVersions(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _ScsiVersion1)]


class RAW_SCSI_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    """virtdisk.h, 48 [32] bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _ScsiVersions)]
    Version: int
    Version1: _ScsiVersion1


class _ScsiResponse1(ctypes.Structure):
    _fields_: ClassVar[Fields] = [
        ("ScsiStatus", BYTE),
        ("SenseInfoLength", BYTE),
        ("DataTransferLength", ULONG),
    ]
    ScsiStatus: int
    SenseInfoLength: int
    DataTransferLength: int


class _ScsiResponses(ctypes.Union):
    _fields_: ClassVar[Fields] = [("Version1", _ScsiResponse1)]


class RAW_SCSI_VIRTUAL_DISK_RESPONSE(ctypes.Structure):
    """virtdisk.h, 12 bytes."""

    _anonymous_: ClassVar[tuple[str]] = ("versions",)
    _fields_: ClassVar[Fields] = [("Version", ULONG), ("versions", _ScsiResponses)]
    Version: int
    Version1: _ScsiResponse1
