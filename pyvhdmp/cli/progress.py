"""Progress on one line of a terminal: bytes, rate, time left. Nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

from pyvhdmp.cli.text import format_rate, format_seconds, format_size

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ProgressLine"]


class ProgressLine:
    """Writes over one line of `stream`, and wipes it at the end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._phase = ""
        self._began = 0.0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def report(self, phase: str, done: int, total: int) -> None:
        """Show how far `phase` is, in bytes."""
        if not self._shown:
            return
        seconds, left = self._times(phase, done, total)
        self._write(
            f"{phase} {format_size(done)} of {format_size(total)}"
            f"  {100 * done // max(total, 1)} %  {format_rate(done, seconds)}  {left} left"
        )

    def share(self, phase: str) -> Callable[[int, int], None]:
        """Return what shows how far `phase` is, in a unit that only Windows knows.

        Windows may say that all of it is done when it is not. This does not.
        """

        def report(done: int, total: int) -> None:
            if self._shown:
                _, left = self._times(phase, done, total)
                self._write(f"{phase}  {min(99, 100 * done // max(total, 1))} %  {left} left")

        return report

    def _times(self, phase: str, done: int, total: int) -> tuple[float, str]:
        """Return the seconds that a phase has taken, and how long it may take yet."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        seconds = now - self._began
        return seconds, format_seconds(seconds * (total - done) / done) if done else "-:--"

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)
