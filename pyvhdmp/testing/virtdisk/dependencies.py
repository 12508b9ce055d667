"""GetStorageDependencyInformation: which files a drive is made of.

Rules:

1. It is asked about a drive, by a handle to its device, with DISK_HANDLE. There is an entry
   for the file of the disk and, with HOST_VOLUMES, one for each of its parents. The one
   volume that there is lies on no virtual disk, and neither do its files.
2. In entries of version 2 the texts are addresses of what lies behind the entries, in the
   caller's memory: UTF-16-LE on every system.
3. 122 says that it takes more memory, and SizeUsed how much.
"""

from __future__ import annotations

import ctypes
import ntpath
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    GUID,
    STORAGE_DEPENDENCY_INFO,
    STORAGE_DEPENDENCY_INFO_TYPE_1,
    STORAGE_DEPENDENCY_INFO_TYPE_2,
    ULONG_CELL,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.virtdisk.attaching import drive_path
from pyvhdmp.testing.virtdisk.calls import Functions, put, require, structure
from pyvhdmp.testing.virtdisk.handles import Attachment, OpenImage
from pyvhdmp.testing.virtdisk.images import Image

__all__ = ["Dependencies"]

_ATTACH = enums.ATTACH_VIRTUAL_DISK_FLAG
_DEPENDENT = enums.DEPENDENT_DISK_FLAG
_FLAG = enums.GET_STORAGE_DEPENDENCY_FLAG
_VERSION = enums.STORAGE_DEPENDENCY_INFO_VERSION
_VOLUME: Final = "\\\\?\\Volume{5eed5eed-0000-0000-0000-100000000000}\\"


class Dependencies(Functions):
    """Tell what depends on what."""

    def GetStorageDependencyInformation(
        self, object: int, flags: int, size: int, info: int, size_used: int
    ) -> int:
        """Tell which files a drive is made of."""
        opened = self._host.drive(object)
        require(bool(flags & _FLAG.DISK_HANDLE) and not flags & ~sum(_FLAG))
        require(size >= ctypes.sizeof(STORAGE_DEPENDENCY_INFO) and bool(info))
        version = structure(STORAGE_DEPENDENCY_INFO, info).Version
        require(version in (_VERSION.VERSION_1, _VERSION.VERSION_2))
        attachment = opened.attachment
        if attachment is None:
            raise CallFailed(constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK)
        files = [(opened.path, opened.image)]
        if flags & _FLAG.HOST_VOLUMES:
            files += opened.chain
        raw = _packed(version, info, opened, attachment, files)
        if size_used:
            put(size_used, ULONG_CELL(len(raw)))
        require(size >= len(raw), constants.ERROR_INSUFFICIENT_BUFFER)
        self._require_memory("GetStorageDependencyInformation", info, len(raw))
        memory.write(info, raw)
        return constants.ERROR_SUCCESS


def _packed(
    version: int,
    address: int,
    opened: OpenImage,
    attachment: Attachment,
    files: list[tuple[str, Image]],
) -> bytes:
    """Return the answer as it lies at an address."""
    kind = (
        STORAGE_DEPENDENCY_INFO_TYPE_1
        if version == _VERSION.VERSION_1
        else STORAGE_DEPENDENCY_INFO_TYPE_2
    )
    head = bytes(STORAGE_DEPENDENCY_INFO(version, len(files)))
    texts_at = len(head) + len(files) * ctypes.sizeof(kind)
    entries, texts = b"", b""

    def placed(text: str) -> int:
        nonlocal texts
        at = address + texts_at + len(texts)
        texts += (text + "\0").encode("utf-16-le", "surrogatepass")
        return at

    for level, (path, image) in enumerate(files):
        common = bytes(_entry(attachment, image, level))
        if kind is STORAGE_DEPENDENCY_INFO_TYPE_1:
            entries += common
            continue
        relative = ntpath.splitdrive(path.removeprefix("\\\\?\\"))[1]
        pointers = [
            placed(text) for text in (drive_path(opened, attachment), _VOLUME, _VOLUME, relative)
        ]
        width = ctypes.sizeof(ctypes.c_void_p)
        entries += common + level.to_bytes(4, "little")
        entries += b"".join(pointer.to_bytes(width, "little") for pointer in pointers)
    return head + entries + texts


def _entry(attachment: Attachment, image: Image, level: int) -> STORAGE_DEPENDENCY_INFO_TYPE_1:
    flags = _DEPENDENT.NONE
    if image.is_fixed:
        flags |= _DEPENDENT.FULLY_ALLOCATED
    if not attachment.is_writable:
        flags |= _DEPENDENT.READ_ONLY
    if attachment.flags & _ATTACH.NO_DRIVE_LETTER:
        flags |= _DEPENDENT.NO_DRIVE_LETTER
    if attachment.is_raw:
        flags |= _DEPENDENT.NO_HOST_DISK
    if attachment.is_permanent:
        flags |= _DEPENDENT.PERMANENT_LIFETIME
    if level:
        flags |= _DEPENDENT.PARENT
    vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
    return STORAGE_DEPENDENCY_INFO_TYPE_1(flags, 0, VIRTUAL_STORAGE_TYPE(image.device, vendor))
