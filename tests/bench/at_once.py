"""CPU time of a request on functions that complete at once, against the same calls and a Future.

Both begin 64 reads, take 64 packets and finish 64 futures, again and again, in one thread.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future

import pyvhdmp
from pyvhdmp._win32 import get_last_error
from pyvhdmp._win32.structures import (
    OVERLAPPED_ENTRY_STRUCT,
    OVERLAPPED_RESULT,
    OVERLAPPED_STRUCT,
)
from tests.bench.device import Device
from tests.bench.rounds import interleaved, report
from tests.bench.windows import INFINITE, PAGE, Memory

BATCH = 64
COUNT = BATCH * 2000


def ours(device: Device) -> float:
    """Return nanoseconds of CPU time for each read of pyvhdmp."""
    buffers = [[pyvhdmp.PageBuffer(PAGE)] for _ in range(BATCH)]
    over, left = threading.Event(), COUNT
    with device.port() as port:
        disk = device.disk(port)
        read = disk.read_vectored

        def begin(_: Future[None] | None = None) -> None:
            nonlocal left
            if not left:
                over.set()
                return
            left -= BATCH
            futures = [read(buffer, 8 * number) for number, buffer in enumerate(buffers)]
            futures[-1].add_done_callback(begin)

        began = time.process_time()
        port.call_soon(begin)
        over.wait()
        seconds = time.process_time() - began
        disk.close()
    return seconds / COUNT * 1e9


def by_hand(device: Device) -> float:
    """Return nanoseconds of CPU time for each read of a loop."""
    read, dequeue = device.kernel32.ReadFile, device.kernel32.GetQueuedCompletionStatusEx
    pack, unpack = OVERLAPPED_STRUCT.pack_into, OVERLAPPED_RESULT.unpack_from
    overlappeds, packets, data = Memory(BATCH * 64), Memory(2 * PAGE), Memory(BATCH * PAGE)
    memory, view = overlappeds.map, memoryview(packets.map)
    places = {overlappeds.address + at: at for at in range(0, BATCH * 64, 64)}
    began = time.process_time()
    for _ in range(COUNT // BATCH):
        futures: dict[int, Future[int]] = {}
        for overlapped, at in places.items():
            future: Future[int] = Future()
            future.set_running_or_notify_cancel()
            futures[overlapped] = future
            pack(memory, at, 0, 0, at * 64, 0, 0)
            if not read(64, data.address + at * 64, PAGE, 0, overlapped):
                raise OSError(get_last_error())
        done = 0
        while done < BATCH:
            dequeue(64, packets.address, 64, packets.address + PAGE, INFINITE, 0)
            count = int.from_bytes(view[PAGE : PAGE + 4], "little")
            for _, overlapped, _, _ in OVERLAPPED_ENTRY_STRUCT.iter_unpack(
                view[: count * OVERLAPPED_ENTRY_STRUCT.size]
            ):
                status, transferred = unpack(memory, places[overlapped])
                if status:
                    raise OSError(status)
                futures[overlapped].set_result(transferred)
            done += count
    return (time.process_time() - began) / COUNT * 1e9


def main(library: str, rounds: int) -> None:
    """Measure, and report."""
    device = Device(library)
    pairs = interleaved(lambda: ours(device), lambda: by_hand(device), rounds)
    report("ns of CPU time per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
