"""ExpandVirtualDisk and ResizeVirtualDisk."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.program import Overlapped
from tests.testing.virtdisk.disks import MIB, PENDING, VHD, VHDX, Disks

UNSAFE = enums.RESIZE_VIRTUAL_DISK_FLAG.ALLOW_UNSAFE_VIRTUAL_SIZE
SMALLEST = enums.RESIZE_VIRTUAL_DISK_FLAG.RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE
METAOPS = enums.VIRTUAL_DISK_ACCESS.METAOPS
A = "C:\\a.vhdx"


def mbr(*partitions: tuple[int, int]) -> bytes:
    """A partition table: first sector and sectors of each."""
    sector = bytearray(512)
    for index, (first, count) in enumerate(partitions):
        at = 446 + 16 * index
        sector[at + 4] = 7
        sector[at + 8 : at + 16] = first.to_bytes(4, "little") + count.to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def gpt(last: int) -> bytes:
    """A GPT with one partition up to a sector."""
    first = bytearray(mbr((1, 0xFFFFFFFF)))
    first[446 + 4] = 0xEE
    header = bytearray(512)
    header[:8] = b"EFI PART"
    header[72:80] = (2).to_bytes(8, "little")
    header[80:88] = (128).to_bytes(4, "little") + (128).to_bytes(4, "little")
    entry = b"\x01" * 32 + (2048).to_bytes(8, "little") + last.to_bytes(8, "little")
    return bytes(first) + bytes(header) + entry.ljust(512, b"\0")


@pytest.mark.parametrize("device", [VHD, VHDX])
@pytest.mark.parametrize("flags", [0, enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION])
def test_a_disk_grows_and_keeps_its_content(disks: Disks, device: int, flags: int) -> None:
    path = {VHD: "C:\\a.vhd", VHDX: A}[device]
    disks.make(path, 4 * MIB, device=device, flags=flags)
    disks.fill(path, 4 * MIB - 512, b"\x11" * 512)
    handle = disks.open(path)
    assert disks.expand(handle, 6 * MIB) == 0
    assert disks.resize(handle, 8 * MIB) == 0
    assert disks.size(handle) == 8 * MIB
    disks.close(handle)
    data = disks.content(path, 4 * MIB - 512, 4 * MIB + 512)
    assert data == b"\x11" * 512 + bytes(4 * MIB)


def test_a_size_must_be_one_that_the_format_has(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    for size in (2 * MIB, 4 * MIB + 1, (64 << 40) + 512):
        assert disks.resize(handle, size, flags=UNSAFE) == 87
    for size in (4 * MIB, 3 * MIB, 4 * MIB + 1, (64 << 40) + 512):
        assert disks.expand(handle, size) == 87
    assert disks.resize(handle, 8 * MIB, flags=0x100) == 87
    assert disks.size(handle) == 4 * MIB


def test_a_vhd_becomes_no_smaller(disks: Disks) -> None:
    handle = disks.create("C:\\a.vhd", 8 * MIB, device=VHD)
    assert disks.resize(handle, 4 * MIB) == 87
    assert disks.resize(handle, 4 * MIB, flags=UNSAFE) == 87
    assert disks.resize(handle, 0, flags=SMALLEST) == 87
    assert disks.size(handle) == 8 * MIB
    assert disks.resize(handle, 8 * MIB) == 0


def test_expanding_wants_the_right_and_a_disk_that_is_detached(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=enums.VIRTUAL_DISK_ACCESS.READ)
    assert disks.expand(handle, 8 * MIB) == 5
    disks.close(handle)
    handle = disks.open(A, version=1, mask=METAOPS)
    assert disks.resize(handle, 8 * MIB) == 87  # which wants version 2
    assert disks.expand(handle, 8 * MIB) == 0
    disks.close(handle)
    handle = disks.open(A)
    assert disks.attach(handle) == 0
    assert disks.expand(handle, 16 * MIB) == constants.ERROR_VHD_INVALID_STATE


def test_a_disk_that_others_only_read_is_not_resized(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    for how in ({"read_only": True}, {"info_only": True}):
        handle = disks.open(A, **how)
        assert disks.resize(handle, 8 * MIB) == 5
        disks.close(handle)


def test_what_was_written_is_not_cut_off_unless_asked_for(disks: Disks) -> None:
    disks.make(A, 16 * MIB)
    disks.fill(A, 5 * MIB, b"\x11" * 512)
    handle = disks.open(A)
    smallest = disks.info(
        handle, enums.GET_VIRTUAL_DISK_INFO_VERSION.SMALLEST_SAFE_VIRTUAL_SIZE
    ).SmallestSafeVirtualSize
    assert smallest == 6 * MIB
    assert disks.resize(handle, 5 * MIB) == constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA
    assert disks.resize(handle, 1 * MIB, flags=SMALLEST) == 87
    assert disks.resize(handle, 0, flags=SMALLEST) == 0
    assert disks.size(handle) == 6 * MIB
    code = constants.ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE
    assert disks.resize(handle, 0, flags=SMALLEST) == code
    assert disks.resize(handle, 3 * MIB, flags=UNSAFE) == 0
    assert disks.resize(handle, 6 * MIB) == 0
    assert disks.attach(handle) == 0
    assert disks.get(handle, 5 * MIB, 512) == bytes(512)


@pytest.mark.parametrize(
    ("table", "safe"),
    [
        (mbr((2048, 2048), (8192, 2048)), 5 * MIB),
        (gpt(8191), 4 * MIB + 33 * 512),
        (mbr(), 16 * MIB),  # a table without partitions says nothing
    ],
)
def test_a_disk_ends_safely_where_its_partitions_do(disks: Disks, table: bytes, safe: int) -> None:
    disks.make(A, 16 * MIB)
    disks.fill(A, 15 * MIB + 512, b"\x11" * 512)
    disks.fill(A, 0, table)
    handle = disks.open(A)
    assert disks.resize(handle, safe - 512) == constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA
    assert disks.resize(handle, safe) == 0


def test_a_disk_that_has_grown_can_go_back_to_what_it_was(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    for size in (6, 8):
        assert disks.resize(handle, size * MIB) == 0
    assert disks.resize(handle, 0, flags=SMALLEST) == 0
    assert disks.size(handle) == 3 * MIB


def test_a_disk_is_resized_under_its_reader(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    data = disks.open(A, guid=7)
    assert disks.attach(data) == 0
    assert disks.opened(A)[0] == 32  # for everybody else it is in use
    control = disks.open(A, guid=7)
    asks = disks.open(A, info_only=True)
    block = Block(PAGE_SIZE)
    assert disks.transfer("ReadFile", data, 4 * MIB, block, 512) == 27
    assert disks.resize(control, 8 * MIB) == 0
    assert [disks.size(handle) for handle in (data, control, asks)] == [8 * MIB] * 3
    assert disks.put(data, 8 * MIB - 512, b"\x11" * 512) == 0
    assert disks.resize(control, 4 * MIB, flags=UNSAFE) == 0
    assert disks.transfer("ReadFile", data, 4 * MIB, block, 512) == 27
    assert disks.put(data, 4 * MIB, bytes(512)) == 27


def test_reads_in_flight_see_the_disk_before_or_after() -> None:
    outcomes = set()
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, resized = disks.create(A, 4 * MIB), disks.overlapped()
            assert disks.attach(handle) == 0
            disks.resize(handle, 8 * MIB, overlapped=resized.address)
            reads = [(Overlapped(6 * MIB), Block(PAGE_SIZE)) for _ in range(8)]
            read = disks.kernel32.ReadFile
            for overlapped, block in reads:
                begun = read(handle, block.address, 512, 0, overlapped.address)
                if begun or disks.windows.get_last_error() == PENDING:
                    outcomes.add(disks.result(handle, overlapped))
            assert disks.result(handle, resized) == 0
            assert disks.get(handle, 6 * MIB, 512) == bytes(512)
    assert outcomes == {0, 27}


def test_a_differencing_disk_has_a_size_of_its_own(disks: Disks) -> None:
    disks.make("C:\\p.vhdx", 8 * MIB)
    disks.fill("C:\\p.vhdx", 0, b"\x01" * 8 * MIB)
    disks.make("C:\\c.vhdx", parent="C:\\p.vhdx")
    handle = disks.open("C:\\c.vhdx")
    assert disks.expand(handle, 16 * MIB) == constants.ERROR_VHD_INVALID_TYPE
    assert disks.resize(handle, 4 * MIB, flags=UNSAFE) == 0
    assert disks.resize(handle, 12 * MIB) == 0
    disks.close(handle)
    assert disks.size(disks.open("C:\\p.vhdx", info_only=True)) == 8 * MIB
    data = disks.content("C:\\c.vhdx", 4 * MIB - 512, 8 * MIB + 512)
    assert data == b"\x01" * 512 + bytes(8 * MIB)  # what it gets back is zeros


@pytest.mark.parametrize("seed", range(10))
def test_a_size_that_was_set_survives_a_power_cut(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Disks(windows) as disks:
        handle = disks.create(A, 4 * MIB)
        assert disks.attach(handle) == 0
        assert disks.put(handle, 0, b"\x22" * 65536) == 0
        assert disks.resize(handle, 8 * MIB) == 0
        windows.power_cut()
        disks.close(handle)
        assert disks.size(disks.open(A, info_only=True)) == 8 * MIB
        assert disks.content(A, 4 * MIB, 4 * MIB) == bytes(4 * MIB)
