"""Reads without end: the rate of 1,000,000 against that of 10,000, and the memory they take."""

from __future__ import annotations

import sys

from tests.bench.device import Device
from tests.bench.memory import working_set
from tests.bench.rounds import report

DEPTH = 64
FEW, MANY = 10_000, 1_000_000


def main(library: str, rounds: int) -> None:
    """Measure, and report."""
    device = Device(library)
    device.reads(DEPTH, FEW)
    few = [device.reads(DEPTH, FEW) for _ in range(rounds)]
    before = working_set()
    many = device.reads(DEPTH, MANY)
    grown = working_set() - before
    few += [device.reads(DEPTH, FEW) for _ in range(rounds)]
    report("us per read", {"rate": [(many, one) for one in few]})
    report("bytes", {"memory": [(grown, 1)]})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
