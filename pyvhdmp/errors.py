"""Errors, and the only place that turns a Windows code into an exception.

Rules:

1. A failed call raises the `OSError` its code stands for, so that
   ``except FileNotFoundError`` works, with `winerror` and `filename` set and a
   note that names the function.
2. What is wrong with a request or a disk, as opposed to a call, is a `DiskError`.
3. A code is turned into an exception once, and never when it means success.
"""

from __future__ import annotations

import errno
import sys
from typing import Final, Self

from pyvhdmp._win32 import Windows, constants, format_message
from pyvhdmp._win32.virtdisk import SINCE

__all__ = [
    "DiskError",
    "IllegalBlockError",
    "InvalidInputError",
    "MediumError",
    "ReadOnlyError",
    "ShortTransferError",
]


class DiskError(OSError):
    """What can be wrong with a disk, an image or a request. Base of the others."""

    _errno = errno.EIO

    @classmethod
    def because(cls, reason: str, filename: str | None = None) -> Self:
        """Return the error with `reason` as its text and its own errno."""
        return cls(cls._errno, reason, filename) if filename else cls(cls._errno, reason)


class InvalidInputError(DiskError, ValueError):
    """An argument or an image that cannot be used. Its text says which and why."""

    _errno = errno.EINVAL


class IllegalBlockError(DiskError):
    """A range of sectors that does not lie inside the disk."""

    _errno = errno.EINVAL


class ReadOnlyError(DiskError):
    """A write or an unmap on a disk that was opened read-only."""

    _errno = errno.EROFS


class ShortTransferError(DiskError):
    """Windows reported success for fewer bytes than were asked for."""


class MediumError(DiskError):
    """The device could not read or write its medium; `winerror` says how."""


_MEDIUM_CODES: Final = frozenset(
    {
        constants.ERROR_CRC,
        constants.ERROR_SECTOR_NOT_FOUND,
        constants.ERROR_IO_DEVICE,
        constants.ERROR_DISK_CORRUPT,
    }
)

_ELEVATION_HINT: Final = (
    'It needs a process that is run as administrator (the right to "perform volume maintenance '
    'tasks").'
)
_HINTS: Final = {
    constants.ERROR_SHARING_VIOLATION: (
        "It is open elsewhere, in a VM, another program or this one. Who opens a disk for "
        "writing has it alone; any number can have it open read-only."
    ),
    constants.ERROR_FILE_SYSTEM_LIMITATION: (
        "The file system that holds it is not up to this; exFAT and this computer's own shares "
        "are known for that."
    ),
    constants.ERROR_PRIVILEGE_NOT_HELD: _ELEVATION_HINT,
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND: (
        "It holds differences to a parent that is not where it was: put the parent back, or open "
        "the disk without parents to ask where it is looked for."
    ),
    constants.ERROR_VIRTUAL_DISK_LIMITATION: (
        "The file, or its folder, is compressed, encrypted or sparse: copy it to one that is not."
    ),
} | dict.fromkeys(
    (
        constants.ERROR_NOT_ENOUGH_MEMORY,
        constants.ERROR_NO_SYSTEM_RESOURCES,
        constants.ERROR_WORKING_SET_QUOTA,
        constants.ERROR_INVALID_USER_BUFFER,
        constants.ERROR_NOT_ENOUGH_QUOTA,
    ),
    "Windows has no memory left for more I/O: lower the queue depth.",
)

_TRANSFERS: Final = frozenset({"ReadFile", "WriteFile", "ReadFileScatter", "WriteFileGather"})
_ALIGNMENT_HINT: Final = (
    "For unbuffered I/O the offset, the length and the address must be multiples of the "
    "sector size of the volume that holds the file."
)

