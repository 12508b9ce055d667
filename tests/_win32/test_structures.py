"""Layouts, against the Windows headers, and the packed forms against the layouts."""

from __future__ import annotations

import ctypes
import struct

import pytest

from pyvhdmp._win32 import structures as s

POINTER = ctypes.sizeof(ctypes.c_void_p)
IS_64_BIT = POINTER == 8


@pytest.mark.parametrize(
    ("structure", "size_64", "size_32", "alignment"),
    [
        (s.OVERLAPPED, 32, 20, POINTER),
        (s.OVERLAPPED_ENTRY, 32, 16, POINTER),
        (s.FILE_SEGMENT_ELEMENT, 8, 8, 8),
        (s.IO_STATUS_BLOCK, 16, 8, POINTER),
        (s.FILE_ZERO_DATA_INFORMATION, 16, 16, 8),
        (s.FILE_SET_SPARSE_BUFFER, 1, 1, 1),
        (s.WIN32_FIND_DATAW, 592, 592, 4),
    ],
)
def test_structures_have_the_sizes_of_the_headers(
    structure: type[ctypes.Structure], size_64: int, size_32: int, alignment: int
) -> None:
    assert ctypes.sizeof(structure) == (size_64 if IS_64_BIT else size_32)
    assert ctypes.alignment(structure) == alignment


def test_fields_have_the_offsets_of_the_headers() -> None:
    assert s.OVERLAPPED.Internal.offset == 0
    assert s.OVERLAPPED.InternalHigh.offset == POINTER
    assert s.OVERLAPPED.Offset.offset == 2 * POINTER
    assert s.OVERLAPPED.OffsetHigh.offset == 2 * POINTER + 4
    assert s.OVERLAPPED.hEvent.offset == 2 * POINTER + 8
    assert s.OVERLAPPED_ENTRY.lpCompletionKey.offset == 0
    assert s.OVERLAPPED_ENTRY.lpOverlapped.offset == POINTER
    assert s.OVERLAPPED_ENTRY.Internal.offset == 2 * POINTER
    assert s.OVERLAPPED_ENTRY.dwNumberOfBytesTransferred.offset == 3 * POINTER
    assert s.IO_STATUS_BLOCK.Information.offset == POINTER
    assert s.FILE_ZERO_DATA_INFORMATION.BeyondFinalZero.offset == 8


@pytest.mark.parametrize(
    ("packed", "structure"),
    [
        (s.OVERLAPPED_STRUCT, s.OVERLAPPED),
        (s.OVERLAPPED_ENTRY_STRUCT, s.OVERLAPPED_ENTRY),
        (s.FILE_ZERO_DATA_STRUCT, s.FILE_ZERO_DATA_INFORMATION),
    ],
)
def test_a_packed_form_is_the_structure(
    packed: struct.Struct, structure: type[ctypes.Structure]
) -> None:
    assert packed.size == ctypes.sizeof(structure)
    names = [field[0] for field in structure._fields_]
    values = [0x10203040 + number for number in range(len(names))]
    made = structure.from_buffer_copy(packed.pack(*values))
    assert [getattr(made, name) for name in names] == values


def test_the_result_of_an_operation_is_at_the_start_of_its_overlapped() -> None:
    made = s.OVERLAPPED(Internal=0xC0000120, InternalHigh=4096)
    assert s.OVERLAPPED_RESULT.unpack_from(bytes(made)) == (0xC0000120, 4096)


def test_an_entry_of_a_folder_is_taken_apart_as_it_is_laid_out() -> None:
    name = "disk.vhdx".encode("utf-16-le")
    made = s.WIN32_FIND_DATAW(dwFileAttributes=0x10, nFileSizeHigh=2, nFileSizeLow=3)
    made.cFileName[: len(name) // 2] = memoryview(name).cast("H")
    assert s.FIND_DATA_STRUCT.size == ctypes.sizeof(made)
    attributes, high, low, raw = s.FIND_DATA_STRUCT.unpack(bytes(made))
    assert (attributes, high, low) == (0x10, 2, 3)
    assert raw == name.ljust(520, b"\0")
