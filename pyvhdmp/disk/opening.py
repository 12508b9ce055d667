"""Which kind of disk a path is, and what there is without VHDMP."""

from __future__ import annotations

import contextlib
import ntpath
import os
from collections.abc import Callable, Iterator
from typing import Final, Literal, NoReturn, TypeAlias, overload

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.checks import instance
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from pyvhdmp.disk.images import FixedVhdDisk, RawDisk
from pyvhdmp.disk.other_formats import AS_IT_IS
from pyvhdmp.disk.vhdmp import NewVirtualImage, VhdmpDisk, check_vhdmp
from pyvhdmp.errors import InvalidInputError, code_text
from pyvhdmp.hints import hint_for_no_vhdmp
from pyvhdmp.logs import logger
from pyvhdmp.vhd import NotFixedError
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskType
from pyvhdmp.virtual_disk.formats import NAMES, format_of

__all__ = [
    "Backend",
    "is_vhdmp_out_of_reach",
    "make_virtual_image",
    "new_image_kind",
    "open_disk",
    "open_virtual_disk",
    "refuse_without_vhdmp",
    "wanting_vhdmp",
]

Backend: TypeAlias = Literal["auto", "vhdmp", "fixed-vhd", "raw"]

_VHDMP_ONLY: Final = (".avhd", ".vhdx", ".avhdx", ".vhds")
_NOT_MADE: Final = (".qcow", ".qcow2", ".qed", ".vdi", ".vmdk")
"""A raw image of such a name would be taken for what it is not."""
_DIFFERENCING: Final = (".vhd", ".avhd", ".vhdx", ".avhdx")

# What OpenVirtualDisk and AttachVirtualDisk answer where no disk can be opened through
# VHDMP, whichever it is. Its parameters are always the same ones, so if they are not
# understood, this Windows (or Wine, which answers so) has nothing that understands them.
_NOT_THERE: Final = frozenset(
    {
        constants.ERROR_INVALID_FUNCTION,
        constants.ERROR_NOT_SUPPORTED,
        constants.ERROR_INVALID_PARAMETER,
        constants.ERROR_CALL_NOT_IMPLEMENTED,
        constants.ERROR_VIRTDISK_PROVIDER_NOT_FOUND,
    }
)
# Of a call whose parameters are not always the same, that is, all but a bad one.
_NOT_THERE_FOR_SURE: Final = _NOT_THERE - {constants.ERROR_INVALID_PARAMETER}
_NOT_ALLOWED: Final = frozenset({constants.ERROR_ACCESS_DENIED, constants.ERROR_PRIVILEGE_NOT_HELD})


ImageKind: TypeAlias = type[FixedVhdDisk] | type[RawDisk] | type[VhdmpDisk]


def new_image_kind(
    path: str, disk_type: VirtualDiskType | None = None, *, has_parent: bool = False
) -> tuple[ImageKind, VirtualDiskType | None]:
    """Return what a new image of this name is, and how it holds its content; None for a raw one.

    `disk_type`: what was asked for. Unless something is, a .vhd is fixed and a .vhdx dynamic.
    Raises `InvalidInputError` for a name of what there cannot be.
    """
    if disk_type is not None:
        instance(disk_type, VirtualDiskType, "disk_type")
    suffix = _suffix(path)
    if has_parent:
        if suffix not in _DIFFERENCING:
            raise InvalidInputError.because(
                "a differencing disk must be a .vhd, .avhd, .vhdx or .avhdx", path
            )
        if disk_type is not None:
            raise InvalidInputError.because("what has a parent is neither fixed nor dynamic", path)
        return VhdmpDisk, VirtualDiskType.DIFFERENCING
    if suffix in _NOT_MADE or (suffix in _VHDMP_ONLY and suffix != ".vhdx"):
        raise InvalidInputError.because(
            f"a new image cannot be a {suffix}: make it a .vhdx, a .vhd or a raw image", path
        )
    if disk_type is VirtualDiskType.DIFFERENCING:
        raise InvalidInputError.because("a differencing disk must have a parent", path)
    if suffix == ".vhdx":
        return VhdmpDisk, disk_type or VirtualDiskType.DYNAMIC
    if suffix == ".vhd":
        is_dynamic = disk_type is VirtualDiskType.DYNAMIC
        return VhdmpDisk if is_dynamic else FixedVhdDisk, disk_type or VirtualDiskType.FIXED
    if disk_type is not None:
        raise InvalidInputError.because(
            f"a raw image cannot be {disk_type.value}: only a .vhd or a .vhdx can", path
        )
    return RawDisk, None


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
        suffix = _suffix(name)
        if suffix == ".vhd" or suffix in _VHDMP_ONLY:
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


