"""A request: when a cancelled task lets go, and how its end is told."""

from __future__ import annotations

import asyncio
import gc
import random

import anyio
import pytest

from pyvhdmp import CompletionPort, IllegalBlockError, InvalidInputError, open_disk
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.testing import SimulatedWindows, substituted
from tests.aio.helpers import are_free, rings_counted, settled, until
from tests.disk.kinds import SECTORS
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

pytestmark = pytest.mark.usefixtures("machine")


# -- Rule 1: a cancelled task ------------------------------------------------------


def test_rule_1_a_cancelled_task_has_its_buffers_back(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        for buffer in (bytearray(SECTOR), bytearray(3 * SECTOR)):
            task = asyncio.create_task(disk.read_vectored([buffer], 0))
            await until(lambda: disk.port.in_flight == 1)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
            assert disk.port.in_flight == 0
            buffer.append(1)

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["with a result", "with an error"])
def test_rule_1_a_task_waits_for_the_kernel_however_often_it_is_cancelled(
    port: CompletionPort, ends: str
) -> None:
    asked: list[int] = []

    def ask(_: int, overlapped: int) -> int:
        asked.append(overlapped)  # and it is too late: the request goes on
        return 1

    async def main(pipe: PipeDisk) -> None:
        disk = AsyncDisk(pipe.disk)
        buffer = bytearray(SECTOR)
        task = asyncio.create_task(disk.read_vectored([buffer], 0))
        await until(lambda: disk.port.in_flight == 1)
        for _ in range(3):
            task.cancel()
            await settled()
            assert not task.done()
            with pytest.raises(BufferError):
                buffer.append(1)
        assert len(asked) == 1
        if ends == "with a result":
            pipe.feed()
        else:
            pipe._writer.close()  # a broken pipe
        with pytest.raises(asyncio.CancelledError):
            await task
        buffer.append(1)

    with substituted(kernel32={"CancelIoEx": ask}), CompletionPort() as other:
        pipe = PipeDisk(other)
        asyncio.run(main(pipe))
        pipe.close()


