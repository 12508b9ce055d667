"""A disk as a binary file: what each call does, at the edges of sectors and of the disk."""

from __future__ import annotations

import _thread
import array
import contextlib
import ctypes
import errno
import gc
import io
import os
import random
import signal
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from types import FrameType
from typing import Final

import pytest

from pyvhdmp import (
    BlockingDisk,
    CompletionPort,
    Disk,
    InvalidInputError,
    PageBuffer,
    VirtualDisk,
    open_disk,
)
from pyvhdmp.testing import SimulatedWindows, substituted
from tests.disk.kinds import SIZE, make, make_file
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

pytestmark = pytest.mark.usefixtures("machine")

SECONDS: Final = 60


@pytest.fixture
def disk(kind: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[Disk]:
    """A disk of zeros, of each kind."""
    with make(kind, tmp_path, port=port) as disk:
        yield disk


@pytest.fixture
def file(disk: Disk) -> Iterator[BlockingDisk]:
    with BlockingDisk(disk) as file:
        yield file


@pytest.fixture
def raw(tmp_path: FilePath, port: CompletionPort) -> Iterator[BlockingDisk]:
    """One kind of disk, where the kind makes no difference."""
    with BlockingDisk(make("raw", tmp_path, port=port)) as file:
        yield file


def content(disk: Disk) -> bytes:
    return disk.read(0, disk.sector_count).result(SECONDS)


# -- Reading and writing --------------------------------------------------------------


def test_any_range_is_read_and_written_as_in_a_file(disk: Disk) -> None:
    chance = random.Random(1)
    model = bytearray(chance.randbytes(SIZE))
    disk.write(0, model).result(SECONDS)
    file = BlockingDisk(disk, close_disk=False)
    for _ in range(150):
        start = chance.choice([0, SIZE - 9 * SECTOR, chance.randrange(SIZE)])
        start += chance.choice([0, 1, SECTOR - 1, SECTOR, SECTOR + 1])
        length = chance.choice([0, 1, 2, SECTOR - 1, SECTOR, 3 * SECTOR, chance.randrange(20000)])
        length = min(length, SIZE - start)
        assert file.seek(start) == start
        how = chance.randrange(4)
        if how == 0:
            assert file.read(length) == model[start : start + length]
        elif how == 1:
            memory = memoryview(PageBuffer(length + 1))[:length]
            assert file.readinto(memory) == length
            assert memory == model[start : start + length]
        elif how == 2:
            memory = memoryview(bytearray(length))
            assert file.readinto(memory) == length
            assert memory == model[start : start + length]
        else:
            data = chance.randbytes(length)
            assert file.write(data) == length
            model[start : start + length] = data
        assert file.tell() == start + length
    file.close()
    assert content(disk) == model


@pytest.mark.parametrize(
    "memory",
    [
        bytearray(1000),
        array.array("d", range(125)),
        (ctypes.c_uint16 * 500)(),
        memoryview(bytearray(1000)).cast("B", (10, 100)),
        PageBuffer(1000),
    ],
    ids=lambda memory: type(memory).__name__,
)
def test_any_contiguous_buffer_will_do(
    raw: BlockingDisk, memory: bytearray | memoryview | PageBuffer
) -> None:
    data = random.Random(2).randbytes(1000)
    raw.seek(77)
    raw.write(data)
    raw.seek(77)
    assert raw.readinto(memory) == 1000
    assert bytes(memoryview(memory).cast("B")) == data
    raw.seek(SECTOR)
    assert raw.write(memory) == 1000
    raw.seek(SECTOR)
    assert raw.read(1000) == data


def test_other_buffers_are_refused_and_nothing_is_done(raw: BlockingDisk) -> None:
    every_other = memoryview(bytearray(100))[::2]
    with pytest.raises(TypeError, match="C-contiguous"):
        raw.readinto(every_other)
    with pytest.raises(TypeError, match="C-contiguous"):
        raw.write(every_other)
    with pytest.raises(TypeError, match="can be written, not bytes"):
        raw.readinto(b"\0" * 100)
    with pytest.raises(TypeError, match="str"):
        raw.write("text")  # type: ignore[arg-type]  # on purpose
    assert raw.tell() == 0
    assert raw.disk.counters.requests == 0


def test_page_aligned_memory_is_not_copied_but_at_the_edges(file: BlockingDisk) -> None:
    pages = PageBuffer(64 << 10)
    file.seek(8 * SECTOR)
    assert file.write(pages) == len(pages)
    file.seek(8 * SECTOR)
    assert file.readinto(pages) == len(pages)
    assert file.disk.counters.bytes_bounced == 0
    assert file.disk.counters.requests == 2

    longer = PageBuffer(len(pages) + 100)
    for transfer in (file.write, file.readinto):
        file.seek(8 * SECTOR)
        before = file.disk.counters.bytes_bounced
        assert transfer(longer) == len(longer)
        assert file.disk.counters.bytes_bounced - before <= 2 * 4096


def test_a_read_is_one_request_and_a_write_reads_only_sectors_that_it_has_in_part(
    raw: BlockingDisk,
) -> None:
    def requests(call: Callable[[], object], start: int) -> int:
        raw.seek(start)
        before = raw.disk.counters.requests
        call()
        return raw.disk.counters.requests - before

    assert requests(lambda: raw.read(5000), 100) == 1
    assert requests(raw.readall, 100) == 1
    assert requests(lambda: raw.write(bytes(4 * SECTOR)), SECTOR) == 1
    assert requests(lambda: raw.write(bytes(10)), 100) == 2
    assert requests(lambda: raw.write(bytes(SECTOR)), 100) == 3
    assert requests(lambda: raw.write(bytes(SECTOR - 100)), 100) == 2
    assert requests(lambda: raw.write(b""), 100) == 0
    assert requests(lambda: raw.read(0), 100) == 0


def test_what_lies_around_a_write_stays_as_it_was(file: BlockingDisk) -> None:
    before = random.Random(3).randbytes(4 * SECTOR)
    for start, end in [(0, 1), (1, SECTOR), (511, 513), (100, 1100), (1024, 1030), (2047, 2048)]:
        file.seek(0)
        file.write(before)
        file.seek(start)
        file.write(b"\xff" * (end - start))
        file.seek(0)
        assert file.read(4 * SECTOR) == before[:start] + b"\xff" * (end - start) + before[end:]


# -- The end of the disk ----------------------------------------------------------------


def test_a_read_ends_where_the_disk_does(file: BlockingDisk) -> None:
    data = random.Random(4).randbytes(700)
    file.seek(-700, os.SEEK_END)
    file.write(data)
    file.seek(-700, os.SEEK_END)
    memory = bytearray(b"\xee" * 1000)
    assert file.readinto(memory) == 700
    assert memory == data + b"\xee" * 300
    assert file.tell() == SIZE
    assert file.readinto(memory) == 0
    assert file.read() == file.read(10) == file.readall() == b""
    file.seek(-200, os.SEEK_END)
    assert file.read(1 << 60) == data[500:]
    file.seek(-700, os.SEEK_END)
    assert file.read() == data
    file.seek(-700, os.SEEK_END)
    assert file.read(None) == data


def test_a_read_past_the_end_is_empty(file: BlockingDisk) -> None:
    for place in (SIZE, SIZE + 1, SIZE + SECTOR, 1 << 62, (1 << 63) - 1):
        assert file.seek(place) == place
        assert file.read(10) == b""
        assert file.tell() == place


def test_a_write_that_reaches_past_the_end_is_cut_short_there(file: BlockingDisk) -> None:
    file.seek(-100, os.SEEK_END)
    assert file.write(b"\x11" * 1000) == 100
    assert file.tell() == SIZE
    for place in (SIZE, SIZE + 100, (1 << 63) - 1):
        file.seek(place)
        with pytest.raises(OSError, match="ends here") as caught:
            file.write(b"\x22")
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == file.name
        assert file.tell() == place
        assert file.write(b"") == 0
    assert content(file.disk)[-101:] == b"\0" + b"\x11" * 100


@pytest.mark.parametrize("machine", ["simulated"], indirect=True)  # which can resize an open one
def test_a_disk_that_has_grown_goes_on_further(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = uuid.uuid4()  # else the second handle is refused
    monkeypatch.setattr("pyvhdmp.virtual_disk.opening.uuid.uuid4", lambda: same)
    with windows.vhdmp(), BlockingDisk(make("vhdmp", tmp_path)) as file:
        assert file.seek(0, os.SEEK_END) == file.size == SIZE
        assert file.read(10) == b""
        with VirtualDisk.open(file.name) as second:
            second.resize(2 * SIZE).result(SECONDS)
        assert file.read(10) == bytes(10)
        assert file.seek(0, os.SEEK_END) == file.size == 2 * SIZE
        file.seek(SIZE - 1)
        assert file.write(b"ab") == 2


# -- The position ---------------------------------------------------------------------


def test_it_is_sought_from_the_start_from_here_and_from_the_end(file: BlockingDisk) -> None:
    assert file.tell() == 0
    assert file.seek(100) == 100
    assert file.seek(-1, os.SEEK_CUR) == 99
    assert file.seek(-1, os.SEEK_END) == SIZE - 1
    assert file.seek(5, os.SEEK_END) == SIZE + 5 == file.tell()
    assert file.seek(True) == 1  # as files have it


@pytest.mark.parametrize(
    ("offset", "whence"),
    [(-1, 0), (-101, 1), (-SIZE - 1, 2), (1 << 63, 0), ((1 << 63) - 1, 1), (0, 3), (0, -1)],
)
def test_there_is_nothing_before_the_start_and_no_other_whence(
    raw: BlockingDisk, offset: int, whence: int
) -> None:
    raw.seek(100)
    with pytest.raises(InvalidInputError) as caught:
        raw.seek(offset, whence)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.errno == errno.EINVAL
    assert raw.tell() == 100


def test_a_position_is_a_whole_number(raw: BlockingDisk) -> None:
    with pytest.raises(TypeError, match="offset must be an int, not float"):
        raw.seek(1.0)  # type: ignore[arg-type]  # on purpose


def test_a_request_that_fails_leaves_the_position(pipe: PipeDisk) -> None:
    file = BlockingDisk(pipe.disk)
    file.seek(100)
    pipe._writer.close()  # the pipe is broken
    with pytest.raises(OSError, match="pipe"):
        file.read(10)
    with pytest.raises(OSError, match="pipe"):
        file.write(b"0123456789")
    assert file.tell() == 100


def test_what_comes_in_while_its_own_thread_writes_is_refused(
    raw: BlockingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer or a signal handler does, and would change what lies around the write."""
    carry_out = raw._do
    calls: list[Callable[[], object]] = [
        lambda: raw.write(b"other"),
        lambda: raw.read(1),
        lambda: raw.seek(5000),
        raw.flush,
        raw.close,
    ]

    def interrupted(how: object, buffers: object, sector: object) -> None:
        for call in calls:
            with pytest.raises(RuntimeError, match="reentrant"):
                call()
        carry_out(how, buffers, sector)  # type: ignore[arg-type]  # whatever they are

    raw.seek(100)
    with monkeypatch.context() as patch:
        patch.setattr(raw, "_do", interrupted)
        assert raw.write(b"data") == 4
    assert raw.tell() == 104
    assert content(raw.disk) == bytes(100) + b"data" + bytes(SIZE - 104)
    assert raw.write(b"more") == 4


# -- What it says of itself --------------------------------------------------------------


def test_it_is_a_file_with_the_name_and_the_size_of_the_disk(disk: Disk) -> None:
    file = BlockingDisk(disk)
    assert isinstance(file, io.RawIOBase)
    assert file.readable()
    assert file.writable()
    assert file.seekable()
    assert not file.isatty()
    assert (file.name, file.mode, file.size) == (disk.path, "rb+", SIZE)
    assert file.disk is disk
    file.seek(7)
    assert repr(file) == f"<BlockingDisk of {disk!r}, at byte 7>"
    file.close()
    assert repr(file) == f"<BlockingDisk of {disk!r}, closed>"


def test_it_has_no_descriptor_and_keeps_its_size(raw: BlockingDisk) -> None:
    for refused in (raw.fileno, raw.truncate, lambda: raw.truncate(10)):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    assert raw.size == SIZE


def test_a_read_only_disk_is_not_written(kind: str, tmp_path: FilePath) -> None:
    with BlockingDisk.open(make_file(kind, tmp_path), read_only=True) as file:
        assert (file.mode, file.writable(), file.readable()) == ("rb", False, True)
        for data in (b"data", b""):
            with pytest.raises(io.UnsupportedOperation, match="read-only"):
                file.write(data)
        file.flush()
        assert file.read(4) == bytes(4)
        assert file.disk.counters.bytes_written == 0


def test_only_a_disk_will_do(tmp_path: FilePath) -> None:
    with pytest.raises(TypeError, match="disk must be a Disk, not BytesIO"):
        BlockingDisk(io.BytesIO())  # type: ignore[arg-type]  # on purpose


def test_opening_is_that_of_open_disk(tmp_path: FilePath, port: CompletionPort) -> None:
    path = make_file("raw", tmp_path)
    with BlockingDisk.open(path, backend="raw", port=port) as file:
        assert file.disk.port is port
        assert file.disk.disk_type == "raw"
    with pytest.raises(FileNotFoundError):
        BlockingDisk.open(tmp_path / "none.img")


# -- Flushing and closing -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["flush", "close"])
def test_what_was_flushed_survives_a_power_cut(how: str) -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as machine:
            machine.files["disk.img"] = bytes(SIZE)
            with BlockingDisk.open("disk.img") as file:
                file.seek(1000)
                file.write(b"safe" * 1000)
                getattr(file, how)()
                machine.power_cut()
                with contextlib.suppress(OSError):
                    file.close()  # of a disk that is gone
            assert machine.files["disk.img"][1000:5000] == b"safe" * 1000


def test_a_closed_file_does_nothing_more(disk: Disk) -> None:
    file = BlockingDisk(disk)
    file.close()
    file.close()
    assert file.closed
    assert disk.closed
    calls: list[Callable[[], object]] = [
        file.read,
        file.readall,
        lambda: file.readinto(bytearray(1)),
        lambda: file.readinto(bytearray()),
        lambda: file.write(b"data"),
        lambda: file.write(b""),
        lambda: file.seek(0),
        file.tell,
        file.flush,
        file.truncate,
        file.readable,
        file.writable,
        file.seekable,
        file.isatty,
        file.__enter__,
        lambda: next(file),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_disk_stays_open_if_that_is_asked_for(disk: Disk) -> None:
    with BlockingDisk(disk, close_disk=False) as file:
        file.write(b"abc")
    assert file.closed
    assert not disk.closed
    assert content(disk)[:4] == b"abc\0"


def test_a_disk_that_was_closed_beneath_is_a_closed_file(disk: Disk) -> None:
    file = BlockingDisk(disk)
    disk.close()
    for call in (lambda: file.read(1), lambda: file.write(b"1"), file.flush):
        with pytest.raises(ValueError, match="closed"):
            call()
    file.close()
    assert file.closed


def test_the_disk_is_closed_even_if_the_flush_fails(tmp_path: FilePath) -> None:
    def flush(*arguments: object) -> int:
        return 0xC0000185  # STATUS_IO_DEVICE_ERROR

    path = make_file("raw", tmp_path)
    with substituted(ntdll={"NtFlushBuffersFileEx": flush}), CompletionPort() as port:
        file = BlockingDisk(open_disk(path, port=port))
        with pytest.raises(OSError, match="device"):
            file.close()
        assert file.closed
        assert file.disk.closed


def test_one_that_is_dropped_leaves_the_disk_to_itself(tmp_path: FilePath) -> None:
    path = make_file("raw", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_disk(path) as disk:
            BlockingDisk(disk)
            gc.collect()
            assert disk.read(0, 1).result(SECONDS) == bytes(SECTOR)
    with pytest.warns(ResourceWarning, match="unclosed <RawDisk"):
        _drop(path)
    windows.wait_until(lambda: _is_free(path))


def _drop(path: FilePath) -> None:
    BlockingDisk.open(path).tell()
    gc.collect()


def _is_free(path: FilePath) -> bool:
    try:
        open_disk(path).close()
    except PermissionError:
        return False
    return True


# -- Threads, and Ctrl+C -------------------------------------------------------------------


def test_writes_of_many_threads_come_one_behind_the_other(file: BlockingDisk) -> None:
    records = [[b"%d%02d" % (thread, number) for number in range(40)] for thread in range(6)]

    def write(mine: list[bytes]) -> None:
        for record in mine:
            assert file.write(record) == 3

    run([partial(write, mine) for mine in records])
    written = 3 * sum(map(len, records))
    assert file.tell() == written
    found = content(file.disk)
    assert found[written:] == bytes(SIZE - written)
    assert sorted(found[at : at + 3] for at in range(0, written, 3)) == sorted(chain(*records))


def test_reads_of_many_threads_share_out_the_disk(file: BlockingDisk) -> None:
    data = random.Random(5).randbytes(9000)
    file.write(data)
    file.seek(0)
    pieces: list[bytes] = []
    run([lambda: pieces.extend(file.read(100) for _ in range(15))] * 6)
    assert sorted(pieces) == sorted(data[at : at + 100] for at in range(0, 9000, 100))


def run(works: list[Callable[[], object]]) -> None:
    """Do everything in threads of their own."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_done_callback_can_do_what_needs_no_other_thread_and_begins_nothing_else(
    raw: BlockingDisk,
) -> None:
    problems: list[BaseException] = []

    def use(_: object) -> None:
        assert raw.read(1) == b"\0"
        try:
            raw.read(2 << 20)
        except RuntimeError as error:
            problems.append(error)

    entered, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        entered.set()
        assert go_on.wait(SECONDS)

    first = raw.disk.read(0, 1)
    first.add_done_callback(hold)
    assert entered.wait(SECONDS)  # the completion thread
    second = raw.disk.read(0, 1)
    second.add_done_callback(use)
    go_on.set()
    second.result(SECONDS)
    windows.wait_until(lambda: bool(problems))
    assert "done-callback" in str(problems[0])
    assert raw.disk.counters.requests == 3


def test_one_that_others_cancel_is_an_error_of_the_system(pipe: PipeDisk) -> None:
    file = BlockingDisk(pipe.disk)
    closing = threading.Thread(target=_close_when_busy, args=[pipe.disk])
    closing.start()
    with pytest.raises(OSError, match="cancelled") as caught:
        file.read(10)
    closing.join()
    assert caught.value.errno == errno.ECANCELED
    assert file.tell() == 0


def _close_when_busy(disk: Disk) -> None:
    windows.wait_until(lambda: disk.port.in_flight == 1)
    disk.close(cancel=True)


def is_in_file(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals["__name__"] != BlockingDisk.__module__:
        frame = frame.f_back
    return frame is not None


# A simulated kernel has the main thread's interrupts wait until it returns, which is now and then.
real_only = pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.windows)], indirect=True
)


