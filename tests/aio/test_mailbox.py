"""How loops hear of what is over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading

import pytest

from pyvhdmp import CompletionPort, open_disk
from pyvhdmp.aio import AsyncDisk
from tests.aio.helpers import SECONDS, are_free, rings_counted, settled, until
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

pytestmark = pytest.mark.usefixtures("machine")


# -- Rule 1: rings -----------------------------------------------------------------


def test_rule_1_one_ring_tells_of_all_that_is_over(
    pipe: PipeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        tasks = [asyncio.create_task(disk.read(0, 1)) for _ in range(100)]
        await until(lambda: disk.port.in_flight == 100)
        with rings_counted(monkeypatch) as rings:
            pipe.feed(100)  # in the loop's thread, so it does not look meanwhile
            windows.wait_until(lambda: disk.port.in_flight == 0)
            assert await asyncio.gather(*tasks) == [b"\x77" * SECTOR] * 100
        assert len(rings) <= 2

    asyncio.run(main())


def test_rule_1_a_ring_that_fails_does_not_silence_the_next(
    pipe: PipeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(disk.read(0, 1)) for _ in range(2)]
        await until(lambda: disk.port.in_flight == 2)
        rings: list[object] = []

        def fail(*_: object) -> None:
            rings.append(_)
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", fail)
            pipe.feed()
            windows.wait_until(lambda: bool(rings))
        pipe.feed()
        assert await asyncio.gather(*tasks) == [b"\x77" * SECTOR] * 2

    asyncio.run(main())


# -- Rule 2: loops -----------------------------------------------------------------


def test_rule_2_loops_in_many_threads_use_one_disk(path: FilePath, port: CompletionPort) -> None:
    threads, rounds, limit = 4, 200, 3
    disk = AsyncDisk(open_disk(path, port=port), max_in_flight=limit)
    failures: list[BaseException] = []

    async def work(own: int) -> None:
        async def one(number: int) -> None:
            sector = (own * rounds + number) * 4
            data = bytes([own + 1, number]) * (SECTOR // 2)
            if number % 5 == 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await disk.read(sector, 3)
            await disk.write(sector, data)
            assert await disk.read(sector, 1) == data

        async with asyncio.TaskGroup() as group:
            for number in range(rounds):
                group.create_task(one(number))

    def run(own: int) -> None:
        try:
            asyncio.run(work(own))
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=run, args=[own]) for own in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
    assert not failures
    assert not any(worker.is_alive() for worker in workers)
    assert port.peak_in_flight <= limit
    asyncio.run(disk.close())


def test_rule_2_two_loops_take_turns_in_one_thread(pipe: PipeDisk) -> None:
    disk = AsyncDisk(pipe.disk)
    with asyncio.Runner() as first, asyncio.Runner() as second:

        async def begin() -> asyncio.Task[bytes]:
            task = asyncio.create_task(disk.read(0, 1))
            await asyncio.sleep(0)
            return task

        async def finish(task: asyncio.Task[bytes]) -> bytes:
            return await task

        tasks = [(runner, runner.run(begin())) for runner in (first, second, first, second)]
        pipe.feed(4)
        for runner, task in tasks:
            assert runner.run(finish(task)) == b"\x77" * SECTOR


def test_rule_2_a_loop_that_is_closed_is_told_nothing(
    pipe: PipeDisk, caplog: pytest.LogCaptureFixture
) -> None:
    disk = AsyncDisk(pipe.disk, max_in_flight=2)
    loop = asyncio.new_event_loop()
    buffers = [bytearray(SECTOR) for _ in range(4)]
    tasks = [loop.create_task(disk.read_vectored([buffer], 0)) for buffer in buffers]
    loop.run_until_complete(settled())
    assert disk.port.in_flight == 2
    loop.close()
    with caplog.at_level(logging.DEBUG):
        pipe.feed(2)
        windows.wait_until(lambda: are_free(buffers))  # those that waited were not begun
        assert disk.port.in_flight == 0
        assert not [record for record in caplog.records if record.name == "pyvhdmp"]
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # there is no loop to end it
    del tasks, task
    gc.collect()

    async def after() -> None:
        task = asyncio.create_task(disk.read(0, 1))
        await until(lambda: disk.port.in_flight == 1)
        pipe.feed()
        assert await task == b"\x77" * SECTOR
        await disk.close()

    asyncio.run(after())
