"""What can be said on the command line, and which command it stands for."""

from __future__ import annotations

import argparse
import math
import uuid
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypeAlias, get_args

import pyvhdmp
from pyvhdmp.cli import attachments, bench, changes, images, streams
from pyvhdmp.cli.completions import SHELLS, completions
from pyvhdmp.cli.create import create, wrong_usage
from pyvhdmp.cli.info import info
from pyvhdmp.cli.text import parse_size, path
from pyvhdmp.copying import IO_SIZE, QUEUE_DEPTH
from pyvhdmp.disk import Backend
from pyvhdmp.virtual_disk import VirtualDiskType

__all__ = ["USAGE", "Command", "parse"]

USAGE: Final = 2

_EXAMPLE: Final = "example: "

Command: TypeAlias = Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
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
        self.exit(USAGE, f"{self.prog}: {message} (try {self.prog} --help)\n")


class _Help(argparse.HelpFormatter):
    """argparse's, with an example on each line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return text
        return super()._fill_text(text, width, indent)


class _Commands:
    """The commands, each with a help text, examples, and how much it is to tell."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
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
        parser.set_defaults(command=command, parser=parser, wrong_usage=lambda _: None)
        how_much = parser.add_mutually_exclusive_group()
        how_much.add_argument(
            "-q",
            "--quiet",
            action="store_true",
            help="print no progress and, after success, no text: errors alone, and --json's",
        )
        how_much.add_argument(
            "-v",
            "--verbose",
            action="count",
            default=0,
            help="tell on standard error what is done, and which way; twice: every handle, too",
        )
        return parser


