"""Virtual disks on Windows, read and written with hundreds of requests in flight.

    with pyvhdmp.open_disk("data.vhd") as disk:
        disk.write(0, b"\\x55" * 512, fua=True).result()
        boot_sector = disk.read(0, 1).result()

To read the source, top down: `disk.base` (what a disk is), `disk.direct` (most requests:
one call), `disk.plan` and `disk.request` (all others), `overlapped` and `calls` (how a call
is made), `completion`, `register` and `futures` (how it becomes a finished future), `slots`
and `buffers` (the memory it takes), `errors`, and at the bottom `_win32`. Beside them:
`virtual_disk` (Windows' driver for virtual disks), `vhd` (a file format), `files` (files by
name), and on top `copying`, `streaming`, `benchmark`, `aio` (disks for asyncio), `blocking`
(disks as binary files) and `cli`.
"""

from __future__ import annotations

from pyvhdmp import _startup as _startup  # first: see there

# Importing this package loads next to nothing; each public name loads what it needs when it
# is first used. A type checker sees plain imports. (typing itself would be half of the cost.)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvhdmp.blocking import BlockingDisk
    from pyvhdmp.buffers import PageBuffer
    from pyvhdmp.completion import CompletionPort
    from pyvhdmp.copying import Comparison, CopyResult, compare_images, copy_image
    from pyvhdmp.disk import (
        Backend,
        Disk,
        FixedVhdDisk,
        HeldBuffers,
        RawDisk,
        UnmapBehavior,
        VhdmpDisk,
        make_fixed_vhd,
        open_disk,
    )
    from pyvhdmp.errors import (
        DiskError,
        IllegalBlockError,
        InvalidInputError,
        MediumError,
        ReadOnlyError,
        ShortTransferError,
    )
    from pyvhdmp.overlapped import OverlappedFile
    from pyvhdmp.virtual_disk import (
        AlreadyDone,
        ChangedRange,
        ChangeTracking,
        Metadata,
        Operation,
        PhysicalDisk,
        ScsiError,
        ScsiResponse,
        StorageDependency,
        VirtualDisk,
        VirtualDiskFormat,
        VirtualDiskInfo,
        VirtualDiskType,
    )

__version__ = "0.1.0"

__all__ = [
    "AlreadyDone",
    "Backend",
    "BlockingDisk",
    "ChangeTracking",
    "ChangedRange",
    "Comparison",
    "CompletionPort",
    "CopyResult",
    "Disk",
    "DiskError",
    "FixedVhdDisk",
    "HeldBuffers",
    "IllegalBlockError",
    "InvalidInputError",
    "MediumError",
    "Metadata",
    "Operation",
    "OverlappedFile",
    "PageBuffer",
    "PhysicalDisk",
    "RawDisk",
    "ReadOnlyError",
    "ScsiError",
    "ScsiResponse",
    "ShortTransferError",
    "StorageDependency",
    "UnmapBehavior",
    "VhdmpDisk",
    "VirtualDisk",
    "VirtualDiskFormat",
    "VirtualDiskInfo",
    "VirtualDiskType",
    "__version__",
    "compare_images",
    "copy_image",
    "make_fixed_vhd",
    "open_disk",
]


if not TYPE_CHECKING:
    _HOMES = {
        "blocking": "BlockingDisk",
        "buffers": "PageBuffer",
        "completion": "CompletionPort",
        "copying": "Comparison CopyResult compare_images copy_image",
        "disk": (
            "Backend Disk FixedVhdDisk HeldBuffers RawDisk UnmapBehavior VhdmpDisk "
            "make_fixed_vhd open_disk"
        ),
        "errors": (
            "DiskError IllegalBlockError InvalidInputError MediumError ReadOnlyError "
            "ShortTransferError"
        ),
        "overlapped": "OverlappedFile",
        "virtual_disk": (
            "AlreadyDone ChangeTracking ChangedRange Metadata Operation PhysicalDisk ScsiError "
            "ScsiResponse StorageDependency VirtualDisk VirtualDiskFormat VirtualDiskInfo "
            "VirtualDiskType"
        ),
    }

    def __getattr__(name):
        """Load the module that a public name is from."""
        for home, names in _HOMES.items():
            if name in names.split():
                from importlib import import_module

                value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        """All public names, loaded or not."""
        return sorted({*globals(), *__all__})
