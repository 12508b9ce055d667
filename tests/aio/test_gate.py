"""How many requests are in flight, and which is begun next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from pyvhdmp import CompletionPort, PageBuffer, open_disk
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.testing import substituted
from tests.aio.helpers import SECONDS, settled, until
from tests.disk.kinds import SECTORS
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

if TYPE_CHECKING:
    from pyvhdmp.buffers import Buffer

pytestmark = pytest.mark.usefixtures("machine")


def test_rule_1_the_rest_waits_in_order_and_is_withdrawn_at_once(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=3)
        buffers = [bytearray(SECTOR) for _ in range(10)]
        ended: list[int] = []

        async def read(number: int) -> None:
            await disk.read_vectored([buffers[number]], 0)
            ended.append(number)

        tasks = [asyncio.create_task(read(number)) for number in range(10)]
        await settled()
        assert disk.port.in_flight == 3
        buffers[5].append(1)  # one that waits is nobody's but the caller's
        buffers[5].pop()
        tasks[4].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert tasks[4].cancelled()
        for fed in range(1, 10):
            pipe.feed()
            await until(lambda fed=fed: len(ended) == fed)  # type: ignore[misc]  # a default
            # The task may be told that its request is over before the next one is begun.
            left = min(3, 9 - fed)
            await until(lambda left=left: disk.port.in_flight == left)  # type: ignore[misc]  # too
            await settled()
            assert disk.port.in_flight == left
        assert ended == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_rule_1_one_that_is_cancelled_has_its_place_until_the_kernel_lets_go(
    port: CompletionPort,
) -> None:
    async def main(pipe: PipeDisk) -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=1)
        first = asyncio.create_task(disk.read(0, 1))
        second = asyncio.create_task(disk.read(0, 1))
        await until(lambda: disk.port.in_flight == 1)
        first.cancel()
        await settled()
        assert disk.port.in_flight == 1
        assert not second.done()
        pipe.feed(2)
        assert await second == b"\x77" * SECTOR
        assert first.cancelled()

    with substituted(kernel32={"CancelIoEx": lambda *_: 1}), CompletionPort() as other:
        pipe = PipeDisk(other)
        asyncio.run(main(pipe))
        pipe.close()


@pytest.mark.parametrize(("count", "limit"), [(10_000, 128), (1000, 7), (1000, 1)])
def test_rule_1_ten_thousand_requests_in_one_group(
    path: FilePath, port: CompletionPort, count: int, limit: int
) -> None:
    async def main() -> None:
        deepest = 0
        async with AsyncDisk(open_disk(path, port=port), max_in_flight=limit) as disk:
            buffer = PageBuffer(PAGE_SIZE)

            async def write(number: int) -> None:
                nonlocal deepest
                await disk.write_vectored([buffer], number % (SECTORS // 8) * 8)
                deepest = max(deepest, port.in_flight)

            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(write(number))
            assert disk.counters.requests == count
        assert port.peak_in_flight <= limit
        assert deepest <= limit

    asyncio.run(main())


def test_rule_2_the_end_of_one_begins_the_next_while_the_loop_does_not_turn(
    pipe: PipeDisk,
) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=1)
        tasks = [asyncio.create_task(disk.read(0, 1)) for _ in range(3)]
        await until(lambda: disk.port.in_flight == 1)
        pipe.feed(3)  # in the loop's thread
        windows.wait_until(lambda: disk.counters.requests == 3)
        assert await asyncio.gather(*tasks) == [b"\x77" * SECTOR] * 3

    asyncio.run(main())


def test_rule_3_one_that_is_cancelled_while_another_thread_begins_it(pipe: PipeDisk) -> None:
    genuine = pipe.disk.read_vectored
    is_begun, go_on = threading.Event(), threading.Event()

    def read(buffers: Sequence[Buffer], sector: int) -> Future[None]:
        if sector == 1:
            is_begun.set()
            assert go_on.wait(SECONDS)
        return genuine(buffers, sector)

    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=1)
        buffer = bytearray(SECTOR)
        first = asyncio.create_task(disk.read_vectored([bytearray(SECTOR)], 0))
        second = asyncio.create_task(disk.read_vectored([buffer], 1))
        await until(lambda: disk.port.in_flight == 1)
        feeding = asyncio.create_task(asyncio.to_thread(pipe.feed))
        await until(is_begun.is_set)
        second.cancel()
        await settled()
        assert not second.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await second
        buffer.append(1)
        await first
        await feeding

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipe.disk, "read_vectored", read)
        asyncio.run(main())
