"""Disks for asyncio: what a task gets, when it lets go, how many are in flight, who is rung."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

import anyio
import pytest

from pyvhdmp import (
    CompletionPort,
    Disk,
    IllegalBlockError,
    InvalidInputError,
    MediumError,
    PageBuffer,
    ReadOnlyError,
    open_disk,
)
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.testing import SimulatedWindows, substituted
from tests.disk.kinds import SECTORS, make, make_file
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

if TYPE_CHECKING:
    from typing import assert_type

    from pyvhdmp.buffers import Buffer

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    return make_file("raw", tmp_path)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has come about."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def settled() -> None:
    """Let everything happen that is going to happen by itself."""
    for _ in range(20):
        await asyncio.sleep(0.002)


def are_free(buffers: list[bytearray]) -> bool:
    """Whether nobody holds any of the buffers."""
    try:
        for buffer in buffers:
            buffer.append(1)
            buffer.pop()
    except BufferError:
        return False
    return True


# -- Members ------------------------------------------------------------------------


def test_every_member_of_a_disk_is_here() -> None:
    members = {name for name, _ in inspect.getmembers(Disk) if not name.startswith("_")}
    assert members | {"disk_type"} <= set(dir(AsyncDisk))
    for name in members:
        of_disk, of_view = inspect.getattr_static(Disk, name), getattr(AsyncDisk, name)
        if isinstance(of_disk, property):
            assert isinstance(of_view, property)
        else:
            assert inspect.iscoroutinefunction(of_view) == (name != "slice")
            assert list(inspect.signature(of_view).parameters) == list(
                inspect.signature(of_disk).parameters
            )


@pytest.mark.parametrize("kind", ["raw", "fixed-vhd", "vhdmp"])
def test_every_member_does_what_the_disks_does(kind: str, tmp_path: FilePath) -> None:
    async def main(beneath: Disk) -> None:
        async with AsyncDisk(beneath) as disk:
            assert disk.disk is beneath
            assert disk.max_in_flight == 128
            for name, member in inspect.getmembers(type(beneath)):
                if isinstance(member, property) and not name.startswith("_"):
                    assert getattr(disk, name) == getattr(beneath, name)
            assert disk.disk_type == kind

            data = bytes(range(256)) * 16
            await disk.write(8, data)
            await disk.write(16, data[:SECTOR], fua=True)
            assert await disk.read(8, 9) == data + data[:SECTOR]
            buffers: list[PageBuffer | bytearray] = [PageBuffer(PAGE_SIZE), bytearray(SECTOR)]
            await disk.read_vectored(buffers, 8)
            assert b"".join(bytes(buffer) for buffer in buffers) == data + data[:SECTOR]
            await disk.write_vectored(buffers, 100, fua=True)
            assert await disk.read(100, 9) == data + data[:SECTOR]
            await disk.sync_cache()
            await disk.unmap(0, 8)
            assert await disk.wait_resize(1) == SECTORS
            assert disk.counters.requests >= 6
            assert not disk.closed
        assert disk.closed
        assert beneath.closed
        await disk.close()
        await disk.close(cancel=True)

    vhdmp = windows.vhdmp() if kind == "vhdmp" else contextlib.nullcontext()
    with vhdmp, CompletionPort() as port:  # which is a port of the driver in force
        asyncio.run(main(make(kind, tmp_path, port=port)))


def test_a_disk_is_opened_by_its_path(path: FilePath, port: CompletionPort) -> None:
    async def main() -> None:
        async with await AsyncDisk.open(
            path, read_only=True, backend="raw", port=port, max_in_flight=3
        ) as disk:
            assert disk.is_read_only
            assert disk.max_in_flight == 3
            assert disk.port is port
            assert await disk.read(0, 1) == bytes(SECTOR)
            await disk.sync_cache()
            assert repr(disk) == f"<AsyncDisk of {disk.disk!r}>"
        with pytest.raises(FileNotFoundError):
            await AsyncDisk.open(f"{path}.none", port=port)
        with pytest.raises(InvalidInputError, match="max_in_flight must be positive, not 0"):
            await AsyncDisk.open(path, port=port, max_in_flight=0)

    asyncio.run(main())


def test_a_type_checker_knows_the_results(path: FilePath, port: CompletionPort) -> None:
    async def main() -> None:
        async with AsyncDisk(open_disk(path, port=port)) as disk:
            read = await disk.read(0, 1)
            count = await disk.wait_resize(0)
            async with contextlib.aclosing(disk.blocks()) as blocks:
                block = await anext(blocks)
            if TYPE_CHECKING:
                assert_type(disk, AsyncDisk)
                assert_type(read, bytes)
                assert_type(count, int)
                assert_type(block, memoryview)

    asyncio.run(main())


# -- Errors -------------------------------------------------------------------------


def test_what_is_wrong_with_a_request_is_raised_where_it_is_awaited(
    path: FilePath, port: CompletionPort
) -> None:
    async def main() -> None:
        async with await AsyncDisk.open(path, read_only=True, port=port) as disk:
            wrong: list[tuple[Awaitable[object], type[Exception]]] = [
                (disk.read(SECTORS, 1), IllegalBlockError),
                (disk.read_vectored([bytes(SECTOR)], 0), InvalidInputError),
                (disk.read_vectored([bytearray(1)], 0), InvalidInputError),
                (disk.write(0, bytes(SECTOR)), ReadOnlyError),
                (disk.unmap(0, 1), ReadOnlyError),
                (anext(disk.blocks(SECTORS - 1, 2)), IllegalBlockError),
                (anext(disk.blocks(SECTORS + 1)), IllegalBlockError),
                (anext(disk.blocks(block_sectors=0)), InvalidInputError),
                (anext(disk.blocks(read_ahead=0)), InvalidInputError),
            ]
            for request, kind in wrong:
                with pytest.raises(kind):
                    await request
            assert await disk.read(0, 1) == bytes(SECTOR)
        after: list[Awaitable[object]] = [
            disk.read(0, 1),
            disk.sync_cache(),
            disk.wait_resize(1),
            anext(disk.blocks()),
        ]
        for request in after:
            with pytest.raises(ValueError, match="closed"):
                await request

    asyncio.run(main())


@pytest.mark.parametrize("limit", [1, 128])
def test_each_request_has_an_outcome_of_its_own(
    path: FilePath, port: CompletionPort, limit: int
) -> None:
    async def main() -> None:
        async with AsyncDisk(open_disk(path, port=port), max_in_flight=limit) as disk:
            results = await asyncio.gather(
                *(disk.read(SECTORS, 1) if n % 2 else disk.read(n, 1) for n in range(100)),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [bytes, IllegalBlockError] * 50

    asyncio.run(main())


def test_a_failing_medium_is_raised(path: FilePath) -> None:
    def flush(*_: int) -> int:
        return 0xC0000185  # STATUS_IO_DEVICE_ERROR

    async def main(other: CompletionPort) -> None:
        async with AsyncDisk(open_disk(path, port=other)) as disk:
            for request in (disk.sync_cache(), disk.write(0, bytes(SECTOR), fua=True)):
                with pytest.raises(MediumError):
                    await request

    with (
        substituted(ntdll={"NtFlushBuffersFileEx": flush}),
        CompletionPort() as other,
    ):
        asyncio.run(main(other))


# -- Rule 1: a cancelled task -----------------------------------------------------------


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


def test_rule_1_one_that_is_cancelled_while_another_thread_begins_it(pipe: PipeDisk) -> None:
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


# -- Rule 2: how many are in flight -----------------------------------------------------


def test_rule_2_the_rest_waits_in_order_and_is_withdrawn_at_once(pipe: PipeDisk) -> None:
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


def test_rule_2_one_that_is_cancelled_has_its_place_until_the_kernel_lets_go(
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
def test_ten_thousand_requests_in_one_group(
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


def test_rule_2_thousands_that_are_over_at_once_need_no_deep_stack(
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


# -- Rule 3: rings ------------------------------------------------------------------------


@contextlib.contextmanager
def rings_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Count what the running loop is rung for."""
    loop = asyncio.get_running_loop()
    rings: list[object] = []
    ring = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *arguments: object) -> object:
        rings.append(callback)
        return ring(callback, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_soon_threadsafe", counted)
        yield rings


def test_rule_3_one_ring_tells_of_all_that_is_over(
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


def test_rule_3_what_is_over_at_once_needs_no_ring(
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


def test_rule_3_a_ring_that_fails_does_not_silence_the_next(
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


# -- Rule 4: loops ------------------------------------------------------------------------


def test_rule_4_loops_in_many_threads_use_one_disk(path: FilePath, port: CompletionPort) -> None:
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


def test_rule_4_two_loops_take_turns_in_one_thread(pipe: PipeDisk) -> None:
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


def test_rule_4_a_loop_that_is_closed_is_told_nothing(
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


def test_rule_4_a_task_that_is_thrown_away_has_its_request_cancelled(pipe: PipeDisk) -> None:
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


# -- Closing and opening ------------------------------------------------------------------


def test_closing_waits_for_those_in_flight_and_those_that_wait(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=2)
        tasks = [asyncio.create_task(disk.read(0, 1)) for _ in range(5)]
        await until(lambda: disk.port.in_flight == 2)
        closing = asyncio.create_task(disk.close())
        await settled()
        assert disk.closed
        assert not pipe.disk.closed
        with pytest.raises(ValueError, match="closed"):
            await disk.read(0, 1)
        pipe.feed(5)
        await closing
        assert await asyncio.gather(*tasks) == [b"\x77" * SECTOR] * 5
        assert pipe.disk.closed

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel=True", "a second close", "the task is cancelled"])
def test_closing_cancels_if_asked_to(pipe: PipeDisk, how: str) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=2)
        tasks = [asyncio.create_task(disk.read(0, 1)) for _ in range(5)]
        resize = asyncio.create_task(disk.wait_resize(SECTORS))
        await until(lambda: disk.port.in_flight == 2)
        if how == "cancel=True":
            await disk.close(cancel=True)
        else:
            closing = asyncio.create_task(disk.close())
            await settled()
            assert not closing.done()
            if how == "a second close":
                await disk.close(cancel=True)
                await closing
            else:
                closing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await closing
        assert pipe.disk.closed
        assert disk.port.in_flight == 0
        results = await asyncio.gather(*tasks, resize, return_exceptions=True)
        assert [type(result) for result in results] == [CancelledError] * 6

    asyncio.run(main())


def test_closing_waits_for_what_waits_for_a_thread(path: FilePath, port: CompletionPort) -> None:
    async def main() -> None:
        disk, go_on = AsyncDisk(open_disk(path, port=port)), threading.Event()

        def block() -> None:
            go_on.wait()

        for _ in range(4):  # all that it has
            port.call_blocking(block)
        unmapping = asyncio.create_task(disk.unmap(0, 8))
        await settled()
        closing = asyncio.create_task(disk.close())
        await settled()
        assert not closing.done()
        go_on.set()
        await closing
        await unmapping

    asyncio.run(main())


def test_closing_that_is_cancelled_waits_for_no_thread(port: CompletionPort) -> None:
    pipes = [PipeDisk(port) for _ in range(40)]  # more than an executor has threads

    async def main() -> None:
        disks = [AsyncDisk(pipe.disk) for pipe in pipes]
        reads = [asyncio.create_task(disk.read(0, 1)) for disk in disks]
        await until(lambda: port.in_flight == 40)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.gather(*(disk.close() for disk in disks))
        assert all(disk.closed for disk in disks)
        await asyncio.gather(*reads, return_exceptions=True)

    asyncio.run(main())
    for pipe in pipes:
        pipe.close()


@pytest.mark.parametrize("exists", [True, False])
def test_opening_that_is_cancelled_leaves_nothing_open(
    path: FilePath, port: CompletionPort, exists: bool
) -> None:
    async def main() -> None:
        task = asyncio.create_task(AsyncDisk.open(path if exists else f"{path}.none", port=port))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    open_disk(path, port=port).close()  # which wants it for itself


# -- Blocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sector", "count", "block_sectors", "read_ahead"),
    [
        (0, None, None, 8),
        (0, None, 1000, 3),
        (5, 1000, 7, 200),
        (SECTORS, None, 8, 1),
        (3, 1, 9, 1),
    ],
)
def test_blocks_come_in_order_and_are_yours_to_keep(
    path: FilePath,
    port: CompletionPort,
    sector: int,
    count: int | None,
    block_sectors: int | None,
    read_ahead: int,
) -> None:
    content = b"".join(number.to_bytes(4, "little") * 128 for number in range(SECTORS))

    async def main() -> None:
        async with AsyncDisk(open_disk(path, port=port), max_in_flight=5) as disk:
            await disk.write(0, content)
            blocks = [
                block
                async for block in disk.blocks(
                    sector, count, block_sectors=block_sectors, read_ahead=read_ahead
                )
            ]
        end = SECTORS if count is None else sector + count
        assert b"".join(blocks) == content[sector * SECTOR : end * SECTOR]
        assert all(len(block) == (block_sectors or 512) * SECTOR for block in blocks[:-1])
        for block in blocks:
            assert not block.readonly
            block[:] = bytes(len(block))

    asyncio.run(main())


def test_blocks_are_read_ahead_and_no_further(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        async with contextlib.aclosing(disk.blocks(block_sectors=1, read_ahead=4)) as blocks:
            for _ in range(3):
                pipe.feed()
                assert await anext(blocks) == b"\x77" * SECTOR
                assert disk.port.in_flight == 4
        assert disk.port.in_flight == 0

    asyncio.run(main())


@pytest.mark.parametrize("how", ["break", "exception", "cancel", "timeout"])
def test_blocks_that_are_not_wanted_any_more_are_cancelled(pipe: PipeDisk, how: str) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk, max_in_flight=3)

        async def use() -> None:
            async with contextlib.aclosing(disk.blocks(block_sectors=1)) as blocks:
                async for _ in blocks:
                    if how == "break":
                        break
                    if how == "exception":
                        raise LookupError
                    if how == "cancel":
                        await asyncio.sleep(SECONDS)

        task = asyncio.create_task(asyncio.wait_for(use(), 0.1) if how == "timeout" else use())
        await until(lambda: disk.port.in_flight == 3)
        pipe.feed()
        if how == "cancel":
            await settled()
            task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert disk.port.in_flight == 0
        expected = {
            "break": type(None),
            "exception": LookupError,
            "cancel": asyncio.CancelledError,
            "timeout": TimeoutError,
        }
        assert type(result) is expected[how]

    asyncio.run(main())


def test_blocks_wait_for_the_kernel_although_their_task_is_cancelled(port: CompletionPort) -> None:
    async def main(pipe: PipeDisk) -> None:
        disk = AsyncDisk(pipe.disk)
        blocks = disk.blocks(block_sectors=1, read_ahead=4)
        pipe.feed()
        await anext(blocks)
        closing = asyncio.create_task(blocks.aclose())
        for _ in range(3):
            await settled()
            assert not closing.done()
            closing.cancel()
        pipe.feed(4)
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert disk.port.in_flight == 0

    with substituted(kernel32={"CancelIoEx": lambda *_: 1}), CompletionPort() as other:
        pipe = PipeDisk(other)
        asyncio.run(main(pipe))
        pipe.close()


def test_blocks_that_nobody_closes_are_closed_by_the_loop(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        pipe.feed()
        async for _ in disk.blocks(block_sectors=1):
            break
        gc.collect()
        await until(lambda: disk.port.in_flight == 0)

    asyncio.run(main())


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="its generators are not told that their caller is gone"
)
def test_blocks_whose_task_is_thrown_away_are_cancelled(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)

        async def use() -> None:
            async for _ in disk.blocks(block_sectors=1):
                pass

        coroutine = use()
        coroutine.send(None)
        assert disk.port.in_flight == 8
        coroutine.close()
        await until(lambda: disk.port.in_flight == 0)

    asyncio.run(main())


def test_an_error_comes_in_its_turn(path: FilePath, port: CompletionPort) -> None:
    beneath = open_disk(path, port=port)
    genuine = beneath.read_vectored

    def read(buffers: Sequence[Buffer], sector: int) -> Future[None]:
        if sector == 3:
            raise IllegalBlockError.because("as if the disk had become smaller", "disk")
        return genuine(buffers, sector)

    async def main() -> None:
        seen = 0
        async with AsyncDisk(beneath) as disk:
            with pytest.raises(IllegalBlockError):  # noqa: PT012
                async for _ in disk.blocks(block_sectors=1, read_ahead=10):
                    seen += 1
        assert seen == 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beneath, "read_vectored", read)
        asyncio.run(main())


# -- Unmapping, which may block ------------------------------------------------------------


def test_the_loop_turns_while_windows_writes_zeros(path: FilePath, port: CompletionPort) -> None:
    beneath = open_disk(path, port=port)
    genuine = beneath.unmap
    go_on = threading.Event()

    def unmap(sector: int, count: int) -> Future[None]:
        windows.wait_until(go_on.is_set)
        return genuine(sector, count)

    async def main() -> None:
        async with AsyncDisk(beneath) as disk:
            task = asyncio.create_task(disk.unmap(0, 8))
            await settled()
            assert not task.done()
            task.cancel()
            await settled()
            assert not task.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            await disk.unmap(0, 8)
            with pytest.raises(IllegalBlockError):
                await disk.unmap(SECTORS, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beneath, "unmap", unmap)
        asyncio.run(main())


# -- Chance ------------------------------------------------------------------------------------


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
