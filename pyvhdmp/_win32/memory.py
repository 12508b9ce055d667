"""Addresses of memory that Python objects own, and who keeps them valid.

Rules:

1. `Pins` hold the buffer exports of objects, as memoryviews do: while they are held the
   objects can be neither freed, nor moved, nor resized. They are released by whoever made
   them, or, of those that are shared, by the last user, when the kernel has let go.
2. What can be written is held by objects of ctypes' own, which take a fourth of the time
   of what else there is. They refuse ``bytes`` and every other read-only exporter, which
   are held by a Py_buffer. `FixedMemory` tells its address, and is held by a memoryview,
   which takes still less.
3. Nothing here checks a range; callers do.
4. Without the GIL, what one thread made and another drops is freed when the first runs
   again, which may be never. There, what holds is released in so many words.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, cast

from pyvhdmp._win32.library import CType

if TYPE_CHECKING:
    from typing import Self

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
_address_of: Callable[[object], int] = cast("Callable[[object], int]", ctypes.addressof)
_nbytes: Callable[[memoryview], int] = operator.attrgetter("nbytes")

_IS_FREE_THREADED: Final = "free-threading" in sys.version

_Watcher: TypeAlias = tuple[Callable[[int, int], None], Callable[[int, int], None]]

_watcher: _Watcher | None = None


class FixedMemory(mmap.mmap):
    """Anonymous memory that knows its `address`, which is 0 while it is being moved."""

    address: int

    def __new__(cls, size: int) -> Self:
        """Map `size` bytes."""
        memory = super().__new__(cls, -1, size)
        memory.address = _address_of(_hold_writable(memory))
        return memory

    def resize(self, newsize: int) -> None:
        """Resize as `mmap.mmap` does, which may move it. Raises `BufferError` if it is held."""
        self.address = 0  # first: another thread may ask as soon as it has moved
        try:
            super().resize(newsize)
        finally:
            if not self.closed:
                self.address = _address_of(_hold_writable(self))


class _ReadOnly:
    """Holds what cannot be written, by a Py_buffer, for as long as this is referred to."""

    __slots__ = ("view",)

    def __init__(self, view: memoryview, writable: bool) -> None:
        self.view = _Py_buffer()
        _get_buffer(view, self.view, _PyBUF_WRITABLE if writable else _PyBUF_SIMPLE)

    def release(self) -> None:
        _release_buffer(self.view)  # which does nothing where none was got, or not any more

    __del__ = release


class _Watched:
    """Tells a watcher of memory that is held, and when it is not any more."""

    __slots__ = ("_memory", "_released")

    def __init__(self, memory: list[tuple[int, int]], watcher: _Watcher) -> None:
        pinned, self._released = watcher
        self._memory = memory
        for address, length in memory:
            pinned(address, length)

    def release(self) -> None:
        memory, self._memory = self._memory, []
        for address, length in memory:
            self._released(address, length)

    __del__ = release


class Pins:
    """The memory of some objects with the buffer protocol, held in place together.

    `addresses` and `lengths` are those of each, `length` is that of all. Raises `TypeError`
    for an object without the protocol, `BufferError` for one that is not contiguous, or
    read-only where `writable` was asked for.
    """

    __slots__ = ("_holders", "_views", "addresses", "length", "lengths")
    addresses: list[int]
    length: int
    lengths: list[int]

    def __init__(self, buffers: Sequence[object], writable: bool) -> None:
        # No local variable holds what holds: whoever looks at the frames of a thread, as
        # debuggers do, would keep it. What is asked of each is a loop of the interpreter's own.
        self._holders: Sequence[ctypes.c_char | _ReadOnly | _Watched] = ()
        memory = buffers[0] if len(buffers) == 1 else None
        if isinstance(memory, FixedMemory):
            self._views = [_view(memory)]
            address = memory.address  # now that it cannot be moved any more
        else:
            self._views = list(map(_view, buffers))  # once, as the list may change meanwhile
            address = 0
        if address:
            self.addresses = [address]
            self.length = self._views[0].nbytes
            self.lengths = [self.length]
        else:
            try:
                if _IS_FREE_THREADED:
                    self._hold_each(writable)  # rule 4
                else:
                    self._holders = list(map(_hold_writable, self._views))
                    self.addresses = list(map(_address_of, self._holders))
            except (TypeError, ValueError):  # read-only or empty
                self._hold_each(writable)
            self.lengths = list(map(_nbytes, self._views))
            self.length = sum(self.lengths)
        if _watcher is not None:
            memory = list(zip(self.addresses, self.lengths, strict=True))
            self._holders = [_Watched(memory, _watcher), *self._holders]

    def _hold_each(self, writable: bool) -> None:
        self._holders = [
            _hold_writable(view)
            if view.c_contiguous and view.nbytes and not view.readonly and not _IS_FREE_THREADED
            else _ReadOnly(view, writable)
            for view in self._views
        ]
        self.addresses = [
            holder.view.buf if isinstance(holder, _ReadOnly) else _address_of(holder)
            for holder in self._holders
        ]

    def use(self, user: object) -> None:
        """Hold them for a request, which those that are shared keep account of."""

    def release(self, user: object = None) -> None:
        """Let the objects go. The addresses mean nothing from here on.

        `user`: whose use of them is over, for those that are shared.
        """
        if _IS_FREE_THREADED or _watcher is not None:
            for holder in self._holders:  # what watches first
                if isinstance(holder, (_ReadOnly, _Watched)):
                    holder.release()
            for view in self._views:
                view.release()
        self._views, self._holders = [], ()  # which is all that it takes elsewhere


def address_of(structure: ctypes.Structure | ctypes.Union) -> int:
    """Return where a structure lies. The caller keeps it alive for as long as it is used."""
    return ctypes.addressof(structure)


def wide_text(data: bytes | bytearray | memoryview) -> str:
    """Return the text that begins `data`, WCHARs up to a NUL or the end: UTF-16, as Windows has it.

    A path may hold half a surrogate pair, which stays as it is; half a WCHAR is none.
    """
    return _wide(data).partition("\0")[0]


def wide_texts(data: bytes | bytearray | memoryview) -> tuple[str, ...]:
    """Return the texts of a MULTI_SZ: each ends with a NUL, and the row of them with another."""
    return tuple(itertools.takewhile(bool, _wide(data).split("\0")))


def _wide(data: bytes | bytearray | memoryview) -> str:
    raw = bytes(data)
    return raw[: len(raw) // 2 * 2].decode("utf-16-le", "surrogatepass")


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
