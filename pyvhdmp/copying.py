"""Copying an image file to another, so that the target is whole or not there.

Rules:

1. Everything is written at a name that says it is not finished: see `replacing`. It gets
   the target's name when it is complete, flushed and, if asked for, verified; on any other
   outcome it is deleted, and a target that was there before is as it was.
2. What can be found out before the first byte is copied is found out then.
3. A differencing target is compared with as it goes, and only takes what it does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyvhdmp import files
from pyvhdmp.completion import CompletionPort
from pyvhdmp.course import Report
from pyvhdmp.disk import (
    Disk,
    FixedVhdDisk,
    NewImage,
    NewVirtualImage,
    VhdmpDisk,
    make_virtual_image,
    new_image_kind,
    open_disk,
    wanting_vhdmp,
)
from pyvhdmp.disk.new_images import ImageKind
from pyvhdmp.errors import DiskError, InvalidInputError
from pyvhdmp.logs import logger
from pyvhdmp.pipeline import Compare, Copy, CopyDifferences, check_requests
from pyvhdmp.replacing import check_target, partial_name, replacing
from pyvhdmp.vhd import check_size
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskType
from pyvhdmp.virtual_disk.formats import check_new_disk

__all__ = [
    "IO_SIZE",
    "QUEUE_DEPTH",
    "Comparison",
    "CopyResult",
    "Report",
    "compare_images",
    "copy_image",
    "new_image",
]

QUEUE_DEPTH: Final = 4
IO_SIZE: Final = 4 * 1024 * 1024
"""By default: the requests in flight in each direction, and the bytes of one. Each costs the
same, so they are large; all their memory is 32 MiB, and 48 where a parent is read, too."""


@dataclass(frozen=True)
class CopyResult:
    """What a copy did.

    `bytes_zero`: that were zeros, and not written. `bytes_same`: that the parent of a
    differencing target holds, and were not written. `depth`: the most requests that were
    with Windows at one time. `target_type`: "raw", "fixed", "dynamic" or "differencing".
    """

    bytes: int
    bytes_zero: int
    bytes_same: int
    bytes_bounced: int
    requests: int
    depth: int
    seconds: float
    verified: bool
    target_type: str


@dataclass(frozen=True)
class Comparison:
    """What two images have in common.

    `first_size`, `second_size`: of the disks, in bytes. `first_difference`: the first byte in
    which they differ; None if they do not, and if their sizes do.
    """

    first_size: int
    second_size: int
    first_difference: int | None

    @property
    def identical(self) -> bool:
        """Whether they have the same size and the same content."""
        return self.first_size == self.second_size and self.first_difference is None


def copy_image(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    disk_type: VirtualDiskType | None = None,
    parent: str | os.PathLike[str] | None = None,
    queue_depth: int = QUEUE_DEPTH,
    io_size: int = IO_SIZE,
    verify: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> CopyResult:
    """Copy a disk image; the names say which kinds they are, as for `open_disk`.

    `disk_type`: fixed or dynamic; by default a .vhd becomes a fixed VHD, made without any
    driver, and a .vhdx a dynamic one. All others than a fixed VHD are made by VHDMP. A VHDX
    has the source's sector size.

    `parent`: the target becomes a differencing disk of that, which is to have the source's
    size, and holds no more than what differs, in granules of 64 KiB.

    `queue_depth` reads and as many writes of `io_size` bytes are in flight; shorter writes
    where granules of zeros are left out: 1 to 1024 of them, of a multiple of 4096 up to 64 MiB.
    `verify`: read both again and compare, before the target gets its name. `force`: replace a
    target that exists. `report` is called about ten times a second with what is being done,
    bytes done, and bytes in all; what it raises ends the copy.

    Raises `FileExistsError` for a target that exists, `InvalidInputError` for what cannot be
    made, `DiskError` for a copy that is found to differ, and the `OSError` of Windows. Whatever
    is raised, Ctrl+C included, the target is as it was before; only `AlreadyDone` is Ctrl+C that
    came when the target was complete, and had its name.
    """
    check_requests(queue_depth, io_size)
    source, target = files.checked_path(source), files.checked_path(target)
    kind, disk_type = new_image_kind(target, disk_type, has_parent=parent is not None)
    partial = partial_name(target, by_vhdmp=issubclass(kind, VhdmpDisk))
    check_target(target, partial, force=force, source=source)
    if parent is not None:
        parent = files.checked_path(parent)
        check_target(target, partial, force=force, source=parent)
    with (
        replacing(target, partial, force=force),  # rule 1
        CompletionPort() as port,
        open_disk(source, read_only=True, port=port) as source_disk,
    ):
        size, sector_size = source_disk.size, source_disk.sector_size
        image = new_image(
            target, partial, kind, disk_type, size, sector_size, parent, port=port, report=report
        )
        logger.info("copying %r to %s, a %s", source_disk, target, kind.__name__)
        try:
            copy = _copy(source_disk, image.disk, parent, queue_depth, io_size)
            seconds = copy.run("copying", report)
            image.seal()
            if verify:
                _verify(source_disk, image.disk, target, queue_depth, io_size, report)
        finally:
            image.disk.close(cancel=True)
        skipped = copy.bytes_skipped
        logger.info("copied %d bytes in %.3f s; %d not written", size, seconds, skipped)
        return CopyResult(
            bytes=size,
            bytes_zero=skipped if parent is None else 0,
            bytes_same=skipped if parent is not None else 0,
            bytes_bounced=source_disk.counters.bytes_bounced + image.disk.counters.bytes_bounced,
            requests=source_disk.counters.requests + image.disk.counters.requests,
            depth=port.peak_in_flight,
            seconds=seconds,
            verified=verify,
            target_type="raw" if disk_type is None else disk_type.value,
        )


def new_image(
    target: str,
    partial: str,
    kind: ImageKind,
    disk_type: VirtualDiskType | None,
    size: int,
    sector_size: int,
    parent: str | None = None,
    *,
    port: CompletionPort,
    report: Report | None,
) -> NewImage | NewVirtualImage:
    """Make an image at `partial`, which is to be `target`'s, as `new_image_kind` says.

    Raises for what there cannot be before anything is made.
    """
    if not issubclass(kind, VhdmpDisk):
        if kind is FixedVhdDisk:
            check_size(size, target)
        return NewImage(partial, size, kind, overwrite=True, port=port)
    assert disk_type is not None
    if parent is None:
        check_new_disk(target, size, sector_size)
    else:
        _check_parent(parent, target, partial, size)
    return make_virtual_image(
        target,
        partial,
        disk_type=disk_type,
        size=size,
        sector_size=sector_size,
        parent=parent,
        port=port,
        report=report and _allocating(report, size),
    )


def _copy(source: Disk, target: Disk, parent: str | None, queue_depth: int, io_size: int) -> Copy:
    if parent is not None:  # rule 3
        return CopyDifferences(source, target, queue_depth=queue_depth, io_size=io_size)
    return Copy(source, target, queue_depth=queue_depth, io_size=io_size, target_is_zero=True)


def _verify(
    source: Disk,
    copy: Disk,
    target: str,
    queue_depth: int,
    io_size: int,
    report: Report | None,
) -> None:
    compare = Compare(source, copy, queue_depth=queue_depth, io_size=io_size)
    compare.run("verifying", report)
    if compare.difference is not None:
        raise DiskError.because(
            f"verification failed: byte {compare.difference} is not what was written", target
        )


def _allocating(report: Report, size: int) -> Callable[[int, int], None]:
    """Return what reports, as bytes, how far VHDMP is with the file of a fixed disk."""
    return lambda done, total: report("allocating", size * done // total if total else 0, size)


def _check_parent(parent: str, target: str, partial: str, size: int) -> None:
    """Raise if a disk cannot be the parent of one of this size."""
    with (
        wanting_vhdmp(target, VirtualDiskType.DIFFERENCING.value, absent=partial),
        VirtualDisk.open(parent, info_only=True) as disk,
    ):
        parent_size = disk.info.virtual_size
    if parent_size != size:
        raise InvalidInputError.because(  # rule 2
            f"a parent must have the size of what is copied, {size} bytes, not {parent_size}",
            parent,
        )


def compare_images(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    queue_depth: int = QUEUE_DEPTH,
    io_size: int = IO_SIZE,
    report: Report | None = None,
) -> Comparison:
    """Compare the content of two images; the names say which kinds they are, as for `open_disk`.

    Images of different sizes differ, and are not read. The options are as for `copy_image`.

    Raises as `open_disk` does, `InvalidInputError` for options that cannot be, and what a read
    fails with.
    """
    check_requests(queue_depth, io_size)
    with (
        CompletionPort() as port,
        open_disk(first, read_only=True, port=port) as first_disk,
        open_disk(second, read_only=True, port=port) as second_disk,
    ):
        sizes = first_disk.size, second_disk.size
        if sizes[0] != sizes[1]:
            return Comparison(*sizes, first_difference=None)
        compare = Compare(first_disk, second_disk, queue_depth=queue_depth, io_size=io_size)
        compare.run("comparing", report)
        return Comparison(*sizes, first_difference=compare.difference)
