"""Files are pulled out of disks that others partitioned and formatted, and nothing else is."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pyvhdmp import Disk, open_disk
from tests.disk.kinds import make_file
from tests.examples import data_disk, pull_files
from tests.support.fat import make_file_system
from tests.support.files import FilePath, make_zeros
from tests.support.gpt import make_partitions

pytestmark = pytest.mark.usefixtures("machine")

MIB: Final = 1 << 20
FILES: Final[dict[str, bytes]] = {
    "empty": b"",
    "hostname": b"vm1\n",
    "Größe µ.txt": "ä".encode(),
    "logs/a long name in it.log": random.Random(1).randbytes(300_001),
    "logs/older/2024.log": random.Random(2).randbytes(4096),
}


@pytest.fixture
def partitioned(kind: str, tmp_path: FilePath, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A disk of each kind: a small partition of no use, and two with a FAT file system."""
    path = make_file(kind, tmp_path, size=12 * MIB)
    with open_disk(path) as disk:
        sizes = {"none": MIB, "data": 5 * MIB, "more": 3 * MIB}
        make_partitions(disk, sizes, tmp_path_factory.mktemp("gpt"))
        _format(disk, FILES, size=5 * MIB, offset=2 * MIB)
        _format(disk, {"other": b"2"}, size=3 * MIB, offset=7 * MIB)
    return str(path)


def _format(disk: Disk, files: dict[str, bytes], *, size: int, offset: int) -> None:
    make_file_system(disk, files, bits=12, size=size, offset=offset, buffer=4096)


@pytest.fixture
def to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pulled") / "to"


def pulled(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_all_files_of_a_partition_are_copied_out(
    partitioned: str, to: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull_files.main([partitioned, "--to", str(to)]) == 0
    assert pulled(to) == FILES
    assert capsys.readouterr().out == f"{len(FILES)} files copied to {to}\n"


def test_what_is_copied_out_can_be_chosen(partitioned: str, to: Path) -> None:
    assert pull_files.main([partitioned, "HOSTNAME", "/logs/older", "--to", str(to)]) == 0
    assert pulled(to) == {"hostname": b"vm1\n", "older/2024.log": FILES["logs/older/2024.log"]}


def test_another_file_system_can_be_chosen(
    partitioned: str, to: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull_files.main([partitioned, "--number", "2", "--to", str(to)]) == 0
    assert pulled(to) == {"other": b"2"}
    assert pull_files.main([partitioned, "--number", "3"]) == 1
    assert "has no FAT file system number 3" in capsys.readouterr().err


def test_files_are_listed_with_their_sizes(
    partitioned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull_files.main([partitioned]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert {name: int(size) for size, name in lines} == {
        name: len(data) for name, data in FILES.items()
    }


def test_the_disk_stays_as_it_was(partitioned: str, to: Path) -> None:
    def content() -> bytes:
        with open_disk(partitioned, read_only=True) as disk:
            return disk.read(0, disk.sector_count).result()

    before = content()
    assert pull_files.main([partitioned, "--to", str(to)]) == 0
    assert content() == before


def test_a_disk_without_partitions_can_be_a_file_system_itself(
    tmp_path: FilePath, to: Path
) -> None:
    path = make_file("raw", tmp_path, size=8 * MIB)
    with open_disk(path) as disk:
        _format(disk, FILES, size=disk.size, offset=0)
    assert pull_files.main([str(path), "--to", str(to)]) == 0
    assert pulled(to) == FILES


# -- What is wrong -------------------------------------------------------------------


@pytest.fixture
def make_fat32(tmp_path: FilePath) -> Callable[[dict[int, bytes]], str]:
    """Make the data disk of the other example, with an MBR, from what it holds by sector."""

    def make(content: dict[int, bytes]) -> str:
        path = tmp_path / "fat32.img"
        make_zeros(path, data_disk.DISK_SIZE)
        data_disk.write(path, content)
        return str(path)

    return make


def test_the_clusters_of_a_file_may_lie_in_any_order(
    make_fat32: Callable[[dict[int, bytes]], str], to: Path
) -> None:
    first, second, third = (bytes([number]) * data_disk.CLUSTER for number in (1, 2, 3))
    content = data_disk.fat32({"file": first + third + second}, volume_id=7)
    for at in (data_disk.START + data_disk.RESERVED + n * data_disk.FAT_SIZE for n in (0, 1)):
        table = bytearray(content[at])
        assert struct.unpack_from("<4I", table, 8) == (data_disk.LAST, 4, 5, data_disk.LAST)
        struct.pack_into("<3I", table, 12, 5, data_disk.LAST, 4)
        content[at] = bytes(table)
    assert pull_files.main([make_fat32(content), "--to", str(to)]) == 0
    assert pulled(to) == {"file": first + second + third}


@pytest.mark.parametrize(
    ("bits", "name"), [(0, "HELLO.TXT"), (8, "hello.TXT"), (16, "HELLO.txt"), (24, "hello.txt")]
)
def test_a_short_name_has_the_case_that_windows_shows(
    make_fat32: Callable[[dict[int, bytes]], str],
    to: Path,
    bits: int,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = data_disk.fat32({"file": b"content"}, volume_id=7)
    at = data_disk.FIRST + 2 * data_disk.PER_CLUSTER
    label, _, entry = (content[at][start : start + 32] for start in (0, 32, 64))
    short = b"HELLO   TXT" + entry[11:12] + bytes([bits]) + entry[13:]
    content[at] = (label + short).ljust(len(content[at]), b"\0")
    image = make_fat32(content)
    assert pull_files.main([image, "/hello.txt", "--to", str(to)]) == 0
    assert pulled(to) == {name: b"content"}
    capsys.readouterr()
    assert pull_files.main([image]) == 0
    assert capsys.readouterr().out.split() == ["7", name]


@pytest.mark.parametrize("name", ["..\\..\\evil", "a/../../evil", "C:evil", "file:stream", ".. "])
def test_a_name_that_leads_elsewhere_is_refused(
    name: str,
    make_fat32: Callable[[dict[int, bytes]], str],
    to: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = make_fat32(data_disk.fat32({"good": b"1", name: b"evil"}, volume_id=7))
    assert pull_files.main([image, "--to", str(to)]) == 1
    assert f"whose name is none here: {name!r}\n" in capsys.readouterr().err
    assert pulled(to.parent) == {"to/good": b"1"}


def test_nothing_that_is_there_is_overwritten(
    partitioned: str, to: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to.mkdir()
    (to / "hostname").write_bytes(b"mine")
    assert pull_files.main([partitioned, "hostname", "--to", str(to)]) == 1
    assert "hostname" in capsys.readouterr().err
    assert pulled(to) == {"hostname": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "said"), [(["none.img"], "none.img"), (["disk.img", "absent"], "absent")]
)
def test_what_is_not_there_is_named(
    arguments: list[str], said: str, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_file("raw", tmp_path, size=8 * MIB)
    with open_disk(path) as disk:
        _format(disk, FILES, size=disk.size, offset=0)
    image, *paths = arguments
    assert pull_files.main([str(tmp_path / image), *paths]) == 1
    assert said in capsys.readouterr().err.splitlines()[0]
