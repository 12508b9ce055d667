"""SCSI: what is sent, what comes back, and what a command's failure tells."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from pyvhdmp import ScsiError, ScsiResponse, VirtualDisk
from pyvhdmp._win32 import current
from pyvhdmp.testing import substituted
from pyvhdmp.virtual_disk.scsi import UnmapLimits, unmap_commands, unmap_limits
from tests.support.scsi import DESCRIPTOR_SENSE, FIXED_SENSE, Target, pages, ranges_of
from tests.support.vhdmp import Driver


@pytest.fixture
def target(driver: Driver) -> Iterator[Target]:
    target = Target()
    with substituted(virtdisk={"RawSCSIVirtualDisk": target.send}):
        yield target


def test_a_command_that_reads(target: Target) -> None:
    target.answers = lambda cdb: (0, b"", b"abc")
    with VirtualDisk.open("a.vhdx") as disk:
        response = disk.raw_scsi(bytes([0x12, 0, 0, 0, 36, 0]), length=36)
    assert response == ScsiResponse(0, b"", b"abc")
    assert response.check() == b"abc"
    assert target.seen == [(bytes([0x12, 0, 0, 0, 36, 0]), b"", 36, 0x40)]


def test_a_command_that_writes_and_one_that_does_neither(target: Target) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.raw_scsi(bytes(10), data=b"x" * 5000).is_good
        assert disk.raw_scsi(bytes(6)).check() == b""
    assert target.seen == [(bytes(10), b"x" * 5000, 5000, 0x80), (bytes(6), b"", 0, 0)]


@pytest.mark.parametrize(
    ("sense", "key", "additional", "text"),
    [
        (FIXED_SENSE, 5, (0x21, 0x01), "status 0x02, sense key 0x5, additional sense 21h/01h"),
        (DESCRIPTOR_SENSE, 5, (0x24, 0), "status 0x02, sense key 0x5, additional sense 24h/00h"),
        (b"\x70\x00", None, None, "status 0x02"),
        (b"", None, None, "status 0x02"),
    ],
)
def test_a_command_that_the_disk_refuses_says_why(
    target: Target, sense: bytes, key: int | None, additional: tuple[int, int] | None, text: str
) -> None:
    target.answers = lambda cdb: (2, sense, b"")
    with VirtualDisk.open("a.vhdx") as disk:
        response = disk.raw_scsi(bytes(6), length=8)
    assert not response.is_good
    assert (response.sense_key, response.additional_sense) == (key, additional)
    with pytest.raises(ScsiError, match=text) as caught:
        response.check()
    assert caught.value.response is response


# -- UNMAP --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "limits"),
    [
        (pages(), UnmapLimits(1000, 16)),
        (pages(supported=b"\x00\x80\xb0"), None),
        (pages(lbpu=0x04), None),
        (pages(limits=(0, 16)), None),
        (pages(limits=(8, 0)), None),
        (lambda cdb: (2, FIXED_SENSE, b""), None),
        (lambda cdb: (0, b"", b"\x00"), None),
    ],
)
def test_the_disks_own_pages_say_whether_it_takes_unmap(
    target: Target,
    answers: Callable[[bytes], tuple[int, bytes, bytes]],
    limits: UnmapLimits | None,
) -> None:
    target.answers = answers
    with VirtualDisk.open("a.vhdx") as disk:
        assert unmap_limits(current(), disk.handle, disk.path) == limits


@pytest.mark.parametrize(
    ("sector", "count", "limits", "commands"),
    [
        (7, 5, UnmapLimits(100, 1), [[(7, 5)]]),
        (0, 250, UnmapLimits(100, 4), [[(0, 100)], [(100, 100)], [(200, 50)]]),
        (1 << 40, 1, UnmapLimits(0xFFFFFFFF, 0xFFFFFFFF), [[(1 << 40, 1)]]),
        (
            0,
            (1 << 32) + 8,
            UnmapLimits(1 << 40, 8),
            [[(0, 0xFFFFFFFF), (0xFFFFFFFF, 9)]],
        ),
        (0, 0, UnmapLimits(1, 1), []),
    ],
)
def test_a_range_becomes_commands_within_the_limits(
    sector: int, count: int, limits: UnmapLimits, commands: list[list[tuple[int, int]]]
) -> None:
    made = list(unmap_commands(sector, count, limits))
    assert [ranges_of(data) for _, data in made] == commands
    for cdb, data in made:
        assert cdb == struct.pack(">BBIBHB", 0x42, 0, 0, 0, len(data), 0)
