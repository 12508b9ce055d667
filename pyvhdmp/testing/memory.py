"""The caller's memory, as a kernel sees it: addresses, and who owns them.

Rules:

1. Memory is read and written through its address, and only after asking the system
   that the pages are there, so that a caller's mistake is a report and no crash.
2. What an operation owns is watched until it is over: memory that it is to fill is
   scribbled over at the start, so that nobody can take it for filled too early, and
   both kinds are looked at again at the end, for a write by anybody else.
3. Two operations may be given the same memory to read into, as on Windows; there the
   content is anybody's, and is not looked at.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import zlib
from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["Owned", "Owners", "Run", "copy_in", "copy_out", "is_mapped", "read", "write"]

Run: TypeAlias = tuple[int, int]
"""Contiguous memory: its address and its length in bytes."""

_PAGE: Final = mmap.PAGESIZE

if sys.platform == "win32":

    class _MemoryBasicInformation(ctypes.Structure):
        """winnt.h."""

        _fields_ = (
            ("BaseAddress", ctypes.c_size_t),
            ("AllocationBase", ctypes.c_size_t),
            ("AllocationProtect", ctypes.c_uint32),
            ("PartitionId", ctypes.c_uint16),
            ("RegionSize", ctypes.c_size_t),
            ("State", ctypes.c_uint32),
            ("Protect", ctypes.c_uint32),
            ("Type", ctypes.c_uint32),
        )
        BaseAddress: int
        RegionSize: int
        State: int

    _MEM_COMMIT: Final = 0x1000
    _query = ctypes.WinDLL("kernel32").VirtualQuery
    _query.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
    _query.restype = ctypes.c_size_t

    def is_mapped(address: int, length: int) -> bool:
        """Whether there is memory at all of these addresses."""
        information = _MemoryBasicInformation()
        end = address + max(length, 1)
        while address < end:
            if not _query(address, ctypes.byref(information), ctypes.sizeof(information)):
                return False
            if information.State != _MEM_COMMIT:
                return False
            address = information.BaseAddress + information.RegionSize
        return True

else:
    _MS_ASYNC: Final = 1
    _msync = ctypes.CDLL(None).msync
    _msync.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    _msync.restype = ctypes.c_int

    def is_mapped(address: int, length: int) -> bool:
        """Whether there is memory at all of these addresses."""
        # For pages that are not there msync fails, and with MS_ASYNC it does nothing else.
        start = address // _PAGE * _PAGE
        return not _msync(start, address + max(length, 1) - start, _MS_ASYNC)


def copy_in(runs: Iterable[Run]) -> bytes:
    """Return what lies in the caller's memory."""
    return b"".join(ctypes.string_at(address, length) for address, length in runs)


def read(address: int, length: int) -> bytes:
    """Return what lies at an address."""
    return ctypes.string_at(address, length)


def write(address: int, data: bytes) -> None:
    """Write to an address."""
    ctypes.memmove(address, data, len(data))


def copy_out(runs: Iterable[Run], data: bytes) -> None:
    """Write `data` to the caller's memory, as far as it goes."""
    start = 0
    for address, length in runs:
        if start >= len(data):
            break
        taken = min(length, len(data) - start)
        ctypes.memmove(address, data[start : start + taken], taken)
        start += taken


class Owned:
    """The memory of one request, from its call to its end: what it reads, what it fills."""

    __slots__ = ("_checksum", "inputs", "is_shared", "name", "outputs", "overlapped", "segments")

    def __init__(
        self,
        name: str,
        inputs: list[Run],
        outputs: list[Run],
        overlapped: Run,
        segments: Run | None,
    ) -> None:
        self.name: str = name
        self.inputs: list[Run] = inputs
        self.outputs: list[Run] = outputs
        self.overlapped: Run = overlapped
        self.segments: Run | None = segments
        self.is_shared: bool = False
        self._checksum = 0

    @property
    def buffers(self) -> list[Run]:
        """The caller's buffers."""
        return self.inputs + self.outputs

    @property
    def arrays(self) -> list[Run]:
        """The segment array, if it has one."""
        return [] if self.segments is None else [self.segments]

    @property
    def ranges(self) -> list[Run]:
        """All of it: buffers, OVERLAPPED, segment array."""
        return [*self.inputs, *self.outputs, self.overlapped, *self.arrays]

    def begin(self, pattern: int) -> None:
        """Scribble over what is to be filled, and take note of everything."""
        for address, length in self.outputs:
            ctypes.memset(address, pattern, length)
        self._checksum = self._sum()

    def problem(self) -> str | None:
        """Return what has happened to the memory that must not have, or None."""
        for address, length in self.ranges:
            if not is_mapped(address, length):
                return f"memory of {self.name} was released while the kernel owned it"
        if not self.is_shared and self._sum() != self._checksum:
            return f"memory of {self.name} was written to or reused while the kernel owned it"
        return None

    def _sum(self) -> int:
        checksum = 0
        for address, length in (
            self.buffers if self.segments is None else [*self.buffers, self.segments]
        ):
            checksum = zlib.crc32(ctypes.string_at(address, length), checksum)
        return checksum


