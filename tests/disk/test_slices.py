"""A part of a disk as a disk: what is its own, and what the disk's. The rest is in `test_disk`."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait

import pytest

from pyvhdmp import (
    CompletionPort,
    Disk,
    IllegalBlockError,
    MediumError,
    PageBuffer,
    RawDisk,
    ReadOnlyError,
    VirtualDisk,
    open_disk,
)
from pyvhdmp._win32 import Handle
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.futures import IoFuture
from pyvhdmp.pipeline import Compare, Copy
from pyvhdmp.testing import SimulatedWindows, set_last_error, substituted
from tests.disk.kinds import SECTORS, make, make_file
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pages import pages_apart
from tests.support.pipe_disk import PipeDisk

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60
FIRST, COUNT = 2048, 1024
MIB = 1 << 20


@pytest.fixture
def disk(kind: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[Disk]:
    with make(kind, tmp_path, port=port) as disk:
        yield disk


# -- Where it lies ------------------------------------------------------------------


def test_its_sectors_are_those_of_the_disk_from_the_first_on(disk: Disk) -> None:
    data = random.Random(1).randbytes(SECTORS * 512)
    disk.write(0, data).result(SECONDS)
    part = disk.slice(FIRST, COUNT)
    mine = data[FIRST * 512 : (FIRST + COUNT) * 512]
    assert part.read(0, COUNT).result(SECONDS) == mine  # bounced, in parts
    page, (one, two) = PageBuffer(PAGE_SIZE), pages_apart(2)
    part.read_vectored([page], 16).result(SECONDS)  # one call
    part.read_vectored([one, two], 3).result(SECONDS)  # a list of pages
    assert page[:] == mine[16 * 512 : 24 * 512]
    assert bytes(one) + bytes(two) == mine[3 * 512 : 19 * 512]

    page[:] = b"\x11" * PAGE_SIZE
    one[:] = two[:] = b"\x22" * PAGE_SIZE
    part.write_vectored([page], 0).result(SECONDS)
    part.write_vectored([one, two], 100, fua=True).result(SECONDS)
    part.write(COUNT - 1, b"\x33" * 512).result(SECONDS)
    part.sync_cache().result(SECONDS)
    changed = bytearray(data)
    for sector, new in {0: page[:], 100: bytes(one) * 2, COUNT - 1: b"\x33" * 512}.items():
        start = (FIRST + sector) * 512
        changed[start : start + len(new)] = new
    assert disk.read(0, SECTORS).result(SECONDS) == changed


def test_what_it_is_and_what_it_has_of_the_disk(disk: Disk) -> None:
    part = disk.slice(FIRST, COUNT)
    assert (part.sector_count, part.size) == (COUNT, COUNT * 512)
    assert part.disk_id is None
    for name in (
        "disk_type",
        "is_fua_respected",
        "is_read_only",
        "path",
        "physical_sector_size",
        "port",
        "sector_size",
        "unmap_behavior",
    ):
        assert getattr(part, name) == getattr(disk, name)
    assert repr(part) == f"<Slice of {disk!r}: 1024 sectors from sector 2048>"
    with part:
        pass
    assert repr(part) == f"<Slice of {disk!r}: 1024 sectors from sector 2048, closed>"


def test_a_slice_of_a_slice_is_one_of_the_disk(disk: Disk) -> None:
    disk.write(FIRST + 7, b"\x07" * 512).result(SECONDS)
    outer = disk.slice(FIRST, COUNT)
    inner = outer.slice(7, 3)
    assert inner.read(0, 1).result(SECONDS) == b"\x07" * 512
    with pytest.raises(IllegalBlockError, match="reaches past the 3 sectors of the slice"):
        inner.read(0, 4)
    outer.close()
    assert inner.closed
    with pytest.raises(ValueError, match="closed"):
        inner.read(0, 1)
    inner.close()
    assert not disk.closed


@pytest.mark.parametrize(
    ("first", "count", "problem"),
    [
        (SECTORS, 1, f"reaches past the {SECTORS} sectors of the disk"),
        (0, SECTORS + 1, f"reaches past the {SECTORS} sectors of the disk"),
        (-1, 2, "is negative"),
        (1, -1, "is negative"),
        (2**55, 1, "cannot be addressed in 63 bits"),
        (2**64, 2**64, "cannot be addressed in 63 bits"),
    ],
)
def test_a_part_that_is_not_inside_the_disk_is_refused(
    disk: Disk, first: int, count: int, problem: str
) -> None:
    calls = disk.port.calls
    with pytest.raises(IllegalBlockError, match=problem):
        disk.slice(first, count)
    assert disk.port.calls == calls


def test_a_part_is_made_of_whole_numbers_and_can_be_empty(disk: Disk) -> None:
    with pytest.raises(TypeError):
        disk.slice(1.0, 1)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError):
        disk.slice(1, "1")  # type: ignore[arg-type]  # that is the test
    part = disk.slice(SECTORS, 0)
    assert (part.size, part.read(0, 0).result(SECONDS)) == (0, b"")


def test_a_slice_of_a_read_only_disk_is_read_only(kind: str, tmp_path: FilePath) -> None:
    path = make_file(kind, tmp_path)
    with open_disk(path, read_only=True, backend="raw" if kind == "raw" else "auto") as disk:
        part = disk.slice(FIRST, COUNT)
        assert part.is_read_only
        calls = disk.port.calls
        with pytest.raises(ReadOnlyError):
            part.write(0, bytes(512))
        with pytest.raises(ReadOnlyError):
            part.unmap(0, 1)
        part.sync_cache().result(SECONDS)
        assert disk.port.calls == calls
        part.close()
        with pytest.raises(ValueError, match="closed"):
            part.sync_cache()
    disk.port.close()


# -- What is wrong ------------------------------------------------------------------


def test_a_failing_call_names_the_place_in_the_slice_and_where_that_lies(
    tmp_path: FilePath,
) -> None:
    path = make_file("raw", tmp_path)

    def failing(*_: int) -> int:
        set_last_error(23)  # ERROR_CRC
        return 0

    with substituted(kernel32={"ReadFile": failing}), CompletionPort() as port:
        disk = RawDisk.open(path, port=port)
        part = disk.slice(FIRST, COUNT)
        with pytest.raises(MediumError) as caught:
            part.read(5, 1).result(SECONDS)
        assert caught.value.filename == disk.path
        assert caught.value.__notes__ == [
            "ReadFile at byte 2560 failed with Windows error 23.",
            f"Places are those of a slice from sector 2048 of {disk!r} on.",
        ]
        disk.close()


@pytest.fixture
def virtual(tmp_path: FilePath) -> Iterator[Disk]:
    with windows.vhdmp(), CompletionPort() as port:
        path = tmp_path / "disk.vhdx"
        VirtualDisk.create_dynamic(path, 8 * MIB).close()
        with open_disk(path, port=port) as disk:
            yield disk


def resize(disk: Disk, size: int) -> None:
    borrowed = VirtualDisk(disk.port.windows, Handle(disk._file.handle), disk.path)
    try:
        borrowed.resize(size, allow_unsafe=True).result(SECONDS)
    finally:
        borrowed.release()


def test_a_slice_keeps_its_size_when_the_disk_grows(virtual: Disk) -> None:
    disk = virtual
    part = disk.slice(FIRST, COUNT)
    waiting = part.wait_resize(COUNT)
    resize(disk, 16 * MIB)
    assert disk.sector_count == 16 * MIB // 512
    assert part.sector_count == COUNT
    assert not waiting.done()
    waiting.cancel()
    wait([waiting], SECONDS)
    assert waiting.cancelled()
    assert part.wait_resize(0).result(SECONDS) == COUNT
    disk.slice(16 * MIB // 512 - 1, 1).read(0, 1).result(SECONDS)


def test_what_lies_past_the_end_of_a_disk_that_has_shrunk_is_refused(
    machine: SimulatedWindows | None, virtual: Disk
) -> None:
    disk = virtual
    part = disk.slice(4 * MIB // 512, 2 * MIB // 512)
    inner = part.slice(1, 2 * MIB // 512 - 1)
    resize(disk, 5 * MIB)
    if machine is not None:  # over a real file there is something behind the end
        with pytest.raises(MediumError) as unknown:  # nobody has asked yet
            part.read(MIB // 512, 1).result(SECONDS)
        assert "Places are those of a slice" in unknown.value.__notes__[-1]
    assert disk.size == 5 * MIB
    part.read(MIB // 512 - 1, 1).result(SECONDS)
    calls = disk.port.calls
    end = rf"reaches past the end of the disk, which has {5 * MIB // 512} sectors by now"
    with pytest.raises(IllegalBlockError, match=f"of 2 sectors from sector 2047 of <Slice.*{end}"):
        part.read(MIB // 512 - 1, 2)
    with pytest.raises(IllegalBlockError, match=f"of 1 sectors from sector 2047 of <Slice.*{end}"):
        inner.unmap(MIB // 512 - 1, 1)
    with pytest.raises(IllegalBlockError):
        part.slice(MIB // 512, 1)
    assert disk.port.calls == calls
    resize(disk, 8 * MIB)
    part.read(MIB // 512, 1).result(SECONDS)


# -- Counting -----------------------------------------------------------------------


def test_the_counters_are_of_what_went_through_it(disk: Disk) -> None:
    part, other = disk.slice(FIRST, COUNT), disk.slice(0, COUNT)
    part.write(0, bytes(1024)).result(SECONDS)
    other.read(0, 1).result(SECONDS)
    disk.read(0, 3).result(SECONDS)
    assert (part.counters.bytes_written, part.counters.bytes_read) == (1024, 0)
    assert (other.counters.bytes_written, other.counters.bytes_read) == (0, 512)
    assert (disk.counters.bytes_written, disk.counters.bytes_read) == (0, 1536)
    assert [one.counters.requests for one in (part, other, disk)] == [1, 1, 1]


# -- Closing ------------------------------------------------------------------------


def test_closing_a_slice_leaves_the_disk_and_its_other_slices_open(disk: Disk) -> None:
    part, other = disk.slice(FIRST, COUNT), disk.slice(FIRST, COUNT)
    part.close()
    part.close()
    for request in (
        lambda: part.read(0, 1),
        lambda: part.write(0, bytes(512)),
        lambda: part.unmap(0, 1),
        part.sync_cache,
        lambda: part.wait_resize(COUNT),
        lambda: part.slice(0, 1),
    ):
        with pytest.raises(ValueError, match="closed"):
            request()
    assert part.closed
    assert not disk.closed
    disk.write(FIRST, b"\x01" * 512).result(SECONDS)
    assert other.read(0, 1).result(SECONDS) == b"\x01" * 512


def test_closing_the_disk_closes_its_slices(disk: Disk) -> None:
    part = disk.slice(FIRST, COUNT)
    futures = [part.write(number, bytes(512)) for number in range(50)]
    waiting = part.wait_resize(COUNT)
    disk.close()
    assert all(future.done() and future.exception() is None for future in futures)
    wait([waiting], SECONDS)
    assert waiting.cancelled()
    assert part.closed
    for request in (lambda: part.read(0, 1), lambda: part.unmap(0, 1), part.sync_cache):
        with pytest.raises(ValueError, match="closed"):
            request()
    with pytest.raises(ValueError, match="closed"):
        disk.slice(0, 1)
    part.close()


def test_closing_a_slice_waits_for_what_is_in_flight_through_it_alone(pipe: PipeDisk) -> None:
    part = pipe.disk.slice(FIRST, COUNT)
    through = part.read_vectored([PageBuffer(PAGE_SIZE)], 0)
    bounced = part.read(0, 1)
    elsewhere = pipe.disk.read(0, 1)
    closing = threading.Thread(target=part.close)
    closing.start()
    windows.wait_until(lambda: part.closed)
    pipe.feed(size=PAGE_SIZE)
    through.result(SECONDS)
    closing.join(0.05)
    assert closing.is_alive()  # for the second
    pipe.feed()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert bounced.done()
    assert not elsewhere.done()
    pipe.feed()
    elsewhere.result(SECONDS)


def test_closing_a_slice_with_cancel_cancels_what_went_through_it_alone(pipe: PipeDisk) -> None:
    part = pipe.disk.slice(FIRST, COUNT)
    elsewhere = pipe.disk.read(0, 1)
    through: list[Future[None] | Future[bytes] | Future[int]] = [
        part.read_vectored([PageBuffer(PAGE_SIZE)], 0),
        part.read(0, 1),
        part.wait_resize(COUNT),
    ]
    part.close(cancel=True)
    assert all(future.cancelled() for future in through)
    assert not elsewhere.done()
    pipe.feed()
    elsewhere.result(SECONDS)


def test_closing_the_disk_with_cancel_cancels_what_went_through_its_slices(pipe: PipeDisk) -> None:
    inner = pipe.disk.slice(FIRST, COUNT).slice(1, 8)
    through = inner.read_vectored([PageBuffer(PAGE_SIZE)], 0)
    pipe.disk.close(cancel=True)
    assert through.cancelled()
    inner.close()


def test_one_request_through_a_slice_can_be_cancelled(pipe: PipeDisk) -> None:
    part = pipe.disk.slice(FIRST, COUNT)
    first = part.read_vectored([PageBuffer(PAGE_SIZE)], 0)
    second = part.read_vectored([PageBuffer(PAGE_SIZE)], 0)
    assert second.cancel() is False
    with pytest.raises(CancelledError):
        second.result(SECONDS)
    pipe.feed(size=PAGE_SIZE)
    first.result(SECONDS)


@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize("of_what", ["a slice", "a slice of a slice"])
def test_closing_a_slice_waits_for_its_unmap(
    pipe: PipeDisk, monkeypatch: pytest.MonkeyPatch, cancel: bool, of_what: str
) -> None:
    """Which the disk beneath carries out: here it takes until it is told to go on."""
    unmapped: list[tuple[int, int]] = []
    future: IoFuture[None] = IoFuture(lambda: future.fail(CancelledError()))

    def unmap(sector: int, count: int) -> Future[None]:
        unmapped.append((sector, count))
        return future

    monkeypatch.setattr(pipe.disk, "_unmap", unmap)
    part = pipe.disk.slice(FIRST, COUNT)
    if of_what == "a slice of a slice":
        part = part.slice(8, 8)
    unmapping = part.unmap(2, 4)
    if not cancel:
        threading.Timer(0.05, lambda: future.resolve(None)).start()
    part.close(cancel=cancel)
    assert unmapping.done()
    assert unmapping.cancelled() == cancel
    assert unmapped == [(FIRST + 2 + (8 if of_what == "a slice of a slice" else 0), 4)]


def test_closing_a_slice_waits_for_its_flush(tmp_path: FilePath) -> None:
    path = make_file("raw", tmp_path)
    go_on = threading.Event()
    with CompletionPort() as outer:
        real = outer.windows.ntdll

    def slow(*arguments: int) -> int:
        windows.wait_until(go_on.is_set)
        return real.NtFlushBuffersFileEx(*arguments)

    with (
        substituted(ntdll={"NtFlushBuffersFileEx": slow}),
        CompletionPort() as port,
        RawDisk.open(path, port=port) as disk,
    ):
        part = disk.slice(FIRST, COUNT)
        flushing = part.sync_cache()
        closing = threading.Thread(target=part.close)
        closing.start()
        closing.join(0.05)
        assert closing.is_alive()
        go_on.set()
        closing.join(SECONDS)
        assert flushing.done()


def test_a_slice_keeps_its_disk_and_nothing_keeps_the_slice(
    tmp_path: FilePath, port: CompletionPort
) -> None:
    part = make("raw", tmp_path, port=port).slice(FIRST, COUNT)
    gc.collect()
    assert part.read(0, 1).result(SECONDS) == bytes(512)
    disk = part._beneath  # type: ignore[attr-defined]  # it has no other name any more
    gone = weakref.ref(part)
    part.close()
    del part
    gc.collect()
    assert gone() is None
    disk.close()


# -- For whoever takes a disk -------------------------------------------------------


def test_an_async_disk_over_a_slice_is_that_slice(disk: Disk) -> None:
    async def main() -> None:
        async with AsyncDisk(disk, max_in_flight=5).slice(FIRST, COUNT) as part:
            assert (part.sector_count, part.max_in_flight) == (COUNT, 5)
            await part.write(1, b"\x01" * 512)
            await part.unmap(8, 8)
            await part.sync_cache()
            read = [bytes(block) async for block in part.blocks(block_sectors=100)]
            assert b"".join(read) == bytes(512) + b"\x01" * 512 + bytes((COUNT - 2) * 512)
            with pytest.raises(IllegalBlockError):
                await part.read(COUNT, 1)
        assert part.closed
        assert not disk.closed
        async with AsyncDisk(disk.slice(FIRST, COUNT)) as other:
            assert await other.read(1, 1) == b"\x01" * 512

    asyncio.run(main())


def test_a_slice_is_copied_to_another_of_the_same_disk(disk: Disk) -> None:
    data = random.Random(2).randbytes(COUNT * 512)
    disk.write(FIRST, data).result(SECONDS)
    source, target = disk.slice(FIRST, COUNT), disk.slice(FIRST + COUNT, COUNT)
    Copy(source, target, queue_depth=4, io_size=1 << 16).run("copying")
    assert disk.read(FIRST - 1, 2 * COUNT + 2).result(SECONDS) == (
        bytes(512) + data + data + bytes(512)
    )
    compare = Compare(source, target, queue_depth=4, io_size=1 << 16)
    compare.run("comparing")
    assert compare.difference is None


def test_a_slice_survives_a_power_cut_as_the_disk_does(machine: SimulatedWindows | None) -> None:
    if machine is None:
        pytest.skip("a real Windows keeps its power")
    machine.files["disk.img"] = bytes(SECTORS * 512)
    with open_disk("disk.img") as disk:
        part = disk.slice(FIRST, COUNT)
        part.write(0, b"\x01" * 512, fua=True).result(SECONDS)
        part.write(1, b"\x02" * 512).result(SECONDS)
        part.sync_cache().result(SECONDS)
    machine.power_cut()
    start = FIRST * 512
    assert machine.files["disk.img"][start : start + 1024] == b"\x01" * 512 + b"\x02" * 512
