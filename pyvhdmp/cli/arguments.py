"""What can be said on the command line, and which command it stands for."""

from __future__ import annotations

import argparse

import pyvhdmp
from pyvhdmp.cli import attachments, bench, changes, completions, create, images, info
from pyvhdmp.cli.parser import Command, Commands, Parser, how_much

__all__ = ["parse"]


def parse(arguments: list[str] | None) -> tuple[Command, argparse.Namespace]:
    """Return the command that is asked for, and its options. Exits as argparse does."""
    parser = Parser(
        prog="pyvhdmp",
        description=(pyvhdmp.__doc__ or "").split("\n")[0],
        epilog="Sizes are 4096, 512K, 10g, 10GiB or 1.5G, in units of 1024. With the package rich "
        "a terminal gets progress bars, tables and colour (none with NO_COLOR). Errors are one "
        "line on standard error, with --json too. Exit codes: 0 done, 1 failed, 2 wrong "
        "usage, 130 interrupted; of compare 0 the same, 1 different, 2 failed.",
    )
    parser.add_argument("--version", action="version", version=f"pyvhdmp {pyvhdmp.__version__}")
    commands = Commands(parser)
    for module in (create, info, attachments, changes, images, bench, completions):
        module.add_to(commands)
    options = parser.parse_args(arguments)
    complaint: str | None = how_much(options) or options.wrong_usage(options)
    if complaint is not None:
        options.parser.error(complaint)
    command: Command = options.command
    return command, options
