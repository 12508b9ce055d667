"""A request that is one call, into the caller's own pages. Most are.

Rules:

1. It takes no plan, no parts and no bounce memory; whatever needs any of these is a `Request`.
2. It costs one object, its future, and what the call takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from typing import TypeVar

from pyvhdmp._win32.memory import Pin
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.disk.direction import Direction
from pyvhdmp.disk.plan import MAX_PART
from pyvhdmp.overlapped import Transfer

__all__ = ["DirectTransfer", "whole_pages"]

T = TypeVar("T")

_PAGE_MASK = PAGE_SIZE - 1


def whole_pages(pins: list[Pin], length: int) -> Sequence[int] | None:
    """Return the address of each page if there is nothing but pages, for one call; else None."""
    if not 0 < length <= MAX_PART:
        return None
    if len(pins) == 1:
        address = pins[0].address
        if (address | length) & _PAGE_MASK:
            return None
        return (address,) if length == PAGE_SIZE else range(address, address + length, PAGE_SIZE)
    pages: list[int] = []
    for pin in pins:
        address, size = pin.address, pin.length
        if (address | size) & _PAGE_MASK:
            return None
        pages.extend(range(address, address + size, PAGE_SIZE))
    return pages


class DirectTransfer(Transfer[T]):
    """The future of a read or a write of whole pages.

    `offset`: the byte of the file that it begins at. `result` is asked for the future's
    result when it is over; without it that is None.
    """

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

    def start(self, pages: Sequence[int]) -> DirectTransfer[T]:
        """Begin. Raises `ValueError`, with nothing begun, if the file is closed."""
        direction = self._direction
        paged, length, offset = direction.paged, self._length, self._offset
        if paged is not None:
            self.file.begin_pages(self, paged, pages, length, offset)
        else:
            self.file.begin(self, direction.plain, pages[0], length, offset)
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
                    paged=direction.paged is not None,
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
