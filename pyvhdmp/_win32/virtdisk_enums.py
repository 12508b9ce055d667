"""virtdisk.h's enumerations and flags.

A member has the name of the header's constant without the name of its enumeration:
``OPEN_VIRTUAL_DISK_FLAG.NO_PARENTS`` is OPEN_VIRTUAL_DISK_FLAG_NO_PARENTS. Where that would
begin with a digit, VERSION stands before it, as it does in the header's own names.
"""

from __future__ import annotations

import uuid
from enum import IntEnum, IntFlag
from typing import Final

VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN: Final = 0
VIRTUAL_STORAGE_TYPE_DEVICE_ISO: Final = 1
VIRTUAL_STORAGE_TYPE_DEVICE_VHD: Final = 2
VIRTUAL_STORAGE_TYPE_DEVICE_VHDX: Final = 3
VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET: Final = 4
VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN: Final = uuid.UUID(int=0)
VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT: Final = uuid.UUID("ec984aec-a0f9-47e9-901f-71415a66345b")

OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT: Final = 1
CREATE_VIRTUAL_DISK_PARAMETERS_DEFAULT_BLOCK_SIZE: Final = 0
CREATE_VIRTUAL_DISK_PARAMETERS_DEFAULT_SECTOR_SIZE: Final = 0
MERGE_VIRTUAL_DISK_DEFAULT_MERGE_DEPTH: Final = 1
VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH: Final = 256
"""WCHARs, the NUL included."""

# The answers to GET_VIRTUAL_DISK_INFO_VERSION.PROVIDER_SUBTYPE, which the header has no names for.
PROVIDER_SUBTYPE_FIXED: Final = 2
PROVIDER_SUBTYPE_DYNAMIC: Final = 3
PROVIDER_SUBTYPE_DIFFERENCING: Final = 4


class VIRTUAL_DISK_ACCESS(IntFlag):
    """VIRTUAL_DISK_ACCESS_MASK: what a handle may be used for, with parameters of version 1."""

    NONE = 0
    ATTACH_RO = 0x00010000
    ATTACH_RW = 0x00020000
    DETACH = 0x00040000
    GET_INFO = 0x00080000
    CREATE = 0x00100000
    METAOPS = 0x00200000
    READ = 0x000D0000
    ALL = 0x003F0000
    WRITABLE = 0x00320000


class OPEN_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of OPEN_VIRTUAL_DISK_PARAMETERS counts. 2: Windows 8, 3: Windows 10."""

    UNSPECIFIED = 0
    VERSION_1 = 1
    VERSION_2 = 2
    VERSION_3 = 3


class OPEN_VIRTUAL_DISK_FLAG(IntFlag):
    """How OpenVirtualDisk opens."""

    NONE = 0
    NO_PARENTS = 0x1
    BLANK_FILE = 0x2
    BOOT_DRIVE = 0x4
    CACHED_IO = 0x8
    CUSTOM_DIFF_CHAIN = 0x10
    PARENT_CACHED_IO = 0x20
    VHDSET_FILE_ONLY = 0x40
    IGNORE_RELATIVE_PARENT_LOCATOR = 0x80
    NO_WRITE_HARDENING = 0x100
    SUPPORT_COMPRESSED_VOLUMES = 0x200
    SUPPORT_SPARSE_FILES_ANY_FS = 0x400
    SUPPORT_ENCRYPTED_FILES = 0x800


class CREATE_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of CREATE_VIRTUAL_DISK_PARAMETERS counts. 2: Windows 8, 3 and 4: Windows 10."""

    UNSPECIFIED = 0
    VERSION_1 = 1
    VERSION_2 = 2
    VERSION_3 = 3
    VERSION_4 = 4


