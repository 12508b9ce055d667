"""Partitions, file systems and images, made and read on a disk by libraries of others."""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Iterator
from typing import Final

import pytest
from dissect.fat.fat import FATFS
from dissect.hypervisor.disk.vhd import VHD
from dissect.volume.disk import Disk as Volume

from pyvhdmp import BlockingDisk, CompletionPort, Disk, open_disk
from tests.disk.kinds import SIZE, make, make_file
from tests.support.fat import TOOLS, judge, list_files, make_file_system
from tests.support.files import FilePath
from tests.support.gpt import BASIC_DATA, make_partitions
from tests.support.launcher import needs_winpython, winpython

pytestmark = pytest.mark.usefixtures("machine")

MIB: Final = 1 << 20
FILES: Final[dict[str, bytes]] = {
    **{f"{size} bytes.bin": random.Random(size).randbytes(size) for size in (0, 1, 2047, 2048)},
    **{f"log-{number:03}.txt": b"%d" % number for number in range(15)},
    "Größe µ.txt": "ä".encode(),
    "folder/a long name in it.tar.gz": random.Random(1).randbytes(300_001),
    "other/thirteen.char": b"13",
}


@pytest.fixture
def formatted(kind: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[tuple[Disk, int]]:
    """A disk of each kind, and the bits of the FAT that goes with its size."""
    bits, size = {"raw": (16, 9 * MIB), "fixed-vhd": (12, 8 * MIB), "vhdmp": (16, 10 * MIB)}[kind]
    with make(kind, tmp_path, size=size, port=port) as disk:
        yield disk, bits


def judge_here(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have others judge a file system, where they are."""
    if all(map(shutil.which, TOOLS)):
        folder = tmp_path_factory.mktemp("judged")
        (folder / "partition").write_bytes(content)
        judge(folder / "partition", FILES, folder / "copies")


@pytest.mark.parametrize("buffer", [0, 4096])
def test_a_fat_file_system_is_made_filled_and_read(
    formatted: tuple[Disk, int], buffer: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk, bits = formatted
    make_file_system(disk, FILES, bits=bits, size=disk.size, buffer=buffer)
    with BlockingDisk(disk) as file:
        system = FATFS(file)
        for name, data in FILES.items():
            assert system.get(name).open().read() == data
        file.seek(0)
        content = file.read()
        assert list_files(file) == sorted(FILES)
    judge_here(content, tmp_path_factory)


def test_partitions_are_made_and_one_is_filled(
    formatted: tuple[Disk, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk, _ = formatted
    sizes = {"first": MIB, "data": 5 * MIB}
    make_partitions(disk, sizes, tmp_path_factory.mktemp("gpt"))

    with BlockingDisk(disk) as file:
        first, data = Volume(file).partitions
        assert (first.name, data.name) == ("first", "data")
        assert (first.offset, data.offset) == (MIB, 2 * MIB)
        assert data.type == uuid.UUID(BASIC_DATA)
        make_file_system(disk, FILES, bits=12, size=data.size, offset=data.offset, buffer=4096)
        system = FATFS(data.open())
        for name, expected in FILES.items():
            assert system.get(name).open().read() == expected
        file.seek(data.offset)
        content = file.read(data.size)
        file.seek(0)
        assert [part.name for part in Volume(file).partitions] == ["first", "data"]
    judge_here(content, tmp_path_factory)


def test_an_image_is_read_through_the_disk_that_its_file_is(tmp_path: FilePath) -> None:
    path = make_file("fixed-vhd", tmp_path)
    data = random.Random(2).randbytes(SIZE)
    with BlockingDisk(open_disk(path, backend="fixed-vhd")) as file:
        assert file.write(data) == SIZE
    with BlockingDisk.open(path, backend="raw", read_only=True) as file:
        image = VHD(file)
        assert (image.size, file.size) == (SIZE, SIZE + 512)
        image.seek(1000)
        assert image.read(100_000) == data[1000:101_000]


@needs_winpython
@pytest.mark.parametrize("machine", ["simulated"], indirect=True)  # it is not used, and cheap
def test_what_a_windows_python_made_is_judged_here(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("windows")
    program = f"""
from pyvhdmp import open_disk
from pyvhdmp.disk import make_fixed_vhd
from tests.blocking.test_file_systems import FILES
from tests.support.fat import make_file_system
make_fixed_vhd("disk.vhd", {8 * MIB})
with open_disk("disk.vhd", backend="fixed-vhd") as disk:
    make_file_system(disk, FILES, bits=12, size=disk.size, buffer=0)
"""
    done = winpython("-W", "ignore", "-c", program, cwd=folder)
    assert done.returncode == 0, done.stderr
    judge_here((folder / "disk.vhd").read_bytes()[: 8 * MIB], tmp_path_factory)
