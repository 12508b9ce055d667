"""Snapshots of a VHD set."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyvhdmp import files
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp.errors import check_code
from pyvhdmp.virtual_disk.formats import absolute, guid
from pyvhdmp.virtual_disk.handle import DiskHandle

if TYPE_CHECKING:
    SetParameters = (
        structures.APPLY_SNAPSHOT_VHDSET_PARAMETERS
        | structures.DELETE_SNAPSHOT_VHDSET_PARAMETERS
        | structures.MODIFY_VHDSET_PARAMETERS
        | structures.TAKE_SNAPSHOT_VHDSET_PARAMETERS
    )

__all__ = ["Snapshots"]


class Snapshots(DiskHandle):
    """Keeping, and going back to, what a VHD set held."""

    def take_snapshot(
        self, snapshot_id: uuid.UUID | None = None, *, writable: bool = False
    ) -> uuid.UUID:
        """Keep what a VHD set holds now, under an id, by default a new one; return the id.

        `writable`: a snapshot that can be written to. Raises the `OSError` of
        TakeSnapshotVhdSet.
        """
        snapshot_id = uuid.uuid4() if snapshot_id is None else snapshot_id
        parameters = structures.TAKE_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.TAKE_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = guid(snapshot_id, "snapshot_id")
        flag = enums.TAKE_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "TakeSnapshotVhdSet", parameters, flag.WRITEABLE if writable else flag.NONE
        )
        return snapshot_id

    def delete_snapshot(self, snapshot_id: uuid.UUID, *, keep_changes: bool = False) -> None:
        """Drop a snapshot. `keep_changes`: but stay able to tell `changes` since it.

        Raises the `OSError` of DeleteSnapshotVhdSet.
        """
        parameters = structures.DELETE_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.DELETE_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = guid(snapshot_id, "snapshot_id")
        flag = enums.DELETE_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "DeleteSnapshotVhdSet", parameters, flag.PERSIST_RCT if keep_changes else flag.NONE
        )

    def apply_snapshot(
        self,
        snapshot_id: uuid.UUID,
        *,
        leaf_snapshot_id: uuid.UUID | None = None,
        writable: bool = False,
    ) -> None:
        """Go back to a snapshot. `leaf_snapshot_id`: the id under which to keep what is now.

        Raises the `OSError` of ApplySnapshotVhdSet.
        """
        parameters = structures.APPLY_SNAPSHOT_VHDSET_PARAMETERS(
            Version=enums.APPLY_SNAPSHOT_VHDSET_VERSION.VERSION_1
        )
        parameters.Version1.SnapshotId = guid(snapshot_id, "snapshot_id")
        if leaf_snapshot_id is not None:
            parameters.Version1.LeafSnapshotId = guid(leaf_snapshot_id, "leaf_snapshot_id")
        flag = enums.APPLY_SNAPSHOT_VHDSET_FLAG
        self._change_set(
            "ApplySnapshotVhdSet", parameters, flag.WRITEABLE if writable else flag.NONE
        )

    def set_snapshot_path(
        self, snapshot_id: uuid.UUID, path: str | os.PathLike[str], *, writable: bool = False
    ) -> None:
        """Say in which file a VHD set has a snapshot. Raises the `OSError` of ModifyVhdSet."""
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.SNAPSHOT_PATH
        )
        parameters.SnapshotPath.SnapshotId = guid(snapshot_id, "snapshot_id")
        parameters.SnapshotPath.SnapshotFilePath = absolute(self._windows, files.checked_path(path))
        flag = enums.MODIFY_VHDSET_FLAG
        self._change_set(
            "ModifyVhdSet", parameters, flag.WRITEABLE_SNAPSHOT if writable else flag.NONE
        )

    def forget_snapshot(self, snapshot_id: uuid.UUID) -> None:
        """Take a snapshot out of a VHD set, its file untouched.

        Raises `InvalidInputError`, and the `OSError` of ModifyVhdSet.
        """
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.REMOVE_SNAPSHOT
        )
        parameters.SnapshotId = guid(snapshot_id, "snapshot_id")
        self._change_set("ModifyVhdSet", parameters, enums.MODIFY_VHDSET_FLAG.NONE)

    def set_default_snapshot_path(self, path: str | os.PathLike[str]) -> None:
        """Say which file a VHD set's current content is in.

        Raises `InvalidInputError`, and the `OSError` of ModifyVhdSet.
        """
        parameters = structures.MODIFY_VHDSET_PARAMETERS(
            Version=enums.MODIFY_VHDSET_VERSION.DEFAULT_SNAPSHOT_PATH
        )
        parameters.DefaultFilePath = absolute(self._windows, files.checked_path(path))
        self._change_set("ModifyVhdSet", parameters, enums.MODIFY_VHDSET_FLAG.NONE)

    def _change_set(self, name: str, parameters: SetParameters, flags: int) -> None:
        function: Callable[[int, int, int], int] = getattr(self._windows.virtdisk, name)
        with self._lock:
            code = function(self.handle, address_of(parameters), flags)
        check_code(code, name, self._path)