def parse(arguments: list[str] | None) -> tuple[Command, argparse.Namespace]:
    """Return the command that is asked for, and its options. Exits as argparse does."""
    parser = _Parser(
        prog="pyvhdmp",
        description=(pyvhdmp.__doc__ or "").split("\n")[0],
        epilog="Sizes are 4096, 512K, 10g, 10GiB or 1.5G, in units of 1024. With the package rich "
        "a terminal gets progress bars, tables and colour (none with NO_COLOR). Errors are one "
        "line on standard error, with --json too. Exit codes: 0 done, 1 failed or different, 2 "
        "wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"pyvhdmp {pyvhdmp.__version__}")
    commands = _Commands(parser)
    _add_create(commands)
    _add_info(commands)
    _add_attachments(commands)
    _add_changes(commands)
    _add_images(commands)
    _add_bench(commands)
    _add_completions(commands)
    options = parser.parse_args(arguments)
    complaint: str | None = options.wrong_usage(options)
    if complaint is not None:
        options.parser.error(complaint)
    command: Command = options.command
    return command, options


def _add_create(commands: _Commands) -> None:
    parser = commands.add(
        "create",
        create,
        "make a virtual disk: dynamic, fixed, differencing, or a copy",
        "Make a virtual disk: an empty one of SIZE bytes; with --parent, one that holds what is "
        "changed of another; with --from, one with the content of another. Its name says the "
        "format, .vhd or .vhdx. It gets its name only when it is complete. VHDMP makes it; a "
        "fixed .vhd is made without where VHDMP is not to be had.",
        "disk.vhdx 10G",
        "monday.avhdx --parent disk.vhdx",
        "copy.vhd --from disk.vhdx --type fixed",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the disk to make")
    parser.add_argument(
        "size",
        metavar="SIZE",
        nargs="?",
        type=_size,
        help="its size, such as 512M or 1.5G, at least 3M; with --from, the source's if it is "
        "left out",
    )
    _add_type(parser, "how its file holds the content (default dynamic, which grows with use)")
    made_from = parser.add_mutually_exclusive_group()
    made_from.add_argument(
        "--parent",
        metavar="P",
        type=path,
        help="begin with the content of P, which must not change from then on",
    )
    made_from.add_argument(
        "--from",
        dest="source",
        metavar="SRC",
        type=path,
        help="copy the virtual disk SRC, with what it has from its parents",
    )
    parser.add_argument(
        "--block-size",
        metavar="N",
        type=_size,
        default=0,
        help="what its file grows by: 512K or 2M in a .vhd, 1M to 256M in a .vhdx",
    )
    parser.add_argument(
        "--sector-size", metavar="N", type=_size, help="512 (default) or, in a .vhdx, 4K"
    )
    parser.add_argument(
        "--physical-sector-size",
        metavar="N",
        type=_size,
        help="what it says that its physical sectors are: 512 or, in a .vhdx, 4K",
    )
    parser.add_argument("--id", metavar="UUID", type=_uuid, help="its identity (default: new)")
    parser.add_argument("--force", action="store_true", help="replace PATH if it exists")
    _add_json(parser, "print what was made as JSON")
    parser.set_defaults(wrong_usage=wrong_usage)


def _add_info(commands: _Commands) -> None:
    parser = commands.add(
        "info",
        info,
        "show what a disk image is",
        "Show what a disk image is, with the whole chain of its parents, and what Windows tells "
        "about it; or list the images in a folder.",
        "disk.vhd --json",
        ".",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the image, or a folder of images")
    _add_json(parser, "print it as JSON")


def _add_attachments(commands: _Commands) -> None:
    parser = commands.add(
        "attach",
        attachments.attach,
        "attach a virtual disk to this machine",
        "Attach a virtual disk as if it had been plugged in, and print the device that it is. It "
        "stays attached until it is detached or the machine restarts.",
        "disk.vhdx --read-only",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the virtual disk, or an .iso")
    parser.add_argument("--read-only", action="store_true", help="let nobody write to it")
    parser.add_argument(
        "--no-drive-letter", action="store_true", help="give its volumes no drive letters"
    )
    parser.add_argument(
        "--sddl",
        metavar="TEXT",
        help="who may use the attached disk, such as D:P(A;;GA;;;BA) for administrators alone; it "
        "is told in words (default: who may use the file)",
    )
    _add_json(parser, "print what was attached as JSON")

    parser = commands.add(
        "attached",
        attachments.attached,
        "list the virtual disks that are attached",
        "List the virtual disks that are attached to this machine, by whomever: the device, and "
        "the file where Windows tells it.",
        "--json",
    )
    _add_json(parser, "print them as JSON")

    parser = commands.add(
        "detach",
        attachments.detach,
        "detach a virtual disk",
        "End the attachment of a virtual disk, whoever attached it.",
        "disk.vhdx",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the virtual disk")
    _add_json(parser, "print what was detached as JSON")


def _add_changes(commands: _Commands) -> None:
    parser = commands.add(
        "resize",
        changes.resize,
        "make a virtual disk larger or smaller",
        "Make a virtual disk larger or, if it is a .vhdx, smaller. Its partitions stay what they "
        "are.",
        "disk.vhdx 1.5T",
        "disk.vhdx --smallest",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the virtual disk")
    parser.add_argument(
        "size", metavar="SIZE", nargs="?", type=_size, help="such as 512M or 1.5G, at least 3M"
    )
    parser.add_argument(
        "--smallest", action="store_true", help="make it as small as its partitions allow"
    )
    parser.add_argument(
        "--allow-unsafe", action="store_true", help="cut off what partitions hold past SIZE"
    )
    _add_json(parser, "print the old and new sizes as JSON")
    parser.set_defaults(wrong_usage=changes.wrong_resize)

    parser = commands.add(
        "compact",
        changes.compact,
        "make the file of a dynamic disk smaller",
        "Give back what the file of a dynamic or differencing disk takes for zeros. The content "
        "stays.",
        "disk.vhdx",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the virtual disk")
    parser.add_argument("--no-zero-scan", action="store_true", help="look for no zeros")
    parser.add_argument("--no-block-moves", action="store_true", help="move no blocks")
    _add_json(parser, "print the old and new sizes as JSON")

    parser = commands.add(
        "merge",
        changes.merge,
        "merge a differencing disk into its parent",
        "Write what a differencing disk holds into its parent, which then holds the content. "
        "Other disks with the same parent, and children of PATH, are lost by that.",
        "monday.avhdx --delete",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the differencing disk")
    parser.add_argument(
        "--depth",
        metavar="N",
        type=_depth,
        default=1,
        help="into the parent's parent (2) and so on, with all that is between (default 1)",
    )
    parser.add_argument(
        "--delete", action="store_true", help="delete the files that were merged, after success"
    )
    _add_json(parser, "print what was done as JSON")


def _add_images(commands: _Commands) -> None:
    parser = commands.add(
        "copy",
        images.copy,
        "copy a disk image, converting between raw, VHD and VHDX",
        "Copy a disk image. The names say what the images are: SRC is opened through VHDMP if it "
        "is a .vhd, .vhdx, .avhd, .avhdx or .vhds (a fixed .vhd also without), and is raw "
        "otherwise. DST becomes a fixed VHD if it is a .vhd; a dynamic VHDX, which takes no room "
        "for zeros, needs VHDMP, and holds 3 MiB or more, if it is a .vhdx; and a raw image "
        "otherwise. Zeros, and what the parent holds, are left out by 64 KiB. DST gets its name "
        "only when it is complete and flushed; until then it is DST.pyvhdmp-partial or, made by "
        "VHDMP, has the mark before its suffix. A copy that is killed outright leaves that file, "
        "and the next one writes over it. Standard input and output, which are -, have the bytes "
        "of a raw disk; in PowerShell before 7.4 a pipe is text, so let cmd /c run it.",
        "disk.img disk.vhd --verify",
        "zstd -dc disk.img.zst | pyvhdmp copy - disk.vhdx --size 10G",
        "pyvhdmp copy disk.vhdx - | ssh backup dd of=disk.img",
    )
    parser.add_argument(
        "source", metavar="SRC", type=path, help="the image to copy; - is standard input"
    )
    parser.add_argument(
        "target", metavar="DST", type=path, help="the image to make; - is standard output"
    )
    parser.add_argument(
        "--size",
        metavar="SIZE",
        type=_size,
        help="how much standard input has, such as 512M or 1.5G, if it is no file",
    )
    kind = parser.add_mutually_exclusive_group()
    _add_type(kind, "what DST is to be, if not as its name says; needs VHDMP")
    kind.add_argument(
        "--parent",
        metavar="P",
        type=path,
        help="make DST (also an .avhd or .avhdx) hold only what differs from P, of SRC's size",
    )
    parser.add_argument("--verify", action="store_true", help="read both again and compare")
    parser.add_argument("--force", action="store_true", help="replace DST if it exists")
    _add_io_options(parser)
    _add_json(parser, "print what was done as JSON")
    parser.set_defaults(wrong_usage=streams.wrong_copy)

    parser = commands.add(
        "compare",
        images.compare,
        "compare the content of two disk images",
        "Compare the content of two disk images, whatever their kinds. Exit code 0 if it is the "
        "same, 1 if not.",
        "disk.img disk.vhd",
    )
    parser.add_argument("first", metavar="A", type=path, help="an image")
    parser.add_argument("second", metavar="B", type=path, help="another, of the same size")
    _add_io_options(parser)
    _add_json(parser, "print the result as JSON")


def _add_bench(commands: _Commands) -> None:
    parser = commands.add(
        "bench",
        bench.bench,
        "measure how fast a disk is",
        "Measure a disk, past the cache of files: requests of one size, each of which begins when "
        "one before it is over, so that as many are in flight as are asked for. Shown are the "
        "depth that was asked for, the one that Windows had at its peak, and the average; then "
        "requests and bytes per second, latencies, and the CPU time that a request took. A "
        "latency lasts from the call until the callback, and percentiles are right within 1.6 %. "
        "As nothing is asked while the queue is full, they do not tell how long others would have "
        "waited for a disk that stalls. A last block that is cut is left out.",
        "disk.vhdx --random --block-size 4K --sweep 1,4,16,64 --plot disk.png",
        "scratch.vhd --write 30 --destroy-contents --duration 60",
    )
    parser.add_argument("path", metavar="PATH", type=path, help="the image")
    parser.add_argument(
        "--write",
        metavar="PERCENT",
        type=_percent,
        default=0,
        help="how many of the requests are writes (default 0, which opens PATH read-only)",
    )
    parser.add_argument(
        "--destroy-contents", action="store_true", help="let --write overwrite what PATH holds"
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--random", action="store_true", help="anywhere on the disk")
    order.add_argument(
        "--sequential",
        dest="random",
        action="store_false",
        default=False,
        help="one block after the other, from the beginning again at the end (default)",
    )
    parser.add_argument(
        "--block-size",
        metavar="N",
        type=_block_size,
        default=64 * 1024,
        help="bytes in a request, up to 64M: whole sectors; what is no multiple of 4K is copied "
        "on its way (default 64K)",
    )
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--queue-depth",
        metavar="N",
        type=_queue_depth,
        default=32,
        help="requests in flight, for each thread, 1 to 1024 (default 32)",
    )
    depth.add_argument(
        "--sweep", metavar="N,N...", type=_queue_depths, help="measure at each of these depths"
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_threads,
        default=0,
        help="have so many threads begin the requests, each in a part of the disk of its own "
        "(default 0: the completion thread does, which costs least)",
    )
    parser.add_argument(
        "--duration", metavar="SECONDS", type=_seconds, help="how long to measure (default 10)"
    )
    parser.add_argument(
        "--warmup",
        metavar="SECONDS",
        type=_seconds_or_none,
        help="how long before that nothing is counted (default 1)",
    )
    parser.add_argument(
        "--operations",
        metavar="N",
        type=_operations,
        help="do so many requests instead, and count them all",
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, help="draw the same places again (default: others)"
    )
    parser.add_argument(
        "--backend",
        choices=get_args(Backend),
        default="auto",
        help="open PATH as this, whatever its name says",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=path,
        help="draw latency and throughput over queue depth, as .png, .svg or .pdf; needs "
        "matplotlib (pip install matplotlib)",
    )
    _add_json(parser, "print the figures as JSON")
    parser.set_defaults(wrong_usage=bench.wrong_usage)


def _add_completions(commands: _Commands) -> None:
    parser = commands.add(
        "completions",
        completions,
        "print what has a shell complete all this",
        "Print a script that has a shell complete commands, options and paths. For bash, put "
        "into ~/.bashrc: source <(pyvhdmp completions bash). For PowerShell, put into $PROFILE: "
        "pyvhdmp completions powershell | Out-String | Invoke-Expression.",
        "powershell | Out-String | Invoke-Expression",
        "source <(pyvhdmp completions bash)",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash or powershell")
    parser.set_defaults(commands=commands.known)


def _add_json(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help=f"{help}; an error is one line on standard error all the same",
    )


def _add_type(parser: argparse._ActionsContainer, help: str) -> None:
    parser.add_argument("--type", metavar="fixed|dynamic", type=_disk_type, help=help)


def _add_io_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue-depth",
        type=_queue_depth,
        default=QUEUE_DEPTH,
        metavar="N",
        help=f"requests in flight in each direction, 1 to 1024 (default {QUEUE_DEPTH})",
    )
    parser.add_argument(
        "--io-size",
        type=_io_size,
        default=IO_SIZE,
        metavar="N",
        help="bytes in a request, such as 64K or 1M: a multiple of 4K up to 64M (default "
        f"{IO_SIZE >> 20}M)",
    )


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _io_size(text: str) -> int:
    size = _size(text)
    if size % 4096 or not 4096 <= size <= 64 * 1024 * 1024:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of 4K up to 64M, such as 256K")
    return size


def _block_size(text: str) -> int:
    size = _size(text)
    if size % 512 or not 512 <= size <= 64 * 1024 * 1024:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of 512 up to 64M, such as 64K")
    return size


def _queue_depth(text: str) -> int:
    return _number(text, 1024)


def _queue_depths(text: str) -> list[int]:
    return [_queue_depth(depth) for depth in text.split(",")]


def _threads(text: str) -> int:
    return _number(text, 64, least=0)


def _percent(text: str) -> int:
    return _number(text, 100, least=0)


def _operations(text: str) -> int:
    return _number(text, 10**12)


def _seconds(text: str) -> float:
    if not (seconds := _seconds_or_none(text)):
        raise argparse.ArgumentTypeError(f"{text} is no time to measure")
    return seconds


def _seconds_or_none(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds up to 1000000")
    return seconds


def _depth(text: str) -> int:
    return _number(text, 1000)


def _number(text: str, most: int, *, least: int = 1) -> int:
    number = int(text) if text.isdecimal() else -1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text or repr(text)} is not in {least} .. {most}")
    return number


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID") from None


def _disk_type(text: str) -> VirtualDiskType:
    if text not in ("fixed", "dynamic"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither fixed nor dynamic")
    return VirtualDiskType(text)
