"""Files by name, through kernel32: open, measure, resize, replace, delete.

Everything that names a file goes through here and not through `os`, so that it
happens on the Windows in force, a simulated one included, and fails with that
Windows' own codes.

Rules for the paths that callers give:

1. Windows takes a path for the very file that it names, or it is refused: one that Windows would
   read as something else (``disk.vhd.`` as ``disk.vhd``), and a device (``NUL``,
   ``\\\\.\\PhysicalDrive0``, a pipe), unless a device is what is asked for.
2. Of any length: what is too long for Windows goes in the extended form, made from the whole path.
3. Errors name it as it was given.
"""

from __future__ import annotations

import errno
import ntpath
import operator
import os
import re
from itertools import starmap
from typing import Final, NamedTuple

from pyvhdmp._win32 import Handle, Windows, constants
from pyvhdmp._win32.memory import wide_text
from pyvhdmp._win32.structures import FIND_DATA_STRUCT, LARGE_INTEGER_STRUCT, WCHAR_SIZE
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import InvalidInputError, code_text, last_error, windows_error
from pyvhdmp.logs import logger

__all__ = [
    "FolderEntry",
    "check_exists",
    "check_replaceable",
    "checked_path",
    "close_handle",
    "delete_file",
    "discard_file",
    "extended",
    "file_attributes",
    "file_size",
    "folder_entries",
    "full_path",
    "is_directory",
    "is_verbatim",
    "move_file",
    "open_file",
    "path_key",
    "set_file_size",
]

_LONG_PATH: Final = 248
"""From this length on some functions want the extended form of a path."""

_NAMESPACES: Final = ("\\\\.\\", "\\\\?\\", "\\??\\")
_FILE_OF_A_NAMESPACE: Final = re.compile(r"\\\\\?\\([A-Z]:|UNC|Volume\{[^\\]*\})\\", re.IGNORECASE)
_SHARE_OF_NO_FILES: Final = re.compile(
    r"\\\\(\?\\UNC\\)?[^\\]+\\(PIPE|MAILSLOT|IPC\$)(\\|$)", re.IGNORECASE
)
_RESERVED: Final = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[1-9\xb9\xb2\xb3]) *([.:].*)?",
    re.IGNORECASE | re.DOTALL,
)
"""The devices of MS-DOS: Windows has them in each folder and, before Windows 11, with a suffix."""


def checked_path(
    path: str | os.PathLike[str], *, device: bool = False, way_out: str | None = None
) -> str:
    """Return a path as text. `device`: whether that of a device will do. `way_out`: what else does.

    Raises `TypeError` for bytes, and `InvalidInputError` for a path with a NUL in it, one that
    Windows would take for another, and a device.
    """
    text: str | None
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(f"a path must be str or os.PathLike[str], not {type(path).__name__}")
    if not text or "\0" in text:
        raise InvalidInputError.because(f"{text!r} is no path")
    if device and _is_device(text):
        return text
    if _is_device(text):
        error = InvalidInputError.because("this is a device, and not a file", text)
        if way_out is not None:
            error.add_note(way_out)
        raise error
    if not is_verbatim(text) and _has_dropped_ends(text):
        raise InvalidInputError.because(
            "Windows drops dots and spaces at the end of a name, and takes this for another", text
        )
    return text


def is_verbatim(path: str) -> bool:
    """Whether Windows takes a path as it is, every character of it."""
    return path.startswith("\\\\?\\")


def _is_device(path: str) -> bool:
    """Whether a path is, or may be, no file's."""
    name = path.replace("/", "\\")
    if _SHARE_OF_NO_FILES.match(name):
        return True
    if name.startswith(_NAMESPACES):
        return _FILE_OF_A_NAMESPACE.match(path) is None
    last = ntpath.splitdrive(name)[1].rpartition("\\")[2]
    return _RESERVED.fullmatch(last) is not None


def _has_dropped_ends(path: str) -> bool:
    """Whether Windows drops something from a name: dots, and of the last one spaces, too."""
    *folders, last = ntpath.splitdrive(path.replace("/", "\\"))[1].split("\\")
    names = [*((folder, (".",)) for folder in folders), (last, (".", " "))]
    return any(name not in (".", "..") and name.endswith(ends) for name, ends in names)


