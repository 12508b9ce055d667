"""Which parts of a virtual disk have changed since a moment that an id stands for."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import ULONG64_CELL, ULONG_CELL
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import check_code, windows_error
from pyvhdmp.virtual_disk.questions import implausible

__all__ = ["ChangeTracking", "ChangedRange", "changed_ranges"]

_RANGE: Final = struct.Struct("<QQQ")  # a QUERY_CHANGES_VIRTUAL_DISK_RANGE
_MEMORY: Final = 4 * PAGE_SIZE

Query: TypeAlias = Callable[[int, int, int, int, int], int]
"""QueryChangesVirtualDisk for one disk and id: offset, length, ranges, count, processed."""


@dataclass(frozen=True)
class ChangedRange:
    """A range of bytes that has changed."""

    offset: int
    length: int


@dataclass(frozen=True)
class ChangeTracking:
    """Whether a disk notes its changes. `most_recent_id`: the latest moment that has an id.

    `newer_changes`: whether something was written after that moment.
    """

    enabled: bool
    newer_changes: bool
    most_recent_id: str


def changed_ranges(
    query: Query, path: str, start: int, end: int, size: int
) -> Iterator[ChangedRange]:
    """Yield what has changed from byte `start` to `end`, in order, asking as often as it takes.

    One call tells as much as there is room for, and how far it got. A range that reaches past the
    end of the disk, which has `size` bytes, is no answer.
    """
    room = _MEMORY // _RANGE.size
    while start < end:
        block = Block(_MEMORY)
        count, processed = ULONG_CELL(room), ULONG64_CELL()
        code = query(start, end - start, block.address, address_of(count), address_of(processed))
        check_code(code, "QueryChangesVirtualDisk", path)
        if count.Value > room:
            answer = f"{count.Value} ranges where there is room for {room}"
            raise implausible("QueryChangesVirtualDisk", answer, path)
        for index in range(count.Value):
            offset, length, _ = _RANGE.unpack_from(block.memory, index * _RANGE.size)
            if offset + length > size:
                answer = f"{length} bytes at {offset} of {size}"
                raise implausible("QueryChangesVirtualDisk", answer, path)
            yield ChangedRange(offset, length)
        if not processed.Value:  # or this would never end
            raise windows_error(constants.ERROR_MORE_DATA, "QueryChangesVirtualDisk", path)
        start += processed.Value
