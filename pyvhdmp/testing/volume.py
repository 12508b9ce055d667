"""A volume with names, files, and a write cache that a power cut empties.

Rules:

1. There are two states of everything: what programs see, and what is on the medium.
   A flush of a file carries its data over, and the journal of names and sizes up to
   now; a rename that is asked to be written through carries the journal over.
2. A power cut leaves the medium with a random part of what was not carried over: of
   the data any sectors of any writes, of the journal a beginning, as a journal has it.
3. Names are Windows': without case, ``C:\\`` unless they say otherwise, and relative
   to it. A folder is there because something was put in it, or because it was made.
"""

from __future__ import annotations

import ntpath
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from pyvhdmp.testing.store import Store

__all__ = ["File", "Marker", "Volume", "Write", "full_path"]

_ROOT: Final = "C:\\"

Change: TypeAlias = Callable[[], None]


def full_path(name: str) -> str:
    """Return a path in full, as programs would be told it."""
    for prefix in ("\\\\?\\", "\\\\.\\"):
        name = name.removeprefix(prefix)
    return ntpath.normpath(ntpath.join(_ROOT, name.replace("/", "\\")))


def _key(name: str) -> str:
    return full_path(name).casefold()


@dataclass(eq=False)
class Write:
    """A write in the cache: where, and the data, or how many zeros."""

    offset: int
    data: bytes | int

    @property
    def length(self) -> int:
        """The bytes that it covers."""
        return self.data if isinstance(self.data, int) else len(self.data)


class Marker:
    """How much had been written to a file when a flush of it began."""

    def __init__(self, file: File) -> None:
        self.writes: list[Write] = list(file.unflushed)


class File:
    """A file: what programs see of it, and what is on the medium."""

    def __init__(self) -> None:
        self.content: Store = Store()
        self.size: int = 0
        self.is_read_only = False
        self.medium: Store = Store()
        self.medium_size = 0
        self.unflushed: list[Write] = []
        """What is in the cache, oldest first."""
        self._cached = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range, as far as there are any."""
        return self.content.read(offset, max(0, min(length, self.size - offset)))

    def write(self, offset: int, data: bytes, cache_size: int) -> None:
        """Write within the file's size; what the cache has no room for goes to the medium."""
        self.content.write(offset, data)
        self.unflushed.append(Write(offset, data))
        self._cached += len(data)
        while self._cached > cache_size:
            self._carry_over(self.unflushed[0])

    def zero(self, offset: int, length: int) -> None:
        """Turn a range into zeros."""
        self.content.zero(offset, length)
        self.unflushed.append(Write(offset, length))

    def forget(self, offset: int, length: int) -> None:
        """Turn a range into what was never written, here and on the medium."""
        self.content.forget(offset, length)
        self.medium.forget(offset, length)

    def compact(self, offset: int, length: int) -> None:
        """Let what is zeros in a range take no room."""
        self.content.compact(offset, length)
        self.medium.compact(offset, length)

    def flush(self, marker: Marker) -> None:
        """Carry over to the medium what had been written at the marker."""
        for write in marker.writes:
            self._carry_over(write)

    def cut_unflushed(self, size: int) -> None:
        """Nothing beyond `size` is to reach the medium any more."""
        for write in self.unflushed:
            kept = min(write.length, max(0, size - write.offset))
            if isinstance(write.data, int):
                write.data = kept
            else:
                self._cached -= write.length - kept
                write.data = write.data[:kept]

    def power_cut(self, chance: random.Random, sector_size: int) -> None:
        """Lose a random part of what has not been carried over: of each write, any sectors."""
        for write in self.unflushed:
            _apply_some(self.medium, write, chance, sector_size)
        self.unflushed.clear()
        self._cached = 0
        self.medium.cut(self.medium_size)
        self.content = self.medium.copy()
        self.size = self.medium_size

    def _carry_over(self, write: Write) -> None:
        if write not in self.unflushed:
            return  # another flush has
        self.unflushed.remove(write)
        if isinstance(write.data, int):
            self.medium.zero(write.offset, write.data)
        else:
            self.medium.write(write.offset, write.data)
            self._cached -= len(write.data)


def _apply_some(store: Store, write: Write, chance: random.Random, sector_size: int) -> None:
    """Apply some sectors of a write: all, none, or any."""
    share = chance.choice([0.0, 0.5, 1.0])
    start = 0
    while start < write.length:
        at = write.offset + start
        size = min(sector_size - at % sector_size, write.length - start)
        if chance.random() < share:
            if isinstance(write.data, int):
                store.zero(at, size)
            else:
                store.write(at, write.data[start : start + size])
        start += size


