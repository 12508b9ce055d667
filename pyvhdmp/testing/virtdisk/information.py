"""GetVirtualDiskInformation: what a disk is.

Rules:

1. An answer has the size of its structure, or more where a text follows; 122 says so, with
   the size that it takes.
2. A question that a format knows nothing of is answered with 87; one about the parent of a
   disk that has none, with ERROR_VHD_INVALID_TYPE.
"""

from __future__ import annotations

import zlib

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    GET_VIRTUAL_DISK_INFO,
    GUID,
    INFO_SIZE,
    MOST_RECENT_ID_AT,
    PARENT_LOCATION_AT,
    ULONG_CELL,
)
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import put, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.images import ISO, VHD
from pyvhdmp.testing.virtdisk.sizing import Sizing

__all__ = ["Information"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_GET = enums.GET_VIRTUAL_DISK_INFO_VERSION
_OF_A_CHILD = (_GET.PARENT_LOCATION, _GET.PARENT_IDENTIFIER, _GET.PARENT_TIMESTAMP)
_HOST_SECTOR_SIZES = 512, 4096


class Information(Sizing):
    """Answer questions."""

    def GetVirtualDiskInformation(self, disk: int, size: int, info: int, size_used: int) -> int:
        """Answer one question about an image."""
        opened = self._found(disk, _ACCESS.GET_INFO)
        room = structure(ULONG_CELL, size).Value
        require(room >= 4, constants.ERROR_INSUFFICIENT_BUFFER)
        answer = GET_VIRTUAL_DISK_INFO(Version=structure(ULONG_CELL, info).Value)
        at, text = self._text(answer.Version, opened)
        needed = max(INFO_SIZE, at + len(text))
        if room < needed:
            put(size, ULONG_CELL(needed))
            raise CallFailed(constants.ERROR_INSUFFICIENT_BUFFER)
        self._answer(answer, opened)
        raw = bytearray(bytes(answer).ljust(needed, b"\0"))
        raw[at : at + len(text)] = text
        memory.write(info, bytes(raw))
        if size_used:
            put(size_used, ULONG_CELL(needed))
        return constants.ERROR_SUCCESS

    def _text(self, question: int, opened: OpenImage) -> tuple[int, bytes]:
        """Return the text that belongs to an answer, and where in it."""
        image, texts, at = opened.image, [], 0
        if question in _OF_A_CHILD:
            require(image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
        if question == _GET.PARENT_LOCATION:
            at = PARENT_LOCATION_AT
            found = bool(opened.chain)
            texts = [opened.chain[0][0]] if found else [*image.parent_candidates, ""]
        elif question == _GET.CHANGE_TRACKING_STATE:
            at = MOST_RECENT_ID_AT
            tracker = opened.disk.tracker
            texts = [tracker.most_recent_id if tracker else ""]
        text = "".join(text + "\0" for text in texts)
        return at, text.encode("utf-16-le", "surrogatepass")

    def _answer(self, answer: GET_VIRTUAL_DISK_INFO, opened: OpenImage) -> None:
        image, question = opened.image, answer.Version
        if question == _GET.SIZE:
            self._answer_size(answer, opened)
        elif question == _GET.IDENTIFIER:
            answer.Identifier = GUID.of(image.link_id)
        elif question == _GET.PARENT_LOCATION:
            answer.ParentLocation.ParentResolved = bool(opened.chain)
        elif question == _GET.PARENT_IDENTIFIER:
            answer.ParentIdentifier = GUID.of(image.parent_id)
        elif question == _GET.PARENT_TIMESTAMP:
            # Of a parent that must not change any more, so it does not change either.
            answer.ParentTimestamp = zlib.crc32(image.parent_id.bytes)
        elif question == _GET.VIRTUAL_STORAGE_TYPE:
            answer.VirtualStorageType.DeviceId = image.device
            vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
            answer.VirtualStorageType.VendorId = vendor
        elif question == _GET.PROVIDER_SUBTYPE:
            answer.ProviderSubtype = image.subtype
        elif question == _GET.IS_4K_ALIGNED:
            answer.Is4kAligned = True  # as what Windows 8 and later create is
        elif question == _GET.PHYSICAL_DISK:
            require(opened.is_attached, constants.ERROR_NOT_READY)  # (inferred)
            disk = answer.PhysicalDisk
            disk.LogicalSectorSize, disk.PhysicalSectorSize = _HOST_SECTOR_SIZES
        elif question == _GET.VHD_PHYSICAL_SECTOR_SIZE:
            answer.VhdPhysicalSectorSize = image.physical_sector_size
        elif question == _GET.SMALLEST_SAFE_VIRTUAL_SIZE:
            answer.SmallestSafeVirtualSize = self._smallest_safe_size(opened)
        elif question == _GET.FRAGMENTATION:
            ranges = len(self._host.content(opened.path, opened).written(image.size))
            answer.FragmentationPercentage = 0 if image.is_fixed else 100 - 100 // max(1, ranges)
        elif question == _GET.IS_LOADED:
            answer.IsLoaded = bool(opened.disk.attachments)
        elif question == _GET.VIRTUAL_DISK_ID:
            require(image.device not in (VHD, ISO))
            answer.VirtualDiskId = GUID.of(image.disk_id)
        elif question == _GET.CHANGE_TRACKING_STATE:
            require(image.device not in (VHD, ISO), constants.ERROR_NOT_SUPPORTED)
            tracker = opened.disk.tracker
            answer.ChangeTrackingState.Enabled = tracker is not None
            answer.ChangeTrackingState.NewerChanges = bool(tracker and tracker.has_changes)
        else:
            require(False)

    def _answer_size(self, answer: GET_VIRTUAL_DISK_INFO, opened: OpenImage) -> None:
        image, size = opened.image, answer.Size
        size.VirtualSize, size.SectorSize = image.size, image.sector_size
        size.BlockSize = image.block_size
        if image.is_fixed:
            _, size.PhysicalSize = self._host.tail(opened.path)
        else:
            size.PhysicalSize = self._host.allocated(opened.path)
