"""``copy`` and ``compare``: the content of images, whatever their kinds."""

from __future__ import annotations

import argparse
import dataclasses

from pyvhdmp.cli.interrupts import making, telling
from pyvhdmp.cli.output import print_result
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.streams import STREAM, from_input, to_output
from pyvhdmp.cli.text import format_rate, format_size
from pyvhdmp.copying import compare_images, copy_image

__all__ = ["compare", "copy"]


def copy(options: argparse.Namespace) -> int:
    """``copy SRC DST``."""
    if options.target == STREAM:
        with (
            telling("copy", lambda: f"{options.source} was only read"),
            ProgressLine(quiet=options.quiet) as progress,
        ):
            to_output(options, progress)
        return 0
    with making("copy", options.target), ProgressLine(quiet=options.quiet) as progress:
        if options.source == STREAM:
            result = from_input(options, progress)
        else:
            result = copy_image(
                options.source,
                options.target,
                disk_type=options.type,
                parent=options.parent,
                queue_depth=options.queue_depth,
                io_size=options.io_size,
                verify=options.verify,
                force=options.force,
                report=progress.report,
            )
    print_result(
        options,
        {"source": options.source, "target": options.target} | dataclasses.asdict(result),
        f"copied {format_size(result.bytes)} in {result.seconds:.1f} s "
        f"({format_rate(result.bytes, result.seconds)}), at most {result.depth} in flight"
        + (", verified" if result.verified else ""),
    )
    return 0


def compare(options: argparse.Namespace) -> int:
    """``compare A B``."""
    with ProgressLine(quiet=options.quiet) as progress:
        difference = compare_images(
            options.first,
            options.second,
            queue_depth=options.queue_depth,
            io_size=options.io_size,
            report=progress.report,
        )
    print_result(
        options,
        {"identical": difference is None, "first_difference": difference},
        "identical" if difference is None else f"they differ, first at byte {difference}",
        is_success=difference is None,
    )
    return 0 if difference is None else 1
