"""Benchmarks as a picture, drawn by matplotlib, which is imported here and only when needed."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from pyvhdmp.benchmark import Measurement
from pyvhdmp.errors import InvalidInputError

__all__ = ["check", "draw"]

_FORMATS: Final = (".png", ".svg", ".pdf")  # none of which a disk image is


def check(path: str) -> None:
    """Raise if no picture could be drawn at `path`, as far as that is known beforehand."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f"--plot needs matplotlib: python -m pip install matplotlib ({error})"
        ) from error
    if os.path.splitext(path)[1].lower() not in _FORMATS:
        raise InvalidInputError.because(f"a plot is one of {', '.join(_FORMATS)}", path)
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", folder)


def draw(path: str, title: str, runs: Sequence[Measurement]) -> None:
    """Draw latency and throughput over queue depth; the suffix says in which format."""
    from matplotlib.figure import Figure

    runs = sorted(runs, key=lambda run: run.depth_asked)
    depths = [run.depth_asked for run in runs]
    figure = Figure(figsize=(8, 7), layout="constrained")  # not pyplot: it would want a display
    figure.suptitle(title)
    latency, throughput = figure.subplots(2, 1, sharex=True)
    for name in ("p50", "p99"):
        values = [getattr(run.total.latency_us, name) for run in runs]
        latency.plot(depths, values, marker="o", label=name)
    latency.set_ylabel("latency (microseconds)")
    latency.legend()
    throughput.plot(depths, [run.total.mib_per_second for run in runs], marker="o", color="C2")
    throughput.set_ylabel("throughput (MiB/s)")
    throughput.set_xlabel("queue depth")
    throughput.set_xscale("log", base=2)
    throughput.set_xticks(depths, labels=[str(depth) for depth in depths])
    throughput.minorticks_off()
    for axes in (latency, throughput):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(path)
