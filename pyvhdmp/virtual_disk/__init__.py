"""Virtual disk files through Windows' own VHDMP driver, by way of virtdisk.dll.

Read top down: `disk` names the modules that make up `VirtualDisk`, a subject each, over
`handle`; then `operation` (what takes long), `metadata`, `changes`, `scsi`, `machine` and
`security`, `questions` (what Windows tells), `formats` (what can be checked before it is asked).
Windows' own flags, for the arguments called `flags`, can be imported from here.
"""

from pyvhdmp._win32.virtdisk_enums import (
    ATTACH_VIRTUAL_DISK_FLAG,
    CREATE_VIRTUAL_DISK_FLAG,
    DEPENDENT_DISK_FLAG,
    MIRROR_VIRTUAL_DISK_FLAG,
    OPEN_VIRTUAL_DISK_FLAG,
)
from pyvhdmp.virtual_disk.changes import ChangedRange, ChangeTracking
from pyvhdmp.virtual_disk.disk import VirtualDisk
from pyvhdmp.virtual_disk.formats import VirtualDiskFormat, VirtualDiskType
from pyvhdmp.virtual_disk.machine import StorageDependency
from pyvhdmp.virtual_disk.metadata import Metadata
from pyvhdmp.virtual_disk.operation import AlreadyDone, Operation
from pyvhdmp.virtual_disk.questions import PhysicalDisk, VirtualDiskInfo
from pyvhdmp.virtual_disk.scsi import ScsiError, ScsiResponse

__all__ = [
    "ATTACH_VIRTUAL_DISK_FLAG",
    "CREATE_VIRTUAL_DISK_FLAG",
    "DEPENDENT_DISK_FLAG",
    "MIRROR_VIRTUAL_DISK_FLAG",
    "OPEN_VIRTUAL_DISK_FLAG",
    "AlreadyDone",
    "ChangeTracking",
    "ChangedRange",
    "Metadata",
    "Operation",
    "PhysicalDisk",
    "ScsiError",
    "ScsiResponse",
    "StorageDependency",
    "VirtualDisk",
    "VirtualDiskFormat",
    "VirtualDiskInfo",
    "VirtualDiskType",
]
