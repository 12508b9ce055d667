"""What the standard library does with binary files, done with a disk."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Final

import pytest

from pyvhdmp import BlockingDisk, CompletionPort
from tests.disk.kinds import SIZE, make
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

DATA: Final = random.Random(1).randbytes(SIZE)


@pytest.fixture
def file(kind: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[BlockingDisk]:
    with BlockingDisk(make(kind, tmp_path, port=port)) as file:
        yield file


def whole(file: BlockingDisk) -> bytes:
    file.seek(0)
    return file.readall()


def test_copyfileobj_fills_a_disk_and_takes_it_out(file: BlockingDisk) -> None:
    shutil.copyfileobj(io.BytesIO(DATA), file)
    out = io.BytesIO()
    file.seek(0)
    shutil.copyfileobj(file, out, 100_001)
    assert out.getvalue() == DATA


def test_a_buffered_reader_reads_what_there_is(file: BlockingDisk) -> None:
    file.write(DATA)
    with io.BufferedReader(file, 5000) as reader:
        assert reader.seek(100) == 100
        assert reader.read(3) == DATA[100:103]
        assert reader.peek(10)[:10] == DATA[103:113]
        memory = bytearray(70_000)
        assert reader.readinto(memory) == len(memory)
        assert memory == DATA[103 : 103 + len(memory)]
        assert reader.read() == DATA[103 + len(memory) :]
        assert reader.read(1) == b""
        reader.seek(-10, os.SEEK_END)
        assert reader.read(100) == DATA[-10:]
    assert file.closed
    assert file.disk.closed


def test_lines_of_text_are_read_through_a_buffer(file: BlockingDisk) -> None:
    file.seek(500)
    file.write("first line\nsecond: Größe µ\nlast".encode())
    file.seek(500)
    with io.TextIOWrapper(io.BufferedReader(file), "utf-8") as text:
        assert text.readline() == "first line\n"
        assert next(text) == "second: Größe µ\n"
        assert text.read(4) == "last"


def test_a_buffered_writer_writes_everything_as_it_is_closed(file: BlockingDisk) -> None:
    path, disk = file.name, file.disk
    chance, at = random.Random(2), 0
    with io.BufferedWriter(file, 3000) as writer:
        while at < SIZE:
            at += writer.write(DATA[at : at + chance.choice([1, 100, 3000, 20_000])])
    assert disk.closed
    with BlockingDisk.open(path, read_only=True) as again:
        assert again.readall() == DATA


def test_a_buffered_writer_is_told_when_the_disk_is_full(file: BlockingDisk) -> None:
    file.seek(-700, os.SEEK_END)
    writer = io.BufferedWriter(file, 5000)
    writer.write(DATA[:1000])
    with pytest.raises(OSError, match="ends here") as caught:
        writer.flush()
    assert caught.value.errno == errno.ENOSPC
    assert whole(file)[-701:] == b"\0" + DATA[:700]
    with pytest.raises(OSError, match="ends here"):
        writer.close()
    assert file.closed


def test_a_buffered_file_does_what_one_in_memory_does(file: BlockingDisk) -> None:
    chance, model = random.Random(3), io.BytesIO(bytes(SIZE))
    with io.BufferedRandom(file, 2000) as buffered:
        for _ in range(400):
            place = chance.choice([chance.randrange(SIZE), chance.randrange(5000), SIZE - 50])
            length = chance.choice([1, 10, 511, 512, 4096, 9000])
            how = chance.randrange(4)
            if how == 0:
                assert buffered.seek(place) == model.seek(place)
            elif how == 1:
                assert buffered.read(length) == model.read(length)
            elif how == 2:
                data = chance.randbytes(min(length, SIZE - model.tell()))
                assert buffered.write(data) == model.write(data)
            else:
                buffered.flush()
            assert buffered.tell() == model.tell()
        buffered.seek(0)
        assert buffered.read() == model.getvalue()


def test_a_zip_file_lies_on_a_disk(file: BlockingDisk) -> None:
    filling = DATA[: SIZE - 40_000]  # as one is looked for at the end
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("filling", filling)
        with archive.open("folder/lines.txt", "w") as member:
            for number in range(1000):
                member.write(b"line %d\n" % number)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["filling", "folder/lines.txt"]
        assert archive.read("filling") == filling
        with archive.open("folder/lines.txt") as member:
            assert sum(1 for _ in member) == 1000


def test_a_tar_file_lies_on_a_disk(file: BlockingDisk) -> None:
    contents = {"empty": b"", "one": b"1", "folder/many": DATA[:1_000_000]}
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        found = {}
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None
            found[member.name] = opened.read()
    assert found == contents
