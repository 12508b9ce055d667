"""Paths of files on the Windows in force: real ones, and those of a simulated Windows."""

from __future__ import annotations

import ntpath
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from pyvhdmp.testing import SimulatedFiles

__all__ = ["FilePath", "SimulatedPath", "make_folders", "make_image", "make_zeros"]

_MIB: Final = 1 << 20


class SimulatedPath:
    """As much of `pathlib.Path` as the tests use, over the files of a simulated Windows."""

    def __init__(self, files: SimulatedFiles, path: str) -> None:
        self._files = files
        self._path = path

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"SimulatedPath({self._path!r})"

    def __truediv__(self, name: str) -> SimulatedPath:
        return SimulatedPath(self._files, ntpath.normpath(ntpath.join(self._path, name)))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return ntpath.basename(self._path)

    def exists(self) -> bool:
        """Whether there is a file or a folder of this name."""
        return self._path in self._files or self._files.is_folder(self._path)

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        try:
            return self._files[self._path]
        except KeyError:
            raise FileNotFoundError(self._path) from None

    def write_bytes(self, content: bytes | bytearray) -> int:
        """Make the file anew."""
        self._files[self._path] = bytes(content)
        return len(content)

    def unlink(self) -> None:
        """Delete the file, which nobody may have open."""
        del self._files[self._path]

    def mkdir(self) -> None:
        """Make the folder."""
        self._files.make_folder(self._path)

    def iterdir(self) -> Iterator[SimulatedPath]:
        """Yield the files, but not the folders, in the folder."""
        for path in self._files:
            if ntpath.dirname(path).lower() == self._path.lower():
                yield SimulatedPath(self._files, path)

    def chmod(self, mode: int) -> None:
        """Make the file read-only, or writable."""
        self._files.set_read_only(self._path, not mode & 0o200)

    def make_zeros(self, size: int) -> None:
        """Make the file anew, all zeros."""
        self._files.make_sparse(self._path, size)


FilePath: TypeAlias = Path | SimulatedPath


def make_zeros(path: FilePath, size: int) -> None:
    """Make a file of zeros, which takes no room where that is possible."""
    if isinstance(path, SimulatedPath):
        path.make_zeros(size)
    else:
        with path.open("wb") as file:
            file.truncate(size)


def make_image(path: FilePath, size: int = 8 << 20, seed: int = 1) -> bytes:
    """Write an image with holes, of a size that is no multiple of a block; return it."""
    chance = random.Random(seed)
    content = bytearray(size)
    for start in range(0, size, _MIB):
        if chance.random() < 0.6:
            piece = chance.randbytes(min(_MIB // 2, size - start))
            content[start : start + len(piece)] = piece
    content[-512:] = b"\xee" * 512
    path.write_bytes(content)
    return bytes(content)


def make_folders(path: FilePath) -> None:
    """Make a folder of any length of path, and those above it."""
    if isinstance(path, SimulatedPath):
        path.mkdir()
    else:
        extended = Path("\\\\?\\" + os.fspath(path.absolute()))
        extended.mkdir(parents=True, exist_ok=True)
