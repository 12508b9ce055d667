"""NTSTATUS values of the simulation, and the Win32 codes that Windows makes of them.

Source: ntstatus.h, and the table behind RtlNtStatusToDosError.
"""

from __future__ import annotations

from typing import Final

from pyvhdmp._win32 import constants

__all__ = ["dos_error", "status_of"]

STATUS_SUCCESS: Final = 0x00000000
STATUS_PENDING: Final = constants.STATUS_PENDING
STATUS_BUFFER_OVERFLOW: Final = 0x80000005
STATUS_INVALID_INFO_CLASS: Final = 0xC0000003
STATUS_INVALID_HANDLE: Final = 0xC0000008
STATUS_END_OF_FILE: Final = 0xC0000011
STATUS_ACCESS_DENIED: Final = 0xC0000022
STATUS_INSUFFICIENT_RESOURCES: Final = 0xC000009A
STATUS_DEVICE_NOT_CONNECTED: Final = 0xC000009D
STATUS_CANCELLED: Final = 0xC0000120
STATUS_PIPE_BROKEN: Final = 0xC000014B
STATUS_UNSUCCESSFUL: Final = constants.STATUS_UNSUCCESSFUL

_DOS_ERROR: Final = {
    STATUS_SUCCESS: constants.ERROR_SUCCESS,
    STATUS_PENDING: constants.ERROR_IO_PENDING,
    STATUS_BUFFER_OVERFLOW: constants.ERROR_MORE_DATA,
    STATUS_UNSUCCESSFUL: constants.ERROR_GEN_FAILURE,
    STATUS_INVALID_INFO_CLASS: constants.ERROR_INVALID_PARAMETER,
    STATUS_INVALID_HANDLE: constants.ERROR_INVALID_HANDLE,
    0xC000000D: constants.ERROR_INVALID_PARAMETER,
    0xC0000010: constants.ERROR_INVALID_FUNCTION,
    STATUS_END_OF_FILE: constants.ERROR_HANDLE_EOF,
    STATUS_ACCESS_DENIED: constants.ERROR_ACCESS_DENIED,
    0xC000003F: constants.ERROR_CRC,
    0xC000007F: constants.ERROR_DISK_FULL,
    STATUS_INSUFFICIENT_RESOURCES: constants.ERROR_NO_SYSTEM_RESOURCES,
    STATUS_DEVICE_NOT_CONNECTED: constants.ERROR_DEVICE_NOT_CONNECTED,
    0xC00000A2: constants.ERROR_WRITE_PROTECT,
    0xC00000BB: constants.ERROR_NOT_SUPPORTED,
    STATUS_CANCELLED: constants.ERROR_OPERATION_ABORTED,
    STATUS_PIPE_BROKEN: constants.ERROR_BROKEN_PIPE,
    0xC0000185: constants.ERROR_IO_DEVICE,
}
_STATUS: Final = {code: status for status, code in _DOS_ERROR.items() if status != 0xC000000D} | {
    constants.ERROR_INVALID_PARAMETER: 0xC000000D
}
_FACILITY: Final = 0xC0010000
"""Statuses of this facility carry a Win32 code, for codes with no status of their own."""
_VIRTUAL_DISKS: Final = 0xC03A0000
"""What is wrong with a virtual disk has the same number as a status and as a Win32 code."""

_ERROR_MR_MID_NOT_FOUND: Final = 317


def dos_error(status: int) -> int:
    """Return the Win32 code of an NTSTATUS, as RtlNtStatusToDosError does."""
    if status in _DOS_ERROR:
        return _DOS_ERROR[status]
    if status & 0xFFFF0000 == _FACILITY:
        return status & 0xFFFF
    if status & 0xFFFF0000 == _VIRTUAL_DISKS:
        return status
    return _ERROR_MR_MID_NOT_FOUND


def status_of(code: int) -> int:
    """Return an NTSTATUS that becomes this Win32 code."""
    if code & 0xFFFF0000 == _VIRTUAL_DISKS:
        return code
    return _STATUS.get(code, _FACILITY | (code & 0xFFFF))
