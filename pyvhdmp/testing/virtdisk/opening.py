"""OpenVirtualDisk and AddVirtualDiskParent: files, rights and chains.

Rules:

1. Parameters of version 2 and 3 want an access mask of NONE, those of version 1 another.
2. A chain ends with a disk that has no parent. Each parent is found where its child says,
   by the whole path first, and must have the identity that the child knows.
3. A snapshot of a VHD set is opened by version 3, its id, and the path of the set.
4. A parent is open for reading while its child is; the first of them for writing too, if
   version 1 asks for a depth of more than one.
"""

from __future__ import annotations

import ntpath
import uuid

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    HANDLE_CELL,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import device_of, put, require, structure
from pyvhdmp.testing.virtdisk.changes import Changes
from pyvhdmp.testing.virtdisk.handles import Disk, OpenImage
from pyvhdmp.testing.virtdisk.images import ISO, NO_ID, Image
from pyvhdmp.testing.virtdisk.vhd_sets import snapshot_of

__all__ = ["Opening"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_FLAG = enums.OPEN_VIRTUAL_DISK_FLAG
_VERSION = enums.OPEN_VIRTUAL_DISK_VERSION
_MISSING = (constants.ERROR_FILE_NOT_FOUND, constants.ERROR_PATH_NOT_FOUND)


class Opening(Changes):
    """Open what is there."""

    def OpenVirtualDisk(
        self,
        storage_type: int,
        path: str,
        access_mask: int,
        flags: int,
        parameters: int,
        handle: int,
    ) -> int:
        """Open an image."""
        device = device_of(structure(VIRTUAL_STORAGE_TYPE, storage_type))
        require(not flags & ~sum(_FLAG) and ntpath.isabs(path))
        image = self._image(path, device)
        if device not in (enums.VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN, image.device):
            raise CallFailed(constants.ERROR_FILE_CORRUPT)
        snapshot = _snapshot(parameters)
        writeable = True
        if snapshot != NO_ID:
            path, writeable = snapshot_of(image, snapshot)
            image = self._image(path)
        disk = self._disk(path, image)
        opened = self._asked(disk, parameters, access_mask)
        opened.read_only |= not writeable
        opened.info_only |= bool(flags & _FLAG.VHDSET_FILE_ONLY)
        opened.cached = bool(flags & _FLAG.CACHED_IO)
        opened.without_parents = bool(flags & _FLAG.NO_PARENTS)
        opened.custom_chain = bool(flags & _FLAG.CUSTOM_DIFF_CHAIN)
        if image.device == ISO:
            require(opened.version == _VERSION.VERSION_1 and opened.read_only)
        if not (opened.without_parents or opened.custom_chain):
            opened.chain = self._chain(disk.path, image)
        require(opened.write_depth <= 1 + len(opened.chain))
        put(handle, HANDLE_CELL(self._open(opened)))
        return constants.ERROR_SUCCESS

    def AddVirtualDiskParent(self, disk: int, parent_path: str) -> int:
        """Give a disk that was opened for a chain of the caller's own its next parent."""
        opened = self._found_by_version_2(disk, _ACCESS.NONE)
        require(opened.custom_chain and ntpath.isabs(parent_path))
        bottom = opened.chain[-1][1] if opened.chain else opened.image
        require(bottom.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
        parent = self._image(parent_path)
        if parent.link_id != bottom.parent_id:
            raise CallFailed(constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH)
        self._host.content(parent_path, opened)
        opened.chain.append((parent_path, parent))
        self._host.reads(disk)
        return constants.ERROR_SUCCESS

    def _asked(self, disk: Disk, parameters: int, access_mask: int) -> OpenImage:
        """Return what OPEN_VIRTUAL_DISK_PARAMETERS ask for."""
        if not parameters:
            require(access_mask != _ACCESS.NONE)
            return self._with_mask(disk, access_mask, enums.OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT)
        asked = structure(OPEN_VIRTUAL_DISK_PARAMETERS, parameters)
        version = asked.Version
        if version == _VERSION.VERSION_1:
            require(access_mask != _ACCESS.NONE)
            return self._with_mask(disk, access_mask, asked.Version1.RWDepth)
        require(version in (_VERSION.VERSION_2, _VERSION.VERSION_3) and access_mask == _ACCESS.NONE)
        return OpenImage(
            disk,
            version,
            read_only=bool(asked.Version2.ReadOnly),
            info_only=bool(asked.Version2.GetInfoOnly),
            guid=asked.Version2.ResiliencyGuid.uuid(),
        )

    @staticmethod
    def _with_mask(disk: Disk, mask: int, depth: int) -> OpenImage:
        require(not mask & ~_ACCESS.ALL)
        writes = _ACCESS.ATTACH_RW | _ACCESS.METAOPS | _ACCESS.CREATE
        read_only = not (mask & writes and depth)
        return OpenImage(disk, _VERSION.VERSION_1, mask, read_only, write_depth=max(1, depth))

    # -- For all that opens -------------------------------------------------------

    def _disk(self, path: str, image: Image) -> Disk:
        """Return the disk that all handles to a file share."""
        for other in self._host.opened():
            if _key(other.path) == _key(path):
                return other.disk
        return Disk(path, image)

    def _open(self, opened: OpenImage) -> int:
        """Return a new handle."""
        handle = self._host.open(opened)
        opened.disk.handles.append(opened)
        self._resume_tracking(opened)
        return handle

    def _chain(self, path: str, image: Image) -> list[tuple[str, Image]]:
        """Return the parents of an image, nearest first."""
        chain: list[tuple[str, Image]] = []
        while image.is_differencing:
            path, parent = self._parent(path, image)
            if parent.link_id != image.parent_id:
                raise CallFailed(constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH)
            chain.append((path, parent))
            image = parent
        return chain

    def _parent(self, path: str, image: Image) -> tuple[str, Image]:
        """Return where the parent of an image is, and what it is."""
        for candidate in image.parent_candidates:
            whole = ntpath.normpath(ntpath.join(ntpath.dirname(path), candidate))
            try:
                return whole, self._image(whole)
            except CallFailed as failure:
                if failure.code not in _MISSING:
                    raise
        raise CallFailed(constants.ERROR_VHD_PARENT_VHD_NOT_FOUND)


def _snapshot(parameters: int) -> uuid.UUID:
    """Return which snapshot of a set is asked for, if one is."""
    if parameters:
        asked = structure(OPEN_VIRTUAL_DISK_PARAMETERS, parameters)
        if asked.Version == _VERSION.VERSION_3:
            return asked.Version3.SnapshotId.uuid()
    return NO_ID


def _key(path: str) -> str:
    return ntpath.normcase(ntpath.normpath(path.removeprefix("\\\\?\\")))
