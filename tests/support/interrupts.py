"""Ctrl+C at a moment that a test chooses, instead of one that comes by chance.

CPython looks for signals when a function written in Python is entered, behind a call of anything
that is not (a class included), and when a loop goes back; nowhere else. So of an operation there
are only so many moments at which it can be interrupted, and a test can go through them all. (Here
it comes before the next step, so what a ``try`` returns from a call counts as outside of it.)

    for ctrl_c in every_moment("pyvhdmp.buffers"):
        with ctrl_c:
            pool.take(1, never)
        assert nothing_is_left_behind()
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final

from tests.support import windows

__all__ = ["CtrlC", "every_moment"]

_LOOKED_BEHIND: Final = {
    number
    for name, number in dis.opmap.items()
    if name.startswith(("CALL", "JUMP_BACKWARD")) and name != "JUMP_BACKWARD_NO_INTERRUPT"
}


def every_moment(*modules: str) -> Iterator[CtrlC]:
    """Yield a `CtrlC` for each moment of an operation, until it is over before that moment."""
    ctrl_c = CtrlC(0, modules)
    while True:
        yield ctrl_c
        if not ctrl_c.has_come:
            return
        ctrl_c = CtrlC(ctrl_c.number + 1, modules)


class CtrlC:
    """A KeyboardInterrupt for this thread in a `with`, which lets it go no further.

    It comes at the moment of this number of those that code of the `modules` is carried out.
    """

    def __init__(self, number: int, modules: tuple[str, ...]) -> None:
        self.number = number
        self.has_come = False
        self.where = "never"
        self._modules = modules
        self._left = number
        self._behind: dict[int, bool] = {}  # by frame: whether there was a look just now

    def __repr__(self) -> str:
        return f"<Ctrl+C number {self.number}: {self.where}>"

    def __enter__(self) -> CtrlC:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        sys.settrace(self._before)
        return self.has_come and kind is KeyboardInterrupt

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "call":
            if windows.is_in_simulation(frame):
                return None  # in reality there is nothing of Python in there
            is_ours = frame.f_globals.get("__name__") in self._modules
            frame.f_trace = self._trace  # first, or from Python 3.13 on no steps are told
            frame.f_trace_lines, frame.f_trace_opcodes = False, is_ours
            if is_ours:
                self._look(frame)
        elif event == "opcode":
            if self._behind.get(id(frame)):
                self._look(frame)
            operation = frame.f_code.co_code[frame.f_lasti]
            self._behind[id(frame)] = operation in _LOOKED_BEHIND
        elif event == "exception":
            self._behind[id(frame)] = False
        elif event == "return":
            self._behind.pop(id(frame), None)
            # One function in Python returns to another without a look; but not by way of a class.
            if frame.f_back is not None and frame.f_code.co_name != "__init__":
                self._behind[id(frame.f_back)] = False
        return self._trace

    def _look(self, frame: FrameType) -> None:
        if self.has_come:
            return
        self._left -= 1
        if self._left < 0 and not _is_in_finalizer(frame):
            self.has_come = True
            self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            raise KeyboardInterrupt


def _is_in_finalizer(frame: FrameType | None) -> bool:
    """Whether Python would drop what is raised here."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