def _overlap(first: Run, second: Run) -> bool:
    return first[0] < second[0] + second[1] and second[0] < first[0] + first[1]


def _meet(first: list[Run], second: list[Run]) -> bool:
    return any(_overlap(a, b) for a in first for b in second)


def _common(first: Run, second: Run) -> Run:
    start = max(first[0], second[0])
    return start, max(0, min(first[0] + first[1], second[0] + second[1]) - start)


class Owners:
    """Which operation owns which memory, and which objects callers hold in place."""

    def __init__(self) -> None:
        self._by_page: dict[int, list[Owned]] = {}
        self._pins: dict[Run, int] = {}

    @property
    def pins(self) -> int:
        """Buffers held in place by the caller at this moment."""
        return sum(self._pins.values())

    def add(self, owned: Owned) -> str | None:
        """Enter a request's memory; return the name of one that it must not share it with.

        Nobody may have what another's OVERLAPPED or segment array is. A buffer that two
        requests share is theirs to spoil if either is to fill it.
        """
        clash = None
        near: dict[int, Owned] = {}
        for page in self._pages(owned):
            near |= {id(other): other for other in self._by_page.get(page, ())}
        for other in near.values():
            if (
                _meet([owned.overlapped], other.ranges)
                or _meet([other.overlapped], owned.ranges)
                or _meet(owned.arrays, other.outputs)
                or _meet(other.arrays, owned.outputs)
            ):
                clash = other.name
            if _meet(owned.outputs, other.buffers) or _meet(other.outputs, owned.buffers):
                owned.is_shared = other.is_shared = True
        for page in self._pages(owned):
            self._by_page.setdefault(page, []).append(owned)
        return clash

    def remove(self, owned: Owned) -> None:
        """An operation is over, and its memory the caller's again."""
        for page in self._pages(owned):
            owners = self._by_page[page]
            owners.remove(owned)
            if not owners:
                del self._by_page[page]

    def pinned(self, pin: Run) -> None:
        """The caller holds an object in place."""
        self._pins[pin] = self._pins.get(pin, 0) + 1

    def released(self, pin: Run) -> str | None:
        """The caller lets an object go; return whose memory is no longer held, or None."""
        count = self._pins.pop(pin, 0) - 1
        if count > 0:
            self._pins[pin] = count
            return None
        for owned in self._found(pin):
            if any(not self._is_held(_common(run, pin)) for run in owned.buffers):
                return owned.name
        return None

    def _is_held(self, range_: Run) -> bool:
        """Whether what is still pinned covers a range."""
        start, length = range_
        end = start + length
        for address, size in sorted(self._pins):
            if address <= start:
                start = max(start, address + size)
        return start >= end

    def _found(self, range_: Run) -> list[Owned]:
        near: dict[int, Owned] = {}
        address, length = range_
        for page in range(address // _PAGE, (address + length - 1) // _PAGE + 1 if length else 0):
            for owned in self._by_page.get(page, ()):
                near[id(owned)] = owned
        return [
            owned
            for owned in near.values()
            if any(_overlap(range_, other) for other in owned.ranges)
        ]

    @staticmethod
    def _pages(owned: Owned) -> set[int]:
        return {
            page
            for address, length in owned.ranges
            if length
            for page in range(address // _PAGE, (address + length - 1) // _PAGE + 1)
        }
