"""Image files: what their end says that they are, and what each format can hold.

Rules:

1. An image is its payload from byte 0 on, and then what tells what it is: a fixed .vhd
   has its true footer, an .iso nothing, everything else a trailer of the simulation's own.
   So a fixed .vhd is one to everybody, and a .vhdx only to this simulation.
2. A trailer is so many times `TRAILER_SIZE` bytes as it takes. Its last 32 bytes tell its
   length, so that it is found from the end.
3. An `Image` does not change; one that is different takes its place.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.vhd import FOOTER_SIZE, Footer

__all__ = ["ISO", "LIMITS", "NO_ID", "TRAILER_SIZE", "VHD", "VHDSET", "VHDX", "Image", "Limits"]

ISO: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_ISO
VHD: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
VHDX: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX
VHDSET: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET
NO_ID: Final = uuid.UUID(int=0)

TRAILER_SIZE: Final = 4096
_MAGIC: Final = b"simulated virtual disk\n"
_END: Final = struct.Struct("<24sQ")
_END_MAGIC: Final = b"end of a virtual disk\n\0\0"
_IDS: Final = ("disk_id", "parent_id", "identifier")
_ISO_SECTOR: Final = 2048


class Limits(NamedTuple):
    """What a format can hold. `block_size`, `physical_sector_size`: of who asks for none."""

    size: int
    sector_sizes: tuple[int, ...]
    block_sizes: tuple[int, ...]
    block_size: int
    child_block_size: int
    physical_sector_size: int

    def allows(self, size: int, sector_size: int) -> bool:
        """Whether a disk can have this size."""
        return 3 << 20 <= size <= self.size and size % sector_size == 0


_VHDX_LIMITS: Final = Limits(
    size=64 << 40,
    sector_sizes=(512, 4096),
    block_sizes=tuple(1 << bit for bit in range(20, 29)),
    block_size=32 << 20,
    child_block_size=2 << 20,
    physical_sector_size=4096,
)
LIMITS: Final = {
    VHD: Limits(
        size=2040 << 30,
        sector_sizes=(512,),
        block_sizes=(512 << 10, 2 << 20),
        block_size=2 << 20,
        child_block_size=2 << 20,
        physical_sector_size=512,
    ),
    VHDX: _VHDX_LIMITS,
    VHDSET: _VHDX_LIMITS,
}


@dataclass(frozen=True)
class Image:
    """What an image file is.

    `parent_path`, `relative_parent`: where the parent of a differencing disk is looked for,
    by whole path and from the child's folder. `parent_id`: the `link_id` that it must have.
    `identifier`: that of the content, where it is not `disk_id`. `metadata`: hexadecimal
    digits, by the id of the item. `tracking`: see `changes`. `snapshots`: see `vhd_sets`.
    """

    device: int
    subtype: int
    size: int
    sector_size: int
    physical_sector_size: int
    block_size: int
    disk_id: uuid.UUID
    parent_path: str = ""
    parent_id: uuid.UUID = NO_ID
    parent_size: int = 0
    relative_parent: str = ""
    parent_timestamp: int = 0
    identifier: uuid.UUID = NO_ID
    metadata: Mapping[str, str] = field(default_factory=dict)
    tracking: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, tail: bytes, file_size: int) -> Image:
        """Return what the end of a file says that it is. Raises `CallFailed`."""
        text = tail[len(tail) - cls.trailer_size(tail) :]
        if text.startswith(_MAGIC):
            end = len(text) - _END.size
            values = json.loads(text[len(_MAGIC) : end].rstrip(b"\0"))
            return cls(**values | {name: uuid.UUID(values[name]) for name in _IDS})
        try:
            footer = Footer.parse(tail[-FOOTER_SIZE:], file_size=file_size)
        except InvalidInputError:
            raise CallFailed(constants.ERROR_FILE_CORRUPT) from None
        return cls(
            device=VHD,
            subtype=enums.PROVIDER_SUBTYPE_FIXED,
            size=footer.size,
            sector_size=512,
            physical_sector_size=512,
            block_size=0,
            disk_id=footer.disk_id,
        )

    @classmethod
    def iso(cls, file_size: int) -> Image:
        """Return what an .iso of so many bytes is. Raises `CallFailed`."""
        if not file_size or file_size % _ISO_SECTOR:
            raise CallFailed(constants.ERROR_FILE_CORRUPT)
        return cls(
            device=ISO,
            subtype=enums.PROVIDER_SUBTYPE_FIXED,
            size=file_size,
            sector_size=_ISO_SECTOR,
            physical_sector_size=_ISO_SECTOR,
            block_size=0,
            disk_id=NO_ID,
        )

    @staticmethod
    def trailer_size(tail: bytes) -> int:
        """Return how long the trailer is that a file ends with, 0 if that is none."""
        if len(tail) < _END.size:
            return 0
        magic, length = _END.unpack(tail[-_END.size :])
        return int(length) if magic == _END_MAGIC else 0

    def tail(self) -> bytes:
        """Return what follows the payload."""
        if self.device == ISO:
            return b""
        if self.device == VHD and self.is_fixed:
            return Footer(self.size, disk_id=self.disk_id).pack()
        text = _MAGIC + json.dumps(dataclasses.asdict(self), default=str).encode()
        length = -(-(len(text) + _END.size) // TRAILER_SIZE) * TRAILER_SIZE
        return text.ljust(length - _END.size, b"\0") + _END.pack(_END_MAGIC, length)

    @property
    def is_fixed(self) -> bool:
        """Whether all of it is there from the start."""
        return self.subtype == enums.PROVIDER_SUBTYPE_FIXED

    @property
    def is_differencing(self) -> bool:
        """Whether it holds what differs from a parent."""
        return self.subtype == enums.PROVIDER_SUBTYPE_DIFFERENCING

    @property
    def link_id(self) -> uuid.UUID:
        """What the children of a disk know it by."""
        return self.disk_id if self.identifier == NO_ID else self.identifier

    @property
    def parent_candidates(self) -> list[str]:
        """Where its parent is looked for, first things first."""
        return [path for path in (self.parent_path, self.relative_parent) if path]
