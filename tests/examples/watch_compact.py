"""Make the file of a dynamic disk smaller, see how far it is, and stop when you like.

Ctrl+C, or the end of the time that --timeout gives it, has the kernel cancel it, waits for its
answer, and tells what state the disk is in. Its content is the same in any case. Run it as
administrator, while the VM is stopped.

Exit codes: 0 done, 1 failed, 2 wrong usage, 124 out of time, 130 interrupted.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pyvhdmp


def watch(image: str | os.PathLike[str], seconds: float | None) -> tuple[str, int]:
    """Compact a disk, and show the progress; return how that ended, and the exit code."""
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with pyvhdmp.VirtualDisk.open(image) as disk:
            operation = disk.compact()

            def report(done: int, total: int) -> None:
                show(f"compacting {image}: {100 * done // max(total, 1)} %")
                if deadline is not None and time.monotonic() >= deadline:
                    operation.cancel()  # which asks: the kernel may be faster, or need a while

            operation.follow(report)
    except CancelledError:
        return "out of time", 124
    except pyvhdmp.AlreadyDone:
        return "interrupted when it was done", 130
    except KeyboardInterrupt:  # which has been a cancel, too, and the kernel has answered
        return "interrupted", 130
    return "done", 0


def show(line: str) -> None:
    """Write over the line before, if it is on a terminal."""
    if sys.stderr.isatty():
        print(line.ljust(70), end="\r", file=sys.stderr, flush=True)


def file_size(image: str | os.PathLike[str]) -> int:
    with pyvhdmp.VirtualDisk.open(image, info_only=True) as disk:
        return disk.info.physical_size


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", metavar="IMAGE", help="a dynamic or differencing .vhdx or .vhd")
    parser.add_argument("--timeout", metavar="S", type=float, help="in seconds; none unless given")
    options = parser.parse_args(arguments)
    try:
        before = file_size(options.image)
        outcome, code = watch(options.image, options.timeout)
        show("")
        after = file_size(options.image)
    except (OSError, RuntimeError) as error:
        notes = getattr(error, "__notes__", [])  # what else is known of it, and what helps
        print(f"{parser.prog}: {error}", *notes, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{outcome}: {options.image} is whole, and takes {after} bytes (before: {before})")
    return code


if __name__ == "__main__":
    sys.exit(main())
