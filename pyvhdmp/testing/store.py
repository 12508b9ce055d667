"""Bytes by offset, of which only those that were written take memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["Store"]

_CHUNK: Final = 64 * 1024
_SECTOR: Final = 512


class Store:
    """Content without an end; what was never written is zeros.

    It remembers which sectors were written, as a differencing disk has to.
    """

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}
        self._written: dict[int, int] = {}  # a bit for each sector of a chunk

    def copy(self) -> Store:
        """Return a store of the same content."""
        other = Store()
        other._chunks = {number: bytearray(chunk) for number, chunk in self._chunks.items()}
        other._written = dict(self._written)
        return other

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes."""
        if not self._chunks:
            return bytes(length)
        pieces = []
        for number, start, size in _split(offset, length):
            chunk = self._chunks.get(number)
            pieces.append(bytes(size) if chunk is None else bytes(chunk[start : start + size]))
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        at = 0
        for number, start, size in _split(offset, len(data)):
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = self._chunks[number] = bytearray(_CHUNK)
            chunk[start : start + size] = data[at : at + size]
            at += size
            self._mark(number, start, size)

    def put(self, content: bytes) -> None:
        """Write from the start what is not zeros; the rest was never written."""
        for start in range(0, len(content), _CHUNK):
            chunk = content[start : start + _CHUNK]
            if any(chunk):
                for at in range(0, len(chunk), _SECTOR):
                    sector = chunk[at : at + _SECTOR]
                    if any(sector):
                        self.write(start + at, sector)

    def zero(self, offset: int, length: int) -> None:
        """Turn a range into zeros, which take no memory where a whole chunk is."""
        for number, start, size in _split(offset, length):
            if size == _CHUNK:
                self._chunks.pop(number, None)
            elif number in self._chunks:
                self._chunks[number][start : start + size] = bytes(size)
            self._mark(number, start, size)

    def forget(self, offset: int, length: int) -> None:
        """Turn a range into zeros that were never written."""
        self.zero(offset, length)
        for number, start, size in _split(offset, length):
            first, end = -(-start // _SECTOR), (start + size) // _SECTOR
            mask = ((1 << max(0, end - first)) - 1) << first
            self._written[number] &= ~mask

    def cut(self, size: int) -> None:
        """Forget everything from `size` on."""
        number, start = divmod(size, _CHUNK)
        for other in [other for other in self._written if other >= number]:
            if other > number or not start:
                self._chunks.pop(other, None)
                del self._written[other]
            else:
                if other in self._chunks:
                    self._chunks[other][start:] = bytes(_CHUNK - start)
                self._written[other] &= (1 << -(-start // _SECTOR)) - 1

    def is_written(self, sector: int) -> bool:
        """Whether a sector of 512 bytes has ever been written to."""
        number, index = divmod(sector, _CHUNK // _SECTOR)
        return bool(self._written.get(number, 0) >> index & 1)

    def written(self, size: int) -> list[tuple[int, int]]:
        """Return the ranges below `size` that were ever written to, in order: offset, length."""
        ranges: list[tuple[int, int]] = []
        for number in sorted(self._written):
            mask, start = self._written[number], number * _CHUNK
            while mask:
                skipped = (mask & -mask).bit_length() - 1
                mask >>= skipped
                count = (~mask & (mask + 1)).bit_length() - 1
                mask >>= count
                start += skipped * _SECTOR
                length = min(count * _SECTOR, size - start)
                if length > 0 and ranges and sum(ranges[-1]) == start:
                    ranges[-1] = ranges[-1][0], ranges[-1][1] + length
                elif length > 0:
                    ranges.append((start, length))
                start += count * _SECTOR
        return ranges

    def compact(self, offset: int, length: int) -> None:
        """Let chunks of zeros within a range take no memory."""
        for number, _, size in _split(offset, length):
            if size == _CHUNK and number in self._chunks and not any(self._chunks[number]):
                del self._chunks[number]

    @property
    def allocated(self) -> int:
        """Bytes of memory that the content takes."""
        return len(self._chunks) * _CHUNK

    def _mark(self, number: int, start: int, size: int) -> None:
        first, last = start // _SECTOR, (start + size - 1) // _SECTOR
        mask = ((1 << (last - first + 1)) - 1) << first
        self._written[number] = self._written.get(number, 0) | mask


def _split(offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield (chunk, start in it, bytes)."""
    while length > 0:
        number, start = divmod(offset, _CHUNK)
        size = min(length, _CHUNK - start)
        yield number, start, size
        offset, length = offset + size, length - size