class CREATE_VIRTUAL_DISK_FLAG(IntFlag):
    """How CreateVirtualDisk creates."""

    NONE = 0
    FULL_PHYSICAL_ALLOCATION = 0x1
    PREVENT_WRITES_TO_SOURCE_DISK = 0x2
    DO_NOT_COPY_METADATA_FROM_PARENT = 0x4
    CREATE_BACKING_STORAGE = 0x8
    USE_CHANGE_TRACKING_SOURCE_LIMIT = 0x10
    USE_RCT_SOURCE_LIMIT = USE_CHANGE_TRACKING_SOURCE_LIMIT
    PRESERVE_PARENT_CHANGE_TRACKING_STATE = 0x20
    VHD_SET_USE_ORIGINAL_BACKING_STORAGE = 0x40
    SPARSE_FILE = 0x80
    PMEM_COMPATIBLE = 0x100
    SUPPORT_COMPRESSED_VOLUMES = 0x200
    SUPPORT_SPARSE_FILES_ANY_FS = 0x400


class ATTACH_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of ATTACH_VIRTUAL_DISK_PARAMETERS counts. 2: Windows 10, version 1903."""

    UNSPECIFIED = 0
    VERSION_1 = 1
    VERSION_2 = 2


class ATTACH_VIRTUAL_DISK_FLAG(IntFlag):
    """How AttachVirtualDisk attaches."""

    NONE = 0
    READ_ONLY = 0x1
    NO_DRIVE_LETTER = 0x2
    PERMANENT_LIFETIME = 0x4
    NO_LOCAL_HOST = 0x8
    NO_SECURITY_DESCRIPTOR = 0x10
    BYPASS_DEFAULT_ENCRYPTION_POLICY = 0x20
    NON_PNP = 0x40
    RESTRICTED_RANGE = 0x80
    SINGLE_PARTITION = 0x100
    REGISTER_VOLUME = 0x200
    AT_BOOT = 0x400


class DETACH_VIRTUAL_DISK_FLAG(IntFlag):
    """How DetachVirtualDisk detaches."""

    NONE = 0


class DEPENDENT_DISK_FLAG(IntFlag):
    """What a disk that others depend on is."""

    NONE = 0
    MULT_BACKING_FILES = 0x1
    FULLY_ALLOCATED = 0x2
    READ_ONLY = 0x4
    REMOTE = 0x8
    SYSTEM_VOLUME = 0x10
    SYSTEM_VOLUME_PARENT = 0x20
    REMOVABLE = 0x40
    NO_DRIVE_LETTER = 0x80
    PARENT = 0x100
    NO_HOST_DISK = 0x200
    PERMANENT_LIFETIME = 0x400
    SUPPORT_COMPRESSED_VOLUMES = 0x800
    ALWAYS_ALLOW_SPARSE = 0x1000
    SUPPORT_ENCRYPTED_FILES = 0x2000


class STORAGE_DEPENDENCY_INFO_VERSION(IntEnum):
    """Which entries a STORAGE_DEPENDENCY_INFO has."""

    UNSPECIFIED = 0
    VERSION_1 = 1
    VERSION_2 = 2


class GET_STORAGE_DEPENDENCY_FLAG(IntFlag):
    """What GetStorageDependencyInformation tells about, and what kind of handle it is given."""

    NONE = 0
    HOST_VOLUMES = 0x1
    DISK_HANDLE = 0x2
    PARENTS = HOST_VOLUMES


class GET_VIRTUAL_DISK_INFO_VERSION(IntEnum):
    """What GetVirtualDiskInformation is asked; the header's names have no VERSION in them."""

    UNSPECIFIED = 0
    SIZE = 1
    IDENTIFIER = 2
    PARENT_LOCATION = 3
    PARENT_IDENTIFIER = 4
    PARENT_TIMESTAMP = 5
    VIRTUAL_STORAGE_TYPE = 6
    PROVIDER_SUBTYPE = 7
    IS_4K_ALIGNED = 8
    PHYSICAL_DISK = 9
    VHD_PHYSICAL_SECTOR_SIZE = 10
    SMALLEST_SAFE_VIRTUAL_SIZE = 11
    FRAGMENTATION = 12
    IS_LOADED = 13
    VIRTUAL_DISK_ID = 14
    CHANGE_TRACKING_STATE = 15


class SET_VIRTUAL_DISK_INFO_VERSION(IntEnum):
    """What SetVirtualDiskInformation changes; the header's names have no VERSION in them."""

    UNSPECIFIED = 0
    PARENT_PATH = 1
    IDENTIFIER = 2
    PARENT_PATH_WITH_DEPTH = 3
    PHYSICAL_SECTOR_SIZE = 4
    VIRTUAL_DISK_ID = 5
    CHANGE_TRACKING_STATE = 6
    PARENT_LOCATOR = 7


