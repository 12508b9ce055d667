"""What the Windows SDK's virtdisk.h says (and of guiddef.h, GUID), copied as numbers.

Everything here is checked twice: pyvhdmp's own declarations against it, on every machine, and
it against the header of mingw-w64, by a C compiler. None of it is computed from pyvhdmp.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Extent(NamedTuple):
    """Of a structure its size and alignment, of a field its offset and size."""

    first: int
    second: int


class Row(NamedTuple):
    """One line of `LAYOUTS`."""

    structure: str
    field: str
    """The way to it from the outermost structure, or "" for the structure itself."""
    extents: dict[int, Extent]
    """By the size of a pointer: 8 and 4."""


# A structure with its size and alignment, on 64-bit and on 32-bit Windows. Below it each of its
# fields with offset and size, on either; those of an unnamed union as if they were its own.
_LAYOUTS: Final = """
GUID                                              16   4    16   4
    Data1                                          0   4     0   4
    Data2                                          4   2     4   2
    Data3                                          6   2     6   2
    Data4                                          8   8     8   8
VIRTUAL_STORAGE_TYPE                              20   4    20   4
    DeviceId                                       0   4     0   4
    VendorId                                       4  16     4  16
OPEN_VIRTUAL_DISK_PARAMETERS                      44   4    44   4
    Version                                        0   4     0   4
    Version1                                       4   4     4   4
    Version1.RWDepth                               4   4     4   4
    Version2                                       4  24     4  24
    Version2.GetInfoOnly                           4   4     4   4
    Version2.ReadOnly                              8   4     8   4
    Version2.ResiliencyGuid                       12  16    12  16
    Version3                                       4  40     4  40
    Version3.GetInfoOnly                           4   4     4   4
    Version3.ReadOnly                              8   4     8   4
    Version3.ResiliencyGuid                       12  16    12  16
    Version3.SnapshotId                           28  16    28  16
CREATE_VIRTUAL_DISK_PARAMETERS                   184   8   160   8
    Version                                        0   4     0   4
    Version1                                       8  48     8  40
    Version1.UniqueId                              8  16     8  16
    Version1.MaximumSize                          24   8    24   8
    Version1.BlockSizeInBytes                     32   4    32   4
    Version1.SectorSizeInBytes                    36   4    36   4
    Version1.ParentPath                           40   8    40   4
    Version1.SourcePath                           48   8    44   4
    Version2                                       8 120     8 104
    Version2.UniqueId                              8  16     8  16
    Version2.MaximumSize                          24   8    24   8
    Version2.BlockSizeInBytes                     32   4    32   4
    Version2.SectorSizeInBytes                    36   4    36   4
    Version2.PhysicalSectorSizeInBytes            40   4    40   4
    Version2.ParentPath                           48   8    44   4
    Version2.SourcePath                           56   8    48   4
    Version2.OpenFlags                            64   4    52   4
    Version2.ParentVirtualStorageType             68  20    56  20
    Version2.SourceVirtualStorageType             88  20    76  20
    Version2.ResiliencyGuid                      108  16    96  16
    Version3                                       8 152     8 128
    Version3.UniqueId                              8  16     8  16
    Version3.MaximumSize                          24   8    24   8
    Version3.BlockSizeInBytes                     32   4    32   4
    Version3.SectorSizeInBytes                    36   4    36   4
    Version3.PhysicalSectorSizeInBytes            40   4    40   4
    Version3.ParentPath                           48   8    44   4
    Version3.SourcePath                           56   8    48   4
    Version3.OpenFlags                            64   4    52   4
    Version3.ParentVirtualStorageType             68  20    56  20
    Version3.SourceVirtualStorageType             88  20    76  20
    Version3.ResiliencyGuid                      108  16    96  16
    Version3.SourceLimitPath                     128   8   112   4
    Version3.BackingStorageType                  136  20   116  20
    Version4                                       8 176     8 152
    Version4.UniqueId                              8  16     8  16
    Version4.MaximumSize                          24   8    24   8
    Version4.BlockSizeInBytes                     32   4    32   4
    Version4.SectorSizeInBytes                    36   4    36   4
    Version4.PhysicalSectorSizeInBytes            40   4    40   4
    Version4.ParentPath                           48   8    44   4
    Version4.SourcePath                           56   8    48   4
    Version4.OpenFlags                            64   4    52   4
    Version4.ParentVirtualStorageType             68  20    56  20
    Version4.SourceVirtualStorageType             88  20    76  20
    Version4.ResiliencyGuid                      108  16    96  16
    Version4.SourceLimitPath                     128   8   112   4
    Version4.BackingStorageType                  136  20   116  20
    Version4.PmemAddressAbstractionType          156  16   136  16
    Version4.DataAlignment                       176   8   152   8
