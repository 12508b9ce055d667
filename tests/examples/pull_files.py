"""Pull files out of the disk of a VM that is stopped, without mounting it.

What lies at each PATH of a FAT file system on the disk IMAGE is listed, a folder with all that is
in it, or copied into FOLDER, where nothing is overwritten. IMAGE is opened read-only: a raw image
or a fixed .vhd by anybody, a .vhdx by an administrator. The partitions (GPT or MBR) and the file
system are read by dissect: pip install dissect.volume dissect.fat

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import argparse
import contextlib
import functools
import io
import itertools
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from dissect.fat.exceptions import Error as FatError
from dissect.fat.fat import FAT, FATFS, DirectoryEntry
from dissect.volume.disk import Disk as Volume
from dissect.volume.exceptions import Error as VolumeError

import pyvhdmp

BUFFER = 1 << 20  # bytes that are read at once, as file systems ask for little at a time
NO_NAME = frozenset('<>:"/\\|?*')

Found: TypeAlias = tuple[PurePosixPath, DirectoryEntry]


def file_systems(file: BinaryIO, sector_size: int) -> Iterator[FATFS]:
    """Yield the FAT file systems of a disk, that of one without partitions, too."""
    places = [file]
    with contextlib.suppress(VolumeError):
        partitions = Volume(file, sector_size).partitions
        places = [*(partition.open() for partition in partitions), file]
    for place in places:
        with contextlib.suppress(FatError, EOFError):  # it is of another kind
            system = FATFS(place)
            system.fat.runlist = functools.partial(runs, system.fat)
            yield system


def runs(fat: FAT, start: int) -> Iterator[tuple[int, int]]:
    """Yield the clusters of a file. (dissect.fat 3.13 gets those wrong that go back by one.)"""
    return ((cluster - 2, 1) for cluster in fat.chain(start))


def walk(entry: DirectoryEntry, path: PurePosixPath) -> Iterator[Found]:
    """Yield a file, or a folder and all that is in it, with their paths."""
    yield path, entry
    if entry.is_directory():
        for child in entry.iterdir():
            if child.name not in (".", "..") and not child.is_volume_id():
                yield from walk(child, path / name_of(child))


def name_of(entry: DirectoryEntry) -> str:
    """Return a name as Windows shows it. Of a short one, two bits tell what is in lower case."""
    base, dot, suffix = entry.name.partition(".")
    bits = 0 if entry.ldirents else entry.dirent.DIR_NTRes
    return checked(
        (base.lower() if bits & 8 else base) + dot + (suffix.lower() if bits & 16 else suffix)
    )


def checked(name: str) -> str:
    """Return what is a name anywhere: whoever had the VM chose it, and may mean harm."""
    if NO_NAME & set(name) or not name.isprintable() or name != name.rstrip(". "):
        raise ValueError(f"there is a file on the disk whose name is none here: {name!r}")
    return name


def copy(found: Iterable[Found], folder: Path) -> int:
    """Copy files into a folder; return how many."""
    count = 0
    for path, entry in found:
        target = folder / path
        if entry.is_directory():
            target.mkdir(parents=True, exist_ok=True)
            continue
        with entry.open() as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, BUFFER)
        count += 1
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("paths", metavar="PATH", nargs="*", default=["/"], help="/ unless given")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="copy there, instead of listing")
    parser.add_argument(
        "--number", metavar="N", type=int, default=1, help="the Nth FAT file system on the disk"
    )
    options = parser.parse_args(arguments)
    if options.number < 1:
        parser.error("N must be 1 or more")
    try:
        with (
            pyvhdmp.BlockingDisk.open(options.image, read_only=True) as disk,
            io.BufferedReader(disk, BUFFER) as file,
        ):
            systems = file_systems(file, disk.disk.sector_size)
            system = next(itertools.islice(systems, options.number - 1, None), None)
            if system is None:
                raise ValueError(f"{options.image} has no FAT file system number {options.number}")
            entries = [system.get(path) for path in options.paths]
            found = itertools.chain.from_iterable(
                walk(entry, PurePosixPath("" if entry is system.root else name_of(entry)))
                for entry in entries
            )
            if options.to is None:
                for path, entry in found:
                    if not entry.is_directory():
                        print(f"{entry.size:>12}  {path}")
            else:
                options.to.mkdir(parents=True, exist_ok=True)
                print(f"{copy(found, options.to)} files copied to {options.to}")
    except (OSError, RuntimeError, ValueError, FatError) as error:
        notes = getattr(error, "__notes__", [])  # what else is known of it, and what helps
        print(f"{parser.prog}: {error}", *notes, sep="\n  ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
