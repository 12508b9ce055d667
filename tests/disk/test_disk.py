"""What a disk promises, rule by rule, for every kind."""

from __future__ import annotations

import array
import gc
import mmap
import random
import threading
import weakref
from concurrent.futures import CancelledError, Future
from typing import Self

import pytest

from pyvhdmp import (
    CompletionPort,
    Disk,
    IllegalBlockError,
    InvalidInputError,
    MediumError,
    PageBuffer,
    ReadOnlyError,
    ShortTransferError,
    UnmapBehavior,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.disk.plan import MAX_PART, Run
from pyvhdmp.testing import set_last_error, substituted
from tests.disk.kinds import IMAGES, SECTORS, SIZE, make, make_file
from tests.support import windows
from tests.support.files import FilePath, make_zeros
from tests.support.pages import pages_apart

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60
SECTOR = 512


class Memory:
    """Buffers of random length and alignment, cut out of one page-aligned piece of memory."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_

    def buffers(self, length: int) -> list[memoryview]:
        """Return buffers of `length` bytes in total."""
        pieces = []
        while length:
            if self._random.random() < 0.5:
                piece = length
            else:
                piece = self._random.choice([1, 100, 512, PAGE_SIZE, 3 * PAGE_SIZE])
            pieces.append(min(piece, length))
            length -= pieces[-1]
        shift = self._random.choice([0, 0, 1, 32, 512, PAGE_SIZE - 512])
        views = []
        for piece in pieces:
            room = memoryview(PageBuffer(shift + piece))
            views.append(room[shift:])
        return views


def filled(buffers: list[memoryview], data: bytes) -> list[memoryview]:
    start = 0
    for buffer in buffers:
        buffer[:] = data[start : start + len(buffer)]
        start += len(buffer)
    return buffers


# -- The main job ---------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 8, 32, 128])
def test_random_round_trips_agree_with_a_model_in_memory(disk: Disk, depth: int) -> None:
    """2,000 requests a depth and kind: each sector of the disk is one request's at a time."""
    chance = random.Random(depth)
    memory = Memory(chance)
    model = bytearray(SIZE)
    region = SECTORS // depth  # so that requests in flight together never overlap
    done = 0
    while done < 2000:
        writes: list[Future[None]] = []
        reads: list[tuple[Future[None], list[memoryview], int, int]] = []
        for slot in range(depth):
            count = chance.choice([1, 2, 7, 8, 9, 64, 65, chance.randint(1, 300)])
            count = min(count, region)
            sector = slot * region + chance.randint(0, region - count)
            start, length = sector * SECTOR, count * SECTOR
            buffers = memory.buffers(length)
            if chance.random() < 0.5:
                data = chance.randbytes(length)
                model[start : start + length] = data
                writes.append(disk.write_vectored(filled(buffers, data), sector))
            else:
                future = disk.read_vectored(buffers, sector)
                reads.append((future, buffers, start, length))
            done += 1
        for write in writes:
            write.result(SECONDS)
        for future, buffers, start, length in reads:
            future.result(SECONDS)
            assert b"".join(buffers) == model[start : start + length]
    assert disk.read(0, SECTORS).result(SECONDS) == model


def test_rule_12_eight_threads_use_one_disk(disk: Disk) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        first = number * (SECTORS // 8)
        try:
            for _ in range(60):
                count = chance.randint(1, 100)
                sector = first + chance.randint(0, SECTORS // 8 - count)
                data = chance.randbytes(count * SECTOR)
                disk.write(sector, data).result(SECONDS)
                if disk.read(sector, count).result(SECONDS) != data:
                    raise AssertionError(f"thread {number} read something else")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_a_disk_is(disk: Disk, kind_or_slice: str) -> None:
    *slices, kind = kind_or_slice.split(" of ")
    assert disk.disk_type == kind
    physical = 4096 if kind == "vhdmp" else 512
    assert (disk.sector_size, disk.physical_sector_size) == (512, physical)
    assert (disk.sector_count, disk.size) == (SECTORS, SIZE)
    assert (disk.disk_id is None) == (kind == "raw" or bool(slices))
    assert not disk.is_read_only
    assert disk.is_fua_respected
    assert not disk.closed
    assert repr(disk).startswith(f"<{type(disk).__name__} ")
    assert (f"{SECTORS} sectors" if slices else f"{SIZE} bytes>") in repr(disk)
    disk.close()
    assert "closed" in repr(disk)


# -- Rule by rule ---------------------------------------------------------------


def test_rule_2_a_number_that_wraps_by_itself_is_turned_into_a_python_one(disk: Disk) -> None:
    class Wrapping(int):
        """Arithmetic in 32 bits, as NumPy's scalars have it."""

        def __mul__(self, other: int) -> int:
            return (int(self) * other) & 0xFFFFFFFF

    disk.write(0, b"\x01" * 512).result(SECONDS)
    with pytest.raises(IllegalBlockError):
        disk.write(Wrapping(1 << 23), bytes(512))  # 4 GiB, or 0 in 32 bits
    disk.write(Wrapping(5), b"\x05" * 512).result(SECONDS)
    assert disk.read(0, 6).result(SECONDS) == b"\x01" * 512 + bytes(2048) + b"\x05" * 512


@pytest.mark.parametrize(
    "data",
    [
        b"\x5a" * 1024,
        bytearray(b"\x5a" * 1024),
        memoryview(b"\x5a" * 1024),
        array.array("H", [0x5A5A] * 512),
    ],
    ids=["bytes", "bytearray", "memoryview", "array"],
)
def test_rule_1_anything_contiguous_is_a_buffer(
    disk: Disk, data: bytes | bytearray | memoryview | array.array[int]
) -> None:
    disk.write(8, data).result(SECONDS)
    assert disk.read(8, 2).result(SECONDS) == b"\x5a" * 1024
    with mmap.mmap(-1, 1024) as mapped:
        disk.read_vectored([mapped], 8).result(SECONDS)
        assert mapped[:] == b"\x5a" * 1024


def test_rule_1_page_aligned_memory_is_never_copied(disk: Disk) -> None:
    buffer = PageBuffer(64 * PAGE_SIZE)
    disk.write_vectored([buffer], 3).result(SECONDS)
    disk.read_vectored([buffer], 3).result(SECONDS)
    assert disk.counters.bytes_bounced == 0
    assert disk.counters.bytes_read == disk.counters.bytes_written == len(buffer)


@pytest.mark.parametrize("length", [1, 511, 513, 4095])
def test_rule_1_a_total_of_no_whole_sectors_is_refused(disk: Disk, length: int) -> None:
    with pytest.raises(InvalidInputError, match=f"{length} bytes are no whole number of sectors"):
        disk.write(0, bytes(length))
    with pytest.raises(InvalidInputError, match="no whole number of sectors"):
        disk.read_vectored([bytearray(length)], 0)


def test_rule_1_parts_of_sectors_that_add_up_are_fine(disk: Disk) -> None:
    disk.write_vectored([b"a" * 100, b"b" * 300, b"", b"c" * 112], 1).result(SECONDS)
    assert disk.read(1, 1).result(SECONDS) == b"a" * 100 + b"b" * 300 + b"c" * 112


def test_rule_1_unusable_buffers_are_named_and_the_others_let_go(disk: Disk) -> None:
    good = bytearray(512)
    with pytest.raises(InvalidInputError, match=r"buffers\[1\] cannot be used"):
        disk.read_vectored([good, b"read only"], 0)
    with pytest.raises(InvalidInputError, match=r"buffers\[1\] cannot be used"):
        disk.write_vectored([good, memoryview(bytes(1024))[::2]], 0)
    with pytest.raises(TypeError, match="a list of buffers is wanted, not one bytearray"):
        disk.read_vectored(good, 0)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError):
        disk.write_vectored([good, "text"], 0)  # type: ignore[list-item]  # that is the test
    good.append(1)


def test_rule_3_only_the_pages_that_are_not_aligned_are_bounced(disk: Disk) -> None:
    aligned, other = PageBuffer(8 * PAGE_SIZE), memoryview(PageBuffer(2 * PAGE_SIZE))
    unaligned = other[100 : 100 + PAGE_SIZE]
    buffers = [
        memoryview(aligned)[: 4 * PAGE_SIZE],
        unaligned,
        memoryview(aligned)[4 * PAGE_SIZE :],
    ]
    data = random.Random(3).randbytes(9 * PAGE_SIZE)
    disk.write_vectored(filled(buffers, data), 0).result(SECONDS)
    assert disk.counters.bytes_bounced == PAGE_SIZE
    assert disk.read(0, len(data) // SECTOR).result(SECONDS) == data


@pytest.mark.parametrize("count", [1, 2, MAX_PART // PAGE_SIZE])
def test_rule_3_contiguous_pages_are_one_plain_call_at_their_own_address(
    kind: str, tmp_path: FilePath, count: int
) -> None:
    """Whether they are one buffer or several: a list of the pages takes time to go through."""
    path = make_file(kind, tmp_path)
    seen: list[Run] = []

    def write(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        seen.append((address, length))
        return real.WriteFile(file, address, length, null, overlapped)

    def refused(*_: int) -> int:
        raise AssertionError("a list of pages")

    with CompletionPort() as outer:
        real = outer.windows.kernel32
    buffer = PageBuffer(count * PAGE_SIZE)
    pins = Pins([buffer], writable=False)
    view = memoryview(buffer)
    with (
        substituted(kernel32={"WriteFile": write, "WriteFileGather": refused}),
        CompletionPort() as port,
        open_disk(path, port=port) as disk,
    ):
        for buffers in ([buffer], [view[:PAGE_SIZE], view[PAGE_SIZE:]]):
            for fua in (False, True):
                disk.write_vectored(buffers, 0, fua=fua).result(SECONDS)
    assert seen == [(pins.addresses[0], pins.length)] * 4
    pins.release()


def test_rule_3_pages_that_lie_apart_reach_the_kernel_as_a_list_of_their_addresses(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path)
    seen: list[int] = []

    def write(file: int, segments: int, length: int, reserved: int, overlapped: int) -> int:
        seen.extend(windows.read_u64(segments, length // PAGE_SIZE + 1))
        return real.WriteFileGather(file, segments, length, reserved, overlapped)

    with CompletionPort() as outer:
        real = outer.windows.kernel32
    buffers = pages_apart(4)
    pins = Pins(buffers, writable=False)
    with (
        substituted(kernel32={"WriteFileGather": write}),
        CompletionPort() as port,
        open_disk(path, port=port) as disk,
    ):
        for fua in (False, True):
            disk.write_vectored(buffers, 0, fua=fua).result(SECONDS)
    assert seen == [*pins.addresses, 0] * 2
    pins.release()


def test_rule_3_requests_that_wait_for_bounce_memory_block_nobody(
    kind: str, tmp_path: FilePath
) -> None:
    size = 64 << 20
    path = make_file(kind, tmp_path, size)
    with CompletionPort(bounce_budget=1 << 20) as port, open_disk(path, port=port) as disk:
        data = [random.Random(number).randbytes((1 << 20) - 512) for number in range(32)]
        futures = [disk.write(number * 4096, piece) for number, piece in enumerate(data)]
        assert disk.read_vectored([PageBuffer(PAGE_SIZE)], 0).result(SECONDS) is None
        for future in futures:
            future.result(SECONDS)
        assert port.bounce.allocated <= 1 << 20
        for number, piece in enumerate(data):
            assert disk.read(number * 4096, len(piece) // SECTOR).result(SECONDS) == piece


def test_rule_4_some_mebibytes_of_contiguous_pages_are_one_call(
    kind: str, tmp_path: FilePath
) -> None:
    size = 4 << 20
    with CompletionPort() as port, make(kind, tmp_path, size=size, port=port) as disk:
        source, target = PageBuffer(size), PageBuffer(size)
        source[:] = random.Random(4).randbytes(size)
        calls = port.calls
        disk.write_vectored([source], 0).result(SECONDS)
        disk.read_vectored([target], 0).result(SECONDS)
        assert port.calls - calls == 2
        assert source[:] == target[:]


def test_rule_4_a_long_request_is_split_and_finished_once(kind: str, tmp_path: FilePath) -> None:
    size = 96 << 20
    with CompletionPort() as port, make(kind, tmp_path, size=size, port=port) as disk:
        source = PageBuffer(size)
        for place in range(0, size, 1 << 20):
            source[place : place + 8] = place.to_bytes(8, "little")
        finished: list[Future[None]] = []
        future = disk.write_vectored([source], 0)
        future.add_done_callback(finished.append)
        future.result(SECONDS)
        target = PageBuffer(size)
        disk.read_vectored([target], 0).result(SECONDS)
        assert len(finished) == 1
        assert source[:] == target[:]
        assert port.peak_in_flight > 1
        assert disk.counters.bytes_bounced == 0


def test_rule_4_a_request_above_4_gib_is_done_in_full(tmp_path: FilePath) -> None:
    """One page of memory, named again and again: 4 GiB and a page without 4 GiB of memory."""
    size = (4 << 30) + (1 << 20)
    path = tmp_path / "large.img"
    make_zeros(path, size)
    with open_disk(path) as disk:
        disk.write((4 << 30) // SECTOR, b"behind 4 GiB" + bytes(500)).result(SECONDS)
    chunk = PageBuffer(1 << 20)
    with CompletionPort() as port, open_disk(path, read_only=True, port=port) as disk:
        last = PageBuffer(1 << 20)
        disk.read_vectored([chunk] * (4 << 10) + [last], 0).result(600)
        assert disk.counters.bytes_read == size
        assert last[:12] == b"behind 4 GiB"


@pytest.mark.parametrize("is_contiguous", [True, False])
def test_rule_4_fewer_bytes_than_asked_for_is_an_error(
    kind: str, tmp_path: FilePath, is_contiguous: bool
) -> None:
    path = make_file(kind, tmp_path)
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def short(file: int, segments: int, length: int, reserved: int, overlapped: int) -> int:
        length -= PAGE_SIZE
        windows.write_u64(segments + length // PAGE_SIZE * 8, 0)
        return real.ReadFileScatter(file, segments, length, reserved, overlapped)

    def plain(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        if length == 4 * PAGE_SIZE:  # and not what opening reads
            length -= PAGE_SIZE
        return real.ReadFile(file, address, length, null, overlapped)

    with open_disk(path) as probe:  # opened before the fault, so that opening is not part of it
        assert probe.size == SIZE
    with (
        substituted(kernel32={"ReadFileScatter": short, "ReadFile": plain}),
        CompletionPort() as port,
    ):
        disk = open_disk(path, read_only=True, port=port)
        buffers = [memoryview(PageBuffer(4 * PAGE_SIZE))] if is_contiguous else pages_apart(4)
        future = disk.read_vectored(buffers, 0)
        with pytest.raises(ShortTransferError, match="read 12288 of 16384 bytes at byte 0"):
            future.result(SECONDS)
        disk.close()


@pytest.mark.parametrize("kind", IMAGES, indirect=True)
def test_rule_4_a_disk_whose_file_was_cut_fails_with_a_short_transfer(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path)
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def at_the_end(file: int, segments: int, length: int, reserved: int, overlapped: int) -> int:
        windows.write_u32(overlapped + 20, 1 << 10)  # OffsetHigh: far behind the end
        return real.ReadFileScatter(file, segments, length, reserved, overlapped)

    with substituted(kernel32={"ReadFileScatter": at_the_end}), CompletionPort() as port:
        disk = open_disk(path, read_only=True, port=port)
        with pytest.raises(ShortTransferError, match="read 0 of 8192 bytes"):
            disk.read_vectored(pages_apart(2), 8).result(SECONDS)
        disk.close()


def test_rule_4_the_first_error_fails_the_request_and_stops_the_rest(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path, 256 << 20)
    calls = 0
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def failing(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 40:
            set_last_error(constants.ERROR_CRC)
            return 0
        return real.WriteFile(file, address, length, null, overlapped)

    with substituted(kernel32={"WriteFile": failing}), CompletionPort() as port:
        disk = open_disk(path, port=port)
        buffer = bytearray(0)
        source = PageBuffer(200 << 20)
        future = disk.write_vectored([source, buffer], 0)
        with pytest.raises(MediumError) as caught:
            future.result(SECONDS)
        assert windows.winerror(caught.value) == constants.ERROR_CRC
        assert "at byte" in caught.value.__notes__[0]
        assert 40 <= calls < 200
        assert port.in_flight == 0  # nothing is with the kernel once the future is finished
        source.close()
        disk.close()


def test_rule_5_a_request_that_the_device_holds_back_holds_back_no_other(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path)
    held: list[tuple[int, int, int, int, int]] = []
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def hold(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        if holding:
            held.append((file, address, length, null, overlapped))
            set_last_error(constants.ERROR_IO_PENDING)
            return 0
        return real.WriteFile(file, address, length, null, overlapped)

    holding = False
    with substituted(kernel32={"WriteFile": hold}), CompletionPort() as port:
        disk = open_disk(path, port=port)
        page, other = PageBuffer(PAGE_SIZE), PageBuffer(PAGE_SIZE)
        page[:] = b"\x01" * PAGE_SIZE
        holding = True
        first = disk.write(0, page)
        holding = False
        second = disk.write(0, other)
        second.result(SECONDS)
        assert not first.done()
        assert port.in_flight == 1
        real.WriteFile(*held[0])
        first.result(SECONDS)
        assert disk.read(0, 8).result(SECONDS) == b"\x01" * PAGE_SIZE
        disk.close()


def test_rule_6_fua_flushes_before_the_future_is_finished(kind: str, tmp_path: FilePath) -> None:
    path = make_file(kind, tmp_path)
    order: list[str] = []
    with CompletionPort() as outer:
        real = outer.windows

    def flush(file: int, flags: int, parameters: int, size: int, status: int) -> int:
        order.append("flush")
        return real.ntdll.NtFlushBuffersFileEx(file, flags, parameters, size, status)

    with substituted(ntdll={"NtFlushBuffersFileEx": flush}), CompletionPort() as port:
        disk = open_disk(path, port=port)
        for fua in (False, True):
            future = disk.write(0, bytes(8192), fua=fua)
            future.add_done_callback(lambda _: order.append("done"))
            future.result(SECONDS)
        windows.wait_until(lambda: len(order) == 3)
        disk.close()
    assert order == ["done", "flush", "done"]


def test_rule_6_a_flush_that_fails_fails_the_fua_write_and_the_sync(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path)
    status_io_device_error = 0xC0000185
    with (
        substituted(ntdll={"NtFlushBuffersFileEx": lambda *_: status_io_device_error}),
        CompletionPort() as port,
    ):
        disk = open_disk(path, port=port)
        assert disk.write(0, bytes(512)).result(SECONDS) is None
        for future in (disk.write(0, bytes(512), fua=True), disk.sync_cache()):
            with pytest.raises(MediumError):
                future.result(SECONDS)
        disk.close()


def test_rule_11_a_read_only_disk_refuses_writes_before_any_call(
    kind: str, tmp_path: FilePath, port: CompletionPort
) -> None:
    path = make_file(kind, tmp_path)
    with open_disk(path, read_only=True, port=port) as disk:
        calls = port.calls
        with pytest.raises(ReadOnlyError):
            disk.write(0, bytes(512))
        with pytest.raises(ReadOnlyError):
            disk.write_vectored([bytes(512)], 0)
        with pytest.raises(ReadOnlyError):
            disk.unmap(0, 1)
        synced = disk.sync_cache()
        assert synced.done()
        assert synced.result() is None
        assert port.calls == calls
        assert disk.is_read_only
        assert disk.unmap_behavior is not UnmapBehavior.ZEROES
        assert disk.read(0, 1).result(SECONDS) == bytes(512)


# -- What else there is ---------------------------------------------------------


def test_unmap_does_what_unmap_behavior_says(disk: Disk) -> None:
    data = random.Random(5).randbytes(16 * SECTOR)
    disk.write(0, data).result(SECONDS)
    disk.unmap(4, 8).result(SECONDS)
    content = disk.read(0, 16).result(SECONDS)
    assert (
        content[: 4 * SECTOR] + content[12 * SECTOR :] == data[: 4 * SECTOR] + data[12 * SECTOR :]
    )
    middle = content[4 * SECTOR : 12 * SECTOR]
    zeros, same = bytes(8 * SECTOR), data[4 * SECTOR : 12 * SECTOR]
    may_be = {
        UnmapBehavior.ZEROES: [zeros],
        UnmapBehavior.IGNORED: [same],
        UnmapBehavior.UNSPECIFIED: [zeros, same],
    }
    assert middle in may_be[disk.unmap_behavior]


@pytest.mark.parametrize("kind", IMAGES, indirect=True)
def test_unmap_zeroes_where_windows_can(kind: str, tmp_path: FilePath) -> None:
    """Wine cannot; so this shows what is asked of a Windows that can."""
    path = make_file(kind, tmp_path)
    asked: list[tuple[int, int, int]] = []
    page = Block(PAGE_SIZE)
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def control(
        file: int, code: int, given: int, size: int, out: int, out_size: int, null: int, ov: int
    ) -> int:
        start, end = windows.read_u64(given, 2)
        asked.append((code, start, end))
        return real.WriteFile(file, page.address, 0, 0, ov)  # nothing, but a packet comes

    with substituted(kernel32={"DeviceIoControl": control}), CompletionPort() as port:
        disk = open_disk(path, port=port)
        assert disk.unmap_behavior is UnmapBehavior.ZEROES
        disk.unmap(4, 8).result(SECONDS)
        disk.unmap(SECTORS - 1, 1).result(SECONDS)
        disk.unmap(7, 0).result(SECONDS)
        disk.close()
    code = constants.FSCTL_SET_ZERO_DATA
    assert asked == [(code, 0, 0), (code, 2048, 6144), (code, SIZE - 512, SIZE)]


def test_wait_resize_is_done_at_once_when_the_size_differs_already(disk: Disk) -> None:
    assert disk.wait_resize(SECTORS - 1).result(SECONDS) == SECTORS


def test_wait_resize_waits_and_can_be_cancelled(disk: Disk) -> None:
    future = disk.wait_resize(SECTORS)
    other = disk.wait_resize(SECTORS)
    assert future.cancel() is False
    with pytest.raises(CancelledError):
        future.result(SECONDS)
    assert not other.done()


def test_wait_resize_ends_with_the_port_too(kind: str, tmp_path: FilePath) -> None:
    with CompletionPort() as port:
        future = make(kind, tmp_path, port=port).wait_resize(SECTORS)
        assert not future.done()
    assert future.cancelled()


def test_2000_times_open_and_close_leak_no_handle(kind: str, tmp_path: FilePath) -> None:
    path = make_file(kind, tmp_path)
    with CompletionPort() as port:
        for _ in range(10):
            open_disk(path, port=port).close()
        before = windows.handle_count()
        for _ in range(2000):
            open_disk(path, read_only=True, port=port).close()
        assert windows.handle_count() <= before + 2


def test_bounce_memory_that_made_room_for_other_is_freed(
    kind: str, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_file(kind, tmp_path)
    alive: weakref.WeakSet[PageBuffer] = weakref.WeakSet()

    class Tracked(PageBuffer):
        def __new__(cls, size: int) -> Self:
            buffer = super().__new__(cls, size)
            alive.add(buffer)
            return buffer

    monkeypatch.setattr("pyvhdmp.buffers.PageBuffer", Tracked)
    with CompletionPort(bounce_budget=1 << 20) as port, open_disk(path, port=port) as disk:
        for _ in range(50):  # blocks of two sizes evict each other
            disk.write(0, bytes((1 << 20) - 512)).result(SECONDS)
            disk.write(0, bytes(512)).result(SECONDS)
        gc.collect()
        assert port.bounce.allocated <= 1 << 20
        assert sum(len(buffer) for buffer in alive) <= (1 << 20) + (256 << 10)  # slots and such
    del port, disk
    gc.collect()
    assert not alive


def test_a_file_system_without_scatter_is_served_by_plain_calls(
    kind: str, tmp_path: FilePath
) -> None:
    path = make_file(kind, tmp_path)

    def refused(*_: int) -> int:
        set_last_error(constants.ERROR_INVALID_PARAMETER)
        return 0

    with (
        substituted(kernel32={"ReadFileScatter": refused, "WriteFileGather": refused}),
        CompletionPort() as port,
        open_disk(path, port=port) as disk,
    ):
        chance = random.Random(9)
        data = chance.randbytes(50 * PAGE_SIZE)
        buffers = Memory(chance).buffers(len(data))
        disk.write_vectored(filled(buffers, data), 1).result(SECONDS)
        aligned = PageBuffer(len(data))
        disk.read_vectored([aligned], 1).result(SECONDS)
        assert aligned[:] == data
        apart = pages_apart(50)
        disk.read_vectored(apart, 1).result(SECONDS)
        assert b"".join(apart) == data
