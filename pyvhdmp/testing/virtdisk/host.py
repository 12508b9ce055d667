"""What the simulated virtdisk.dll needs of the place where its images lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.images import TRAILER_SIZE, Image

__all__ = ["SECTOR", "Content", "Host", "Layer", "copy_own", "copy_through", "read_through"]

SECTOR: Final = 512
"""What is known to be written or not, in bytes."""
_PIECE: Final = 1 << 20


class Content(Protocol):
    """The payload of one image file, without its parents. Each member raises `CallFailed`."""

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes."""

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""

    def zero(self, offset: int, length: int) -> None:
        """Turn a range into zeros, which take no room if that can be."""

    def is_written(self, offset: int) -> bool:
        """Whether the sector at an offset was ever written, with zeros or else."""

    def written(self, size: int) -> list[tuple[int, int]]:
        """Return the ranges below `size` that were, in order: offset and length."""

    def compact(self, offset: int, length: int) -> None:
        """Take room away from what holds nothing but zeros in a range."""

    def flush(self) -> None:
        """What is written is on the medium when this returns."""


class Host(Protocol):
    """Where images lie. Each member raises `CallFailed`."""

    sees_writes: bool
    """Whether a disk's watchers are told of every write to it."""

    def tail(self, path: str, length: int = TRAILER_SIZE) -> tuple[bytes, int]:
        """Return the last bytes of a file, at most `length`, and its size."""

    def allocated(self, path: str) -> int:
        """Return the bytes that a file takes."""

    def create(self, path: str, image: Image) -> None:
        """Make a file of zeros with the image's tail."""

    def delete(self, path: str) -> None:
        """Take a file away, open or not."""

    def rewrite(self, path: str, old: Image, new: Image, opened: OpenImage | None = None) -> None:
        """Have a file be another image: the payload's length, and what follows it, change.

        It is on the medium when this returns.
        """

    def content(
        self, path: str, opened: OpenImage | None = None, *, write: bool = False
    ) -> Content:
        """Return the payload of a file, unless another open of it forbids that.

        `opened`: on whose behalf.
        """

    def open(self, opened: OpenImage) -> int:
        """Return a handle that reads and writes the payload, while it is attached."""

    def found(self, handle: int) -> OpenImage:
        """Return what a handle stands for."""

    def close(self, handle: int) -> object:
        """Close a handle that the caller has not been given."""

    def reads(self, handle: int) -> None:
        """The disk behind a handle has one more parent."""

    def hold(self, handle: int, path: str) -> None:
        """The disk behind a handle uses another file from now on, too."""

    def let_go(self, handle: int, path: str) -> None:
        """It does so no more."""

    def move(self, handle: int, path: str) -> None:
        """Every handle to the disk is to be one to another file with the same content."""

    def detached(self, handle: int) -> None:
        """The disk is no longer attached: what is in flight fails."""

    def opened(self) -> list[OpenImage]:
        """Return what is open, permanent attachments without a handle among it."""

    def drive(self, handle: int) -> OpenImage:
        """Return the disk behind a handle to a drive."""

    def violation(self, text: str) -> None:
        """The caller has done what it must not."""

    def begin(self, function: str, handle: int, overlapped: int, work: Work) -> None:
        """Begin a long operation. Return if it is done, raise `CallFailed` with the code if not."""

    def go_on(self, handle: int) -> None:
        """What a long operation waits for has come."""

    def pause(self) -> None:
        """Let a little time pass: who asks again and again is to see something happen."""

    def progress(self, handle: int, overlapped: int) -> tuple[int, int, int]:
        """Return the code of a long operation, and how far it is of how much."""


class Layer(NamedTuple):
    """A file that a disk reads from, and how long its payload is."""

    content: Content
    size: int


def copy_through(source: Sequence[Layer], target: Content) -> Work:
    """Copy what a chain holds to a file, as far as there is anything, piece by piece."""
    size = source[0].size
    starts = sorted(
        {
            at // _PIECE * _PIECE
            for content, end in source
            for offset, length in content.written(min(end, size))
            for at in range(offset // _PIECE * _PIECE, offset + length, _PIECE)
        }
    )
    for number, start in enumerate(starts):
        yield number, len(starts)
        data = read_through(source, start, min(_PIECE, size - start))
        if any(data):
            target.write(start, data)
    target.flush()
    total = max(1, len(starts))
    yield total, total


def copy_own(source: Content, target: Content, size: int) -> Work:
    """Copy what one file holds itself to another, and nothing that it does not, piece by piece."""
    pieces = [
        (at, min(_PIECE, offset + length - at))
        for offset, length in source.written(size)
        for at in range(offset, offset + length, _PIECE)
    ]
    for number, (offset, length) in enumerate(pieces):
        yield number, len(pieces)
        target.write(offset, source.read(offset, length))
    target.flush()
    total = max(1, len(pieces))
    yield total, total


def read_through(layers: Sequence[Layer], offset: int, length: int) -> bytes:
    """Return what a chain holds: each sector from the nearest file that it was written to.

    A sector that none was written to, or that a parent is too short for, is zeros.
    """
    if len(layers) == 1:
        return layers[0].content.read(offset, length)
    pieces = []
    for at in range(offset, offset + length, SECTOR):
        size = min(SECTOR, offset + length - at)
        piece = bytes(size)
        for content, end in layers:
            if at >= end:
                break
            if content.is_written(at):
                piece = content.read(at, size)
                break
        pieces.append(piece)
    return b"".join(pieces)
