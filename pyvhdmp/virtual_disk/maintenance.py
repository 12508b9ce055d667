"""What takes long: the methods that return an `Operation`.

Rules:

1. The handle stays open until the operation is over, and its parameters are kept as long.
2. A mirror and a fork have an end of their own each, a call that is made when they are ready.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyvhdmp import files
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import HANDLE_CELL
from pyvhdmp.checks import whole_number
from pyvhdmp.errors import InvalidInputError, check_code
from pyvhdmp.virtual_disk import formats
from pyvhdmp.virtual_disk.asking import Asking
from pyvhdmp.virtual_disk.formats import MAX_ULONG, absolute, check_flags
from pyvhdmp.virtual_disk.operation import Operation

if TYPE_CHECKING:
    Parameters = (
        structures.COMPACT_VIRTUAL_DISK_PARAMETERS
        | structures.EXPAND_VIRTUAL_DISK_PARAMETERS
        | structures.FORK_VIRTUAL_DISK_PARAMETERS
        | structures.MERGE_VIRTUAL_DISK_PARAMETERS
        | structures.MIRROR_VIRTUAL_DISK_PARAMETERS
        | structures.RESIZE_VIRTUAL_DISK_PARAMETERS
    )

__all__ = ["Maintenance"]


class Maintenance(Asking):
    """Resize, compact, merge, mirror and fork."""

    def resize(self, size: int, *, allow_unsafe: bool = False) -> Operation[None]:
        """Make the disk larger or smaller. Its partitions stay what they are.

        Below `smallest_safe_size` it cuts off what a partition holds, and is refused without
        `allow_unsafe`. A VHD can only grow. Raises `InvalidInputError`, and the `OSError` of
        ResizeVirtualDisk.
        """
        enum, flags = enums.RESIZE_VIRTUAL_DISK_VERSION, enums.RESIZE_VIRTUAL_DISK_FLAG.NONE
        if allow_unsafe:
            flags = enums.RESIZE_VIRTUAL_DISK_FLAG.ALLOW_UNSAFE_VIRTUAL_SIZE
        parameters = structures.RESIZE_VIRTUAL_DISK_PARAMETERS(Version=enum.VERSION_1)
        parameters.Version1.NewSize = self._checked_size(size)
        return self._begin("ResizeVirtualDisk", flags, parameters)

    def resize_to_smallest(self) -> Operation[None]:
        """Make the disk as small as its partitions allow: `smallest_safe_size`.

        Raises the `OSError` of ResizeVirtualDisk, and so does the operation.
        """
        parameters = structures.RESIZE_VIRTUAL_DISK_PARAMETERS(
            Version=enums.RESIZE_VIRTUAL_DISK_VERSION.VERSION_1
        )
        flags = enums.RESIZE_VIRTUAL_DISK_FLAG.RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE
        return self._begin("ResizeVirtualDisk", flags, parameters)

    def expand(self, size: int, *, notify: bool = False) -> Operation[None]:
        """Make the disk larger, on a Windows that has no `resize` as well.

        `notify`: have Windows look at an attached disk again. Raises `InvalidInputError`, and
        the `OSError` of ExpandVirtualDisk.
        """
        enum, flags = enums.EXPAND_VIRTUAL_DISK_VERSION, enums.EXPAND_VIRTUAL_DISK_FLAG.NONE
        if notify:
            flags = enums.EXPAND_VIRTUAL_DISK_FLAG.NOTIFY_CHANGE
        parameters = structures.EXPAND_VIRTUAL_DISK_PARAMETERS(Version=enum.VERSION_1)
        parameters.Version1.NewSize = self._checked_size(size)
        return self._begin("ExpandVirtualDisk", flags, parameters)

    def _checked_size(self, size: int) -> int:
        info = self.info
        return formats.check_size(self._path, info.format, size, info.sector_size)

    def compact(self, *, zero_scan: bool = True, block_moves: bool = True) -> Operation[None]:
        """Make the file of a dynamic or differencing disk smaller, and its content stay.

        Windows finds blocks that are all zeros, and, on a disk that is attached read-only,
        space that its file system does not use. `zero_scan`, `block_moves`: without, it only
        moves blocks, or only drops them. Raises the `OSError` of CompactVirtualDisk.
        """
        flags = enums.COMPACT_VIRTUAL_DISK_FLAG.NONE
        if not zero_scan:
            flags |= enums.COMPACT_VIRTUAL_DISK_FLAG.NO_ZERO_SCAN
        if not block_moves:
            flags |= enums.COMPACT_VIRTUAL_DISK_FLAG.NO_BLOCK_MOVES
        parameters = structures.COMPACT_VIRTUAL_DISK_PARAMETERS(
            Version=enums.COMPACT_VIRTUAL_DISK_VERSION.VERSION_1
        )
        return self._begin("CompactVirtualDisk", flags, parameters)

    def merge(self, *, source_depth: int = 1, target_depth: int = 2) -> Operation[None]:
        """Write what a differencing disk holds into its parent.

        Depth 1 is this disk, 2 its parent, and so on: what lies from `source_depth` to just
        before `target_depth` goes into the disk there. The files that were merged are not
        deleted; whoever still uses one of them as a parent has lost it.

        Raises `InvalidInputError`, and the `OSError` of MergeVirtualDisk.
        """
        source = whole_number(source_depth, "source_depth")
        target = whole_number(target_depth, "target_depth")
        if not 1 <= source < target <= MAX_ULONG:
            raise InvalidInputError.because(
                f"source_depth must be at least 1 and below target_depth, not {source} and "
                f"{target}, and both have 32 bits",
                self._path,
            )
        parameters = structures.MERGE_VIRTUAL_DISK_PARAMETERS(
            Version=enums.MERGE_VIRTUAL_DISK_VERSION.VERSION_2
        )
        parameters.Version2.MergeSourceDepth = source
        parameters.Version2.MergeTargetDepth = target
        return self._begin("MergeVirtualDisk", enums.MERGE_VIRTUAL_DISK_FLAG.NONE, parameters)

    def mirror(
        self, path: str | os.PathLike[str], *, existing: bool = False, flags: int = 0
    ) -> Operation[None]:
        """Copy the disk to `path`, and from then on write to both.

        The operation never ends by itself, nor does its `result` return before: when all is
        copied, for which `wait_ready` waits, `break_mirror` goes over to the copy, and `cancel`
        stays with the original. `existing`: into a file there is. `flags`: more of Windows'
        MIRROR_VIRTUAL_DISK_FLAG.

        Raises the `OSError` of MirrorVirtualDisk.
        """
        check_flags(flags, self._path)
        if existing:
            flags |= enums.MIRROR_VIRTUAL_DISK_FLAG.EXISTING_FILE
        parameters = structures.MIRROR_VIRTUAL_DISK_PARAMETERS(
            Version=enums.MIRROR_VIRTUAL_DISK_VERSION.VERSION_1
        )
        parameters.Version1.MirrorVirtualDiskPath = absolute(
            self._windows, files.checked_path(path)
        )
        return self._begin("MirrorVirtualDisk", flags, parameters)

    def break_mirror(self) -> None:
        """End a mirror that is ready, and go on with the copy: see `Operation.wait_ready`.

        Raises the `OSError` of BreakMirrorVirtualDisk: 0xC03A001C if there is none, or not yet.
        """
        with self._lock:
            code = self._windows.virtdisk.BreakMirrorVirtualDisk(self.handle)
        check_code(code, "BreakMirrorVirtualDisk", self._path)

    def fork(self, path: str | os.PathLike[str], *, existing: bool = False) -> Operation[None]:
        """Copy the disk to `path`, which `complete_fork` then has keep what the disk is by then.

        The operation never ends by itself: when all is copied, for which `wait_ready` waits,
        `complete_fork` ends it, and until then `cancel`. `existing`: into a file there is.

        Raises the `OSError` of ForkVirtualDisk.
        """
        flags = enums.FORK_VIRTUAL_DISK_FLAG.NONE
        if existing:
            flags = enums.FORK_VIRTUAL_DISK_FLAG.EXISTING_FILE
        parameters = structures.FORK_VIRTUAL_DISK_PARAMETERS(
            Version=enums.FORK_VIRTUAL_DISK_VERSION.VERSION_1
        )
        parameters.Version1.ForkedVirtualDiskPath = absolute(
            self._windows, files.checked_path(path)
        )
        return self._begin("ForkVirtualDisk", flags, parameters)

    def complete_fork(self) -> None:
        """End a fork that is ready, and go on with the disk: see `Operation.wait_ready`.

        Raises the `OSError` of CompleteForkVirtualDisk: 0xC03A001C if there is none, or not yet.
        """
        with self._lock:
            code = self._windows.virtdisk.CompleteForkVirtualDisk(self.handle)
        check_code(code, "CompleteForkVirtualDisk", self._path)

    def _begin(self, name: str, flags: int, parameters: Parameters) -> Operation[None]:
        """Begin an operation on this handle: rule 1."""
        function: Callable[[int, int, int, int], int] = getattr(self._windows.virtdisk, name)

        def call(overlapped: int) -> int:
            return function(handle.Value, flags, address_of(parameters), overlapped)

        def settle(code: int, begun: bool) -> None:
            with self._lock:
                self._operations.discard(operation)
            check_code(code, name, self._path)

        with self._lock:
            handle = HANDLE_CELL(self.handle)
            operation = Operation(self._windows, name, handle, call, settle)
            self._operations.add(operation)
        try:
            operation.start()
        except BaseException:
            if operation.is_over:  # else it goes on, and `settle` comes
                self._operations.discard(operation)
            raise
        return operation
