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
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from pyvhdmp.errors import InvalidInputError

__all__ = ["FOOTER_SIZE", "MAX_SIZE", "SECTOR_SIZE", "Footer", "Geometry"]

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

# cookie, features, version, data offset, time stamp, creator, its version, host OS,
# original size, current size, cylinders, heads, sectors per track, type,
# checksum, unique id, saved state
_LAYOUT: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_CHECKSUM_AT: Final = 64

assert _LAYOUT.size == FOOTER_SIZE


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


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of a fixed VHD says. `size` is the payload in bytes."""

    size: int
    disk_id: uuid.UUID = field(default_factory=uuid.uuid4)
    created: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    creator: bytes = _CREATOR

    def __post_init__(self) -> None:
        if self.size <= 0 or self.size % SECTOR_SIZE:
            raise InvalidInputError.because(
                f"the size of a VHD must be a positive multiple of {SECTOR_SIZE} bytes, not {self.size}"
            )
        if self.size > MAX_SIZE:
            raise InvalidInputError.because(
                f"a VHD holds at most {MAX_SIZE} bytes (2040 GiB), not {self.size}"
            )

    def pack(self) -> bytes:
        """Return the 512 bytes that end the file."""
        geometry = Geometry.of(self.size)
        seconds = int((self.created - _EPOCH).total_seconds())
        raw = bytearray(
            _LAYOUT.pack(
                _COOKIE,
                _FEATURES,
                _VERSION,
                _NO_DATA_OFFSET,
                max(0, seconds),
                self.creator,
                _CREATOR_VERSION,
                _HOST_OS,
                self.size,
                self.size,
                *geometry,
                _FIXED,
                0,
                self.disk_id.bytes,
                0,
            )  # fmt: skip
        )
        struct.pack_into(">I", raw, _CHECKSUM_AT, _checksum(raw))
        return bytes(raw)

    @classmethod
    def parse(cls, raw: bytes, *, file_size: int, filename: str | None = None) -> Self:
        """Read the last 512 bytes of a file of `file_size` bytes.

        Raises `InvalidInputError` that says what is wrong: no footer, a damaged
        one, an unknown version, a dynamic or differencing disk, a truncated file.
        """

        def refused(reason: str) -> InvalidInputError:
            return InvalidInputError.because(reason, filename)

        if len(raw) != FOOTER_SIZE:
            raise refused(f"no fixed VHD: shorter than a footer of {FOOTER_SIZE} bytes")
        (
            cookie, _, version, _, seconds, creator, _, _, _, size, _, _, _, kind, checksum, unique, _,
        ) = _LAYOUT.unpack(raw)  # fmt: skip
        if cookie != _COOKIE:
            raise refused(
                "no fixed VHD, or a truncated one: the last 512 bytes do not begin with 'conectix'"
            )
        if checksum != _checksum(raw):
            raise refused(
                f"damaged VHD footer: its checksum is {checksum:#010x}, its content has "
                f"{_checksum(raw):#010x}"
            )
        if version >> 16 != _VERSION >> 16:
            raise refused(f"unknown VHD version {version >> 16}.{version & 0xFFFF}")
        if kind in _TYPE_NAMES:
            raise refused(f"a {_TYPE_NAMES[kind]} VHD needs Windows' VHDMP driver")
        if kind != _FIXED:
            raise refused(f"unknown VHD disk type {kind}")
        if size != file_size - FOOTER_SIZE:
            what = "truncated VHD" if size > file_size - FOOTER_SIZE else "damaged VHD"
            raise refused(
                f"{what}: its footer says {size} bytes, the file holds {file_size - FOOTER_SIZE}"
            )
        try:
            created = datetime.fromtimestamp(_EPOCH.timestamp() + seconds, UTC)
            return cls(size, uuid.UUID(bytes=unique), created, creator)
        except InvalidInputError as error:
            raise refused(f"damaged VHD footer: {error.strerror}") from None


def _checksum(raw: bytes | bytearray) -> int:
    """Return the ones' complement of the sum of all bytes but the checksum's own."""
    return ~(sum(raw) - sum(raw[_CHECKSUM_AT : _CHECKSUM_AT + 4])) & 0xFFFFFFFF