def open_virtual_disk(
    path: str | os.PathLike[str], *, read_only: bool = False, attached: bool = False
) -> VirtualDisk:
    """Open a virtual disk for what VHDMP alone does to it; it says so where there is none.

    `attached`: as `VirtualDisk.open_attached` does. Raises as `VirtualDisk.open`.
    """
    name = files.checked_path(path)
    try:
        if attached:
            return VirtualDisk.open_attached(name)
        return VirtualDisk.open(name, read_only=read_only)
    except OSError as error:
        if getattr(error, "winerror", None) not in _NOT_THERE:
            raise
        files.check_exists(current(), name)
        if format_of(name) is None:
            raise InvalidInputError.because(f"this wants a virtual disk: {NAMES}", name) from error
        refuse_without_vhdmp(name, "this needs Windows' VHDMP driver", error)


def make_virtual_image(
    path: str,
    temporary: str,
    *,
    disk_type: VirtualDiskType,
    size: int,
    sector_size: int,
    parent: str | None = None,
    port: CompletionPort,
    report: Callable[[int, int], None] | None = None,
) -> NewVirtualImage:
    """Make a virtual disk, at `temporary`, that is to be renamed to `path`.

    `parent`: of a differencing disk, which has its size and sector size from there. `report`:
    how far it is, as `Operation.follow` has it.

    Raises as `open_disk` does where VHDMP is out of reach. Then there is no file.
    """
    with wanting_vhdmp(path, disk_type.value, absent=temporary):
        return NewVirtualImage(
            temporary,
            size,
            disk_type=disk_type,
            sector_size=sector_size,
            parent=parent,
            port=port,
            report=report,
        )


@contextlib.contextmanager
def wanting_vhdmp(
    path: str, disk_type: str, *, absent: str, way_out: str | None = None
) -> Iterator[None]:
    """Say of an error that comes from having no VHDMP that a disk of that type wants it.

    `absent`: a path where there is no file, to find it out with before anything is done.
    `way_out`: what can be done instead.
    """
    kind = _suffix(path) or "virtual disk"
    if kind == ".vhd":  # of which a fixed one does without
        kind = f"{disk_type} {kind}"
    need = f"a {kind} needs Windows' VHDMP driver"
    try:
        check_vhdmp(absent)
    except OSError as error:
        if not is_vhdmp_out_of_reach(error):
            raise
        error.filename = path
        refuse_without_vhdmp(path, need, error, way_out)
    try:
        yield
    except OSError as error:  # by now an invalid parameter is no more than that
        if getattr(error, "winerror", None) not in _NOT_THERE_FOR_SURE | _NOT_ALLOWED:
            raise
        if error.filename != absent:  # it is about another disk, which the new one is made from
            raise
        error.filename = path
        refuse_without_vhdmp(path, need, error, way_out)


def is_vhdmp_out_of_reach(error: OSError) -> bool:
    """Whether an error says that there is no VHDMP, or no right to use it."""
    return getattr(error, "winerror", None) in _NOT_THERE | _NOT_ALLOWED


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
        logger.info("%s goes without VHDMP, which is out of reach: %s", name, _reason(error))
        return disk
    return VhdmpDisk.take_over(attached, read_only=read_only, port=port)


def refuse_without_vhdmp(
    name: str | None, need: str, error: OSError, way_out: str | None = None
) -> NoReturn:
    """Raise for what only VHDMP does, as `error` keeps it from doing so."""
    if getattr(error, "winerror", 0) in _NOT_ALLOWED:
        error.add_note(f"Without that there is no way: {need}.")
        refusal, cause = error, error.__cause__
    else:
        need += f", which does not work here: {_reason(error)}"
        refusal, cause = InvalidInputError.because(need, name), error
        if (hint := hint_for_no_vhdmp(getattr(error, "winerror", 0))) is not None:
            refusal.add_note(hint)
    if way_out is not None:
        refusal.add_note(way_out)
    raise refusal from cause


def _reason(error: OSError) -> str:
    code = getattr(error, "winerror", 0)
    return f"{str(error.strerror).rstrip('.')} (Windows error {code_text(code)})"


def _suffix(path: str) -> str:
    return ntpath.splitext(path)[1].lower()
