"""RawSCSIVirtualDisk: a SCSI disk, as far as somebody has asked for it.

Rules:

1. The call succeeds if the command was given to the disk. Whether the disk did it is told
   by ScsiStatus and, after CHECK CONDITION, by the sense data.
2. It wants an attached disk, and memory where it is said to be. Writing wants a disk that
   is attached for writing, else the sense is DATA PROTECT.
3. The commands: TEST UNIT READY, INQUIRY with its pages, READ CAPACITY, READ, WRITE,
   SYNCHRONIZE CACHE, UNMAP. Everything else is an ILLEGAL REQUEST.
4. Dynamic and differencing VHDX disks can be unmapped: what was reads as zeros, and whole
   chunks of 64 KiB take no room any more. A fixed disk, or a VHD, does not say that it
   can, and refuses the command.

Source of the commands: SBC-3, SPC-4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    RAW_SCSI_VIRTUAL_DISK_PARAMETERS,
    RAW_SCSI_VIRTUAL_DISK_RESPONSE,
)
from pyvhdmp.testing import memory
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.host import Content, read_through
from pyvhdmp.testing.virtdisk.images import ISO, VHDSET, VHDX, Image

__all__ = ["Scsi"]

_VERSION = enums.RAW_SCSI_VIRTUAL_DISK_VERSION
_GOOD: Final = 0x00
_CHECK_CONDITION: Final = 0x02

_ILLEGAL_REQUEST: Final = 5
_DATA_PROTECT: Final = 7

_TEST_UNIT_READY: Final = 0x00
_INQUIRY: Final = 0x12
_READ_CAPACITY_10: Final = 0x25
_READ_10: Final = 0x28
_WRITE_10: Final = 0x2A
_SYNCHRONIZE_CACHE_10: Final = 0x35
_UNMAP: Final = 0x42
_READ_16: Final = 0x88
_WRITE_16: Final = 0x8A
_SERVICE_ACTION_IN_16: Final = 0x9E
_READ_CAPACITY_16: Final = 0x10
_FORCE_UNIT_ACCESS: Final = 0x08
_CD: Final = 5

_MOST_RANGES: Final = 256
_MOST_SECTORS: Final = 0x40000
"""What one UNMAP can do, and says so in the block limits page."""

_LENGTHS: Final = (6, 10, 10, 0, 16, 12, 0, 0)
"""The bytes of a command, by the upper three bits of its first."""


class _Check(Exception):
    """The command is not done: sense key, additional code and its qualifier."""

    def __init__(self, key: int, code: int, qualifier: int = 0) -> None:
        super().__init__(key, code, qualifier)
        head = struct.pack(">BBBIBIBB", 0x70, 0, key, 0, 10, 0, code, qualifier)
        self.sense = head.ljust(18, b"\0")


def _invalid_command() -> _Check:
    return _Check(_ILLEGAL_REQUEST, 0x20)


def _invalid_field() -> _Check:
    return _Check(_ILLEGAL_REQUEST, 0x24)


class Scsi(Functions):
    """Take SCSI commands."""

    def RawSCSIVirtualDisk(self, disk: int, parameters: int, flags: int, response: int) -> int:
        """Give a SCSI command to an attached disk."""
        opened = self._found(disk)
        if opened.version == enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1:
            opened = self._found(disk, enums.VIRTUAL_DISK_ACCESS.ALL)
        require(not opened.is_harmless, constants.ERROR_ACCESS_DENIED)
        asked = structure(RAW_SCSI_VIRTUAL_DISK_PARAMETERS, parameters)
        require(asked.Version == _VERSION.VERSION_1 and not flags and bool(response))
        given = asked.Version1
        require(opened.is_attached, constants.ERROR_NOT_READY)
        require(0 < given.CdbLength <= 32)
        for address, length in (
            (given.Cdb, given.CdbLength),
            (given.SenseInfo, given.SenseInfoLength),
            (given.DataBuffer, given.DataTransferLength),
        ):
            self._require_memory("RawSCSIVirtualDisk", address, length)
        command = memory.read(given.Cdb, given.CdbLength)
        room = given.DataTransferLength
        data = b"" if given.DataIn or not room else memory.read(given.DataBuffer, room)
        answer = RAW_SCSI_VIRTUAL_DISK_RESPONSE(Version=_VERSION.VERSION_1)
        result = answer.Version1
        try:
            if len(command) < _LENGTHS[command[0] >> 5]:
                raise _invalid_field()
            told = self._do(opened, command, data, room)
            result.ScsiStatus = _GOOD
            result.DataTransferLength = len(told) if given.DataIn else len(data)
            if given.DataIn:
                memory.write(given.DataBuffer, told)
        except _Check as check:
            result.ScsiStatus = _CHECK_CONDITION
            sense = check.sense[: given.SenseInfoLength]
            result.SenseInfoLength = len(sense)
            if sense:
                memory.write(given.SenseInfo, sense)
        put(response, answer)
        return constants.ERROR_SUCCESS

    def _do(self, opened: OpenImage, command: bytes, data: bytes, room: int) -> bytes:
        """Do a command; return what it tells, at most as much as there is room for."""
        operation = command[0]
        if operation == _INQUIRY:
            most = min(room, int.from_bytes(command[3:5], "big"))
            return _inquiry(opened.image, command)[:most]
        if operation == _TEST_UNIT_READY:
            return b""
        if operation == _READ_CAPACITY_10:
            last = min(_sectors(opened) - 1, 0xFFFFFFFF)
            return struct.pack(">II", last, opened.image.sector_size)[:room]
        if operation == _SERVICE_ACTION_IN_16 and command[1] & 0x1F == _READ_CAPACITY_16:
            most = min(room, int.from_bytes(command[10:14], "big"))
            return _capacity(opened)[:most]
        if operation in (_READ_10, _READ_16):
            offset, length = _range(opened, *_sector_range(command))
            if length > room:
                raise _invalid_field()
            return read_through(self._layers(opened), opened.start + offset, length)
        if operation in (_WRITE_10, _WRITE_16):
            offset, length = _range(opened, *_sector_range(command))
            _check_writable(opened)
            if length > len(data):
                raise _invalid_field()
            content = self._content(opened)
            content.write(opened.start + offset, data[:length])
            opened.disk.changed(opened.start + offset, length)
            if command[1] & _FORCE_UNIT_ACCESS:
                content.flush()
            return b""
        if operation == _SYNCHRONIZE_CACHE_10:
            self._content(opened).flush()
            return b""
        if operation == _UNMAP and _is_thin(opened.image):
            _check_writable(opened)
            self._unmap(opened, data[: int.from_bytes(command[7:9], "big")])
            return b""
        raise _invalid_command()

    def _content(self, opened: OpenImage) -> Content:
        return self._host.content(opened.path, opened, write=True)

    def _unmap(self, opened: OpenImage, parameters: bytes) -> None:
        """Do what the parameter list of an UNMAP says, all of it or nothing."""
        ranges = []
        end = min(len(parameters), 8 + int.from_bytes(parameters[2:4], "big"))
        for at in range(8, end - 15, 16):
            first, count = struct.unpack_from(">QI", parameters, at)
            ranges.append(_range(opened, first, count))
        sectors = sum(length for _, length in ranges) // opened.image.sector_size
        if len(ranges) > _MOST_RANGES or sectors > _MOST_SECTORS:
            raise _Check(_ILLEGAL_REQUEST, 0x26)
        content = self._content(opened)
        for offset, length in ranges:
            content.zero(opened.start + offset, length)
            opened.disk.changed(opened.start + offset, length)


# -- Commands -------------------------------------------------------------------


def _sector_range(command: bytes) -> tuple[int, int]:
    """Return the first sector and the sectors of a READ or WRITE."""
    if command[0] in (_READ_16, _WRITE_16):
        return int.from_bytes(command[2:10], "big"), int.from_bytes(command[10:14], "big")
    return int.from_bytes(command[2:6], "big"), int.from_bytes(command[7:9], "big")


def _sectors(opened: OpenImage) -> int:
    return opened.size // opened.image.sector_size


def _range(opened: OpenImage, first: int, count: int) -> tuple[int, int]:
    """Return the offset and the bytes of sectors that must be there."""
    if first + count > _sectors(opened):
        raise _Check(_ILLEGAL_REQUEST, 0x21)
    return first * opened.image.sector_size, count * opened.image.sector_size


def _check_writable(opened: OpenImage) -> None:
    if not opened.is_writable:
        raise _Check(_DATA_PROTECT, 0x27)


def _is_thin(image: Image) -> bool:
    return image.device in (VHDX, VHDSET) and not image.is_fixed


# -- What a disk tells about itself ---------------------------------------------


def _capacity(opened: OpenImage) -> bytes:
    image = opened.image
    exponent = (image.physical_sector_size // image.sector_size).bit_length() - 1
    thin = 0xC0 if _is_thin(image) else 0  # LBPME, LBPRZ
    head = struct.pack(">QIBBB", _sectors(opened) - 1, image.sector_size, 0, exponent, thin)
    return head.ljust(32, b"\0")


def _inquiry(image: Image, command: bytes) -> bytes:
    kind, page = (_CD if image.device == ISO else 0), command[2]
    if not command[1] & 1:
        if page:
            raise _invalid_field()
        head = bytes([kind, 0, 6, 2, 31, 0, 0, 2])
        return head + b"Msft    " + b"Virtual Disk    " + b"1.0 "
    pages: dict[int, Callable[[Image], bytes]] = {
        0x80: lambda image: image.disk_id.hex.encode(),
        0x83: _identification,
        0xB0: _block_limits,
        0xB1: lambda image: (1).to_bytes(2, "big").ljust(60, b"\0"),  # it does not turn
        0xB2: lambda image: bytes([0, 0x84, 2, 0] if _is_thin(image) else 4),
    }
    if page == 0:
        content = bytes([0, *pages])
    elif page in pages:
        content = pages[page](image)
    else:
        raise _invalid_field()
    return bytes([kind, page]) + len(content).to_bytes(2, "big") + content


def _identification(image: Image) -> bytes:
    """A designator of the vendor's: ASCII, T10 vendor identification."""
    text = b"Msft    " + image.disk_id.hex.encode()
    return bytes([2, 1, 0, len(text)]) + text


def _block_limits(image: Image) -> bytes:
    most = (_MOST_SECTORS, _MOST_RANGES) if _is_thin(image) else (0, 0)
    unit = (64 << 10) // image.sector_size if _is_thin(image) else 0
    return (bytes(16) + struct.pack(">III", *most, unit)).ljust(60, b"\0")
