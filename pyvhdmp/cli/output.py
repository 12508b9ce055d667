"""Results on standard output, and errors as one line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Final

from pyvhdmp.errors import code_text

__all__ = ["describe", "print_json", "print_note", "print_text"]

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


def print_text(text: str) -> None:
    """Print a result; an error in that is one of standard output, not of a disk."""
    try:
        print(text, flush=True)
    except OSError as error:
        sys.stdout = None  # the interpreter's end must not try again
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as JSON, on one line."""
    print_text(json.dumps(result))


def print_note(text: str) -> None:
    """Print what is not right, and still no failure, on standard error."""
    print(f"pyvhdmp: {text}", file=sys.stderr)


def describe(error: BaseException) -> str:
    """Return an error as one line: the file, what is wrong, Windows' code, and hints."""
    if not isinstance(error, OSError) or error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [str(error.filename)] if error.filename is not None else []
    parts.append(_in_options(" ".join(error.strerror.split()).rstrip(".")))
    text, hints = ": ".join(parts), getattr(error, "__notes__", [])
    if code := getattr(error, "winerror", None):
        text += f" (Windows error {code_text(code)})"
        hints = hints[1:]  # the first is for programmers: the function
    return " ".join([f"{text}.", *map(_in_options, hints)]) if hints else text


def _in_options(text: str) -> str:
    return _THERE.sub(lambda match: _HERE[match[0]], text)
