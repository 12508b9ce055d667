"""VHD sets: a disk, and snapshots of it.

Rules:

1. A set holds its current content, and knows a file for each of its snapshots: a disk of its
   own, which lies beside the set unless DefaultFilePath says where else.
2. Taking a snapshot copies the content, and applying one copies it back. Deleting takes the
   file away; a snapshot that is only removed leaves it.
3. A snapshot is opened by its id, with parameters of version 3 and the path of the set. It
   can only be read, unless it is WRITEABLE.
4. A snapshot that is not there is ERROR_NOT_FOUND, one that is there already
   ERROR_ALREADY_EXISTS, and a disk that is no set ERROR_NOT_SUPPORTED. (inferred)
"""

from __future__ import annotations

import dataclasses
import ntpath
import uuid
from typing import Any

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    APPLY_SNAPSHOT_VHDSET_PARAMETERS,
    DELETE_SNAPSHOT_VHDSET_PARAMETERS,
    MODIFY_VHDSET_PARAMETERS,
    TAKE_SNAPSHOT_VHDSET_PARAMETERS,
)
from pyvhdmp.testing import long_operations
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import Functions, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.host import copy_own
from pyvhdmp.testing.virtdisk.images import NO_ID, VHDSET, VHDX, Image

__all__ = ["VhdSets", "snapshot_of"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_MODIFY = enums.MODIFY_VHDSET_VERSION
_DEFAULT = "default"


def snapshot_of(image: Image, snapshot: uuid.UUID) -> tuple[str, bool]:
    """Return the file of a snapshot of a set, and whether it can be written to."""
    require(image.device == VHDSET)
    entry = image.snapshots.get(str(snapshot))
    require(entry is not None, constants.ERROR_NOT_FOUND)
    assert entry is not None
    return entry["path"], entry["writeable"]


class VhdSets(Functions):
    """Take snapshots, and go back to them."""

    def TakeSnapshotVhdSet(self, disk: int, parameters: int, flags: int) -> int:
        """Take a snapshot."""
        opened = self._set(disk)
        asked = structure(TAKE_SNAPSHOT_VHDSET_PARAMETERS, parameters)
        require(asked.Version == enums.TAKE_SNAPSHOT_VHDSET_VERSION.VERSION_1)
        require(not flags & ~sum(enums.TAKE_SNAPSHOT_VHDSET_FLAG))
        snapshot, image = asked.Version1.SnapshotId.uuid(), opened.image
        require(snapshot != NO_ID)
        require(str(snapshot) not in image.snapshots, constants.ERROR_ALREADY_EXISTS)
        path = _file_of(opened, snapshot)
        frozen = dataclasses.replace(image, device=VHDX, snapshots={}, tracking={})
        self._host.create(path, frozen)
        try:
            self._copy(opened, opened.path, path, image.size)
        except CallFailed:
            self._host.delete(path)
            raise
        writeable = bool(flags & enums.TAKE_SNAPSHOT_VHDSET_FLAG.WRITEABLE)
        self._know(opened, {str(snapshot): {"path": path, "writeable": writeable}})
        if opened.disk.tracker is not None:
            opened.disk.tracker.begin()
        return constants.ERROR_SUCCESS

    def DeleteSnapshotVhdSet(self, disk: int, parameters: int, flags: int) -> int:
        """Delete a snapshot."""
        opened = self._set(disk)
        asked = structure(DELETE_SNAPSHOT_VHDSET_PARAMETERS, parameters)
        require(asked.Version == enums.DELETE_SNAPSHOT_VHDSET_VERSION.VERSION_1)
        require(not flags & ~sum(enums.DELETE_SNAPSHOT_VHDSET_FLAG))
        snapshot = asked.Version1.SnapshotId.uuid()
        path, _ = snapshot_of(opened.image, snapshot)
        self._host.content(path, opened, write=True)  # or else it is in use
        self._forget(opened, snapshot)
        self._host.delete(path)
        return constants.ERROR_SUCCESS

    def ApplySnapshotVhdSet(self, disk: int, parameters: int, flags: int) -> int:
        """Go back to a snapshot."""
        opened = self._set(disk)
        asked = structure(APPLY_SNAPSHOT_VHDSET_PARAMETERS, parameters)
        require(asked.Version == enums.APPLY_SNAPSHOT_VHDSET_VERSION.VERSION_1)
        require(not flags & ~sum(enums.APPLY_SNAPSHOT_VHDSET_FLAG))
        require(not opened.disk.attachments, constants.ERROR_VHD_INVALID_STATE)
        path, _ = snapshot_of(opened.image, asked.Version1.SnapshotId.uuid())
        size = self._image(path).size
        self._host.content(path, opened)  # or else it is in use
        if size != opened.image.size:
            self._change(opened, dataclasses.replace(opened.image, size=size))
        own = self._host.content(opened.path, opened, write=True)
        for offset, length in own.written(size):
            own.zero(offset, length)
            opened.disk.changed(offset, length)
        self._copy(opened, path, opened.path, size)
        return constants.ERROR_SUCCESS

    def ModifyVhdSet(self, disk: int, parameters: int, flags: int) -> int:
        """Change what a set knows of its snapshots."""
        opened = self._set(disk)
        asked = structure(MODIFY_VHDSET_PARAMETERS, parameters)
        require(not flags & ~sum(enums.MODIFY_VHDSET_FLAG))
        if asked.Version == _MODIFY.SNAPSHOT_PATH:
            snapshot = asked.SnapshotPath.SnapshotId.uuid()
            path = _absolute(asked.SnapshotPath.SnapshotFilePath)
            self._image(path)
            require(snapshot != NO_ID)
            writeable = bool(flags & enums.MODIFY_VHDSET_FLAG.WRITEABLE_SNAPSHOT)
            self._know(opened, {str(snapshot): {"path": path, "writeable": writeable}})
        elif asked.Version == _MODIFY.REMOVE_SNAPSHOT:
            snapshot = asked.SnapshotId.uuid()
            snapshot_of(opened.image, snapshot)
            self._forget(opened, snapshot)
        elif asked.Version == _MODIFY.DEFAULT_SNAPSHOT_PATH:
            self._know(opened, {_DEFAULT: _absolute(asked.DefaultFilePath)})
        else:
            require(False)
        return constants.ERROR_SUCCESS

    def _set(self, disk: int) -> OpenImage:
        opened = self._found_by_version_2(disk, _ACCESS.METAOPS)
        require(opened.image.device == VHDSET, constants.ERROR_NOT_SUPPORTED)
        return opened

    def _know(self, opened: OpenImage, new: dict[str, Any]) -> None:
        snapshots = {**opened.image.snapshots, **new}
        self._change(opened, dataclasses.replace(opened.image, snapshots=snapshots))

    def _forget(self, opened: OpenImage, snapshot: uuid.UUID) -> None:
        snapshots = {k: v for k, v in opened.image.snapshots.items() if k != str(snapshot)}
        self._change(opened, dataclasses.replace(opened.image, snapshots=snapshots))

    def _copy(self, opened: OpenImage, source: str, target: str, size: int) -> None:
        """Copy what one file holds to another, and have it on the medium."""
        content = self._host.content(source, opened)
        into = self._host.content(target, opened, write=True)
        long_operations.run_to_end(copy_own(content, into, size))
        if target == opened.path:
            for offset, length in content.written(size):
                opened.disk.changed(offset, length)


def _absolute(path: str | None) -> str:
    if not path or not ntpath.isabs(path):
        raise CallFailed(constants.ERROR_INVALID_PARAMETER)
    return path


def _file_of(opened: OpenImage, snapshot: uuid.UUID) -> str:
    """Return the path of a new snapshot's file."""
    place = opened.image.snapshots.get(_DEFAULT, opened.path)
    return f"{ntpath.splitext(place)[0]}_{str(snapshot).upper()}.avhdx"
