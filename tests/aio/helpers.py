"""What the tests of disks for asyncio share: loops that turn, and what they are rung for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import pytest

__all__ = ["SECONDS", "are_free", "rings_counted", "settled", "until"]

SECONDS: Final = 60


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
