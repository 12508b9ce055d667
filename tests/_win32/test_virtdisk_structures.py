"""Layouts of virtdisk.h, as the header's C has them with Windows' own alignment."""

from __future__ import annotations

import ctypes
import sys
import uuid

import pytest

from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of, wide_text

IS_64_BIT = ctypes.sizeof(ctypes.c_void_p) == 8


@pytest.mark.parametrize(
    ("structure", "size_64", "size_32", "alignment"),
    [
        (v.GUID, 16, 16, 4),
        (v.VIRTUAL_STORAGE_TYPE, 20, 20, 4),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, 44, 44, 4),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, 184, 160, 8),
        (v.ATTACH_VIRTUAL_DISK_PARAMETERS, 24, 24, 8),
        (v.GET_VIRTUAL_DISK_INFO, 32, 32, 8),
    ],
)
def test_structures_have_the_sizes_of_the_header(
    structure: type[ctypes.Structure], size_64: int, size_32: int, alignment: int
) -> None:
    assert ctypes.sizeof(structure) == (size_64 if IS_64_BIT else size_32)
    assert ctypes.alignment(structure) == alignment


@pytest.mark.parametrize(
    ("version", "size_64", "size_32"),
    [("Version1", 48, 40), ("Version2", 120, 104), ("Version3", 152, 128), ("Version4", 176, 152)],
)
def test_each_version_of_the_create_parameters_has_its_size(
    version: str, size_64: int, size_32: int
) -> None:
    part = getattr(v.CREATE_VIRTUAL_DISK_PARAMETERS(), version)
    assert ctypes.sizeof(part) == (size_64 if IS_64_BIT else size_32)


def offset(structure: type[ctypes.Structure], *path: str) -> int:
    """Where a field lies, from the start of the outermost structure."""
    made = structure()
    inner = made
    for name in path[:-1]:
        inner = getattr(inner, name)
    return address_of(inner) - address_of(made) + int(getattr(type(inner), path[-1]).offset)


@pytest.mark.parametrize(
    ("structure", "path", "at_64", "at_32"),
    [
        (v.VIRTUAL_STORAGE_TYPE, ["VendorId"], 4, 4),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, ["Version1", "RWDepth"], 4, 4),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, ["Version2", "GetInfoOnly"], 4, 4),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, ["Version2", "ReadOnly"], 8, 8),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, ["Version2", "ResiliencyGuid"], 12, 12),
        (v.OPEN_VIRTUAL_DISK_PARAMETERS, ["Version3", "SnapshotId"], 28, 28),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "UniqueId"], 8, 8),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "MaximumSize"], 24, 24),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "BlockSizeInBytes"], 32, 32),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "SectorSizeInBytes"], 36, 36),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "PhysicalSectorSizeInBytes"], 40, 40),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "ParentPath"], 48, 44),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "SourcePath"], 56, 48),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "OpenFlags"], 64, 52),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "ParentVirtualStorageType"], 68, 56),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "SourceVirtualStorageType"], 88, 76),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version2", "ResiliencyGuid"], 108, 96),
        (v.CREATE_VIRTUAL_DISK_PARAMETERS, ["Version4", "DataAlignment"], 176, 152),
        (v.ATTACH_VIRTUAL_DISK_PARAMETERS, ["Version1", "Reserved"], 8, 8),
        (v.ATTACH_VIRTUAL_DISK_PARAMETERS, ["Version2", "RestrictedLength"], 16, 16),
        (v.GET_VIRTUAL_DISK_INFO, ["Size", "PhysicalSize"], 16, 16),
        (v.GET_VIRTUAL_DISK_INFO, ["Size", "BlockSize"], 24, 24),
        (v.GET_VIRTUAL_DISK_INFO, ["Size", "SectorSize"], 28, 28),
        (v.GET_VIRTUAL_DISK_INFO, ["Identifier", "Data1"], 8, 8),
        (v.GET_VIRTUAL_DISK_INFO, ["ParentLocation", "ParentLocationBuffer"], 12, 12),
    ],
)
def test_fields_have_the_offsets_of_the_header(
    structure: type[ctypes.Structure], path: list[str], at_64: int, at_32: int
) -> None:
    assert offset(structure, *path) == (at_64 if IS_64_BIT else at_32)


def test_a_guid_has_its_first_three_parts_in_the_processors_order() -> None:
    value = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    guid = v.GUID.of(value)
    assert guid.uuid() == value
    if sys.byteorder == "little":
        assert bytes(guid).hex() == "33221100554477668899aabbccddeeff"


def test_a_structure_keeps_the_text_that_it_is_given() -> None:
    parameters = v.CREATE_VIRTUAL_DISK_PARAMETERS()
    parameters.Version2.ParentPath = "C:\\" + "parent" * 100
    again = v.CREATE_VIRTUAL_DISK_PARAMETERS.from_address(address_of(parameters))
    assert again.Version2.ParentPath == "C:\\" + "parent" * 100


@pytest.mark.parametrize("text", ["", "C:\\disk.vhdx", "Überfluß", "\U0001f4be", "half \ud800"])
def test_wide_text_reads_utf_16_up_to_a_nul(text: str) -> None:
    raw = text.encode("utf-16-le", "surrogatepass")
    assert wide_text(raw) == text
    assert wide_text(raw + b"\0\0more") == text
