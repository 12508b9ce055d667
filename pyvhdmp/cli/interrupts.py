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
    """How far a command is. `state`: returns what Ctrl+C would leave, from here on."""

    def __init__(self, name: str, state: Callable[[], str]) -> None:
        self._name = name
        self._is_done = False
        self.state = state

    def done(self, state: Callable[[], str] | None = None) -> None:
        """What the command is for is done."""
        self._is_done = True
        self.state = state or self.state

    def interrupted(self, error: KeyboardInterrupt) -> Interrupted:
        """Return what to raise for a Ctrl+C."""
        is_done = self._is_done or isinstance(error, AlreadyDone)
        outcome = "was already done" if is_done else "was cancelled"
        return Interrupted(f"{self._name} {outcome}; {self.state()}")


@contextlib.contextmanager
def telling(name: str, state: Callable[[], str]) -> Iterator[Course]:
    """Have Ctrl+C in the block raise `Interrupted`, with the state that there is then."""
    course = Course(name, state)
    try:
        yield course
    except KeyboardInterrupt as error:
        raise course.interrupted(error) from error


@contextlib.contextmanager
def making(name: str, target: str) -> Iterator[None]:
    """Have Ctrl+C in the block tell what there is of the file that the block makes."""

    def state() -> str:
        try:
            is_there = files.file_attributes(current(), target) is not None
        except OSError:
            return f"{target} was not touched"
        return f"{target} is as it was" if is_there else "no file is left"

    try:
        with telling(name, state):
            yield
    except Interrupted as interrupted:
        if isinstance(interrupted.__cause__, AlreadyDone):
            raise Interrupted(f"{name} was already done; {target} is whole") from interrupted
        raise
