"""Which kind of disk a path is, and the opening of it."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, overload

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from pyvhdmp.disk.images import FixedVhdDisk, RawDisk
from pyvhdmp.disk.other_formats import AS_IT_IS
from pyvhdmp.disk.reach import VHDMP_ONLY, is_vhdmp_out_of_reach, refuse_without_vhdmp
from pyvhdmp.disk.vhdmp import VhdmpDisk
from pyvhdmp.errors import InvalidInputError, reason_of
from pyvhdmp.logs import logger
from pyvhdmp.vhd import NotFixedError
from pyvhdmp.virtual_disk.formats import suffix_of

__all__ = ["Backend", "open_disk"]

Backend: TypeAlias = Literal["auto", "vhdmp", "fixed-vhd", "raw"]


@overload
def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Literal["vhdmp"],
    port: CompletionPort | None = None,
) -> VhdmpDisk: ...


@overload
def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Literal["fixed-vhd"],
    port: CompletionPort | None = None,
) -> FixedVhdDisk: ...


@overload
def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Literal["raw"],
    port: CompletionPort | None = None,
) -> RawDisk: ...


@overload
def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Backend = "auto",
    port: CompletionPort | None = None,
) -> Disk: ...


def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Backend = "auto",
    port: CompletionPort | None = None,
) -> Disk:
    """Open a disk image as a `Disk`.

    `backend`: "vhdmp", "fixed-vhd", "raw", or "auto", which goes by the name: a .vhd, .avhd,
    .vhdx, .avhdx or .vhds is opened through Windows' VHDMP driver, and anything else is a
    raw image, which must not begin or end as another format does. Where this Windows has no
    VHDMP, or the process not the rights to use it, a fixed .vhd is opened directly, and the
    others are refused. `port`: the completion port to use.

    Raises `FileNotFoundError`, `PermissionError` and any other `OSError` that Windows
    reports; `InvalidInputError` for a file that is not what it should be, or that wants the
    driver where there is none, and for a device, which "raw" alone opens.
    """
    name = files.checked_path(path, device=backend == "raw", way_out=AS_IT_IS)
    disk = _open(name, backend, read_only=read_only, port=port)
    logger.info("opened %r", disk)
    return disk


def _open(name: str, backend: Backend, *, read_only: bool, port: CompletionPort | None) -> Disk:
    """Do what `open_disk` is for."""
    if backend == "auto":
        suffix = suffix_of(name)
        if suffix == ".vhd" or suffix in VHDMP_ONLY:
            return _open_virtual(name, suffix, read_only=read_only, port=port)
        return RawDisk.open_unless_other(name, read_only=read_only, port=port)
    if backend == "vhdmp":
        return VhdmpDisk.open(name, read_only=read_only, port=port)
    if backend == "fixed-vhd":
        return FixedVhdDisk.open(name, read_only=read_only, port=port)
    if backend == "raw":
        return RawDisk.open(name, read_only=read_only, port=port)
    raise InvalidInputError.because(
        f"backend must be 'auto', 'vhdmp', 'fixed-vhd' or 'raw', not {backend!r}"
    )


def _open_virtual(name: str, suffix: str, *, read_only: bool, port: CompletionPort | None) -> Disk:
    """Open a virtual disk file through VHDMP or, where that is out of reach, without it."""
    try:
        attached = VhdmpDisk.attach(name, read_only=read_only)
    except OSError as error:
        if not is_vhdmp_out_of_reach(error):
            raise
        if suffix != ".vhd":
            files.check_exists(current(), name)
            refuse_without_vhdmp(name, f"a {suffix} needs Windows' VHDMP driver", error)
        try:
            disk = FixedVhdDisk.open(name, read_only=read_only, port=port)
        except NotFixedError as reason:
            refuse_without_vhdmp(name, str(reason.strerror), error)
        logger.info("%s goes without VHDMP, which is out of reach: %s", name, reason_of(error))
        return disk
    return VhdmpDisk.take_over(attached, read_only=read_only, port=port)
