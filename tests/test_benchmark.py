"""What is measured: the order of requests, the depth that is held, and the figures."""

from __future__ import annotations

import gc
import itertools
import random
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvhdmp import Disk, InvalidInputError, MediumError, PageBuffer, make_fixed_vhd, open_disk
from pyvhdmp.benchmark import Latencies, Measurement, Workload, measure
from pyvhdmp.futures import IoFuture
from pyvhdmp.testing import Faults, SimulatedWindows
from tests.support.files import FilePath

MIB = 1 << 20

WITH_AND_WITHOUT_THREADS = pytest.mark.parametrize("threads", [0, 1, 2])


@pytest.fixture
def path(machine: SimulatedWindows | None, tmp_path: FilePath) -> FilePath:
    """A raw image, whose last block of any size is cut."""
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(MIB + 512))
    return path


class Watched:
    """The requests that were made of disks: their sectors, threads, and depth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sectors: list[int] = []
        self.threads: list[threading.Thread] = []
        self.depth = self.most = 0
        self.in_use: set[int] = set()
        self.buffers: weakref.WeakSet[PageBuffer] = weakref.WeakSet()
        self._lock = threading.Lock()
        real = Disk.read_vectored

        def read_vectored(disk: Disk, buffers: Sequence[PageBuffer], sector: int) -> Future[None]:
            (buffer,) = buffers
            with self._lock:
                self.sectors.append(sector)
                self.threads.append(threading.current_thread())
                assert id(buffer) not in self.in_use
                self.in_use.add(id(buffer))
                self.buffers.add(buffer)
                self.depth += 1
                self.most = max(self.most, self.depth)
            future = real(disk, buffers, sector)
            future.add_done_callback(lambda _: self._done(buffer))
            return future

        monkeypatch.setattr(Disk, "read_vectored", read_vectored)

    def _done(self, buffer: PageBuffer) -> None:
        with self._lock:
            self.in_use.remove(id(buffer))
            self.depth -= 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


# -- Latencies ------------------------------------------------------------------------------


@given(st.lists(st.integers(0, (1 << 63) - 1) | st.integers(0, 10**7), min_size=1))
def test_percentiles_are_right_within_a_64th_and_all_else_is_exact(values: list[int]) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    assert (latencies.count, latencies.sum) == (len(values), sum(values))
    assert (latencies.least, latencies.most) == (min(values), max(values))
    for per_mille in (1, 500, 900, 950, 990, 999, 1000):
        exact = sorted(values)[-(-len(values) * per_mille // 1000) - 1]
        assert abs(latencies.percentile(per_mille) - exact) <= exact / 64


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9), min_size=1))
def test_merged_latencies_are_those_of_all(first: list[int], second: list[int]) -> None:
    apart, other, together = Latencies(), Latencies(), Latencies()
    for latencies, values in ((apart, first), (other, second), (together, first + second)):
        for value in values:
            latencies.add(value)
    apart.merge(other)
    assert apart.summary() == together.summary()
    assert apart.count == together.count


def test_a_long_run_takes_no_more_memory_than_a_short_one() -> None:
    latencies = Latencies()
    before = len(latencies._counts)
    for value in range(0, 10**9, 9973):
        latencies.add(value)
    latencies.add((1 << 63) - 1)
    assert len(latencies._counts) == before < 2000


# -- The order of requests --------------------------------------------------------------------


def requests(
    workload: Workload, blocks: range, count: int, queue: int = 0
) -> Iterator[tuple[int, bool]]:
    return itertools.islice(workload.requests(queue, blocks, 8), count)


def test_sequential_requests_go_round() -> None:
    sectors = [sector for sector, _ in requests(Workload(), range(2, 5), 7)]
    assert sectors == [16, 24, 32, 16, 24, 32, 16]


def test_random_requests_reach_every_block_about_as_often() -> None:
    workload = Workload(random=True)
    sectors = [sector for sector, _ in requests(workload, range(2, 12), 10_000)]
    assert set(sectors) == {block * 8 for block in range(2, 12)}
    assert all(900 < sectors.count(sector) < 1100 for sector in set(sectors))


def test_a_seed_draws_the_same_for_each_queue_again_and_another_seed_does_not() -> None:
    def draw(seed: int, queue: int) -> list[tuple[int, bool]]:
        workload = Workload(random=True, write_percent=50, seed=seed)
        return list(requests(workload, range(1000), 20, queue))

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(2, 0)
    assert draw(1, 0) != draw(1, 1)


@pytest.mark.parametrize("percent", [0, 1, 30, 100])
@pytest.mark.parametrize("is_random", [False, True])
def test_as_many_are_writes_as_were_asked_for(percent: int, is_random: bool) -> None:
    workload = Workload(random=is_random, write_percent=percent)
    writes = sum(is_write for _, is_write in requests(workload, range(100), 20_000))
    assert abs(writes - 200 * percent) <= (300 if 0 < percent < 100 else 0)


# -- Runs -----------------------------------------------------------------------------------


@WITH_AND_WITHOUT_THREADS
def test_the_depth_is_held_and_never_exceeded(
    machine: SimulatedWindows | None, path: FilePath, threads: int, watched: Watched
) -> None:
    workload = Workload(4096, queue_depth=8, threads=threads, random=True)
    run = measure(path, workload, operations=200)
    assert run.depth_asked == 8 * max(1, threads)
    assert 1 <= run.depth_achieved <= run.depth_asked
    assert 0 < run.depth_average <= run.depth_asked
    assert watched.most <= run.depth_asked
    if machine is not None or not threads:  # Wine does the I/O of files in the thread that asks
        assert run.depth_achieved == watched.most == run.depth_asked
    assert watched.depth == 0


def test_without_threads_the_completion_thread_begins_each_request(
    path: FilePath, watched: Watched
) -> None:
    measure(path, Workload(4096, queue_depth=4), operations=100)
    assert {thread.name for thread in watched.threads} == {"pyvhdmp-port"}


def test_each_thread_has_a_part_of_the_disk(path: FilePath, watched: Watched) -> None:
    measure(path, Workload(64 << 10, queue_depth=2, threads=3), operations=96)
    assert sorted(set(watched.sectors)) == list(range(0, 16 * 128, 128))  # all, but for the cut one
    parts = [
        {s for s, by in zip(watched.sectors, watched.threads, strict=True) if by is thread}
        for thread in set(watched.threads)
    ]
    assert sorted(len(part) for part in parts) == [5, 5, 6]
    assert sum(map(len, parts)) == 16


@WITH_AND_WITHOUT_THREADS
@pytest.mark.parametrize("percent", [0, 40, 100])
def test_every_operation_is_counted_once(path: FilePath, threads: int, percent: int) -> None:
    workload = Workload(4096, 8, threads, percent)
    run = measure(path, workload, operations=101)
    assert run.read.operations + run.write.operations == run.total.operations == 101
    for share in (run.read, run.write, run.total):
        assert share.bytes == share.operations * 4096
        assert share.iops == pytest.approx(share.operations / run.seconds)
        assert share.mib_per_second == pytest.approx(share.iops * 4096 / MIB)
        assert (share.latency_us is None) == (share.operations == 0)
    assert run.total.latency_us is not None
    latency = run.total.latency_us
    assert 0 < latency.min <= latency.p50 <= latency.p99 <= latency.p99_9 <= latency.max
    assert latency.min <= latency.mean <= latency.max
    assert (run.disk_type, run.size, run.errors) == ("raw", MIB + 512, 0)


def test_fewer_operations_than_the_queue_holds_are_done_too(path: FilePath) -> None:
    run = measure(path, Workload(4096, 8), operations=3)
    assert run.total.operations == 3
    assert run.depth_achieved <= 3


def test_only_what_is_over_in_the_time_measured_counts(path: FilePath, watched: Watched) -> None:
    reports: list[tuple[int, int]] = []
    run = measure(
        path,
        Workload(4096, 4),
        seconds=0.1,
        warmup=0.4,
        report=lambda done, total: reports.append((done, total)),
    )
    assert run.seconds == pytest.approx(0.1)
    assert 0 < run.total.operations < len(watched.sectors) * 0.6
    assert run.total.iops == pytest.approx(run.total.operations / 0.1)
    assert {total for _, total in reports} == {500_000_000}
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_reads_leave_the_disk_as_it_was(path: FilePath) -> None:
    before = path.read_bytes()
    with open_disk(path, read_only=True):  # which would keep anybody from writing
        measure(path, Workload(4096, 8, random=True), operations=100)
    assert path.read_bytes() == before


def test_writes_reach_every_whole_block_and_nothing_else(
    path: FilePath, tmp_path: FilePath
) -> None:
    vhd = tmp_path / "disk.vhd"
    make_fixed_vhd(vhd, MIB + 512)
    for image, blocks in ((path, 16), (vhd, 16)):
        before = image.read_bytes()
        run = measure(
            image,
            Workload(64 << 10, 4, write_percent=100),
            operations=blocks,
            backend="raw" if image is path else "fixed-vhd",
        )
        after = image.read_bytes()
        assert run.write.operations == blocks
        for start in range(0, MIB, 4096):
            assert after[start : start + 4096] != before[start : start + 4096]
        assert after[MIB:] == before[MIB:]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("block_size", [512, 2560, 3 * MIB])
def test_blocks_of_any_number_of_sectors_are_measured(tmp_path: FilePath, block_size: int) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(3 * MIB))
    run = measure(path, Workload(block_size, 4, write_percent=50), operations=20)
    assert run.total.bytes == 20 * block_size


@WITH_AND_WITHOUT_THREADS
def test_the_memory_of_a_run_is_given_back_at_its_end(
    machine: SimulatedWindows | None, path: FilePath, threads: int, watched: Watched
) -> None:
    if machine is not None and threads:
        pytest.skip("a simulated Windows looks at the stacks of threads, which keeps them")
    gc.collect()
    gc.disable()
    try:
        measure(path, Workload(4096, 8, threads), operations=100)
        assert not watched.buffers
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        (Workload(1000), "a block of 1000 bytes is no whole number of sectors of 512"),
        (Workload(2 * MIB), "too small: it needs a block of 2097152"),
        (Workload(MIB, threads=2), "too small: each of 2 threads needs a block of 1048576"),
    ],
)
def test_a_disk_that_does_not_fit_is_refused(
    path: FilePath, workload: Workload, complaint: str
) -> None:
    with pytest.raises(InvalidInputError, match=complaint) as raised:
        measure(path, workload, operations=1)
    assert raised.value.filename == str(path)


def test_a_time_in_which_nothing_was_over_is_no_measurement(path: FilePath) -> None:
    with pytest.raises(InvalidInputError, match="no request was over in the 1e-06 s measured"):
        measure(path, Workload(4096, 1), seconds=1e-6, warmup=0)


# -- Their end ------------------------------------------------------------------------------


@WITH_AND_WITHOUT_THREADS
@pytest.mark.parametrize("pending", [False, True])
def test_the_first_error_ends_the_run(threads: int, pending: bool) -> None:
    with SimulatedWindows() as simulation:  # which ends with an error if anything is left
        simulation.files["disk.img"] = bytes(MIB)
        simulation.fail_next("ReadFile", 1117, after=50, pending=pending)
        with pytest.raises(MediumError) as raised:
            measure("disk.img", Workload(4096, 4, threads), seconds=60)
    assert raised.value.filename == "disk.img"
    assert_no_thread_is_left()


@WITH_AND_WITHOUT_THREADS
def test_ctrl_c_ends_the_run_with_nothing_in_flight(
    path: FilePath, threads: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def close(disk: Disk, **options: bool) -> None:
        closes.append(options)
        real_close(disk, **options)

    real_close = Disk.close
    closes: list[dict[str, bool]] = []
    monkeypatch.setattr(Disk, "close", close)
    with pytest.raises(KeyboardInterrupt):
        measure(path, Workload(4096, 8, threads), seconds=60, report=interrupted)
    assert watched.sectors
    assert watched.depth == 0
    assert closes[0] == {"cancel": True}
    assert_no_thread_is_left()


def assert_no_thread_is_left() -> None:
    assert not [thread for thread in threading.enumerate() if thread.name == "benchmark"]


@WITH_AND_WITHOUT_THREADS
def test_a_run_ends_whatever_goes_wrong(threads: int) -> None:
    ends: set[type] = set()
    for seed in range(20):
        with SimulatedWindows(seed, faults=Faults.of_every_kind(0.01)) as simulation:
            simulation.files["disk.img"] = bytes(MIB)
            workload = Workload(4096, 4, threads, write_percent=50, random=True)
            try:
                ends.add(type(measure("disk.img", workload, operations=50)))
            except OSError as error:
                ends.add(type(error))
    assert Measurement in ends
    assert len(ends) > 1


@WITH_AND_WITHOUT_THREADS
def test_requests_that_are_over_at_once_do_not_pile_up_on_the_stack(
    path: FilePath, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_vectored(disk: Disk, buffers: object, sector: int) -> Future[None]:
        future: IoFuture[None] = IoFuture()
        future.resolve(None)
        return future

    monkeypatch.setattr(Disk, "read_vectored", read_vectored)
    count = 3 * sys.getrecursionlimit()
    run = measure(path, Workload(4096, 2, threads), operations=count)
    assert run.total.operations == count