ATTACH_VIRTUAL_DISK_PARAMETERS                    24   8    24   8
    Version                                        0   4     0   4
    Version1                                       8   4     8   4
    Version1.Reserved                              8   4     8   4
    Version2                                       8  16     8  16
    Version2.RestrictedOffset                      8   8     8   8
    Version2.RestrictedLength                     16   8    16   8
STORAGE_DEPENDENCY_INFO_TYPE_1                    28   4    28   4
    DependencyTypeFlags                            0   4     0   4
    ProviderSpecificFlags                          4   4     4   4
    VirtualStorageType                             8  20     8  20
STORAGE_DEPENDENCY_INFO_TYPE_2                    64   8    48   4
    DependencyTypeFlags                            0   4     0   4
    ProviderSpecificFlags                          4   4     4   4
    VirtualStorageType                             8  20     8  20
    AncestorLevel                                 28   4    28   4
    DependencyDeviceName                          32   8    32   4
    HostVolumeName                                40   8    36   4
    DependentVolumeName                           48   8    40   4
    DependentVolumeRelativePath                   56   8    44   4
STORAGE_DEPENDENCY_INFO                            8   8     8   4
    Version                                        0   4     0   4
    NumberEntries                                  4   4     4   4
    Version1Entries                                8   0     8   0
    Version2Entries                                8   0     8   0
GET_VIRTUAL_DISK_INFO                             32   8    32   8
    Version                                        0   4     0   4
    Size                                           8  24     8  24
    Size.VirtualSize                               8   8     8   8
    Size.PhysicalSize                             16   8    16   8
    Size.BlockSize                                24   4    24   4
    Size.SectorSize                               28   4    28   4
    Identifier                                     8  16     8  16
    ParentLocation                                 8   8     8   8
    ParentLocation.ParentResolved                  8   4     8   4
    ParentLocation.ParentLocationBuffer           12   2    12   2
    ParentIdentifier                               8  16     8  16
    ParentTimestamp                                8   4     8   4
    VirtualStorageType                             8  20     8  20
    ProviderSubtype                                8   4     8   4
    Is4kAligned                                    8   4     8   4
    IsLoaded                                       8   4     8   4
    PhysicalDisk                                   8  12     8  12
    PhysicalDisk.LogicalSectorSize                 8   4     8   4
    PhysicalDisk.PhysicalSectorSize               12   4    12   4
    PhysicalDisk.IsRemote                         16   4    16   4
    VhdPhysicalSectorSize                          8   4     8   4
    SmallestSafeVirtualSize                        8   8     8   8
    FragmentationPercentage                        8   4     8   4
    VirtualDiskId                                  8  16     8  16
    ChangeTrackingState                            8  12     8  12
    ChangeTrackingState.Enabled                    8   4     8   4
    ChangeTrackingState.NewerChanges              12   4    12   4
    ChangeTrackingState.MostRecentId              16   2    16   2
SET_VIRTUAL_DISK_INFO                             32   8    24   4
    Version                                        0   4     0   4
    ParentFilePath                                 8   8     4   4
    UniqueIdentifier                               8  16     4  16
    ParentPathWithDepthInfo                        8  16     4   8
    ParentPathWithDepthInfo.ChildDepth             8   4     4   4
    ParentPathWithDepthInfo.ParentFilePath        16   8     8   4
    VhdPhysicalSectorSize                          8   4     4   4
    VirtualDiskId                                  8  16     4  16
    ChangeTrackingEnabled                          8   4     4   4
    ParentLocator                                  8  24     4  20
    ParentLocator.LinkageId                        8  16     4  16
    ParentLocator.ParentFilePath                  24   8    20   4
VIRTUAL_DISK_PROGRESS                             24   8    24   8
    OperationStatus                                0   4     0   4
    CurrentValue                                   8   8     8   8
    CompletionValue                               16   8    16   8
COMPACT_VIRTUAL_DISK_PARAMETERS                    8   4     8   4
    Version                                        0   4     0   4
    Version1                                       4   4     4   4
    Version1.Reserved                              4   4     4   4
