"""Reads under asyncio with many in flight: AsyncDisk against ayafileio, which is C++ on IOCP.

As many tasks as are to be in flight, each of which awaits one read after the other.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import ayafileio

import pyvhdmp
from pyvhdmp.aio import AsyncDisk
from tests.bench.rounds import interleaved, report


async def _spent(read: Callable[[int, int], Awaitable[object]], depth: int, count: int) -> float:
    """Return microseconds for each read: `read` is given the number of its task and its own."""
    begun = 0

    async def task(slot: int) -> None:
        nonlocal begun
        while begun < count:
            begun += 1
            await read(slot, begun)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for slot in range(depth):
            group.create_task(task(slot))
    return (time.perf_counter() - began) / count * 1e6


async def ours(path: str, size: int, depth: int, length: int, count: int) -> float:
    """Return microseconds for each read of pyvhdmp."""
    async with AsyncDisk(pyvhdmp.open_disk(path, read_only=True, backend="raw")) as disk:
        buffers = [[pyvhdmp.PageBuffer(length)] for _ in range(depth)]
        blocks, sectors = size // length, length // disk.sector_size
        return await _spent(
            lambda slot, number: disk.read_vectored(buffers[slot], number % blocks * sectors),
            depth,
            count,
        )


async def aya(path: str, size: int, depth: int, length: int, count: int) -> float:
    """Return microseconds for each read."""
    async with ayafileio.open(path, "rb") as file:
        blocks = size // length
        return await _spent(
            lambda slot, number: file.read_at(number % blocks * length, length), depth, count
        )


def main(path: str, size: int, depth: int, length: int, count: int, rounds: int) -> None:
    """Measure, and report."""
    pairs = interleaved(
        lambda: asyncio.run(ours(path, size, depth, length, count)),
        lambda: asyncio.run(aya(path, size, depth, length, count)),
        rounds,
    )
    report("us per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