class Volume:
    """Names and files."""

    def __init__(self, cache_size: int, sector_size: int) -> None:
        self.cache_size = cache_size
        self.sector_size = sector_size
        self._files: dict[str, File] = {}
        self._spelled: dict[str, str] = {}  # of each name, as it was last written
        self._folders = {_key(_ROOT)}
        self._on_medium: dict[str, File] = {}
        self._journal: list[Change] = []

    # -- What there is --------------------------------------------------------

    def find(self, name: str) -> File | None:
        """Return the file of a name."""
        return self._files.get(_key(name))

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of this name."""
        return _key(name) in self._folders

    def has_parent(self, name: str) -> bool:
        """Whether there is a folder that the name would lie in."""
        return ntpath.dirname(_key(name)) in self._folders

    def paths(self) -> Iterator[str]:
        """Yield the path of each file."""
        return iter([self._spelled[key] for key in self._files])

    def entries(self, folder: str) -> Iterator[tuple[str, File | None]]:
        """Yield the name of what lies in a folder, and the file, or None for a folder."""
        parent = _key(folder)
        for key in sorted(self._folders | self._files.keys()):
            if ntpath.dirname(key) == parent != key:
                path = self._spelled.get(key, key) if key in self._files else key
                yield ntpath.basename(path), self._files.get(key)

    # -- From outside: at once on the medium ------------------------------------

    def make_folder(self, name: str) -> None:
        """Make a folder, and those above it."""
        key = _key(name)
        while key not in self._folders:
            self._folders.add(key)
            key = ntpath.dirname(key)

    def put(self, name: str, content: bytes) -> None:
        """Put a file in, with the folders above it."""
        self.write_journal()
        self.remove_from_outside(name)
        path = full_path(name)
        self.make_folder(ntpath.dirname(path))
        self._spelled[_key(name)] = path
        file = self._files[_key(name)] = self._on_medium[_key(name)] = File()
        file.size = len(content)
        file.content.put(content)
        file.medium.put(content)
        file.medium_size = len(content)

    def remove_from_outside(self, name: str) -> None:
        """Take a file away."""
        self.write_journal()
        self._files.pop(_key(name), None)
        self._on_medium.pop(_key(name), None)

    # -- By programs: journaled -------------------------------------------------

    def create(self, name: str) -> File:
        """Make an empty file."""
        key, file = _key(name), File()
        self._files[key] = file
        self._spelled[key] = full_path(name)
        self._journal.append(lambda: self._on_medium.update({key: file}))
        return file

    def resize(self, file: File, size: int) -> None:
        """Cut or extend a file."""
        is_shorter = size < file.size
        if is_shorter:
            file.content.cut(size)
            file.cut_unflushed(size)
        file.size = size

        def change() -> None:
            if size < file.medium_size:
                file.medium.cut(size)
            file.medium_size = size

        self._journal.append(change)
        if is_shorter:
            self.write_journal()  # before the medium gets what is written behind the cut later

    def delete(self, name: str) -> None:
        """Take a file's name away."""
        key = _key(name)
        del self._files[key]

        def change() -> None:
            self._on_medium.pop(key, None)

        self._journal.append(change)

    def rename(self, name: str, new: str) -> None:
        """Give a file another name; a file that had it is gone."""
        old_key, key = _key(name), _key(new)
        file = self._files.pop(old_key)
        self._files[key] = file
        self._spelled[key] = full_path(new)

        def change() -> None:
            self._on_medium.pop(old_key, None)
            self._on_medium[key] = file

        self._journal.append(change)

    # -- The medium -------------------------------------------------------------

    def write_journal(self, length: int | None = None) -> None:
        """Carry the journal over, or its beginning."""
        changes = self._journal[:length]
        del self._journal[:length]
        for change in changes:
            change()

    def flush(self, file: File, marker: Marker) -> None:
        """Carry a file's data over, and then the journal."""
        file.flush(marker)
        self.write_journal()

    def power_cut(self, chance: random.Random) -> None:
        """Leave what is on the medium, and a random part of what is not yet."""
        self.write_journal(chance.randint(0, len(self._journal)))
        self._journal.clear()
        self._files = dict(self._on_medium)
        for key in sorted(self._files):
            self._files[key].power_cut(chance, self.sector_size)
