"""Reads without end: the rate of 1,000,000 against that of 10,000, and the memory they take."""

from __future__ import annotations

import sys
import time

import pyvhdmp
from tests.bench.device import Device
from tests.bench.memory import working_set
from tests.bench.rounds import Keeper, report
from tests.bench.windows import PAGE

DEPTH = 64
FEW, MANY = 10_000, 1_000_000


def reads(device: Device, count: int) -> float:
    """Return microseconds for each read of pyvhdmp."""
    with device.port() as port:
        disk = device.disk(port)
        buffers = [[pyvhdmp.PageBuffer(PAGE)] for _ in range(DEPTH)]
        read = disk.read_vectored
        keeper = Keeper(lambda slot, number: read(buffers[slot], number % 1000 * 8), DEPTH, count)
        began = time.perf_counter()
        port.call_soon(keeper.start)
        keeper.wait()
        seconds = time.perf_counter() - began
        disk.close()
    return seconds / count * 1e6


def main(library: str, rounds: int) -> None:
    """Measure, and report."""
    device = Device(library)
    reads(device, FEW)
    few = [reads(device, FEW) for _ in range(rounds)]
    before = working_set()
    many = reads(device, MANY)
    grown = working_set() - before
    few += [reads(device, FEW) for _ in range(rounds)]
    report("us per read", {"rate": [(many, one) for one in few]})
    report("bytes", {"memory": [(grown, 1)]})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