def full_path(windows: Windows, path: str) -> str:
    """Return the absolute path that `path` stands for now, as Windows reads it.

    Whether there is such a file does not matter. Source: GetFullPathNameW, fileapi.h.
    """
    needed = PAGE_SIZE // WCHAR_SIZE
    while True:
        length, block = needed, Block(needed * WCHAR_SIZE)
        needed = windows.kernel32.GetFullPathNameW(path, length, block.address, 0)
        if needed == 0:
            raise last_error(windows, "GetFullPathNameW", path)
        if needed < length:  # else it is the room that is wanted
            return wide_text(block.memory[: needed * WCHAR_SIZE])


def path_key(windows: Windows, path: str) -> str:
    """Return a path in one form for all its spellings, as far as the text tells."""
    key = ntpath.normcase(full_path(windows, path))
    if key.startswith("\\\\?\\unc\\"):
        return "\\\\" + key[8:]
    return key.removeprefix("\\\\?\\")


def extended(windows: Windows, path: str) -> str:
    """Return a path in the form that has no limit to its length, if it is long in full."""
    if path.startswith(_NAMESPACES) or (len(path) < _LONG_PATH and ntpath.isabs(path)):
        return path
    full = full_path(windows, path)
    if full.startswith(_NAMESPACES) or max(len(full), len(path)) < _LONG_PATH:
        return path
    return "\\\\?\\UNC" + full[1:] if full.startswith("\\\\") else "\\\\?\\" + full


def open_file(
    windows: Windows, path: str, *, writable: bool, disposition: int, flags: int = 0
) -> Handle:
    """Open a file for overlapped I/O; others may read it meanwhile, and nobody may write it.

    The handle is not inheritable. Raises the `OSError` of CreateFileW, and
    `IsADirectoryError`, where Windows would say that access is denied. What Ctrl+C ends leaves
    neither a handle nor a file that was made.
    """
    access = constants.GENERIC_READ | (constants.GENERIC_WRITE if writable else 0)
    create = (
        windows.kernel32.CreateFileW,
        extended(windows, path),
        access,
        constants.FILE_SHARE_READ,
        0,
        disposition,
        constants.FILE_FLAG_OVERLAPPED | flags,
        0,
    )
    steps = starmap(operator.call, (create, (windows.get_last_error,)))
    outcome: list[int] = []
    try:
        outcome.extend(steps)  # in one step, so no Ctrl+C comes between the opening and the noting
        handle, code = Handle(outcome[0]), outcome[1]
        if handle != constants.INVALID_HANDLE_VALUE:
            logger.debug("opened %s as a file, handle %#x", path, handle)
    except BaseException:
        if outcome and outcome[0] != constants.INVALID_HANDLE_VALUE:
            windows.kernel32.CloseHandle(outcome[0])
            if disposition != constants.OPEN_EXISTING:
                discard_file(windows, path)
        raise
    if handle != constants.INVALID_HANDLE_VALUE:
        return handle
    error = windows_error(code, "CreateFileW", path)
    if code == constants.ERROR_ACCESS_DENIED and is_directory(windows, path):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path) from error
    raise error


def check_replaceable(windows: Windows, path: str) -> None:
    """Raise what keeps a file from being replaced: above all, that somebody has it open."""
    handle = windows.kernel32.CreateFileW(
        extended(windows, path),
        constants.DELETE,
        constants.FILE_SHARE_READ | constants.FILE_SHARE_WRITE | constants.FILE_SHARE_DELETE,
        0,
        constants.OPEN_EXISTING,
        0,
        0,
    )
    if handle == constants.INVALID_HANDLE_VALUE:
        raise last_error(windows, "CreateFileW", path)
    close_handle(windows, handle)


def close_handle(windows: Windows, handle: int) -> None:
    """Close a handle that nothing else owns."""
    windows.kernel32.CloseHandle(handle)


def file_size(windows: Windows, handle: int) -> int:
    """Return the size of an open file in bytes."""
    block = Block(PAGE_SIZE)
    if not windows.kernel32.GetFileSizeEx(handle, block.address):
        raise last_error(windows, "GetFileSizeEx")
    size: int
    (size,) = LARGE_INTEGER_STRUCT.unpack_from(block.memory)
    return size


