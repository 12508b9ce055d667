"""Addresses of memory that Python objects own, and who keeps them valid.

Rules:

1. `Pin` holds the buffer export of an object, as a memoryview does: while it is
   held the object can be neither freed, nor moved, nor resized. It is released
   once, by whoever made it, when the kernel has let go.
2. What can be written is held by an object of ctypes' own, which takes a fourth of the
   time of what else there is. It refuses ``bytes`` and every other read-only exporter,
   which are held by a Py_buffer.
3. Nothing here checks a range; callers do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, cast

from pyvhdmp._win32.library import CType

_PyBUF_SIMPLE = 0
_PyBUF_WRITABLE = 1


class _Py_buffer(ctypes.Structure):
    """CPython's Py_buffer, part of its stable ABI since 3.11."""

    _fields_: ClassVar[list[tuple[str, CType | type[ctypes.c_void_p]]]] = [
        ("buf", ctypes.c_size_t),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]
    buf: int
    len: int


_get_buffer: Callable[[object, _Py_buffer, int], object] = ctypes.pythonapi.PyObject_GetBuffer
ctypes.pythonapi.PyObject_GetBuffer.argtypes = [
    ctypes.py_object,
    ctypes.POINTER(_Py_buffer),
    ctypes.c_int,
]
ctypes.pythonapi.PyObject_GetBuffer.restype = ctypes.c_int

_release_buffer: Callable[[_Py_buffer], object] = ctypes.pythonapi.PyBuffer_Release
ctypes.pythonapi.PyBuffer_Release.argtypes = [ctypes.POINTER(_Py_buffer)]
ctypes.pythonapi.PyBuffer_Release.restype = None

_increment_reference = ctypes.pythonapi.Py_IncRef
_increment_reference.argtypes = [ctypes.py_object]
_increment_reference.restype = None


# Declared for any object: whatever has no buffer is refused when it is asked for one.
_hold_writable = cast("Callable[[object], ctypes.c_char]", ctypes.c_char.from_buffer)
_view = cast("Callable[[object], memoryview]", memoryview)
_address_of = ctypes.addressof

_watcher: tuple[Callable[[int, int], None], Callable[[int, int], None]] | None = None


class Pin:
    """The memory of one object with the buffer protocol, held in place.

    Raises `TypeError` for an object without the protocol, `BufferError` for one
    that is not contiguous, or read-only where `writable` was asked for.
    """

    __slots__ = ("_holder", "address", "length")

    def __init__(self, buffer: object, writable: bool) -> None:
        self._holder: ctypes.c_char | _Py_buffer | None
        # No local variable holds what holds: whoever looks at the frames of a thread, as
        # debuggers do, would keep it.
        try:
            self._holder = _hold_writable(buffer)
            self.address: int = _address_of(self._holder)
            self.length: int = _view(buffer).nbytes
        except (TypeError, ValueError):  # read-only, empty, or no buffer at all
            view = _Py_buffer()
            _get_buffer(buffer, view, _PyBUF_WRITABLE if writable else _PyBUF_SIMPLE)
            self._holder = view
            self.address = view.buf
            self.length = view.len
        if _watcher is not None:
            _watcher[0](self.address, self.length)

    def release(self) -> None:
        """Let the object go. The address means nothing from here on."""
        if self._holder is None:
            return
        if _watcher is not None:
            _watcher[1](self.address, self.length)
        if type(self._holder) is _Py_buffer:
            _release_buffer(self._holder)
        self._holder = None  # which is all that an object of ctypes' takes


def address_of(structure: ctypes.Structure | ctypes.Union) -> int:
    """Return where a structure lies. The caller keeps it alive for as long as it is used."""
    return ctypes.addressof(structure)


def wide_text(data: bytes | bytearray | memoryview) -> str:
    """Return the text that begins `data`, WCHARs up to a NUL or the end: UTF-16, as Windows has it.

    A path may hold half a surrogate pair, which stays as it is.
    """
    text = bytes(data).decode("utf-16-le", "surrogatepass")
    return text.partition("\0")[0]


@contextmanager
def watched(
    pinned: Callable[[int, int], None], released: Callable[[int, int], None]
) -> Iterator[None]:
    """Report each pin, by address and length, as it is made and just before it is released.

    For a simulated kernel, which thereby knows of memory that is let go too early.
    """
    global _watcher
    before, _watcher = _watcher, (pinned, released)
    try:
        yield
    finally:
        _watcher = before


def copy_memory(target: int, source: int, length: int) -> None:
    """Copy `length` bytes from one address to another, without the GIL."""
    ctypes.memmove(target, source, length)


def keep_for_ever(obj: object) -> None:
    """Never let `obj` be freed, not even by the interpreter's own finalization."""
    _increment_reference(obj)
