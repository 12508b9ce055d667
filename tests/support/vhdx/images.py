"""VHDX images: made by qemu-img, and what they say about themselves.

A VHDX ([MS-VHDX]) has two tables of its regions at fixed places, one of which is that of the
metadata: a table of items, each a number or an identity, whose values anybody may change.
"""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

SIGNATURE: Final = b"vhdxfile"
_REGION_TABLES: Final = (192 << 10, 256 << 10)
_TABLE_SIZE: Final = 64 << 10
_METADATA: Final = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS: Final = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_VIRTUAL_DISK_SIZE: Final = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_VIRTUAL_DISK_ID: Final = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL_SECTOR_SIZE: Final = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR_SIZE: Final = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_LEAVE_BLOCKS_ALLOCATED: Final = 1
_HAS_PARENT: Final = 2


class Refused(Exception):
    """What Windows would refuse; the name of its error."""


@dataclass(frozen=True)
class Facts:
    """What a VHDX says about itself."""

    size: int
    is_fixed: bool
    block_size: int
    sector_size: int
    physical_sector_size: int
    disk_id: str


def create(
    path: Path,
    *,
    size: int,
    is_fixed: bool,
    block_size: int,
    sector_size: int,
    physical_sector_size: int,
    disk_id: str,
) -> None:
    """Make an image of zeros; QEMU chooses the block size of a fixed one."""
    if sector_size != 512:
        raise Refused("ERROR_NOT_SUPPORTED")  # by QEMU
    if not path.parent.is_dir():
        raise Refused("ERROR_PATH_NOT_FOUND")
    try:
        path.open("xb").close()
    except FileExistsError:
        raise Refused("ERROR_FILE_EXISTS") from None
    try:
        options = "subformat=fixed" if is_fixed else f"subformat=dynamic,block_size={block_size}"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "vhdx", "-o", options, path, str(size)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        with path.open("r+b") as file:
            places = _items(file)
            file.seek(places[_VIRTUAL_DISK_ID])
            file.write(uuid.UUID(disk_id).bytes_le)
            file.seek(places[_PHYSICAL_SECTOR_SIZE])
            file.write(struct.pack("<I", physical_sector_size))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def facts(path: Path) -> Facts:
    """Return what an image is. Raises `Refused` for what is none, or of a kind that QEMU lacks."""
    try:
        with path.open("rb") as file:
            places = _items(file)

            def read(item: uuid.UUID, format: str) -> tuple[int, ...]:
                file.seek(places[item])
                return struct.unpack(format, file.read(struct.calcsize(format)))

            block_size, flags = read(_FILE_PARAMETERS, "<II")
            (size,) = read(_VIRTUAL_DISK_SIZE, "<Q")
            (sector_size,) = read(_LOGICAL_SECTOR_SIZE, "<I")
            (physical_sector_size,) = read(_PHYSICAL_SECTOR_SIZE, "<I")
            file.seek(places[_VIRTUAL_DISK_ID])
            disk_id = uuid.UUID(bytes_le=file.read(16))
    except FileNotFoundError:
        raise Refused("ERROR_FILE_NOT_FOUND") from None
    except (struct.error, ValueError, KeyError):
        raise Refused("ERROR_FILE_CORRUPT") from None
    if flags & _HAS_PARENT:
        raise Refused("ERROR_NOT_SUPPORTED")
    is_fixed = bool(flags & _LEAVE_BLOCKS_ALLOCATED)
    return Facts(
        size=size,
        is_fixed=is_fixed,
        block_size=0 if is_fixed else block_size,
        sector_size=sector_size,
        physical_sector_size=physical_sector_size,
        disk_id=str(disk_id),
    )


def _items(file: BinaryIO) -> dict[uuid.UUID, int]:
    """Return where each item of the metadata has its value. Raises as parsing does."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("no VHDX")
    for place in _REGION_TABLES:
        file.seek(place)
        regions = file.read(_TABLE_SIZE)
        if regions.startswith(b"regi"):
            break
    (count,) = struct.unpack_from("<I", regions, 8)
    start = _entries(regions, 16, count, "<Q")[_METADATA]
    file.seek(start)
    table = file.read(_TABLE_SIZE)
    if not table.startswith(b"metadata"):
        raise ValueError("no metadata")
    (count,) = struct.unpack_from("<H", table, 10)
    return {item: start + place for item, place in _entries(table, 32, count, "<I").items()}


def _entries(table: bytes, first: int, count: int, place: str) -> dict[uuid.UUID, int]:
    """Return the places in a table whose entries have 32 bytes: what, where, and more."""
    return {
        uuid.UUID(bytes_le=table[at : at + 16]): struct.unpack_from(place, table, at + 16)[0]
        for at in range(first, first + 32 * count, 32)
    }