MERGE_VIRTUAL_DISK_PARAMETERS                     12   4    12   4
    Version                                        0   4     0   4
    Version1                                       4   4     4   4
    Version1.MergeDepth                            4   4     4   4
    Version2                                       4   8     4   8
    Version2.MergeSourceDepth                      4   4     4   4
    Version2.MergeTargetDepth                      8   4     8   4
EXPAND_VIRTUAL_DISK_PARAMETERS                    16   8    16   8
    Version                                        0   4     0   4
    Version1                                       8   8     8   8
    Version1.NewSize                               8   8     8   8
RESIZE_VIRTUAL_DISK_PARAMETERS                    16   8    16   8
    Version                                        0   4     0   4
    Version1                                       8   8     8   8
    Version1.NewSize                               8   8     8   8
MIRROR_VIRTUAL_DISK_PARAMETERS                    16   8     8   4
    Version                                        0   4     0   4
    Version1                                       8   8     4   4
    Version1.MirrorVirtualDiskPath                 8   8     4   4
QUERY_CHANGES_VIRTUAL_DISK_RANGE                  24   8    24   8
    ByteOffset                                     0   8     0   8
    ByteLength                                     8   8     8   8
    Reserved                                      16   8    16   8
TAKE_SNAPSHOT_VHDSET_PARAMETERS                   20   4    20   4
    Version                                        0   4     0   4
    Version1                                       4  16     4  16
    Version1.SnapshotId                            4  16     4  16
DELETE_SNAPSHOT_VHDSET_PARAMETERS                 20   4    20   4
    Version                                        0   4     0   4
    Version1                                       4  16     4  16
    Version1.SnapshotId                            4  16     4  16
MODIFY_VHDSET_PARAMETERS                          32   8    24   4
    Version                                        0   4     0   4
    SnapshotPath                                   8  24     4  20
    SnapshotPath.SnapshotId                        8  16     4  16
    SnapshotPath.SnapshotFilePath                 24   8    20   4
    SnapshotId                                     8  16     4  16
    DefaultFilePath                                8   8     4   4
APPLY_SNAPSHOT_VHDSET_PARAMETERS                  36   4    36   4
    Version                                        0   4     0   4
    Version1                                       4  32     4  32
    Version1.SnapshotId                            4  16     4  16
    Version1.LeafSnapshotId                       20  16    20  16
RAW_SCSI_VIRTUAL_DISK_PARAMETERS                  48   8    32   4
    Version                                        0   4     0   4
    Version1                                       8  40     4  28
    Version1.RSVDHandle                            8   4     4   4
    Version1.DataIn                               12   1     8   1
    Version1.CdbLength                            13   1     9   1
    Version1.SenseInfoLength                      14   1    10   1
    Version1.SrbFlags                             16   4    12   4
    Version1.DataTransferLength                   20   4    16   4
    Version1.DataBuffer                           24   8    20   4
    Version1.SenseInfo                            32   8    24   4
    Version1.Cdb                                  40   8    28   4
RAW_SCSI_VIRTUAL_DISK_RESPONSE                    12   4    12   4
    Version                                        0   4     0   4
    Version1                                       4   8     4   8
    Version1.ScsiStatus                            4   1     4   1
    Version1.SenseInfoLength                       5   1     5   1
    Version1.DataTransferLength                    8   4     8   4
FORK_VIRTUAL_DISK_PARAMETERS                      16   8     8   4
    Version                                        0   4     0   4
    Version1                                       8   8     4   4
    Version1.ForkedVirtualDiskPath                 8   8     4   4
"""


def _rows() -> list[Row]:
    rows = []
    structure = ""
    for line in _LAYOUTS.strip("\n").splitlines():
        name, *numbers = line.split()
        on_64, size_64, on_32, size_32 = map(int, numbers)
        extents = {8: Extent(on_64, size_64), 4: Extent(on_32, size_32)}
        if not line.startswith(" "):
            structure, name = name, ""
        rows.append(Row(structure, name, extents))
    return rows


LAYOUTS: Final = _rows()

# An enumeration, and below it each of its constants.
_ENUMERATIONS: Final = """
OPEN_VIRTUAL_DISK_VERSION
    OPEN_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    OPEN_VIRTUAL_DISK_VERSION_1 = 1
    OPEN_VIRTUAL_DISK_VERSION_2 = 2
    OPEN_VIRTUAL_DISK_VERSION_3 = 3
