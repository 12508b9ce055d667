"""Metadata: a mapping whose every access is a call."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, MutableMapping

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp.testing import memory, substituted
from tests.support.vhdmp import Driver

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


class Items:
    """What the disk holds, and which of the two codes it answers to too little memory."""

    def __init__(self, too_small: int) -> None:
        self.items: dict[uuid.UUID, bytes] = {}
        self.too_small = too_small
        self.absent = constants.ERROR_NOT_FOUND

    def enumerate(self, disk: int, count: int, items: int) -> int:
        cell = v.ULONG_CELL.from_address(count)
        room, cell.Value = cell.Value, len(self.items)
        if room < len(self.items):
            return self.too_small
        memory.write(items, b"".join(bytes(v.GUID.of(key)) for key in self.items))
        return 0

    def get(self, disk: int, item: int, size: int, data: int) -> int:
        key = v.GUID.from_address(item).uuid()
        if key not in self.items:
            return self.absent
        cell, value = v.ULONG_CELL.from_address(size), self.items[key]
        room, cell.Value = cell.Value, len(value)
        if room < len(value):
            return self.too_small
        memory.write(data, value)
        return 0

    def set(self, disk: int, item: int, size: int, data: int) -> int:
        self.items[v.GUID.from_address(item).uuid()] = memory.read(data, size)
        return 0

    def delete(self, disk: int, item: int) -> int:
        key = v.GUID.from_address(item).uuid()
        return 0 if self.items.pop(key, None) is not None else self.absent


@pytest.fixture(params=[constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA])
def items(request: pytest.FixtureRequest, driver: Driver) -> Iterator[Items]:
    items = Items(request.param)
    with substituted(
        virtdisk={
            "EnumerateVirtualDiskMetadata": items.enumerate,
            "GetVirtualDiskMetadata": items.get,
            "SetVirtualDiskMetadata": items.set,
            "DeleteVirtualDiskMetadata": items.delete,
        }
    ):
        yield items


@pytest.fixture
def disk(items: Items) -> Iterator[VirtualDisk]:
    with VirtualDisk.open("a.vhdx") as disk:
        yield disk


def test_it_is_a_mutable_mapping(disk: VirtualDisk, items: Items) -> None:
    metadata: MutableMapping[uuid.UUID, bytes] = disk.metadata
    assert (len(metadata), list(metadata)) == (0, [])
    metadata[FIRST] = b"one"
    metadata[SECOND] = b""
    assert dict(metadata) == {FIRST: b"one", SECOND: b""}
    assert FIRST in metadata
    del metadata[FIRST]
    assert dict(metadata) == {SECOND: b""}
    metadata.update({FIRST: b"two"})
    assert metadata.pop(FIRST) == b"two"
    assert items.items == {SECOND: b""}
    assert repr(metadata).startswith("<Metadata of <VirtualDisk 'a.vhdx'")


def test_what_is_larger_than_expected_is_asked_for_again(disk: VirtualDisk, items: Items) -> None:
    large = bytes(range(256)) * 100
    items.items = {uuid.UUID(int=number): b"" for number in range(1000)}
    items.items[FIRST] = large
    assert len(disk.metadata) == 1000
    assert disk.metadata[FIRST] == large
    disk.metadata[SECOND] = large
    assert items.items[SECOND] == large


@pytest.mark.parametrize("absent", [constants.ERROR_NOT_FOUND, constants.ERROR_FILE_NOT_FOUND])
def test_a_missing_item_is_a_key_error(disk: VirtualDisk, items: Items, absent: int) -> None:
    items.absent = absent
    with pytest.raises(KeyError):
        print(disk.metadata[FIRST])
    with pytest.raises(KeyError):
        del disk.metadata[FIRST]
    assert disk.metadata.get(FIRST) is None
    assert FIRST not in disk.metadata


@pytest.mark.parametrize("key", ["00000000-0000-0000-0000-000000000001", 1, None])
def test_a_key_is_a_uuid(disk: VirtualDisk, key: uuid.UUID) -> None:
    with pytest.raises(TypeError, match=r"a metadata key must be a uuid\.UUID"):
        disk.metadata[key] = b""


@pytest.mark.parametrize("value", ["text", 3, None, [1, 2]])
def test_a_value_is_bytes(disk: VirtualDisk, items: Items, value: bytes) -> None:
    with pytest.raises(TypeError, match="a metadata value must be bytes"):
        disk.metadata[FIRST] = value
    assert FIRST not in items.items


def test_a_closed_disk_has_none(items: Items) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        metadata = disk.metadata
    with pytest.raises(ValueError, match="closed virtual disk"):
        list(metadata)
