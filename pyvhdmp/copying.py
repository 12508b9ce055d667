"""Copying an image file to another, so that the target is whole or not there.

Rules:

1. Everything is written to a `.partial` beside the target. It gets the target's
   name when it is complete, flushed and, if asked for, verified; on any other
   outcome it is deleted, and a target that was there before is as it was.
2. VHDMP goes by the suffix, so there the mark comes before it: `disk.partial.vhdx`.
3. What can be found out before the first byte is copied is found out then.
"""

from __future__ import annotations

import errno
import ntpath
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from pyvhdmp import files
from pyvhdmp._win32 import Windows, constants, current
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk import (
    FixedVhdDisk,
    NewImage,
    NewVirtualImage,
    VhdmpDisk,
    make_virtual_image,
    open_disk,
    suffix_kind,
)
from pyvhdmp.errors import DiskError, InvalidInputError, windows_error
from pyvhdmp.pipeline import Compare, Copy
from pyvhdmp.vhd import Footer
from pyvhdmp.virtual_disk.formats import check_new_disk

__all__ = ["CopyResult", "Report", "compare_images", "copy_image"]

_CHECK: Final = "The check of the target"

Report: TypeAlias = Callable[[str, int, int], None]
"""Called about ten times a second with what is being done, bytes done, bytes in all."""


@dataclass(frozen=True)
class CopyResult:
    """What a copy did. `depth`: the most requests that were with Windows at one time."""

    bytes: int
    bytes_zero: int
    bytes_bounced: int
    requests: int
    depth: int
    seconds: float
    verified: bool


def copy_image(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    queue_depth: int = 32,
    io_size: int = 256 * 1024,
    verify: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> CopyResult:
    """Copy a disk image; the names say which kinds they are, as for `open_disk`.

    A .vhd becomes a fixed VHD, made without any driver. A .vhdx becomes a dynamic one with
    the source's sector size, made by VHDMP.

    `queue_depth` reads and as many writes of `io_size` bytes are in flight. `verify`:
    read both again and compare, before the target gets its name. `force`: replace
    a target that exists.

    Raises the `OSError` of Windows and `DiskError`s. Whatever is raised, Ctrl+C
    included, the target is as it was before.
    """
    source, target = files.checked_path(source), files.checked_path(target)
    windows = current()
    kind = suffix_kind(target)
    partial = _partial_name(target) if issubclass(kind, VhdmpDisk) else target + ".partial"
    with (
        CompletionPort() as port,
        open_disk(source, read_only=True, port=port) as source_disk,
    ):
        _check_target(windows, source, target, partial, force=force)
        size, sector_size = source_disk.size, source_disk.sector_size
        image: NewImage | NewVirtualImage
        if issubclass(kind, VhdmpDisk):
            check_new_disk(target, size, sector_size)
            image = make_virtual_image(
                target, partial, size=size, sector_size=sector_size, port=port
            )
        else:
            if kind is FixedVhdDisk:
                Footer(size)  # refuses what no VHD can hold
            image = NewImage(partial, size, kind, overwrite=True, port=port)
        try:
            copy = Copy(
                source_disk,
                image.disk,
                queue_depth=queue_depth,
                io_size=io_size,
                target_is_zero=True,
            )
            copy.run(report and (lambda done, total: report("copying", done, total)))
            image.seal()
            if verify:
                compare = Compare(source_disk, image.disk, queue_depth=queue_depth, io_size=io_size)
                compare.run(report and (lambda done, total: report("verifying", done, total)))
                if compare.difference is not None:
                    raise DiskError.because(
                        f"verification failed: byte {compare.difference} is not what was written",
                        target,
                    )
            image.disk.close()
            files.move_file(windows, partial, target, replace=force)
        except BaseException:
            image.disk.close(cancel=True)
            files.discard_file(windows, partial)
            raise
        return CopyResult(
            bytes=size,
            bytes_zero=copy.bytes_skipped,
            bytes_bounced=source_disk.counters.bytes_bounced + image.disk.counters.bytes_bounced,
            requests=source_disk.counters.requests + image.disk.counters.requests,
            depth=port.peak_in_flight,
            seconds=copy.seconds,
            verified=verify,
        )


def compare_images(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    queue_depth: int = 32,
    io_size: int = 256 * 1024,
    report: Report | None = None,
) -> int | None:
    """Return the first byte at which two images of one size differ, or None.

    Raises `InvalidInputError` if their sizes differ, and as `open_disk` does.
    """
    with (
        CompletionPort() as port,
        open_disk(first, read_only=True, port=port) as first_disk,
        open_disk(second, read_only=True, port=port) as second_disk,
    ):
        compare = Compare(first_disk, second_disk, queue_depth=queue_depth, io_size=io_size)
        compare.run(report and (lambda done, total: report("comparing", done, total)))
        return compare.difference


def _partial_name(target: str) -> str:
    stem, suffix = ntpath.splitext(target)
    return f"{stem}.partial{suffix}"


def _check_target(windows: Windows, source: str, target: str, partial: str, *, force: bool) -> None:
    """Raise now what would otherwise be found out after the copy."""
    if _same_path(windows, source, target):
        raise InvalidInputError.because("source and target are the same file", target)
    if _same_path(windows, source, partial):
        raise InvalidInputError.because(
            f"a copy to {ntpath.basename(target)} would be written over its source", source
        )
    attributes = files.file_attributes(windows, target)
    if attributes is None:
        return
    if attributes & constants.FILE_ATTRIBUTE_DIRECTORY:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", target)
    if not force:
        error = windows_error(constants.ERROR_FILE_EXISTS, _CHECK, target)
        error.add_note("With force it would be replaced.")
        raise error
    if attributes & constants.FILE_ATTRIBUTE_READONLY:
        error = windows_error(constants.ERROR_ACCESS_DENIED, _CHECK, target)
        error.add_note("It is marked read-only.")
        raise error
    files.check_replaceable(windows, target)


def _same_path(windows: Windows, *paths: str) -> bool:
    return len({ntpath.normcase(files.full_path(windows, path)) for path in paths}) == 1
