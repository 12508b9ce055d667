"""A request that is one call, into the caller's own pages. Most are.

Rules:

1. It takes no plan, no parts and no bounce memory; whatever needs any of these is a `Request`.
2. It costs one object, its future, and what the call takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    result when it is over.
    """

    def __init__(
        self,
        direction: Direction,
        pins: list[Pin],
        length: int,
        offset: int,
        result: Callable[[], T],
    ) -> None:
        super().__init__(direction.file, pins)
        self._direction = direction
        self._length = length
        self._offset = offset
        self._make_result = result

    def start(self, pages: Sequence[int]) -> DirectTransfer[T]:
        """Begin. Raises `ValueError`, with nothing begun, if the file is closed."""
        file, call = self.file, self._direction.paged
        try:
            file.enter(self)
            if call is not None:
                file.submit_pages(self, call, pages, self._offset)
            else:
                file.submit(self, self._direction.plain, pages[0], self._length, self._offset)
        except BaseException:
            self.abandon()
            raise
        return self

    def settle(self, code: int, transferred: int) -> None:
        """Finish the future as the call has ended."""
        direction = self._direction
        if self.begun:  # else this is not the completion thread
            direction.count(transferred, 0)
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
                return
        try:
            result = self._make_result()
        except BaseException as failure:  # MemoryError, of making bytes
            self.fail(failure)
        else:
            self.resolve(result)
