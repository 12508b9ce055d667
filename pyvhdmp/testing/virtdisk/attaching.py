"""AttachVirtualDisk and what comes of it: drives, their paths, and the end of an attachment."""

from __future__ import annotations

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import ATTACH_VIRTUAL_DISK_PARAMETERS, ULONG_CELL
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, steps, structure
from pyvhdmp.testing.virtdisk.handles import Attachment, OpenImage
from pyvhdmp.testing.virtdisk.images import ISO

__all__ = ["Attaching", "drive_path"]

_ACCESS = enums.VIRTUAL_DISK_ACCESS
_FLAG = enums.ATTACH_VIRTUAL_DISK_FLAG
_VERSION = enums.ATTACH_VIRTUAL_DISK_VERSION


class Attaching(Functions):
    """Attach, detach, and tell which drives there are."""

    def AttachVirtualDisk(
        self,
        disk: int,
        security_descriptor: int,
        flags: int,
        provider_specific_flags: int,
        parameters: int,
        overlapped: int,
    ) -> int:
        """Attach an image."""
        opened = self._host.found(disk)
        self._require_memory("AttachVirtualDisk", security_descriptor, bool(security_descriptor))
        require(not flags & ~sum(_FLAG))
        attachment = Attachment(flags, 0)
        if parameters:
            asked = structure(ATTACH_VIRTUAL_DISK_PARAMETERS, parameters)
            require(asked.Version in (_VERSION.VERSION_1, _VERSION.VERSION_2))
            if asked.Version == _VERSION.VERSION_2 and flags & _FLAG.RESTRICTED_RANGE:
                _restrict(attachment, opened, asked)
        require(self._elevated, constants.ERROR_PRIVILEGE_NOT_HELD)
        if opened.image.device == ISO:
            require(bool(flags & _FLAG.READ_ONLY), constants.ERROR_WRITE_PROTECT)
        right = _ACCESS.ATTACH_RO if flags & _FLAG.READ_ONLY else _ACCESS.ATTACH_RW
        if not opened.allows(right) or (right == _ACCESS.ATTACH_RW and opened.read_only):
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        require(opened.attachment is None, constants.ERROR_VHD_INVALID_STATE)
        bottom = opened.chain[-1][1] if opened.chain else opened.image
        require(not bottom.is_differencing, constants.ERROR_VHD_INVALID_STATE)  # (inferred)
        return self._begin("AttachVirtualDisk", disk, overlapped, self._attach(opened, attachment))

    def _attach(self, opened: OpenImage, attachment: Attachment) -> Work:
        yield from steps(2)
        attachment.drive = 1 + max((other.drive for other in self._attachments()), default=0)
        opened.disk.attachments[opened.guid] = attachment

    def DetachVirtualDisk(self, disk: int, flags: int, provider_specific_flags: int) -> int:
        """Detach an image, whoever attached it."""
        opened = self._found(disk, _ACCESS.DETACH)
        require(not flags)
        attachment = opened.attachment
        require(attachment is not None, constants.ERROR_NOT_READY)
        attachments = opened.disk.attachments
        (guid,) = [guid for guid, other in attachments.items() if other is attachment]
        del attachments[guid]
        self._host.detached(disk)
        return constants.ERROR_SUCCESS

    def GetVirtualDiskPhysicalPath(self, disk: int, size_in_bytes: int, path: int) -> int:
        """Tell which drive an attached image is."""
        opened = self._found(disk)
        attachment = opened.attachment
        if attachment is None or attachment.is_raw:
            raise CallFailed(constants.ERROR_NOT_READY)
        return _put_text(drive_path(opened, attachment) + "\0", size_in_bytes, path)

    def GetAllAttachedVirtualDiskPhysicalPaths(self, size_in_bytes: int, paths: int) -> int:
        """Tell which drives are virtual disks, as a MULTI_SZ."""
        disks = {id(opened.disk): opened for opened in self._host.opened()}.values()
        drives = sorted(
            (attachment.drive, drive_path(opened, attachment))
            for opened in disks
            for attachment in opened.disk.attachments.values()
            if not attachment.is_raw
        )
        text = "".join(path + "\0" for _, path in drives) + "\0"
        return _put_text(text, size_in_bytes, paths)

    def _attachments(self) -> list[Attachment]:
        return [
            attachment
            for opened in self._host.opened()
            for attachment in opened.disk.attachments.values()
        ]


def drive_path(opened: OpenImage, attachment: Attachment) -> str:
    """Return the device that an attached disk is."""
    kind = "CDROM" if opened.image.device == ISO else "PhysicalDrive"
    return f"\\\\.\\{kind}{attachment.drive}"


def _restrict(
    attachment: Attachment, opened: OpenImage, asked: ATTACH_VIRTUAL_DISK_PARAMETERS
) -> None:
    """Attach no more than a range."""
    offset, length = asked.Version2.RestrictedOffset, asked.Version2.RestrictedLength
    image = opened.image
    require(not (offset % image.sector_size or length % image.sector_size))
    require(0 < length <= image.size - offset)
    attachment.offset, attachment.length = offset, length


def _put_text(text: str, size_in_bytes: int, address: int) -> int:
    """Write a text where there is room for it, and its length in bytes."""
    raw = text.encode("utf-16-le")
    room = structure(ULONG_CELL, size_in_bytes).Value
    put(size_in_bytes, ULONG_CELL(len(raw)))
    require(room >= len(raw), constants.ERROR_INSUFFICIENT_BUFFER)
    memory.write(address, raw)
    return constants.ERROR_SUCCESS
