"""Copies from streams, which are whole or not there, and to streams, in order."""

from __future__ import annotations

import _thread
import errno
import io
import random
import threading
from collections.abc import Callable

import pytest

from pyvhdmp import (
    DiskError,
    InvalidInputError,
    MediumError,
    ShortTransferError,
    VirtualDisk,
    make_fixed_vhd,
    open_disk,
)
from pyvhdmp.streaming import copy_from_stream, copy_to_stream
from pyvhdmp.testing import SimulatedWindows
from pyvhdmp.virtual_disk import VirtualDiskType
from tests.support import windows
from tests.support.files import FilePath

MIB = 1 << 20
SIZE = 5 * MIB + 512
BLOCK = 64 << 10


def content(size: int = SIZE) -> bytes:
    """Return data with holes."""
    chance = random.Random(7)
    return b"".join(
        chance.randbytes(MIB // 4) + bytes(MIB // 4) for _ in range(-(-size // (MIB // 2)))
    )[:size]


class Trickle(io.RawIOBase):
    """What a pipe is like: a part of what is asked for at a time, as it comes."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self._chance = random.Random(3)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        return self._data.readinto(buffer[: self._chance.randrange(1, 200_000)])


def buffered(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(Trickle(data))


class Raising(io.BytesIO):
    """A stream that fails at a byte, whether it is read or written."""

    def __init__(self, error: BaseException, at: int) -> None:
        super().__init__(content() if at else b"")
        self._error, self._at = error, at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self.tell() >= self._at:
            raise self._error
        return super().readinto(buffer)

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        if self.tell() >= self._at:
            raise self._error
        return super().write(data[:1000])


def names(folder: FilePath) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- From a stream ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [io.BytesIO, Trickle, buffered])
@pytest.mark.parametrize("name", ["out.img", "out.vhd"])
def test_a_stream_becomes_an_image(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    name: str,
    stream: Callable[[bytes], io.BytesIO],
) -> None:
    data = content()
    result = copy_from_stream(stream(data), tmp_path / name, SIZE, io_size=BLOCK, queue_depth=8)
    with open_disk(tmp_path / name) as disk:
        assert disk.read(0, disk.sector_count).result() == data
    assert (result.bytes, result.bytes_zero, result.bytes_bounced) == (SIZE, 10 * MIB // 4, 512)
    assert result.target_type == ("fixed" if name == "out.vhd" else "raw")
    assert result.requests == -(-(SIZE - result.bytes_zero) // BLOCK)
    assert names(tmp_path) == [name]
    if machine is not None:
        assert 4 <= result.depth <= 8


@pytest.mark.parametrize("disk_type", [None, VirtualDiskType.FIXED])
def test_a_stream_becomes_a_virtual_disk(disk_type: VirtualDiskType | None) -> None:
    with SimulatedWindows():
        seen: set[str] = set()
        result = copy_from_stream(
            Trickle(content()),
            "out.vhdx",
            SIZE,
            disk_type=disk_type,
            verify=True,
            report=lambda phase, done, total: seen.add(phase),
        )
        assert result.target_type == ("dynamic" if disk_type is None else "fixed")
        assert result.verified
        assert {"copying", "verifying"} <= seen
        with open_disk("out.vhdx") as disk:
            assert disk.read(0, disk.sector_count).result() == content()


def test_progress_is_the_bytes_done(machine: SimulatedWindows | None, tmp_path: FilePath) -> None:
    seen: list[tuple[str, int, int]] = []
    copy_from_stream(
        Trickle(content()),
        tmp_path / "out.img",
        SIZE,
        report=lambda *report: seen.append(report),
        verify=True,
    )
    assert seen[-1] == ("verifying", SIZE, SIZE)
    assert ("copying", SIZE, SIZE) in seen
    assert [done for phase, done, _ in seen if phase == "copying"] == sorted(
        done for phase, done, _ in seen if phase == "copying"
    )


@pytest.mark.parametrize("at", [0, 511, SIZE - 512, SIZE - 1])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_stream_that_ends_too_early_makes_nothing_and_says_how_much_is_missing(
    machine: SimulatedWindows | None, tmp_path: FilePath, at: int, old: bytes | None
) -> None:
    if old is not None:
        (tmp_path / "out.vhd").write_bytes(old)
    with pytest.raises(ShortTransferError) as caught:
        copy_from_stream(
            Trickle(content()[:at]), tmp_path / "out.vhd", SIZE, stream_name="it", force=True
        )
    assert caught.value.filename == "it"
    assert caught.value.strerror == (
        f"it ended after {at} bytes: {SIZE - at} of {SIZE} are missing"
    )
    assert names(tmp_path) == ([] if old is None else ["out.vhd"])
    if old is not None:
        assert (tmp_path / "out.vhd").read_bytes() == old


def test_a_stream_that_goes_on_makes_nothing(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    with pytest.raises(InvalidInputError, match=f"goes on behind the {SIZE} bytes"):
        copy_from_stream(io.BytesIO(content() + b"\0"), tmp_path / "out.img", SIZE)
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", [slice(0, 8), slice(-512, -504)])
def test_a_stream_of_another_format_is_not_taken_for_a_raw_disk(
    machine: SimulatedWindows | None, tmp_path: FilePath, place: slice
) -> None:
    data = bytearray(content())
    data[place] = b"conectix"
    with pytest.raises(InvalidInputError, match=r"no raw image: this is a .*VHD") as caught:
        copy_from_stream(io.BytesIO(data), tmp_path / "out.img", SIZE)
    assert not caught.value.__notes__
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "size", "complaint"),
    [
        ("out.img", 0, "whole number of sectors of 512 bytes, not 0 bytes"),
        ("out.img", 513, "whole number of sectors of 512 bytes, not 513 bytes"),
        ("out.vhd", 2041 << 30, "2040 GiB"),
        ("out.avhdx", 1 << 20, "a new image cannot be a .avhdx"),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_stream_is_read(
    machine: SimulatedWindows | None, tmp_path: FilePath, name: str, size: int, complaint: str
) -> None:
    stream = io.BytesIO(content())
    with pytest.raises(InvalidInputError, match=complaint):
        copy_from_stream(stream, tmp_path / name, size)
    assert stream.tell() == 0
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("io_size", "queue_depth"),
    [(1000, 8), (0, 8), (512, 8), (128 << 20, 8), (BLOCK, 0), (BLOCK, 1025)],
)
def test_sizes_and_depths_that_cannot_be_are_refused_before_anything_is_done(
    machine: SimulatedWindows | None, tmp_path: FilePath, io_size: int, queue_depth: int
) -> None:
    stream = io.BytesIO(content())
    with pytest.raises(InvalidInputError, match="must be"):
        copy_from_stream(
            stream,
            tmp_path / "out.img",
            SIZE,
            io_size=io_size,
            queue_depth=queue_depth,
        )
    assert stream.tell() == 0
    (tmp_path / "in.img").write_bytes(content())
    with pytest.raises(InvalidInputError, match="must be"):
        copy_to_stream(tmp_path / "in.img", io.BytesIO(), io_size=io_size, queue_depth=queue_depth)
    assert names(tmp_path) == ["in.img"]


def test_a_target_that_is_there_is_not_replaced(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    (tmp_path / "out.img").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        copy_from_stream(io.BytesIO(content()), tmp_path / "out.img", SIZE)
    assert (tmp_path / "out.img").read_bytes() == b"old"
    copy_from_stream(io.BytesIO(content()), tmp_path / "out.img", SIZE, force=True)
    assert (tmp_path / "out.img").read_bytes() == content()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken"), ValueError()])
def test_a_stream_that_raises_makes_nothing(
    machine: SimulatedWindows | None, tmp_path: FilePath, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        copy_from_stream(
            Raising(error, 2 * MIB),
            tmp_path / "out.vhd",
            SIZE,
            stream_name="it",
            io_size=BLOCK,
            queue_depth=8,
        )
    if isinstance(caught.value, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, "it")
    assert names(tmp_path) == []


class Silent(io.BytesIO):
    """A stream in which a call stays, while the main thread gets a Ctrl+C."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        _thread.interrupt_main()
        self.go_on.wait()
        return 0

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        return self.readinto(data)


def test_ctrl_c_comes_through_while_a_stream_is_silent(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    stream = Silent()
    with pytest.raises(KeyboardInterrupt):
        copy_from_stream(stream, tmp_path / "out.img", SIZE)
    assert names(tmp_path) == []
    (tmp_path / "in.img").write_bytes(content())
    with pytest.raises(KeyboardInterrupt):
        copy_to_stream(tmp_path / "in.img", stream)
    stream.go_on.set()


def test_a_stream_that_does_not_wait_is_refused(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    class Impatient(io.BytesIO):
        def readinto(self, buffer: object, /) -> None:  # type: ignore[override]
            return None

        def write(self, data: object, /) -> None:  # type: ignore[override]
            return None

    with pytest.raises(BlockingIOError):
        copy_from_stream(Impatient(), tmp_path / "out.img", SIZE)
    (tmp_path / "in.img").write_bytes(content())
    with pytest.raises(BlockingIOError):
        copy_to_stream(tmp_path / "in.img", Impatient())


@pytest.mark.parametrize("after", [0, 5, 30])
def test_a_write_that_fails_makes_nothing(after: int) -> None:
    with SimulatedWindows() as machine:
        machine.fail_next("WriteFile", 112, after=after, pending=True)
        with pytest.raises(OSError, match=r"out\.img") as caught:
            copy_from_stream(io.BytesIO(content()), "out.img", SIZE, io_size=BLOCK, queue_depth=8)
        assert windows.winerror(caught.value) == 112
        assert list(machine.files) == []


def test_what_was_not_written_as_it_came_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def runs(block: memoryview) -> list[tuple[int, int]]:
        return [] if block[:512] == content()[:512] else [(0, len(block))]

    monkeypatch.setattr("pyvhdmp.streaming.nonzero_runs", runs)
    with SimulatedWindows() as machine:
        with pytest.raises(DiskError, match="verification failed"):
            copy_from_stream(io.BytesIO(content()), "out.img", SIZE, verify=True)
        assert list(machine.files) == []


# -- To a stream ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in.img", "in.vhd"])
def test_a_disk_is_written_in_order(
    machine: SimulatedWindows | None, tmp_path: FilePath, name: str
) -> None:
    if name == "in.vhd":
        make_fixed_vhd(tmp_path / name, SIZE)
        with open_disk(tmp_path / name) as disk:
            disk.write(0, content()).result()
    else:
        (tmp_path / name).write_bytes(content())
    stream = io.BytesIO()
    result = copy_to_stream(tmp_path / name, stream, io_size=BLOCK, queue_depth=8)
    assert stream.getvalue() == content()
    assert (result.bytes, result.bytes_bounced, result.target_type) == (SIZE, 512, "stream")
    if machine is not None:
        assert 4 <= result.depth <= 8


def test_a_virtual_disk_is_written_without_what_its_file_has_beside() -> None:
    with SimulatedWindows():
        VirtualDisk.create_dynamic("base.vhdx", 8 * MIB).close()
        with open_disk("base.vhdx") as disk:
            disk.write(0, content()).result()
        VirtualDisk.create_differencing("in.avhdx", "base.vhdx").close()
        stream = io.BytesIO()
        copy_to_stream("in.avhdx", stream)
        assert stream.getvalue() == content().ljust(8 * MIB, b"\0")


def test_a_stream_that_takes_a_part_at_a_time_gets_all(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    (tmp_path / "in.img").write_bytes(content())
    stream = Raising(AssertionError(), at=0)
    stream._at = SIZE
    seen: list[tuple[str, int, int]] = []
    copy_to_stream(tmp_path / "in.img", stream, report=lambda *report: seen.append(report))
    assert stream.getvalue() == content()
    assert seen[-1] == ("copying", SIZE, SIZE)


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EINVAL, "Invalid argument")],
)
def test_a_reader_that_has_gone_is_a_broken_pipe(
    machine: SimulatedWindows | None, tmp_path: FilePath, error: OSError
) -> None:
    (tmp_path / "in.img").write_bytes(content())
    stream = Raising(error, at=0)
    stream._at = 100_000
    with pytest.raises(BrokenPipeError) as caught:
        copy_to_stream(tmp_path / "in.img", stream, stream_name="it", io_size=BLOCK, queue_depth=8)
    assert caught.value.filename == "it"
    assert caught.value.strerror == f"nobody reads it any more, after 65536 of {SIZE} bytes"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_stream_that_cannot_be_written_ends_the_copy(
    machine: SimulatedWindows | None, tmp_path: FilePath, error: BaseException
) -> None:
    (tmp_path / "in.img").write_bytes(content())
    stream = Raising(error, at=0)
    stream._at = 100_000
    with pytest.raises(type(error)) as caught:
        copy_to_stream(tmp_path / "in.img", stream, stream_name="it", io_size=BLOCK, queue_depth=8)
    if isinstance(caught.value, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "it")


def test_a_read_that_fails_ends_the_copy_after_what_came_before() -> None:
    with SimulatedWindows() as machine:
        machine.files["in.img"] = content()
        machine.fail_next("ReadFile", 1117, after=30, pending=True)
        stream = io.BytesIO()
        with pytest.raises(MediumError):
            copy_to_stream("in.img", stream, io_size=BLOCK, queue_depth=8)
        assert 0 < len(stream.getvalue()) < SIZE
        assert content().startswith(stream.getvalue())