class COMPACT_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of COMPACT_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class COMPACT_VIRTUAL_DISK_FLAG(IntFlag):
    """What CompactVirtualDisk leaves out."""

    NONE = 0
    NO_ZERO_SCAN = 0x1
    NO_BLOCK_MOVES = 0x2


class MERGE_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of MERGE_VIRTUAL_DISK_PARAMETERS counts. 2: Windows 8."""

    UNSPECIFIED = 0
    VERSION_1 = 1
    VERSION_2 = 2


class MERGE_VIRTUAL_DISK_FLAG(IntFlag):
    """How MergeVirtualDisk merges."""

    NONE = 0


class EXPAND_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of EXPAND_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class EXPAND_VIRTUAL_DISK_FLAG(IntFlag):
    """How ExpandVirtualDisk expands."""

    NONE = 0
    NOTIFY_CHANGE = 0x1


class RESIZE_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of RESIZE_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class RESIZE_VIRTUAL_DISK_FLAG(IntFlag):
    """How ResizeVirtualDisk resizes."""

    NONE = 0
    ALLOW_UNSAFE_VIRTUAL_SIZE = 0x1
    RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE = 0x2


class MIRROR_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of MIRROR_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class MIRROR_VIRTUAL_DISK_FLAG(IntFlag):
    """How MirrorVirtualDisk mirrors."""

    NONE = 0
    EXISTING_FILE = 0x1
    SKIP_MIRROR_ACTIVATION = 0x2
    ENABLE_SMB_COMPRESSION = 0x4
    IS_LIVE_MIGRATION = 0x8


class QUERY_CHANGES_VIRTUAL_DISK_FLAG(IntFlag):
    """How QueryChangesVirtualDisk answers."""

    NONE = 0


class TAKE_SNAPSHOT_VHDSET_VERSION(IntEnum):
    """Which part of TAKE_SNAPSHOT_VHDSET_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class TAKE_SNAPSHOT_VHDSET_FLAG(IntFlag):
    """How TakeSnapshotVhdSet takes one."""

    NONE = 0
    WRITEABLE = 0x1


class DELETE_SNAPSHOT_VHDSET_VERSION(IntEnum):
    """Which part of DELETE_SNAPSHOT_VHDSET_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class DELETE_SNAPSHOT_VHDSET_FLAG(IntFlag):
    """What DeleteSnapshotVhdSet leaves."""

    NONE = 0
    PERSIST_RCT = 0x1


class MODIFY_VHDSET_VERSION(IntEnum):
    """What ModifyVhdSet changes; the header's names have no VERSION in them."""

    UNSPECIFIED = 0
    SNAPSHOT_PATH = 1
    REMOVE_SNAPSHOT = 2
    DEFAULT_SNAPSHOT_PATH = 3


class MODIFY_VHDSET_FLAG(IntFlag):
    """How ModifyVhdSet changes it."""

    NONE = 0
    WRITEABLE_SNAPSHOT = 0x1


class APPLY_SNAPSHOT_VHDSET_VERSION(IntEnum):
    """Which part of APPLY_SNAPSHOT_VHDSET_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class APPLY_SNAPSHOT_VHDSET_FLAG(IntFlag):
    """How ApplySnapshotVhdSet applies one."""

    NONE = 0
    WRITEABLE = 0x1


class RAW_SCSI_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of RAW_SCSI_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class RAW_SCSI_VIRTUAL_DISK_FLAG(IntFlag):
    """How RawSCSIVirtualDisk sends its command."""

    NONE = 0


class FORK_VIRTUAL_DISK_VERSION(IntEnum):
    """Which part of FORK_VIRTUAL_DISK_PARAMETERS counts."""

    UNSPECIFIED = 0
    VERSION_1 = 1


class FORK_VIRTUAL_DISK_FLAG(IntFlag):
    """How ForkVirtualDisk forks."""

    NONE = 0
    EXISTING_FILE = 0x1
