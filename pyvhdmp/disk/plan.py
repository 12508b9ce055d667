"""How the buffers of a request become calls.

Rules:

1. Every whole page that is page-aligned in memory, and whose place in the request
   is a whole number of sectors, goes to the kernel as it is.
2. Everything else is bounced, and nothing more.
3. A part is all of one kind and at most `MAX_PART` bytes; it starts and ends on a
   sector. Parts are made one by one as they are needed: the plan of a terabyte
   takes no more memory than that of a page.
4. Buffers that lie one behind the other are one run, and a direct part of one run
   is a plain call: a list of its pages would say no more, and takes time to go through.

So 512 bytes of header followed by a megabyte of aligned data is a bounced part of
one sector and a direct part of 256 pages, and nothing of the megabyte is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from pyvhdmp._win32.memory import copy_memory
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.slots import MAX_SEGMENTS

__all__ = ["MAX_PART", "Part", "Run", "plan"]

MAX_PART: Final = MAX_SEGMENTS * PAGE_SIZE

Run: TypeAlias = tuple[int, int]
"""Contiguous memory: its address and its length in bytes."""


class Part(NamedTuple):
    """One call: `length` bytes from byte `start` of the request, in `runs` of memory."""

    start: int
    length: int
    runs: list[Run]
    is_direct: bool

    @property
    def is_paged(self) -> bool:
        """Whether its pages lie apart, so that a call takes a list of them: see rule 4."""
        return self.is_direct and len(self.runs) > 1

    def copy_to(self, target: int) -> None:
        """Copy what its runs hold to contiguous memory, by address."""
        for address, length in self.runs:
            copy_memory(target, address, length)
            target += length

    def copy_from(self, source: int) -> None:
        """Copy contiguous memory to its runs."""
        for address, length in self.runs:
            copy_memory(address, source, length)
            source += length

    def pages(self) -> list[int]:
        """Return the address of each page of a direct part, in order."""
        return [
            page
            for address, length in self.runs
            for page in range(address, address + length, PAGE_SIZE)
        ]


def plan(buffers: Iterable[Run], sector_size: int, *, scatter: bool = True) -> Iterator[Part]:
    """Yield the parts of a request over `buffers`, from its first byte to its last.

    Without `scatter` a direct part is one run.
    """
    start = length = 0
    runs: list[Run] = []
    kind = False
    for is_direct, address, remaining in _pieces(buffers, sector_size):
        while remaining:
            if runs and (  # rules 3 and 4
                is_direct != kind
                or length == MAX_PART
                or (is_direct and not scatter and address != sum(runs[-1]))
            ):
                yield Part(start, length, runs, kind)
                start, length, runs = start + length, 0, []
            kind = is_direct
            taken = min(remaining, MAX_PART - length)
            if runs and address == sum(runs[-1]):
                runs[-1] = (runs[-1][0], runs[-1][1] + taken)
            else:
                runs.append((address, taken))
            address, remaining, length = address + taken, remaining - taken, length + taken
    if runs:
        yield Part(start, length, runs, kind)


def _pieces(buffers: Iterable[Run], sector_size: int) -> Iterator[tuple[bool, int, int]]:
    """Yield (is direct, address, length): a head, whole pages, a tail of each buffer. Rule 1."""
    position = 0
    for address, length in buffers:
        head = -address % PAGE_SIZE
        pages = max(0, length - head) // PAGE_SIZE * PAGE_SIZE
        if (position + head) % sector_size:
            pages = 0
        if pages:
            yield False, address, head
            yield True, address + head, pages
            yield False, address + head + pages, length - head - pages
        else:
            yield False, address, length
        position += length
