"""``copy`` from standard input and to standard output, which are ``-``.

Rules:

1. They are binary, and have the bytes of a raw disk; a terminal is none.
2. They are used below Python's buffers, whose locks a call that Ctrl+C has left behind would
   keep, and the interpreter could not end.
3. Where standard output is the disk's, nothing else is written to it.
"""

from __future__ import annotations

import argparse
import io
import os
import stat
import sys
from typing import Final, TextIO, cast

from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.copying import CopyResult
from pyvhdmp.streaming import ReadableStream, WritableStream, copy_from_stream, copy_to_stream

__all__ = ["STREAM", "from_input", "to_output", "wrong_copy"]

STREAM: Final = "-"


def wrong_copy(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options of ``copy`` that do not go together."""
    if options.source != STREAM and options.size is not None:
        return "--size goes with - as SRC alone: an image tells its size"
    if options.target == STREAM:
        for name in ("type", "parent", "verify", "force", "json"):
            if getattr(options, name):
                return f"--{name} cannot go with - as DST"
        if options.source == STREAM:
            return "SRC and DST cannot both be -"
        if sys.stdout is None or sys.stdout.isatty():
            return "- as DST wants standard output to be a file or a pipe, not a terminal"
    if options.source == STREAM:
        if options.parent is not None:
            return "--parent cannot go with - as SRC"
        if sys.stdin is None or sys.stdin.isatty():
            return "- as SRC wants standard input to be a file or a pipe, not a terminal"
        if options.size is None and _input_size() is None:
            return "- as SRC wants --size, such as --size 10G: standard input does not tell it"
    return None


def from_input(options: argparse.Namespace, progress: ProgressLine) -> CopyResult:
    """``copy - DST``."""
    size = options.size if options.size is not None else _input_size()
    assert size is not None  # or it would have been wrong usage
    return copy_from_stream(
        cast("ReadableStream", _raw(sys.stdin)),
        options.target,
        size,
        stream_name="standard input",
        disk_type=options.type,
        queue_depth=options.queue_depth,
        io_size=options.io_size,
        verify=options.verify,
        force=options.force,
        report=progress.report,
    )


def to_output(options: argparse.Namespace, progress: ProgressLine) -> None:
    """``copy SRC -``."""
    try:
        copy_to_stream(
            options.source,
            cast("WritableStream", _raw(sys.stdout)),
            stream_name="standard output",
            queue_depth=options.queue_depth,
            io_size=options.io_size,
            report=progress.report,
        )
    except OSError as error:
        if error.filename == "standard output":
            sys.stdout = None  # the interpreter's end must not try again
        raise


def _raw(stream: TextIO) -> object:
    """Return what is below a text stream that has not been used yet."""
    return getattr(stream.buffer, "raw", stream.buffer)


def _input_size() -> int | None:
    """Return what is left of standard input, if that is a file."""
    try:
        status = os.fstat(sys.stdin.fileno())
        if stat.S_ISREG(status.st_mode):
            return max(0, status.st_size - sys.stdin.buffer.tell())
    except (OSError, io.UnsupportedOperation):
        pass
    return None
