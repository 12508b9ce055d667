"""Change tracking: which ranges were written since when, and QueryChangesVirtualDisk.

Rules:

1. Once it is switched on, a disk has a row of ids. Each stands for a moment, and the disk
   knows what was written between it and the next, in units of 64 KiB.
2. The most recent id is as old as the last that did not see any change: a new one begins
   when tracking is switched on, when the disk is opened for writing after something was
   written since the last, and with each snapshot. (inferred)
3. What is known is written to the image when its last handle is closed, and that it is not
   complete before the first write. After a power cut in between all ids are forgotten: who
   asks for one learns that it is unknown, and has to read everything.
4. An answer holds as many ranges as there is room for, in order. ProcessedLength tells how
   far it got, and the caller asks again from there.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    QUERY_CHANGES_VIRTUAL_DISK_RANGE,
    ULONG64_CELL,
    ULONG_CELL,
)
from pyvhdmp.testing import memory
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, structure
from pyvhdmp.testing.virtdisk.handles import Disk, OpenImage
from pyvhdmp.testing.virtdisk.images import ISO, VHD

__all__ = ["UNIT", "Changes", "Tracker"]

UNIT: Final = 64 << 10
"""What is known to be changed or not, in bytes."""

_ACCESS = enums.VIRTUAL_DISK_ACCESS


class Tracker:
    """The ids of a disk, oldest first, with the units written until the next."""

    def __init__(self, series: uuid.UUID) -> None:
        self._series = series
        self._numbers = 0
        self._ids: list[tuple[str, set[int]]] = []
        self.before_change: Callable[[], None] = lambda: None
        """What is to be done before the first change since it was saved."""
        self._is_saved = False

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Tracker:
        """Return the tracker that was saved. One that misses something forgets its ids."""
        tracker = cls(uuid.UUID(saved["series"]))
        tracker._numbers = saved["numbers"]
        if saved["complete"]:
            tracker._ids = [(name, set(units)) for name, units in saved["ids"]]
            tracker._is_saved = True
        else:
            tracker.begin()
        return tracker

    def save(self, *, complete: bool) -> Mapping[str, Any]:
        """Return what `load` takes."""
        self._is_saved = complete
        ids = [[name, sorted(units)] for name, units in self._ids] if complete else []
        return {
            "series": str(self._series),
            "numbers": self._numbers,
            "complete": complete,
            "ids": ids,
        }

    @property
    def most_recent_id(self) -> str:
        """The last id."""
        return self._ids[-1][0]

    @property
    def has_changes(self) -> bool:
        """Whether anything was written since."""
        return bool(self._ids[-1][1])

    def begin(self) -> None:
        """Begin a new id."""
        self._numbers += 1
        name = f"rctX:{str(self._series).replace('-', ':')}:{self._numbers:08x}"
        self._ids.append((name, set()))

    def changed(self, offset: int, length: int) -> None:
        """A range was written."""
        if self._is_saved:
            self._is_saved = False
            self.before_change()
        self._ids[-1][1].update(range(offset // UNIT, -(-(offset + length) // UNIT)))

    def since(self, name: str) -> set[int] | None:
        """Return the units written since an id, None for one that is unknown."""
        names = [known for known, _ in self._ids]
        if name not in names:
            return None
        return set().union(*(units for _, units in self._ids[names.index(name) :]))


class Changes(Functions):
    """Track changes, and tell them."""

    def QueryChangesVirtualDisk(
        self,
        disk: int,
        change_tracking_id: str,
        offset: int,
        length: int,
        flags: int,
        ranges: int,
        count: int,
        processed: int,
    ) -> int:
        """Tell which ranges of a part of a disk were written since an id."""
        opened = self._found(disk, _ACCESS.GET_INFO)
        room = structure(ULONG_CELL, count).Value
        require(not flags and bool(room) and bool(ranges) and bool(processed))
        require(0 < length <= opened.image.size - offset)
        tracker = opened.disk.tracker
        require(tracker is not None, constants.ERROR_VHD_CHANGE_TRACKING_DISABLED)
        assert tracker is not None
        units = tracker.since(change_tracking_id)
        require(units is not None, constants.ERROR_VHD_INVALID_CHANGE_TRACKING_ID)
        assert units is not None
        found = _ranges(units, offset, offset + length)
        told = found[:room]
        done = length if len(told) == len(found) else sum(told[-1]) - offset
        raw = b"".join(bytes(QUERY_CHANGES_VIRTUAL_DISK_RANGE(at, size)) for at, size in told)
        self._require_memory("QueryChangesVirtualDisk", ranges, len(raw))
        memory.write(ranges, raw)
        put(count, ULONG_CELL(len(told)))
        put(processed, ULONG64_CELL(done))
        return constants.ERROR_SUCCESS

    def _track(self, opened: OpenImage, enabled: bool) -> None:
        """Switch tracking on or off."""
        disk = opened.disk
        require(self._host.sees_writes, constants.ERROR_NOT_SUPPORTED)
        require(opened.image.device not in (VHD, ISO), constants.ERROR_NOT_SUPPORTED)
        if enabled == (disk.tracker is not None):
            return
        if enabled:
            tracker = Tracker(self._new_id())
            tracker.begin()
            self._watch(disk, tracker)
            self._save_tracking(disk, complete=True)
        else:
            assert disk.tracker is not None
            disk.watchers.remove(disk.tracker.changed)
            disk.tracker = None
            self._change(opened, dataclasses.replace(opened.image, tracking={}))

    def _resume_tracking(self, opened: OpenImage) -> None:
        """A disk is opened: go on where it was left."""
        disk = opened.disk
        if disk.tracker is None and disk.image.tracking:
            self._watch(disk, Tracker.load(disk.image.tracking))
        tracker = disk.tracker
        if tracker is not None and tracker.has_changes and opened.access & constants.GENERIC_WRITE:
            tracker.begin()

    def _watch(self, disk: Disk, tracker: Tracker) -> None:
        disk.tracker = tracker
        disk.watchers.append(tracker.changed)
        tracker.before_change = lambda: self._save_tracking(disk, complete=False)
        disk.at_end = lambda: self._save_tracking(disk, complete=True)

    def _save_tracking(self, disk: Disk, *, complete: bool) -> None:
        if disk.tracker is not None:
            tracking = disk.tracker.save(complete=complete)
            image = dataclasses.replace(disk.image, tracking=tracking)
            self._host.rewrite(disk.path, disk.image, image)
            disk.image = image


def _ranges(units: set[int], start: int, end: int) -> list[tuple[int, int]]:
    """Return what units cover of a range, in order: offset and length."""
    ranges: list[tuple[int, int]] = []
    for unit in sorted(units):
        first, last = max(start, unit * UNIT), min(end, (unit + 1) * UNIT)
        if first >= last:
            continue
        if ranges and sum(ranges[-1]) == first:
            ranges[-1] = ranges[-1][0], ranges[-1][1] + last - first
        else:
            ranges.append((first, last - first))
    return ranges
