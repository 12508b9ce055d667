"""64 reads in flight of a device that takes 1 ms, against the design that this one replaces.

That design has one lock around one read at a time, which is waited for.
"""

from __future__ import annotations

import sys
import threading
import time

from pyvhdmp._win32.structures import OVERLAPPED_STRUCT
from tests.bench.device import Device
from tests.bench.rounds import interleaved, report
from tests.bench.windows import INFINITE, PAGE, Memory

DEPTH = 64
SECONDS = 0.001


def one_at_a_time(device: Device, count: int) -> float:
    """Return microseconds for each read."""
    read, dequeue = device.kernel32.ReadFile, device.kernel32.GetQueuedCompletionStatusEx
    memory, packets, data = Memory(64), Memory(2 * PAGE), Memory(PAGE)
    lock = threading.Lock()
    began = time.perf_counter()
    for number in range(count):
        with lock:
            OVERLAPPED_STRUCT.pack_into(memory.map, 0, 0, 0, number * PAGE, 0, 0)
            read(64, data.address, PAGE, 0, memory.address)
            dequeue(64, packets.address, 1, packets.address + PAGE, INFINITE, 0)
    return (time.perf_counter() - began) / count * 1e6


def main(library: str, rounds: int) -> None:
    """Measure, and report."""
    device = Device(library)
    device.set_delay(SECONDS)
    pairs = interleaved(
        lambda: device.reads(DEPTH, DEPTH * 300), lambda: one_at_a_time(device, 300), rounds
    )
    report("us per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
