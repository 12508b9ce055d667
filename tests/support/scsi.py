"""A SCSI target behind RawSCSIVirtualDisk that answers as a test wants it to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeAlias

from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp.testing import memory

__all__ = ["DESCRIPTOR_SENSE", "FIXED_SENSE", "Answer", "Target", "pages", "ranges_of"]

Answer: TypeAlias = "tuple[int, bytes, bytes]"
"""Status, sense data and data."""

FIXED_SENSE = bytes([0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0x01, 0, 0, 0, 0])
DESCRIPTOR_SENSE = bytes([0x72, 5, 0x24, 0x00, 0, 0, 0, 0])


class Target:
    """A SCSI target: `answers` takes the CDB and returns status, sense and data."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, int, int]] = []
        self.answers: Callable[[bytes], Answer] = lambda cdb: (0, b"", b"")

    def send(self, disk: int, parameters: int, flags: int, response: int) -> int:
        assert flags == 0
        given = v.RAW_SCSI_VIRTUAL_DISK_PARAMETERS.from_address(parameters)
        command = given.Version1
        assert (given.Version, command.RSVDHandle) == (1, 0)
        cdb = memory.read(command.Cdb, command.CdbLength)
        size = command.DataTransferLength
        data = b"" if command.DataIn or not size else memory.read(command.DataBuffer, size)
        self.seen.append((cdb, data, size, command.SrbFlags))
        status, sense, answer = self.answers(cdb)
        memory.write(command.SenseInfo, sense)
        if command.DataIn:
            memory.write(command.DataBuffer, answer[:size])
        result = v.RAW_SCSI_VIRTUAL_DISK_RESPONSE.from_address(response)
        result.Version = 1
        result.Version1.ScsiStatus = status
        result.Version1.SenseInfoLength = len(sense)
        result.Version1.DataTransferLength = min(size, len(answer)) if command.DataIn else size
        return 0


def pages(
    supported: bytes = b"\x00\xb0\xb2", limits: tuple[int, int] = (1000, 16), lbpu: int = 0x80
) -> Callable[[bytes], Answer]:
    """Return a target with the VPD pages that tell about UNMAP."""

    def answer(cdb: bytes) -> Answer:
        assert cdb[:2] == b"\x12\x01"
        body = {
            0x00: supported,
            0xB0: bytes(16) + struct.pack(">II", *limits) + bytes(36),
            0xB2: bytes([0, lbpu, 0, 0]),
        }[cdb[2]]
        return 0, b"", struct.pack(">BBH", 0, cdb[2], len(body)) + body

    return answer


def ranges_of(data: bytes) -> list[tuple[int, int]]:
    total, descriptors, reserved = struct.unpack_from(">HHI", data)
    assert (total, reserved) == (len(data) - 2, 0)
    assert descriptors == len(data) - 8
    found = [struct.unpack_from(">QII", data, at) for at in range(8, len(data), 16)]
    assert all(padding == 0 for _, _, padding in found)
    return [(sector, count) for sector, count, _ in found]
