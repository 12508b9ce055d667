"""The footer of a .vhd file, and the reasons to refuse one.

A fixed VHD is its payload, byte for byte from offset 0, and then this footer of
512 bytes, big-endian throughout. Source: Microsoft, "Virtual Hard Disk Image
Format Specification", version 1.0.

Rules:

1. The size of the disk is `current_size`, to the byte. The geometry, which cannot
   express every size, is written for old readers and believed by nobody here.
2. What is read is checked whole, and refused with the first reason that applies.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from pyvhdmp.errors import InvalidInputError

__all__ = [
    "FOOTER_SIZE",
    "MAX_SIZE",
    "SECTOR_SIZE",
    "Footer",
    "Geometry",
    "NotFixedError",
    "check_size",
]

FOOTER_SIZE: Final = 512
SECTOR_SIZE: Final = 512
MAX_SIZE: Final = 2040 * 1024**3
"""The largest VHD that Windows opens, in bytes."""

_COOKIE: Final = b"conectix"
_VERSION: Final = 0x00010000
_FEATURES: Final = 0x00000002  # "reserved", always set
_NO_DATA_OFFSET: Final = 0xFFFFFFFFFFFFFFFF
_HOST_OS: Final = b"Wi2k"
# QEMU goes by current_size only for creators that it knows, and by the geometry,
# which rounds, for all others. This is the one that Windows itself writes.
_CREATOR: Final = b"win "
_CREATOR_VERSION: Final = 0x000A0000
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_TYPE_NAMES: Final = {_DYNAMIC: "dynamic", _DIFFERENCING: "differencing"}

_LAYOUT: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_CHECKSUM_AT: Final = 64

assert _LAYOUT.size == FOOTER_SIZE


class NotFixedError(InvalidInputError):
    """A VHD that is whole, as far as its footer goes, and not a fixed one."""


class _Fields(NamedTuple):
    """The footer as it lies in the file."""

    cookie: bytes
    features: int
    version: int
    data_offset: int
    time_stamp: int
    creator: bytes
    creator_version: int
    creator_host_os: bytes
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    checksum: int
    unique_id: bytes
    saved_state: int


class Geometry(NamedTuple):
    """Cylinders, heads and sectors per track, as the specification's appendix has them."""

    cylinders: int
    heads: int
    sectors_per_track: int

    @classmethod
    def of(cls, size: int) -> Self:
        """Return the geometry of a disk of `size` bytes. It may address less than that."""
        sectors = min(size // SECTOR_SIZE, 65535 * 16 * 255)
        if sectors >= 65535 * 16 * 63:
            return cls(sectors // 255 // 16, 16, 255)
        per_track = 17
        tracks = sectors // per_track
        heads = max(4, (tracks + 1023) // 1024)
        if tracks >= heads * 1024 or heads > 16:
            per_track, heads = 31, 16
            tracks = sectors // per_track
        if tracks >= heads * 1024:
            per_track, heads = 63, 16
            tracks = sectors // per_track
        return cls(tracks // heads, heads, per_track)


def check_size(size: int, filename: str | None = None) -> None:
    """Raise `InvalidInputError` for a size that no fixed VHD has."""
    if size < SECTOR_SIZE or size % SECTOR_SIZE:
        problem = f"a multiple of {SECTOR_SIZE} bytes, and at least {SECTOR_SIZE}"
    elif size > MAX_SIZE:
        problem = f"at most {MAX_SIZE} bytes (2040 GiB)"
    else:
        return
    raise InvalidInputError.because(
        f"the size of a fixed VHD must be {problem}, not {size}", filename
    )


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of a fixed VHD says. `size` is the payload in bytes."""

    size: int
    disk_id: uuid.UUID = field(default_factory=uuid.uuid4)
    created: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    creator: bytes = _CREATOR

    def __post_init__(self) -> None:
        check_size(self.size)

    def pack(self) -> bytes:
        """Return the 512 bytes that end the file."""
        cylinders, heads, sectors_per_track = Geometry.of(self.size)
        fields = _Fields(
            cookie=_COOKIE,
            features=_FEATURES,
            version=_VERSION,
            data_offset=_NO_DATA_OFFSET,
            time_stamp=max(0, int((self.created - _EPOCH).total_seconds())),
            creator=self.creator,
            creator_version=_CREATOR_VERSION,
            creator_host_os=_HOST_OS,
            original_size=self.size,
            current_size=self.size,
            cylinders=cylinders,
            heads=heads,
            sectors_per_track=sectors_per_track,
            disk_type=_FIXED,
            checksum=0,
            unique_id=self.disk_id.bytes,
            saved_state=0,
        )
        checksum = _checksum(_LAYOUT.pack(*fields))
        return _LAYOUT.pack(*fields._replace(checksum=checksum))

    @classmethod
    def parse(cls, raw: bytes, *, file_size: int, filename: str | None = None) -> Self:
        """Read the last 512 bytes of a file of `file_size` bytes.

        Raises `InvalidInputError` that says what is wrong: no footer, a damaged
        one, an unknown version, a truncated file; `NotFixedError` for a dynamic or
        differencing disk.
        """

        def refused(reason: str) -> InvalidInputError:
            return InvalidInputError.because(reason, filename)

        if len(raw) != FOOTER_SIZE:
            raise refused(f"no fixed VHD: shorter than a footer of {FOOTER_SIZE} bytes")
        fields = _Fields._make(_LAYOUT.unpack(raw))
        if fields.cookie != _COOKIE:
            raise refused(
                "no fixed VHD, or a truncated one: the last 512 bytes do not begin with 'conectix'"
            )
        if fields.checksum != _checksum(raw):
            raise refused(
                f"damaged VHD footer: its checksum is {fields.checksum:#010x}, its content has "
                f"{_checksum(raw):#010x}"
            )
        major, minor = divmod(fields.version, 1 << 16)
        if major != _VERSION >> 16:
            raise refused(f"unknown VHD version {major}.{minor}")
        if fields.disk_type in _TYPE_NAMES:
            need = f"a {_TYPE_NAMES[fields.disk_type]} VHD needs Windows' VHDMP driver"
            raise NotFixedError.because(need, filename)
        if fields.disk_type != _FIXED:
            raise refused(f"unknown VHD disk type {fields.disk_type}")
        size, held = fields.current_size, file_size - FOOTER_SIZE
        if size != held:
            what = "truncated VHD" if size > held else "damaged VHD"
            raise refused(f"{what}: its footer says {size} bytes, the file holds {held}")
        created = _EPOCH + timedelta(seconds=fields.time_stamp)
        try:
            return cls(size, uuid.UUID(bytes=fields.unique_id), created, fields.creator)
        except InvalidInputError as error:
            raise refused(f"damaged VHD footer: {error.strerror}") from None


def _checksum(raw: bytes | bytearray) -> int:
    """Return the ones' complement of the sum of all bytes but the checksum's own."""
    return ~(sum(raw) - sum(raw[_CHECKSUM_AT : _CHECKSUM_AT + 4])) & 0xFFFFFFFF
