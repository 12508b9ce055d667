"""A program that calls Windows by addresses, from one thread, and without the engine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import (
    DWORD_STRUCT,
    OVERLAPPED_ENTRY_STRUCT,
    OVERLAPPED_RESULT,
    OVERLAPPED_STRUCT,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows, SimulationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

READ: Final = constants.GENERIC_READ
WRITE: Final = constants.GENERIC_WRITE
UNBUFFERED: Final = constants.FILE_FLAG_OVERLAPPED | constants.FILE_FLAG_NO_BUFFERING
BUFFERED: Final = constants.FILE_FLAG_OVERLAPPED


class Packet(NamedTuple):
    """What a port gives out."""

    key: int
    overlapped: int
    status: int
    transferred: int


class Overlapped:
    """An OVERLAPPED in memory of its own."""

    def __init__(self, offset: int = 0, event: int = 0) -> None:
        self.block = Block(PAGE_SIZE)
        self.address = self.block.address
        OVERLAPPED_STRUCT.pack_into(
            self.block.memory, 0, 0, 0, offset & 0xFFFFFFFF, offset >> 32, event
        )

    @property
    def result(self) -> tuple[int, int]:
        """Return the status, and the bytes transferred."""
        status, transferred = OVERLAPPED_RESULT.unpack_from(self.block.memory)
        return status, transferred


class Program:
    """Opens, begins and dequeues; closes everything at its end."""

    def __init__(self, machine: SimulatedWindows) -> None:
        self.machine = machine
        self.windows = _win32.current()
        self.kernel32 = self.windows.kernel32
        self._handles: list[int] = []
        self._kept: list[Overlapped] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            self.kernel32.CloseHandle(handle)

    def failure(self, returned: int) -> int:
        """Return the code that a call failed with, 0 if it did not."""
        return 0 if returned else self.windows.get_last_error()

    def create(
        self,
        name: str,
        access: int = READ | WRITE,
        share_mode: int = 0,
        disposition: int = constants.OPEN_EXISTING,
        flags: int = UNBUFFERED,
    ) -> tuple[int, int]:
        """Return the handle of a file and 0, or 0 and the code that opening it failed with."""
        handle = self.kernel32.CreateFileW(name, access, share_mode, 0, disposition, flags, 0)
        if handle == constants.INVALID_HANDLE_VALUE:
            return 0, self.windows.get_last_error()
        self._handles.append(handle)
        return handle, 0

    def open(self, name: str, access: int = READ | WRITE, flags: int = UNBUFFERED) -> int:
        """Return the handle of a file that is there."""
        handle, code = self.create(name, access, flags=flags)
        assert code == 0
        return handle

    def pipe(self) -> tuple[int, int]:
        """Return the handles of a pipe."""
        ends = self.machine.pipe()
        self._handles.extend(ends)
        return ends

    def close(self, handle: int) -> int:
        """Close a handle; return the code that it failed with, or 0."""
        if handle in self._handles:
            self._handles.remove(handle)
        return self.failure(self.kernel32.CloseHandle(handle))

    def port(self, *handles: int) -> int:
        """Return the handle of a port that handles are bound to, with themselves as key."""
        port = self.kernel32.CreateIoCompletionPort(constants.INVALID_HANDLE_VALUE, 0, 0, 1)
        self._handles.append(port)
        for handle in handles:
            assert self.kernel32.CreateIoCompletionPort(handle, port, handle, 0) == port
        return port

    def begin(
        self, function: str, handle: int, address: int, length: int, overlapped: Overlapped
    ) -> int:
        """Call ReadFile or its kin; return the code that it failed with, or 0."""
        self._kept.append(overlapped)
        call = getattr(self.kernel32, function)
        return self.failure(call(handle, address, length, 0, overlapped.address))

    def begin_pending(
        self, function: str, handle: int, address: int, length: int, offset: int = 0
    ) -> Overlapped:
        """Call until chance has it that the request is in flight afterwards."""
        while True:
            overlapped, before = Overlapped(offset), self.machine.in_flight
            self.begin(function, handle, address, length, overlapped)
            if self.machine.in_flight > before:
                return overlapped

    def dequeue(
        self, port: int, count: int = 64, milliseconds: int = 0
    ) -> tuple[list[Packet], int]:
        """Return packets, and the code of a dequeue that failed."""
        block = Block(PAGE_SIZE)
        removed = PAGE_SIZE - DWORD_STRUCT.size
        code = self.failure(
            self.kernel32.GetQueuedCompletionStatusEx(
                port, block.address, count, block.address + removed, milliseconds, 0
            )
        )
        if code:
            return [], code
        (taken,) = DWORD_STRUCT.unpack_from(block.memory, removed)
        raw = memoryview(block.memory)[: taken * OVERLAPPED_ENTRY_STRUCT.size]
        return [Packet(*entry) for entry in OVERLAPPED_ENTRY_STRUCT.iter_unpack(raw)], 0

    def flush(self, handle: int) -> int:
        """Flush a file; return the NTSTATUS."""
        status = Overlapped()
        return self.windows.ntdll.NtFlushBuffersFileEx(handle, 0, 0, 0, status.address)

    def put(self, handle: int, offset: int, data: bytes) -> None:
        """Write, and wait until it is done."""
        block, overlapped = Block(-(-len(data) // PAGE_SIZE) * PAGE_SIZE), Overlapped(offset)
        block.memory[: len(data)] = data
        code = self.begin("WriteFile", handle, block.address, len(data), overlapped)
        assert code in (0, constants.ERROR_IO_PENDING)
        self.machine.run_until_idle()
        assert overlapped.result == (0, len(data))


@contextmanager
def running(seed: int = 1) -> Iterator[Program]:
    """A program on a simulated Windows that has a ``disk.img`` of 64 KiB."""
    with SimulatedWindows(seed) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(range(256)) * 256
        yield program
        windows.run_until_idle()


@contextmanager
def reported(problem: str) -> Iterator[Program]:
    """Expect what is done in a with block to be reported at its end."""
    with pytest.raises(SimulationError, match=problem), running() as program:
        yield program


def segments(*pages: int) -> Block:
    """Return a segment array, with the end that it must have."""
    block = Block(PAGE_SIZE)
    for index, page in enumerate(pages):
        block.memory[8 * index : 8 * index + 8] = page.to_bytes(8, "little")
    return block


def content(address: int, length: int) -> bytes:
    """Return what lies in memory."""
    return ctypes.string_at(address, length)
