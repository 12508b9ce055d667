"""Changed ranges: all of them, in order, however few fit in one answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvhdmp import ChangedRange, ChangeTracking, VirtualDisk
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp.testing import memory, substituted
from tests.support import windows
from tests.support.vhdmp import Driver

KIB = 1 << 10


class Changes:
    """A disk with a changed range in every so many bytes."""

    def __init__(self) -> None:
        self.step = 8 * KIB
        self.most = 5
        self.stuck = False
        self.asked: list[tuple[str, int, int]] = []

    def query(
        self,
        disk: int,
        since: str,
        offset: int,
        length: int,
        flags: int,
        ranges: int,
        count: int,
        processed: int,
    ) -> int:
        assert flags == 0
        self.asked.append((since, offset, length))
        room = v.ULONG_CELL.from_address(count)
        starts = range(-(-offset // self.step) * self.step, offset + length, self.step)
        told = list(starts)[: min(self.most, room.Value)]
        raw = b"".join(
            bytes(v.QUERY_CHANGES_VIRTUAL_DISK_RANGE(ByteOffset=at, ByteLength=KIB)) for at in told
        )
        memory.write(ranges, raw)
        room.Value = len(told)
        end = told[-1] + KIB if len(told) < len(starts) else offset + length
        done = 0 if self.stuck else end - offset
        v.ULONG64_CELL.from_address(processed).Value = done
        return 0


@pytest.fixture
def changes(driver: Driver) -> Iterator[Changes]:
    changes = Changes()
    with substituted(virtdisk={"QueryChangesVirtualDisk": changes.query}):
        yield changes


def test_changes_are_told_in_order_by_as_many_questions_as_it_takes(changes: Changes) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        found = list(disk.changes("then"))
    assert found == [ChangedRange(at, KIB) for at in range(0, 8 << 20, 8 * KIB)]
    assert len(changes.asked) > 100
    assert {since for since, _, _ in changes.asked} == {"then"}


def test_many_changes_come_in_one_answer(changes: Changes) -> None:
    changes.most = 1 << 20
    with VirtualDisk.open("a.vhdx") as disk:
        assert len(list(disk.changes("then"))) == 1024
    assert len(changes.asked) == 2


def test_a_part_of_a_disk_can_be_asked_for(changes: Changes) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        found = list(disk.changes("then", offset=16 * KIB, length=17 * KIB))
        assert list(disk.changes("then", offset=8 << 20)) == []
    assert found == [ChangedRange(at * KIB, KIB) for at in (16, 24, 32)]


def test_nothing_is_asked_before_the_first_is_wanted(changes: Changes) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        iterator = disk.changes("then")
        assert changes.asked == []
        assert next(iterator) == ChangedRange(0, KIB)
    with pytest.raises(ValueError, match="closed virtual disk"):
        list(iterator)


def test_an_answer_that_gets_nowhere_is_an_error_and_no_endless_loop(changes: Changes) -> None:
    changes.stuck = True
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(OSError, match=r"a\.vhdx") as caught:
        list(disk.changes("then"))
    assert windows.winerror(caught.value) == 234


@pytest.mark.parametrize("most_recent", ["", "rctX:01234567:0000", "x" * 255])
def test_change_tracking_state(driver: Driver, most_recent: str) -> None:
    driver.tracking = (1, 0, most_recent)
    with VirtualDisk.open("a.vhdx") as disk:
        assert disk.change_tracking == ChangeTracking(True, False, most_recent)
