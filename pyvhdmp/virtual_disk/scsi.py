"""SCSI commands to a virtual disk, past its file system and its data path.

RawSCSIVirtualDisk succeeds when the command was delivered. Whether the disk carried it out is
what its status says, and why not is in the sense data. Source of commands and codes: the SCSI
standards SPC-4 and SBC-3 of T10.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pyvhdmp._win32 import Windows, constants
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_enums import RAW_SCSI_VIRTUAL_DISK_FLAG, RAW_SCSI_VIRTUAL_DISK_VERSION
from pyvhdmp._win32.virtdisk_structures import (
    RAW_SCSI_VIRTUAL_DISK_PARAMETERS,
    RAW_SCSI_VIRTUAL_DISK_RESPONSE,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.checks import octets, whole_number
from pyvhdmp.errors import DiskError, InvalidInputError, check_code

__all__ = ["ScsiError", "ScsiResponse", "UnmapLimits", "send", "unmap_commands", "unmap_limits"]

_GOOD: Final = 0
_MAX_CDB: Final = 32
_SENSE_AT: Final = 256
_SENSE_SIZE: Final = 252  # the most that a length of one byte, rounded down to 4, can say
_MAX_DATA: Final = 0xFFFFFFFF

_INQUIRY: Final = 0x12
_UNMAP: Final = 0x42
_PAGE_SUPPORTED: Final = 0x00
_PAGE_BLOCK_LIMITS: Final = 0xB0
_PAGE_PROVISIONING: Final = 0xB2
_VPD_SIZE: Final = 252
_LBPU: Final = 0x80
_DESCRIPTOR: Final = struct.Struct(">QII")
_PARAMETERS: Final = struct.Struct(">HHI")


@dataclass(frozen=True)
class ScsiResponse:
    """What a command came to: `status` (0 is GOOD), sense data, and the data read."""

    status: int
    sense: bytes
    data: bytes

    @property
    def is_good(self) -> bool:
        """Whether the disk carried the command out."""
        return self.status == _GOOD

    @property
    def sense_key(self) -> int | None:
        """The kind of error, such as 5 for ILLEGAL REQUEST; None where no sense data says."""
        return self._sense(fixed=2, descriptor=1, mask=0x0F)

    @property
    def additional_sense(self) -> tuple[int, int] | None:
        """The additional sense code and its qualifier, where sense data has them."""
        code = self._sense(fixed=12, descriptor=2, mask=0xFF)
        qualifier = self._sense(fixed=13, descriptor=3, mask=0xFF)
        return None if code is None or qualifier is None else (code, qualifier)

    def check(self) -> bytes:
        """Return the data. Raises `ScsiError` if the command was not carried out."""
        if not self.is_good:
            raise ScsiError.of(self)
        return self.data

    def _sense(self, *, fixed: int, descriptor: int, mask: int) -> int | None:
        if not self.sense:
            return None
        at = descriptor if self.sense[0] & 0x7F in (0x72, 0x73) else fixed
        return self.sense[at] & mask if at < len(self.sense) else None


class ScsiError(DiskError):
    """A SCSI command that the disk did not carry out; `response` has the sense data."""

    response: ScsiResponse

    @classmethod
    def of(cls, response: ScsiResponse) -> ScsiError:
        """Return the error that a response stands for."""
        text = f"SCSI status {response.status:#04x}"
        if response.sense_key is not None:
            text += f", sense key {response.sense_key:#x}"
        if response.additional_sense is not None:
            code, qualifier = response.additional_sense
            text += f", additional sense {code:02X}h/{qualifier:02X}h"
        error = cls.because(text)
        error.response = response
        return error


def send(
    windows: Windows, handle: int, path: str, cdb: bytes, *, data: bytes = b"", length: int = 0
) -> ScsiResponse:
    """Send a command that writes `data`, or reads at most `length` bytes, or does neither.

    The memory of all three belongs to this call alone, until it has returned.
    """
    cdb, data, length = octets(cdb, "cdb"), octets(data, "data"), whole_number(length, "length")
    if not 6 <= len(cdb) <= _MAX_CDB:
        raise InvalidInputError.because(f"cdb must have 6 to {_MAX_CDB} bytes, not {len(cdb)}")
    if data and length:
        raise InvalidInputError.because("a command either writes data or reads it, and not both")
    if length < 0 or max(length, len(data)) > _MAX_DATA:
        raise InvalidInputError.because(f"length must be in 0 .. {_MAX_DATA}, not {length}")
    size = length or len(data)
    block = Block(PAGE_SIZE + -(-size // PAGE_SIZE) * PAGE_SIZE)
    block.memory[: len(cdb)] = cdb
    block.memory[PAGE_SIZE : PAGE_SIZE + len(data)] = data
    parameters = RAW_SCSI_VIRTUAL_DISK_PARAMETERS(Version=RAW_SCSI_VIRTUAL_DISK_VERSION.VERSION_1)
    command = parameters.Version1
    command.DataIn = bool(length)
    command.CdbLength = len(cdb)
    command.SenseInfoLength = _SENSE_SIZE
    command.SrbFlags = (
        constants.SRB_FLAGS_DATA_IN if length else constants.SRB_FLAGS_DATA_OUT if data else 0
    )
    command.DataTransferLength = size
    command.DataBuffer = block.address + PAGE_SIZE if size else 0
    command.SenseInfo = block.address + _SENSE_AT
    command.Cdb = block.address
    response = RAW_SCSI_VIRTUAL_DISK_RESPONSE()
    code = windows.virtdisk.RawSCSIVirtualDisk(
        handle, address_of(parameters), RAW_SCSI_VIRTUAL_DISK_FLAG.NONE, address_of(response)
    )
    check_code(code, "RawSCSIVirtualDisk", path)
    answer = response.Version1
    sense = b""
    if answer.ScsiStatus != _GOOD:
        sense = bytes(block.memory[_SENSE_AT : _SENSE_AT + min(answer.SenseInfoLength, 252)])
    read = min(answer.DataTransferLength, length)
    return ScsiResponse(answer.ScsiStatus, sense, bytes(block.memory[PAGE_SIZE : PAGE_SIZE + read]))


# -- UNMAP --------------------------------------------------------------------


@dataclass(frozen=True)
class UnmapLimits:
    """What one UNMAP command may name: blocks in all, and ranges of them."""

    blocks: int
    descriptors: int


def unmap_limits(windows: Windows, handle: int, path: str) -> UnmapLimits | None:
    """Ask a disk's own VPD pages whether it takes UNMAP, and how much at once."""
    pages = _vital_product_data(windows, handle, path, _PAGE_SUPPORTED)
    if _PAGE_BLOCK_LIMITS not in pages or _PAGE_PROVISIONING not in pages:
        return None
    provisioning = _vital_product_data(windows, handle, path, _PAGE_PROVISIONING)
    if len(provisioning) < 2 or not provisioning[1] & _LBPU:
        return None
    limits = _vital_product_data(windows, handle, path, _PAGE_BLOCK_LIMITS)
    if len(limits) < 24:
        return None
    blocks, descriptors = struct.unpack_from(">II", limits, 16)
    return UnmapLimits(blocks, descriptors) if blocks and descriptors else None


def _vital_product_data(windows: Windows, handle: int, path: str, page: int) -> bytes:
    """Return a page without its four bytes of header; empty where the disk has it not."""
    cdb = struct.pack(">BBBHB", _INQUIRY, 1, page, _VPD_SIZE, 0)
    response = send(windows, handle, path, cdb, length=_VPD_SIZE)
    if not response.is_good or len(response.data) < 4 or response.data[1] != page:
        return b""
    (length,) = struct.unpack_from(">H", response.data, 2)
    return response.data[4 : 4 + length]


def unmap_commands(sector: int, count: int, limits: UnmapLimits) -> Iterator[tuple[bytes, bytes]]:
    """Yield the commands, as CDB and data, that unmap a range of sectors."""
    while count:
        descriptors, room = b"", limits.blocks
        while count and room and len(descriptors) < min(limits.descriptors, 4095) * 16:
            step = min(count, room, 0xFFFFFFFF)
            descriptors += _DESCRIPTOR.pack(sector, step, 0)
            sector, count, room = sector + step, count - step, room - step
        data = _PARAMETERS.pack(len(descriptors) + 6, len(descriptors), 0) + descriptors
        yield struct.pack(">BBIBHB", _UNMAP, 0, 0, 0, len(data), 0), data
