"""Progress on one line of a terminal: bytes, rate, time left. Nothing in a pipe."""

from __future__ import annotations

import sys
import time
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
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        seconds = now - self._began
        left = format_seconds(seconds * (total - done) / done) if done else "-:--"
        self._write(
            f"{phase} {format_size(done)} of {format_size(total)}"
            f"  {100 * done // max(total, 1)} %  {format_rate(done, seconds)}  {left} left"
        )

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)