VIRTUAL_DISK_ACCESS_MASK
    VIRTUAL_DISK_ACCESS_NONE = 0x00000000
    VIRTUAL_DISK_ACCESS_ATTACH_RO = 0x00010000
    VIRTUAL_DISK_ACCESS_ATTACH_RW = 0x00020000
    VIRTUAL_DISK_ACCESS_DETACH = 0x00040000
    VIRTUAL_DISK_ACCESS_GET_INFO = 0x00080000
    VIRTUAL_DISK_ACCESS_CREATE = 0x00100000
    VIRTUAL_DISK_ACCESS_METAOPS = 0x00200000
    VIRTUAL_DISK_ACCESS_READ = 0x000d0000
    VIRTUAL_DISK_ACCESS_ALL = 0x003f0000
    VIRTUAL_DISK_ACCESS_WRITABLE = 0x00320000
OPEN_VIRTUAL_DISK_FLAG
    OPEN_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    OPEN_VIRTUAL_DISK_FLAG_NO_PARENTS = 0x00000001
    OPEN_VIRTUAL_DISK_FLAG_BLANK_FILE = 0x00000002
    OPEN_VIRTUAL_DISK_FLAG_BOOT_DRIVE = 0x00000004
    OPEN_VIRTUAL_DISK_FLAG_CACHED_IO = 0x00000008
    OPEN_VIRTUAL_DISK_FLAG_CUSTOM_DIFF_CHAIN = 0x00000010
    OPEN_VIRTUAL_DISK_FLAG_PARENT_CACHED_IO = 0x00000020
    OPEN_VIRTUAL_DISK_FLAG_VHDSET_FILE_ONLY = 0x00000040
    OPEN_VIRTUAL_DISK_FLAG_IGNORE_RELATIVE_PARENT_LOCATOR = 0x00000080
    OPEN_VIRTUAL_DISK_FLAG_NO_WRITE_HARDENING = 0x00000100
    OPEN_VIRTUAL_DISK_FLAG_SUPPORT_COMPRESSED_VOLUMES = 0x00000200
    OPEN_VIRTUAL_DISK_FLAG_SUPPORT_SPARSE_FILES_ANY_FS = 0x00000400
    OPEN_VIRTUAL_DISK_FLAG_SUPPORT_ENCRYPTED_FILES = 0x00000800
CREATE_VIRTUAL_DISK_VERSION
    CREATE_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    CREATE_VIRTUAL_DISK_VERSION_1 = 1
    CREATE_VIRTUAL_DISK_VERSION_2 = 2
    CREATE_VIRTUAL_DISK_VERSION_3 = 3
    CREATE_VIRTUAL_DISK_VERSION_4 = 4
CREATE_VIRTUAL_DISK_FLAG
    CREATE_VIRTUAL_DISK_FLAG_NONE = 0x0
    CREATE_VIRTUAL_DISK_FLAG_FULL_PHYSICAL_ALLOCATION = 0x1
    CREATE_VIRTUAL_DISK_FLAG_PREVENT_WRITES_TO_SOURCE_DISK = 0x2
    CREATE_VIRTUAL_DISK_FLAG_DO_NOT_COPY_METADATA_FROM_PARENT = 0x4
    CREATE_VIRTUAL_DISK_FLAG_CREATE_BACKING_STORAGE = 0x8
    CREATE_VIRTUAL_DISK_FLAG_USE_CHANGE_TRACKING_SOURCE_LIMIT = 0x10
    CREATE_VIRTUAL_DISK_FLAG_PRESERVE_PARENT_CHANGE_TRACKING_STATE = 0x20
    CREATE_VIRTUAL_DISK_FLAG_VHD_SET_USE_ORIGINAL_BACKING_STORAGE = 0x40
    CREATE_VIRTUAL_DISK_FLAG_SPARSE_FILE = 0x80
    CREATE_VIRTUAL_DISK_FLAG_PMEM_COMPATIBLE = 0x100
    CREATE_VIRTUAL_DISK_FLAG_SUPPORT_COMPRESSED_VOLUMES = 0x200
    CREATE_VIRTUAL_DISK_FLAG_SUPPORT_SPARSE_FILES_ANY_FS = 0x400
    CREATE_VIRTUAL_DISK_FLAG_USE_RCT_SOURCE_LIMIT = 0x10
