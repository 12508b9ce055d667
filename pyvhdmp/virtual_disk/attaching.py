"""Attaching virtual disks, raw or as drives of this machine.

Rules:

1. An attachment without a permanent lifetime ends with the last handle of its disk.
2. What was opened read-only is attached so, whatever is asked for.
3. Who is not told the device of a disk has none attached: `attach` takes back what it did.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of, wide_text
from pyvhdmp._win32.virtdisk_structures import ULONG_CELL
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.checks import whole_number
from pyvhdmp.errors import InvalidInputError, check_code
from pyvhdmp.logs import logger
from pyvhdmp.virtual_disk import machine, questions
from pyvhdmp.virtual_disk.asking import Asking
from pyvhdmp.virtual_disk.formats import check_flags
from pyvhdmp.virtual_disk.machine import StorageDependency
from pyvhdmp.virtual_disk.security import security_descriptor

__all__ = ["Attaching"]

_MAX_OFFSET: Final = (1 << 63) - 1


class Attaching(Asking):
    """How an open virtual disk becomes one that can be read and written."""

    @property
    def is_attached(self) -> bool:
        """Whether this object has attached the disk. An attachment by others does not count."""
        return self._attached and not self.closed

    @property
    def physical_path(self) -> str:
        r"""The device that the attached disk is, such as ``\\.\PhysicalDrive3``.

        Raises the `OSError` of GetVirtualDiskPhysicalPath: a disk that is not attached, or
        attached raw, has none.
        """
        function = self._windows.virtdisk.GetVirtualDiskPhysicalPath

        def call(block: Block, size: int) -> tuple[int, int]:
            cell = ULONG_CELL(size)  # in bytes, and so is what it asks for
            code = function(self.handle, address_of(cell), block.address)
            return code, cell.Value

        with self._lock:
            block, code = questions.grown(call, PAGE_SIZE)
        check_code(code, "GetVirtualDiskPhysicalPath", self._path)
        return wide_text(block.memory[:])

    def attach_raw(self, *, read_only: bool = False) -> None:
        """Attach the disk so that this handle reads and writes its sectors, and nothing else.

        No volume is mounted, no drive appears, and Windows itself does not touch the
        content. A disk that was opened read-only is attached so in any case. The attachment
        ends with `detach`, or with the handle.

        Raises `InvalidInputError` for a disk that was opened `info_only`, and the `OSError`
        of AttachVirtualDisk: 1314, or `PermissionError`, where the process is not run as
        administrator.
        """
        self._attach(enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST, read_only, None)

    def attach(
        self,
        *,
        read_only: bool = False,
        drive_letter: bool = True,
        permanent: bool = False,
        restrict_to: tuple[int, int] | None = None,
        sddl: str | None = None,
        flags: int = 0,
    ) -> str:
        """Attach the disk to this machine, as if it had been plugged in; return its device.

        Windows then mounts its volumes. `drive_letter`: whether they get one. `permanent`:
        it stays attached when the handle is closed, until somebody calls `detach` or the
        machine restarts. `restrict_to`: show only this part, offset and length in bytes
        (Windows 10, version 1903). `sddl`: who may use the attached disk, a security descriptor
        as text, such as ``D:P(A;;GA;;;BA)``: administrators, and nobody else. Without it that of
        the file decides. `flags`: more of Windows' ATTACH_VIRTUAL_DISK_FLAG.

        Raises as `attach_raw` and `physical_path` do, and `InvalidInputError` for an `sddl` that
        Windows does not understand; the disk is not attached then.
        """
        check_flags(flags, self._path)
        if permanent:
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.PERMANENT_LIFETIME
        if not drive_letter:
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.NO_DRIVE_LETTER
        self._attach(flags, read_only, restrict_to, sddl)
        try:
            return self.physical_path
        except BaseException:  # rule 3
            with contextlib.suppress(OSError):
                self.detach()
            raise

    def _attach(
        self,
        flags: int,
        read_only: bool,
        part: tuple[int, int] | None,
        sddl: str | None = None,
    ) -> None:
        if self._info_only:
            raise InvalidInputError.because(
                "a disk opened with info_only=True cannot be attached", self._path
            )
        version = enums.ATTACH_VIRTUAL_DISK_VERSION
        parameters = structures.ATTACH_VIRTUAL_DISK_PARAMETERS(Version=version.VERSION_1)
        if part is not None:
            try:
                offset, length = (whole_number(one, "restrict_to") for one in part)
            except (TypeError, ValueError):
                raise TypeError(
                    f"restrict_to must be a pair of ints, an offset and a length, not {part!r}"
                ) from None
            if offset < 0 or length <= 0 or offset + length > _MAX_OFFSET:
                raise InvalidInputError.because(
                    f"restrict_to must be an offset and a length, not {part}", self._path
                )
            parameters.Version = version.VERSION_2
            parameters.Version2.RestrictedOffset = offset
            parameters.Version2.RestrictedLength = length
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.RESTRICTED_RANGE
        if read_only or self._read_only:  # rule 2
            flags |= enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
        with security_descriptor(self._windows, sddl) as descriptor, self._lock:
            code = self._windows.virtdisk.AttachVirtualDisk(
                self.handle, descriptor, flags, 0, address_of(parameters), 0
            )
            check_code(code, "AttachVirtualDisk", self._path)
            self._attached = True
        raw = " raw" if flags & enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST else ""
        mode = ", read-only" if flags & enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY else ""
        logger.info("attached %s%s%s", self._path, raw, mode)

    def detach(self) -> None:
        """End the attachment, whoever made it.

        Raises the `OSError` of DetachVirtualDisk: 21 if the disk is not attached.
        """
        with self._lock:
            code = self._windows.virtdisk.DetachVirtualDisk(
                self.handle, enums.DETACH_VIRTUAL_DISK_FLAG.NONE, 0
            )
            check_code(code, "DetachVirtualDisk", self._path)
            self._attached = False
        logger.info("detached %s", self._path)

    @staticmethod
    def attached_disks() -> tuple[str, ...]:
        r"""The devices, such as ``\\.\PhysicalDrive3``, that virtual disks are attached as.

        Raises the `OSError` of GetAllAttachedVirtualDiskPhysicalPaths.
        """
        return machine.attached_disks(current())

    @staticmethod
    def dependencies(path: str | os.PathLike[str]) -> tuple[StorageDependency, ...]:
        r"""The virtual disks that a volume (``C:``), a folder, a file or a disk lies on.

        The nearest comes first; a volume of a plain disk lies on none.
        Raises the `OSError` of CreateFileW or GetStorageDependencyInformation.
        """
        return machine.dependencies(current(), files.checked_path(path, device=True))
