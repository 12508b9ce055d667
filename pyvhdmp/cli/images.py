"""``copy`` and ``compare``: the content of images, whatever their kinds."""

from __future__ import annotations

import argparse
import dataclasses

from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli.interrupts import making, telling
from pyvhdmp.cli.output import print_result
from pyvhdmp.cli.parser import Commands, add_io_options, add_json, add_type
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.streams import STREAM, from_input, is_nowhere, to_nowhere, to_output, wrong_copy
from pyvhdmp.cli.text import format_rate, format_size
from pyvhdmp.copying import Comparison, CopyResult, compare_images, copy_image

__all__ = ["add_to", "compare", "copy"]

DIFFERENT, TROUBLE = 1, 2
"""What `compare` ends with, as cmp and diff do, for what is not the same, or not known."""


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "copy",
        copy,
        "copy a disk image, converting between raw, VHD and VHDX",
        "Copy a disk image. The names say what the images are: SRC is opened through VHDMP if it "
        "is a .vhd, .vhdx, .avhd, .avhdx or .vhds (a fixed .vhd also without), and is raw "
        "otherwise. DST becomes a fixed VHD if it is a .vhd; a dynamic VHDX, which takes no room "
        "for zeros, needs VHDMP, and holds 3 MiB or more, if it is a .vhdx; and a raw image "
        "otherwise. Zeros, and what the parent holds, are left out by 64 KiB. DST gets its name "
        "only when it is complete and flushed; until then it is DST.pyvhdmp-partial or, made by "
        "VHDMP, has the mark before its suffix. A copy that is killed outright leaves that file, "
        "and the next one writes over it. Standard input and output, which are -, have the bytes "
        "of a raw disk; in PowerShell before 7.4 a pipe is text, so let cmd /c run it.",
        "disk.img disk.vhd --verify",
        "zstd -dc disk.img.zst | pyvhdmp copy - disk.vhdx --size 10G",
        "pyvhdmp copy disk.vhdx - | ssh backup dd of=disk.img",
    )
    parser.add_argument(
        "source", metavar="SRC", type=types.path, help="the image to copy; - is standard input"
    )
    parser.add_argument(
        "target",
        metavar="DST",
        type=types.path,
        help="the image to make; - is standard output, NUL nowhere",
    )
    parser.add_argument(
        "--size",
        metavar="SIZE",
        type=types.size,
        help="how much standard input has, such as 512M or 1.5G, if it is no file",
    )
    kind = parser.add_mutually_exclusive_group()
    add_type(kind, "what DST is to be, if not as its name says; needs VHDMP")
    kind.add_argument(
        "--parent",
        metavar="P",
        type=types.path,
        help="make DST (also an .avhd or .avhdx) hold only what differs from P, of SRC's size",
    )
    parser.add_argument("--verify", action="store_true", help="read both again and compare")
    parser.add_argument("--force", action="store_true", help="replace DST if it exists")
    add_io_options(parser)
    add_json(parser, "print what was done as JSON")
    parser.set_defaults(wrong_usage=wrong_copy)

    parser = commands.add(
        "compare",
        compare,
        "compare the content of two disk images",
        "Compare the content of two disk images, whatever their kinds. Exit code 0 if it is the "
        "same, 1 if it or its size is not, 2 if one of them cannot be read.",
        "disk.img disk.vhd",
    )
    parser.add_argument("first", metavar="A", type=types.path, help="an image")
    parser.add_argument("second", metavar="B", type=types.path, help="another")
    add_io_options(parser)
    add_json(parser, "print the result as JSON")
    parser.set_defaults(failure=TROUBLE)


def copy(options: argparse.Namespace) -> int:
    """``copy SRC DST``."""
    if options.target == STREAM or is_nowhere(options.target):
        with (
            telling("copy", lambda: f"{options.source} was only read"),
            ProgressLine(quiet=options.quiet) as progress,
        ):
            if options.target == STREAM:
                to_output(options, progress)
                return 0
            result = to_nowhere(options, progress)
        _print_copy(options, result, "read")
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
    _print_copy(options, result, "copied")
    return 0


def _print_copy(options: argparse.Namespace, result: CopyResult, done: str) -> None:
    print_result(
        options,
        {"source": options.source, "target": options.target} | dataclasses.asdict(result),
        f"{done} {format_size(result.bytes)} in {result.seconds:.1f} s "
        f"({format_rate(result.bytes, result.seconds)}), at most {result.depth} in flight"
        + (", verified" if result.verified else ""),
    )


def compare(options: argparse.Namespace) -> int:
    """``compare A B``."""
    with ProgressLine(quiet=options.quiet) as progress:
        found = compare_images(
            options.first,
            options.second,
            queue_depth=options.queue_depth,
            io_size=options.io_size,
            report=progress.report,
        )
    print_result(
        options,
        {"identical": found.identical} | dataclasses.asdict(found),
        _said_of(found, options.first, options.second),
        is_success=found.identical,
    )
    return 0 if found.identical else DIFFERENT


def _said_of(found: Comparison, first: str, second: str) -> str:
    if found.identical:
        return "identical"
    if found.first_difference is None:
        return f"they differ: {first} has {found.first_size} bytes, {second} {found.second_size}"
    return f"they differ, first at byte {found.first_difference}"
