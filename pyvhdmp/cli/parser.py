"""argparse as it is here: errors on one line, options and positions in any order, examples.

Each command's module adds what can be said to it, in its function `add_to`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypeAlias

from pyvhdmp.cli import argument_types as types
from pyvhdmp.copying import IO_SIZE, QUEUE_DEPTH

__all__ = [
    "FAILED",
    "USAGE",
    "Command",
    "Commands",
    "Parser",
    "add_io_options",
    "add_json",
    "add_type",
    "how_much",
]

FAILED: Final = 1
USAGE: Final = 2

_EXAMPLE: Final = "example: "
_BEFORE: Final = "_before"
"""What the names of options have at their end that stand before the command."""

Command: TypeAlias = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse, with its errors on one line."""

    _is_intermixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the options of a command. Else a SIZE after an option would be one too many."""
        if self._subparsers is not None or self._is_intermixing:
            return super().parse_known_args(args, namespace)
        self._is_intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong."""
        self.exit(USAGE, f"{self.prog}: {message} (try {self.prog} --help)\n")


class _Help(argparse.HelpFormatter):
    """argparse's, with an example on each line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return text
        return super()._fill_text(text, width, indent)


class Commands:
    """The commands, each with a help text, examples, and how much it is to tell."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        _add_how_much(parser, _BEFORE)
        self.parser = parser
        """What all commands are below."""
        self._subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
        self.known: dict[str, tuple[str, argparse.ArgumentParser]] = {}
        """What each is for, in a few words, and its parser."""

    def add(
        self, name: str, command: Command, help: str, description: str, *examples: str
    ) -> argparse.ArgumentParser:
        """Add a command. An example is what follows its name, or a whole pipeline."""
        lines = [
            _EXAMPLE + (example if "pyvhdmp " in example else f"pyvhdmp {name} {example}".rstrip())
            for example in examples
        ]
        parser = self._subparsers.add_parser(
            name,
            help=help,
            description=description,
            epilog="\n".join(lines),
            formatter_class=_Help,
        )
        self.known[name] = help, parser
        parser.set_defaults(
            command=command, parser=parser, failure=FAILED, wrong_usage=lambda _: None
        )
        _add_how_much(parser)
        return parser


def how_much(options: argparse.Namespace) -> str | None:
    """Put together what is said before a command and after it; return what is wrong with that."""
    options.quiet |= getattr(options, f"quiet{_BEFORE}")
    options.verbose += getattr(options, f"verbose{_BEFORE}")
    return "--quiet cannot go with --verbose" if options.quiet and options.verbose else None


def _add_how_much(parser: argparse.ArgumentParser, suffix: str = "") -> None:
    """Add how much a command is to tell; `suffix`: of the names that it has in the options."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-q",
        "--quiet",
        dest=f"quiet{suffix}",
        action="store_true",
        help="print no progress and, after success, no text: errors alone, and --json's",
    )
    group.add_argument(
        "-v",
        "--verbose",
        dest=f"verbose{suffix}",
        action="count",
        default=0,
        help="tell on standard error what is done, and which way; twice: every handle, too",
    )


def add_json(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help=f"{help}; an error is one line on standard error all the same",
    )


def add_type(parser: argparse._ActionsContainer, help: str) -> None:
    """Add ``--type``."""
    parser.add_argument("--type", metavar="fixed|dynamic", type=types.disk_type, help=help)


def add_io_options(parser: argparse.ArgumentParser) -> None:
    """Add how much of a copy is in flight."""
    parser.add_argument(
        "--queue-depth",
        type=types.queue_depth,
        default=QUEUE_DEPTH,
        metavar="N",
        help=f"requests in flight in each direction, 1 to 1024 (default {QUEUE_DEPTH})",
    )
    parser.add_argument(
        "--io-size",
        type=types.multiple("4K"),
        default=IO_SIZE,
        metavar="N",
        help="bytes in a request, such as 64K or 1M: a multiple of 4K up to 64M (default "
        f"{IO_SIZE >> 20}M)",
    )