ATTACH_VIRTUAL_DISK_VERSION
    ATTACH_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    ATTACH_VIRTUAL_DISK_VERSION_1 = 1
    ATTACH_VIRTUAL_DISK_VERSION_2 = 2
ATTACH_VIRTUAL_DISK_FLAG
    ATTACH_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    ATTACH_VIRTUAL_DISK_FLAG_READ_ONLY = 0x00000001
    ATTACH_VIRTUAL_DISK_FLAG_NO_DRIVE_LETTER = 0x00000002
    ATTACH_VIRTUAL_DISK_FLAG_PERMANENT_LIFETIME = 0x00000004
    ATTACH_VIRTUAL_DISK_FLAG_NO_LOCAL_HOST = 0x00000008
    ATTACH_VIRTUAL_DISK_FLAG_NO_SECURITY_DESCRIPTOR = 0x00000010
    ATTACH_VIRTUAL_DISK_FLAG_BYPASS_DEFAULT_ENCRYPTION_POLICY = 0x00000020
    ATTACH_VIRTUAL_DISK_FLAG_NON_PNP = 0x00000040
    ATTACH_VIRTUAL_DISK_FLAG_RESTRICTED_RANGE = 0x00000080
    ATTACH_VIRTUAL_DISK_FLAG_SINGLE_PARTITION = 0x00000100
    ATTACH_VIRTUAL_DISK_FLAG_REGISTER_VOLUME = 0x00000200
    ATTACH_VIRTUAL_DISK_FLAG_AT_BOOT = 0x00000400
DETACH_VIRTUAL_DISK_FLAG
    DETACH_VIRTUAL_DISK_FLAG_NONE = 0x00000000
DEPENDENT_DISK_FLAG
    DEPENDENT_DISK_FLAG_NONE = 0x00000000
    DEPENDENT_DISK_FLAG_MULT_BACKING_FILES = 0x00000001
    DEPENDENT_DISK_FLAG_FULLY_ALLOCATED = 0x00000002
    DEPENDENT_DISK_FLAG_READ_ONLY = 0x00000004
    DEPENDENT_DISK_FLAG_REMOTE = 0x00000008
    DEPENDENT_DISK_FLAG_SYSTEM_VOLUME = 0x00000010
    DEPENDENT_DISK_FLAG_SYSTEM_VOLUME_PARENT = 0x00000020
    DEPENDENT_DISK_FLAG_REMOVABLE = 0x00000040
    DEPENDENT_DISK_FLAG_NO_DRIVE_LETTER = 0x00000080
    DEPENDENT_DISK_FLAG_PARENT = 0x00000100
    DEPENDENT_DISK_FLAG_NO_HOST_DISK = 0x00000200
    DEPENDENT_DISK_FLAG_PERMANENT_LIFETIME = 0x00000400
    DEPENDENT_DISK_FLAG_SUPPORT_COMPRESSED_VOLUMES = 0x00000800
    DEPENDENT_DISK_FLAG_ALWAYS_ALLOW_SPARSE = 0x00001000
    DEPENDENT_DISK_FLAG_SUPPORT_ENCRYPTED_FILES = 0x00002000
STORAGE_DEPENDENCY_INFO_VERSION
    STORAGE_DEPENDENCY_INFO_VERSION_UNSPECIFIED = 0
    STORAGE_DEPENDENCY_INFO_VERSION_1 = 1
    STORAGE_DEPENDENCY_INFO_VERSION_2 = 2
GET_STORAGE_DEPENDENCY_FLAG
    GET_STORAGE_DEPENDENCY_FLAG_NONE = 0x00000000
    GET_STORAGE_DEPENDENCY_FLAG_HOST_VOLUMES = 0x00000001
    GET_STORAGE_DEPENDENCY_FLAG_DISK_HANDLE = 0x00000002
    GET_STORAGE_DEPENDENCY_FLAG_PARENTS = 0x00000001
