from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

class FAT:
    runlist: Callable[[int], Iterable[tuple[int, int]]]
    def chain(self, cluster: int) -> Iterator[int]: ...

class Dirent:
    DIR_NTRes: int

class DirectoryEntry:
    name: str
    dirent: Dirent
    ldirents: list[object]
    size: int
    def is_directory(self) -> bool: ...
    def is_volume_id(self) -> bool: ...
    def iterdir(self) -> Iterator[DirectoryEntry]: ...
    def open(self) -> BinaryIO: ...

class FATFS:
    fat: FAT
    root: DirectoryEntry
    def __init__(self, fh: object) -> None: ...
    def get(self, path: str) -> DirectoryEntry: ...
