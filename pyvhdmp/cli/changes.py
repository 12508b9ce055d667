"""``resize``, ``compact`` and ``merge``: what VHDMP does to a disk, and how long it takes.

Rules:

1. Each tells the sizes before and after, of the disk and of its file, from Windows' answer.
2. Whichever way it ends, somebody has to know which files hold the content: a merge that
   did not come to its end has it in all of them.
3. What is done is done: that the new sizes cannot be read is a note, and no failure.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli.interrupts import telling
from pyvhdmp.cli.output import describe, print_error, print_result
from pyvhdmp.cli.parser import Commands, add_json
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.text import format_size
from pyvhdmp.disk import open_virtual_disk
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskInfo

__all__ = ["add_to", "compact", "merge", "resize"]


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "resize",
        resize,
        "make a virtual disk larger or smaller",
        "Make a virtual disk larger or, if it is a .vhdx, smaller. Its partitions stay what they "
        "are.",
        "disk.vhdx 1.5T",
        "disk.vhdx --smallest",
    )
    parser.add_argument("path", metavar="PATH", type=types.path, help="the virtual disk")
    parser.add_argument(
        "size", metavar="SIZE", nargs="?", type=types.size, help="such as 512M or 1.5G, at least 3M"
    )
    parser.add_argument(
        "--smallest", action="store_true", help="make it as small as its partitions allow"
    )
    parser.add_argument(
        "--allow-unsafe", action="store_true", help="cut off what partitions hold past SIZE"
    )
    add_json(parser, "print the old and new sizes as JSON")
    parser.set_defaults(wrong_usage=_wrong_resize)

    parser = commands.add(
        "compact",
        compact,
        "make the file of a dynamic disk smaller",
        "Give back what the file of a dynamic or differencing disk takes for zeros. The content "
        "stays.",
        "disk.vhdx",
    )
    parser.add_argument("path", metavar="PATH", type=types.path, help="the virtual disk")
    parser.add_argument("--no-zero-scan", action="store_true", help="look for no zeros")
    parser.add_argument("--no-block-moves", action="store_true", help="move no blocks")
    add_json(parser, "print the old and new sizes as JSON")

    parser = commands.add(
        "merge",
        merge,
        "merge a differencing disk into its parent",
        "Write what a differencing disk holds into its parent, which then holds the content. "
        "Other disks with the same parent, and children of PATH, are lost by that.",
        "monday.avhdx --delete",
    )
    parser.add_argument("path", metavar="PATH", type=types.path, help="the differencing disk")
    parser.add_argument(
        "--depth",
        metavar="N",
        type=types.number(1000),
        default=1,
        help="into the parent's parent (2) and so on, with all that is between (default 1)",
    )
    parser.add_argument(
        "--delete", action="store_true", help="delete the files that were merged, after success"
    )
    add_json(parser, "print what was done as JSON")


def _wrong_resize(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options of ``resize`` that do not go together."""
    if options.smallest and (options.size is not None or options.allow_unsafe):
        return "--smallest goes with neither SIZE nor --allow-unsafe"
    if not options.smallest and options.size is None:
        return "the following arguments are required: SIZE (or --smallest)"
    return None


def resize(options: argparse.Namespace) -> int:
    """``resize PATH SIZE``, or to the smallest that its partitions allow."""
    path = options.path
    with (
        telling("resize", lambda: f"{path} is as it was") as course,
        ProgressLine(quiet=options.quiet) as progress,
    ):
        with open_virtual_disk(path) as disk:
            before = disk.info
            course.begin(lambda: _size_now(path), lambda: _size_now(path))
            if options.smallest:
                operation = disk.resize_to_smallest()
            else:
                operation = disk.resize(options.size, allow_unsafe=options.allow_unsafe)
            operation.follow(progress.share("resizing"))
            course.done()
        after = _info_after("resized", path)
    now = f": {format_size(after.virtual_size)}" if after is not None else ""
    said = f"resized {path}{now} (before: {format_size(before.virtual_size)})"
    print_result(options, {"path": path} | _sizes(before, after), said)
    return 0