_VIRTDISK_HINTS: Final = {
    ("OpenVirtualDisk", constants.ERROR_INVALID_PARAMETER): (
        "The path was absolute and the parameters were of version 2, with no access asked for: "
        "what is left is a Windows without that version (it came with Windows 8), or a file of "
        "another format than its name says."
    ),
    ("CreateVirtualDisk", constants.ERROR_INVALID_PARAMETER): (
        "Paths were absolute, and size, sector size and block size were checked: what is left is "
        "a Windows that knows less than that, or a parent of another format."
    ),
    ("AttachVirtualDisk", constants.ERROR_INVALID_PARAMETER): (
        "The parameters were of version 1: what is left are flags that this Windows does not know."
    ),
    ("AttachVirtualDisk", constants.ERROR_ACCESS_DENIED): (
        _ELEVATION_HINT
        + " If it is one, the event log Microsoft-Windows-VHDMP-Operational tells more."
    ),
    ("DetachVirtualDisk", constants.ERROR_NOT_READY): "The disk was not attached.",
    ("GetVirtualDiskPhysicalPath", constants.ERROR_NOT_READY): "The disk is not attached.",
}

# CPython knows which errno a Windows code is only on Windows. These are its
# choices (PC/errmap.h) for the codes a stand-in is likely to return elsewhere.
_ERRNO: Final = {
    constants.ERROR_FILE_NOT_FOUND: errno.ENOENT,
    constants.ERROR_PATH_NOT_FOUND: errno.ENOENT,
    constants.ERROR_ACCESS_DENIED: errno.EACCES,
    constants.ERROR_WRITE_PROTECT: errno.EACCES,
    constants.ERROR_SHARING_VIOLATION: errno.EACCES,
    constants.ERROR_FILE_EXISTS: errno.EEXIST,
    constants.ERROR_ALREADY_EXISTS: errno.EEXIST,
    constants.ERROR_BROKEN_PIPE: errno.EPIPE,
    constants.ERROR_DISK_FULL: errno.ENOSPC,
}


def is_success(status: int) -> bool:
    """Whether an NTSTATUS means success: as a signed number it is not negative."""
    return status < 0x80000000


def code_text(code: int) -> str:
    """Return a Win32 code as people look it up: the large ones in hexadecimal digits."""
    return f"0x{code:08X}" if code > 0xFFFF else str(code)


def windows_error(
    code: int, function: str, filename: str | None = None, *, where: str = ""
) -> OSError:
    """Return the exception for a Win32 code that `function` failed with. `where`: for its note."""
    assert code != constants.ERROR_SUCCESS, f"{function} did not fail"
    kind = MediumError if code in _MEDIUM_CODES else OSError
    if sys.platform == "win32":
        # OSError takes a C long, which is signed, and would keep it so: 0xC03A001A has to
        # go in as a negative number, and to be put right afterwards.
        error = kind(None, format_message(code), filename, code - (code >> 31 << 32))
        error.winerror = code
    else:
        error = kind(_ERRNO.get(code, errno.EINVAL), format_message(code), filename)
        error.__dict__["winerror"] = code  # which OSError has only on Windows
    error.add_note(f"{function}{where} failed with Windows error {code_text(code)}.")
    hint = _VIRTDISK_HINTS.get((function, code)) or _HINTS.get(code)
    if hint is not None:
        error.add_note(hint)
    elif code == constants.ERROR_CALL_NOT_IMPLEMENTED and function in SINCE:
        error.add_note(f"This Windows has no {function}: it came with {SINCE[function]}.")
    elif code == constants.ERROR_INVALID_PARAMETER and function in _TRANSFERS:
        error.add_note(_ALIGNMENT_HINT)
    return error


def last_error(windows: Windows, function: str, filename: str | None = None) -> OSError:
    """Return the exception for the call of `function` that just failed on this thread."""
    return windows_error(windows.get_last_error(), function, filename)


def status_error(windows: Windows, status: int, function: str) -> OSError:
    """Return the exception for an NTSTATUS that `function` returned."""
    return windows_error(windows.ntdll.RtlNtStatusToDosError(status), function)
