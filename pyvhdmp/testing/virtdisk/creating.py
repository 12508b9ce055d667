"""CreateVirtualDisk: blank disks, children, and copies.

Rules:

1. MaximumSize is at least 3 MiB and a multiple of the sector size; 0 with a ParentPath; 0,
   or at least that of the source, with a SourcePath. The two paths exclude each other.
2. The file is there when the call returns, and its handle is given out at once. What takes
   time is filling it; a creation that is cancelled, or fails, deletes the file.
3. A copy has an identity of its own, and the source's sector size. (inferred)
"""

from __future__ import annotations

import dataclasses
import ntpath
import uuid
from dataclasses import dataclass

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    CREATE_VIRTUAL_DISK_PARAMETERS,
    HANDLE_CELL,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.calls import device_of, put, relative_path, require, steps, structure
from pyvhdmp.testing.virtdisk.handles import Disk, OpenImage
from pyvhdmp.testing.virtdisk.host import Layer, copy_through
from pyvhdmp.testing.virtdisk.images import LIMITS, NO_ID, VHDSET, VHDX, Image
from pyvhdmp.testing.virtdisk.opening import Opening

__all__ = ["Creating"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_FLAG = enums.CREATE_VIRTUAL_DISK_FLAG
_VERSION = enums.CREATE_VIRTUAL_DISK_VERSION


@dataclass(frozen=True)
class _Wanted:
    """What CREATE_VIRTUAL_DISK_PARAMETERS of any version ask for."""

    device: int
    disk_id: uuid.UUID
    size: int
    block_size: int
    sector_size: int
    physical_sector_size: int
    parent: str
    source: str
    guid: uuid.UUID
    fixed: bool


class Creating(Opening):
    """Create disks."""

    def CreateVirtualDisk(
        self,
        storage_type: int,
        path: str,
        access_mask: int,
        security_descriptor: int,
        flags: int,
        provider_specific_flags: int,
        parameters: int,
        overlapped: int,
        handle: int,
    ) -> int:
        """Create an image, and open it."""
        device = device_of(structure(VIRTUAL_STORAGE_TYPE, storage_type))
        asked = structure(CREATE_VIRTUAL_DISK_PARAMETERS, parameters)
        require(device in LIMITS and ntpath.isabs(path) and not flags & ~sum(_FLAG))
        wanted = self._wanted(asked, device, fixed=bool(flags & _FLAG.FULL_PHYSICAL_ALLOCATION))
        is_first = asked.Version == _VERSION.VERSION_1
        require(is_first == (access_mask != _ACCESS.NONE) and not access_mask & ~_ACCESS.ALL)
        require(not (wanted.parent and wanted.source))
        source: list[Layer] = []
        if wanted.parent:
            image = self._child(path, wanted)
        elif wanted.source:
            image, source = self._copy_of(wanted)
        else:
            image = self._blank(wanted)
        opened = OpenImage(
            Disk(path, image),
            enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1 if is_first else asked.Version,
            access_mask,
            guid=wanted.guid,
        )
        opened.chain = self._chain(path, image)
        self._host.create(path, image)
        try:
            number = self._open(opened)
        except CallFailed:
            self._host.delete(path)
            raise
        put(handle, HANDLE_CELL(number))
        try:
            return self._begin(
                "CreateVirtualDisk", number, overlapped, self._fill(opened, wanted.source, source)
            )
        except CallFailed as failure:
            if failure.code != constants.ERROR_IO_PENDING:
                self._host.close(number)
            raise

    def _fill(self, opened: OpenImage, source_path: str, source: list[Layer]) -> Work:
        done = False
        try:
            if source:
                content = self._host.content(opened.path, opened, write=True)
                yield from copy_through(source, content)
            else:
                yield from steps(2)
            done = True
        finally:
            if not done:
                self._host.delete(opened.path)

    # -- What is asked for --------------------------------------------------------

    def _wanted(
        self, asked: CREATE_VIRTUAL_DISK_PARAMETERS, device: int, *, fixed: bool
    ) -> _Wanted:
        require(asked.Version in tuple(_VERSION)[1:])
        is_first = asked.Version == _VERSION.VERSION_1
        version = asked.Version1 if is_first else asked.Version2
        return _Wanted(
            device=device,
            disk_id=version.UniqueId.uuid(),
            size=version.MaximumSize,
            block_size=version.BlockSizeInBytes,
            sector_size=version.SectorSizeInBytes,
            physical_sector_size=0 if is_first else asked.Version2.PhysicalSectorSizeInBytes,
            parent=version.ParentPath or "",
            source=version.SourcePath or "",
            guid=NO_ID if is_first else asked.Version2.ResiliencyGuid.uuid(),
            fixed=fixed,
        )

    def _blank(self, wanted: _Wanted) -> Image:
        limits, sector_size = LIMITS[wanted.device], wanted.sector_size or 512
        require(sector_size in limits.sector_sizes and limits.allows(wanted.size, sector_size))
        require(wanted.block_size in (0, *limits.block_sizes))
        subtype = enums.PROVIDER_SUBTYPE_FIXED if wanted.fixed else enums.PROVIDER_SUBTYPE_DYNAMIC
        return Image(
            device=wanted.device,
            subtype=subtype,
            size=wanted.size,
            sector_size=sector_size,
            physical_sector_size=wanted.physical_sector_size or limits.physical_sector_size,
            block_size=0 if wanted.fixed else wanted.block_size or limits.block_size,
            disk_id=self._identity(wanted),
        )

    def _child(self, path: str, wanted: _Wanted) -> Image:
        limits = LIMITS[wanted.device]
        require(wanted.size == 0 and ntpath.isabs(wanted.parent))
        require(wanted.block_size in (0, *limits.block_sizes) and not wanted.fixed)
        parent = self._image(wanted.parent)
        require(parent.device == wanted.device or {parent.device, wanted.device} == {VHDX, VHDSET})
        return dataclasses.replace(
            parent,
            subtype=enums.PROVIDER_SUBTYPE_DIFFERENCING,
            block_size=wanted.block_size or limits.child_block_size,
            disk_id=self._identity(wanted),
            parent_path=wanted.parent,
            parent_id=parent.link_id,
            parent_size=parent.size,
            relative_parent=relative_path(wanted.parent, path),
            identifier=NO_ID,
            metadata={},
            tracking={},
            snapshots={},
        )

    def _copy_of(self, wanted: _Wanted) -> tuple[Image, list[Layer]]:
        require(ntpath.isabs(wanted.source))
        source = self._image(wanted.source)
        require(wanted.size == 0 or wanted.size >= source.size)
        require(wanted.sector_size in (0, source.sector_size))
        chain = [(wanted.source, source), *self._chain(wanted.source, source)]
        layers = [Layer(self._host.content(path), image.size) for path, image in chain]
        size, sector_size = wanted.size or source.size, source.sector_size
        image = self._blank(dataclasses.replace(wanted, size=size, sector_size=sector_size))
        return image, layers

    def _identity(self, wanted: _Wanted) -> uuid.UUID:
        return wanted.disk_id if wanted.disk_id != NO_ID else self._new_id()
