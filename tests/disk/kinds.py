"""Every kind of disk, made the same way, for the suites that all of them must pass."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pyvhdmp import CompletionPort, Disk, open_disk
from pyvhdmp.disk import make_fixed_vhd

SECTORS: Final = 4096
SIZE: Final = SECTORS * 512
KINDS: Final = ("raw", "fixed-vhd")


def make_file(kind: str, folder: Path, size: int = SIZE) -> Path:
    """Make a disk of zeros; return its path."""
    if kind == "raw":
        path = folder / "disk.img"
        with path.open("wb") as file:
            file.truncate(size)
    else:
        path = folder / "disk.vhd"
        make_fixed_vhd(path, size)
    return path


def make(kind: str, folder: Path, *, size: int = SIZE, port: CompletionPort | None = None) -> Disk:
    """Make a disk of zeros and open it."""
    return open_disk(make_file(kind, folder, size), port=port)
