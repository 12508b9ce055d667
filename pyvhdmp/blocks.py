"""Large blocks of memory that are filled and emptied again and again, and what they hold.

Rules:

1. A block is page-aligned, so the kernel takes it as it is.
2. It is made when it is first needed, and the one that was used last, and lies in the
   processor's cache, is used first: of many that may exist, few are ever touched.
3. It is memory of the process and no mapping as a `PageBuffer` is, whose pages cost twice
   as much to touch for the first time.
4. What a block holds is compared where it lies, granule by granule and at the speed of
   memory. No copy is made of it, and what differs in its first bytes costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE

__all__ = ["GRANULE", "BlockBuffer", "BlockPool", "Run", "differing_runs", "nonzero_runs"]

GRANULE: Final = 64 * 1024
"""Bytes that are told apart from their neighbours: a whole number of sectors of any disk."""

_ZEROS: Final = bytes(GRANULE)

Run: TypeAlias = tuple[int, int]
"""A part of a block: where it starts, and where it ends."""


class BlockBuffer:
    """`size` bytes of page-aligned memory, zeroed at first. `view` is all of it."""

    __slots__ = ("_memory", "_start", "view")

    def __init__(self, size: int) -> None:
        self._memory = bytearray(size + PAGE_SIZE)
        pins = Pins([self._memory], writable=True)
        self._start: int = -pins.addresses[0] % PAGE_SIZE
        pins.release()
        self.view: memoryview = memoryview(self._memory)[self._start : self._start + size]

    def holds(self, data: memoryview, start: int) -> bool:
        """Whether it is `data` that begins at byte `start`."""
        return self._memory.startswith(data, self._start + start)


class BlockPool:
    """Up to `most` blocks of `size` bytes."""

    def __init__(self, size: int, most: int) -> None:
        self._size = size
        self._unmade = most
        self._free: list[BlockBuffer] = []

    @property
    def free(self) -> int:
        """How many can be taken."""
        return self._unmade + len(self._free)

    def take(self) -> BlockBuffer:
        """Return a block that nobody has. Raises `MemoryError`, and then none is taken."""
        if self._free:
            return self._free.pop()
        block = BlockBuffer(self._size)
        self._unmade -= 1
        return block

    def give(self, block: BlockBuffer) -> None:
        """Take a block back."""
        self._free.append(block)


def nonzero_runs(data: memoryview) -> list[Run]:
    """Return what of `data` is not granules of zeros."""
    are_zeros = _ZEROS.startswith
    return _runs(len(data), lambda start, end: are_zeros(data[start:end]))


def differing_runs(data: memoryview, held: BlockBuffer) -> list[Run]:
    """Return what of `data` is not the same, granule by granule, as what `held` begins with."""
    return _runs(len(data), lambda start, end: held.holds(data[start:end], start))


def _runs(length: int, is_left_out: Callable[[int, int], bool]) -> list[Run]:
    """Return what remains of `length` bytes without the granules that are left out."""
    runs: list[Run] = []
    start = 0
    for at in range(0, length, GRANULE):
        end = min(at + GRANULE, length)
        if is_left_out(at, end):
            if start < at:
                runs.append((start, at))
            start = end
    if start < length:
        runs.append((start, length))
    return runs
