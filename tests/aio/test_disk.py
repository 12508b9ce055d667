"""What a task gets of a disk: its members, results and errors, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING

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
from pyvhdmp.testing import substituted
from tests.aio.helpers import settled, until
from tests.disk.kinds import SECTORS, make
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

if TYPE_CHECKING:
    from typing import assert_type

pytestmark = pytest.mark.usefixtures("machine")


# -- Members -----------------------------------------------------------------------


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


# -- Rule 1: errors ----------------------------------------------------------------


def test_rule_1_what_is_wrong_with_a_request_is_raised_where_it_is_awaited(
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


# -- Rule 2: what may take long ----------------------------------------------------


def test_rule_2_the_loop_turns_while_windows_writes_zeros(
    path: FilePath, port: CompletionPort
) -> None:
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


# -- Rule 3: closing ---------------------------------------------------------------


def test_rule_3_closing_waits_for_those_in_flight_and_those_that_wait(pipe: PipeDisk) -> None:
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
        with pytest.raises(ValueError, match="closed"):
            disk.slice(0, 1)
        pipe.feed(5)
        await closing
        assert await asyncio.gather(*tasks) == [b"\x77" * SECTOR] * 5
        assert pipe.disk.closed

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel=True", "a second close", "the task is cancelled"])
def test_rule_3_closing_cancels_if_asked_to(pipe: PipeDisk, how: str) -> None:
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


def test_rule_3_closing_waits_for_what_waits_for_a_thread(
    path: FilePath, port: CompletionPort
) -> None:
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


def test_rule_3_closing_that_is_cancelled_waits_for_no_thread(port: CompletionPort) -> None:
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
