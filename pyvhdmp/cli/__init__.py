"""The command line, the only part that prints.

Rules:

1. Standard output has the result, as text or with ``--json`` as one JSON object;
   standard error has progress, on a terminal only, what is logged with ``--verbose``, and
   errors, one line each, with ``--json`` too: standard output then is empty.
2. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. `compare` has those of cmp: 1 is
   for images that differ, and what keeps it from telling is 2.
3. Ctrl+C cancels what the kernel is doing, and one line tells what state the disk is in.

`arguments` is what can be said. `create`, `info`, `attachments`, `changes`, `images`, `bench` and
`completions` are the commands, each with what can be said to it; `parser` and `argument_types` are
what they say it with. `streams` is where copies come from and go to without a file, `plot` draws
for `bench`, and `output`, `progress`, `rich_output`, `logs`, `interrupts` and `text` are shared.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from pyvhdmp import _startup
from pyvhdmp.cli.arguments import parse
from pyvhdmp.cli.interrupts import Interrupted
from pyvhdmp.cli.logs import shown
from pyvhdmp.cli.output import describe, print_error
from pyvhdmp.cli.parser import FAILED, USAGE

__all__ = ["main", "run"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, which is 2 for wrong usage."""
    failure = FAILED
    try:
        try:
            command, options = parse(None if arguments is None else list(arguments))
        except SystemExit as ended:  # how argparse ends: wrong usage, a help text, the version
            return ended.code if isinstance(ended.code, int) else USAGE
        failure = options.failure
        with shown(options.verbose):
            return command(options)
    except Interrupted as interrupted:
        print_error(f"interrupted: {interrupted}")
        return INTERRUPTED
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    except (OSError, RuntimeError, MemoryError) as error:
        print_error(describe(error))
        return failure


def run() -> int:
    """The console script: `main`, with names printed even if the terminal cannot show them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _startup.over()
    return main()
