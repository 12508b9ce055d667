"""The functions of the simulated virtdisk.dll: rules of VHDMP over images of its own.

Rules:

1. An image is its payload from byte 0 on, and then what tells what it is: a fixed .vhd
   has its true footer, everything else 4096 bytes of the simulation's own. So a fixed
   .vhd is one to everybody, and a .vhdx only to this simulation.
2. Where images lie, and what a handle to one does, is the business of a `Host`.
3. Each function returns a code. Structures are read and written by address.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import ntpath
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk_structures import (
    ATTACH_VIRTUAL_DISK_PARAMETERS,
    CREATE_VIRTUAL_DISK_PARAMETERS,
    GET_VIRTUAL_DISK_INFO,
    GUID,
    HANDLE_CELL,
    INFO_SIZE,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    PARENT_LOCATION_AT,
    ULONG_CELL,
    VIRTUAL_STORAGE_TYPE,
)
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.vhd import FOOTER_SIZE, Footer

__all__ = ["TRAILER_SIZE", "Host", "Image", "OpenImage", "SimulatedVirtdisk"]

TRAILER_SIZE: Final = 4096
_MAGIC: Final = b"simulated virtual disk\n"
_MIN_SIZE: Final = 3 << 20
_MAX_SIZE: Final = {
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD: 2040 << 30,
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX: 64 << 40,
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET: 64 << 40,
}
_BLOCK_SIZES: Final = {
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD: (512 << 10, 2 << 20),
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX: tuple(1 << bit for bit in range(20, 29)),
    enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET: tuple(1 << bit for bit in range(20, 29)),
}
_OPEN_FLAGS: Final = 0x3F
_NO_ID: Final = uuid.UUID(int=0)

S = TypeVar("S", bound="ctypes.Structure")


@dataclass(frozen=True)
class Image:
    """What an image file is. `parent`: the path and the identity of a differencing one's."""

    device: int
    subtype: int
    size: int
    sector_size: int
    physical_sector_size: int
    block_size: int
    disk_id: uuid.UUID
    parent_path: str = ""
    parent_id: uuid.UUID = _NO_ID

    @classmethod
    def parse(cls, tail: bytes, file_size: int) -> Image:
        """Return what the end of a file says that it is. Raises `CallFailed`."""
        if tail[-TRAILER_SIZE:].startswith(_MAGIC) and len(tail) >= TRAILER_SIZE:
            text = tail[-TRAILER_SIZE:].removeprefix(_MAGIC).rstrip(b"\0")
            values = json.loads(text)
            for name in ("disk_id", "parent_id"):
                values[name] = uuid.UUID(values[name])
            return cls(**values)
        try:
            footer = Footer.parse(tail[-FOOTER_SIZE:], file_size=file_size)
        except InvalidInputError:
            raise CallFailed(constants.ERROR_FILE_CORRUPT) from None
        return cls(
            device=enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD,
            subtype=enums.PROVIDER_SUBTYPE_FIXED,
            size=footer.size,
            sector_size=512,
            physical_sector_size=512,
            block_size=0,
            disk_id=footer.disk_id,
        )

    def tail(self) -> bytes:
        """Return what follows the payload."""
        if (
            self.device == enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
            and self.subtype == enums.PROVIDER_SUBTYPE_FIXED
        ):
            return Footer(self.size, disk_id=self.disk_id).pack()
        text = json.dumps(dataclasses.asdict(self), default=str).encode()
        return (_MAGIC + text).ljust(TRAILER_SIZE, b"\0")


@dataclass(eq=False)
class OpenImage:
    """An image that was opened, and whether this handle has attached it.

    `chain`: the path and image of its parents, nearest first.
    """

    path: str
    image: Image
    read_only: bool
    info_only: bool
    cached: bool
    chain: Sequence[tuple[str, Image]] = ()
    attach_flags: int | None = None
    drive: int = 0

    @property
    def access(self) -> int:
        """The rights to its file."""
        if self.info_only:
            return 0
        return constants.GENERIC_READ | (0 if self.read_only else constants.GENERIC_WRITE)

    @property
    def share_mode(self) -> int:
        """What others may do with its file meanwhile: all of it if nothing is done here."""
        return 7 if self.info_only else constants.FILE_SHARE_READ

    @property
    def flags(self) -> int:
        """How its file is opened."""
        buffering = 0 if self.cached else constants.FILE_FLAG_NO_BUFFERING
        return constants.FILE_FLAG_OVERLAPPED | buffering

    @property
    def is_attached(self) -> bool:
        """Whether it is attached through this handle."""
        return self.attach_flags is not None

    @property
    def is_writable(self) -> bool:
        """Whether it takes writes."""
        flags = self.attach_flags
        return flags is not None and not flags & enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY


