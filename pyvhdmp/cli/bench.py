"""``bench``: how fast a disk is.

Rules:

1. Nothing is written to a disk unless ``--destroy-contents`` says so; else it is opened
   read-only.
2. What can go wrong with ``--plot`` is looked for before the disk is opened: a benchmark is
   long.
3. A run is shown as soon as it is over, so a sweep that fails has shown the ones before.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from typing import get_args

from pyvhdmp.benchmark import Measurement, Share, Workload, measure
from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli import plot
from pyvhdmp.cli.interrupts import telling
from pyvhdmp.cli.output import print_result, print_text
from pyvhdmp.cli.parser import Commands, add_json
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.cli.text import format_size
from pyvhdmp.disk import Backend

__all__ = ["add_to", "bench"]

_HEAD = (
    f"{'depth':>5} {'peak':>5} {'avg':>6} {'':>5} {'IOPS':>7} {'MiB/s':>7} {'min':>6} {'mean':>6}"
    f" {'p50':>6} {'p90':>6} {'p95':>6} {'p99':>6} {'p99.9':>6} {'max':>7} {'CPU':>4}"
)


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "bench",
        bench,
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
    parser.add_argument("path", metavar="PATH", type=types.path, help="the image")
    parser.add_argument(
        "--write",
        metavar="PERCENT",
        type=types.number(100, least=0),
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
        type=types.multiple("512"),
        default=64 * 1024,
        help="bytes in a request, up to 64M: whole sectors; what is no multiple of 4K is copied "
        "on its way (default 64K)",
    )
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--queue-depth",
        metavar="N",
        type=types.queue_depth,
        default=32,
        help="requests in flight, for each thread, 1 to 1024 (default 32)",
    )
    depth.add_argument(
        "--sweep", metavar="N,N...", type=types.queue_depths, help="measure at each of these depths"
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=types.number(64, least=0),
        default=0,
        help="have so many threads begin the requests, each in a part of the disk of its own "
        "(default 0: the completion thread does, which costs least)",
    )
    parser.add_argument(
        "--duration", metavar="SECONDS", type=types.seconds, help="how long to measure (default 10)"
    )
    parser.add_argument(
        "--warmup",
        metavar="SECONDS",
        type=types.seconds_or_none,
        help="how long before that nothing is counted (default 1)",
    )
    parser.add_argument(
        "--operations",
        metavar="N",
        type=types.number(10**12),
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
        type=types.path,
        help="draw latency and throughput over queue depth, as .png, .svg or .pdf; needs "
        "matplotlib (pip install matplotlib)",
    )
    add_json(parser, "print the figures as JSON")
    parser.set_defaults(wrong_usage=_wrong_usage)


def _wrong_usage(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options that are right each by itself."""
    if options.write and not options.destroy_contents:
        return f"--write destroys what {options.path} holds: --destroy-contents says that it may"
    if options.operations is not None and (options.duration, options.warmup) != (None, None):
        return "--operations ends the run by itself, without --duration and --warmup"
    return None


def bench(options: argparse.Namespace) -> int:
    """``bench PATH``."""
    if options.plot is not None:
        plot.check(options.plot)
    workload = Workload(
        block_size=options.block_size,
        queue_depth=options.queue_depth,
        threads=options.threads,
        write_percent=options.write,
        random=options.random,
        seed=random.randrange(1 << 32) if options.seed is None else options.seed,
    )
    runs = []
    with telling("bench", lambda: _state(options)):
        for depth in options.sweep or [options.queue_depth]:
            with ProgressLine(quiet=options.quiet) as progress:
                run = measure(
                    options.path,
                    dataclasses.replace(workload, queue_depth=depth),
                    seconds=10.0 if options.duration is None else options.duration,
                    warmup=1.0 if options.warmup is None else options.warmup,
                    operations=options.operations,
                    backend=options.backend,
                    report=progress.share(f"measuring at queue depth {depth}"),
                )
            runs.append(run)
            title = f"{_described(workload)} on {options.path}, {format_size(run.size)}"
            if not (options.json or options.quiet):
                if len(runs) == 1:
                    print_text(f"{title}; times in microseconds\n{_HEAD}")
                print_text("\n".join(_rows(run)))
    asked = dataclasses.asdict(workload)
    del asked["queue_depth"]
    measured = [dataclasses.asdict(run) for run in runs]
    named = {"path": options.path, "backend": options.backend}
    print_result(options, named | asked | {"runs": measured}, "")  # the text is there already
    if options.plot is not None:
        plot.draw(options.plot, title, runs)
    return 0


def _state(options: argparse.Namespace) -> str:
    if options.write:
        return f"what {options.path} held may be overwritten in part"
    return f"{options.path} was only read"


def _described(workload: Workload) -> str:
    """Return what is asked of the disk: ``random reads of 4.0 KiB``."""
    order = "random" if workload.random else "sequential"
    kind = "reads" if workload.write_percent < 100 else "writes"
    if 0 < workload.write_percent < 100:
        kind = f"reads and {workload.write_percent} % writes"
    threads = f" by {workload.threads} threads" if workload.threads else ""
    return f"{order} {kind} of {format_size(workload.block_size)}{threads}"


def _rows(run: Measurement) -> list[str]:
    """Return a line of figures; for a mix three, of which the last is the sum."""
    shares = {"read": run.read, "write": run.write, "both": run.total}
    if not (run.read.operations and run.write.operations):
        del shares["both"]
    return [_row(run, name, share) for name, share in shares.items() if share.operations]


def _row(run: Measurement, name: str, share: Share) -> str:
    *latencies, most = dataclasses.astuple(share.latency_us) if share.latency_us else (0.0,)
    return (
        f"{run.depth_asked:5} {run.depth_achieved:5} {run.depth_average:6.1f} {name:>5}"
        f" {share.iops:7.0f} {share.mib_per_second:7.1f}"
        + "".join(f" {value:6.0f}" for value in latencies)
        + f" {most:7.0f} {run.cpu_us_per_operation:4.0f}"
    )
