"""MirrorVirtualDisk and ForkVirtualDisk: a second file that follows a disk.

Rules:

1. Both take an OVERLAPPED. They copy the disk's own file, while what is written goes to
   both, and then stay pending, all of it done, until they are ended: they never do so
   by themselves.
2. BreakMirrorVirtualDisk ends a mirror in success: from then on every handle to the disk is
   one to the mirror, unless SKIP_MIRROR_ACTIVATION was asked for.
3. CompleteForkVirtualDisk ends a fork in success: the other file holds what the disk does at
   that moment, and the handles stay where they are. (inferred; no page describes it)
4. Before everything is copied there is nothing to end so: ERROR_VHD_INVALID_STATE.
   (inferred) A cancel ends either at any time, and a file that was made for it is deleted.
"""

from __future__ import annotations

import ntpath

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    FORK_VIRTUAL_DISK_PARAMETERS,
    MIRROR_VIRTUAL_DISK_PARAMETERS,
)
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.calls import Functions, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage, Twin
from pyvhdmp.testing.virtdisk.host import copy_own

__all__ = ["Mirroring"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_FORK = enums.FORK_VIRTUAL_DISK_FLAG
_MIRROR = enums.MIRROR_VIRTUAL_DISK_FLAG


class Mirroring(Functions):
    """Have a second file follow a disk."""

    def MirrorVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Begin to mirror a disk."""
        opened = self._found_by_version_2(disk, _ACCESS.METAOPS)
        asked = structure(MIRROR_VIRTUAL_DISK_PARAMETERS, parameters)
        require(asked.Version == enums.MIRROR_VIRTUAL_DISK_VERSION.VERSION_1)
        require(not flags & ~sum(_MIRROR) and bool(overlapped))
        twin = Twin(
            disk,
            self._new_path(asked.Version1.MirrorVirtualDiskPath),
            existing=bool(flags & _MIRROR.EXISTING_FILE),
            takes_over=not flags & _MIRROR.SKIP_MIRROR_ACTIVATION,
        )
        return self._begin("MirrorVirtualDisk", disk, overlapped, self._follow(opened, twin))

    def BreakMirrorVirtualDisk(self, disk: int) -> int:
        """End a mirror, and go on with it."""
        return self._complete(disk, "mirror")

    def ForkVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Begin to fork a disk."""
        opened = self._found_by_version_2(disk, _ACCESS.METAOPS)
        asked = structure(FORK_VIRTUAL_DISK_PARAMETERS, parameters)
        require(asked.Version == enums.FORK_VIRTUAL_DISK_VERSION.VERSION_1)
        require(not flags & ~sum(_FORK) and bool(overlapped))
        twin = Twin(
            disk,
            self._new_path(asked.Version1.ForkedVirtualDiskPath),
            existing=bool(flags & _FORK.EXISTING_FILE),
            kind="fork",
        )
        return self._begin("ForkVirtualDisk", disk, overlapped, self._follow(opened, twin))

    def CompleteForkVirtualDisk(self, disk: int) -> int:
        """End a fork: the other file is complete."""
        return self._complete(disk, "fork")

    @staticmethod
    def _new_path(path: str | None) -> str:
        if not path or not ntpath.isabs(path):
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        return path

    def _complete(self, disk: int, kind: str) -> int:
        twin = self._found(disk, _ACCESS.METAOPS).disk.twin
        if twin is None or twin.kind != kind or not twin.is_level:
            self._host.pause()
            raise CallFailed(constants.ERROR_VHD_INVALID_STATE)
        twin.is_complete = True
        self._host.go_on(twin.handle)
        return constants.ERROR_SUCCESS

    def _follow(self, opened: OpenImage, twin: Twin) -> Work:
        disk = opened.disk
        if twin.existing:
            require(self._image(twin.path).size == opened.image.size)
        else:
            self._host.create(twin.path, opened.image)
        own = self._host.content(opened.path, opened)

        def follow(offset: int, length: int) -> None:
            other.write(offset, own.read(offset, length))

        try:
            other = self._host.content(twin.path, opened, write=True)
            self._host.hold(twin.handle, twin.path)
            disk.watchers.append(follow)
            disk.twin = twin
            yield 0, 1
            for offset, length in other.written(opened.image.size):
                other.zero(offset, length)
            yield from copy_own(own, other, opened.image.size)
            twin.is_level = True
            while not twin.is_complete:
                yield None
            self._host.rewrite(twin.path, self._image(twin.path), opened.image, opened)
            other.flush()
            if twin.takes_over:
                self._host.move(twin.handle, twin.path)
                disk.path = twin.path
        finally:
            if disk.twin is twin:
                disk.watchers.remove(follow)
                disk.twin = None
                self._host.let_go(twin.handle, twin.path)
            if not (twin.is_complete or twin.existing):
                self._host.delete(twin.path)
