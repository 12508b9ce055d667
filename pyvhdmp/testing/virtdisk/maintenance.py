"""CompactVirtualDisk, MergeVirtualDisk, and how far a long operation is.

Rules:

1. Compacting takes room away from blocks of zeros. It wants a dynamic or differencing disk
   that is not attached for writing. What it has done when it is cancelled stays done.
2. Merging writes what children hold to an ancestor, which must not be open elsewhere and
   grows if a child is larger. The children's files stay as they are, for the caller to
   delete: through them the content is the same as before.
3. Of an OVERLAPPED that no operation of the handle was begun with nothing is known: 87.
   (inferred; no page says so)
"""

from __future__ import annotations

import dataclasses

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    COMPACT_VIRTUAL_DISK_PARAMETERS,
    MERGE_VIRTUAL_DISK_PARAMETERS,
    VIRTUAL_DISK_PROGRESS,
)
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, steps, structure
from pyvhdmp.testing.virtdisk.changes import Tracker
from pyvhdmp.testing.virtdisk.handles import OpenImage

__all__ = ["Maintenance"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_VERSION = enums.MERGE_VIRTUAL_DISK_VERSION
_BLOCK = 1 << 20


class Maintenance(Functions):
    """Keep disks small, and chains short."""

    def GetVirtualDiskOperationProgress(self, disk: int, overlapped: int, progress: int) -> int:
        """Tell how far a long operation is, and whether it is over."""
        self._found(disk)
        require(overlapped != 0)
        code, current, completion = self._host.progress(disk, overlapped)
        put(progress, VIRTUAL_DISK_PROGRESS(code, current, completion))
        return constants.ERROR_SUCCESS

    def CompactVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Make the file smaller."""
        opened = self._found(disk, _ACCESS.METAOPS)
        if parameters:
            version = structure(COMPACT_VIRTUAL_DISK_PARAMETERS, parameters).Version
            require(version == enums.COMPACT_VIRTUAL_DISK_VERSION.VERSION_1)
        require(not flags & ~sum(enums.COMPACT_VIRTUAL_DISK_FLAG))
        require(not opened.image.is_fixed, constants.ERROR_VHD_INVALID_TYPE)
        require(
            not any(other.is_writable for other in opened.disk.attachments.values()),
            constants.ERROR_VHD_INVALID_STATE,
        )
        return self._begin("CompactVirtualDisk", disk, overlapped, self._compact(opened))

    def _compact(self, opened: OpenImage) -> Work:
        yield 0, 1
        content = self._host.content(opened.path, opened, write=True)
        blocks = sorted(
            {
                at // _BLOCK
                for offset, length in content.written(opened.image.size)
                for at in range(offset // _BLOCK * _BLOCK, offset + length, _BLOCK)
            }
        )
        for number, block in enumerate(blocks):
            yield number, len(blocks)
            content.compact(block * _BLOCK, _BLOCK)
        yield 1, 1

    def MergeVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Write what children hold to their parent."""
        opened = self._found(disk, _ACCESS.METAOPS)
        asked = structure(MERGE_VIRTUAL_DISK_PARAMETERS, parameters)
        require(not flags)
        require(opened.image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
        if asked.Version == _VERSION.VERSION_1:
            depth = asked.Version1.MergeDepth
            source, target = 0, depth
            require(depth >= 1 and depth + 1 <= opened.write_depth)
        else:
            require(asked.Version == _VERSION.VERSION_2)
            self._found_by_version_2(disk, _ACCESS.METAOPS)
            source, target = (
                asked.Version2.MergeSourceDepth - 1,
                asked.Version2.MergeTargetDepth - 1,
            )
        require(0 <= source < target <= len(opened.chain))
        require(not opened.disk.attachments, constants.ERROR_VHD_INVALID_STATE)
        work = self._merge(opened, source, target)
        return self._begin("MergeVirtualDisk", disk, overlapped, work)

    def _merge(self, opened: OpenImage, source: int, target: int) -> Work:
        yield 0, 4
        self._host.content(opened.chain[target - 1][0], opened, write=True)  # or else it is in use
        yield from steps(4)
        files = [(opened.path, opened.image), *opened.chain]
        path, image = files[target]
        grown = max(image.size, *(other.size for _, other in files[source:target]))
        if grown > image.size:
            larger = dataclasses.replace(image, size=grown)
            self._host.rewrite(path, image, larger, opened)
            opened.chain[target - 1] = path, larger
        into = self._host.content(path, opened, write=True)
        tracker = Tracker.load(image.tracking) if image.tracking else None
        for child_path, child in reversed(files[source:target]):
            content = self._host.content(child_path, opened)
            for offset, length in content.written(child.size):
                into.write(offset, content.read(offset, length))
                if tracker is not None:
                    tracker.changed(offset, length)
        into.flush()
        if tracker is not None:
            before = opened.chain[target - 1][1]
            tracked = dataclasses.replace(before, tracking=tracker.save(complete=True))
            self._host.rewrite(path, before, tracked, opened)
            opened.chain[target - 1] = path, tracked