class CtrlC:
    """Ctrl+C in a call of the file by the main thread, from another one that runs `press`.

    It is raised `times` at the most, and not inside of a simulated kernel, where none would come.
    """

    def __init__(self, press: Callable[[CtrlC], object], *, times: int = 1) -> None:
        self.raised = 0
        self._times = times
        self._thread = threading.Thread(target=press, args=[self])

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._times = 0
        self._thread.join()
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.raised < self._times and is_in_file(frame) and not windows.is_in_simulation(frame):
            self.raised += 1
            raise KeyboardInterrupt

    def until(self, condition: Callable[[], bool]) -> None:
        """Press it until something has come about."""

        def press() -> bool:
            if not condition():
                _thread.interrupt_main()
            return condition()

        windows.wait_until(press)

    def when_busy(self, pipe: PipeDisk) -> None:
        """Press it as soon as a request is in flight."""
        windows.wait_until(lambda: pipe.disk.port.in_flight == 1)
        self.until(lambda: self.raised > 0)


@real_only
def test_ctrl_c_cancels_the_request_and_gives_the_buffer_back(pipe: PipeDisk) -> None:
    file, buffer = BlockingDisk(pipe.disk), bytearray(3 * SECTOR)
    with CtrlC(lambda ctrl_c: ctrl_c.when_busy(pipe)), pytest.raises(KeyboardInterrupt):
        file.readinto(buffer)
    assert pipe.disk.port.in_flight == 0
    buffer.append(1)
    assert file.tell() == 0


