"""Reading block by block: in order, ahead, and to the end, however it comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from pyvhdmp import CompletionPort, IllegalBlockError, open_disk
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.testing import substituted
from tests.aio.helpers import SECONDS, settled, until
from tests.disk.kinds import SECTORS
from tests.support.files import FilePath
from tests.support.pipe_disk import SECTOR, PipeDisk

if TYPE_CHECKING:
    from pyvhdmp.buffers import Buffer

pytestmark = pytest.mark.usefixtures("machine")


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
def test_rule_2_blocks_come_in_order_and_are_yours_to_keep(
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


def test_rule_2_blocks_are_read_ahead_and_no_further(pipe: PipeDisk) -> None:
    async def main() -> None:
        disk = AsyncDisk(pipe.disk)
        async with contextlib.aclosing(disk.blocks(block_sectors=1, read_ahead=4)) as blocks:
            for _ in range(3):
                pipe.feed()
                assert await anext(blocks) == b"\x77" * SECTOR
                assert disk.port.in_flight == 4
        assert disk.port.in_flight == 0

    asyncio.run(main())


def test_rule_1_an_error_comes_in_its_turn(path: FilePath, port: CompletionPort) -> None:
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


@pytest.mark.parametrize("how", ["break", "exception", "cancel", "timeout"])
def test_rule_3_blocks_that_are_not_wanted_any_more_are_cancelled(pipe: PipeDisk, how: str) -> None:
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


def test_rule_3_blocks_wait_for_the_kernel_although_their_task_is_cancelled(
    port: CompletionPort,
) -> None:
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


def test_rule_3_blocks_that_nobody_closes_are_closed_by_the_loop(pipe: PipeDisk) -> None:
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
def test_rule_3_blocks_whose_task_is_thrown_away_are_cancelled(pipe: PipeDisk) -> None:
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
