"""CPython's own tests of its raw files, run on disks.

They take it that a file can be made, grows and can be cut, which `File` adds: it is a disk that
ends behind the last byte written. Left out of them is what is about something else:

- descriptors: closefd, fileno, _blksize, what happens when one is closed by others;
- what `open` takes: names of every kind, modes, openers, newlines, encodings;
- the repr and the attributes of a FileIO; truncation itself;
- buffers over raw files that misbehave, and io's own base classes: these have no file;
- what becomes of a file that nobody closes: a finalizer does not write here.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

import pytest

from pyvhdmp import BlockingDisk, open_disk
from tests.support.files import FilePath, make_zeros

if TYPE_CHECKING:
    from pyvhdmp.buffers import Buffer

test_bufio = pytest.importorskip("test.test_bufio", reason="this Python is without its own tests")
test_fileio = pytest.importorskip("test.test_fileio", reason="this Python is without its own tests")
test_io = pytest.importorskip("test.test_io", reason="this Python is without its own tests")

pytestmark = pytest.mark.usefixtures("machine")

FILEIO: Final = [
    "testWeakRefs",
    "testSeekTell",
    "testReadintoByteArray",
    "_testReadintoMemoryview",
    "_testReadintoArray",
    "testWritelinesList",
    "testWritelinesUserList",
    "testWritelinesError",
    "test_none_args",
    "test_reject",
    "testErrors",
    "testMethods",
]
IO: Final = [
    "test_raw_file_io",
    "test_buffered_file_io",
    "test_readline",
    "test_large_file_ops",
    "test_with_open",
    "test_append_mode_tell",
    "test_array_writes",
    "test_close_flushes",
    "test_multi_close",
    "test_buffered_readinto_mixin",
]
BUFIO: Final = ["test_primepat", "test_nullpat"]


class File(BlockingDisk):
    """A file that ends behind the last byte written, on a disk that goes on.

    `mode`: as `open` has it.
    """

    def __init__(self, folder: Folder, mode: str) -> None:
        super().__init__(open_disk(folder.path, backend="raw"))
        self._folder = folder
        self._access = mode
        if "w" in mode:
            folder.end = 0
        elif "a" in mode:
            super().seek(folder.end)

    def readable(self) -> bool:
        return super().readable() and ("r" in self._access or "+" in self._access)

    def writable(self) -> bool:
        return super().writable() and self._access.replace("b", "") != "r"

    def readinto(self, buffer: Buffer, /) -> int:
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        with memoryview(buffer) as whole, whole.cast("B") as memory:
            return super().readinto(memory[: self._rest()])

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        return super().read(self._rest() if size is None or size < 0 else min(size, self._rest()))

    def write(self, data: Buffer, /) -> int:
        written = super().write(data)
        self._folder.end = max(self._folder.end, self.tell())
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            return super().seek(self._folder.end + offset)
        return super().seek(offset, whence)

    def truncate(self, size: int | None = None, /) -> int:  # type: ignore[override]  # it can
        self._folder.end = self.tell() if size is None else size
        return self._folder.end

    def _rest(self) -> int:
        return max(0, self._folder.end - self.tell())


class Folder:
    """What has one file, which is opened by whatever name."""

    def __init__(self, path: FilePath, size: int = 4 << 20) -> None:
        make_zeros(path, size)
        self.path = path
        self.end = 0

    def raw(self, name: str, mode: str = "r") -> File:
        return File(self, mode)

    def open(
        self, name: str, mode: str = "r", buffering: int = -1, encoding: str | None = None
    ) -> io.IOBase:
        raw = self.raw(name, mode)
        if buffering == 0:
            return raw
        buffered: io.BufferedReader | io.BufferedWriter | io.BufferedRandom
        if "+" in mode:
            buffered = io.BufferedRandom(raw)
        else:
            buffered = io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding)


@pytest.fixture
def folder(tmp_path: FilePath) -> Folder:
    return Folder(tmp_path / "disk.img")


def run(cases: type, name: str, members: dict[str, object]) -> None:
    """Run one of a class's tests, with other members in the place of its own."""
    if not hasattr(cases, name):
        pytest.skip("this Python has no such test")
    nothing = {"setUp": lambda self: None, "tearDown": lambda self: None}
    case = type("Case", (cases,), nothing | members)(name)
    case.debug()


@pytest.mark.parametrize("name", FILEIO)
def test_it_passes_those_of_raw_files(folder: Folder, name: str) -> None:
    def set_up(self: object) -> None:
        self.f = folder.raw("", "w")  # type: ignore[attr-defined]  # as in the original

    def tear_down(self: object) -> None:
        if self.f is not None:  # type: ignore[attr-defined]  # as in the original
            self.f.close()  # type: ignore[attr-defined]  # as in the original

    members: dict[str, object] = {"setUp": set_up, "tearDown": tear_down}
    members["FileIO"] = staticmethod(folder.raw)
    run(test_fileio.CAutoFileTests, name, members)


@pytest.mark.parametrize("name", IO)
def test_it_passes_those_of_files(tmp_path: FilePath, name: str) -> None:
    is_large = name == "test_large_file_ops"
    folder = Folder(tmp_path / "disk.img", (2 << 30) + (1 << 20) if is_large else 4 << 20)
    members: dict[str, object] = {name: getattr(io, name) for name in io.__all__}
    members |= {"open": staticmethod(folder.open), "FileIO": staticmethod(folder.raw)}
    members["MockRawIO"] = test_io.CMockRawIO
    run(test_io.IOTest, name, members)


@pytest.mark.parametrize("name", BUFIO)
def test_it_passes_those_of_buffer_sizes(
    folder: Folder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_bufio, "open", folder.open, raising=False)
    monkeypatch.setattr(test_bufio, "lengths", [*range(1, 257, 15), 512, 1000, 4096, 8192, 1000000])
    run(test_bufio.CBufferSizeTest, name, {"open": staticmethod(folder.open)})
