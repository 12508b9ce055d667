"""Which kind of disk a path is."""

from __future__ import annotations

import os
from typing import Final, Literal, TypeAlias

from pyvhdmp import files
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from pyvhdmp.disk.images import FixedVhdDisk, RawDisk
from pyvhdmp.errors import InvalidInputError

__all__ = ["Backend", "open_disk", "suffix_kind"]

Backend: TypeAlias = Literal["auto", "vhdmp", "fixed-vhd", "raw"]

_VHDMP_ONLY: Final = (".vhdx", ".avhdx", ".vhds")


def suffix_kind(path: str) -> type[FixedVhdDisk] | type[RawDisk]:
    """Return the kind of image that a file of this name holds.

    Raises `InvalidInputError` for a name whose format only the VHDMP driver reads.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _VHDMP_ONLY:
        raise InvalidInputError.because(f"a {suffix} needs Windows' VHDMP driver", path)
    return FixedVhdDisk if suffix == ".vhd" else RawDisk


def open_disk(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    backend: Backend = "auto",
    port: CompletionPort | None = None,
) -> Disk:
    """Open a disk image as a `Disk`.

    `backend`: "fixed-vhd", "raw", or "auto", which goes by the name: a .vhd is opened
    as a fixed VHD, a .vhdx, .avhdx or .vhds is refused, as only the VHDMP driver reads
    those, and anything else is a raw image. `port`: the completion port to use.

    Raises `FileNotFoundError`, `PermissionError` and any other `OSError` that Windows
    reports; `InvalidInputError` for a file that is not what it should be.
    """
    name = files.checked_path(path)
    if backend == "auto":
        kind = suffix_kind(name)
    elif backend == "fixed-vhd":
        kind = FixedVhdDisk
    elif backend == "raw":
        kind = RawDisk
    elif backend == "vhdmp":
        raise InvalidInputError.because("this version opens no disks through VHDMP", name)
    else:
        raise InvalidInputError.because(
            f"backend must be 'auto', 'vhdmp', 'fixed-vhd' or 'raw', not {backend!r}"
        )
    return kind.open(name, read_only=read_only, port=port)
