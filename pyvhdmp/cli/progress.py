"""Progress on one line of a terminal: bytes, rate, time left. Nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, Self, TextIO

from pyvhdmp.cli import rich_output
from pyvhdmp.cli.text import format_rate, format_seconds, format_size

__all__ = ["ProgressLine"]


class ProgressLine:
    """Writes over one line of `stream`, and wipes it at the end.

    `quiet`: it does not, whatever the stream is.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._display = None if quiet else _display_on(sys.stderr if stream is None else stream)
        self._phase = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.close()

    def report(self, phase: str, done: int, total: int) -> None:
        """Show how far `phase` is, in bytes."""
        if self._display is None:
            return
        seconds, left = self._times(phase, done, total)
        amount = f"{format_size(done)} of {format_size(total)}"
        rate = format_rate(done, seconds)
        self._display.show(phase, amount, 100 * done // max(total, 1), f"{rate}  {left} left")

    def share(self, phase: str) -> Callable[[int, int], None]:
        """Return what shows how far `phase` is, in a unit that only Windows knows.

        Windows may say that all of it is done when it is not. This does not.
        """

        def report(done: int, total: int) -> None:
            if self._display is not None:
                _, left = self._times(phase, done, total)
                self._display.show(phase, "", min(99, 100 * done // max(total, 1)), f"{left} left")

        return report

    def _times(self, phase: str, done: int, total: int) -> tuple[float, str]:
        """Return the seconds that a phase has taken, and how long it may take yet."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        seconds = now - self._began
        return seconds, format_seconds(seconds * (total - done) / done) if done else "-:--"


class _Display(Protocol):
    """What progress is shown on."""

    def show(self, phase: str, amount: str, percent: int, details: str) -> None: ...
    def close(self) -> None: ...


def _display_on(stream: TextIO | None) -> _Display | None:
    if (console := rich_output.console_for(stream)) is not None:
        return rich_output.Bar(console)
    return _Line(stream) if stream is not None and stream.isatty() else None


class _Line:
    """A line of plain text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def show(self, phase: str, amount: str, percent: int, details: str) -> None:
        self._write(f"{phase} {amount}".rstrip() + f"  {percent} %  {details}")

    def close(self) -> None:
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)
