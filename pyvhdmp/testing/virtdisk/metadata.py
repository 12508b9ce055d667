"""The metadata that programs keep in a VHDX: items of bytes, by an id.

Rules:

1. Every function wants a handle of version 2 or 3, and a format that has metadata; a VHD
   answers ERROR_NOT_SUPPORTED.
2. What is too large for the caller's memory is answered with 122 or 234, whichever the seed
   says, and with the size that it takes: both have been seen.
3. An item has at most 1 MiB, and a disk 1024 items, as the format has it. An item that is
   not there is ERROR_NOT_FOUND. (inferred)
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import GUID, ULONG_CELL
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.images import ISO, VHD

__all__ = ["Metadata"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_MOST_BYTES: Final = 1 << 20
_MOST_ITEMS: Final = 1024


class Metadata(Functions):
    """Keep metadata."""

    def EnumerateVirtualDiskMetadata(self, disk: int, count: int, items: int) -> int:
        """Tell the ids of all items. `count`: how many there is room for, and are."""
        opened = self._with_metadata(disk, _ACCESS.GET_INFO)
        ids = [uuid.UUID(name) for name in sorted(opened.image.metadata)]
        room = structure(ULONG_CELL, count).Value
        put(count, ULONG_CELL(len(ids)))
        self._require_room(room, len(ids))
        raw = b"".join(bytes(GUID.of(item)) for item in ids)
        self._require_memory("EnumerateVirtualDiskMetadata", items, len(raw))
        memory.write(items, raw)
        return constants.ERROR_SUCCESS

    def GetVirtualDiskMetadata(self, disk: int, item: int, size: int, data: int) -> int:
        """Tell what an item holds."""
        opened = self._with_metadata(disk, _ACCESS.GET_INFO)
        found = opened.image.metadata.get(_name(item))
        require(found is not None, constants.ERROR_NOT_FOUND)
        raw = bytes.fromhex(found or "")
        room = structure(ULONG_CELL, size).Value
        put(size, ULONG_CELL(len(raw)))
        self._require_room(room, len(raw))
        self._require_memory("GetVirtualDiskMetadata", data, len(raw))
        memory.write(data, raw)
        return constants.ERROR_SUCCESS

    def SetVirtualDiskMetadata(self, disk: int, item: int, size: int, data: int) -> int:
        """Set what an item holds."""
        opened = self._with_metadata(disk, _ACCESS.METAOPS)
        name, items = _name(item), dict(opened.image.metadata)
        require(size <= _MOST_BYTES)
        require(name in items or len(items) < _MOST_ITEMS, constants.ERROR_VHD_METADATA_FULL)
        self._require_memory("SetVirtualDiskMetadata", data, size)
        items[name] = memory.read(data, size).hex() if size else ""
        self._change(opened, dataclasses.replace(opened.image, metadata=items))
        return constants.ERROR_SUCCESS

    def DeleteVirtualDiskMetadata(self, disk: int, item: int) -> int:
        """Take an item away."""
        opened = self._with_metadata(disk, _ACCESS.METAOPS)
        name, items = _name(item), dict(opened.image.metadata)
        require(name in items, constants.ERROR_NOT_FOUND)
        del items[name]
        self._change(opened, dataclasses.replace(opened.image, metadata=items))
        return constants.ERROR_SUCCESS

    def _with_metadata(self, disk: int, right: int) -> OpenImage:
        opened = self._found_by_version_2(disk, right)
        require(opened.image.device not in (VHD, ISO), constants.ERROR_NOT_SUPPORTED)
        return opened

    def _require_room(self, room: int, needed: int) -> None:
        if room < needed:
            codes = constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA
            raise CallFailed(self._chance.choice(codes))


def _name(item: int) -> str:
    return str(structure(GUID, item).uuid())
