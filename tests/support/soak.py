"""Random work on disks of a simulated Windows that does everything to them that it may.

`python -m tests.support.soak --seeds N` (or tests/soak) runs seed after seed: reads,
writes, forced writes, flushes, unmaps, cancels, closes and power cuts in random order
and at random depth, checked against a `History`. The same seed gives the same trace.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pyvhdmp import CompletionPort, Disk, PageBuffer, UnmapBehavior, VirtualDisk, open_disk
from pyvhdmp.testing import Faults, SimulatedWindows, SimulationError
from pyvhdmp.vhd import Footer
from tests.support.history import SECTOR, History

OPERATIONS: Final = 1000
"""Calls into the simulated kernel that a seed makes, about."""


KINDS: Final = ("raw", "fixed-vhd", "vhdmp", "dynamic", "differencing")
_VIRTUAL: Final = ("vhdmp", "dynamic", "differencing")
_NAMES: Final = {
    "raw": "disk.img",
    "fixed-vhd": "disk.vhd",
    "vhdmp": "disk.vhd",
    "dynamic": "disk.vhdx",
    "differencing": "disk.avhd",
}
PATIENCE: Final = 60.0
"""Seconds without any progress after which a seed counts as hanging."""
_LIMIT: Final = 600
"""Seconds that a seed may take at all: it takes one or two."""


@dataclass
class Figures:
    """What one seed did. `violations`: what was wrong; `trace`: what had happened."""

    seed: int
    operations: int = 0
    requests: int = 0
    faults: int = 0
    power_cuts: int = 0
    cancelled: int = 0
    failed: int = 0
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


@dataclass
class _Open:
    """One opening of the disk, and what is in flight on it."""

    disk: Disk
    futures: list[Future[None]] = field(default_factory=list)
    read: list[tuple[memoryview, bytes]] = field(default_factory=list)


class Soak:
    """The work of one seed."""

    def __init__(self, seed: int) -> None:
        self.figures = Figures(seed)
        self._chance = chance = random.Random(seed)
        self._kind = chance.choice(KINDS)
        self._unit = 8 if self._kind == "dynamic" else 1  # sectors of 4096 bytes there
        self._sectors = 6144 if self._kind in _VIRTUAL else chance.choice([64, 512, 4096])
        self._path = _NAMES[self._kind]
        self._history = History(self._sectors)
        self._faults = chance.choice(
            [Faults(), Faults.of_every_kind(0.01), Faults.of_every_kind(0.08)]
        )
        self._windows = SimulatedWindows(
            seed,
            faults=self._faults,
            latency=chance.choice([(0.0, 0.0), (50e-6, 2e-3), (1e-6, 20e-3)]),
            depth=chance.choice([1, 4, 32]),
            cache_size=chance.choice([64 * 1024, 16 * 1024 * 1024]),
        )
        self._most_in_flight = chance.choice([1, 8, 64])
        self._port: CompletionPort | None = None

    def run(self, operations: int = OPERATIONS) -> Figures:
        """Do it all."""
        windows, figures = self._windows, self.figures
        try:
            with windows:
                self._make()
                while windows.operations < operations and not figures.violations:
                    with CompletionPort() as port:
                        self._port = port
                        self._use(port, operations)
                    if port.in_flight or port.slots.free != port.slots.total:
                        self._wrong(f"{port.in_flight} in flight and slots in use at the end")
        except SimulationError as error:
            figures.violations.append(str(error))
        figures.operations = windows.operations
        figures.faults = windows.faults_injected
        figures.power_cuts = windows.power_cuts
        figures.trace = windows.trace
        return figures

    @property
    def progress(self) -> tuple[int, float]:
        """What grows for as long as there is any, however slow the machine is."""
        return self._windows.operations, self._windows.now

    def report_hang(self) -> None:
        """Print where it stands, and what the simulation has seen so far."""
        windows, port = self._windows, self._port
        print(
            f"seed {self.figures.seed}: it hangs, with {windows.in_flight} requests with the kernel"
            f" and {port.in_flight if port else 0} registered",
            *self.figures.violations,
            *windows.violations,
            sep="\n  ",
        )
        print(*windows.trace, sep="\n", flush=True)

    def _make(self) -> None:
        """Make the disk, of zeros."""
        size, files = self._sectors * SECTOR, self._windows.files
        if self._kind == "raw":
            files[self._path] = bytes(size)
        elif self._kind in ("fixed-vhd", "vhdmp"):
            files[self._path] = bytes(size) + Footer(size).pack()
        elif self._kind == "dynamic":
            VirtualDisk.create_dynamic(self._path, size, sector_size=4096).close()
        else:
            VirtualDisk.create_dynamic("parent.vhd", size).close()
            VirtualDisk.create_differencing(self._path, "parent.vhd").close()

    def _wrong(self, problem: str | None) -> None:
        if problem is not None:
            self.figures.violations.append(problem)

    def _use(self, port: CompletionPort, operations: int) -> None:
        """Open the disk, use it for a while, and close it."""
        chance = self._chance
        try:
            disk = open_disk(
                self._path,
                port=port,
                read_only=chance.random() < 0.05,
                backend="fixed-vhd" if self._kind == "fixed-vhd" else "auto",
            )
        except OSError:
            if self._faults == Faults():
                raise
            return
        opened = _Open(disk)
        steps: list[tuple[int, Callable[[_Open], None]]] = [
            (30, self._write),
            (30, self._read),
            (4, self._sync),
            (3, self._unmap),
            (6, self._cancel),
            (10, self._wait),
            (4, self._let_time_pass),
            (1, self._look_at_counts),
        ]
        weights = [weight for weight, _ in steps]
        power_fails = chance.random() < 0.3
        for _ in range(chance.choice([5, 50, 300])):
            step = chance.choices(steps, weights)[0][1]
            if not disk.is_read_only or step not in (self._write, self._unmap):
                step(opened)
            while len(opened.futures) > self._most_in_flight:
                self._wait(opened)
            if self.figures.violations or self._windows.operations >= operations:
                break
        if power_fails:
            self._windows.power_cut()
        disk.close(cancel=chance.random() < 0.3)
        if power_fails:
            self._wrong(self._history.power_cut(self._content()))
        if any(not future.done() for future in opened.futures):
            self._wrong("a future was not finished when the disk was closed")
        for buffer, content in opened.read:
            if buffer != content:
                self._wrong("a buffer was written to after its request was finished")

    # -- Steps ----------------------------------------------------------------------

    def _range(self) -> tuple[int, int]:
        chance = self._chance
        sectors = self._sectors // self._unit
        count = min(chance.choice([1, 1, 7, 8, 16, 65, 300, 900]), sectors)
        return chance.randint(0, sectors - count) * self._unit, count * self._unit

    def _buffers(self, length: int) -> list[memoryview]:
        """Return memory of `length` bytes: in one or more pieces, aligned or not."""
        chance, buffers = self._chance, []
        while length:
            size = min(length, chance.choice([length, length, 100, 512, 4096, 12288]))
            shift = chance.choice([0, 0, 0, 1, 512])
            buffers.append(memoryview(PageBuffer(shift + size))[shift:])
            length -= size
        return buffers

    def _begin(self, opened: _Open, future: Future[None], ended: Callable[[bool], None]) -> None:
        self.figures.requests += 1
        finished = 0

        def done(future: Future[None]) -> None:
            nonlocal finished
            finished += 1
            if finished != 1:
                self._wrong("a future was finished twice")
            cancelled = future.cancelled()
            error = None if cancelled else future.exception()
            self.figures.cancelled += cancelled
            self.figures.failed += error is not None
            if error is not None and not isinstance(error, OSError):
                self._wrong(f"a request failed with {error!r}")
            elif error is not None and self._faults == Faults() and not self._windows.power_cuts:
                self._wrong(f"a request failed with {error!r}, and no fault was injected")
            ended(not cancelled and error is None)

        opened.futures.append(future)
        future.add_done_callback(done)

    def _write(self, opened: _Open) -> None:
        sector, count = self._range()
        version = self._history.begin_write(sector, count)
        data = self._history.data(version, sector, count)
        buffers, start = self._buffers(len(data)), 0
        for buffer in buffers:
            buffer[:] = data[start : start + len(buffer)]
            start += len(buffer)
        fua = self._chance.random() < 0.15
        future = opened.disk.write_vectored(buffers, sector // self._unit, fua=fua)
        self._begin(
            opened,
            future,
            lambda ok: self._history.end_write(version, succeeded=ok, promised=fua),
        )

    def _read(self, opened: _Open) -> None:
        sector, count = self._range()
        buffers = self._buffers(count * SECTOR)
        start = self._history.step()

        def ended(succeeded: bool) -> None:
            if succeeded:
                self._wrong(self._history.check_read(start, sector, b"".join(buffers)))
            opened.read += [(buffer, bytes(buffer)) for buffer in buffers]

        self._begin(opened, opened.disk.read_vectored(buffers, sector // self._unit), ended)

    def _sync(self, opened: _Open) -> None:
        start = self._history.step()

        def ended(succeeded: bool) -> None:
            if succeeded and not opened.disk.is_read_only:
                self._history.end_flush(start)

        self._begin(opened, opened.disk.sync_cache(), ended)

    def _unmap(self, opened: _Open) -> None:
        sector, count = self._range()
        try:
            behavior = opened.disk.unmap_behavior
        except OSError:  # the power is off
            return
        if behavior is UnmapBehavior.IGNORED:
            with suppress(OSError):
                opened.disk.unmap(sector // self._unit, count // self._unit).result()
            return
        # Where it is unspecified the simulated disk zeroes.
        version = self._history.begin_write(sector, count, zeros=True)
        self._begin(
            opened,
            opened.disk.unmap(sector // self._unit, count // self._unit),
            lambda ok: self._history.end_write(version, succeeded=ok),
        )

    def _cancel(self, opened: _Open) -> None:
        pending = [future for future in opened.futures if not future.done()]
        if pending and self._chance.choice(pending[:8]).cancel():
            self._wrong("cancel() did not return False")

    def _wait(self, opened: _Open) -> None:
        if opened.futures:
            if self._chance.random() < 0.5:
                wait(opened.futures)
            else:
                wait(opened.futures, return_when="FIRST_COMPLETED")
                self._windows.advance(0)  # what else has ended is known when all is at rest
            opened.futures = [future for future in opened.futures if not future.done()]

    def _let_time_pass(self, opened: _Open) -> None:
        self._windows.advance(self._chance.random() * 1e-3)

    def _look_at_counts(self, opened: _Open) -> None:
        wait(opened.futures)
        self._windows.run_until_idle()
        port = opened.disk.port
        if self._windows.in_flight or port.in_flight or port.slots.free != port.slots.total:
            self._wrong(
                f"at rest {self._windows.in_flight} requests are with the kernel, {port.in_flight} "
                f"are registered, and {port.slots.total - port.slots.free} slots are in use"
            )

    def _content(self) -> bytes:
        """Return what is on the disk."""
        if self._kind != "differencing":
            return self._windows.files[self._path][: self._sectors * SECTOR]
        for _ in range(200):  # its parent's, as far as it has none of its own: it has to be asked
            try:
                with open_disk(self._path, read_only=True) as disk:
                    return disk.read(0, self._sectors).result()
            except OSError:
                if self._faults == Faults():
                    raise
        raise RuntimeError("200 reads in a row have failed")


def soak(seed: int, operations: int = OPERATIONS) -> Figures:
    """Run one seed."""
    return Soak(seed).run(operations)


def _soak_briefly(seed: int, operations: int, patience: float) -> Figures:
    # A seed that hangs is a violation, too: it tells where, and ends the run.
    over = threading.Event()

    def watch() -> None:
        began = since = time.monotonic()
        progress = None
        while not over.wait(patience / 10):
            faulthandler.dump_traceback_later(
                2 * patience, exit=True, file=2
            )  # if Python itself is stuck
            before, progress, now = progress, work.progress, time.monotonic()
            if progress != before:
                since = now
            if now - since > patience or now - began > _LIMIT:
                work.report_hang()
                faulthandler.dump_traceback(file=2)
                os._exit(1)
        faulthandler.cancel_dump_traceback_later()

    watcher = threading.Thread(target=watch, daemon=True)
    work = Soak(seed)
    watcher.start()
    try:
        figures = work.run(operations)
    finally:
        over.set()
        watcher.join()
    if not figures.violations:
        figures.trace.clear()  # which is long, and wanted only of those that went wrong
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run many seeds on all processors; return 1 if any showed a violation."""
    parser = argparse.ArgumentParser(prog="tests/soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, metavar="N", help="so many seeds")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="from this one on")
    parser.add_argument("--operations", type=int, default=OPERATIONS, metavar="N", help="a seed")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, metavar="SECONDS", help="until a seed hangs"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    total, wrong = Figures(-1), 0
    seeds = range(options.first, options.first + options.seeds)
    run = partial(_soak_briefly, operations=options.operations, patience=options.patience)
    try:
        with ExitStack() as stack:
            each: Callable[..., Iterable[Figures]] = map
            if options.seeds > 1:  # spawned, as a fork would take locks along that others hold
                spawn = multiprocessing.get_context("spawn")
                each = stack.enter_context(ProcessPoolExecutor(mp_context=spawn)).map
            for figures in each(run, seeds):
                total.operations += figures.operations
                total.requests += figures.requests
                total.faults += figures.faults
                total.power_cuts += figures.power_cuts
                total.cancelled += figures.cancelled
                total.failed += figures.failed
                wrong += len(figures.violations)
                if figures.violations:
                    print(f"seed {figures.seed}:", *figures.violations, sep="\n  ")
                    print(*figures.trace, sep="\n")
    except BrokenProcessPool:  # a seed that hangs ends its process, and has told where by then
        wrong += 1
    print(
        f"{options.seeds} seeds, {total.requests} requests, {total.operations} operations, "
        f"{total.faults} faults injected, {total.failed} requests failed, "
        f"{total.cancelled} cancelled, {total.power_cuts} power cuts, "
        f"{wrong} violations, {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
