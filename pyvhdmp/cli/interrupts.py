"""What Ctrl+C came to, in one line.

Rules:

1. What can be cancelled is cancelled in the kernel, and its answer waited for. Only then is
   anything said.
2. What is said is the state that the disk is in: what was cancelled, or was done before
   that, which files are whole, and which must not be thrown away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pyvhdmp import files
from pyvhdmp._win32 import current
from pyvhdmp.virtual_disk import AlreadyDone

__all__ = ["Course", "Interrupted", "making", "telling"]


class Interrupted(KeyboardInterrupt):
    """Ctrl+C; its text is the state that the disk is in."""


class Course:
    """How far a command is, and what Ctrl+C leaves there."""

    def __init__(self, name: str, state: Callable[[], str]) -> None:
        self._name = name
        self._is_done = False
        self._if_cancelled = self._if_done = state

    def begin(self, if_cancelled: Callable[[], str], if_done: Callable[[], str]) -> None:
        """From here on Ctrl+C leaves the one, or the other."""
        self._if_cancelled, self._if_done = if_cancelled, if_done

    def done(self) -> None:
        """What the command is for is done."""
        self._is_done = True

    def interrupted(self, error: KeyboardInterrupt) -> Interrupted:
        """Return what to raise for a Ctrl+C."""
        if self._is_done or isinstance(error, AlreadyDone):
            return Interrupted(f"{self._name} was already done; {self._if_done()}")
        return Interrupted(f"{self._name} was cancelled; {self._if_cancelled()}")


@contextlib.contextmanager
def telling(name: str, state: Callable[[], str]) -> Iterator[Course]:
    """Have Ctrl+C in the block raise `Interrupted`, with the state that there is then."""
    course = Course(name, state)
    try:
        yield course
    except KeyboardInterrupt as error:
        raise course.interrupted(error) from error


@contextlib.contextmanager
def making(name: str, target: str) -> Iterator[Course]:
    """Have Ctrl+C in the block tell what there is of the file that the block makes."""

    def state() -> str:
        try:
            is_there = files.file_attributes(current(), target) is not None
        except OSError:
            return f"{target} was not touched"
        return f"{target} is as it was" if is_there else "no file is left"

    with telling(name, state) as course:
        course.begin(state, lambda: f"{target} is whole")
        yield course