def compact(options: argparse.Namespace) -> int:
    """``compact PATH``."""
    path = options.path
    with (
        telling("compact", lambda: f"{path} is as it was") as course,
        ProgressLine(quiet=options.quiet) as progress,
    ):
        with open_virtual_disk(path) as disk:
            before = disk.info
            course.begin(lambda: _room_now(path, before), lambda: _room_now(path, before))
            disk.compact(
                zero_scan=not options.no_zero_scan, block_moves=not options.no_block_moves
            ).follow(progress.share("compacting"))
            course.done()
        after = _info_after("compacted", path)
    now = f": takes {format_size(after.physical_size)}" if after is not None else ""
    said = f"compacted {path}{now} (before: {format_size(before.physical_size)})"
    print_result(options, {"path": path} | _sizes(before, after), said)
    return 0


def merge(options: argparse.Namespace) -> int:
    """``merge PATH``: what it holds goes into its parent."""
    path, depth = options.path, options.depth
    with (
        telling("merge", lambda: f"{path} is as it was") as course,
        ProgressLine(quiet=options.quiet) as progress,
    ):
        with open_virtual_disk(path) as disk:
            chain = disk.chain
            if depth >= len(chain):
                raise InvalidInputError.because(_too_short(len(chain) - 1), path)
            merged, target = [one.path for one in chain[:depth]], chain[depth].path
            course.begin(lambda: _keep([*merged, target]), lambda: f"{target} holds the content")
            operation = disk.merge(source_depth=1, target_depth=depth + 1)
            try:
                operation.follow(progress.share("merging"))
            except OSError as error:
                error.add_note(f"As for what there is: {_keep([*merged, target])}.")
                raise
            course.done()
        if options.delete:
            _delete(merged, target)
        after = _info_after("merged into", target)
    rest = "deleted" if options.delete else "not needed any more"
    now = f" and takes {format_size(after.physical_size)}" if after is not None else ""
    print_result(
        options,
        {
            "path": path,
            "merged": merged,
            "content": target,
            "deleted": merged if options.delete else [],
        }
        | _sizes(chain[depth], after),
        f"merged into {target}, which holds the content{now} "
        f"(before: {format_size(chain[depth].physical_size)}); "
        f"{rest}: {_names(merged)}",
    )
    return 0


def _too_short(parents: int) -> str:
    if not parents:
        return "has no parent to be merged into"
    return f"has only {parents} above it to be merged into"


def _delete(paths: Sequence[str], target: str) -> None:
    for path in paths:
        try:
            files.delete_file(current(), path)
        except OSError as error:
            error.add_note(f"The merge itself is done: {target} holds the content.")
            raise


def _keep(paths: Sequence[str]) -> str:
    return f"keep {_names(paths)}, as only all of them together hold the content"


def _names(paths: Sequence[str]) -> str:
    return " and ".join([", ".join(paths[:-1]), paths[-1]] if len(paths) > 1 else paths)


def _info(path: str) -> VirtualDiskInfo:
    with VirtualDisk.open(path, info_only=True) as disk:
        return disk.info


def _info_after(done: str, path: str) -> VirtualDiskInfo | None:
    """Return what a disk is, now that the work is done, or None, and say why."""
    try:
        return _info(path)
    except OSError as error:
        print_error(f"{done} {path}, but its new sizes cannot be read: {describe(error)}")
        return None


def _sizes(before: VirtualDiskInfo, after: VirtualDiskInfo | None) -> dict[str, object]:
    return {
        "old_size": before.virtual_size,
        "new_size": after.virtual_size if after is not None else None,
        "old_file_size": before.physical_size,
        "new_file_size": after.physical_size if after is not None else None,
    }


def _size_now(path: str) -> str:
    try:
        return f"{path} is whole, its size is {format_size(_info(path).virtual_size)}"
    except OSError:
        return f"{path} is whole"


def _room_now(path: str, before: VirtualDiskInfo) -> str:
    try:
        after = _info(path).physical_size
    except OSError:
        return f"{path} is whole"
    return (
        f"{path} is whole, and takes {format_size(after)} "
        f"(before: {format_size(before.physical_size)})"
    )
