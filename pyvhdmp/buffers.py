"""Page-aligned memory: for callers, for bouncing, and as lists of pages.

Rules:

1. The unit is the system page, `PAGE_SIZE`. Memory is page-aligned when its
   address is a multiple of it.
2. A bounce block belongs to whoever took it, from `take` until `give`. The
   kernel may touch it all that time, so it is given back only after the packet.
3. Bounce memory has a budget for good. Who does not get a block at once waits in
   a queue, first come first served, and no thread is blocked by that.
4. Ctrl+C may come between the taking of a block and its noting. What is lost so is
   counted no longer. Nor does it lose who waits: the completion thread, where none
   comes, takes them out of the queue.
"""

from __future__ import annotations

import contextlib
import mmap
import operator
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from pyvhdmp._win32.memory import FixedMemory
from pyvhdmp.errors import InvalidInputError

if TYPE_CHECKING:
    # What type checkers know as collections.abc.Buffer, on Python 3.11 too.
    from typing_extensions import Buffer as Buffer

__all__ = ["PAGE_SIZE", "Block", "BouncePool", "PageBuffer", "PooledBlock", "Ready"]

PAGE_SIZE: Final = mmap.PAGESIZE
_PAUSE_SECONDS: Final = 0.01
"""Until memory is asked for again that Windows did not have."""


class PageBuffer(FixedMemory):
    """`size` bytes of zeroed, page-aligned memory with the buffer protocol.

    Requests whose buffers are page-aligned are not copied. It is an anonymous
    `mmap.mmap`, so it can be sliced, wrapped in a `memoryview` and closed; closing
    or resizing it while a request uses it raises `BufferError`.
    """

    def __new__(cls, size: int) -> Self:
        """Map `size` bytes. Raises `InvalidInputError` if that is not positive."""
        size = operator.index(size)
        if size <= 0:
            raise InvalidInputError.because(
                f"the size of a PageBuffer must be positive, not {size}"
            )
        return super().__new__(cls, size)

    def __repr__(self) -> str:
        return "<PageBuffer closed>" if self.closed else f"<PageBuffer of {len(self)} bytes>"


class Block:
    """Page-aligned memory at a known address, mapped for as long as the block lives."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        self.memory: PageBuffer = PageBuffer(size)  # nobody else has it, so nobody closes it
        self.size: int = size
        self.address: int = self.memory.address


class PooledBlock(Block):
    """A block that its `pool` counts, until it drops it. Else who had it has lost it: rule 4."""

    pool: weakref.ref[BouncePool] | None = None

    def __del__(self) -> None:
        pool = None if self.pool is None else self.pool()
        if pool is not None:
            pool.lose(self.size)


Ready: TypeAlias = Callable[[PooledBlock], object]
"""What is called with the block that was waited for."""


class BouncePool:
    """Bounce blocks, made as needed and reused, `budget` bytes at the most.

    Sizes are rounded up to a power of two of pages, so that blocks fit again.
    `call_soon` runs something on the completion thread: there a waiter gets its block.
    """

    def __init__(self, budget: int, call_soon: Callable[[Callable[[], object]], None]) -> None:
        self._budget = budget
        self._call_soon = call_soon
        self._lock = threading.RLock()  # a finalizer may come back in
        self._free: dict[int, list[PooledBlock]] = {}
        self._counted = 0
        self._lost: list[int] = []  # sizes, of blocks that are counted and are no more
        self._waiting: deque[tuple[int, Ready]] = deque()
        self._reference = weakref.ref(self)

    @property
    def allocated(self) -> int:
        """Bytes of bounce memory that exist, in use or free."""
        return self._counted - sum(self._lost)

    def take(self, length: int, ready: Ready) -> PooledBlock | None:
        """Return a block of at least `length` bytes, or None: then `ready` gets one later."""
        size = _block_size(length)
        if size > self._budget:
            raise ValueError(f"a block of {size} bytes is above the budget of {self._budget}")
        with self._lock:
            losses = len(self._lost)
            block = None if self._waiting else self._find(size)
            if block is None:
                self._waiting.append((size, ready))
                if len(self._lost) != losses:  # since it was looked for, when nobody waited
                    self._see_to_waiters()
            return block

    def take_now(self, length: int) -> PooledBlock | None:
        """Return a block of at least `length` bytes if there is one to have at once."""
        size = _block_size(length)
        with self._lock, contextlib.suppress(MemoryError, OSError):
            return None if self._waiting else self._find(size)
        return None

    def give(self, block: PooledBlock) -> None:
        """Take a block back; whoever waits is served."""
        try:
            with self._lock:
                self._free.setdefault(block.size, []).append(block)
            self._see_to_waiters()
        except BaseException:  # Ctrl+C: this, which can be repeated, must not be missed
            self._see_to_waiters()
            raise

    def forget(self, ready: Ready) -> bool:
        """Drop a waiter; return False if it is not waiting (any more)."""
        with self._lock:
            for entry in self._waiting:
                if entry[1] == ready:
                    self._waiting.remove(entry)
                    break
            else:
                return False
        self._see_to_waiters()  # it may have been the one that held up the queue
        return True

    def lose(self, size: int) -> None:
        """A block is no more that was not given back. Takes no lock: a finalizer has any."""
        self._lost.append(size)
        self._see_to_waiters()

    def _see_to_waiters(self) -> None:
        if self._waiting:
            self._call_soon(self._serve)

    def _serve(self) -> None:
        """On the completion thread, where no Ctrl+C comes: give who waits what there is."""
        served = []
        try:
            with self._lock:
                while self._waiting and (block := self._find(self._waiting[0][0])) is not None:
                    served.append((self._waiting.popleft()[1], block))
        except (MemoryError, OSError):  # no block may be out, whose return would be the time
            time.sleep(_PAUSE_SECONDS)
            self._see_to_waiters()
        for ready, block in served:
            self._call_soon(partial(ready, block))

    def _find(self, size: int) -> PooledBlock | None:
        free = self._free.get(size)
        if free:
            return free.pop()
        # Blocks of other sizes make room: they are idle, and the budget is one.
        for blocks in self._free.values():
            while blocks and self.allocated + size > self._budget:
                idle = blocks.pop()
                idle.pool = None
                self._counted -= idle.size
        if self.allocated + size > self._budget:
            return None
        block = PooledBlock(size)
        self._counted += size
        block.pool = self._reference
        return block


def _block_size(length: int) -> int:
    return PAGE_SIZE << (-(-length // PAGE_SIZE) - 1).bit_length()
