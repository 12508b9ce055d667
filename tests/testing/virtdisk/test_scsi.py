"""RawSCSIVirtualDisk."""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest

from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows, SimulationError
from tests.testing.virtdisk.disks import MIB, RAW, VHD, VHDX, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
READ_ONLY = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
FIXED = enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
A = "C:\\a.vhdx"
GOOD, CHECK_CONDITION = 0, 2
ILLEGAL_REQUEST, DATA_PROTECT = 5, 7


class Answer(NamedTuple):
    """What comes of a command. `sense`: its key and additional code."""

    status: int
    data: bytes
    sense: tuple[int, int] | None


class Scsi:
    """Sends commands to a disk."""

    def __init__(self, disks: Disks, handle: int) -> None:
        self.call, self.handle = disks.virtdisk.RawSCSIVirtualDisk, handle

    def send(self, command: bytes, *, read: int = 0, data: bytes = b"") -> Answer:
        size = max(read, len(data))
        block, extra = Block(-(-max(size, 1) // PAGE_SIZE) * PAGE_SIZE), Block(PAGE_SIZE)
        block.memory[: len(data)] = data
        extra.memory[: len(command)] = command
        asked = v.RAW_SCSI_VIRTUAL_DISK_PARAMETERS(Version=1)
        given, response = asked.Version1, v.RAW_SCSI_VIRTUAL_DISK_RESPONSE()
        given.DataIn, given.CdbLength, given.SenseInfoLength = not data, len(command), 32
        given.DataTransferLength, given.DataBuffer = size, block.address
        given.Cdb, given.SenseInfo = extra.address, extra.address + 64
        assert self.call(self.handle, address_of(asked), 0, address_of(response)) == 0
        result = response.Version1
        sense = None
        if result.ScsiStatus:
            assert result.SenseInfoLength == 18
            sense = extra.memory[64 + 2], extra.memory[64 + 12]
        told = bytes(block.memory[: result.DataTransferLength]) if given.DataIn else b""
        return Answer(result.ScsiStatus, told, sense)

    def read(self, first: int, count: int, size: int = 512) -> Answer:
        command = struct.pack(">BBQIH", 0x88, 0, first, count, 0)
        return self.send(command, read=count * size)

    def write(self, first: int, data: bytes, *, fua: bool = False) -> Answer:
        count = len(data) // 512
        command = struct.pack(">BBQIH", 0x8A, 8 if fua else 0, first, count, 0)
        return self.send(command, data=data)

    def unmap(self, *ranges: tuple[int, int]) -> Answer:
        entries = b"".join(struct.pack(">QII", first, count, 0) for first, count in ranges)
        data = struct.pack(">HHI", len(entries) + 6, len(entries), 0) + entries
        return self.send(struct.pack(">BBIBHB", 0x42, 0, 0, 0, len(data), 0), data=data)

    def page(self, number: int) -> Answer:
        return self.send(struct.pack(">BBBHB", 0x12, 1, number, 255, 0), read=255)


def attached(disks: Disks, path: str = A, **how: int) -> Scsi:
    handle = disks.create(path, 8 * MIB, **how)
    assert disks.attach(handle) == 0
    return Scsi(disks, handle)


def test_the_disk_tells_what_it_is(disks: Disks) -> None:
    scsi = attached(disks)
    assert scsi.send(bytes(6)) == (GOOD, b"", None)
    status, data, _ = scsi.send(struct.pack(">BBBHB", 0x12, 0, 0, 36, 0), read=64)
    assert (status, len(data), data[8:16]) == (GOOD, 36, b"Msft    ")
    assert scsi.page(0).data[4:] == b"\x00\x80\x83\xb0\xb1\xb2"
    serial = scsi.page(0x80).data[4:]
    assert len(serial) == 32
    assert scsi.page(0x83).data[4:].endswith(serial)
    assert scsi.send(struct.pack(">BBBHB", 0x12, 0, 0x80, 36, 0), read=64).sense == (5, 0x24)
    assert scsi.page(0xC0).sense == (ILLEGAL_REQUEST, 0x24)


def test_the_capacity_follows_a_resize(disks: Disks) -> None:
    scsi = attached(disks)
    ten, sixteen = bytes([0x25]) + bytes(9), struct.pack(">BBQIH", 0x9E, 0x10, 0, 32, 0)
    assert struct.unpack(">II", scsi.send(ten, read=8).data) == (8 * 2048 - 1, 512)
    assert disks.resize(scsi.handle, 16 * MIB) == 0
    data = scsi.send(sixteen, read=32).data
    assert struct.unpack_from(">QIBB", data) == (16 * 2048 - 1, 512, 0, 3)
    assert data[14] == 0xC0
    assert len(scsi.send(sixteen, read=12).data) == 12


def test_what_is_written_is_read_by_either_way(disks: Disks) -> None:
    scsi = attached(disks)
    assert scsi.write(7, b"\x07" * 1024).status == GOOD
    assert disks.get(scsi.handle, 7 * 512, 1024) == b"\x07" * 1024
    assert disks.put(scsi.handle, 8 * 512, b"\x08" * 512) == 0
    assert scsi.read(7, 2).data == b"\x07" * 512 + b"\x08" * 512
    write = struct.pack(">BBIBHB", 0x2A, 0, 9, 0, 1, 0)
    assert scsi.send(write, data=b"\x09" * 512).status == GOOD
    read = struct.pack(">BBIBHB", 0x28, 0, 9, 0, 1, 0)
    assert scsi.send(read, read=512).data == b"\x09" * 512


@pytest.mark.parametrize("seed", range(5))
def test_what_was_flushed_survives_a_power_cut(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Disks(windows) as disks:
        scsi = attached(disks)
        assert scsi.write(0, b"\x01" * 512).status == GOOD
        assert scsi.send(bytes([0x35]) + bytes(9)).status == GOOD
        assert scsi.write(1, b"\x02" * 512, fua=True).status == GOOD
        windows.power_cut()
        disks.close(scsi.handle)
        assert disks.content(A, 0, 1024) == b"\x01" * 512 + b"\x02" * 512


def test_what_the_disk_refuses_is_a_check_condition(disks: Disks) -> None:
    scsi = attached(disks)
    assert scsi.send(bytes([0xA0]) + bytes(11)).sense == (ILLEGAL_REQUEST, 0x20)
    assert scsi.send(bytes([0x28])).sense == (ILLEGAL_REQUEST, 0x24)
    assert scsi.read(8 * 2048, 1).sense == (ILLEGAL_REQUEST, 0x21)
    assert scsi.read(1 << 63, 1).sense == (ILLEGAL_REQUEST, 0x21)
    assert scsi.write(8 * 2048 - 1, bytes(1024)).sense == (ILLEGAL_REQUEST, 0x21)
    assert scsi.unmap((0, 8), (8 * 2048, 1)).sense == (ILLEGAL_REQUEST, 0x21)
    assert scsi.unmap(*[(0, 1)] * 257).sense == (ILLEGAL_REQUEST, 0x26)
    read = struct.pack(">BBIBHB", 0x28, 0, 0, 0, 2, 0)
    assert scsi.send(read, read=512).sense == (ILLEGAL_REQUEST, 0x24)


def test_a_disk_that_is_attached_read_only_is_protected(disks: Disks) -> None:
    disks.make(A, 8 * MIB)
    handle = disks.open(A, read_only=True)
    assert disks.attach(handle, RAW | READ_ONLY) == 0
    scsi = Scsi(disks, handle)
    assert scsi.read(0, 1).data == bytes(512)
    assert scsi.write(0, bytes(512)).sense == (DATA_PROTECT, 0x27)
    assert scsi.unmap((0, 8)).sense == (DATA_PROTECT, 0x27)


def test_what_is_unmapped_is_zeros_and_takes_no_room(disks: Disks) -> None:
    scsi = attached(disks)
    for at in range(0, 4 * 2048, 2048):
        assert scsi.write(at, b"\x11" * MIB).status == GOOD
    before = disks.physical_size(scsi.handle)
    assert scsi.unmap((8, 4096), (6144, 2047)).status == GOOD
    assert before - 4 * MIB < disks.physical_size(scsi.handle) < before - 2 * MIB
    assert scsi.read(0, 16).data == b"\x11" * 4096 + bytes(4096)
    assert scsi.read(8190, 2).data == bytes(512) + b"\x11" * 512


def test_what_is_unmapped_in_a_child_hides_its_parent(disks: Disks) -> None:
    disks.make("C:\\p.vhdx", 8 * MIB)
    disks.fill("C:\\p.vhdx", 0, b"\x01" * 4096)
    handle = disks.create("C:\\c.vhdx", parent="C:\\p.vhdx")
    assert disks.attach(handle) == 0
    scsi = Scsi(disks, handle)
    assert scsi.unmap((1, 2)).status == GOOD
    assert scsi.read(0, 4).data == b"\x01" * 512 + bytes(1024) + b"\x01" * 512


@pytest.mark.parametrize(
    ("path", "device", "flags", "thin"),
    [
        (A, VHDX, 0, True),
        (A, VHDX, FIXED, False),
        ("C:\\a.vhd", VHD, 0, False),
        ("C:\\a.vhd", VHD, FIXED, False),
    ],
)
def test_a_disk_says_whether_it_can_be_unmapped(
    disks: Disks, path: str, device: int, flags: int, thin: bool
) -> None:
    scsi = attached(disks, path, device=device, flags=flags)
    sectors, ranges = struct.unpack_from(">II", scsi.page(0xB0).data, 20)
    assert bool(sectors) == bool(ranges) == thin
    assert bool(scsi.page(0xB2).data[5] & 0x80) == thin
    assert (scsi.unmap((0, 1)).status == GOOD) == thin


def test_the_call_itself_fails_where_no_command_comes_through(disks: Disks) -> None:
    disks.make(A, 8 * MIB)
    for how, code in (
        ({}, 21),
        ({"info_only": True}, 5),
        ({"version": 1, "mask": int(ACCESS.READ)}, 5),
        ({"version": 1, "mask": int(ACCESS.ALL)}, 21),
    ):
        handle = disks.open(A, **how)
        asked, response = v.RAW_SCSI_VIRTUAL_DISK_PARAMETERS(), v.RAW_SCSI_VIRTUAL_DISK_RESPONSE()
        call = disks.virtdisk.RawSCSIVirtualDisk
        assert call(handle, address_of(asked), 0, address_of(response)) == (
            87 if code == 21 else code
        )
        asked.Version = 1
        assert call(handle, address_of(asked), 0, address_of(response)) == code
        disks.close(handle)


def test_memory_that_is_not_there_is_reported() -> None:
    with pytest.raises(SimulationError, match="RawSCSIVirtualDisk was given 0x1000"):
        send_to_nowhere()


def send_to_nowhere() -> None:
    with SimulatedWindows() as windows, Disks(windows) as disks:
        scsi = attached(disks)
        asked, response = v.RAW_SCSI_VIRTUAL_DISK_PARAMETERS(Version=1), Block(PAGE_SIZE)
        asked.Version1.CdbLength, asked.Version1.Cdb = 6, response.address + 64
        asked.Version1.DataTransferLength, asked.Version1.DataBuffer = 512, 0x1000
        assert scsi.call(scsi.handle, address_of(asked), 0, response.address) == 998
