"""The metadata of a virtual disk: bytes by UUID, which its file carries and no guest sees."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import GUID, ULONG_CELL
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.checks import octets
from pyvhdmp.errors import check_code
from pyvhdmp.virtual_disk.formats import guid
from pyvhdmp.virtual_disk.questions import grown, implausible

if TYPE_CHECKING:
    from pyvhdmp.virtual_disk.handle import DiskHandle

__all__ = ["Metadata"]

_GUID_SIZE: Final = 16
_KEY: Final = "a metadata key"
_ABSENT: Final = (constants.ERROR_NOT_FOUND, constants.ERROR_FILE_NOT_FOUND)


class Metadata(MutableMapping[uuid.UUID, bytes]):
    """A mapping of `uuid.UUID` to `bytes`, each access a call of Windows.

    A missing item is a `KeyError`, anything else the `OSError` of
    EnumerateVirtualDiskMetadata, GetVirtualDiskMetadata, SetVirtualDiskMetadata or
    DeleteVirtualDiskMetadata, virtdisk.h, or a `DiskError` for an answer that cannot be.
    VHDX alone has metadata.
    """

    def __init__(self, disk: DiskHandle, lock: AbstractContextManager[object]) -> None:
        """For `VirtualDisk`. `lock`: held while its handle is used."""
        self._disk = disk
        self._lock = lock

    def __repr__(self) -> str:
        return f"<Metadata of {self._disk!r}>"

    def __getitem__(self, key: uuid.UUID) -> bytes:
        function = self._disk.windows.virtdisk.GetVirtualDiskMetadata
        item = guid(key, _KEY)
        length = 0

        def call(block: Block, size: int) -> tuple[int, int]:
            nonlocal length
            cell = ULONG_CELL(size)
            code = function(self._disk.handle, address_of(item), address_of(cell), block.address)
            length = cell.Value
            return code, cell.Value

        with self._lock:
            block, code = grown(call, PAGE_SIZE, limit=1 << 24)
        self._check(code, "GetVirtualDiskMetadata", key)
        if length > block.size:
            raise implausible("GetVirtualDiskMetadata", _too_much(length, block), self._disk.path)
        return bytes(block.memory[:length])

    def __setitem__(self, key: uuid.UUID, value: bytes) -> None:
        item, data = guid(key, _KEY), octets(value, "a metadata value")
        block = Block(max(PAGE_SIZE, -(-len(data) // PAGE_SIZE) * PAGE_SIZE))
        block.memory[: len(data)] = data
        with self._lock:
            code = self._disk.windows.virtdisk.SetVirtualDiskMetadata(
                self._disk.handle, address_of(item), len(data), block.address
            )
        check_code(code, "SetVirtualDiskMetadata", self._disk.path)

    def __delitem__(self, key: uuid.UUID) -> None:
        item = guid(key, _KEY)
        with self._lock:
            code = self._disk.windows.virtdisk.DeleteVirtualDiskMetadata(
                self._disk.handle, address_of(item)
            )
        self._check(code, "DeleteVirtualDiskMetadata", key)

    def __iter__(self) -> Iterator[uuid.UUID]:
        function = self._disk.windows.virtdisk.EnumerateVirtualDiskMetadata
        count = 0

        def call(block: Block, size: int) -> tuple[int, int]:
            nonlocal count
            cell = ULONG_CELL(size // _GUID_SIZE)
            code = function(self._disk.handle, address_of(cell), block.address)
            count = cell.Value
            return code, -(-count * _GUID_SIZE // PAGE_SIZE) * PAGE_SIZE

        with self._lock:
            block, code = grown(call, PAGE_SIZE)
        check_code(code, "EnumerateVirtualDiskMetadata", self._disk.path)
        length = count * _GUID_SIZE
        if length > block.size:
            raise implausible(
                "EnumerateVirtualDiskMetadata", _too_much(length, block), self._disk.path
            )
        raw = bytes(block.memory[:length])
        starts = range(0, len(raw), _GUID_SIZE)
        return iter([GUID.from_buffer_copy(raw, start).uuid() for start in starts])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _check(self, code: int, function: str, key: uuid.UUID) -> None:
        if code in _ABSENT:
            raise KeyError(key)
        check_code(code, function, self._disk.path)


def _too_much(length: int, block: Block) -> str:
    return f"{length} bytes where there is room for {block.size}"
