"""The time that ``import pyvhdmp`` adds to the start of an interpreter.

A public name is loaded when it is first used; what all of them take is told, too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from tests.bench.rounds import interleaved, report


def started(statement: str) -> float:
    """Return milliseconds from the start of an interpreter to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began) * 1e3


def main(rounds: int) -> None:
    """Measure, and report."""
    measured = {}
    for name, statement in (("", "import pyvhdmp"), ("all names", "from pyvhdmp import *")):
        pairs = interleaved(partial(started, statement), partial(started, "pass"), rounds)
        measured[name] = [(with_it - bare, 1.0) for with_it, bare in pairs]
    report("ms", measured)


if __name__ == "__main__":
    main(int(sys.argv[1]))
