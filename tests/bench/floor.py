"""Reads with many in flight, against the floor: the same system calls from a bare loop.

The loop has its OVERLAPPEDs, addresses and segment arrays made beforehand, dequeues as many
packets at once, and has no futures: what Python and ctypes cost at the least.
"""

from __future__ import annotations

import ctypes
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pyvhdmp
from pyvhdmp._win32 import get_last_error
from pyvhdmp._win32.structures import (
    OVERLAPPED_ENTRY_STRUCT,
    OVERLAPPED_RESULT,
    OVERLAPPED_STRUCT,
)
from tests.bench.rounds import Keeper, interleaved, report
from tests.bench.windows import INFINITE, PAGE, Memory, bound, open_file


class Floor:
    """`depth` reads of `pages` pages each in flight, `count` in all. Pages do not adjoin."""

    def __init__(self, path: str, size: int, depth: int, pages: int, count: int) -> None:
        self.path, self.depth, self.pages, self.count = path, depth, pages, count
        self.length = pages * PAGE
        self.blocks = size // self.length
        self.read = bound("ReadFile" if pages == 1 else "ReadFileScatter")
        self.dequeue = bound("GetQueuedCompletionStatusEx")
        self.packets = Memory(2 * PAGE)
        self.room = room = 64 + (pages + 1) * 8
        self.memory = Memory(depth * room)
        self.data = Memory(depth * 2 * self.length)
        self.slots: dict[int, tuple[int, int]] = {}
        for slot in range(depth):
            first = self.data.address + slot * 2 * self.length
            addresses = [first + 2 * page * PAGE for page in range(pages)]
            array = (ctypes.c_uint64 * (pages + 1)).from_buffer(self.memory.map, slot * room + 64)
            array[:] = [*addresses, 0]
            overlapped = self.memory.address + slot * room
            self.slots[overlapped] = (slot * room, first if pages == 1 else overlapped + 64)

    def run(self) -> float:
        """Return microseconds for each read, done in a thread of its own as pyvhdmp's are.

        On Wine it matters much where the kernel runs a thread: beside Wine's server or not.
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._run).result()

    def _run(self) -> float:
        create, close = bound("CreateIoCompletionPort"), bound("CloseHandle")
        handle = open_file(self.path)
        port = create(ctypes.c_size_t(-1).value, 0, 0, 1)
        create(handle, port, 1, 0)
        read, dequeue, last_error = self.read, self.dequeue, get_last_error
        pack, unpack = OVERLAPPED_STRUCT.pack_into, OVERLAPPED_RESULT.unpack_from
        memory, packets = self.memory.map, memoryview(self.packets.map)
        packets_at, count_at = self.packets.address, self.packets.address + PAGE
        length, blocks, slots, count = self.length, self.blocks, self.slots, self.count
        began = time.perf_counter()
        begun = done = 0
        for overlapped, (at, target) in slots.items():
            offset = begun % blocks * length
            pack(memory, at, 0, 0, offset & 0xFFFFFFFF, offset >> 32, 0)
            if not read(handle, target, length, 0, overlapped) and last_error() != 997:
                raise OSError(last_error())
            begun += 1
        while done < count:
            if not dequeue(port, packets_at, 64, count_at, INFINITE, 0):
                raise OSError(last_error())
            number = int.from_bytes(packets[PAGE : PAGE + 4], "little")
            for _, overlapped, _, _ in OVERLAPPED_ENTRY_STRUCT.iter_unpack(
                packets[: number * OVERLAPPED_ENTRY_STRUCT.size]
            ):
                at, target = slots[overlapped]
                status, transferred = unpack(memory, at)
                if status or transferred != length:
                    raise OSError(status)
                done += 1
                if begun < count:
                    offset = begun % blocks * length
                    pack(memory, at, 0, 0, offset & 0xFFFFFFFF, offset >> 32, 0)
                    if not read(handle, target, length, 0, overlapped) and last_error() != 997:
                        raise OSError(last_error())
                    begun += 1
        seconds = time.perf_counter() - began
        packets.release()
        close(handle)
        close(port)
        return seconds / count * 1e6


def ours(path: str, size: int, depth: int, pages: int, count: int, *, held: bool = False) -> float:
    """Return microseconds for each read of pyvhdmp. `held`: buffers are held beforehand, too."""
    length = pages * PAGE
    with (
        pyvhdmp.CompletionPort() as port,
        pyvhdmp.open_disk(path, read_only=True, backend="raw", port=port) as disk,
    ):
        buffers: list[list[memoryview] | pyvhdmp.HeldBuffers] = []
        for _ in range(depth):
            view = memoryview(pyvhdmp.PageBuffer(2 * length))
            listed = [view[2 * p * PAGE :][:PAGE] for p in range(pages)]
            buffers.append(pyvhdmp.HeldBuffers(listed) if held else listed)
        blocks, sectors = size // length, length // disk.sector_size
        read = disk.read_vectored
        keeper = Keeper(
            lambda slot, number: read(buffers[slot], number % blocks * sectors), depth, count
        )
        began = time.perf_counter()
        port.call_soon(keeper.start)
        keeper.wait()
        return (time.perf_counter() - began) / count * 1e6


def main(
    path: str, size: int, depth: int, pages: int, count: int, rounds: int, held: int = 0
) -> None:
    """Measure, and report."""
    floor = Floor(path, size, depth, pages, count)
    pairs = interleaved(
        lambda: ours(path, size, depth, pages, count, held=bool(held)), floor.run, rounds
    )
    report("us per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
