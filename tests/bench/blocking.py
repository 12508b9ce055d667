"""Reads one at a time, each waited for, against ReadFile with an event that is waited for."""

from __future__ import annotations

import sys
import time

import pyvhdmp
from pyvhdmp._win32 import get_last_error
from pyvhdmp._win32.structures import OVERLAPPED_RESULT, OVERLAPPED_STRUCT
from tests.bench.rounds import interleaved, report
from tests.bench.windows import PAGE, Memory, bound, open_file


def synchronous(path: str, size: int, count: int) -> float:
    """Return microseconds for each read."""
    read, wait, close = bound("ReadFile"), bound("GetOverlappedResult"), bound("CloseHandle")
    handle, event = open_file(path), bound("CreateEventW")(0, 1, 0, 0)
    memory, data = Memory(PAGE), Memory(PAGE)
    pack, last_error = OVERLAPPED_STRUCT.pack_into, get_last_error
    began = time.perf_counter()
    for number in range(count):
        offset = number * PAGE % size
        pack(memory.map, 0, 0, 0, offset & 0xFFFFFFFF, offset >> 32, event)
        if not read(handle, data.address, PAGE, 0, memory.address) and last_error() != 997:
            raise OSError(last_error())
        if not wait(handle, memory.address, memory.address + 64, 1):
            raise OSError(last_error())
        if OVERLAPPED_RESULT.unpack_from(memory.map, 0) != (0, PAGE):
            raise OSError(number)
    seconds = time.perf_counter() - began
    close(handle)
    close(event)
    return seconds / count * 1e6


def ours(path: str, size: int, count: int) -> float:
    """Return microseconds for each read of pyvhdmp."""
    with pyvhdmp.BlockingDisk.open(path, read_only=True, backend="raw") as file:
        buffer = pyvhdmp.PageBuffer(PAGE)
        began = time.perf_counter()
        for number in range(count):
            file.seek(number * PAGE % size)
            if file.readinto(buffer) != PAGE:
                raise OSError(number)
        return (time.perf_counter() - began) / count * 1e6


def main(path: str, size: int, count: int, rounds: int) -> None:
    """Measure, and report."""
    pairs = interleaved(
        lambda: ours(path, size, count), lambda: synchronous(path, size, count), rounds
    )
    report("us per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
