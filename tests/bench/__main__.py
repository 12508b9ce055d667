"""Measure everything in the table, print it, keep it as JSON, and fail if a figure is missed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypedDict

from tests.bench.table import TABLE, Row

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""How long one program may take."""


class Measured(TypedDict):
    """One figure as it was measured: the median of `values`, and their quartiles."""

    number: str
    what: str
    limit: float | None
    at_most: bool
    unit: str
    median: float
    low: float
    high: float
    values: list[float]
    costs: list[list[float]]
    cost_unit: str
    is_reached: bool


_MEBIBYTES = {"image": 64, "large": 1024, "small": 256}


@contextlib.contextmanager
def files(rows: list[Row]) -> Iterator[dict[str, str]]:
    """Make the files that the rows' programs work on, in memory where that is possible."""
    wanted = {word[1:-1] for row in rows for word in row.program if word.startswith("{")}
    memory = "/dev/shm"
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pyvhdmp-bench.", dir=where) as folder:
        paths = {name: os.path.join(folder, name) for name in wanted}
        block = os.urandom(1 << 20)
        for name in wanted & _MEBIBYTES.keys():
            with open(paths[name], "wb") as file:
                for _ in range(_MEBIBYTES[name]):
                    file.write(block)
        if "sparse" in wanted:
            with open(paths["sparse"], "wb") as file:
                file.truncate(16 << 30)
                file.write(block)
        if "device" in wanted:
            paths["device"] = _device(folder)
        yield paths | {"folder": folder, "target": os.path.join(folder, "target.vhd")}


def _device(folder: str) -> str:
    """Compile device.c."""
    path = os.path.join(folder, "device.dll")
    compiler = "gcc" if sys.platform == "win32" else "x86_64-w64-mingw32-gcc"
    source = ROOT / "tests" / "bench" / "device.c"
    subprocess.run([compiler, "-O2", "-Wall", "-shared", "-o", path, source], check=True)
    return path


Pairs: TypeAlias = list[tuple[float, float]]
"""What something costs with pyvhdmp, and otherwise, in each round."""


def run(row: Row, paths: dict[str, str]) -> dict[str, tuple[str, Pairs]]:
    """Run a row's program in one process; return all that it measured, and in what unit."""
    module, *arguments = row.program
    command = ["-m", f"tests.bench.{module}", *(each.format(**paths) for each in arguments)]
    environment = dict(os.environ)
    if row.python is None:
        command = [sys.executable, *command]
    else:
        command = [str(ROOT / "tests" / "winpython"), *command]
        environment |= {"WINPYTHON": row.python}
        if module.startswith("with_"):
            environment |= {"WINPYTHON_GROUP": "windows-bench"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    measured: dict[str, tuple[str, Pairs]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            told = json.loads(line)
            for key, pairs in told["measured"].items():
                measured[key] = told["unit"], pairs
    return measured


def judged(row: Row, unit: str, pairs: Pairs) -> Measured:
    """Return the figure that a row's program has measured, and whether it is reached."""
    values = sorted((other / mine if row.inverse else mine / other) for mine, other in pairs)
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "number": row.number,
        "what": row.what,
        "limit": row.limit,
        "at_most": row.at_most,
        "unit": row.unit,
        "median": median,
        "low": low,
        "high": high,
        "values": values,
        "costs": [list(pair) for pair in pairs],
        "cost_unit": unit,
        "is_reached": row.limit is None
        or (median <= row.limit if row.at_most else median >= row.limit),
    }


def shown(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit == "bytes":
        return f"{value / (1 << 20):.1f} MiB" if value else "0"
    return f"{value:.2f}" if unit == "times" else f"{value:.0f} {unit}"


def line(figure: Measured) -> str:
    """Return a row of the printed table."""
    unit = figure["unit"]
    limit = ""
    if figure["limit"] is not None:
        limit = f"{'<=' if figure['at_most'] else '>='} {shown(figure['limit'], unit)}"
    spread = f"{shown(figure['low'], unit)} .. {shown(figure['high'], unit)}"
    verdict = "ok" if figure["is_reached"] else "MISSED"
    number, value = figure["number"], shown(figure["median"], unit)
    return f"{number:4}{value:>10}  {limit:14} {verdict:7} {spread:22} {figure['what']}"


def measure(rows: list[Row]) -> list[Measured]:
    """Measure the rows, and print each as it is done."""
    figures = []
    done: dict[tuple[object, ...], list[dict[str, tuple[str, Pairs]]]] = {}
    with files(rows) as paths:
        for row in rows:
            source = (row.program, row.python, row.processes)
            if source not in done:
                done[source] = [run(row, paths) for _ in range(row.processes)]
            pairs = [pair for one in done[source] for pair in one[row.key][1]]
            figures.append(judged(row, done[source][0][row.key][0], pairs))
            print(line(figures[-1]), flush=True)
    return figures


def main() -> int:
    """Return the exit code: 1 if a figure is missed."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these, by number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here")
    arguments = parser.parse_args()
    known = [row.number for row in TABLE]
    for number in arguments.rows:
        if number not in known:
            parser.error(f"there is no row {number}: choose of {', '.join(known)}")
    began = time.monotonic()
    figures = measure([row for row in TABLE if not arguments.rows or row.number in arguments.rows])
    if arguments.json:
        kept = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.platform()}, {os.cpu_count()} CPUs",
            "seconds": round(time.monotonic() - began),
            "figures": figures,
        }
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    missed = [figure["number"] for figure in figures if not figure["is_reached"]]
    print(f"missed: {', '.join(missed)}" if missed else "all reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
