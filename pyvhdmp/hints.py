"""What is known to help against a Windows error, in plain words, by code and by function.

Windows' own texts name neither the cause nor the way out; these are the ones that people
search the web for. A hint never repeats what Windows says, and says what was ruled out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.virtdisk import SINCE

__all__ = ["hint_for", "hint_for_no_vhdmp"]

_ELEVATION: Final = (
    'It needs a process that is run as administrator (the right to "perform volume maintenance '
    'tasks").'
)
_NO_MEMORY: Final = "Windows has no memory left for more I/O: lower the queue depth."
_TOO_LONG: Final = "Windows' answer is longer than what this package will make room for."

_BY_CODE: Final = {
    constants.ERROR_SHARING_VIOLATION: (
        "It is open elsewhere, in a VM, another program or this one, or attached, which "
        "`pyvhdmp detach PATH` ends. Who opens a disk for writing has it alone; any number can "
        "have it open read-only."
    ),
    constants.ERROR_FILE_SYSTEM_LIMITATION: (
        "The file system that holds it is not up to this; exFAT and this computer's own shares "
        "are known for that."
    ),
    constants.ERROR_DISK_FULL: (
        "It is the volume that holds the file: a dynamic or differencing disk takes room when it "
        "is written to."
    ),
    constants.ERROR_DEVICE_NOT_CONNECTED: (
        "What it was opened on is gone, detached or pulled out: close it, and open it anew."
    ),
    constants.ERROR_PRIVILEGE_NOT_HELD: _ELEVATION,
    constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND: (
        "This Windows has no driver for virtual disks of that format, or it is not running."
    ),
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND: (
        "It holds differences to a parent that is not where it was: put the parent back, or say "
        "where it is now, with set_parent of VirtualDisk."
    ),
    constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH: (
        "The parent is not the disk that it was made from, or has been replaced since."
    ),
    constants.ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH: (
        "The parent was written to after it was made a parent, so what is here no longer fits it."
    ),
    constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK: (
        "This handle is none of a virtual disk, or of one that is not attached."
    ),
    constants.ERROR_VHD_INVALID_TYPE: "A disk of this type has no such thing, or cannot do this.",
    constants.ERROR_VHD_INVALID_STATE: (
        "It is attached, or another operation is at work on it, and this cannot be done then."
    ),
    constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA: (
        "A partition lies there: smallest_safe_size tells what is needed, and "
        "allow_unsafe=True cuts it off all the same."
    ),
    constants.ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE: (
        "It is as small as its partitions allow."
    ),
    constants.ERROR_VHD_METADATA_FULL: "The file has no room for more metadata.",
    constants.ERROR_VHD_INVALID_CHANGE_TRACKING_ID: (
        "No moment of this disk has that id: it may be of another disk, or older than what is kept."
    ),
    constants.ERROR_VHD_CHANGE_TRACKING_DISABLED: (
        "Nobody noted the changes: switch that on first, with set_change_tracking(True)."
    ),
    constants.ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION: (
        "The changes since then were not all noted: what to copy is the whole disk."
    ),
    constants.ERROR_VIRTUAL_DISK_LIMITATION: (
        "The file, or its folder, is compressed, encrypted or sparse: copy it to one that is not."
    ),
    constants.ERROR_NOT_ENOUGH_MEMORY: _NO_MEMORY,
    constants.ERROR_NO_SYSTEM_RESOURCES: _NO_MEMORY,
    constants.ERROR_WORKING_SET_QUOTA: _NO_MEMORY,
    constants.ERROR_INVALID_USER_BUFFER: _NO_MEMORY,
    constants.ERROR_NOT_ENOUGH_QUOTA: _NO_MEMORY,
    constants.ERROR_INSUFFICIENT_BUFFER: _TOO_LONG,
    constants.ERROR_MORE_DATA: _TOO_LONG,
}

_TRANSFERS: Final = frozenset({"ReadFile", "WriteFile", "ReadFileScatter", "WriteFileGather"})
_ALIGNMENT: Final = (
    "For unbuffered I/O the offset, the length and the address must be multiples of the "
    "sector size of the volume that holds the file."
)

_NOT_READY: Final = (
    "There is no such operation that is ready to be ended: its wait_ready returns when it is."
)

_PARAMETERS: Final = {
    "OpenVirtualDisk": (
        "The path was absolute and the parameters were of version 2, with no access asked for: "
        "what is left is a system without VHDMP, as Wine is, a Windows without that version (it "
        "came with Windows 8), flags that it does not know, or a file of another format than its "
        "name says."
    ),
    "CreateVirtualDisk": (
        "Paths were absolute, and size, sector size and block size were checked: what is left is "
        "a Windows that knows less than that, a parent or source of another format, or a size "
        "below the source's."
    ),
    "AttachVirtualDisk": (
        "What is left are flags that this Windows does not know, or do not go together; to "
        "attach a part of a disk came with Windows 10, version 1903."
    ),
    "ResizeVirtualDisk": (
        "The size was checked against the format: what is left is a disk that cannot shrink (a "
        "VHD), or cannot be resized while it is in use."
    ),
    "ExpandVirtualDisk": (
        "The size was checked against the format: what is left is that it is not above the "
        "size that the disk has."
    ),
    "CompactVirtualDisk": "A fixed disk has nothing to compact, and one in use cannot be.",
    "MergeVirtualDisk": (
        "The depths were in order: what is left is that the chain is not that long, or was "
        "opened without its parents."
    ),
    "MirrorVirtualDisk": "The path was absolute: what is left is a disk that cannot be mirrored.",
    "SetVirtualDiskInformation": (
        "A disk of this format has no such thing to set, or this Windows does not know it."
    ),
    "GetVirtualDiskInformation": (
        "A disk of this format, or in this state, has no answer to that, or this Windows does "
        "not know the question."
    ),
    "QueryChangesVirtualDisk": (
        "The range was inside the disk: what is left is an id that is of another disk."
    ),
    "RawSCSIVirtualDisk": "The disk is to be attached, and the command one that it knows.",
}

_METADATA: Final = (
    "DeleteVirtualDiskMetadata",
    "EnumerateVirtualDiskMetadata",
    "GetVirtualDiskMetadata",
    "SetVirtualDiskMetadata",
)
_SNAPSHOTS: Final = (
    "ApplySnapshotVhdSet",
    "DeleteSnapshotVhdSet",
    "ModifyVhdSet",
    "TakeSnapshotVhdSet",
)
_CHANGES: Final = (
    "AddVirtualDiskParent",
    "BreakMirrorVirtualDisk",
    "CompactVirtualDisk",
    "CompleteForkVirtualDisk",
    "ExpandVirtualDisk",
    "ForkVirtualDisk",
    "MergeVirtualDisk",
    "MirrorVirtualDisk",
    "RawSCSIVirtualDisk",
    "ResizeVirtualDisk",
    "SetVirtualDiskInformation",
    *_METADATA,
    *_SNAPSHOTS,
)
_FORMATS: Final = ("GetVirtualDiskInformation", "SetVirtualDiskInformation")


def _of_each(functions: Iterable[str], code: int, hint: str) -> dict[tuple[str, int], str]:
    return {(function, code): hint for function in functions}


_BY_FUNCTION: Final = {
    ("OpenVirtualDisk", constants.ERROR_ACCESS_DENIED): (
        "If the rights to the file are in order: a VHDX that was not closed cleanly has a log "
        "to be replayed, for which it has to be opened once for writing. The event log "
        "Microsoft-Windows-VHDMP-Operational tells more."
    ),
    ("OpenVirtualDisk", constants.ERROR_FILE_CORRUPT): (
        "It is damaged, or no virtual disk of the format that its name says."
    ),
    ("AttachVirtualDisk", constants.ERROR_ACCESS_DENIED): (
        _ELEVATION + " If it is one, the event log Microsoft-Windows-VHDMP-Operational tells more."
    ),
    ("BreakMirrorVirtualDisk", constants.ERROR_VHD_INVALID_STATE): _NOT_READY,
    ("CompleteForkVirtualDisk", constants.ERROR_VHD_INVALID_STATE): _NOT_READY,
    ("DetachVirtualDisk", constants.ERROR_NOT_READY): "The disk was not attached.",
    ("GetVirtualDiskPhysicalPath", constants.ERROR_NOT_READY): (
        "The disk is not attached, or attached raw (attach_raw), and so no device of this machine."
    ),
    ("RawSCSIVirtualDisk", constants.ERROR_NOT_READY): "The disk is not attached.",
    **{(name, constants.ERROR_INVALID_PARAMETER): hint for name, hint in _PARAMETERS.items()},
    **{(name, constants.ERROR_NOT_SUPPORTED): _PARAMETERS[name] for name in _FORMATS},
    **_of_each(_METADATA, constants.ERROR_NOT_SUPPORTED, "Only a VHDX has metadata."),
    **_of_each(
        _SNAPSHOTS, constants.ERROR_NOT_SUPPORTED, "Only a VHD set, a .vhds, has snapshots."
    ),
    **_of_each(
        ("OpenVirtualDisk", *_SNAPSHOTS),
        constants.ERROR_NOT_FOUND,
        "The VHD set has no snapshot of that id.",
    ),
    **_of_each(
        _CHANGES,
        constants.ERROR_ACCESS_DENIED,
        "A disk that was opened read-only, or only to ask about it (read_only, info_only, "
        "open_attached), cannot be changed, and an ISO image never.",
    ),
}


def hint_for(function: str, code: int) -> str | None:
    """Return what helps when `function` fails with a code, None where nothing is known."""
    if code == constants.ERROR_INVALID_PARAMETER and function in _TRANSFERS:
        return _ALIGNMENT
    if code == constants.ERROR_CALL_NOT_IMPLEMENTED and function in SINCE:
        if SINCE[function] == "Windows 7":  # older than any that runs this
            return f"This Windows has no {function}, and so no VHDMP, as Wine has none."
        return f"This Windows has no {function}: it came with {SINCE[function]}."
    return _BY_FUNCTION.get((function, code)) or _BY_CODE.get(code)


def hint_for_no_vhdmp(code: int) -> str | None:
    """Return what it means that a call which any VHDMP understands fails with a code."""
    if code in (constants.ERROR_INVALID_PARAMETER, constants.ERROR_CALL_NOT_IMPLEMENTED):
        return "A system that has none answers so, as Wine does."
    return None
