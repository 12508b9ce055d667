"""A request that is one call, into whole pages: the caller's own, or a block of the pool. Most are.

Rules:

1. It takes no plan, no parts, and no bounce memory that it would have to wait for; whatever
   needs any of these is a `Request`.
2. It costs one object, its future, and what the call takes.
3. Memory that is contiguous takes no list of pages, and so may be longer than a list is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import or_
from typing import Final, TypeAlias, TypeVar

from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE, Block, BouncePool, PooledBlock
from pyvhdmp.disk.direction import Direction
from pyvhdmp.disk.plan import MAX_PART
from pyvhdmp.overlapped import OverlappedFile
from pyvhdmp.transfers import Transfer

__all__ = ["DirectTransfer", "Memory", "PooledRead", "direct_memory"]

T = TypeVar("T")

Memory: TypeAlias = int | list[int] | Block
"""What one call is given: an address, that of each page, or the array of these."""

_PAGE_MASK = PAGE_SIZE - 1
_MAX_CONTIGUOUS: Final = 16 * 1024 * 1024
"""Bytes of one call that takes no list. Longer requests go in parts, which Windows has to lock
in memory, and can cancel, one by one."""


def direct_memory(pins: Pins, *, scatter: bool) -> int | list[int] | None:
    """Return the memory of a request if it is whole pages, and one call can take them.

    That is its address where it is contiguous, see rule 3, and else, with `scatter`, that of
    each page. None is for a `Request`.
    """
    addresses, length = pins.addresses, pins.length
    if len(addresses) == 1 and 0 < length <= _MAX_CONTIGUOUS:
        return None if (addresses[0] | length) & _PAGE_MASK else addresses[0]
    if not 0 < length <= MAX_PART or reduce(or_, addresses) & _PAGE_MASK:
        return None
    pages = addresses
    if pins.lengths.count(PAGE_SIZE) != len(addresses):  # not a page each
        if reduce(or_, pins.lengths) & _PAGE_MASK:
            return None
        pages = []
        for address, size in zip(addresses, pins.lengths, strict=True):
            pages.extend(range(address, address + size, PAGE_SIZE))
    first = pages[0]
    if pages[-1] - first == length - PAGE_SIZE and pages == list(
        range(first, first + length, PAGE_SIZE)
    ):
        return first
    return pages if scatter else None


class DirectTransfer(Transfer[T]):
    """The future of a read or a write of whole pages.

    `offset`: the byte of the file that it begins at. `result` is asked for the future's
    result when it is over; without it that is None.
    """

    _is_paged = False

    def __init__(
        self,
        direction: Direction,
        pins: Pins,
        offset: int,
        result: Callable[[], T] | None,
    ) -> None:
        # Not super().__init__(), which takes a step for each of three classes: rule 2.
        self.file: OverlappedFile = direction.file
        self._pins = pins
        self._direction = direction
        self._length = pins.length
        self._offset = offset
        self._make_result = result

    def start(self, memory: Memory) -> DirectTransfer[T]:
        """Begin, with `direct_memory`. Raises `ValueError`, with nothing begun, if it is closed.

        An array of pages is kept by the pins. Who calls this abandons it if it raises.
        """
        direction, offset = self._direction, self._offset
        self._pins.use(self)
        if isinstance(memory, int):
            self.file.begin(self, direction.plain, memory, self._length, offset)
        elif isinstance(memory, list):
            self._is_paged = True
            self.file.begin_pages(self, direction.paged, memory, offset)
        else:
            self._is_paged = True
            self.file.begin(self, direction.paged, memory.address, self._length, offset)
        return self

    def finish(self, code: int, transferred: int) -> None:
        """Let the buffers go, finish the future, leave the file."""
        try:
            self._pins.release(self)
            direction, error = self._direction, None
            if self.begun:  # else this is not the completion thread
                direction.requests += 1
                direction.transferred += transferred
            if code or transferred != self._length:
                error = direction.error(
                    code,
                    transferred,
                    self._length,
                    self._offset,
                    paged=self._is_paged,
                    cancel_wanted=self.cancel_wanted,
                )
            if error is not None:
                self.fail(error)
            elif self._make_result is None:
                self._end()
            else:
                self.resolve_with(self._make_result)
        finally:
            self._make_result = None  # it refers to the buffers
            self.file.finished(self)


class PooledRead(DirectTransfer[bytes]):
    """A read into a block of the pool's, whose bytes are the result.

    The block goes back before the future is finished: so whoever has waited for the one finds
    the other in the pool.
    """

    def __init__(self, direction: Direction, block: PooledBlock, length: int, offset: int) -> None:
        self._block = [block]  # until it goes back, for which it is taken out of here: once
        view, pool = memoryview(block.memory)[:length], direction.file.port.bounce
        take = partial(_bytes_of, view, self._block, pool)  # no method, so that this is no cycle
        super().__init__(direction, Pins([view], writable=True), offset, take)

    def fail(self, error: BaseException) -> None:
        """Give the block back, and finish with an error."""
        _give_back(self._block, self.file.port.bounce)
        super().fail(error)


def _bytes_of(view: memoryview, block: list[PooledBlock], pool: BouncePool) -> bytes:
    """Return what was read into a block, which goes back."""
    try:
        return bytes(view)
    finally:
        _give_back(block, pool)


def _give_back(block: list[PooledBlock], pool: BouncePool) -> None:
    if block:
        pool.give(block.pop())
