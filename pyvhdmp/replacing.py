"""New files that are whole or not there, and what keeps one from being made.

Rules:

1. A new file is made beside the place where it is to be, at a name that says it is not
   finished, and by whom: nobody else's file has it, so what is there is of one that was
   killed, and is deleted. VHDMP goes by the suffix, so for it the mark comes before that.
2. It gets its own name when it is complete, and not before. On any other outcome it is
   deleted, and a file that was there before is as it was.
3. Ctrl+C counts until it has its name; from then on it is too late, which `AlreadyDone` says.
"""

from __future__ import annotations

import contextlib
import errno
import ntpath
from collections.abc import Iterator
from typing import Final

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.errors import InvalidInputError, code_of, windows_error
from pyvhdmp.virtual_disk import AlreadyDone, VirtualDisk
from pyvhdmp.virtual_disk.formats import format_of

__all__ = ["check_target", "partial_name", "replacing"]

_MARK: Final = ".pyvhdmp-partial"
_CHECK: Final = "The check of the target"


def partial_name(target: str, *, by_vhdmp: bool) -> str:
    """Return the name that a new file has by rule 1. `by_vhdmp`: VHDMP makes it."""
    if not by_vhdmp:
        return target + _MARK
    stem, suffix = ntpath.splitext(target)
    return stem + _MARK + suffix


@contextlib.contextmanager
def replacing(target: str, partial: str, *, force: bool) -> Iterator[None]:
    """Have a file made at `partial`, which gets the name `target` at the end of the block.

    `force`: in the place of one that is there. An error that names `partial` names `target`.
    """
    windows = current()
    try:
        files.delete_file(windows, partial)  # of one that was killed
    except OSError as error:  # if none is found, it is the folder that is missing
        error.filename = target
        if code_of(error) == constants.ERROR_SHARING_VIOLATION:
            error.add_note(f"{partial} is open: it is being made by somebody else.")
        raise
    is_moving = False
    try:
        yield
        is_moving = True
        files.move_file(windows, partial, target, replace=force)
    except BaseException as error:
        is_interrupted = isinstance(error, KeyboardInterrupt)
        if is_interrupted and is_moving and files.file_attributes(windows, partial) is None:
            raise AlreadyDone from error  # rule 3
        files.discard_file(windows, partial)  # rule 2
        if isinstance(error, AlreadyDone):  # a part of it is, and has just been undone
            raise KeyboardInterrupt from error
        if isinstance(error, OSError) and error.filename == partial:
            error.filename = target
        raise


def check_target(target: str, partial: str, *, force: bool, source: str | None = None) -> None:
    """Raise now what would otherwise be found out when the new file is complete.

    `source`: what it is made from, which it must not be made over, nor over a parent of that.
    """
    windows = current()
    if source is not None:
        if _is_same(source, target):
            raise InvalidInputError.because("source and target are the same file", target)
        if _is_same(source, partial):
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
        error.add_note("With force=True it would be replaced.")
        raise error
    if attributes & constants.FILE_ATTRIBUTE_READONLY:
        error = windows_error(constants.ERROR_ACCESS_DENIED, _CHECK, target)
        error.add_note("It is marked read-only.")
        raise error
    files.check_replaceable(windows, target)
    if source is not None and format_of(source) is not None and format_of(target) is not None:
        _check_no_parent(source, target)


def _check_no_parent(source: str, target: str) -> None:
    """Raise if a virtual disk takes what it holds from the one that is to be replaced."""
    try:
        disk = VirtualDisk.open(source, info_only=True)
    except OSError:
        return  # what is made from it finds that out, too
    with disk:
        parents = [one.path for one in disk.chain[1:]]
    if any(_is_same(parent, target) for parent in parents):
        raise InvalidInputError.because(
            f"it is a parent of {source}, whose content would be lost with it", target
        )


def _is_same(path: str, other: str) -> bool:
    windows = current()
    return files.path_key(windows, path) == files.path_key(windows, other)