GET_VIRTUAL_DISK_INFO_VERSION
    GET_VIRTUAL_DISK_INFO_UNSPECIFIED = 0
    GET_VIRTUAL_DISK_INFO_SIZE = 1
    GET_VIRTUAL_DISK_INFO_IDENTIFIER = 2
    GET_VIRTUAL_DISK_INFO_PARENT_LOCATION = 3
    GET_VIRTUAL_DISK_INFO_PARENT_IDENTIFIER = 4
    GET_VIRTUAL_DISK_INFO_PARENT_TIMESTAMP = 5
    GET_VIRTUAL_DISK_INFO_VIRTUAL_STORAGE_TYPE = 6
    GET_VIRTUAL_DISK_INFO_PROVIDER_SUBTYPE = 7
    GET_VIRTUAL_DISK_INFO_IS_4K_ALIGNED = 8
    GET_VIRTUAL_DISK_INFO_PHYSICAL_DISK = 9
    GET_VIRTUAL_DISK_INFO_VHD_PHYSICAL_SECTOR_SIZE = 10
    GET_VIRTUAL_DISK_INFO_SMALLEST_SAFE_VIRTUAL_SIZE = 11
    GET_VIRTUAL_DISK_INFO_FRAGMENTATION = 12
    GET_VIRTUAL_DISK_INFO_IS_LOADED = 13
    GET_VIRTUAL_DISK_INFO_VIRTUAL_DISK_ID = 14
    GET_VIRTUAL_DISK_INFO_CHANGE_TRACKING_STATE = 15
SET_VIRTUAL_DISK_INFO_VERSION
    SET_VIRTUAL_DISK_INFO_UNSPECIFIED = 0
    SET_VIRTUAL_DISK_INFO_PARENT_PATH = 1
    SET_VIRTUAL_DISK_INFO_IDENTIFIER = 2
    SET_VIRTUAL_DISK_INFO_PARENT_PATH_WITH_DEPTH = 3
    SET_VIRTUAL_DISK_INFO_PHYSICAL_SECTOR_SIZE = 4
    SET_VIRTUAL_DISK_INFO_VIRTUAL_DISK_ID = 5
    SET_VIRTUAL_DISK_INFO_CHANGE_TRACKING_STATE = 6
    SET_VIRTUAL_DISK_INFO_PARENT_LOCATOR = 7
COMPACT_VIRTUAL_DISK_VERSION
    COMPACT_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    COMPACT_VIRTUAL_DISK_VERSION_1 = 1
COMPACT_VIRTUAL_DISK_FLAG
    COMPACT_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    COMPACT_VIRTUAL_DISK_FLAG_NO_ZERO_SCAN = 0x00000001
    COMPACT_VIRTUAL_DISK_FLAG_NO_BLOCK_MOVES = 0x00000002
MERGE_VIRTUAL_DISK_VERSION
    MERGE_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    MERGE_VIRTUAL_DISK_VERSION_1 = 1
    MERGE_VIRTUAL_DISK_VERSION_2 = 2
MERGE_VIRTUAL_DISK_FLAG
    MERGE_VIRTUAL_DISK_FLAG_NONE = 0x00000000
EXPAND_VIRTUAL_DISK_VERSION
    EXPAND_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    EXPAND_VIRTUAL_DISK_VERSION_1 = 1
EXPAND_VIRTUAL_DISK_FLAG
    EXPAND_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    EXPAND_VIRTUAL_DISK_FLAG_NOTIFY_CHANGE = 0x00000001
RESIZE_VIRTUAL_DISK_VERSION
    RESIZE_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    RESIZE_VIRTUAL_DISK_VERSION_1 = 1
RESIZE_VIRTUAL_DISK_FLAG
    RESIZE_VIRTUAL_DISK_FLAG_NONE = 0x0
    RESIZE_VIRTUAL_DISK_FLAG_ALLOW_UNSAFE_VIRTUAL_SIZE = 0x1
    RESIZE_VIRTUAL_DISK_FLAG_RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE = 0x2
MIRROR_VIRTUAL_DISK_VERSION
    MIRROR_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    MIRROR_VIRTUAL_DISK_VERSION_1 = 1
MIRROR_VIRTUAL_DISK_FLAG
    MIRROR_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    MIRROR_VIRTUAL_DISK_FLAG_EXISTING_FILE = 0x00000001
    MIRROR_VIRTUAL_DISK_FLAG_SKIP_MIRROR_ACTIVATION = 0x00000002
    MIRROR_VIRTUAL_DISK_FLAG_ENABLE_SMB_COMPRESSION = 0x00000004
    MIRROR_VIRTUAL_DISK_FLAG_IS_LIVE_MIGRATION = 0x00000008
QUERY_CHANGES_VIRTUAL_DISK_FLAG
    QUERY_CHANGES_VIRTUAL_DISK_FLAG_NONE = 0x00000000
