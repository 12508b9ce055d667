"""Pages of memory, as requests are given them."""

from __future__ import annotations

from pyvhdmp.buffers import PAGE_SIZE, PageBuffer

__all__ = ["pages_apart"]


def pages_apart(count: int) -> list[memoryview]:
    """Return pages none of which lies behind the one before it: one call takes them by a list."""
    memory = memoryview(PageBuffer(count * PAGE_SIZE))
    places = range(0, count * PAGE_SIZE, PAGE_SIZE)
    return [memory[place : place + PAGE_SIZE] for place in reversed(places)]
