"""Convert every disk image in the folder SOURCE, several at a time, into the folder TARGET.

A .vhd comes out fixed, and a .vhdx dynamic, which takes an administrator; --to raw makes .img
files. What is there already is not replaced. An image that fails keeps no other from being
converted, and is told of at the end. Ctrl+C stops them all; what is in TARGET then is whole.

Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 interrupted.
"""

import argparse
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeAlias

from pyvhdmp import CopyResult, copy_image

IMAGES = (".img", ".raw", ".vhd", ".vhdx", ".avhdx")
SUFFIXES = {"vhdx": ".vhdx", "vhd": ".vhd", "raw": ".img"}
MIB = 1 << 20

Failure: TypeAlias = tuple[str, BaseException]  # what failed, and why


def convert(images: Mapping[Path, Path], jobs: int) -> list[Failure]:
    """Convert images, sources by target, so many at a time; return what failed."""
    stopped = threading.Event()
    progress = dict.fromkeys(images, (0, 0))
    failures: list[Failure] = []

    def convert_one(target: Path) -> CopyResult:
        def report(phase: str, done: int, total: int) -> None:
            progress[target] = done, total
            if stopped.is_set():  # a copy whose report raises leaves nothing behind
                raise InterruptedError

        report("waiting", 0, 0)
        return copy_image(images[target], target, report=report)

    with ThreadPoolExecutor(jobs) as threads:
        targets = {threads.submit(convert_one, target): target for target in images}
        pending = set(targets)
        try:
            while pending:  # on Windows, a wait without a time limit lets no Ctrl+C through
                finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                show("")
                for future in finished:
                    source, target = images[targets[future]].name, targets[future].name
                    if (error := future.exception()) is None:
                        print(f"{source} -> {target}: {future.result().bytes} bytes")
                    else:
                        failures.append((f"{source} -> {target}", error))
                show(summary(len(images) - len(pending), progress))
            show("")
        except BaseException:
            stopped.set()
            raise
    return failures


def summary(finished: int, progress: Mapping[Path, tuple[int, int]]) -> str:
    """Tell how far all of them are; those that have not begun count as nothing."""
    done, total = (sum(column) // MIB for column in zip(*progress.values(), strict=True))
    return f"{finished} of {len(progress)} images, {done} of {total} MiB"


def show(line: str) -> None:
    """Write over the line before, if it is on a terminal."""
    if sys.stderr.isatty():
        print(line.ljust(70), end="\r", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", type=Path)
    parser.add_argument("target", metavar="TARGET", type=Path, help="is made, if it is not there")
    parser.add_argument("--to", choices=SUFFIXES, default="vhdx", help="vhdx unless given")
    parser.add_argument("--jobs", metavar="N", type=int, default=4, help="at once, 4 unless given")
    options = parser.parse_args(arguments)
    if not options.source.is_dir():
        parser.error(f"{options.source} is no folder")
    if options.jobs < 1:
        parser.error("N must be 1 or more")
    if options.target.exists() and options.target.samefile(options.source):
        parser.error("TARGET must be another folder than SOURCE")
    images: dict[Path, Path] = {}
    failures: list[Failure] = []
    for source in sorted(options.source.iterdir()):
        target = options.target / (source.stem + SUFFIXES[options.to])
        if source.suffix.lower() not in IMAGES:
            continue
        if target in images:
            why = f"{images[target].name} becomes {target.name} already"
            failures.append((source.name, ValueError(why)))
        else:
            images[target] = source
    try:
        options.target.mkdir(parents=True, exist_ok=True)
        failures += convert(images, options.jobs)
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except (OSError, RuntimeError) as error:
        notes = getattr(error, "__notes__", [])  # what else is known of it, and what helps
        print(f"{parser.prog}: {error}", *notes, sep="\n  ", file=sys.stderr)
        return 1
    for image, failure in failures:
        notes = getattr(failure, "__notes__", [])
        print(f"{parser.prog}: {image}: {failure}", *notes, sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
