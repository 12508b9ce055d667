"""Results on standard output, and errors as one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from pyvhdmp.errors import code_text

__all__ = ["describe", "print_json", "print_note", "print_text"]


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
    parts.append(" ".join(error.strerror.split()).rstrip("."))
    code = getattr(error, "winerror", None)
    if not code:
        return ": ".join(parts)
    hints = getattr(error, "__notes__", [])[1:]  # the first is for programmers: the function
    text = ": ".join(parts) + f" (Windows error {code_text(code)})"
    return " ".join([f"{text}.", *hints]) if hints else text
