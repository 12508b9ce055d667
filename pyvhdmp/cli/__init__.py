"""The command line, the only part that prints.

Rules:

1. Standard output has the result, as text or with ``--json`` as one JSON object;
   standard error has progress, on a terminal only, and errors, one line each.
2. Exit codes: 0 done, 1 failed (or the images differ), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import pyvhdmp
from pyvhdmp.cli import commands
from pyvhdmp.cli.text import parse_size
from pyvhdmp.errors import code_text

__all__ = ["main", "run"]

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (try {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. Raises `SystemExit` as argparse does."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print("pyvhdmp: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (OSError, RuntimeError, MemoryError) as error:
        print(f"pyvhdmp: {describe(error)}", file=sys.stderr)
        return FAILED


def run() -> int:
    """The console script: `main`, with names printed even if the terminal cannot show them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return main()


def describe(error: BaseException) -> str:
    """Return an error as one line: the file, what is wrong, Windows' code, and hints."""
    if not isinstance(error, OSError) or error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [str(error.filename)] if error.filename is not None else []
    parts.append(" ".join(error.strerror.split()).rstrip("."))
    code = getattr(error, "winerror", None)
    if not code:
        return ": ".join(parts)
    hints = getattr(error, "__notes__", [])[1:]  # the first is for programmers: the function
    text = ": ".join(parts) + f" (Windows error {code_text(code)})"
    return " ".join([f"{text}.", *hints]) if hints else text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pyvhdmp", description=pyvhdmp.__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=f"pyvhdmp {pyvhdmp.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    copy = subparsers.add_parser(
        "copy",
        help="copy a disk image, converting between raw, VHD and VHDX",
        description="Copy a disk image. A DST that ends in .vhd becomes a fixed VHD; one in .vhdx "
        "a dynamic VHDX, of 3 MiB or more, in which zeros take no room; any other a raw image. "
        "SRC can be of any kind. All but raw images and fixed VHDs need Windows' VHDMP driver "
        "and a process that is run as administrator. DST gets its name only when it is complete "
        "and flushed.",
        epilog="example: pyvhdmp copy disk.img disk.vhd --verify",
    )
    copy.add_argument("source", metavar="SRC", help="the image to copy")
    copy.add_argument("target", metavar="DST", help="the image to make")
    copy.add_argument("--verify", action="store_true", help="read both again and compare")
    copy.add_argument("--force", action="store_true", help="replace DST if it exists")
    _add_io_options(copy)
    copy.add_argument("--json", action="store_true", help="print what was done as JSON")
    copy.set_defaults(command=commands.copy)

    info = subparsers.add_parser(
        "info",
        help="show what a disk image is",
        description="Show what a disk image is.",
        epilog="example: pyvhdmp info disk.vhd --json",
    )
    info.add_argument("path", metavar="PATH", help="the image")
    info.add_argument("--json", action="store_true", help="print it as JSON")
    info.set_defaults(command=commands.info)

    compare = subparsers.add_parser(
        "compare",
        help="compare the content of two disk images",
        description="Compare the content of two disk images, whatever their kinds. "
        "Exit code 0 if it is the same, 1 if not.",
        epilog="example: pyvhdmp compare disk.img disk.vhd",
    )
    compare.add_argument("first", metavar="A", help="an image")
    compare.add_argument("second", metavar="B", help="another, of the same size")
    _add_io_options(compare)
    compare.add_argument("--json", action="store_true", help="print the result as JSON")
    compare.set_defaults(command=commands.compare)
    return parser


def _add_io_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue-depth",
        type=_queue_depth,
        default=32,
        metavar="N",
        help="requests in flight in each direction, 1 to 1024 (default 32)",
    )
    parser.add_argument(
        "--io-size",
        type=_io_size,
        default=256 * 1024,
        metavar="N",
        help="bytes in a request, such as 64K or 1M: a multiple of 4K up to 64M (default 256K)",
    )


def _queue_depth(text: str) -> int:
    depth = int(text) if text.isdecimal() else 0
    if not 1 <= depth <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not in 1 .. 1024")
    return depth


def _io_size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if size % 4096 or not 4096 <= size <= 64 * 1024 * 1024:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of 4K up to 64M")
    return size