def set_file_size(windows: Windows, handle: int, size: int, path: str) -> None:
    """Cut or extend an open file to `size` bytes; what is new reads as zeros."""
    block = Block(PAGE_SIZE)
    LARGE_INTEGER_STRUCT.pack_into(block.memory, 0, size)
    if not windows.kernel32.SetFileInformationByHandle(
        handle, constants.FileEndOfFileInfo, block.address, LARGE_INTEGER_STRUCT.size
    ):
        raise last_error(windows, "SetFileInformationByHandle", path)


def file_attributes(windows: Windows, path: str) -> int | None:
    """Return a file's attributes, None if there is no such file."""
    attributes = windows.kernel32.GetFileAttributesW(extended(windows, path))
    if attributes != constants.INVALID_FILE_ATTRIBUTES:
        return attributes
    code = windows.get_last_error()
    if code in (constants.ERROR_FILE_NOT_FOUND, constants.ERROR_PATH_NOT_FOUND):
        return None
    raise windows_error(code, "GetFileAttributesW", path)


def check_exists(windows: Windows, path: str) -> None:
    """Raise the error of a file that is not there, or is a folder."""
    attributes = file_attributes(windows, path)
    if attributes is None:
        raise windows_error(constants.ERROR_FILE_NOT_FOUND, "GetFileAttributesW", path)
    if attributes & constants.FILE_ATTRIBUTE_DIRECTORY:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path)


def is_directory(windows: Windows, path: str) -> bool:
    """Whether there is a folder of this name, as far as Windows tells."""
    attributes = windows.kernel32.GetFileAttributesW(extended(windows, path))
    return attributes != constants.INVALID_FILE_ATTRIBUTES and bool(
        attributes & constants.FILE_ATTRIBUTE_DIRECTORY
    )


class FolderEntry(NamedTuple):
    """What lies in a folder. `size`: of a file, in bytes."""

    name: str
    is_folder: bool
    size: int


def folder_entries(windows: Windows, path: str) -> list[FolderEntry]:
    """Return what lies in a folder, in no order. Raises the `OSError` of FindFirstFileW."""
    block, found = Block(PAGE_SIZE), []
    pattern = ntpath.join(path, "*")
    search = windows.kernel32.FindFirstFileW(extended(windows, pattern), block.address)
    if search == constants.INVALID_HANDLE_VALUE:
        if windows.get_last_error() == constants.ERROR_FILE_NOT_FOUND:
            return []  # an empty volume
        raise last_error(windows, "FindFirstFileW", path)
    try:
        while True:
            attributes, high, low, raw = FIND_DATA_STRUCT.unpack_from(block.memory)
            if (name := wide_text(raw)) not in (".", ".."):
                is_folder = bool(attributes & constants.FILE_ATTRIBUTE_DIRECTORY)
                found.append(FolderEntry(name, is_folder, high << 32 | low))
            if not windows.kernel32.FindNextFileW(search, block.address):
                if windows.get_last_error() != constants.ERROR_NO_MORE_FILES:
                    raise last_error(windows, "FindNextFileW", path)
                return found
    finally:
        windows.kernel32.FindClose(search)


def move_file(windows: Windows, path: str, target: str, *, replace: bool) -> None:
    """Rename a file; return when the rename is on the disk."""
    flags = constants.MOVEFILE_WRITE_THROUGH | (
        constants.MOVEFILE_REPLACE_EXISTING if replace else 0
    )
    if not windows.kernel32.MoveFileExW(extended(windows, path), extended(windows, target), flags):
        raise last_error(windows, "MoveFileExW", target)


def delete_file(windows: Windows, path: str) -> None:
    """Delete a file, if there is one. Raises the `OSError` of DeleteFileW."""
    if not windows.kernel32.DeleteFileW(extended(windows, path)):
        code = windows.get_last_error()
        if code != constants.ERROR_FILE_NOT_FOUND:
            raise windows_error(code, "DeleteFileW", path)


def discard_file(windows: Windows, path: str) -> None:
    """Delete a file while an error is on its way out, which a second one must not replace."""
    if not windows.kernel32.DeleteFileW(extended(windows, path)):
        code = windows.get_last_error()
        if code != constants.ERROR_FILE_NOT_FOUND:
            logger.warning("%s was left behind: DeleteFileW failed, %s", path, code_text(code))
