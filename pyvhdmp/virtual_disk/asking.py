"""The questions that an open virtual disk answers.

Rules:

1. Each access asks Windows. Nothing is remembered.
2. A chain of parents is what files say, and they may have been made to do harm: one that leads
   back to itself, or goes on for ever, ends in an error.
3. A parent that is missing is told of, and hides nothing of what is there.
"""

from __future__ import annotations

import uuid
from typing import Final

from pyvhdmp import files
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.virtdisk_enums import GET_VIRTUAL_DISK_INFO_VERSION as QUESTION
from pyvhdmp.errors import DiskError, code_of, windows_error
from pyvhdmp.virtual_disk import questions
from pyvhdmp.virtual_disk.metadata import Metadata
from pyvhdmp.virtual_disk.opening import Opening
from pyvhdmp.virtual_disk.questions import PhysicalDisk, VirtualDiskInfo

__all__ = ["MAX_CHAIN", "Asking"]

MAX_CHAIN: Final = 1000
"""The most disks that one chain is followed through: a hostile one could go on for ever."""


class Asking(Opening):
    """The questions that an open virtual disk answers."""

    @property
    def info(self) -> VirtualDiskInfo:
        """What the disk is at this moment.

        Each access asks GetVirtualDiskInformation. Raises its `OSError`, `InvalidInputError` for
        a disk of a format that has no name here, and `DiskError` for sizes that no disk has.
        """
        with self._lock:
            return questions.describe(self._windows, self.handle, self._path)

    @property
    def parent(self) -> str | None:
        """The path of the parent of a differencing disk, None for any other disk.

        Raises `FileNotFoundError` for a missing one, which names the place where it is looked
        for, and in a note all of them; else the `OSError` of GetVirtualDiskInformation.
        """
        with self._lock:
            found, places = questions.parent_location(self._windows, self.handle, self._path)
        if places and not found:
            error = windows_error(
                constants.ERROR_FILE_NOT_FOUND, "GetVirtualDiskInformation", places[0]
            )
            error.add_note(f"The parent of {self._path} was looked for at {', '.join(places)}.")
            raise error
        return places[0] if places else None

    @property
    def chain(self) -> tuple[VirtualDiskInfo, ...]:
        """This disk, its parent, the parent's parent, and so on to the one without.

        The first has the `path` that the disk was opened by, the others the whole paths that
        Windows knows them by. Each is opened for that, only to ask. A parent that is missing
        ends the chain with a disk that has `parent_candidates`. Raises as `info` does, and for
        a parent as `open` does; `DiskError` for a chain that leads back to itself, or has more
        than 1000 disks.
        """
        chain, seen = [self.info], {files.path_key(self._windows, self._path)}
        while (parent := chain[-1].parent_path) is not None:
            key = files.path_key(self._windows, parent)
            if key in seen or len(chain) == MAX_CHAIN:  # rule 2
                raise DiskError.because(
                    f"a chain of parents that has no end: after {len(chain)} disks it goes on "
                    f"with {parent}",
                    self._path,
                )
            seen.add(key)
            chain.append(self._described(parent))
        return tuple(chain)

    @property
    def parent_id(self) -> uuid.UUID:
        """The identity that a differencing disk wants its parent to have.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return self._ask(QUESTION.PARENT_IDENTIFIER).ParentIdentifier.uuid()

    @property
    def parent_timestamp(self) -> int:
        """When the parent was last changed, as the differencing disk noted it; 0 in a VHDX.

        In seconds since the beginning of the year 2000, UTC, as a VHD has it. Raises the
        `OSError` of GetVirtualDiskInformation.
        """
        return self._ask(QUESTION.PARENT_TIMESTAMP).ParentTimestamp

    @property
    def identifier(self) -> uuid.UUID:
        """What a child knows this disk by. In a VHD that is its `disk_id`, too.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return self._ask(QUESTION.IDENTIFIER).Identifier.uuid()

    @property
    def is_4k_aligned(self) -> bool:
        """Whether the file's blocks lie at multiples of 4 KiB.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return bool(self._ask(QUESTION.IS_4K_ALIGNED).Is4kAligned)

    @property
    def is_loaded(self) -> bool:
        """Whether the disk is in use: attached, or open for more than questions.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return bool(self._ask(QUESTION.IS_LOADED).IsLoaded)

    @property
    def fragmentation(self) -> int:
        """How far, in percent, its blocks lie in another order than its sectors.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return self._ask(QUESTION.FRAGMENTATION).FragmentationPercentage

    @property
    def smallest_safe_size(self) -> int:
        """The size, in bytes, that its partitions need: what it can be resized to safely.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        return self._ask(QUESTION.SMALLEST_SAFE_VIRTUAL_SIZE).SmallestSafeVirtualSize

    @property
    def physical_disk(self) -> PhysicalDisk:
        """The disk that it is while it is attached.

        Raises the `OSError` of GetVirtualDiskInformation.
        """
        answer = self._ask(QUESTION.PHYSICAL_DISK).PhysicalDisk
        return PhysicalDisk(
            answer.LogicalSectorSize, answer.PhysicalSectorSize, bool(answer.IsRemote)
        )

    @property
    def metadata(self) -> Metadata:
        """Bytes by UUID that the file carries: a mutable mapping, each access a call."""
        return Metadata(self, self._lock)

    def _ask(self, question: QUESTION) -> structures.GET_VIRTUAL_DISK_INFO:
        with self._lock:
            return questions.ask(self._windows, self.handle, self._path, question)

    @classmethod
    def _described(cls, path: str) -> VirtualDiskInfo:
        """Return what a disk is, its own parent found or not: rule 3."""
        try:
            with cls.open(path, info_only=True) as disk:
                return disk.info
        except OSError as error:
            if code_of(error) != constants.ERROR_VHD_PARENT_VHD_NOT_FOUND:
                raise
        with cls.open(path, info_only=True, no_parents=True) as disk:
            return disk.info
