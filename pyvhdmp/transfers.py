"""A request that is one call, and the memory that it holds.

Rules:

1. It is one object: its future, the call, and the work of its file. Most requests are this,
   and it costs them next to nothing else.
2. Its buffers are held from before its call until the kernel has let go. Then it lets them
   go, finishes its future and tells its file, in this order, whatever comes up.
3. What was never begun is finished by whoever began it, so nothing holds its buffers.
"""

from __future__ import annotations

import mmap
import operator
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final, TypeVar

from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.errors import InvalidInputError, windows_error
from pyvhdmp.futures import IoFuture
from pyvhdmp.register import KernelCall

if TYPE_CHECKING:
    from pyvhdmp.buffers import Buffer
    from pyvhdmp.overlapped import OverlappedFile

__all__ = ["ByteTransfer", "Transfer", "as_list", "check_length", "checked_offset", "pin_buffers"]

T = TypeVar("T")

MAX_TRANSFER: Final = constants.MAXDWORD // PAGE_SIZE * PAGE_SIZE
"""Bytes that one call can transfer: its length is a DWORD. Whole pages."""

_MAX_OFFSET: Final = (1 << 63) - 1


class Transfer(IoFuture[T], KernelCall):
    """A request that is one call: the future, and the call, and the work of the file.

    Its `finish` lets the buffers go, finishes the future and then, whatever came up, tells
    the file that it is `finished`.
    """

    is_idle: Final = False

    def __init__(self, file: OverlappedFile) -> None:
        super().__init__()
        self.file = file

    def cancel(self) -> bool:
        """Ask the kernel to cancel the call; return False: see `IoFuture.cancel`."""
        if not self.done():
            self.file.cancel_operation(self)
        return False

    def abandon(self) -> None:
        """An exception came up while this was begun. If it was, its packet will come (rule 3)."""
        if not self.begun and not self.done():
            self.finish(constants.ERROR_OPERATION_ABORTED, 0)


class ByteTransfer(Transfer[int]):
    """One call whose future tells the bytes transferred: a read, a write, a control."""

    def __init__(self, file: OverlappedFile, function: str) -> None:
        super().__init__(file)
        self.segments: Block | None = None
        self._function = function
        self._pins: list[Pins] = []

    def pin(self, buffers: list[Buffer], *, writable: bool, name: str | None = None) -> Pins:
        """Hold buffers until the end of the transfer."""
        pins = pin_buffers(buffers, writable=writable, name=name)
        self._pins.append(pins)
        return pins

    def finish(self, code: int, transferred: int) -> None:
        """Let the buffers go, tell how many bytes were transferred, leave the file."""
        try:
            for pins in self._pins:
                pins.release()
            if code in (constants.ERROR_SUCCESS, constants.ERROR_HANDLE_EOF):
                self.resolve(transferred)
            elif code == constants.ERROR_OPERATION_ABORTED and self.cancel_wanted:
                self.fail(CancelledError())
            else:
                self.fail(windows_error(code, self._function))
        finally:
            self.file.finished(self)


def as_list(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Return buffers that a caller gave as a list. Raises `TypeError` for one buffer alone."""
    if isinstance(buffers, (bytes, bytearray, memoryview, mmap.mmap)):
        raise TypeError(f"a list of buffers is wanted, not one {type(buffers).__name__}")
    return list(buffers)


def pin_buffers(buffers: list[Buffer], *, writable: bool, name: str | None = None) -> Pins:
    """Hold buffers that a caller gave.

    Raises `InvalidInputError` for one that cannot be used, and `TypeError` for what is no
    buffer, with its `name`, which by default is its place among `buffers`.
    """
    try:
        return Pins(buffers, writable)
    except (BufferError, TypeError) as error:
        for index, buffer in enumerate(buffers):
            _check_buffer(buffer, writable, name or f"buffers[{index}]")
        raise error


def _check_buffer(buffer: Buffer, writable: bool, name: str) -> None:
    try:
        Pins([buffer], writable).release()
    except BufferError as error:
        raise InvalidInputError.because(f"{name} cannot be used: {error}") from error


def check_length(length: int) -> None:
    """Raise `InvalidInputError` for more bytes than one call can transfer."""
    if length > MAX_TRANSFER:
        raise InvalidInputError.because(f"one call transfers at most {MAX_TRANSFER} bytes")


def checked_offset(offset: int) -> int:
    """Return an offset in a file. Raises `InvalidInputError` for what is none."""
    offset = operator.index(offset)
    if not 0 <= offset <= _MAX_OFFSET:
        raise InvalidInputError.because(f"offset {offset} is not in 0 .. 2**63 - 1")
    return offset
