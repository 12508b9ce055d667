"""How requests and disks end: cancelled, closed, lost, interrupted. Rules 7 to 10, per kind."""

from __future__ import annotations

import _thread
import contextlib
import gc
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import FrameType

import pytest

from pyvhdmp import CompletionPort, Disk, PageBuffer, open_disk
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.slots import Slot
from tests.disk.kinds import SIZE, make, make_file
from tests.support import windows
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60
SECTOR = 512


def test_rule_7_a_cancelled_request_ends_as_cancelled_or_whole(disk: Disk) -> None:
    for _ in range(50):
        buffer = bytearray(SIZE - 512)
        future = disk.read_vectored([buffer], 0)
        assert future.cancel() is False
        wait([future], SECONDS)
        buffer.append(1)  # let go of, either way
        if not future.cancelled():
            future.result()
    assert disk.port.in_flight == 0


def test_rule_10_cancelled_parts_that_waited_finish_on_the_completion_thread(
    tmp_path: FilePath,
) -> None:
    path = make_file("raw", tmp_path, 64 << 20)
    threads: list[str] = []
    with CompletionPort(bounce_budget=1 << 20) as port:
        disk = open_disk(path, port=port)
        held = port.bounce.take(1 << 20, lambda _: None)
        assert held is not None
        for _ in range(5):
            future = disk.write(0, bytes((4 << 20) - 512))
            future.add_done_callback(lambda _: threads.append(threading.current_thread().name))
            future.add_done_callback(lambda _: disk.close())  # must not wait for itself
            future.cancel()
            wait([future], SECONDS)
            if disk.closed:
                break
        disk.close(cancel=True)
        port.bounce.give(held)
    assert set(threads) == {"pyvhdmp-port"}


def test_rule_7_parts_that_wait_for_bounce_memory_are_cancelled(tmp_path: FilePath) -> None:
    path = make_file("raw", tmp_path, 64 << 20)
    with CompletionPort(bounce_budget=1 << 20) as port, open_disk(path, port=port) as disk:
        held = port.bounce.take(1 << 20, lambda _: None)
        assert held is not None
        data = bytearray((32 << 20) - 512)
        future = disk.write(0, data)
        assert not future.done()
        future.cancel()
        wait([future], SECONDS)
        assert future.cancelled()
        data.append(1)
        port.bounce.give(held)
        assert disk.write(0, bytes(512)).result(SECONDS) is None


def test_rule_8_close_waits_for_what_is_in_flight_and_refuses_more(disk: Disk) -> None:
    futures = [disk.write(number * 8, b"\x77" * PAGE_SIZE) for number in range(200)]
    disk.close()
    assert all(future.done() and future.exception() is None for future in futures)
    requests: list[Callable[[], object]] = [
        lambda: disk.read(0, 1),
        lambda: disk.write(0, bytes(512)),
        lambda: disk.unmap(0, 1),
        disk.sync_cache,
        lambda: disk.wait_resize(1),
    ]
    for request in requests:
        with pytest.raises(ValueError, match="closed"):
            request()
    disk.close()


def test_rule_8_close_with_cancel_ends_everything(disk: Disk) -> None:
    futures = [disk.write(0, bytes(SIZE - 512)) for _ in range(20)]
    resize = disk.wait_resize(disk.sector_count)
    disk.close(cancel=True)
    assert all(future.done() for future in futures)
    wait([resize], SECONDS)
    assert resize.cancelled()


def test_rule_8_a_refused_request_lets_its_buffers_go(disk: Disk) -> None:
    disk.close()
    buffer = bytearray(512)
    with pytest.raises(ValueError, match="closed"):
        disk.read_vectored([buffer], 0)
    buffer.append(1)


def test_rule_9_requests_in_flight_survive_the_loss_of_every_reference(
    kind: str, tmp_path: FilePath
) -> None:
    done: list[int] = []
    with CompletionPort() as port:
        disk = make(kind, tmp_path, port=port)
        for number in range(200):
            future = disk.write(number * 9, bytes([number]) * (9 * SECTOR))
            future.add_done_callback(lambda future: done.append(future.exception() is None))
        del future
        gc.collect()
        bytearray(64 << 20)
        windows.wait_until(lambda: len(done) == 200)
        data = disk.read(0, 1800).result(SECONDS)
        assert all(
            data[n * 9 * SECTOR : (n + 1) * 9 * SECTOR] == bytes([n]) * 9 * SECTOR
            for n in range(200)
        )
        disk.close()
    assert all(done)


@pytest.mark.parametrize("wish", [SystemExit, ValueError])
def test_rule_10_a_callback_that_raises_harms_no_other_request(
    disk: Disk, wish: type[BaseException]
) -> None:
    def raising(_: Future[None]) -> None:
        raise wish

    writes = [disk.write(0, bytes(512)) for _ in range(20)]
    for write in writes:
        # One that is finished by now calls it here, and SystemExit is then the caller's.
        with contextlib.suppress(SystemExit):
            write.add_done_callback(raising)
    assert [write.result(SECONDS) for write in writes] == [None] * 20
    assert disk.read(0, 1).result(SECONDS) == bytes(512)


@pytest.mark.parametrize("wish", [KeyboardInterrupt, MemoryError])
def test_an_exception_while_a_request_is_begun_leaves_nothing_behind(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, wish: type[BaseException]
) -> None:
    take = disk.port.slots.take
    taken = 0

    def failing() -> Slot:
        nonlocal taken
        if not disk.port.on_thread():
            taken += 1
            if taken == 2:
                raise wish
        return take()

    monkeypatch.setattr(disk.port.slots, "take", failing)
    buffers = [bytearray(100 * SECTOR) for _ in range(10)]
    mixed = [memory for buffer in buffers for memory in (buffer, PageBuffer(PAGE_SIZE))]
    with pytest.raises(wish):
        disk.write_vectored(mixed, 0)
    disk.close()  # does not wait for what never began
    for buffer in buffers:
        buffer.append(1)


def test_running_out_of_memory_on_the_completion_thread_fails_the_request(
    kind: str, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CompletionPort() as port, make(kind, tmp_path, size=64 << 20, port=port) as disk:
        take = port.slots.take

        def failing() -> Slot:
            if port.on_thread():
                raise MemoryError
            return take()

        monkeypatch.setattr(port.slots, "take", failing)
        source = PageBuffer(60 << 20)
        with pytest.raises(MemoryError):
            disk.write_vectored([source], 0).result(SECONDS)
        source.close()


# Python drops what is raised in the callback of a weak reference, but warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Watching its callers takes the simulation steps of Python that no real kernel has.
@pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.windows)], indirect=True
)
def test_ctrl_c_at_any_moment_leaves_nothing_behind(disk: Disk) -> None:
    chance = random.Random(1)
    over = threading.Event()
    armed = False
    interrupted = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        # Once for each arming, so never outside of the try below; and never in a kernel.
        if armed and not windows.is_in_simulation(frame):
            armed = False
            raise KeyboardInterrupt

    def bother() -> None:
        while not over.wait(chance.random() * 0.002):
            _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, handler)
    bothering = threading.Thread(target=bother)
    bothering.start()
    try:
        for _ in range(200):
            try:
                armed = True
                for number in range(40):
                    disk.write(number * 8, bytes(7 * SECTOR))
                armed = False
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        over.set()
        bothering.join()
        signal.signal(signal.SIGINT, before)
    assert interrupted
    disk.close()
    assert disk.port.in_flight == 0
