"""A request that is one call, into the caller's own pages. Most are.

Rules:

1. It takes no plan, no parts and no bounce memory; whatever needs any of these is a `Request`.
2. It costs one object, its future, and what the call takes.
3. Memory that is contiguous takes no list of pages, and so may be longer than a list is.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Final, TypeVar

from pyvhdmp._win32.memory import Pin
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.disk.direction import Direction
from pyvhdmp.disk.plan import MAX_PART
from pyvhdmp.overlapped import Transfer

__all__ = ["DirectTransfer", "direct_memory"]

T = TypeVar("T")

_PAGE_MASK = PAGE_SIZE - 1
_MAX_CONTIGUOUS: Final = 16 * 1024 * 1024
"""Bytes of one call that takes no list. Longer requests go in parts, which Windows has to lock
in memory, and can cancel, one by one."""


def direct_memory(pins: list[Pin], length: int, *, scatter: bool) -> int | list[int] | None:
    """Return the memory of a request if it is whole pages, and one call can take them.

    That is its address where it is contiguous, and else, with `scatter`, that of each page.
    """
    if len(pins) == 1 and length <= _MAX_CONTIGUOUS:
        address = pins[0].address
        return None if not length or (address | length) & _PAGE_MASK else address
    if not 0 < length <= MAX_PART:
        return None
    pages: list[int] = []
    for pin in pins:
        address, size = pin.address, pin.length
        if (address | size) & _PAGE_MASK:
            return None
        pages.extend(range(address, address + size, PAGE_SIZE))
    if pages == list(range(pages[0], pages[0] + length, PAGE_SIZE)):
        return pages[0]
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
        pins: list[Pin],
        length: int,
        offset: int,
        result: Callable[[], T] | None,
    ) -> None:
        # Not super().__init__(), which takes a step for each of three classes.
        self._lock = RLock()
        self.file = direction.file
        self.pins = pins
        self._direction = direction
        self._length = length
        self._offset = offset
        self._make_result = result

    def start(self, memory: int | list[int]) -> DirectTransfer[T]:
        """Begin, with `direct_memory`. Raises `ValueError`, with nothing begun, if it is closed."""
        direction, offset = self._direction, self._offset
        if isinstance(memory, int):
            self.file.begin(self, direction.plain, memory, self._length, offset)
        else:
            self._is_paged = True
            self.file.begin_pages(self, direction.paged, memory, offset)
        return self

    def finish(self, code: int, transferred: int) -> None:
        """Let the buffers go, finish the future, leave the file."""
        try:
            for pin in self.pins:
                pin.release()
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
            self.file.finished(self)
