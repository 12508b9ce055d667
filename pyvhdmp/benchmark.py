"""Measuring a disk: requests of one size, with as many in flight as are asked for.

Rules:

1. The loop is closed, as diskspd's is: a request begins when one before it is over, so the
   queue is as long as asked for, and never longer. That measures the disk at this depth.
   It is not what clients see who ask at a pace of their own: while the disk stalls nobody
   asks, so a stall counts once for each request in flight (coordinated omission).
2. The next request begins in the done-callback of the one before, on the completion thread.
   This too is diskspd's way, whose threads dequeue and issue: no thread has to be woken for
   a request, and beginning one waits for nobody. With `threads`, so many threads begin the
   requests instead, as a program does that uses a disk from several: a callback only wakes
   the thread, and what that takes shows in the throughput and in the average depth.
3. A queue belongs to the thread that begins its requests. A callback takes the time and
   puts the request where that thread finds it, so nothing is locked, and nothing recurses.
4. A latency is the time from just before a request is asked for to its callback. They are
   counted in buckets, so an hour takes no more memory than a second.
5. Counted is what is over in the time measured, after the warm-up and before the end.
6. Buffers are page-aligned, made before the start, and two requests never share one.
7. After the first error, or Ctrl+C, nothing new begins, and what is in flight is cancelled.
   `measure` returns or raises when nothing is in flight any more.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeAlias

from pyvhdmp.buffers import PageBuffer
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk import Backend, Disk, open_disk
from pyvhdmp.errors import InvalidInputError

__all__ = ["Latencies", "Latency", "Measurement", "Report", "Share", "Workload", "measure"]

Report: TypeAlias = Callable[[int, int], None]
"""Called about ten times a second with how much is done, and of how much."""

_REPORT_SECONDS: Final = 0.1
_NEVER: Final = sys.maxsize
_SUB_BITS: Final = 5
"""Each power of two has 2**5 buckets: a percentile is off by a 64th at the most."""


@dataclass(frozen=True)
class Workload:
    """What is asked of a disk.

    `queue_depth`: requests in flight in each queue. `threads`: each begins the requests of a
    queue of its own, in a part of the disk of its own; 0 is one queue without a thread: see
    rule 2. `write_percent`: how many of the requests are writes, on average; they
    destroy what the disk holds. `random`: anywhere, else one block after the other, from the
    beginning again at the end. `seed`: the same one draws the same places.
    """

    block_size: int = 64 * 1024
    queue_depth: int = 32
    threads: int = 0
    write_percent: int = 0
    random: bool = False
    seed: int = 0

    @property
    def queues(self) -> int:
        """How many queues there are."""
        return self.threads or 1

    def requests(self, queue: int, blocks: range, sectors: int) -> Iterator[tuple[int, bool]]:
        """Yield, for ever, the sector that a request begins at, and whether it is a write.

        `blocks`: the part of the disk that `queue` has, in blocks of so many `sectors`.
        """
        draw = random.Random(f"{self.seed} {self.queue_depth} {queue}").random
        first, count, share = blocks.start, len(blocks), self.write_percent / 100
        while True:
            for block in blocks:
                place = first + int(draw() * count) if self.random else block
                yield place * sectors, draw() < share


@dataclass(frozen=True)
class Latency:
    """How long requests took, in microseconds. Percentiles are right within a 64th."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float


@dataclass(frozen=True)
class Share:
    """The reads of a run, the writes, or both. `latency_us`: None if there were none."""

    operations: int
    bytes: int
    iops: float
    mib_per_second: float
    latency_us: Latency | None


@dataclass(frozen=True)
class Measurement:
    """What a run came to.

    `depth_asked`: in all queues. `depth_achieved`: the most calls that were with Windows when
    one returned pending, the warm-up included; a block above 1 MiB takes several calls.
    `depth_average`: of requests, from when they were asked for until their callbacks.
    `cpu_us_per_operation`: of this process, to 1/64 s in all on Windows. `errors`: always
    none, as the first one ends the run.
    """

    disk_type: str
    size: int
    queue_depth: int
    depth_asked: int
    depth_achieved: int
    depth_average: float
    seconds: float
    cpu_us_per_operation: float
    errors: int
    read: Share
    write: Share
    total: Share


def measure(
    path: str | os.PathLike[str],
    workload: Workload,
    *,
    seconds: float = 10.0,
    warmup: float = 1.0,
    operations: int | None = None,
    backend: Backend = "auto",
    report: Report | None = None,
) -> Measurement:
    """Do the requests of a workload for `seconds`, and say how that went.

    `warmup`: so many seconds before do not count. `operations`: do that many instead, without
    a warm-up; that is for where time is not the machine's, as on a simulated Windows. The disk
    is opened read-only unless there are to be writes.

    Raises the first error there is, those of `open_disk` included, and `InvalidInputError` for
    a disk that the workload does not fit, or a time in which nothing was done.
    """
    with (
        CompletionPort() as port,  # its own, and so the depth is this run's
        open_disk(path, read_only=not workload.write_percent, backend=backend, port=port) as disk,
    ):
        run = _Run(disk, workload, operations)
        try:
            run.go(round(warmup * 1e9) if operations is None else 0, round(seconds * 1e9), report)
        finally:
            run.end()
        return run.result()


