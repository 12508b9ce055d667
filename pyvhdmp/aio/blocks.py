"""Reading a disk block by block, in order and ahead.

Rules:

1. The range is checked before anything is read. An error comes in its block's turn.
2. While the caller has a block, `read_ahead` more are in flight, or wait at the gate.
   Each is memory of its own, which is the caller's from then on.
3. However it ends, what is in flight is cancelled, and the kernel has let go of it when
   the generator is over: also if its task is cancelled, and then as often as that is.
   Only where nobody can wait any more, as the loop is gone, nobody does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from pyvhdmp.aio.arguments import positive
from pyvhdmp.buffers import PAGE_SIZE, PageBuffer
from pyvhdmp.disk import Disk

if TYPE_CHECKING:
    from pyvhdmp.aio.request import Request

    Begin: TypeAlias = Callable[[Callable[[], Future[None]]], Request[None]]

__all__ = ["read_blocks"]

_BLOCK_BYTES: Final = 256 * 1024


async def read_blocks(
    disk: Disk,
    begin: Begin,
    sector: int,
    count: int | None,
    *,
    block_sectors: int | None,
    read_ahead: int,
) -> AsyncGenerator[memoryview, None]:
    """Yield block after block, as `AsyncDisk.blocks` says. `begin` begins a read, or queues it.

    Raises as that does.
    """
    sector_size = disk.sector_size
    if block_sectors is None:
        block_sectors = max(1, _BLOCK_BYTES // sector_size)
    block_sectors = positive(block_sectors, "block_sectors")
    read_ahead = positive(read_ahead, "read_ahead")
    if count is None:
        count = max(0, disk.sector_count - sector)
    disk._check_range(sector, count * sector_size)  # rule 1
    end = sector + count
    places = iter(range(sector, end, block_sectors))
    ahead: deque[tuple[Request[None], memoryview]] = deque()

    def read_on() -> None:
        while len(ahead) < read_ahead and (place := next(places, None)) is not None:
            length = min(block_sectors, end - place) * sector_size
            memory = PageBuffer(-(-length // PAGE_SIZE) * PAGE_SIZE)
            block = memoryview(memory)[:length]
            ahead.append((begin(partial(disk.read_vectored, [block], place)), block))

    try:
        read_on()
        while ahead:
            request, block = ahead.popleft()
            try:
                await request.end()
            except GeneratorExit:  # nobody can wait any more, not even below
                for request, _ in ahead:
                    request.withdraw()
                ahead.clear()
                raise
            read_on()
            yield block
    finally:  # rule 3
        await _let_go(request for request, _ in ahead)


async def _let_go(requests: Iterable[Request[object]]) -> None:
    """Cancel requests; return, or be cancelled, when the kernel has let go of them all."""
    requests = list(requests)
    for request in requests:
        request.withdraw()
    cancelled = None
    for request in requests:
        try:
            await request
        except asyncio.CancelledError as error:  # this task was, while it waited
            cancelled = error
    if cancelled is not None:
        raise cancelled