TAKE_SNAPSHOT_VHDSET_FLAG
    TAKE_SNAPSHOT_VHDSET_FLAG_NONE = 0x00000000
    TAKE_SNAPSHOT_VHDSET_FLAG_WRITEABLE = 0x00000001
TAKE_SNAPSHOT_VHDSET_VERSION
    TAKE_SNAPSHOT_VHDSET_VERSION_UNSPECIFIED = 0
    TAKE_SNAPSHOT_VHDSET_VERSION_1 = 1
DELETE_SNAPSHOT_VHDSET_FLAG
    DELETE_SNAPSHOT_VHDSET_FLAG_NONE = 0x00000000
    DELETE_SNAPSHOT_VHDSET_FLAG_PERSIST_RCT = 0x00000001
DELETE_SNAPSHOT_VHDSET_VERSION
    DELETE_SNAPSHOT_VHDSET_VERSION_UNSPECIFIED = 0
    DELETE_SNAPSHOT_VHDSET_VERSION_1 = 1
MODIFY_VHDSET_VERSION
    MODIFY_VHDSET_UNSPECIFIED = 0
    MODIFY_VHDSET_SNAPSHOT_PATH = 1
    MODIFY_VHDSET_REMOVE_SNAPSHOT = 2
    MODIFY_VHDSET_DEFAULT_SNAPSHOT_PATH = 3
MODIFY_VHDSET_FLAG
    MODIFY_VHDSET_FLAG_NONE = 0x00000000
    MODIFY_VHDSET_FLAG_WRITEABLE_SNAPSHOT = 0x00000001
APPLY_SNAPSHOT_VHDSET_FLAG
    APPLY_SNAPSHOT_VHDSET_FLAG_NONE = 0x00000000
    APPLY_SNAPSHOT_VHDSET_FLAG_WRITEABLE = 0x00000001
APPLY_SNAPSHOT_VHDSET_VERSION
    APPLY_SNAPSHOT_VHDSET_VERSION_UNSPECIFIED = 0
    APPLY_SNAPSHOT_VHDSET_VERSION_1 = 1
RAW_SCSI_VIRTUAL_DISK_FLAG
    RAW_SCSI_VIRTUAL_DISK_FLAG_NONE = 0x00000000
RAW_SCSI_VIRTUAL_DISK_VERSION
    RAW_SCSI_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    RAW_SCSI_VIRTUAL_DISK_VERSION_1 = 1
FORK_VIRTUAL_DISK_VERSION
    FORK_VIRTUAL_DISK_VERSION_UNSPECIFIED = 0
    FORK_VIRTUAL_DISK_VERSION_1 = 1
FORK_VIRTUAL_DISK_FLAG
    FORK_VIRTUAL_DISK_FLAG_NONE = 0x00000000
    FORK_VIRTUAL_DISK_FLAG_EXISTING_FILE = 0x00000001
"""


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.strip("\n").splitlines():
        if line.startswith(" "):
            lines.append(line.strip())
        else:
            lines = sections[line] = []
    return sections


def _number(constant: str) -> tuple[str, int]:
    name, value = constant.split(" = ")
    return name, int(value, 0)


ENUMERATIONS: Final = {
    name: dict(map(_number, constants)) for name, constants in _sections(_ENUMERATIONS).items()
}

# The header's #defines. Its deprecated names, which say Surface for Attach, are left out.
DEFINES: Final = {
    "VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN": 0,
    "VIRTUAL_STORAGE_TYPE_DEVICE_ISO": 1,
    "VIRTUAL_STORAGE_TYPE_DEVICE_VHD": 2,
    "VIRTUAL_STORAGE_TYPE_DEVICE_VHDX": 3,
    "VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET": 4,
    "OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT": 1,
    "CREATE_VIRTUAL_DISK_PARAMETERS_DEFAULT_BLOCK_SIZE": 0,
    "CREATE_VIRTUAL_DISK_PARAMETERS_DEFAULT_SECTOR_SIZE": 0,
    "VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH": 256,
    "MERGE_VIRTUAL_DISK_DEFAULT_MERGE_DEPTH": 1,
}
GUIDS: Final = {
    "VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN": "00000000-0000-0000-0000-000000000000",
    "VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT": "ec984aec-a0f9-47e9-901f-71415a66345b",
}

# Each function with the types of its parameters. All return a DWORD.
_FUNCTIONS: Final = """
OpenVirtualDisk
    PVIRTUAL_STORAGE_TYPE, PCWSTR, VIRTUAL_DISK_ACCESS_MASK, OPEN_VIRTUAL_DISK_FLAG
    POPEN_VIRTUAL_DISK_PARAMETERS, PHANDLE
