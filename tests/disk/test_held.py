"""Buffers that are held beforehand, for many requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pyvhdmp import Disk, HeldBuffers, InvalidInputError
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.buffers import PAGE_SIZE
from tests.support.pages import pages_apart
from tests.support.pipe_disk import SECTOR, PipeDisk

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60


def test_many_requests_read_and_write_the_same_buffers(disk: Disk) -> None:
    pages = pages_apart(16)
    for number, page in enumerate(pages):
        page[:] = bytes([number + 1]) * PAGE_SIZE
    content = b"".join(pages)
    step = len(content) // disk.sector_size
    with HeldBuffers(pages) as held:
        assert held.length == len(content)
        for write in [disk.write_vectored(held, number * step) for number in range(4)]:
            write.result(SECONDS)
        assert disk.counters.bytes_bounced == 0
        for page in pages:
            page[:] = bytes(PAGE_SIZE)
        disk.read_vectored(held, 2 * step).result(SECONDS)
        assert b"".join(pages) == content
        assert disk.counters.bytes_bounced == 0
    assert disk.read(3 * step, step).result(SECONDS) == content


def test_buffers_of_any_kind_are_held(disk: Disk) -> None:
    data = random.Random(1).randbytes(5 * disk.sector_size)
    buffers: list[bytes | bytearray | memoryview] = [
        data[:100],
        bytearray(data[100:1000]),
        memoryview(data)[1000:],
        b"",
    ]
    with HeldBuffers(buffers) as held:
        disk.write_vectored(held, 3).result(SECONDS)
        disk.write_vectored(held, 20, fua=True).result(SECONDS)
    for sector in (3, 20):
        assert disk.read(sector, 5).result(SECONDS) == data


def test_what_is_wrong_is_said_when_it_is_known(disk: Disk) -> None:
    with pytest.raises(InvalidInputError, match=r"buffers\[1\] cannot be used"):
        HeldBuffers([b"", memoryview(b"abcd")[::2]])
    one: Any = bytearray(512)
    with pytest.raises(TypeError, match="a list of buffers is wanted, not one bytearray"):
        HeldBuffers(one)
    size = disk.sector_size
    with HeldBuffers([bytearray(size), bytes(size)]) as held:
        with pytest.raises(InvalidInputError, match=r"buffers\[1\] cannot be .* read-only"):
            disk.read_vectored(held, 0)
        with pytest.raises(OSError, match="reaches past"):
            disk.write_vectored(held, disk.sector_count)
        disk.write_vectored(held, 0).result(SECONDS)
    assert held.closed
    with pytest.raises(ValueError, match="the buffers are closed"):
        disk.write_vectored(held, 0)
    held.close()


def test_rule_9_they_are_held_until_the_last_request_is_over(pipe: PipeDisk) -> None:
    data = bytearray(SECTOR)
    held = HeldBuffers([data])
    reads = [pipe.disk.read_vectored(held, 0) for _ in range(2)]
    held.close()
    for read in reads:
        with pytest.raises(BufferError):
            data.append(1)
        pipe.feed()
        read.result(SECONDS)
    data.append(1)


def test_requests_that_others_begin_while_they_are_closed_are_refused_or_carried_out(
    disk: Disk,
) -> None:
    size = disk.sector_size
    writes: list[Future[None]] = []

    def write(held: HeldBuffers, begun: threading.Event) -> None:
        with contextlib.suppress(ValueError):
            for number in range(100):
                writes.append(disk.write_vectored(held, number))
                begun.set()

    for _ in range(10):
        data, begun = bytearray(b"\x22" * size), threading.Event()
        with HeldBuffers([data]) as held, ThreadPoolExecutor(1) as executor:
            writing = executor.submit(write, held, begun)
            assert begun.wait(SECONDS)
            held.close()
            writing.result(SECONDS)
            with pytest.raises(ValueError, match="the buffers are closed"):
                disk.write_vectored(held, 0)
        for future in writes:
            future.result(SECONDS)
        data.append(1)
    assert disk.read(0, 1).result(SECONDS) == b"\x22" * size


def test_what_nobody_holds_any_more_is_let_go() -> None:
    data = bytearray(SECTOR)
    held = HeldBuffers([data])
    with pytest.raises(BufferError):
        data.append(1)
    del held
    gc.collect()
    data.append(1)


def test_they_can_be_awaited(disk: Disk) -> None:
    async def main() -> None:
        view, data = AsyncDisk(disk), bytearray(b"\x11" * SECTOR * 8)
        with HeldBuffers([data]) as held:
            await view.write_vectored(held, 0)
            data[:] = bytes(len(data))
            await view.read_vectored(held, 0)
            assert data == b"\x11" * SECTOR * 8

    asyncio.run(main())
