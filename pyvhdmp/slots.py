"""Slots: the memory that the kernel needs for one call, made once and reused.

A slot holds an OVERLAPPED and a segment array side by side. Rules:

1. A slot belongs to one operation from `take` until its packet has been dequeued
   (or the call has failed at once). Only then is it given back.
2. The memory of a slot is never freed while its pool lives. A packet that comes
   late, or for nobody, points at memory that is still a slot.
3. Slots are reused in turn, oldest first, which keeps an address that a stray
   packet might name out of use for as long as possible.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from pyvhdmp._win32.structures import OVERLAPPED_STRUCT, SEGMENT_SIZE
from pyvhdmp.buffers import Block, PageBuffer

__all__ = ["MAX_SEGMENTS", "SEGMENTS_AT", "Slot", "SlotPool", "pack_segments"]

MAX_SEGMENTS: Final = 256
"""Pages that one slot's segment array has room for."""

SEGMENTS_AT: Final = 64  # behind the OVERLAPPED, on a cache line of its own
_SLOT_SIZE: Final = -(-(SEGMENTS_AT + (MAX_SEGMENTS + 1) * SEGMENT_SIZE) // 64) * 64
_CHUNK_SIZE: Final = 64 * 1024

assert OVERLAPPED_STRUCT.size <= SEGMENTS_AT


class _Packers(dict[int, Callable[..., None]]):
    """The functions that write an array of so many pages, each made when it is first used."""

    def __missing__(self, count: int) -> Callable[..., None]:
        pack = struct.Struct(f"<{count + 1}Q").pack_into
        if count <= MAX_SEGMENTS:
            self[count] = pack
        return pack


_packers: Final = _Packers()


def pack_segments(memory: PageBuffer, offset: int, pages: Sequence[int]) -> None:
    """Write the addresses of `pages` as a FILE_SEGMENT_ELEMENT array, NULL at its end."""
    _packers[len(pages)](memory, offset, *pages, 0)


class Slot:
    """One OVERLAPPED with its segment array, at a fixed address.

    `event`: the handle of an event, made when a call is first waited for; until then 0.
    """

    __slots__ = ("address", "event", "memory", "offset", "segments_address", "segments_offset")

    def __init__(self, memory: PageBuffer, address: int, offset: int) -> None:
        self.memory: PageBuffer = memory
        self.offset: int = offset
        self.address: int = address + offset
        self.segments_offset: int = offset + SEGMENTS_AT
        self.segments_address: int = self.address + SEGMENTS_AT
        self.event: int = 0


class SlotPool:
    """Free slots, and as many more as are asked for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._slots: list[Slot] = []
        self._free: deque[Slot] = deque()
        self.give: Final[Callable[[Slot], None]] = self._free.append
        """Take back a slot that the kernel has let go of."""

    @property
    def free(self) -> int:
        """Slots that no operation owns."""
        return len(self._free)

    @property
    def total(self) -> int:
        """Slots that exist."""
        return len(self._slots)

    def take(self) -> Slot:
        """Return a slot that nobody owns."""
        while True:
            try:
                return self._free.popleft()
            except IndexError:
                self._grow()

    def _grow(self) -> None:
        with self._lock:
            if self._free:
                return
            chunk = Block(_CHUNK_SIZE)
            starts = range(0, _CHUNK_SIZE - _SLOT_SIZE + 1, _SLOT_SIZE)
            slots = [Slot(chunk.memory, chunk.address, start) for start in starts]
            self._slots.extend(slots)  # before anybody has one: rule 2
            self._free.extend(slots)

    def close_events(self, close: Callable[[int], object]) -> None:
        """Close the events of all slots, none of which is in use any more."""
        for slot in self._slots:
            event, slot.event = slot.event, 0
            if event:
                close(event)
