"""Ranges of sectors: one suite that every kind of disk must pass, for every request alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from pyvhdmp import Disk, IllegalBlockError
from tests.disk.kinds import SECTORS, made
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 30

Request = Callable[[Disk, int, int], Future[object]]


def _read(disk: Disk, sector: int, count: int) -> Future[object]:
    return disk.read(sector, count)  # type: ignore[return-value]  # Future is invariant


def _read_vectored(disk: Disk, sector: int, count: int) -> Future[object]:
    return disk.read_vectored([bytearray(count * disk.sector_size)], sector)  # type: ignore[return-value]  # as above


def _write(disk: Disk, sector: int, count: int) -> Future[object]:
    return disk.write(sector, bytes(count * disk.sector_size))  # type: ignore[return-value]  # as above


def _unmap(disk: Disk, sector: int, count: int) -> Future[object]:
    return disk.unmap(sector, count)  # type: ignore[return-value]  # as above


REQUESTS = {
    "read": _read,
    "read_vectored": _read_vectored,
    "write": _write,
    "unmap": _unmap,
}

ILLEGAL = {
    "sector 2**64-1": (2**64 - 1, 1),
    "2**64-2 for 2": (2**64 - 2, 2),
    "2**64": (2**64, 1),
    "the last in a signed 64-bit byte offset": (2**63 // 512 - 1, 1),
    "the one after it": (2**63 // 512, 1),
    "wraps to 0 when shifted": (2**55, 1),
    "wraps to the first sectors when shifted": (2**55 + 1, 1),
    "first past the end": (SECTORS, 1),
    "straddles the end": (SECTORS - 1, 2),
    "all and one more": (0, SECTORS + 1),
    "negative": (-1, 1),
    "negative, to the first": (-1, 2),
    "empty, but far outside": (2**64 - 1, 0),
    "empty, just outside": (SECTORS + 1, 0),
    "empty and negative": (-1, 0),
}

LEGAL = {
    "the first": (0, 1),
    "the last": (SECTORS - 1, 1),
    "the last two": (SECTORS - 2, 2),
    "all": (0, SECTORS),
    "empty": (0, 0),
    "empty, inside": (5, 0),
    "empty, at the end": (SECTORS, 0),
}


@pytest.fixture
def disk(kind_or_slice: str, tmp_path: FilePath) -> Iterator[Disk]:
    with made(kind_or_slice, tmp_path) as disk:
        yield disk


@pytest.mark.parametrize("range_", ILLEGAL.values(), ids=ILLEGAL.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_rule_2_a_range_not_inside_the_disk_is_refused_without_any_io(
    disk: Disk, request_: Request, range_: tuple[int, int]
) -> None:
    calls = disk.port.calls
    with pytest.raises(IllegalBlockError) as caught:
        request_(disk, *range_)
    assert caught.value.filename == disk.path
    assert disk.port.calls == calls


@pytest.mark.parametrize("range_", LEGAL.values(), ids=LEGAL.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_rule_2_a_range_inside_the_disk_succeeds(
    disk: Disk, request_: Request, range_: tuple[int, int]
) -> None:
    request_(disk, *range_).result(SECONDS)


@pytest.mark.parametrize("request_", [_read, _unmap])
def test_rule_2_a_negative_count_is_refused(disk: Disk, request_: Request) -> None:
    with pytest.raises(IllegalBlockError, match="negative"):
        request_(disk, 4, -1)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_sector_that_is_no_whole_number_is_a_type_error(disk: Disk, request_: Request) -> None:
    with pytest.raises(TypeError):
        request_(disk, 1.0, 1)  # type: ignore[arg-type]  # that is the test


def test_a_legal_write_before_an_illegal_one_is_all_that_happens(disk: Disk) -> None:
    disk.write(SECTORS - 1, b"\x11" * 512).result(SECONDS)
    with pytest.raises(IllegalBlockError):
        disk.write(SECTORS - 1, b"\x22" * 1024)
    assert disk.read(SECTORS - 1, 1).result(SECONDS) == b"\x11" * 512
