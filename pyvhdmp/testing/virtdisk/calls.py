"""What all functions of the simulated virtdisk.dll share: arguments, answers, handles."""

from __future__ import annotations

import ctypes
import ntpath
import random
import uuid
from typing import TypeVar

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import VIRTUAL_STORAGE_TYPE
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.host import Host, Layer
from pyvhdmp.testing.virtdisk.images import ISO, TRAILER_SIZE, Image

__all__ = ["Functions", "device_of", "put", "relative_path", "require", "steps", "structure"]

S = TypeVar("S", bound="ctypes.Structure")


def require(condition: bool, code: int = constants.ERROR_INVALID_PARAMETER) -> None:
    """Fail the call with a code unless something is so."""
    if not condition:
        raise CallFailed(code)


def structure(kind: type[S], address: int) -> S:
    """Return a structure of the caller's, for as long as the call takes."""
    require(address != 0)
    return kind.from_address(address)


def put(address: int, value: ctypes.Structure) -> None:
    """Write a structure to the caller's memory."""
    memory.write(address, bytes(value))


def device_of(asked: VIRTUAL_STORAGE_TYPE) -> int:
    """Return the format that a caller names."""
    require(
        asked.VendorId.uuid()
        in (
            enums.VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN,
            enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT,
        ),
        constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND,
    )
    return asked.DeviceId


def steps(count: int) -> Work:
    """Do nothing, in so many steps: a work begins with it whose doing is its end."""
    for number in range(count + 1):
        yield number, count


def relative_path(path: str, from_file: str) -> str:
    """Return where a file is, seen from another's folder; empty if that is on another drive."""
    plain, folder = (name.removeprefix("\\\\?\\") for name in (path, ntpath.dirname(from_file)))
    if ntpath.splitdrive(plain)[0].lower() != ntpath.splitdrive(folder)[0].lower():
        return ""
    relative = ntpath.relpath(plain, folder)
    return relative if relative.startswith("..") else ".\\" + relative


class Functions:
    """The functions of one subject, over a host. `elevated`: whether the process may attach."""

    def __init__(self, host: Host, chance: random.Random, *, elevated: bool) -> None:
        self._host = host
        self._chance = chance
        self._elevated = elevated

    def _found(self, handle: int, right: int = enums.VIRTUAL_DISK_ACCESS.NONE) -> OpenImage:
        """Return what a handle stands for, if it was opened with a right."""
        opened = self._host.found(handle)
        require(opened.allows(right), constants.ERROR_ACCESS_DENIED)
        return opened

    def _found_by_version_2(self, handle: int, right: int) -> OpenImage:
        """Return what a handle stands for that must have been opened with version 2 or 3."""
        opened = self._found(handle, right)
        require(opened.version != enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1)
        return opened

    def _image(self, path: str, device: int = 0) -> Image:
        """Return what a file is."""
        tail, size = self._host.tail(path)
        if device == ISO or (not device and ntpath.splitext(path)[1].lower() == ".iso"):
            return Image.iso(size)
        length = Image.trailer_size(tail)
        if length > TRAILER_SIZE:
            tail, size = self._host.tail(path, length)
        return Image.parse(tail, size)

    def _layers(self, opened: OpenImage) -> list[Layer]:
        """Return what a disk reads from, its own file first."""
        files = [(opened.path, opened.image), *opened.chain]
        return [Layer(self._host.content(path, opened), image.size) for path, image in files]

    def _change(self, opened: OpenImage, image: Image) -> None:
        """Have a disk be something else from now on, for everybody who has it open."""
        disk = opened.disk
        self._host.rewrite(disk.path, disk.image, image, opened)
        disk.image = image

    def _begin(self, function: str, handle: int, overlapped: int, work: Work) -> int:
        """Begin a long operation on a disk; one at a time."""
        disk = self._host.found(handle).disk
        require(not disk.is_busy, constants.ERROR_VHD_INVALID_STATE)  # (inferred)

        def alone() -> Work:
            disk.is_busy = True
            try:
                yield from work
            finally:
                disk.is_busy = False

        self._host.begin(function, handle, overlapped, alone())
        return constants.ERROR_SUCCESS

    def _require_memory(self, function: str, address: int, length: int) -> None:
        """Fail the call, and report the caller, unless there is memory where it says so."""
        if length and not (address and memory.is_mapped(address, length)):
            self._host.violation(f"{function} was given {address:#x}, where there is no memory")
            raise CallFailed(constants.ERROR_NOACCESS)

    def _new_id(self) -> uuid.UUID:
        """Return an identity that the seed has in store."""
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)