def test_rule_1_timeouts_are_timeouts(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        buffer = bytearray(SECTOR)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await disk.read_vectored([buffer], 0)
        buffer.append(1)
        buffer = bytearray(SECTOR)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(disk.read_vectored([buffer], 0), 0.05)
        buffer.append(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await disk.wait_resize(SECTORS)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_rule_1_one_that_fails_takes_the_rest_of_its_group_along(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=4)
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(disk.read(0, 1))
                await until(lambda: disk.port.in_flight == 4)
                group.create_task(disk.wait_resize(-1))
                group.create_task(disk.read_vectored([bytes(SECTOR)], 0))
                pipe.feed(7)  # the one that is wrong is begun in its turn
        assert [type(error) for error in raised.value.exceptions] == [InvalidInputError]
        assert disk.port.in_flight == 0

    asyncio.run(main())


def test_rule_1_a_task_that_is_cancelled_when_its_request_is_over_is_cancelled(
    path: FilePath, port: CompletionPort
) -> None:
    async def main() -> None:
        async with AsyncDisk(open_disk(path, port=port)) as disk:
            for turns in range(4):
                task = asyncio.create_task(disk.read(0, 1))
                await asyncio.sleep(0)
                await asyncio.to_thread(windows.wait_until, lambda: port.in_flight == 0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.cancel():
                    with pytest.raises(asyncio.CancelledError):
                        await task
                else:
                    assert await task == bytes(SECTOR)

    asyncio.run(main())


def test_rule_1_it_works_through_anyio(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=2)
        buffers = [bytearray(SECTOR) for _ in range(5)]
        with anyio.move_on_after(0.05) as scope:
            async with anyio.create_task_group() as group:
                for buffer in buffers:
                    group.start_soon(disk.read_vectored, [buffer], 0)
        assert scope.cancelled_caught
        assert disk.port.in_flight == 0
        for buffer in buffers:
            buffer.append(1)
        async with anyio.create_task_group() as group:
            group.start_soon(disk.read, 0, 1)
            await until(lambda: disk.port.in_flight == 1)
            pipe.feed()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await disk.close()
        assert pipe.disk.closed

    anyio.run(main, backend="asyncio")


def test_rule_1_anyio_which_cancels_again_and_again_gets_no_task_out_early() -> None:
    async def main(pipe: PipeDisk) -> None:
        disk = AsyncDisk(pipe.disk)
        buffer = bytearray(SECTOR)
        fed = []

        async def feed() -> None:
            await settled()
            fed.append(True)
            pipe.feed()

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                scope.cancel()
                group.start_soon(feed)
                await disk.read_vectored([buffer], 0)
            assert fed
            assert scope.cancelled_caught
            buffer.append(1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    with substituted(kernel32={"CancelIoEx": lambda *_: 1}), CompletionPort() as port:
        pipe = PipeDisk(port)
        anyio.run(main, pipe, backend="asyncio")
        pipe.close()


def test_a_task_that_is_thrown_away_has_its_request_cancelled(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=1)
        buffers = [bytearray(SECTOR) for _ in range(2)]
        coroutines = [disk.read_vectored([buffer], 0) for buffer in buffers]
        for coroutine in coroutines:
            coroutine.send(None)
        assert disk.port.in_flight == 1
        for coroutine in coroutines:
            coroutine.close()
        await until(lambda: are_free(buffers))
        assert disk.port.in_flight == 0
        del coroutines, coroutine
        gc.collect()

    asyncio.run(main())


# -- Rules 2 and 3: its end --------------------------------------------------------


def test_rule_2_what_is_over_at_once_needs_no_ring(
    path: FilePath, port: CompletionPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with await AsyncDisk.open(path, read_only=True, port=port) as disk:
            with rings_counted(monkeypatch) as rings:
                for _ in range(10):
                    await disk.sync_cache()
                    with pytest.raises(IllegalBlockError):
                        await disk.read(SECTORS, 1)
            assert not rings

    asyncio.run(main())


def test_rule_3_thousands_that_are_over_at_once_need_no_deep_stack(
    pipe: PipeDisk, port: CompletionPort
) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=1)
        first = asyncio.create_task(disk.read(0, 1))
        await until(lambda: port.in_flight == 1)
        rest = [asyncio.create_task(disk.read(SECTORS, 1)) for _ in range(5000)]
        await asyncio.sleep(0)
        pipe.feed()
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [type(result) for result in results] == [bytes, *[IllegalBlockError] * 5000]

    asyncio.run(main())


# -- Chance ------------------------------------------------------------------------


def test_requests_of_every_kind_under_cancellations_by_chance(
    machine: SimulatedWindows | None, path: FilePath, port: CompletionPort
) -> None:
    chance = random.Random(1)

    async def main() -> None:
        async with AsyncDisk(open_disk(path, port=port), max_in_flight=8) as disk:
            places = [bytes(SECTOR * 8)] * 64

            async def one(place: int) -> None:
                sector = place * 8
                for _ in range(30):
                    data = chance.randbytes(8 * SECTOR)
                    buffer = bytearray(8 * SECTOR)
                    try:
                        async with asyncio.timeout(chance.choice([0, 0.0005, 0.002, None])):
                            places[place] = data
                            await disk.write(sector, data, fua=chance.random() < 0.1)
                            await disk.read_vectored([buffer], sector)
                            assert buffer == data
                    except TimeoutError:
                        pass
                    finally:
                        buffer.append(1)
                        assert disk.port.in_flight <= 9  # a write with fua is over before its flush

                await disk.write(sector, places[place])

            async with asyncio.TaskGroup() as group:
                for place in range(64):
                    group.create_task(one(place))
            assert await disk.read(0, 512) == b"".join(places)

    asyncio.run(main())
