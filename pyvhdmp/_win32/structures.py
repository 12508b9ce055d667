"""Windows' structures, twice over, and a test holds the two together:

- as a ctypes ``Structure``, which states the layout the way the header does;
- as a `struct.Struct` in native layout, for the hot path, where packing plain
  ints into memory that is already there costs a tenth of making an object.

Sizes are given for 64-bit [32-bit].
"""

from __future__ import annotations

import ctypes
import struct
from typing import ClassVar, Final

from pyvhdmp._win32.library import BYTE, DWORD, POINTER, CType

POINTER_SIZE: Final = ctypes.sizeof(ctypes.c_void_p)


class OVERLAPPED(ctypes.Structure):
    """minwinbase.h, 32 [20] bytes. Internal is the NTSTATUS, InternalHigh the
    number of bytes transferred, both once the operation is over."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [
        ("Internal", POINTER),
        ("InternalHigh", POINTER),
        ("Offset", DWORD),
        ("OffsetHigh", DWORD),
        ("hEvent", POINTER),
    ]


class OVERLAPPED_ENTRY(ctypes.Structure):
    """minwinbase.h, 32 [16] bytes: one packet of a completion port."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [
        ("lpCompletionKey", POINTER),
        ("lpOverlapped", POINTER),
        ("Internal", POINTER),
        ("dwNumberOfBytesTransferred", DWORD),
    ]


class FILE_SEGMENT_ELEMENT(ctypes.Union):
    """winnt.h, 8 bytes in a 32-bit process too: the address of one page."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [
        ("Buffer", POINTER),
        ("Alignment", ctypes.c_uint64),
    ]


class IO_STATUS_BLOCK(ctypes.Structure):
    """wdm.h, 16 [8] bytes."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [
        ("Status", POINTER),
        ("Information", POINTER),
    ]


class FILE_ZERO_DATA_INFORMATION(ctypes.Structure):
    """winioctl.h, 16 bytes: the range of FSCTL_SET_ZERO_DATA, end excluded."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [
        ("FileOffset", ctypes.c_int64),
        ("BeyondFinalZero", ctypes.c_int64),
    ]


class FILE_SET_SPARSE_BUFFER(ctypes.Structure):
    """winioctl.h, 1 byte."""

    _fields_: ClassVar[list[tuple[str, CType]]] = [("SetSparse", BYTE)]


class WIN32_FIND_DATAW(ctypes.Structure):
    """minwinbase.h, 592 bytes: an entry of a folder. The names are WCHARs that end with a NUL."""

    _fields_: ClassVar[
        list[
            tuple[str, CType | type[ctypes.Array[ctypes.c_uint16] | ctypes.Array[ctypes.c_uint32]]]
        ]
    ] = [
        ("dwFileAttributes", DWORD),
        ("ftCreationTime", DWORD * 2),
        ("ftLastAccessTime", DWORD * 2),
        ("ftLastWriteTime", DWORD * 2),
        ("nFileSizeHigh", DWORD),
        ("nFileSizeLow", DWORD),
        ("dwReserved0", DWORD),
        ("dwReserved1", DWORD),
        ("cFileName", ctypes.c_uint16 * 260),
        ("cAlternateFileName", ctypes.c_uint16 * 14),
    ]


# "0P" at the end pads to the alignment of a pointer, as a C compiler does.
OVERLAPPED_STRUCT: Final = struct.Struct("@PPIIP")
OVERLAPPED_RESULT: Final = struct.Struct("@PP")
OVERLAPPED_ENTRY_STRUCT: Final = struct.Struct("@PPPI0P")
FILE_ZERO_DATA_STRUCT: Final = struct.Struct("<qq")
FIND_DATA_STRUCT: Final = struct.Struct("<I24xII8x520s28x")
"""The attributes, the upper and the lower half of the size, and the name."""
SEGMENT_SIZE: Final = 8
LARGE_INTEGER_STRUCT: Final = struct.Struct("<q")
DWORD_STRUCT: Final = struct.Struct("<I")
WCHAR_SIZE: Final = 2
