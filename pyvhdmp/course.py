"""How far a copy is, told to whoever wants to know.

Rules:

1. A report is called in the caller's own thread, about ten times a second and once at the end.
   What it raises ends the work.
2. Time is taken with or without a report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeAlias

__all__ = ["REPORT_SECONDS", "Course", "Report"]

REPORT_SECONDS: Final = 0.1

Report: TypeAlias = Callable[[str, int, int], None]
"""Called about ten times a second with what is being done, bytes done, bytes in all."""


class Course:
    """How far something is. `phase`: what the report calls it. `size`: its bytes in all."""

    def __init__(self, phase: str, size: int, report: Report | None) -> None:
        self._phase = phase
        self._report = report
        self._began = self._reported = time.perf_counter()
        self.size: int = size
        self.done: int = 0

    def advance(self, length: int) -> None:
        """So many bytes more are done. Report it if it is time."""
        self.done += length
        if self._report is not None and time.perf_counter() - self._reported >= REPORT_SECONDS:
            self.reach(self.done)

    def reach(self, done: int) -> None:
        """So many bytes are done. Report it."""
        self.done = done
        if self._report is not None:
            self._report(self._phase, done, self.size)
            self._reported = time.perf_counter()

    def end(self, done: int) -> float:
        """It is over, with so many bytes done. Report it; return how many seconds it has taken."""
        self.reach(done)
        return time.perf_counter() - self._began
