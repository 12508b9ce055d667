"""``copy`` of a raw image to a fixed .vhd, against shutil.copyfile of the same warm file."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable

from pyvhdmp.copying import copy_image
from tests.bench.rounds import interleaved, report


def main(source: str, folder: str, rounds: int) -> None:
    """Measure, and report."""

    def timed(copy: Callable[[str, str], object], name: str) -> float:
        target = os.path.join(folder, name)
        began = time.perf_counter()
        copy(source, target)
        seconds = time.perf_counter() - began
        os.unlink(target)
        return seconds

    pairs = interleaved(
        lambda: timed(copy_image, "copy.vhd"), lambda: timed(shutil.copyfile, "copy.img"), rounds
    )
    report("s per copy", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
