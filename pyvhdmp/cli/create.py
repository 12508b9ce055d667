"""``create``: a new virtual disk, empty, on top of another one, or with the content of one.

Rules:

1. The disk is made at a name that says it is not finished: see `replacing`. So Ctrl+C, an
   error or a power cut leave no file of its name, and the one that was there is as it was.
2. A fixed .vhd can be had without VHDMP: then it is made directly.
3. What is made is made: that nothing can be told about it is a note, and no failure.
"""

from __future__ import annotations

import argparse
from typing import Final

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli.facts import facts_of
from pyvhdmp.cli.interrupts import making
from pyvhdmp.cli.output import describe, print_error, print_result
from pyvhdmp.cli.parser import Commands, add_json, add_type
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.text import format_size
from pyvhdmp.disk import (
    is_vhdmp_out_of_reach,
    make_fixed_vhd,
    wanting_vhdmp,
)
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.logs import logger
from pyvhdmp.replacing import check_target, partial_name, replacing
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskFormat, VirtualDiskType
from pyvhdmp.virtual_disk.formats import check_new_disk, check_new_name, format_of

__all__ = ["add_to", "create"]

_DEVICES: Final = "\\\\.\\"


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "create",
        create,
        "make a virtual disk: dynamic, fixed, differencing, or a copy",
        "Make a virtual disk: an empty one of SIZE bytes; with --parent, one that holds what is "
        "changed of another; with --from, one with the content of another. Its name says the "
        "format, .vhd or .vhdx. It gets its name only when it is complete. VHDMP makes it; a "
        "fixed .vhd is made without where VHDMP is not to be had.",
        "disk.vhdx 10G",
        "monday.avhdx --parent disk.vhdx",
        "copy.vhd --from disk.vhdx --type fixed",
    )
    parser.add_argument("path", metavar="PATH", type=types.path, help="the disk to make")
    parser.add_argument(
        "size",
        metavar="SIZE",
        nargs="?",
        type=types.size,
        help="its size, such as 512M or 1.5G, at least 3M; with --from, the source's if it is "
        "left out",
    )
    add_type(parser, "how its file holds the content (default dynamic, which grows with use)")
    made_from = parser.add_mutually_exclusive_group()
    made_from.add_argument(
        "--parent",
        metavar="P",
        type=types.path,
        help="begin with the content of P, which must not change from then on",
    )
    made_from.add_argument(
        "--from",
        dest="source",
        metavar="SRC",
        type=types.path,
        help="copy the virtual disk SRC, with what it has from its parents",
    )
    parser.add_argument(
        "--block-size",
        metavar="N",
        type=types.size,
        default=0,
        help="what its file grows by: 512K or 2M in a .vhd, 1M to 256M in a .vhdx",
    )
    parser.add_argument(
        "--sector-size", metavar="N", type=types.size, help="512 (default) or, in a .vhdx, 4K"
    )
    parser.add_argument(
        "--physical-sector-size",
        metavar="N",
        type=types.size,
        help="what it says that its physical sectors are: 512 or, in a .vhdx, 4K",
    )
    parser.add_argument(
        "--id", metavar="UUID", type=types.identity, help="its identity (default: new)"
    )
    parser.add_argument("--force", action="store_true", help="replace PATH if it exists")
    add_json(parser, "print what was made as JSON")
    parser.set_defaults(wrong_usage=_wrong_usage)


