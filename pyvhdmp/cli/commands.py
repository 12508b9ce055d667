"""The commands: each takes its parsed options and returns an exit code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.text import format_rate, format_size
from pyvhdmp.copying import compare_images, copy_image
from pyvhdmp.disk import open_disk

__all__ = ["compare", "copy", "info"]


def _print(text: str) -> None:
    """Print a result; an error in that is one of standard output, not of a disk."""
    try:
        print(text, flush=True)
    except OSError as error:
        sys.stdout = None  # the interpreter's end must not try again
        raise OSError(error.errno, error.strerror, "standard output") from error


def copy(options: argparse.Namespace) -> int:
    """``copy SRC DST``."""
    with ProgressLine() as progress:
        result = copy_image(
            options.source,
            options.target,
            queue_depth=options.queue_depth,
            io_size=options.io_size,
            verify=options.verify,
            force=options.force,
            report=progress.report,
        )
    if options.json:
        names = {"source": options.source, "target": options.target}
        _print(json.dumps(names | dataclasses.asdict(result)))
    else:
        _print(
            f"copied {format_size(result.bytes)} in {result.seconds:.1f} s "
            f"({format_rate(result.bytes, result.seconds)}), at most {result.depth} in flight"
            + (", verified" if result.verified else "")
        )
    return 0


def info(options: argparse.Namespace) -> int:
    """``info PATH``."""
    with open_disk(options.path, read_only=True) as disk:
        facts = {
            "path": disk.path,
            "disk_type": disk.disk_type,
            "size": disk.size,
            "sector_size": disk.sector_size,
            "physical_sector_size": disk.physical_sector_size,
            "sector_count": disk.sector_count,
            "disk_id": str(disk.disk_id) if disk.disk_id is not None else None,
        }
    if options.json:
        _print(json.dumps(facts))
    else:
        facts["size"] = f"{format_size(disk.size)} ({disk.size} bytes)"
        for name, value in facts.items():
            if value is not None:
                _print(f"{name.replace('_', ' ') + ':':22}{value}")
    return 0


def compare(options: argparse.Namespace) -> int:
    """``compare A B``."""
    with ProgressLine() as progress:
        difference = compare_images(
            options.first,
            options.second,
            queue_depth=options.queue_depth,
            io_size=options.io_size,
            report=progress.report,
        )
    if options.json:
        _print(json.dumps({"identical": difference is None, "first_difference": difference}))
    elif difference is None:
        _print("identical")
    else:
        _print(f"they differ, first at byte {difference}")
    return 0 if difference is None else 1
