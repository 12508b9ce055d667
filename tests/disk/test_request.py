"""Requests that Ctrl+C ends: what was begun comes to its end, and nothing is held for good."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TypeAlias

import pytest

from pyvhdmp import CompletionPort, Disk, HeldBuffers, PageBuffer
from pyvhdmp.buffers import PAGE_SIZE, PooledBlock, Ready
from pyvhdmp.disk.direct import DirectTransfer
from pyvhdmp.disk.plan import MAX_PART
from pyvhdmp.disk.request import Request
from pyvhdmp.testing import substituted
from tests.disk.kinds import made
from tests.support import windows
from tests.support.files import FilePath
from tests.support.interrupts import every_moment
from tests.support.pipe_disk import PipeDisk

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60
SECTOR = 512
MODULES = (
    *("pyvhdmp.disk.base", "pyvhdmp.disk.request", "pyvhdmp.disk.direct", "pyvhdmp.disk.held"),
    *("pyvhdmp.overlapped", "pyvhdmp.calls", "pyvhdmp.transfers", "pyvhdmp.buffers"),
)

Begin: TypeAlias = Callable[[Disk, bytearray], Future[object]]


@pytest.fixture
def disk(tmp_path: FilePath) -> Iterator[Disk]:
    with CompletionPort(bounce_budget=MAX_PART) as port, made("raw", tmp_path, port=port) as disk:
        yield disk


def is_left_as_it_was(disk: Disk, buffer: bytearray) -> bool:
    """Whether nothing is in flight, and nobody holds the buffer, or any bounce memory."""
    is_idle = not disk._file.is_busy and not disk.port.in_flight
    if is_idle and is_free(buffer) and (block := disk.port.bounce.take_now(MAX_PART)) is not None:
        disk.port.bounce.give(block)
        return True
    gc.collect()  # a simulated Windows looks at the frames of threads, and so keeps them
    return False


def is_free(buffer: bytearray) -> bool:
    try:
        buffer.append(1)  # which Python refuses while anybody holds it
    except BufferError:
        return False
    return True


def write_bounced(disk: Disk, buffer: bytearray) -> Future[None]:
    return disk.write(8, memoryview(buffer)[: 3 * SECTOR])


def write_both_ways(disk: Disk, buffer: bytearray) -> Future[None]:
    return disk.write_vectored([memoryview(buffer)[:PAGE_SIZE], PageBuffer(PAGE_SIZE)], 8)


def read_vectored(disk: Disk, buffer: bytearray) -> Future[None]:
    return disk.read_vectored([memoryview(buffer)[: 3 * SECTOR]], 8)


def read_now(disk: Disk, buffer: bytearray) -> None:
    disk._read_now([memoryview(buffer)[: 3 * SECTOR]], 8)


def read(disk: Disk, buffer: bytearray) -> Future[bytes]:
    return disk.read(8, 3)


def write_fua(disk: Disk, buffer: bytearray) -> Future[None]:
    return disk.write(8, memoryview(buffer)[: 3 * SECTOR], fua=True)


def write_held(disk: Disk, buffer: bytearray) -> Future[None]:
    with HeldBuffers([memoryview(buffer)[: 3 * SECTOR]]) as held:
        return disk.write_vectored(held, 8)


@pytest.mark.parametrize(
    "begin",
    [write_bounced, write_both_ways, read_vectored, read_now, read, write_fua, write_held],
)
def test_ctrl_c_at_any_moment_of_a_request_leaves_nothing_behind(disk: Disk, begin: Begin) -> None:
    for ctrl_c in every_moment(*MODULES):
        buffer = bytearray(PAGE_SIZE)
        with ctrl_c:
            begin(disk, buffer)
        windows.wait_until(partial(is_left_as_it_was, disk, buffer))
    assert ctrl_c.number > 20


def test_ctrl_c_at_any_moment_of_a_read_that_is_refused_gives_memory_back_once(
    disk: Disk,
) -> None:
    disk.close()
    pool = disk.port.bounce
    for ctrl_c in every_moment(*MODULES):
        with ctrl_c, contextlib.suppress(ValueError):
            disk.read(0, 8)
        blocks = [block for block in map(pool.take_now, [8 * SECTOR] * 2) if block is not None]
        assert len({block.address for block in blocks}) == 2, ctrl_c
        for block in blocks:
            pool.give(block)
    assert ctrl_c.number > 10


def test_a_cancel_that_comes_just_before_a_part_waits_for_memory_does_not_wait_for_it(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = disk.port.bounce
    take, held = pool.take, pool.take_now(MAX_PART)
    assert held is not None

    def take_late(length: int, ready: Ready) -> PooledBlock | None:
        disk._file.cancel()  # of all there is, by another thread, say
        told = threading.Event()
        disk.port.call_soon(told.set)
        assert told.wait(SECONDS)
        return take(length, ready)

    monkeypatch.setattr(pool, "take", take_late)
    with pytest.raises(CancelledError):
        write_bounced(disk, bytearray(PAGE_SIZE)).result(SECONDS)
    pool.give(held)


@pytest.mark.parametrize(("kind", "length"), [(Request, SECTOR), (DirectTransfer, PAGE_SIZE)])
def test_ctrl_c_just_before_a_request_begins_leaves_no_buffer_to_the_garbage_collector(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, kind: type, length: int
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "start", interrupted)
    buffer = PageBuffer(PAGE_SIZE)
    gc.disable()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            disk.write(0, memoryview(buffer)[:length])
        buffer.close()  # which Python refuses while anybody holds it
    finally:
        gc.enable()


def test_ctrl_c_at_any_moment_of_a_request_that_waits_for_memory_leaves_nothing_behind(
    disk: Disk,
) -> None:
    for ctrl_c in every_moment(*MODULES):
        buffer, held = bytearray(PAGE_SIZE), disk.port.bounce.take_now(MAX_PART)
        assert held is not None
        with ctrl_c:
            write_bounced(disk, buffer)
        disk.port.bounce.give(held)
        del held
        windows.wait_until(partial(is_left_as_it_was, disk, buffer))
    assert ctrl_c.number > 20


def test_ctrl_c_at_any_moment_of_a_cancel_leaves_the_rest_to_the_next(disk: Disk) -> None:
    for ctrl_c in every_moment(*MODULES):
        buffer, held = bytearray(PAGE_SIZE), disk.port.bounce.take_now(MAX_PART)
        assert held is not None
        future = write_bounced(disk, buffer)
        with ctrl_c:
            future.cancel()
        future.cancel()
        with pytest.raises(CancelledError):
            future.result(SECONDS)
        disk.port.bounce.give(held)
        del held, future
        windows.wait_until(partial(is_left_as_it_was, disk, buffer))
    assert ctrl_c.number > 5


def test_ctrl_c_right_after_memory_was_granted_leaves_it_to_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The part is the completion thread's by then, and Ctrl+C cannot end it as one that waits."""
    with (
        substituted(kernel32={"CancelIoEx": lambda *_: 1}),  # and it is too late for it
        CompletionPort(bounce_budget=MAX_PART) as port,
        contextlib.closing(PipeDisk(port)) as pipe,
    ):
        buffer, take = bytearray(PAGE_SIZE), port.bounce.take
        blocks = [port.bounce.take_now(MAX_PART)]

        def interrupted(length: int, ready: Callable[[PooledBlock], object]) -> None:
            assert take(length, ready) is None
            block = blocks.pop()
            assert block is not None
            port.bounce.give(block)
            windows.wait_until(lambda: port.in_flight == 1)
            raise KeyboardInterrupt

        monkeypatch.setattr(port.bounce, "take", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            read_vectored(pipe.disk, buffer)
        assert port.in_flight == 1
        assert port.bounce.take_now(MAX_PART) is None
        assert not is_free(buffer)
        pipe.feed()
        windows.wait_until(partial(is_left_as_it_was, pipe.disk, buffer))
