"""``info``: what an image is, or what all the images in a folder are.

In a folder, what cannot be read is no failure: it says why in its row.
"""

from __future__ import annotations

import argparse
import ntpath
from collections.abc import Sequence
from typing import Any, Final

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli.facts import facts_of
from pyvhdmp.cli.output import describe, print_table
from pyvhdmp.cli.parser import Commands, add_json
from pyvhdmp.cli.text import format_bytes, format_size
from pyvhdmp.virtual_disk.formats import format_of

__all__ = ["add_to", "info"]

_INDENT: Final = 22
_SIZES: Final = ("size", "file_size", "block_size", "smallest_safe_size")
_RAW: Final = (".img", ".raw")
_HEAD: Final = ("name", "format", "type", "size", "file", "parent or problem")


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "info",
        info,
        "show what a disk image is",
        "Show what a disk image is, with the whole chain of its parents, and what Windows tells "
        "about it; or list the images in a folder.",
        "disk.vhd --json",
        ".",
    )
    parser.add_argument(
        "path", metavar="PATH", type=types.path, help="the image, or a folder of images"
    )
    add_json(parser, "print it as JSON")


def info(options: argparse.Namespace) -> int:
    """``info PATH``."""
    path = files.checked_path(options.path)
    if files.is_directory(current(), path):
        _print_folder(options, path)
    else:
        _print_image(options, path)
    return 0


def _print_image(options: argparse.Namespace, path: str) -> None:
    facts = facts_of(path)
    rows = [
        (f"{name.replace('_', ' ')}:", text)
        for name, value in facts.items()
        if (text := _text(name, value)) is not None
    ]
    separator = "\n" + " " * _INDENT
    lines = [f"{name:{_INDENT}}" + text.replace("\n", separator) for name, text in rows]
    print_table(options, facts, "\n".join(lines), rows)


def _print_folder(options: argparse.Namespace, path: str) -> None:
    entries = sorted(files.folder_entries(current(), path), key=lambda entry: entry.name.lower())
    disks = [
        _summary(path, entry) for entry in entries if not entry.is_folder and _is_image(entry.name)
    ]
    rows = [_row(disk) for disk in disks]
    text = "\n".join(_aligned([_HEAD, *rows])) if rows else f"no disks in {path}"
    print_table(options, {"path": path, "disks": disks}, text, rows, _HEAD)


def _is_image(name: str) -> bool:
    return format_of(name) is not None or ntpath.splitext(name)[1].lower() in _RAW


def _summary(folder: str, entry: files.FolderEntry) -> dict[str, Any]:
    """Return what is told of a disk in a folder; None for what is not known of it."""
    path = ntpath.join(folder, entry.name)
    try:
        facts = facts_of(path)
    except OSError as error:
        facts = {"problem": describe(error).removeprefix(f"{path}: ")}
    parents = [disk["path"] for disk in facts.get("chain", [])[1:]]
    return {
        "name": entry.name,
        "path": path,
        "format": facts.get("format"),
        "disk_type": facts.get("disk_type"),
        "size": facts.get("size"),
        "file_size": facts.get("file_size", entry.size),
        "parent": next(iter(parents + facts.get("parent_looked_for", [])), None),
        "problem": facts.get("problem"),
    }


def _row(disk: dict[str, Any]) -> tuple[str, ...]:
    size = format_size(disk["size"]) if disk["size"] is not None else ""
    last = "; ".join(text for text in (disk["parent"], disk["problem"]) if text)
    known = (disk["name"], disk["format"] or "", disk["disk_type"] or "", size)
    return (*known, format_size(disk["file_size"]), last)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its cells one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _text(name: str, value: Any) -> str | None:
    """Return a fact as people read it, None if there is nothing to say."""
    if value is None or value == [] or (name == "block_size" and not value):
        return None
    if name in _SIZES:
        return format_bytes(value)
    if name == "fragmentation":
        return f"{value} %"
    if name == "change_tracking":
        latest = f", latest id {value['most_recent_id']}" if value["most_recent_id"] else ""
        newer = ", and newer changes" if value["newer_changes"] else ""
        return "on" + latest + newer if value["enabled"] else "off"
    if name == "chain":
        if len(value) == 1:
            return None
        return "\n".join(
            f"{_line(disk['path'])} ({disk['disk_type']}, {format_size(disk['file_size'])})"
            for disk in value
        )
    if isinstance(value, list):
        return _line(", ".join(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _line(str(value))


def _line(text: str) -> str:
    """Return what is one line, whatever is in it."""
    return text.replace("\n", "\\n")
