"""What there is where VHDMP is out of reach, and how it is said that there is nothing.

Rules:

1. VHDMP is out of reach where this Windows has none, or does not let the process use it. As a
   bad parameter can mean the former, it is found out with parameters that are always the same.
2. An error that comes from that says which disk wants VHDMP, and for what; any other one is
   left as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NoReturn

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.errors import InvalidInputError, code_of, reason_of
from pyvhdmp.hints import hint_for_no_vhdmp
from pyvhdmp.virtual_disk import VirtualDisk
from pyvhdmp.virtual_disk.formats import NAMES, format_of, suffix_of

__all__ = [
    "VHDMP_ONLY",
    "is_vhdmp_out_of_reach",
    "open_virtual_disk",
    "refuse_without_vhdmp",
    "wanting_vhdmp",
]

VHDMP_ONLY: Final = (".avhd", ".vhdx", ".avhdx", ".vhds")
"""The names of what nothing else reads."""

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


def is_vhdmp_out_of_reach(error: OSError) -> bool:
    """Whether an error says that there is no VHDMP, or no right to use it."""
    return code_of(error) in _NOT_THERE | _NOT_ALLOWED


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
        if code_of(error) not in _NOT_THERE:
            raise
        files.check_exists(current(), name)
        if format_of(name) is None:
            raise InvalidInputError.because(f"this wants a virtual disk: {NAMES}", name) from error
        refuse_without_vhdmp(name, "this needs Windows' VHDMP driver", error)


@contextlib.contextmanager
def wanting_vhdmp(
    path: str, disk_type: str, *, absent: str, way_out: str | None = None
) -> Iterator[None]:
    """Say of an error that comes from having no VHDMP that a disk of that type wants it.

    `absent`: a path where there is no file, to find it out with before anything is done.
    `way_out`: what can be done instead.
    """
    kind = suffix_of(path) or "virtual disk"
    if kind == ".vhd":  # of which a fixed one does without
        kind = f"{disk_type} {kind}"
    need = f"a {kind} needs Windows' VHDMP driver"
    try:
        _check_vhdmp(absent)
    except OSError as error:
        if not is_vhdmp_out_of_reach(error):
            raise
        error.filename = path
        refuse_without_vhdmp(path, need, error, way_out)
    try:
        yield
    except OSError as error:  # by now an invalid parameter is no more than that
        if code_of(error) not in _NOT_THERE_FOR_SURE | _NOT_ALLOWED:
            raise
        if error.filename != absent:  # it is about another disk, which the new one is made from
            raise
        error.filename = path
        refuse_without_vhdmp(path, need, error, way_out)


def refuse_without_vhdmp(
    name: str | None, need: str, error: OSError, way_out: str | None = None
) -> NoReturn:
    """Raise for what only VHDMP does, as `error` keeps it from doing so."""
    if code_of(error) in _NOT_ALLOWED:
        error.add_note(f"Without that there is no way: {need}.")
        refusal, cause = error, error.__cause__
    else:
        need += f", which does not work here: {reason_of(error)}"
        refusal, cause = InvalidInputError.because(need, name), error
        if (hint := hint_for_no_vhdmp(code_of(error))) is not None:
            refusal.add_note(hint)
    if way_out is not None:
        refusal.add_note(way_out)
    raise refusal from cause


def _check_vhdmp(missing: str) -> None:
    """Raise if there is no VHDMP, by opening a disk that is not there: rule 1.

    So a bad parameter can mean that nothing is understood, or, of later calls, only itself.
    """
    with contextlib.suppress(FileNotFoundError):
        VirtualDisk.open(missing).close()
