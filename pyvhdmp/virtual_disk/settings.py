"""What the file of a virtual disk says about it, and how to change that.

Rules:

1. Windows is given whole paths, as a file knows of no current folder; only a parent locator
   is written as it comes.
2. An error about a disk and its parent names the one that is wrong: see `opening`.
"""

from __future__ import annotations

import os
import uuid

from pyvhdmp import files
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_enums import SET_VIRTUAL_DISK_INFO_VERSION as SETTING
from pyvhdmp.checks import whole_number
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.virtual_disk.asking import Asking
from pyvhdmp.virtual_disk.formats import MAX_ULONG, VirtualDiskFormat, absolute, guid

__all__ = ["Settings"]


class Settings(Asking):
    """What can be set."""

    def set_parent(self, path: str | os.PathLike[str], *, depth: int | None = None) -> None:
        """Say where the parent of this differencing disk is now.

        The disk is to be opened with `no_parents`, or, to do so for an ancestor, with
        `custom_chain`, and `depth` then says for which: 1 is the disk itself.

        Raises the `OSError` of SetVirtualDiskInformation: 0xC03A000E if that is not the disk
        that it was made from.
        """
        parent = absolute(self._windows, files.checked_path(path))
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PARENT_PATH)
        if depth is None:
            setting.ParentFilePath = parent
        elif not 1 <= whole_number(depth, "depth") <= MAX_ULONG:
            raise InvalidInputError.because(f"depth must be at least 1, not {depth}", self._path)
        else:
            setting.Version = SETTING.PARENT_PATH_WITH_DEPTH
            setting.ParentPathWithDepthInfo.ChildDepth = depth
            setting.ParentPathWithDepthInfo.ParentFilePath = parent
        self._set(setting, os.fspath(path))

    def set_parent_locator(self, path: str | os.PathLike[str], linkage_id: uuid.UUID) -> None:
        """Say where the parent of a differencing VHDX is, and which id it has to have, unchecked.

        Raises the `OSError` of SetVirtualDiskInformation.
        """
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PARENT_LOCATOR)
        setting.ParentLocator.LinkageId = guid(linkage_id, "linkage_id")
        setting.ParentLocator.ParentFilePath = files.checked_path(path)  # rule 1
        self._set(setting)

    def add_parent(self, path: str | os.PathLike[str]) -> None:
        """Name the next parent of a disk that was opened with `custom_chain`.

        Raises the `OSError` of AddVirtualDiskParent.
        """
        parent = absolute(self._windows, files.checked_path(path))
        with self._lock:
            code = self._windows.virtdisk.AddVirtualDiskParent(self.handle, parent)
        if code != constants.ERROR_SUCCESS:
            raise self._error_of_two(
                code, "AddVirtualDiskParent", self._path, os.fspath(path), alone=True
            )

    def set_disk_id(self, disk_id: uuid.UUID) -> None:
        """Give the disk another identity. Raises the `OSError` of SetVirtualDiskInformation."""
        if self.info.format is VirtualDiskFormat.VHD:
            setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.IDENTIFIER)
            setting.UniqueIdentifier = guid(disk_id, "disk_id")
        else:
            setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.VIRTUAL_DISK_ID)
            setting.VirtualDiskId = guid(disk_id, "disk_id")
        self._set(setting)

    def set_physical_sector_size(self, size: int) -> None:
        """Set what the disk calls its physical sectors, 512 or 4096 bytes; in a VHDX only.

        Raises `InvalidInputError`, and the `OSError` of SetVirtualDiskInformation.
        """
        if whole_number(size, "size") not in (512, 4096):
            raise InvalidInputError.because(f"size must be 512 or 4096, not {size}", self._path)
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.PHYSICAL_SECTOR_SIZE)
        setting.VhdPhysicalSectorSize = size
        self._set(setting)

    def _set(self, setting: structures.SET_VIRTUAL_DISK_INFO, parent: str | None = None) -> None:
        with self._lock:
            code = self._windows.virtdisk.SetVirtualDiskInformation(
                self.handle, address_of(setting)
            )
        if code != constants.ERROR_SUCCESS:
            raise self._error_of_two(
                code, "SetVirtualDiskInformation", self._path, parent, alone=True
            )
