"""FAT file systems, made on a disk as a file by pyfatfs, and judged by dosfstools and mtools."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from unittest import mock

import pytest

from pyvhdmp import BlockingDisk, Disk

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of how it looks for its plug-ins
    from pyfatfs.PyFat import PyFat
    from pyfatfs.PyFatFS import PyFatBytesIOFS

__all__ = ["judge", "list_files", "make_file_system", "needs_tools"]

TOOLS: Final = ("fsck.fat", "mdir", "mcopy")

needs_tools: Final = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="needs dosfstools and mtools"
)


class _OfThisSize(BlockingDisk):
    """What pyfatfs formats: it sets the size first, which a disk has already."""

    def truncate(self, size: int | None = None, /) -> int:  # type: ignore[override]  # on purpose
        assert size is not None
        assert size <= self.size
        return size


def make_file_system(
    disk: Disk, files: Mapping[str, bytes], *, bits: int, size: int, offset: int = 0, buffer: int
) -> None:
    """Format `size` bytes of a disk from `offset` on, and store files there.

    `buffer`: of what stores them, in bytes; 0 for none.
    """
    raw: BlockingDisk = _OfThisSize(disk, close_disk=False)
    with mock.patch("pyfatfs.PyFat.open", return_value=raw):  # it takes names only
        formatter = PyFat(offset=offset)
        formatter.mkfs("disk", bits, size=size, label="DATA")
        formatter.close()
    assert raw.closed

    raw = BlockingDisk(disk, close_disk=False)
    system = PyFatBytesIOFS(io.BufferedRandom(raw, buffer) if buffer else raw, offset=offset)
    for folder in sorted({name.rpartition("/")[0] for name in files} - {""}):
        system.makedir(folder)
    for name, data in files.items():
        system.writebytes(name, data)
    system.close()
    assert raw.closed


def list_files(file: BlockingDisk, offset: int = 0) -> list[str]:
    """Return the paths of all files in a FAT file system; the file that it is in is closed."""
    system = PyFatBytesIOFS(file, offset=offset)
    names = sorted(name.removeprefix("/") for name in system.walk.files())
    system.close()
    return names


def judge(partition: Path, files: Mapping[str, bytes], copies: Path) -> str:
    """Have dosfstools check a FAT file system, and mtools list it and copy its files out.

    Return what dosfstools has to say.
    """
    checked = subprocess.run(["fsck.fat", "-n", "-v", partition], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # mtools wants disks to have heads and tracks, unless it is asked not to.
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}
    listed = subprocess.run(
        ["mdir", "-/", "-b", "-i", partition, "::"],
        capture_output=True,
        check=True,
        env=environment,
    )
    names = [name for name in listed.stdout.decode().splitlines() if not name.endswith("/")]
    assert sorted(names) == sorted(f"::/{name}" for name in files)
    copies.mkdir()
    subprocess.run(
        ["mcopy", "-n", "-s", "-i", partition, "::*", copies],
        check=True,
        env=environment,
        timeout=60,
    )
    for name, data in files.items():
        assert (copies / name).read_bytes() == data
    return checked.stdout
