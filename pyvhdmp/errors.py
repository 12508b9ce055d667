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
from pyvhdmp.hints import hint_for

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


# What a code is beyond what Python makes of it.
_KINDS: Final[dict[int, type[OSError]]] = {
    constants.ERROR_CRC: MediumError,
    constants.ERROR_SECTOR_NOT_FOUND: MediumError,
    constants.ERROR_IO_DEVICE: MediumError,
    constants.ERROR_DISK_CORRUPT: MediumError,
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND: FileNotFoundError,
    constants.ERROR_VHD_PARENT_VHD_ACCESS_DENIED: PermissionError,
}

# CPython knows which errno a Windows code is only on Windows. These are its
# choices (PC/errmap.h) for the codes a stand-in is likely to return elsewhere; but it
# knows none of those of virtual disks.
_ERRNO: Final = {
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND: errno.ENOENT,
    constants.ERROR_VHD_PARENT_VHD_ACCESS_DENIED: errno.EACCES,
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


def code_of(error: OSError) -> int:
    """Return the Win32 code that an exception stands for, 0 if it is not Windows' own."""
    code: int | None = getattr(error, "winerror", None)  # which OSError has only on Windows
    return code or 0


def reason_of(error: OSError) -> str:
    """Return what Windows says, for the middle of a sentence."""
    return f"{str(error.strerror).rstrip('.')} (Windows error {code_text(code_of(error))})"


def windows_error(
    code: int, function: str, filename: str | None = None, *, where: str = ""
) -> OSError:
    """Return the exception for a Win32 code that `function` failed with. `where`: for its note."""
    assert code != constants.ERROR_SUCCESS, f"{function} did not fail"
    kind = _KINDS.get(code, OSError)
    if sys.platform == "win32":
        # OSError takes a C long, which is signed, and would keep it so: 0xC03A001A has to
        # go in as a negative number, and to be put right afterwards.
        error = kind(None, format_message(code), filename, code - (code >> 31 << 32))
        error.winerror = code
        error.errno = _ERRNO.get(code, error.errno)
    else:
        error = kind(_ERRNO.get(code, errno.EINVAL), format_message(code), filename)
        error.__dict__["winerror"] = code  # which OSError has only on Windows
    error.add_note(f"{function}{where} failed with Windows error {code_text(code)}.")
    if (hint := hint_for(function, code)) is not None:
        error.add_note(hint)
    return error


def check_code(code: int, function: str, filename: str | None = None) -> None:
    """Raise the exception for the Win32 code that `function` returned, if it is not success."""
    if code != constants.ERROR_SUCCESS:
        raise windows_error(code, function, filename)


def last_error(windows: Windows, function: str, filename: str | None = None) -> OSError:
    """Return the exception for the call of `function` that just failed on this thread."""
    return windows_error(windows.get_last_error(), function, filename)


def status_error(windows: Windows, status: int, function: str) -> OSError:
    """Return the exception for an NTSTATUS that `function` returned."""
    return windows_error(windows.ntdll.RtlNtStatusToDosError(status), function)