CreateVirtualDisk
    PVIRTUAL_STORAGE_TYPE, PCWSTR, VIRTUAL_DISK_ACCESS_MASK, PSECURITY_DESCRIPTOR
    CREATE_VIRTUAL_DISK_FLAG, ULONG, PCREATE_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED, PHANDLE
AttachVirtualDisk
    HANDLE, PSECURITY_DESCRIPTOR, ATTACH_VIRTUAL_DISK_FLAG, ULONG
    PATTACH_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
DetachVirtualDisk
    HANDLE, DETACH_VIRTUAL_DISK_FLAG, ULONG
GetVirtualDiskPhysicalPath
    HANDLE, PULONG, PWSTR
GetAllAttachedVirtualDiskPhysicalPaths
    PULONG, PWSTR
GetStorageDependencyInformation
    HANDLE, GET_STORAGE_DEPENDENCY_FLAG, ULONG, PSTORAGE_DEPENDENCY_INFO, PULONG
GetVirtualDiskInformation
    HANDLE, PULONG, PGET_VIRTUAL_DISK_INFO, PULONG
SetVirtualDiskInformation
    HANDLE, PSET_VIRTUAL_DISK_INFO
EnumerateVirtualDiskMetadata
    HANDLE, PULONG, GUID *
GetVirtualDiskMetadata
    HANDLE, const GUID *, PULONG, PVOID
SetVirtualDiskMetadata
    HANDLE, const GUID *, ULONG, const void *
DeleteVirtualDiskMetadata
    HANDLE, const GUID *
GetVirtualDiskOperationProgress
    HANDLE, LPOVERLAPPED, PVIRTUAL_DISK_PROGRESS
CompactVirtualDisk
    HANDLE, COMPACT_VIRTUAL_DISK_FLAG, PCOMPACT_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
MergeVirtualDisk
    HANDLE, MERGE_VIRTUAL_DISK_FLAG, PMERGE_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
ExpandVirtualDisk
    HANDLE, EXPAND_VIRTUAL_DISK_FLAG, PEXPAND_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
ResizeVirtualDisk
    HANDLE, RESIZE_VIRTUAL_DISK_FLAG, PRESIZE_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
MirrorVirtualDisk
    HANDLE, MIRROR_VIRTUAL_DISK_FLAG, PMIRROR_VIRTUAL_DISK_PARAMETERS, LPOVERLAPPED
BreakMirrorVirtualDisk
    HANDLE
AddVirtualDiskParent
    HANDLE, PCWSTR
QueryChangesVirtualDisk
    HANDLE, PCWSTR, ULONG64, ULONG64, QUERY_CHANGES_VIRTUAL_DISK_FLAG
    PQUERY_CHANGES_VIRTUAL_DISK_RANGE, PULONG, PULONG64
TakeSnapshotVhdSet
    HANDLE, PTAKE_SNAPSHOT_VHDSET_PARAMETERS, TAKE_SNAPSHOT_VHDSET_FLAG
DeleteSnapshotVhdSet
    HANDLE, PDELETE_SNAPSHOT_VHDSET_PARAMETERS, DELETE_SNAPSHOT_VHDSET_FLAG
ModifyVhdSet
    HANDLE, PMODIFY_VHDSET_PARAMETERS, MODIFY_VHDSET_FLAG
ApplySnapshotVhdSet
    HANDLE, PAPPLY_SNAPSHOT_VHDSET_PARAMETERS, APPLY_SNAPSHOT_VHDSET_FLAG
RawSCSIVirtualDisk
    HANDLE, PRAW_SCSI_VIRTUAL_DISK_PARAMETERS, RAW_SCSI_VIRTUAL_DISK_FLAG
    PRAW_SCSI_VIRTUAL_DISK_RESPONSE
ForkVirtualDisk
    HANDLE, FORK_VIRTUAL_DISK_FLAG, const FORK_VIRTUAL_DISK_PARAMETERS *, LPOVERLAPPED
CompleteForkVirtualDisk
    HANDLE
"""


FUNCTIONS: Final = {
    name: ", ".join(lines).split(", ") for name, lines in _sections(_FUNCTIONS).items()
}
