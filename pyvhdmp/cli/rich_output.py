"""Progress bars, tables and colour by rich, which is imported here and only when needed.

Rules:

1. It is used where it is installed and the output is a terminal that is not dumb (``TERM``).
   Otherwise everything is plain text, of the same words.
2. What is said is decided elsewhere; here it is only laid out. Nothing is taken for markup.
3. Nothing runs beside the command: a bar is drawn when it is told of progress.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Bar", "console_for", "print_error", "print_table"]

_DUMB: Final = ("dumb", "unknown")


def console_for(stream: TextIO | None) -> Console | None:
    """Return what writes to a terminal, or None where plain text is to be written."""
    if stream is None or not stream.isatty() or os.environ.get("TERM", "").lower() in _DUMB:
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, markup=False, emoji=False, highlight=False)


def print_error(console: Console, text: str) -> None:
    """Print an error on one line, whatever the width: the program's name in red."""
    from rich.text import Text

    name, colon, rest = text.partition(":")
    line = Text.assemble((name + colon, "bold red"), rest)
    console.print(line, soft_wrap=True)


def print_table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a head, or, without one, names beside what they stand for."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if head else None, show_header=bool(head))
    for number in range(len(rows[0])):
        table.add_column(
            head[number] if head else "",
            style="bold" if number == 0 and head else "cyan" if number == 0 else "",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


class Bar:
    """A progress bar on a line of its own, which is gone at the end."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[details]}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # which is not the terminal, if that is only standard error
        )
        self._task = self._progress.add_task("", total=100, details="")

    def show(self, phase: str, amount: str, percent: int, details: str) -> None:
        """Show how far something is."""
        said = "  ".join(text for text in (amount, f"{percent} %", details) if text)
        self._progress.update(self._task, description=phase, completed=percent, details=said)
        self._progress.start()  # if it is not yet
        self._progress.refresh()

    def close(self) -> None:
        """Wipe it."""
        self._progress.stop()
