from typing import BinaryIO
from uuid import UUID

class Partition:
    name: str
    offset: int
    size: int
    type: UUID
    def open(self) -> BinaryIO: ...

class Disk:
    partitions: list[Partition]
    def __init__(self, fh: object, sector_size: int = 512) -> None: ...
