"""Which kind of disk a path is."""

from __future__ import annotations

import ntpath
import os
from typing import Final, Literal, NoReturn, TypeAlias

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from pyvhdmp.disk.images import FixedVhdDisk, RawDisk
from pyvhdmp.disk.vhdmp import NewVirtualImage, VhdmpDisk
from pyvhdmp.errors import InvalidInputError, code_text
from pyvhdmp.vhd import NotFixedError

__all__ = ["Backend", "make_virtual_image", "open_disk", "suffix_kind"]

Backend: TypeAlias = Literal["auto", "vhdmp", "fixed-vhd", "raw"]

_VHDMP_ONLY: Final = (".avhd", ".vhdx", ".avhdx", ".vhds")

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
_NOT_ALLOWED: Final = frozenset({constants.ERROR_ACCESS_DENIED, constants.ERROR_PRIVILEGE_NOT_HELD})


def suffix_kind(path: str) -> type[FixedVhdDisk] | type[RawDisk] | type[VhdmpDisk]:
    """Return the kind of disk that a new image of this name is.

    Raises `InvalidInputError` for a name of what cannot stand alone.
    """
    suffix = _suffix(path)
    if suffix == ".vhdx":
        return VhdmpDisk
    if suffix in _VHDMP_ONLY:
        raise InvalidInputError.because(
            f"a new image cannot be a {suffix}: make it a .vhdx, a .vhd or a raw image", path
        )
    return FixedVhdDisk if suffix == ".vhd" else RawDisk


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
    raw image. Where this Windows has no VHDMP, or the process not the rights to use it, a
    fixed .vhd is opened directly, and the others are refused. `port`: the completion port
    to use.

    Raises `FileNotFoundError`, `PermissionError` and any other `OSError` that Windows
    reports; `InvalidInputError` for a file that is not what it should be, or that wants the
    driver where there is none.
    """
    name = files.checked_path(path)
    if backend == "auto":
        suffix = _suffix(name)
        if suffix == ".vhd" or suffix in _VHDMP_ONLY:
            return _open_virtual(name, suffix, read_only=read_only, port=port)
        return RawDisk.open(name, read_only=read_only, port=port)
    if backend == "vhdmp":
        return VhdmpDisk.open(name, read_only=read_only, port=port)
    if backend == "fixed-vhd":
        return FixedVhdDisk.open(name, read_only=read_only, port=port)
    if backend == "raw":
        return RawDisk.open(name, read_only=read_only, port=port)
    raise InvalidInputError.because(
        f"backend must be 'auto', 'vhdmp', 'fixed-vhd' or 'raw', not {backend!r}"
    )


def make_virtual_image(
    path: str, temporary: str, *, size: int, sector_size: int, port: CompletionPort
) -> NewVirtualImage:
    """Make a dynamic virtual disk, at `temporary`, that is to be renamed to `path`.

    Raises as `open_disk` does where VHDMP is out of reach. Then there is no file.
    """
    try:
        return NewVirtualImage(temporary, size, sector_size=sector_size, port=port)
    except OSError as error:
        if getattr(error, "winerror", None) not in _NOT_THERE | _NOT_ALLOWED:
            raise
        error.filename = path
        _refuse(path, f"a {_suffix(path)} needs Windows' VHDMP driver", error)


def _open_virtual(name: str, suffix: str, *, read_only: bool, port: CompletionPort | None) -> Disk:
    """Open a virtual disk file through VHDMP or, where that is out of reach, without it."""
    try:
        attached = VhdmpDisk.attach(name, read_only=read_only)
    except OSError as error:
        if getattr(error, "winerror", None) not in _NOT_THERE | _NOT_ALLOWED:
            raise
        if suffix != ".vhd":
            files.check_exists(current(), name)
            _refuse(name, f"a {suffix} needs Windows' VHDMP driver", error)
        try:
            return FixedVhdDisk.open(name, read_only=read_only, port=port)
        except NotFixedError as reason:
            _refuse(name, str(reason.strerror), error)
    return VhdmpDisk.take_over(attached, read_only=read_only, port=port)


def _refuse(name: str, need: str, error: OSError) -> NoReturn:
    """Raise for a file that only VHDMP reads, as `error` keeps it from doing so."""
    code = getattr(error, "winerror", 0)
    if code in _NOT_ALLOWED:
        error.add_note(f"Without that there is no way: {need}.")
        raise error
    why = f"{str(error.strerror).rstrip('.')} (Windows error {code_text(code)})"
    raise InvalidInputError.because(f"{need}, which does not work here: {why}", name) from error


def _suffix(path: str) -> str:
    return ntpath.splitext(path)[1].lower()
