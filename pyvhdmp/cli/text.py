"""Sizes, rates and times as people write and read them."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "format_bytes",
    "format_rate",
    "format_seconds",
    "format_size",
    "parse_size",
    "printable",
]

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but the end of a line, and what turns the direction of writing."""
_UNITS: Final = "KMGTP"
_SIZE: Final = re.compile(
    r"([0-9]+)(?:\.([0-9]+)(?=[KMGTP]))?(?:([KMGTP])(?:i?B)?|B)?", re.IGNORECASE
)


def parse_size(text: str) -> int:
    """Return the bytes that ``4096``, ``512K``, ``1.5G`` or ``10GiB`` stand for, units of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size, such as 4096, 512K, 1.5G or 10GiB")
    whole, fraction, unit = match.groups(default="")
    scale: int = 1 << 10 * (_UNITS.index(unit.upper()) + 1) if unit else 1
    parts: int = 10 ** len(fraction)
    size, rest = divmod(int(whole + fraction) * scale, parts)
    if rest:
        raise ValueError(f"{text!r} is no whole number of bytes, such as 512K, 1.5G or 10GiB")
    return size


def printable(text: str) -> str:
    """Return a text without what makes a terminal do something, in whose place its code is shown.

    Names and paths come out of folders and images. Lines stay lines.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def format_size(size: float) -> str:
    """Return a size with one decimal and a unit: ``1.5 GiB``."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in _UNITS:
        size /= 1024
        if size < 1024 or unit == _UNITS[-1]:
            break
    return f"{size:.1f} {unit}iB"


def format_bytes(size: int) -> str:
    """Return a size to read, and to the byte: ``1.0 KiB (1024 bytes)``."""
    return f"{format_size(size)} ({size} bytes)"


def format_rate(size: float, seconds: float) -> str:
    """Return bytes per second: ``812.3 MiB/s``."""
    return f"{format_size(size / seconds if seconds > 0 else 0)}/s"


def format_seconds(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
