"""ExpandVirtualDisk and ResizeVirtualDisk, and how small a disk can safely be.

Rules:

1. A new size keeps to the limits of the format, and is a multiple of the sector size.
2. ExpandVirtualDisk only grows a disk, and wants it detached. ResizeVirtualDisk wants a
   handle of version 2, goes both ways, and minds no attachment: requests beyond a new end
   fail from then on.
3. What is past the last partition can safely go. Without a partition table nothing can
   that was ever written, to the next whole MiB. Going further takes ALLOW_UNSAFE.
4. A VHD becomes no smaller: ERROR_INVALID_PARAMETER. (inferred; that it cannot is documented,
   the code is not)
5. A differencing disk has a size of its own; what it has beyond its parent is zeros, and
   so is what it gets back after it was smaller.
"""

from __future__ import annotations

import dataclasses

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    EXPAND_VIRTUAL_DISK_PARAMETERS,
    RESIZE_VIRTUAL_DISK_PARAMETERS,
)
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.calls import Functions, require, steps, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.host import read_through
from pyvhdmp.testing.virtdisk.images import LIMITS, VHD

__all__ = ["Sizing"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_FLAG = enums.RESIZE_VIRTUAL_DISK_FLAG
_MIN_SIZE = 3 << 20
_MIB = 1 << 20
_PROTECTIVE = 0xEE
"""The type of the partition that a GPT hides behind from those who know no GPT."""


class Sizing(Functions):
    """Make disks larger and smaller."""

    def ExpandVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Make a disk larger."""
        opened = self._found(disk, _ACCESS.METAOPS)
        asked = structure(EXPAND_VIRTUAL_DISK_PARAMETERS, parameters)
        require(asked.Version == enums.EXPAND_VIRTUAL_DISK_VERSION.VERSION_1)
        require(not flags & ~sum(enums.EXPAND_VIRTUAL_DISK_FLAG))
        require(not opened.disk.attachments, constants.ERROR_VHD_INVALID_STATE)
        require(not opened.image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
        size = asked.Version1.NewSize
        require(size > opened.image.size)
        return self._begin("ExpandVirtualDisk", disk, overlapped, self._resize(opened, size))

    def ResizeVirtualDisk(self, disk: int, flags: int, parameters: int, overlapped: int) -> int:
        """Make a disk larger or smaller, attached or not."""
        opened = self._found_by_version_2(disk, _ACCESS.METAOPS)
        asked = structure(RESIZE_VIRTUAL_DISK_PARAMETERS, parameters)
        require(asked.Version == enums.RESIZE_VIRTUAL_DISK_VERSION.VERSION_1)
        require(not flags & ~sum(_FLAG))
        size = asked.Version1.NewSize
        if is_smallest := bool(flags & _FLAG.RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE):
            require(size == 0)
            size = self._smallest_safe_size(opened)
        require(opened.image.device != VHD or size >= opened.image.size)
        if is_smallest:
            require(
                size < opened.image.size,
                constants.ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE,
            )
        elif size < opened.image.size and not flags & _FLAG.ALLOW_UNSAFE_VIRTUAL_SIZE:
            require(
                size >= self._smallest_safe_size(opened),
                constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA,
            )
        return self._begin("ResizeVirtualDisk", disk, overlapped, self._resize(opened, size))

    def _resize(self, opened: OpenImage, size: int) -> Work:
        image = opened.image
        require(LIMITS[image.device].allows(size, image.sector_size))
        yield from steps(3)
        self._change(opened, dataclasses.replace(opened.image, size=size))

    def _smallest_safe_size(self, opened: OpenImage) -> int:
        """Return the least size that cuts off nothing that anybody may want."""
        layers, size = self._layers(opened), opened.image.size
        end = _end_of_partitions(read_through(layers, 0, 2 * _MIB), opened.image.sector_size)
        if end is None:
            written = [content.written(min(size, end)) for content, end in layers]
            ends = [ranges[-1][0] + ranges[-1][1] for ranges in written if ranges]
            end = -(-max(ends, default=0) // _MIB) * _MIB
        return min(size, max(_MIN_SIZE, end))


def _end_of_partitions(start: bytes, sector_size: int) -> int | None:
    """Return where the last partition ends, with what has to follow it; None without a table."""
    if start[510:512] != b"\x55\xaa":
        return None
    entries = [start[at : at + 16] for at in range(446, 510, 16)]
    if any(entry[4] == _PROTECTIVE for entry in entries):
        return _end_of_gpt(start, sector_size)
    ends = [
        int.from_bytes(entry[8:12], "little") + int.from_bytes(entry[12:16], "little")
        for entry in entries
        if entry[4]
    ]
    return max(ends) * sector_size if ends else None


def _end_of_gpt(start: bytes, sector_size: int) -> int | None:
    header = start[sector_size : 2 * sector_size]
    if not header.startswith(b"EFI PART"):
        return None
    first = int.from_bytes(header[72:80], "little") * sector_size
    count, size = (int.from_bytes(header[at : at + 4], "little") for at in (80, 84))
    entries = [start[at : at + size] for at in range(first, first + count * size, size or 1)]
    ends = [int.from_bytes(entry[40:48], "little") for entry in entries if any(entry[:16])]
    if not ends:
        return None
    table = -(-count * size // sector_size) + 1  # and its copy at the end of the disk
    return (max(ends) + 1 + table) * sector_size