class Latencies:
    """Nanoseconds, counted: 32 buckets for each power of two, and the exact sum and extremes."""

    def __init__(self) -> None:
        self._counts = [0] * ((64 - _SUB_BITS) << _SUB_BITS)
        self.sum: int = 0
        self.least: int = _NEVER
        self.most: int = 0

    def add(self, value: int) -> None:
        """Count one."""
        shift = value.bit_length() - _SUB_BITS - 1
        self._counts[(shift << _SUB_BITS) + (value >> shift) if shift > 0 else value] += 1
        self.sum += value
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value

    def merge(self, other: Latencies) -> None:
        """Count all that another one has counted."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._counts)

    def percentile(self, per_mille: int) -> float:
        """Return what so many of a thousand are not above."""
        rank = max(1, -(-self.count * per_mille // 1000))
        sums = itertools.accumulate(self._counts)
        index = next(index for index, at_most in enumerate(sums) if at_most >= rank)
        shift = max(0, (index >> _SUB_BITS) - 1)
        lowest = index - (shift << _SUB_BITS) << shift
        middle = lowest + ((1 << shift) - 1) / 2
        return min(max(middle, self.least), self.most)

    def summary(self) -> Latency:
        """Return them in microseconds. There must be one."""
        p50, p90, p95, p99, p99_9 = (self.percentile(p) / 1e3 for p in (500, 900, 950, 990, 999))
        mean = self.sum / self.count / 1e3
        return Latency(self.least / 1e3, mean, p50, p90, p95, p99, p99_9, self.most / 1e3)


class _Run:
    """The queues of a run, and what they share: the times, and whether to go on."""

    def __init__(self, disk: Disk, workload: Workload, operations: int | None) -> None:
        size, sector_size, block_size = disk.size, disk.sector_size, workload.block_size
        if block_size <= 0 or block_size % sector_size:
            raise InvalidInputError.because(
                f"a block of {block_size} bytes is no whole number of sectors of {sector_size}",
                disk.path,
            )
        blocks, queues = size // block_size, workload.queues  # a last one that is cut is left out
        if blocks < queues:
            owner = f"each of {queues} threads" if workload.threads else "it"
            raise InvalidInputError.because(
                f"the disk of {size} bytes is too small: {owner} needs a block of {block_size}",
                disk.path,
            )
        self.disk = disk
        self.counts_from = self.counts_until = 0
        self.stopped = False
        self.error: BaseException | None = None
        self._workload = workload
        self._operations = operations
        self._size = size
        self._cpu_seconds = 0.0
        kind = _ThreadQueue if workload.threads else _Queue
        self._queues = [
            kind(
                self,
                workload,
                workload.requests(
                    number,
                    range(blocks * number // queues, blocks * (number + 1) // queues),
                    block_size // sector_size,
                ),
                _NEVER if operations is None else (operations + number) // queues,
            )
            for number in range(queues)
        ]

    def go(self, warmup: int, duration: int, report: Report | None) -> None:
        """Begin, and wait for the end. Raises the first error. Times in nanoseconds."""
        cpu_before, start = time.process_time(), time.perf_counter_ns()
        self.counts_from = start + warmup
        self.counts_until = self.counts_from + duration if self._operations is None else _NEVER
        for queue in self._queues:
            queue.start()
        for queue in self._queues:
            while not queue.over.wait(_REPORT_SECONDS) and not self.stopped:
                if report is None:
                    continue
                if self._operations is None:
                    report(time.perf_counter_ns() - start, self.counts_until - start)
                else:
                    report(sum(queue.begun for queue in self._queues), self._operations)
        if self.error is not None:
            raise self.error
        self._cpu_seconds = time.process_time() - cpu_before

    def fail(self, error: BaseException) -> None:
        """Note the first error, after which nothing new begins."""
        if self.error is None:
            self.error = error
        self.stopped = True

    def end(self) -> None:
        """Cancel what is in flight, if anything is, and wait for it."""
        self.stopped = True
        self.disk.close(cancel=True)  # all callbacks have been called
        for queue in self._queues:
            queue.join()
            queue.slots.clear()  # their buffers go now, and not when garbage is collected

    def result(self) -> Measurement:
        """Return what all queues have counted."""
        reads, writes, total = Latencies(), Latencies(), Latencies()
        for queue in self._queues:
            reads.merge(queue.reads)
            writes.merge(queue.writes)
        total.merge(reads)
        total.merge(writes)
        end = self.counts_until if self._operations is None else max(q.last for q in self._queues)
        seconds = max(1, end - self.counts_from) / 1e9
        if not total.count:
            raise InvalidInputError.because(
                f"no request was over in the {seconds:g} s measured: measure for longer",
                self.disk.path,
            )
        workload = self._workload
        shares = [_share(each, workload.block_size, seconds) for each in (reads, writes, total)]
        done = total.count + sum(queue.uncounted for queue in self._queues)
        return Measurement(
            self.disk.disk_type,
            self._size,
            workload.queue_depth,
            workload.queue_depth * workload.queues,
            self.disk.port.peak_in_flight,
            total.sum / 1e9 / seconds,
            seconds,
            self._cpu_seconds * 1e6 / done,
            0,
            *shares,
        )


def _share(latencies: Latencies, block_size: int, seconds: float) -> Share:
    count = latencies.count
    size = count * block_size
    rates = count / seconds, size / seconds / (1 << 20)
    return Share(count, size, *rates, latencies.summary() if count else None)


class _Slot:
    """A place in a queue: one request after the other, in buffers of its own."""

    def __init__(self, queue: _Queue, workload: Workload) -> None:
        self._queue = queue
        self.began = 0
        self.is_write = False
        self.read_into: list[PageBuffer] = []
        self.write_from: list[PageBuffer] = []
        if workload.write_percent < 100:
            self.read_into.append(PageBuffer(workload.block_size))
        if workload.write_percent:
            buffer = PageBuffer(workload.block_size)
            buffer[:] = os.urandom(workload.block_size)  # nothing that a disk could make less of
            self.write_from.append(buffer)

    def finished(self, future: Future[None]) -> None:
        """The done-callback: see rule 3."""
        self._queue.give_back(self, future, time.perf_counter_ns())


class _Queue:
    """Requests in flight, each of which begins the next; the completion thread's own."""

    def __init__(
        self, run: _Run, workload: Workload, requests: Iterator[tuple[int, bool]], limit: int
    ) -> None:
        self._run = run
        self._requests = requests
        self._left = self._limit = limit
        self.slots = [_Slot(self, workload) for _ in range(workload.queue_depth)]
        self._active = workload.queue_depth
        self._is_busy = False
        self._returned: deque[tuple[_Slot, Future[None], int]] = deque()
        self.over = threading.Event()
        self.reads = Latencies()
        self.writes = Latencies()
        self.uncounted = 0
        self.last = 0

    @property
    def begun(self) -> int:
        """How many requests have begun."""
        return self._limit - self._left

    def start(self) -> None:
        """Have all slots begin their first request."""
        self._run.disk.port.call_soon(self._begin)

    def join(self) -> None:
        """Wait until nothing can happen any more; the disk is closed."""

    def give_back(self, slot: _Slot, future: Future[None], ended: int) -> None:
        """A request is over: go on with its slot. Called by whoever finishes futures."""
        self._returned.append((slot, future, ended))
        if not self._is_busy:  # else it was over at once, and whoever began it goes on
            self._go_on()

    # -- On the thread that the queue belongs to, all of it --------------------

    def _begin(self) -> None:
        self._is_busy = True
        for slot in self.slots:
            self._advance(slot, 0)
        self._go_on()

    def _go_on(self) -> None:
        """Count what is over, and begin as much again."""
        self._is_busy = True
        run, returned = self._run, self._returned
        while returned:
            slot, future, ended = returned.popleft()
            try:
                future.result()  # done, so this does not wait
            except BaseException as error:
                run.fail(error)
            if run.counts_from <= ended < run.counts_until:
                self.last = ended
                (self.writes if slot.is_write else self.reads).add(ended - slot.began)
            else:
                self.uncounted += 1
            self._advance(slot, ended)
        self._is_busy = False
        if self._active <= 0:
            self.over.set()

    def _advance(self, slot: _Slot, now: int) -> None:
        """Begin the next request of a slot, or if there is none, let it rest."""
        run = self._run
        if self._left and now < run.counts_until and not run.stopped:
            self._left -= 1
            try:
                sector, slot.is_write = next(self._requests)
                slot.began = time.perf_counter_ns()
                if slot.is_write:
                    future = run.disk.write_vectored(slot.write_from, sector)
                else:
                    future = run.disk.read_vectored(slot.read_into, sector)
                future.add_done_callback(slot.finished)
                return
            except BaseException as error:
                run.fail(error)
        self._active -= 1


class _ThreadQueue(_Queue):
    """A queue that belongs to a thread of its own: see rule 2."""

    def __init__(
        self, run: _Run, workload: Workload, requests: Iterator[tuple[int, bool]], limit: int
    ) -> None:
        super().__init__(run, workload, requests, limit)
        self._wake = threading.Event()
        # A caller of the package, as far as a simulated Windows is concerned, and named so.
        self._thread = threading.Thread(target=self._work, name="benchmark", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        while self._thread.is_alive():  # in slices, which let Ctrl+C through
            self._thread.join(0.1)

    def give_back(self, slot: _Slot, future: Future[None], ended: int) -> None:
        self._returned.append((slot, future, ended))
        if not self._wake.is_set():  # if it is, the thread has not looked since
            self._wake.set()

    def _work(self) -> None:
        self._begin()
        while not self.over.is_set():
            self._wake.wait()
            self._wake.clear()
            self._go_on()
