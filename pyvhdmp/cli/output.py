"""Results on standard output, and errors as one line, on a terminal with some colour.

``--quiet`` keeps results back, unless they are asked for as JSON. What is told may come out of a
hostile image, and makes a terminal do nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from pyvhdmp.cli import rich_output
from pyvhdmp.cli.text import printable
from pyvhdmp.errors import code_of, code_text

__all__ = ["describe", "print_error", "print_result", "print_table", "print_text"]

_HERE: Final = {
    "allow_unsafe=True": "--allow-unsafe",
    "block_size": "--block-size",
    "force=True": "--force",
    "physical_sector_size": "--physical-sector-size",
    "sector_size": "--sector-size",
    "smallest_safe_size": "`pyvhdmp info PATH`",
    "the queue depth": "--queue-depth",
}
"""What errors name as it is in Python, and what it is on the command line."""
_THERE: Final = re.compile(rf"\b({'|'.join(_HERE)})\b")


def print_result(
    options: argparse.Namespace,
    facts: Mapping[str, object],
    text: str,
    *,
    is_success: bool = True,
) -> None:
    """Print what a command came to: as JSON on one line, or as text where there is any."""
    if options.json:
        print_text(json.dumps(facts))
    elif text and not (options.quiet and is_success):
        print_text(text)


def print_table(
    options: argparse.Namespace,
    facts: Mapping[str, object],
    text: str,
    rows: Sequence[Sequence[str]],
    head: Sequence[str] = (),
) -> None:
    """Print a result whose text is a table on a terminal that can show one."""
    console = rich_output.console_for(sys.stdout)
    if options.json or options.quiet or not rows or console is None:
        print_result(options, facts, text)
        return
    with _errors_named():
        shown = [[printable(cell) for cell in row] for row in rows]
        rich_output.print_table(console, head, shown)


def print_text(text: str) -> None:
    """Print a result."""
    with _errors_named():
        print(printable(text), flush=True)


def print_error(text: str) -> None:
    """Print what is wrong, error or warning, on standard error."""
    line = printable(f"pyvhdmp: {text}").replace("\n", "\\n")
    if (console := rich_output.console_for(sys.stderr)) is not None:
        rich_output.print_error(console, line)
    else:
        print(line, file=sys.stderr)


@contextmanager
def _errors_named() -> Iterator[None]:
    """Say of an error in the block that it is one of standard output, not of a disk."""
    try:
        yield
    except OSError as error:
        sys.stdout = None  # the interpreter's end must not try again
        raise OSError(error.errno, error.strerror, "standard output") from error


def describe(error: BaseException) -> str:
    """Return an error as one line: the file, what is wrong, Windows' code, and hints."""
    if not isinstance(error, OSError) or error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [str(error.filename)] if error.filename is not None else []
    parts.append(_in_options(" ".join(error.strerror.split()).rstrip(".")))
    text, hints = ": ".join(parts), getattr(error, "__notes__", [])
    hints = [hint for hint in hints if not hint.startswith("open_disk(")]  # of Python alone
    if code := code_of(error):
        text += f" (Windows error {code_text(code)})"
        hints = hints[1:]  # the first is for programmers: the function
    return " ".join([f"{text}.", *map(_in_options, hints)]) if hints else text


def _in_options(text: str) -> str:
    return _THERE.sub(lambda match: _HERE[match[0]], text)