class Host(Protocol):
    """Where images lie. Each member raises `CallFailed`."""

    def tail(self, path: str) -> tuple[bytes, int]:
        """Return the last bytes of a file, up to `TRAILER_SIZE`, and its size."""

    def allocated(self, path: str) -> int:
        """Return the bytes that a file takes."""

    def create(self, path: str, image: Image) -> None:
        """Make a file of zeros with the image's tail."""

    def open(self, opened: OpenImage) -> int:
        """Return a handle that reads and writes the payload, while it is attached."""

    def found(self, handle: int) -> OpenImage:
        """Return what a handle stands for."""

    def detached(self, handle: int) -> None:
        """The disk is no longer attached: what is in flight fails."""

    def opened(self) -> list[OpenImage]:
        """Return what is open."""


class SimulatedVirtdisk:
    """virtdisk.dll over a host. `elevated`: whether the process may attach disks."""

    def __init__(self, host: Host, chance: random.Random, *, elevated: bool) -> None:
        self._host = host
        self._chance = chance
        self._elevated = elevated

    # -- Opening and creating -----------------------------------------------------

    def OpenVirtualDisk(
        self,
        storage_type: int,
        path: str,
        access_mask: int,
        flags: int,
        parameters: int,
        handle: int,
    ) -> int:
        """Open an image."""
        device = self._device(storage_type)
        asked = _structure(OPEN_VIRTUAL_DISK_PARAMETERS, parameters) if parameters else None
        version = asked.Version if asked is not None else enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1
        read_only = info_only = False
        if version in (
            enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_2,
            enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_3,
        ):
            assert asked is not None
            _require(access_mask == enums.VIRTUAL_DISK_ACCESS.NONE)
            read_only = bool(asked.Version2.ReadOnly)
            info_only = bool(asked.Version2.GetInfoOnly)
        else:
            _require(version == enums.OPEN_VIRTUAL_DISK_VERSION.VERSION_1 and access_mask != 0)
        _require(not flags & ~_OPEN_FLAGS and ntpath.isabs(path))
        image = self._image(path)
        if device not in (enums.VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN, image.device):
            raise CallFailed(constants.ERROR_FILE_CORRUPT)
        no_parents = bool(flags & enums.OPEN_VIRTUAL_DISK_FLAG.NO_PARENTS)
        opened = OpenImage(
            path,
            image,
            read_only,
            info_only,
            bool(flags & enums.OPEN_VIRTUAL_DISK_FLAG.CACHED_IO),
            [] if no_parents else self._chain(image),
        )
        _put(handle, HANDLE_CELL(self._host.open(opened)))
        return constants.ERROR_SUCCESS

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
        device = self._device(storage_type)
        asked = _structure(CREATE_VIRTUAL_DISK_PARAMETERS, parameters)
        _require(
            device in _MAX_SIZE
            and asked.Version == enums.CREATE_VIRTUAL_DISK_VERSION.VERSION_2
            and access_mask == enums.VIRTUAL_DISK_ACCESS.NONE
            and ntpath.isabs(path)
        )
        if overlapped or asked.Version2.SourcePath:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        wanted = asked.Version2
        disk_id = wanted.UniqueId.uuid()
        if disk_id == _NO_ID:
            disk_id = uuid.UUID(int=self._chance.getrandbits(128), version=4)
        if wanted.ParentPath:
            image = self._child(device, wanted.ParentPath, wanted.MaximumSize, disk_id)
        else:
            image = self._blank(
                device,
                wanted.MaximumSize,
                wanted.SectorSizeInBytes or 512,
                wanted.PhysicalSectorSizeInBytes,
                wanted.BlockSizeInBytes,
                disk_id,
                fixed=bool(flags & enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION),
            )
        self._host.create(path, image)
        opened = OpenImage(path, image, False, False, False, self._chain(image))
        _put(handle, HANDLE_CELL(self._host.open(opened)))
        return constants.ERROR_SUCCESS

    def _blank(
        self,
        device: int,
        size: int,
        sector_size: int,
        physical_sector_size: int,
        block_size: int,
        disk_id: uuid.UUID,
        *,
        fixed: bool,
    ) -> Image:
        is_vhd = device == enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
        _require(sector_size in ((512,) if is_vhd else (512, 4096)))
        _require(_MIN_SIZE <= size <= _MAX_SIZE[device] and size % sector_size == 0)
        _require(block_size in (0, *_BLOCK_SIZES[device]))
        return Image(
            device=device,
            subtype=enums.PROVIDER_SUBTYPE_FIXED if fixed else enums.PROVIDER_SUBTYPE_DYNAMIC,
            size=size,
            sector_size=sector_size,
            physical_sector_size=physical_sector_size or (512 if is_vhd else 4096),
            block_size=0 if fixed else block_size or (2 << 20 if is_vhd else 32 << 20),
            disk_id=disk_id,
        )

    def _child(self, device: int, parent_path: str, size: int, disk_id: uuid.UUID) -> Image:
        _require(size == 0 and ntpath.isabs(parent_path))
        parent = self._image(parent_path)
        _require(parent.device == device)
        return dataclasses.replace(
            parent,
            subtype=enums.PROVIDER_SUBTYPE_DIFFERENCING,
            block_size=2 << 20,
            disk_id=disk_id,
            parent_path=parent_path,
            parent_id=parent.disk_id,
        )

    def _image(self, path: str) -> Image:
        return Image.parse(*self._host.tail(path))

    def _chain(self, image: Image) -> list[tuple[str, Image]]:
        """Return the parents of an image, nearest first."""
        chain = []
        while image.subtype == enums.PROVIDER_SUBTYPE_DIFFERENCING:
            try:
                parent = self._image(image.parent_path)
            except CallFailed as failure:
                missing = (constants.ERROR_FILE_NOT_FOUND, constants.ERROR_PATH_NOT_FOUND)
                if failure.code in missing:
                    raise CallFailed(constants.ERROR_VHD_PARENT_VHD_NOT_FOUND) from None
                raise
            if parent.disk_id != image.parent_id:
                raise CallFailed(constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH)
            chain.append((image.parent_path, parent))
            image = parent
        return chain

    def _device(self, storage_type: int) -> int:
        asked = _structure(VIRTUAL_STORAGE_TYPE, storage_type)
        vendor = asked.VendorId.uuid()
        if vendor not in (
            enums.VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN,
            enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT,
        ):
            raise CallFailed(constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND)
        return asked.DeviceId

    # -- Attaching ----------------------------------------------------------------

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
        if parameters:
            version = _structure(ATTACH_VIRTUAL_DISK_PARAMETERS, parameters).Version
            _require(
                version
                in (
                    enums.ATTACH_VIRTUAL_DISK_VERSION.VERSION_1,
                    enums.ATTACH_VIRTUAL_DISK_VERSION.VERSION_2,
                )
            )
        if not self._elevated:
            raise CallFailed(constants.ERROR_PRIVILEGE_NOT_HELD)
        if overlapped or flags & enums.ATTACH_VIRTUAL_DISK_FLAG.PERMANENT_LIFETIME:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        read_only = bool(flags & enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY)
        if opened.info_only or (opened.read_only and not read_only):
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        if opened.is_attached:
            raise CallFailed(constants.ERROR_VHD_INVALID_STATE)
        opened.attach_flags = flags
        opened.drive = 1 + max((other.drive for other in self._host.opened()), default=0)
        return constants.ERROR_SUCCESS

    def DetachVirtualDisk(self, disk: int, flags: int, provider_specific_flags: int) -> int:
        """Detach an image."""
        opened = self._host.found(disk)
        if not opened.is_attached:
            raise CallFailed(constants.ERROR_NOT_READY)
        opened.attach_flags, opened.drive = None, 0
        self._host.detached(disk)
        return constants.ERROR_SUCCESS

    # -- Querying -----------------------------------------------------------------

    def GetVirtualDiskInformation(self, disk: int, size: int, info: int, size_used: int) -> int:
        """Answer one question about an image."""
        opened = self._host.found(disk)
        image, room = opened.image, _structure(ULONG_CELL, size).Value
        question = int.from_bytes(memory.read(info, 4), "little")
        needed = INFO_SIZE
        text = b""
        if question == enums.GET_VIRTUAL_DISK_INFO_VERSION.PARENT_LOCATION:
            if image.subtype != enums.PROVIDER_SUBTYPE_DIFFERENCING:
                raise CallFailed(constants.ERROR_VHD_INVALID_TYPE)
            text = (image.parent_path + "\0\0").encode("utf-16-le", "surrogatepass")
            needed = max(needed, PARENT_LOCATION_AT + len(text))
        if room < needed:
            _put(size, ULONG_CELL(needed))
            raise CallFailed(constants.ERROR_INSUFFICIENT_BUFFER)
        answer = GET_VIRTUAL_DISK_INFO(Version=question)
        self._answer(answer, opened, image)
        raw = bytearray(bytes(answer).ljust(needed, b"\0"))
        raw[PARENT_LOCATION_AT : PARENT_LOCATION_AT + len(text)] = text
        memory.write(info, bytes(raw))
        if size_used:
            _put(size_used, ULONG_CELL(needed))
        return constants.ERROR_SUCCESS

    def _answer(self, answer: GET_VIRTUAL_DISK_INFO, opened: OpenImage, image: Image) -> None:
        is_vhd = image.device == enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
        question = answer.Version
        if question == enums.GET_VIRTUAL_DISK_INFO_VERSION.SIZE:
            answer.Size.VirtualSize = image.size
            answer.Size.PhysicalSize = self._host.allocated(opened.path)
            answer.Size.BlockSize = image.block_size
            answer.Size.SectorSize = image.sector_size
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.IDENTIFIER:
            answer.Identifier = GUID.of(image.disk_id)
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.PARENT_LOCATION:
            answer.ParentLocation.ParentResolved = bool(opened.chain)
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.VIRTUAL_STORAGE_TYPE:
            answer.VirtualStorageType.DeviceId = image.device
            vendor = GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
            answer.VirtualStorageType.VendorId = vendor
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.PROVIDER_SUBTYPE:
            answer.ProviderSubtype = image.subtype
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.VHD_PHYSICAL_SECTOR_SIZE:
            answer.VhdPhysicalSectorSize = image.physical_sector_size
        elif question == enums.GET_VIRTUAL_DISK_INFO_VERSION.VIRTUAL_DISK_ID and not is_vhd:
            answer.VirtualDiskId = GUID.of(image.disk_id)
        else:
            _require(False)

    def GetVirtualDiskPhysicalPath(self, disk: int, size_in_bytes: int, path: int) -> int:
        """Tell which drive an attached image is."""
        opened = self._host.found(disk)
        flags = opened.attach_flags
        if flags is None or flags & enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST:
            raise CallFailed(constants.ERROR_NOT_READY)
        raw = f"\\\\.\\PhysicalDrive{opened.drive}\0".encode("utf-16-le")
        room = _structure(ULONG_CELL, size_in_bytes).Value
        _put(size_in_bytes, ULONG_CELL(len(raw)))
        if room < len(raw):
            raise CallFailed(constants.ERROR_INSUFFICIENT_BUFFER)
        memory.write(path, raw)
        return constants.ERROR_SUCCESS


def _require(condition: bool) -> None:
    if not condition:
        raise CallFailed(constants.ERROR_INVALID_PARAMETER)


def _structure(kind: type[S], address: int) -> S:
    """Return a structure of the caller's, for as long as the call takes."""
    _require(address != 0)
    return kind.from_address(address)


def _put(address: int, value: ctypes.Structure) -> None:
    memory.write(address, bytes(value))