def _wrong_usage(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options that do not go together."""
    if options.parent is not None:
        for name, value in (
            ("SIZE", options.size),
            ("--type", options.type),
            ("--sector-size", options.sector_size),
            ("--physical-sector-size", options.physical_sector_size),
        ):
            if value is not None:
                return f"{name} cannot go with --parent: it is the parent's"
    elif options.source is not None:
        if options.sector_size is not None or options.physical_sector_size is not None:
            return "a sector size cannot go with --from: it is the source's"
    elif options.size is None:
        return "the following arguments are required: SIZE (or --parent, or --from)"
    if options.type is VirtualDiskType.FIXED and options.block_size:
        return "--block-size cannot go with --type fixed: a fixed disk has no blocks"
    return None


def create(options: argparse.Namespace) -> int:
    """``create PATH SIZE``."""
    path = files.checked_path(options.path)
    if format_of(path) is VirtualDiskFormat.VHD_SET:
        raise InvalidInputError.because("a VHD set is several files, and not made here", path)
    check_new_name(path)
    partial = partial_name(path, by_vhdmp=True)
    made_from = options.parent if options.parent is not None else options.source
    if made_from is not None and not made_from.startswith(_DEVICES):
        files.check_exists(current(), files.checked_path(made_from))
        if options.source is not None and format_of(options.source) is None:
            raise InvalidInputError.because(
                "--from takes a virtual disk, or an attached one; copy takes raw images, too",
                options.source,
            )
    with making("create", path) as course, ProgressLine(quiet=options.quiet) as progress:
        check_target(path, partial, force=options.force, source=made_from)
        with replacing(path, partial, force=options.force):
            _make(options, path, partial, progress)
        course.done()
        try:
            facts = facts_of(path)
        except OSError as error:
            print_error(f"{path} is whole, but what it is cannot be read: {describe(error)}")
            facts = {"path": path}
    said = f"created {path}"
    if len(facts) > 1:
        room = f", takes {format_size(facts['file_size'])}" if "file_size" in facts else ""
        said += (
            f": {facts['disk_type']} {facts['format'].upper()}, {format_size(facts['size'])}{room}"
        )
    print_result(options, facts, said)
    return 0


def _make(options: argparse.Namespace, path: str, partial: str, progress: ProgressLine) -> None:
    """Make what is asked for, at `partial`."""
    disk_type = options.type or VirtualDiskType.DYNAMIC
    is_blank = options.parent is None and options.source is None
    is_fixed = is_blank and disk_type is VirtualDiskType.FIXED
    if is_fixed and format_of(path) is VirtualDiskFormat.VHD:
        _make_fixed_vhd(options, path, partial, progress)
        return
    kind = "differencing" if options.parent is not None else disk_type.value
    with wanting_vhdmp(path, kind, absent=partial, way_out=_way_out(options)):
        if options.parent is not None:
            VirtualDisk.create_differencing(
                partial, options.parent, block_size=options.block_size, disk_id=options.id
            ).close()
        elif options.source is not None:
            VirtualDisk.begin_create_from(
                partial,
                options.source,
                disk_type=disk_type,
                size=options.size or 0,
                block_size=options.block_size,
                disk_id=options.id,
            ).follow(progress.share("creating")).close()
        elif is_fixed:
            _make_fixed(options, partial, progress)
        else:
            VirtualDisk.create_dynamic(
                partial,
                options.size,
                block_size=options.block_size,
                disk_id=options.id,
                **_sector_sizes(options),
            ).close()


def _way_out(options: argparse.Namespace) -> str | None:
    """Return what there is in the place of a .vhd that VHDMP would make."""
    if format_of(options.path) is not VirtualDiskFormat.VHD or options.parent is not None:
        return None
    if options.source is None:
        return "--type fixed makes one that needs no driver."
    if format_of(options.source) is not VirtualDiskFormat.VHD:
        return None  # whose content nothing reads without VHDMP
    return f"If {options.source} is a fixed one, `pyvhdmp copy` makes another without the driver."


def _sector_sizes(options: argparse.Namespace) -> dict[str, int]:
    return {
        "sector_size": options.sector_size or 512,
        "physical_sector_size": options.physical_sector_size or 0,
    }


def _make_fixed(options: argparse.Namespace, partial: str, progress: ProgressLine) -> None:
    VirtualDisk.begin_create_fixed(
        partial, options.size, disk_id=options.id, **_sector_sizes(options)
    ).follow(progress.share("creating")).close()


def _make_fixed_vhd(
    options: argparse.Namespace, path: str, partial: str, progress: ProgressLine
) -> None:
    """Make what takes no driver, with one or without."""
    check_new_disk(path, options.size, **_sector_sizes(options))
    try:
        _make_fixed(options, partial, progress)
    except OSError as error:
        if not is_vhdmp_out_of_reach(error):
            raise
        error.filename = None  # which it would be another time
        logger.info("%s is made without VHDMP, which is out of reach: %s", path, describe(error))
        make_fixed_vhd(partial, options.size, disk_id=options.id)
