"""SetVirtualDiskInformation: identities, sector sizes, where a parent is looked for.

Rules:

1. Each wants METAOPS. What VHDX alone has is refused for a VHD with ERROR_NOT_SUPPORTED.
2. Where a parent is looked for is set through a handle that was opened without parents, or
   for a chain of the caller's own. A parent that is there must be the one that the child
   knows; only PARENT_LOCATOR makes it know another.
3. A disk with another IDENTIFIER is none that its children know.
"""

from __future__ import annotations

import dataclasses
import ntpath

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import SET_VIRTUAL_DISK_INFO
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import relative_path, require, structure
from pyvhdmp.testing.virtdisk.changes import Changes
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.images import VHD, Image

__all__ = ["Settings"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_SET = enums.SET_VIRTUAL_DISK_INFO_VERSION
_NEWER = (
    _SET.PHYSICAL_SECTOR_SIZE,
    _SET.VIRTUAL_DISK_ID,
    _SET.CHANGE_TRACKING_STATE,
    _SET.PARENT_LOCATOR,
)


class Settings(Changes):
    """Change what a disk is."""

    def SetVirtualDiskInformation(self, disk: int, info: int) -> int:
        """Change one thing about an image."""
        opened = self._found(disk, _ACCESS.METAOPS)
        asked = structure(SET_VIRTUAL_DISK_INFO, info)
        what, image = asked.Version, opened.image
        if what in _NEWER:
            require(image.device != VHD, constants.ERROR_NOT_SUPPORTED)
        if what == _SET.PARENT_PATH:
            self._set_parent(opened, 1, asked.ParentFilePath)
        elif what == _SET.PARENT_PATH_WITH_DEPTH:
            given = asked.ParentPathWithDepthInfo
            self._set_parent(opened, given.ChildDepth, given.ParentFilePath)
        elif what == _SET.PARENT_LOCATOR:
            require(image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
            linkage = asked.ParentLocator.LinkageId.uuid()
            known = dataclasses.replace(image, parent_id=linkage)
            path = self._checked_parent(opened, known, asked.ParentLocator.ParentFilePath)
            self._change(opened, _with_parent(known, opened.path, path))
        elif what == _SET.IDENTIFIER:
            self._require_detached(opened)
            identifier = asked.UniqueIdentifier.uuid()
            if image.device == VHD:
                changed = dataclasses.replace(image, disk_id=identifier)
            else:
                changed = dataclasses.replace(image, identifier=identifier)
            self._change(opened, changed)
        elif what == _SET.VIRTUAL_DISK_ID:
            self._require_detached(opened)
            # Its children know the content by what it was called when they were made.
            identifier, disk_id = image.link_id, asked.VirtualDiskId.uuid()
            self._change(opened, dataclasses.replace(image, disk_id=disk_id, identifier=identifier))
        elif what == _SET.PHYSICAL_SECTOR_SIZE:
            self._require_detached(opened)
            size = asked.VhdPhysicalSectorSize
            require(size in (512, 4096) and size >= image.sector_size)
            self._change(opened, dataclasses.replace(image, physical_sector_size=size))
        elif what == _SET.CHANGE_TRACKING_STATE:
            self._track(opened, bool(asked.ChangeTrackingEnabled))
        else:
            require(False)
        return constants.ERROR_SUCCESS

    def _set_parent(self, opened: OpenImage, depth: int, parent_path: str | None) -> None:
        """Set where the parent of a disk of the chain is, the first being its own."""
        files = [(opened.path, opened.image), *opened.chain]
        require(1 <= depth <= len(files))
        path, image = files[depth - 1]
        require(image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
        changed = _with_parent(image, path, self._checked_parent(opened, image, parent_path))
        if depth == 1:
            self._change(opened, changed)
        else:
            self._host.content(path, opened, write=True)  # or else it is in use
            self._host.rewrite(path, image, changed, opened)
            opened.chain[depth - 2] = path, changed

    def _checked_parent(self, opened: OpenImage, child: Image, parent_path: str | None) -> str:
        require(opened.without_parents or opened.custom_chain)
        if not parent_path or not ntpath.isabs(parent_path):
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        if self._image(parent_path).link_id != child.parent_id:
            raise CallFailed(constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH)
        return parent_path

    @staticmethod
    def _require_detached(opened: OpenImage) -> None:
        require(not opened.disk.attachments, constants.ERROR_VHD_INVALID_STATE)  # (inferred)


def _with_parent(image: Image, path: str, parent_path: str) -> Image:
    relative = relative_path(parent_path, path)
    return dataclasses.replace(image, parent_path=parent_path, relative_parent=relative)
