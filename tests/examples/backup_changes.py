"""Back up a VHDX again and again, each time only what has changed since the last.

    backup_changes.py backup disk.vhdx FOLDER     the first time all of it, then its changes
    backup_changes.py restore FOLDER new.vhdx     make a disk as it was when last backed up

A backup is two files in FOLDER: 0007.data, pieces of the disk one after the other, and 0007.json,
which tells where they belong. That is written last, and without it there is no backup. Windows
itself notes what changes, from the first backup on. Run it as administrator, while the VM is
stopped.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypedDict, TypeVar

import pyvhdmp

PIECE = 1 << 20  # bytes that are read or written at a time,
IN_FLIGHT = 16  # by so many requests at once
NOT_KNOWN = (0xC03A0029, 0xC03A002A, 0xC03A0030)  # what has changed: tracking was off, say

T = TypeVar("T")


class Index(TypedDict):
    """What a .json file tells of a backup."""

    size: int
    sector_size: int
    since: str | None  # the moment since when it has all changes; None: it has the whole disk
    moment: str  # since when changes are for the next one
    pieces: list[tuple[int, int]]  # the first sector of each, and how many


def backup(image: str | os.PathLike[str], folder: Path) -> str:
    """Make the next backup; return what was done."""
    folder.mkdir(parents=True, exist_ok=True)
    earlier = backups(folder)
    last = earlier[-1][1] if earlier else None
    path = folder / f"{int(earlier[-1][0].stem) + 1 if earlier else 0:04}.json"
    with pyvhdmp.VirtualDisk.open(image) as disk:
        info, tracking = disk.info, disk.change_tracking
        if not tracking.enabled:
            disk.set_change_tracking(True)
            tracking = disk.change_tracking
        ranges = changes(disk, last)
        index = Index(
            size=info.virtual_size,
            sector_size=info.sector_size,
            since=None if last is None or ranges is None else last["moment"],
            moment=tracking.most_recent_id,  # if it is older, something is backed up twice
            pieces=[],
        )
        whole = [pyvhdmp.ChangedRange(0, info.virtual_size)]
        wanted = list(split(whole if ranges is None else ranges, info.sector_size))
        disk.attach_raw(read_only=True)
        with (
            pyvhdmp.VhdmpDisk.take_over(disk, read_only=True) as sectors,
            path.with_suffix(".data").open("wb") as file,
        ):
            for piece, data in zip(
                wanted, in_order(sectors.read(*at) for at in wanted), strict=True
            ):
                if ranges is not None or data != bytes(len(data)):  # a new disk is zeros
                    file.write(data)
                    index["pieces"].append(piece)
            file.flush()
            os.fsync(file.fileno())
            amount = file.tell()
    path.with_suffix(".partial").write_text(json.dumps(index))
    path.with_suffix(".partial").replace(path)
    return f"{path}: {'all' if ranges is None else 'changes'} of {image}, {amount} bytes"


def restore(folder: Path, image: str | os.PathLike[str]) -> str:
    """Make a disk of the last whole backup and the changes since; return what was done."""
    chain: list[tuple[Path, Index]] = []
    for path, index in backups(folder):
        if index["since"] is None:
            chain = []
        elif not chain or index["since"] != chain[-1][1]["moment"]:
            raise ValueError(f"the backup before {path} is missing")
        chain.append((path, index))
    if not chain:
        raise FileNotFoundError(f"there is no backup in {folder}")
    size, sector_size = index["size"], index["sector_size"]
    pyvhdmp.VirtualDisk.create_dynamic(image, size, sector_size=sector_size).close()
    with pyvhdmp.open_disk(image) as disk:
        for path, index in chain:
            with path.with_suffix(".data").open("rb") as file:
                # All of one backup is written before the next begins, which may hold the same
                # sectors: nothing orders requests that are in flight.
                for _ in in_order(
                    disk.write(sector, file.read(count * sector_size))
                    for sector, count in index["pieces"]
                ):
                    pass
        disk.sync_cache().result()
    return f"{image}: {size} bytes, from {len(chain)} backups"


def changes(disk: pyvhdmp.VirtualDisk, last: Index | None) -> list[pyvhdmp.ChangedRange] | None:
    """Return what has changed since the last backup; None if all has to be backed up."""
    if last is None or disk.info.virtual_size != last["size"]:
        return None
    try:
        return list(disk.changes(last["moment"]))
    except OSError as error:
        if getattr(error, "winerror", None) not in NOT_KNOWN:
            raise
        return None


def split(ranges: Iterable[pyvhdmp.ChangedRange], sector_size: int) -> Iterator[tuple[int, int]]:
    """Yield pieces of whole sectors: the first, and how many."""
    step = PIECE // sector_size
    for part in ranges:
        end = -(-(part.offset + part.length) // sector_size)
        for sector in range(part.offset // sector_size, end, step):
            yield sector, min(step, end - sector)


def in_order(requests: Iterable[Future[T]]) -> Iterator[T]:
    """Begin requests, as many at once as there may be, and yield their results in order."""
    under_way: deque[Future[T]] = deque()
    for request in requests:
        under_way.append(request)
        if len(under_way) == IN_FLIGHT:
            yield under_way.popleft().result()
    for request in under_way:
        yield request.result()


def backups(folder: Path) -> list[tuple[Path, Index]]:
    return [(path, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("backup", help="make the next backup in FOLDER")
    command.add_argument("image", metavar="IMAGE")
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command = commands.add_parser("restore", help="make IMAGE anew, from FOLDER")
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("image", metavar="IMAGE")
    options = parser.parse_args(arguments)
    try:
        if options.command == "backup":
            print(backup(options.image, options.folder))
        else:
            print(restore(options.folder, options.image))
    except (OSError, RuntimeError, ValueError) as error:
        notes = getattr(error, "__notes__", [])  # what else is known of it, and what helps
        print(f"{parser.prog}: {error}", *notes, sep="\n  ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
