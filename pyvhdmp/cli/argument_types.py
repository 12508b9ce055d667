"""What an argument can be, and the complaint about any other: sizes, numbers, times, identities."""

from __future__ import annotations

import argparse
import math
import uuid
from collections.abc import Callable
from typing import Final

from pyvhdmp.cli.text import parse_size
from pyvhdmp.virtual_disk import VirtualDiskType

__all__ = [
    "disk_type",
    "identity",
    "multiple",
    "number",
    "path",
    "queue_depth",
    "queue_depths",
    "seconds",
    "seconds_or_none",
    "size",
]


def path(text: str) -> str:
    """Return a path as it is. Arguments of this type are completed with the names of files."""
    return text


def size(text: str) -> int:
    """Return a size in bytes: ``4096``, ``512K``, ``1.5G``."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def multiple(unit: str) -> Callable[[str], int]:
    """Return what takes sizes up to 64M that are a multiple of `unit`, which is a size, too."""

    def checked(text: str) -> int:
        step, found = parse_size(unit), size(text)
        if found % step or not step <= found <= 64 << 20:
            raise argparse.ArgumentTypeError(
                f"{text} is no multiple of {unit} up to 64M, such as 64K"
            )
        return found

    return checked


def number(most: int, *, least: int = 1) -> Callable[[str], int]:
    """Return what takes whole numbers from `least` to `most`."""

    def checked(text: str) -> int:
        found = int(text) if text.isdecimal() else -1
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text or repr(text)} is not in {least} .. {most}")
        return found

    return checked


queue_depth: Final = number(1024)


def queue_depths(text: str) -> list[int]:
    """Return several, from ``1,4,16``."""
    return [queue_depth(depth) for depth in text.split(",")]


def seconds(text: str) -> float:
    """Return a time that something can be measured in."""
    if not (found := seconds_or_none(text)):
        raise argparse.ArgumentTypeError(f"{text} is no time to measure")
    return found


def seconds_or_none(text: str) -> float:
    """Return a time, which may be 0."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds up to 1000000")
    return found


def identity(text: str) -> uuid.UUID:
    """Return the identity of a disk."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID") from None


def disk_type(text: str) -> VirtualDiskType:
    """Return how a file holds the content: ``fixed`` or ``dynamic``."""
    if text not in ("fixed", "dynamic"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither fixed nor dynamic")
    return VirtualDiskType(text)
