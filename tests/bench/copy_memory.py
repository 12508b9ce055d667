"""The peak working set of a copy, above that of an interpreter that has imported pyvhdmp."""

from __future__ import annotations

import os
import subprocess
import sys

from pyvhdmp.copying import copy_image
from tests.bench.memory import peak_working_set
from tests.bench.rounds import report


def taken(source: str, target: str) -> int:
    """Return the bytes that a copy takes. In a process of its own: a peak stays."""
    command = [sys.executable, "-m", "tests.bench.copy_memory", source, target]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def copy(source: str, target: str) -> None:
    """Copy, and print what that took."""
    before = peak_working_set()
    copy_image(source, target)
    sys.stdout.write(str(peak_working_set() - before))
    os.unlink(target)


def main(small: str, large: str, target: str) -> None:
    """Measure, and report."""
    of_small, of_large = taken(small, target), taken(large, target)
    report(
        "bytes",
        {
            "small": [(of_small, 1)],
            "large": [(of_large, 1)],
            "growth": [(of_large, of_small)],
        },
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        copy(sys.argv[1], sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3])
