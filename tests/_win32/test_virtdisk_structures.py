"""Layouts of virtdisk.h, as the header's C has them with Windows' own alignment."""

from __future__ import annotations

import ctypes
import inspect
import sys
import uuid
from types import ModuleType

import pytest

from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of, wide_text
from tests.support.layouts import fields_of, structures_of, structures_with_pointers_of
from tests.support.virtdisk_h import LAYOUTS, Extent

POINTER_SIZE = ctypes.sizeof(ctypes.c_void_p)

# For what the header has plain types.
OURS = {"HANDLE_CELL": POINTER_SIZE, "ULONG_CELL": 4, "ULONG64_CELL": 8}

MODULES = [
    pytest.param(v, POINTER_SIZE, id="this process"),
    pytest.param(structures_with_pointers_of(8), 8, id="64-bit"),
    pytest.param(structures_with_pointers_of(4), 4, id="32-bit"),
]


@pytest.mark.parametrize(("module", "pointer_size"), MODULES)
def test_structures_have_the_sizes_and_alignments_of_the_header(
    module: ModuleType, pointer_size: int
) -> None:
    assert {
        name: Extent(ctypes.sizeof(structure), ctypes.alignment(structure))
        for name, structure in structures_of(module).items()
        if name not in OURS
    } == {row.structure: row.extents[pointer_size] for row in LAYOUTS if not row.field}


@pytest.mark.parametrize(("module", "pointer_size"), MODULES)
@pytest.mark.parametrize("name", sorted({row.structure for row in LAYOUTS}))
def test_fields_have_the_names_offsets_and_sizes_of_the_header(
    name: str, module: ModuleType, pointer_size: int
) -> None:
    assert dict(fields_of(structures_of(module)[name])) == {
        row.field: row.extents[pointer_size]
        for row in LAYOUTS
        if row.structure == name and row.field
    }


def test_a_layout_has_a_row_for_each_of_23_structures_and_the_guid_in_them() -> None:
    assert len({row.structure for row in LAYOUTS}) == 23 + 1
    assert len({(row.structure, row.field) for row in LAYOUTS}) == len(LAYOUTS)


def test_a_cell_is_as_large_as_what_is_put_into_it() -> None:
    sizes = {name: ctypes.sizeof(cell) for name, cell in structures_of(v).items() if name in OURS}
    assert sizes == OURS


@pytest.mark.parametrize("size", [8, 4])
def test_a_text_at_the_end_begins_where_the_constants_say(size: int) -> None:
    offsets = {
        row.field: row.extents[size].first
        for row in LAYOUTS
        if row.structure == "GET_VIRTUAL_DISK_INFO"
    }
    assert offsets["ParentLocation.ParentLocationBuffer"] == v.PARENT_LOCATION_AT
    assert offsets["ChangeTrackingState.MostRecentId"] == v.MOST_RECENT_ID_AT


def every_structure() -> list[type[ctypes.Structure]]:
    """Those without a name of their own included, and without those that are unions."""
    return [
        value
        for value in vars(v).values()
        if isinstance(value, type) and issubclass(value, ctypes.Structure)
    ]


@pytest.mark.parametrize("structure", every_structure())
def test_a_type_checker_knows_every_field(structure: type[ctypes.Structure]) -> None:
    names = [name for name, _ in fields_of(structure) if "." not in name]
    hints = {name for name in inspect.get_annotations(structure) if not name.startswith("_")}
    assert hints == set(names)


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
