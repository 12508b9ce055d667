"""GetVirtualDiskInformation and SetVirtualDiskInformation: what a disk is."""

from __future__ import annotations

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    GET_VIRTUAL_DISK_INFO,
    GUID,
    INFO_SIZE,
    PARENT_LOCATION_AT,
    ULONG_CELL,
)
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.calls import put, require, structure
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.images import VHD, Image
from pyvhdmp.testing.virtdisk.sizing import Sizing

__all__ = ["Information"]

_GET = enums.GET_VIRTUAL_DISK_INFO_VERSION


class Information(Sizing):
    """Answer questions."""

    def GetVirtualDiskInformation(self, disk: int, size: int, info: int, size_used: int) -> int:
        """Answer one question about an image."""
        opened = self._found(disk)
        image, room = opened.image, structure(ULONG_CELL, size).Value
        question = int.from_bytes(memory.read(info, 4), "little")
        needed = INFO_SIZE
        text = b""
        if question == _GET.PARENT_LOCATION:
            require(image.is_differencing, constants.ERROR_VHD_INVALID_TYPE)
            found = bool(opened.chain)
            paths = [opened.chain[0][0]] if found else image.parent_candidates
            text = ("".join(path + "\0" for path in paths) + "\0").encode(
                "utf-16-le", "surrogatepass"
            )
            needed = max(needed, PARENT_LOCATION_AT + len(text))
        if room < needed:
            put(size, ULONG_CELL(needed))
            raise CallFailed(constants.ERROR_INSUFFICIENT_BUFFER)
        answer = GET_VIRTUAL_DISK_INFO(Version=question)
        self._answer(answer, opened, image)
        raw = bytearray(bytes(answer).ljust(needed, b"\0"))
        raw[PARENT_LOCATION_AT : PARENT_LOCATION_AT + len(text)] = text
        memory.write(info, bytes(raw))
        if size_used:
            put(size_used, ULONG_CELL(needed))
        return constants.ERROR_SUCCESS

    def _answer(self, answer: GET_VIRTUAL_DISK_INFO, opened: OpenImage, image: Image) -> None:
        question = answer.Version
        if question == _GET.SIZE:
            answer.Size.VirtualSize = image.size
            fixed = image.is_fixed
            answer.Size.PhysicalSize = (
                self._host.tail(opened.path)[1] if fixed else self._host.allocated(opened.path)
            )
            answer.Size.BlockSize = image.block_size
            answer.Size.SectorSize = image.sector_size
        elif question == _GET.IDENTIFIER:
            answer.Identifier = GUID.of(image.disk_id)
        elif question == _GET.PARENT_LOCATION:
            answer.ParentLocation.ParentResolved = bool(opened.chain)
        elif question == _GET.VIRTUAL_STORAGE_TYPE:
            answer.VirtualStorageType.DeviceId = image.device
            vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
            answer.VirtualStorageType.VendorId = vendor
        elif question == _GET.PROVIDER_SUBTYPE:
            answer.ProviderSubtype = image.subtype
        elif question == _GET.VHD_PHYSICAL_SECTOR_SIZE:
            answer.VhdPhysicalSectorSize = image.physical_sector_size
        elif question == _GET.SMALLEST_SAFE_VIRTUAL_SIZE:
            answer.SmallestSafeVirtualSize = self._smallest_safe_size(opened)
        elif question == _GET.VIRTUAL_DISK_ID and image.device != VHD:
            answer.VirtualDiskId = GUID.of(image.disk_id)
        else:
            require(False)