@real_only
def test_ctrl_c_ends_the_wait_for_another_thread(pipe: PipeDisk) -> None:
    file = BlockingDisk(pipe.disk)
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.append(file.read(10)))
    reading.start()
    windows.wait_until(lambda: pipe.disk.port.in_flight == 1)
    with CtrlC(lambda ctrl_c: ctrl_c.when_busy(pipe)), pytest.raises(KeyboardInterrupt):
        file.read(10)
    assert pipe.disk.port.in_flight == 1
    pipe.feed()
    reading.join()
    assert found == [b"\x77" * 10]
    assert file.tell() == 10


@real_only
def test_ctrl_c_waits_for_the_kernel_however_often_it_is_pressed() -> None:
    asked: list[int] = []
    held: list[bool] = []
    buffer = bytearray(SECTOR)

    def ask(_: int, overlapped: int) -> int:
        asked.append(overlapped)  # and it is too late: the request goes on
        return 1

    def press(ctrl_c: CtrlC) -> None:
        windows.wait_until(lambda: pipe.disk.port.in_flight == 1)
        ctrl_c.until(lambda: bool(asked))
        for _ in range(3):
            _thread.interrupt_main()
            threading.Event().wait(0.05)
        with pytest.raises(BufferError):
            buffer.append(1)
        held.append(True)
        pipe.feed()

    with substituted(kernel32={"CancelIoEx": ask}), CompletionPort() as other:
        pipe = PipeDisk(other)
        file = BlockingDisk(pipe.disk)
        with CtrlC(press, times=1000), pytest.raises(KeyboardInterrupt):
            file.readinto(buffer)
        assert held
        buffer.append(1)  # it is the caller's again
        pipe.close()
