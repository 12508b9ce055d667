"""Simulated time, and whose turn it is."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import Future
from functools import partial

import pytest

from pyvhdmp import CompletionPort, OverlappedFile, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.support import windows as support
from tests.testing.program import Packet, Program


def test_time_passes_when_it_is_told_to(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512)
    began = program.machine.now
    program.machine.advance(1e-6)
    assert program.machine.now == pytest.approx(began + 1e-6)
    assert overlapped.result[0] == constants.STATUS_PENDING
    program.machine.advance(2e-3)  # the longest that the medium takes
    assert overlapped.result == (0, 512)
    assert program.machine.in_flight == 0


def test_run_until_idle_goes_no_further_than_it_must(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    for _ in range(10):
        program.begin_pending("ReadFile", handle, block.address, 512)
    program.machine.run_until_idle()
    assert program.machine.in_flight == 0
    assert program.machine.now < 0.1
    idle = program.machine.now
    program.machine.run_until_idle()
    assert program.machine.now == idle


def test_a_dequeue_with_a_timeout_takes_that_time_and_none_of_ours(program: Program) -> None:
    port = program.port()
    began = program.machine.now
    assert program.dequeue(port, milliseconds=60_000) == ([], constants.WAIT_TIMEOUT)
    assert program.machine.now == pytest.approx(began + 60)


def test_a_dequeue_with_a_timeout_returns_as_soon_as_there_is_a_packet(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512)
    packets, code = program.dequeue(port, milliseconds=60_000)
    assert code == 0
    assert overlapped.address in [packet.overlapped for packet in packets]
    assert program.machine.now < 1


def test_one_dequeue_takes_as_many_packets_as_there_is_room_for(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    for _ in range(20):
        program.begin_pending("ReadFile", handle, block.address, 512)
    program.machine.run_until_idle()
    assert len(program.dequeue(port, count=7)[0]) == 7
    assert len(program.dequeue(port, count=64)[0]) >= 13


def test_what_is_posted_comes_out_as_it_was_and_in_order(program: Program) -> None:
    port = program.port()
    for number in range(3):
        assert program.kernel32.PostQueuedCompletionStatus(port, number, 10 + number, 20 + number)
    packets, _ = program.dequeue(port)
    assert packets == [Packet(10 + number, 20 + number, 0, number) for number in range(3)]


def test_a_thread_that_waits_at_a_port_that_is_closed_is_told(program: Program) -> None:
    port = program.port()
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(program.dequeue(port, milliseconds=constants.INFINITE)[1])
    )
    thread.start()
    support.wait_until(lambda: program.machine._kernel.ports[0].waiting == 1)
    program.close(port)
    thread.join(30)
    assert codes == [constants.ERROR_ABANDONED_WAIT_0]


def test_callbacks_run_between_the_calls_of_the_program_and_while_it_waits() -> None:
    with SimulatedWindows(seed=3) as windows, CompletionPort() as port:
        windows.files["file"] = bytes(65536)
        with OverlappedFile(support.create_file("file"), port=port) as file:
            during = 0
            for _ in range(200):
                done: list[Future[int]] = []
                future = file.read_at(bytearray(8), 0)
                future.add_done_callback(done.append)
                during += bool(done)
                assert future.result(30) == 8
            assert 20 < during < 180


def test_what_a_callback_has_other_threads_do_is_done_before_the_program_goes_on() -> None:
    with SimulatedWindows(seed=3) as windows, CompletionPort() as port:
        windows.files["file"] = bytes(65536)
        with OverlappedFile(support.create_file("file"), port=port) as file:
            begun: list[int] = []
            ended: list[int] = []

            def take_a_while(number: int) -> None:
                time.sleep(0.002)
                port.call_soon(partial(ended.append, number))

            def begin(number: int) -> None:
                begun.append(number)
                port.call_blocking(partial(take_a_while, number))

            during = 0
            for number in range(50):
                port.call_soon(partial(begin, number))
                future = file.read_at(bytearray(8), 0)
                during += number in begun
                assert (number in ended) == (number in begun)
                assert future.result(30) == 8
            assert during > 5


def test_what_the_program_has_in_its_functions_is_let_go_when_they_return() -> None:
    class Local:
        """Something that can be referred to weakly."""

    def work(file: OverlappedFile) -> weakref.ref[Local]:
        local = Local()
        for _ in range(20):
            assert file.read_at(bytearray(8), 0).result(30) == 8
        return weakref.ref(local)

    with SimulatedWindows(seed=3) as windows, CompletionPort() as port:
        windows.files["file"] = bytes(65536)
        gc.disable()
        try:
            with OverlappedFile(support.create_file("file"), port=port) as file:
                locals_ = [work(file) for _ in range(10)]
            assert [local() for local in locals_] == [None] * 10
        finally:
            gc.enable()


def test_many_packets_come_out_of_one_dequeue_at_times() -> None:
    with SimulatedWindows(seed=4) as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        with open_disk("disk.img") as disk:
            for _ in range(20):
                for future in [disk.read(8 * number, 8) for number in range(64)]:
                    future.result(30)
        taken = {line.split()[2] for line in windows.trace if " packets from port " in line}
        assert len(taken) > 3
        assert max(map(int, taken)) > 8


def test_hours_on_a_slow_medium_take_no_time_of_ours() -> None:
    began = time.monotonic()
    with SimulatedWindows(seed=1, latency=(60, 3600)) as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        with open_disk("disk.img") as disk:
            for number in range(100):
                disk.write(number, bytes(512), fua=True).result(30)
        assert windows.now > 3600
    assert time.monotonic() - began < 20


def test_running_until_idle_ends_what_was_asked_to_be_flushed() -> None:
    with SimulatedWindows() as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        with open_disk("disk.img") as disk:
            synced = disk.sync_cache()
            windows.run_until_idle()
            assert synced.done()
            forced = disk.write(0, bytes(512), fua=True)
            windows.advance(10.0)
            assert forced.done()
