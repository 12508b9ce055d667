"""What a sector may hold: a model of everything written to a disk, and of what was promised.

Steps are counted, and each request has the step it began and the step it ended. Nothing
orders two requests in flight, so a sector has several contents that are right. One is
wrong if a write that succeeded has begun after it ended: to a reader who began after
that write had ended, and after a power cut if that write was promised to be stable.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SECTOR: Final = 512
_TAG: Final = struct.Struct("<QQ")


@dataclass(eq=False)
class Version:
    """One write: `tag` 0 writes zeros. It ended at step `end`, whether it `succeeded` or not."""

    tag: int
    start: float
    end: float = math.inf
    succeeded: bool = False
    promised: bool = False


class History:
    """The versions of each sector."""

    def __init__(self, sectors: int) -> None:
        self._step = 0
        self._tags = 0
        blank = Version(0, -1, 0, succeeded=True, promised=True)
        self._versions: list[list[Version]] = [[blank] for _ in range(sectors)]
        self._unpromised: list[Version] = []
        self._last_cut = -1

    def step(self) -> int:
        """Count a step; return its number."""
        self._step += 1
        return self._step

    def begin_write(self, sector: int, count: int, *, zeros: bool = False) -> Version:
        """A write, or with `zeros` an unmap, begins."""
        self._tags += not zeros
        version = Version(0 if zeros else self._tags, self.step())
        for at in range(sector, sector + count):
            self._versions[at].append(version)
        return version

    def end_write(self, version: Version, *, succeeded: bool, promised: bool = False) -> None:
        """A write has ended; `promised`: it is on stable storage."""
        version.end = self.step()
        version.succeeded = succeeded
        version.promised = promised and succeeded
        if succeeded and not promised:
            self._unpromised.append(version)

    def end_flush(self, start: int) -> None:
        """A flush that began at step `start` succeeded."""
        for version in self._unpromised:
            version.promised |= version.end < start
        self._unpromised = [version for version in self._unpromised if not version.promised]

    def data(self, version: Version, sector: int, count: int) -> bytes:
        """Return what a write writes: each sector tells whose it is, and where."""
        return b"".join(
            _TAG.pack(version.tag, at) * (SECTOR // _TAG.size)
            for at in range(sector, sector + count)
        )

    def check_read(self, start: int, sector: int, data: bytes) -> str | None:
        """Return what is wrong with what a read that began at step `start` has read, or None."""
        if start < self._last_cut:
            return None  # what it has read is from before
        return self._check(sector, data, lambda version: version.end < start, "was read")

    def power_cut(self, data: bytes) -> str | None:
        """Return what is wrong with the content after a power cut, or None; start anew from it."""
        problem = self._check(0, data, lambda version: version.promised, "is left")
        for at, versions in enumerate(self._versions):
            tag = _tag(data[at * SECTOR : (at + 1) * SECTOR], at)
            versions[:] = [Version(tag or 0, -1, self._step, succeeded=True, promised=True)]
        self._unpromised.clear()
        self._last_cut = self.step()
        return problem

    def _check(
        self, sector: int, data: bytes, supersedes: Callable[[Version], bool], what: str
    ) -> str | None:
        for index in range(len(data) // SECTOR):
            at = sector + index
            tag = _tag(data[index * SECTOR : (index + 1) * SECTOR], at)
            versions = self._versions[at]
            if len(versions) == 1 and versions[0].tag == tag:
                continue  # as almost everywhere, and this is asked of whole disks
            last = max((v.start for v in versions if v.succeeded and supersedes(v)), default=-1)
            allowed = {version.tag for version in versions if version.end >= last}
            if tag not in allowed:
                return f"sector {at}: write {tag} {what}, and only {sorted(allowed)} may be"
        return None


def _tag(raw: bytes, sector: int) -> int | None:
    """Return whose a sector's content is, None if it is nobody's."""
    tag, at = _TAG.unpack_from(raw)
    if raw != raw[: _TAG.size] * (SECTOR // _TAG.size):
        return None
    if at == sector and tag:
        return int(tag)
    return 0 if tag == at == 0 else None
