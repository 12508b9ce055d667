"""The data disk of the example, judged by fsck.fat and mtools, and its differencing disk."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pyvhdmp import Disk, VirtualDisk, open_disk
from pyvhdmp.testing import SimulatedWindows
from tests.examples import data_disk
from tests.support import fat, windows
from tests.support.fat import needs_tools
from tests.support.files import FilePath
from tests.support.launcher import needs_winpython, winpython

MIB: Final = 1 << 20


@pytest.fixture
def files() -> dict[str, bytes]:
    """Files of every length that matters, and names of more than one kind."""
    chance = random.Random(1)
    files = {f"{size} bytes.bin": chance.randbytes(size) for size in (0, 1, 4095, 4096, 4097)}
    files |= {f"log-{number:03}.txt": b"%d" % number for number in range(200)}  # a longer folder
    files |= {
        "README.md": b"# data\n",
        "thirteen.char": b"13",
        "Größe µ.txt": "ä".encode(),
        "a" * 100 + ".tar.gz": chance.randbytes(3 * MIB + 123),
    }
    return files


@pytest.fixture
def folder(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "ignored").mkdir()
    return folder


@pytest.fixture
def vhdmp() -> Iterator[None]:
    """A simulated driver, over real files on a real Windows: it has no differencing disks."""
    with windows.vhdmp():
        yield


# -- What the example makes -------------------------------------------------------


def used_part(disk: Disk) -> bytes:
    """Return the first 16 MiB of the partition, after which nothing is used."""
    reads = [disk.read(data_disk.START + at, 2048) for at in range(0, 16 * 2048, 2048)]
    return b"".join(read.result() for read in reads)


def judge(content: bytes, folder: Path, files: dict[str, bytes]) -> None:
    """Have others check a FAT32 file system, and read its files."""
    folder.mkdir()
    partition = folder / "partition"
    partition.write_bytes(content)
    os.truncate(partition, data_disk.SECTORS * data_disk.SECTOR)
    said = fat.judge(partition, files, folder / "files")
    assert "32 bits per FAT" in said or "4 bytes" in said
    assert f"{len(files) + 1} files" in said, said  # and the label


@needs_tools
def test_the_script_makes_a_data_disk_and_one_on_it_that_others_can_read(
    folder: Path,
    files: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SimulatedWindows(seed=3):
        data_disk.main(folder)
        with open_disk("data.vhdx", read_only=True) as disk:
            parent = used_part(disk)
        with open_disk("vm1.avhdx", read_only=True) as disk:
            child = used_part(disk)
    made = "made data.vhdx and vm1.avhdx in the current folder\n"
    assert capsys.readouterr().out == made + "hostname: vm1\n"
    judge(parent, tmp_path / "data", files)
    judge(child, tmp_path / "vm1", files | {"hostname": b"vm1\n"})


def test_the_differencing_disk_is_its_parent_with_the_change_and_the_parent_stays_as_it_was(
    folder: Path, files: dict[str, bytes]
) -> None:
    volume_id = 7
    base = data_disk.fat32(files, volume_id)
    mine = data_disk.fat32(files | {"hostname": b"vm1\n"}, volume_id)
    with SimulatedWindows(seed=4):
        VirtualDisk.create_dynamic("data.vhdx", data_disk.DISK_SIZE).close()
        data_disk.write("data.vhdx", base)
        with open_disk("data.vhdx", read_only=True) as disk:
            before = used_part(disk)
        VirtualDisk.create_differencing("vm1.avhdx", "data.vhdx").close()
        changes = {at: data for at, data in mine.items() if base.get(at) != data}
        assert sum(map(len, changes.values())) < MIB < sum(map(len, mine.values()))
        data_disk.write("vm1.avhdx", changes)
        expected = bytearray(before)
        for sector, data in changes.items():
            at = (sector - data_disk.START) * data_disk.SECTOR
            expected[at : at + len(data)] = data
        with open_disk("vm1.avhdx") as disk:
            assert used_part(disk) == expected
        with open_disk("data.vhdx", read_only=True) as disk:
            assert used_part(disk) == before
            with pytest.raises(FileNotFoundError):
                data_disk.read_file(disk, "hostname")


@needs_winpython
@needs_tools
def test_on_a_windows_python_it_makes_the_same_data_disk(
    folder: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    program = """
import sys, pathlib
from pyvhdmp import VirtualDisk
from pyvhdmp.testing import simulated_virtdisk
from tests.examples import data_disk
with simulated_virtdisk():
    VirtualDisk.create_dynamic("data.vhdx", data_disk.DISK_SIZE).close()
    files = {path.name: path.read_bytes() for path in pathlib.Path(sys.argv[1]).glob("*.*")}
    data_disk.write("data.vhdx", data_disk.fat32(files, 7))
"""
    done = winpython("-c", program, folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "data.vhdx").open("rb") as image:  # in which the payload comes first
        image.seek(data_disk.START * data_disk.SECTOR)
        content = image.read(16 * MIB)
    judge(content, tmp_path / "judged", files)


# -- Reading it --------------------------------------------------------------------


@pytest.mark.usefixtures("machine", "vhdmp")
def test_a_file_is_read_back_by_its_name(files: dict[str, bytes], tmp_path: FilePath) -> None:
    path = tmp_path / "data.vhdx"
    VirtualDisk.create_dynamic(path, data_disk.DISK_SIZE).close()
    data_disk.write(path, data_disk.fat32(files, volume_id=7))
    with data_disk.open_when_free(path) as disk:
        for name in [*files][::10] + [*files][-4:]:
            assert data_disk.read_file(disk, name) == files[name]
        with pytest.raises(FileNotFoundError):
            data_disk.read_file(disk, "another")


@pytest.mark.usefixtures("machine", "vhdmp")
def test_a_disk_that_another_owner_holds_is_opened_when_that_lets_go(tmp_path: FilePath) -> None:
    path = tmp_path / "data.vhdx"
    VirtualDisk.create_dynamic(path, data_disk.DISK_SIZE).close()
    owner = open_disk(path)
    with pytest.raises(PermissionError) as caught:
        data_disk.open_when_free(path, seconds=0)
    assert windows.winerror(caught.value) == 32
    for sector, data in data_disk.fat32({"a.txt": b"of the owner"}, volume_id=7).items():
        owner.write(sector, data).result()
    moment = threading.Timer(0.3, owner.close)
    moment.start()
    with data_disk.open_when_free(path) as disk:
        assert data_disk.read_file(disk, "a.txt") == b"of the owner"
    moment.join()


@pytest.mark.usefixtures("machine", "vhdmp")
def test_a_disk_that_is_not_there_is_not_waited_for(tmp_path: FilePath) -> None:
    with pytest.raises(FileNotFoundError):
        data_disk.open_when_free(tmp_path / "data.vhdx")
