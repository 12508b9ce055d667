"""``copy`` from standard input and to standard output, which are ``-``, and to nowhere, ``NUL``.

Rules:

1. They are binary, and have the bytes of a raw disk; a terminal is none.
2. They are used below Python's buffers, whose locks a call that Ctrl+C has left behind would
   keep, and the interpreter could not end.
3. Where standard output is the disk's, nothing else is written to it.
4. A copy to nowhere reads all of the source, and that is what it is for.
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

__all__ = ["STREAM", "from_input", "is_nowhere", "to_nowhere", "to_output", "wrong_copy"]

STREAM: Final = "-"
_NOWHERE: Final = ("nul", "nul:", "/dev/null")


def is_nowhere(target: str) -> bool:
    """Whether what is written to a target is gone."""
    return target.lower() in _NOWHERE


def wrong_copy(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options of ``copy`` that do not go together."""
    if options.source != STREAM and options.size is not None:
        return "--size goes with - as SRC alone: an image tells its size"
    if options.target == STREAM or is_nowhere(options.target):
        for name in ("type", "parent", "verify", "force"):
            if getattr(options, name):
                return f"--{name} cannot go with {options.target} as DST"
        if options.source == STREAM:
            return f"- as SRC cannot go with {options.target} as DST"
    if options.target == STREAM:
        if options.json:
            return "--json cannot go with - as DST"
        if _is_terminal(sys.stdout):
            return "- as DST wants standard output to be a file or a pipe, not a terminal"
    if options.source == STREAM:
        if options.parent is not None:
            return "--parent cannot go with - as SRC"
        if _is_terminal(sys.stdin):
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


def to_nowhere(options: argparse.Namespace, progress: ProgressLine) -> CopyResult:
    """``copy SRC NUL``."""
    with open(os.devnull, "wb", buffering=0) as nowhere:
        return _to_stream(nowhere, options.target, options, progress)


def to_output(options: argparse.Namespace, progress: ProgressLine) -> None:
    """``copy SRC -``."""
    try:
        output = cast("WritableStream", _raw(sys.stdout))
        _to_stream(output, "standard output", options, progress)
    except OSError as error:
        if error.filename == "standard output":
            sys.stdout = None  # the interpreter's end must not try again
        raise


def _to_stream(
    stream: WritableStream, name: str, options: argparse.Namespace, progress: ProgressLine
) -> CopyResult:
    return copy_to_stream(
        options.source,
        stream,
        stream_name=name,
        queue_depth=options.queue_depth,
        io_size=options.io_size,
        report=progress.report,
    )


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether nothing or nobody but people is at the other end. Windows takes NUL for one, too."""
    if stream is None:
        return True
    buffer = getattr(stream, "buffer", None)
    is_file = isinstance(getattr(buffer, "raw", buffer), io.FileIO)
    return stream.isatty() and not (sys.platform == "win32" and is_file)


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
