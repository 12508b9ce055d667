"""Change tracking: which ranges of a disk were written since a moment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.virtdisk_enums import SET_VIRTUAL_DISK_INFO_VERSION as SETTING
from pyvhdmp.checks import instance, whole_number
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.virtual_disk import questions
from pyvhdmp.virtual_disk.changes import ChangedRange, ChangeTracking, changed_ranges
from pyvhdmp.virtual_disk.settings import Settings

__all__ = ["Tracking"]


class Tracking(Settings):
    """What has changed."""

    @property
    def change_tracking(self) -> ChangeTracking:
        """Whether the disk notes its changes, and since when; in a VHDX only.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        with self._lock:
            return ChangeTracking(
                *questions.change_tracking(self._windows, self.handle, self._path)
            )

    def set_change_tracking(self, enabled: bool) -> None:
        """Begin or stop to note changes. Raises the `OSError` of SetVirtualDiskInformation."""
        setting = structures.SET_VIRTUAL_DISK_INFO(Version=SETTING.CHANGE_TRACKING_STATE)
        setting.ChangeTrackingEnabled = bool(enabled)
        self._set(setting)

    def changes(
        self, since: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[ChangedRange]:
        """Iterate over the ranges of bytes that have changed since the moment of an id.

        `since`: a `change_tracking.most_recent_id` of then. `offset`, `length`: only in this
        part, in bytes. Change tracking must have been on since.

        Raises `InvalidInputError`, and, while it is iterated over, the `OSError` of
        QueryChangesVirtualDisk, or a `DiskError` if that tells of what is not on the disk.
        """
        if (
            not instance(since, str, "since")
            or "\0" in since
            or len(since) >= (enums.VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH)
        ):
            raise InvalidInputError.because(
                f"since must be a change tracking id, not {since!r}", self._path
            )
        size = self.info.virtual_size
        start, end = whole_number(offset, "offset"), size
        if length is not None:
            end = start + whole_number(length, "length")
        if not 0 <= start <= end <= size:
            raise InvalidInputError.because(
                f"offset and length must lie inside the {size} bytes of the disk, not "
                f"{start} and {end - start}",
                self._path,
            )
        return changed_ranges(partial(self._query_changes, since), self._path, start, end, size)

    def _query_changes(
        self, since: str, offset: int, length: int, ranges: int, count: int, processed: int
    ) -> int:
        with self._lock:
            return self._windows.virtdisk.QueryChangesVirtualDisk(
                self.handle,
                since,
                offset,
                length,
                enums.QUERY_CHANGES_VIRTUAL_DISK_FLAG.NONE,
                ranges,
                count,
                processed,
            )
