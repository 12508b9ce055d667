"""What is restored is what was backed up, of however many backups it is made."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import pytest

from pyvhdmp import VirtualDisk, open_disk
from pyvhdmp.testing import SimulatedWindows
from tests.examples import backup_changes
from tests.examples.backup_changes import IN_FLIGHT, in_order

MIB: Final = 1 << 20
SIZE: Final = 40 * MIB


@pytest.fixture
def simulation() -> Iterator[SimulatedWindows]:
    """Change tracking sees writes, as no driver over real files does but Windows' own."""
    with SimulatedWindows(seed=5) as simulation:
        yield simulation


@pytest.fixture(params=[512, 4096])
def disk(simulation: SimulatedWindows, request: pytest.FixtureRequest) -> str:
    VirtualDisk.create_dynamic("a.vhdx", SIZE, sector_size=request.param).close()
    write({0: random.Random(0).randbytes(3 * MIB), 30 * MIB: b"\x01" * 2 * MIB})
    return "a.vhdx"


def write(data: dict[int, bytes], path: str = "a.vhdx") -> None:
    with open_disk(path) as disk:
        for offset, octets in data.items():
            disk.write(offset // disk.sector_size, octets).result()


def content(path: str) -> bytes:
    with open_disk(path, read_only=True) as disk:
        return disk.read(0, disk.sector_count).result()


def back_up(folder: Path) -> int:
    """Make a backup; return the bytes that it takes."""
    before = set(folder.glob("*.data"))
    assert backup_changes.main(["backup", "a.vhdx", str(folder)]) == 0
    (made,) = set(folder.glob("*.data")) - before
    return made.stat().st_size


def restored(folder: Path) -> bytes:
    assert backup_changes.main(["restore", str(folder), "new.vhdx"]) == 0
    return content("new.vhdx")


def test_a_full_backup_and_the_changes_since_are_the_disk_again(disk: str, tmp_path: Path) -> None:
    assert 5 * MIB <= back_up(tmp_path) <= 6 * MIB
    write({MIB: b"\x02" * 4096, 10 * MIB: b"\x03" * 4096, 30 * MIB: bytes(MIB)})
    assert MIB < back_up(tmp_path) < 2 * MIB
    write({MIB: b"\x04" * 4096, SIZE - 4096: b"\x05" * 4096})
    assert 0 < back_up(tmp_path) < MIB
    assert restored(tmp_path) == content(disk)


def test_what_has_not_changed_is_not_backed_up(disk: str, tmp_path: Path) -> None:
    back_up(tmp_path)
    assert back_up(tmp_path) == 0
    assert restored(tmp_path) == content(disk)


def test_a_disk_with_content_of_every_kind_comes_back(disk: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(4):
        for _ in range(20):
            length = chance.choice([4096, 64 << 10, 100 << 12])
            octets = chance.choice([bytes(length), chance.randbytes(length)])
            write({chance.randrange((SIZE - length) // 4096) * 4096: octets})
        back_up(tmp_path)
    assert restored(tmp_path) == content(disk)


def stop_tracking() -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.set_change_tracking(False)


def resize() -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.resize(SIZE + MIB).result()


@pytest.mark.parametrize("event", [stop_tracking, resize])
def test_where_nobody_knows_what_has_changed_all_is_backed_up(
    disk: str, event: Callable[[], None], tmp_path: Path
) -> None:
    back_up(tmp_path)
    event()
    write({0: bytes(MIB)})
    assert back_up(tmp_path) > 3 * MIB
    write({0: b"\x06" * 4096})
    assert back_up(tmp_path) < MIB
    assert restored(tmp_path) == content(disk)


def test_a_backup_that_fails_is_none_and_the_next_one_has_it_all(
    disk: str,
    simulation: SimulatedWindows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    back_up(tmp_path)
    write({5 * MIB: b"\x07" * 4096})
    simulation.fail_next("ReadFileScatter", 1117, pending=True)
    simulation.fail_next("ReadFile", 1117, pending=True)
    assert backup_changes.main(["backup", "a.vhdx", str(tmp_path)]) == 1
    _, *notes = capsys.readouterr().err.splitlines()
    assert [note.split()[-1] for note in notes] == ["1117."]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["0000.json"]
    assert backup_changes.main(["backup", "a.vhdx", str(tmp_path)]) == 0
    assert restored(tmp_path) == content(disk)


def test_restoring_replaces_nothing(
    disk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    back_up(tmp_path)
    before = content(disk)
    assert backup_changes.main(["restore", str(tmp_path), "a.vhdx"]) == 1
    assert "a.vhdx" in capsys.readouterr().err
    assert content(disk) == before


def test_a_backup_that_is_missing_is_noticed_and_those_before_a_whole_one_are_not_needed(
    disk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        back_up(tmp_path)
        write({0: bytes([number]) * 4096})
    (tmp_path / "0001.json").rename(tmp_path / "0001.kept")
    assert backup_changes.main(["restore", str(tmp_path), "new.vhdx"]) == 1
    assert capsys.readouterr().err.endswith("0002.json is missing\n")
    stop_tracking()
    back_up(tmp_path)
    (tmp_path / "0000.json").unlink()
    (tmp_path / "0002.json").unlink()
    write({0: b"\x08" * 4096})
    back_up(tmp_path)
    assert restored(tmp_path) == content(disk)


def test_without_a_backup_there_is_nothing_to_restore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backup_changes.main(["restore", str(tmp_path), "new.vhdx"]) == 1
    assert capsys.readouterr().err.endswith(f": there is no backup in {tmp_path}\n")


def test_a_bounded_number_of_requests_is_in_flight() -> None:
    begun: list[Future[int]] = []

    def begin() -> Iterator[Future[int]]:
        for number in range(3 * IN_FLIGHT):
            begun.append(Future())
            begun[-1].set_result(number)
            yield begun[-1]

    results = in_order(begin())
    for number in range(2 * IN_FLIGHT):
        assert next(results) == number
        assert len(begun) == number + IN_FLIGHT
    assert list(results) == [*range(2 * IN_FLIGHT, 3 * IN_FLIGHT)]
