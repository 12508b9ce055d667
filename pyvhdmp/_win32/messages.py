"""The text of a Win32 code: Windows' own, or where there is none to ask one like it."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

from pyvhdmp._win32 import constants

_NO_TEXT: Final = "<no description>"  # what ctypes says then
_TEXTS: Final = {
    constants.ERROR_INVALID_FUNCTION: "Incorrect function",
    constants.ERROR_FILE_NOT_FOUND: "File not found",
    constants.ERROR_PATH_NOT_FOUND: "Path not found",
    constants.ERROR_ACCESS_DENIED: "Access denied",
    constants.ERROR_INVALID_HANDLE: "Invalid handle",
    constants.ERROR_NOT_ENOUGH_MEMORY: "Not enough memory",
    constants.ERROR_WRITE_PROTECT: "The medium is write protected",
    constants.ERROR_NOT_READY: "The device is not ready",
    constants.ERROR_CRC: "Data error (cyclic redundancy check)",
    constants.ERROR_SECTOR_NOT_FOUND: "Sector not found",
    constants.ERROR_GEN_FAILURE: "A device does not work",
    constants.ERROR_SHARING_VIOLATION: "The file is used by another process",
    constants.ERROR_HANDLE_EOF: "End of file",
    constants.ERROR_NOT_SUPPORTED: "Not supported",
    constants.ERROR_FILE_EXISTS: "The file exists",
    constants.ERROR_INVALID_PARAMETER: "Incorrect parameter",
    constants.ERROR_BROKEN_PIPE: "The pipe has been ended",
    constants.ERROR_DISK_FULL: "The disk is full",
    constants.ERROR_CALL_NOT_IMPLEMENTED: "This function does not exist here",
    constants.ERROR_INVALID_NAME: "The file name is incorrect",
    constants.ERROR_ALREADY_EXISTS: "The file already exists",
    constants.ERROR_DEVICE_NOT_CONNECTED: "The device is not connected",
    constants.ERROR_IO_DEVICE: "I/O device error",
    constants.ERROR_PRIVILEGE_NOT_HELD: "A required privilege is not held",
    constants.ERROR_FILE_CORRUPT: "The file is corrupt and unreadable",
    constants.ERROR_NO_SYSTEM_RESOURCES: "Not enough system resources",
    constants.ERROR_NOT_FOUND: "There is no such element",
    constants.ERROR_OPERATION_ABORTED: "The operation was aborted",
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND: "The parent of the virtual disk was not found",
    constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH: "The parent has another identity",
    constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND: "Nothing here knows this kind of virtual disk",
    constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK: "This is no virtual disk",
    constants.ERROR_VHD_INVALID_TYPE: "Not for a virtual disk of this type",
    constants.ERROR_VHD_INVALID_STATE: "Not for a virtual disk in this state",
    constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA: "That would cut off data of the virtual disk",
    constants.ERROR_VHD_METADATA_FULL: "The metadata of the virtual disk is full",
    constants.ERROR_VHD_INVALID_CHANGE_TRACKING_ID: "The change tracking id is not known",
    constants.ERROR_VHD_CHANGE_TRACKING_DISABLED: "The virtual disk does not track changes",
}


def format_message(code: int) -> str:
    """Return the text of a Win32 code, without the code, which whoever shows it adds."""
    if sys.platform == "win32":
        text = ctypes.FormatError(code - (code >> 31 << 32)).strip()  # it takes a signed number
        if text != _NO_TEXT:
            return text
    return _TEXTS.get(code, "An error that has no text here")
