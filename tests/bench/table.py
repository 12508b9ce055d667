"""What is measured, and the figure that each has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["TABLE", "Row"]


@dataclass(frozen=True)
class Row:
    """One figure.

    `program`: a module of this package, and its arguments, where {image}, {target}, {folder},
    {large}, {sparse} and {device} are paths. `python`: the Windows Python that runs it, None
    for this one. `key`: which of the program's measurements. `limit`: what the median must be
    at least or, if `at_most`, at most; None if it is only told. `inverse`: the measured costs
    give other/ours, a ratio of speeds; else ours/other. `processes`: how many one after the
    other.
    """

    number: str
    what: str
    limit: float | None
    program: tuple[str, ...]
    python: str | None = "3.13"
    key: str = ""
    at_most: bool = False
    inverse: bool = True
    unit: str = "times"
    processes: int = 1


_IMAGE_SIZE: Final = str(64 << 20)

_COPY: Final = ("copy_memory", "{small}", "{sparse}", "{target}")

TABLE: Final = (
    Row(
        "1",
        "the floor, a bare loop of the same system calls: 4 KiB reads, 32 in flight",
        0.80,
        ("floor", "{image}", _IMAGE_SIZE, "32", "1", "3000", "6"),
        processes=5,
    ),
    Row(
        "2",
        "the same: 64 KiB from 16 scattered pages, held beforehand, 8 in flight",
        0.90,
        ("floor", "{image}", _IMAGE_SIZE, "8", "16", "1500", "6", "1"),
        processes=5,
    ),
    Row(
        "2a",
        "the same, by a list of 16 buffers for each read",
        None,
        ("floor", "{image}", _IMAGE_SIZE, "8", "16", "1500", "6"),
        processes=3,
    ),
    Row(
        "3",
        "pywin32: ReadFile, a thread on the port, a Future for each; 4 KiB, 32 in flight",
        1.2,
        ("with_pywin32", "{image}", _IMAGE_SIZE, "32", "3000", "5"),
        python="3.11",
        processes=4,
    ),
    Row(
        "4",
        "ayafileio under asyncio, against AsyncDisk: 64 KiB, 8 in flight",
        1.5,
        ("with_ayafileio", "{image}", _IMAGE_SIZE, "8", "65536", "1000", "5"),
        python="3.11",
        processes=3,
    ),
    Row(
        "4b",
        "the same: 4 KiB, 32 in flight",
        1.5,
        ("with_ayafileio", "{image}", _IMAGE_SIZE, "32", "4096", "3000", "5"),
        python="3.11",
        processes=3,
    ),
    Row(
        "5",
        "one lock and one read at a time: a device of 1 ms, 64 in flight",
        55,
        ("serialized", "{device}", "5"),
    ),
    Row(
        "6",
        "CPU time of a request, against the same calls and a concurrent.futures.Future",
        1.6,
        ("at_once", "{device}", "7"),
        at_most=True,
        inverse=False,
    ),
    Row(
        "7",
        "shutil.copyfile, against copy from raw to fixed .vhd: 1 GiB, warm",
        1.0,
        ("copy_rate", "{large}", "{folder}", "5"),
    ),
    Row(
        "8",
        "peak working set of a copy: 256 MiB",
        64 << 20,
        _COPY,
        key="small",
        at_most=True,
        inverse=False,
        unit="bytes",
        processes=2,
    ),
    Row(
        "8b",
        "the same: 16 GiB, sparse",
        64 << 20,
        _COPY,
        key="large",
        at_most=True,
        inverse=False,
        unit="bytes",
        processes=2,
    ),
    Row(
        "8c",
        "the second against the first",
        1.10,
        _COPY,
        key="growth",
        at_most=True,
        inverse=False,
        processes=2,
    ),
    Row(
        "9",
        "ReadFile and an event that is waited for, against BlockingDisk.readinto",
        0.7,
        ("blocking", "{image}", _IMAGE_SIZE, "1000", "6"),
        processes=4,
    ),
    Row(
        "10",
        "10,000 reads, against 1,000,000",
        0.90,
        ("steady", "{device}", "15"),
        key="rate",
    ),
    Row(
        "10b",
        "memory that 1,000,000 reads add",
        1 << 20,
        ("steady", "{device}", "15"),
        key="memory",
        at_most=True,
        inverse=False,
        unit="bytes",
    ),
    Row(
        "11",
        "import pyvhdmp, above a bare interpreter",
        40,
        ("start", "15"),
        python=None,
        at_most=True,
        inverse=False,
        unit="ms",
    ),
    Row(
        "11a",
        "the same, and all its names used",
        None,
        ("start", "15"),
        python=None,
        key="all names",
        at_most=True,
        inverse=False,
        unit="ms",
    ),
    Row(
        "11b",
        "DLLs that importing all of it loads",
        0,
        ("libraries",),
        at_most=True,
        inverse=False,
        unit="DLLs",
    ),
    Row(
        "12",
        "bytes that Python copies for page-aligned buffers",
        0,
        ("aligned", "{target}"),
        at_most=True,
        inverse=False,
        unit="bytes",
    ),
)
