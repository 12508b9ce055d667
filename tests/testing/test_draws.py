"""Chance: one seed, one order; and every kind of fault does occur."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait

import pytest

from pyvhdmp import CompletionPort, PageBuffer, ShortTransferError, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import Faults, SimulatedWindows
from tests.support import windows as support
from tests.testing.program import Overlapped, Program

SEEDS = range(5)


def calls(seed: int) -> list[str]:
    """Reads, writes, cancels and flushes by addresses; return the trace."""
    faults = Faults.of_every_kind(0.05)
    with SimulatedWindows(seed, faults=faults) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(65536)
        handle = program.open("disk.img")
        port = program.port(handle)
        blocks = [Block(PAGE_SIZE) for _ in range(100)]
        for number, block in enumerate(blocks):
            overlapped = Overlapped(512 * number)
            function = "WriteFile" if number % 3 else "ReadFile"
            program.begin(function, handle, block.address, 4096, overlapped)
            if number % 7 == 0:
                program.kernel32.CancelIoEx(handle, overlapped.address)
            if number % 20 == 0:
                program.flush(handle)
                program.dequeue(port, milliseconds=1)
        windows.run_until_idle()
        program.dequeue(port)
        return windows.trace


def disks(seed: int) -> list[str]:
    """A disk, used from one thread, with what callbacks begin as well; return the trace."""
    with SimulatedWindows(seed, faults=Faults(errors=0.05, short_transfers=0.05)) as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        page = PageBuffer(4 * PAGE_SIZE)
        with CompletionPort() as port:
            try:
                disk = open_disk("disk.img", port=port)
            except OSError:
                return windows.trace
            futures: list[Future[None]] = []
            for number in range(100):
                future = disk.write(8 * number, page, fua=number % 10 == 0)
                if number % 4 == 0:
                    future.add_done_callback(lambda _: disk.read_vectored([PageBuffer(512)], 0))
                if number % 6 == 0:
                    future.cancel()
                if number % 9 == 0:
                    wait(futures)
                futures.append(future)
            wait(futures)
            disk.close()
        return windows.trace


@pytest.mark.parametrize("program", [calls, disks])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_leads_to_the_same_order_twice(
    program: Callable[[int], list[str]], seed: int
) -> None:
    assert program(seed) == program(seed)


@pytest.mark.parametrize("program", [calls, disks])
def test_another_seed_leads_to_another_order(program: Callable[[int], list[str]]) -> None:
    assert len({tuple(program(seed)) for seed in SEEDS}) == len(SEEDS)


def outcome(faults: Faults) -> tuple[int, int, int, int]:
    """Begin one read; return the call's code, status, bytes, and how many packets came."""
    with SimulatedWindows(seed=1, faults=faults) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(65536)
        handle, block, overlapped = program.open("disk.img"), Block(PAGE_SIZE), Overlapped()
        port = program.port(handle)
        code = program.begin("ReadFile", handle, block.address, 4096, overlapped)
        windows.run_until_idle()
        assert windows.faults_injected == (faults != Faults())
        return code, *overlapped.result, len(program.dequeue(port)[0])


def test_no_faults() -> None:
    code, *rest = outcome(Faults())
    assert code in (0, constants.ERROR_IO_PENDING)
    assert rest == [0, 4096, 1]


def test_an_immediate_error_fails_the_call_and_posts_nothing() -> None:
    faults = Faults(immediate_errors=1, codes=[constants.ERROR_IO_DEVICE])
    # ReadFile sets STATUS_PENDING before it does anything that can fail.
    assert outcome(faults) == (constants.ERROR_IO_DEVICE, constants.STATUS_PENDING, 0, 0)


def test_an_error_comes_with_the_packet() -> None:
    code, status, transferred, packets = outcome(Faults(errors=1, codes=[constants.ERROR_CRC]))
    assert code in (0, constants.ERROR_IO_PENDING)
    assert (status, transferred, packets) == (0xC000003F, 0, 1)


def test_a_short_transfer_is_a_success_of_fewer_sectors() -> None:
    _, status, transferred, packets = outcome(Faults(short_transfers=1))
    assert (status, packets) == (0, 1)
    assert 0 <= transferred < 4096
    assert transferred % 512 == 0


def test_a_warning_comes_with_a_packet() -> None:
    code, status, _, packets = outcome(Faults(warnings=1))
    assert code in (constants.ERROR_MORE_DATA, constants.ERROR_IO_PENDING)
    assert (status, packets) == (0x80000005, 1)


def test_a_stray_packet_comes_beside_the_right_one() -> None:
    _, status, transferred, packets = outcome(Faults(stray_packets=1))
    assert (status, transferred, packets) == (0, 4096, 2)


def test_a_flush_that_fails_says_so() -> None:
    faults = Faults(flush_errors=1, codes=[constants.ERROR_IO_DEVICE])
    with SimulatedWindows(faults=faults) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(512)
        assert program.flush(program.open("disk.img")) == 0xC0000185
        assert windows.faults_injected == 1


def test_the_engine_takes_every_fault_as_it_is_meant() -> None:
    """Each request ends once, as whole or with an error that says what happened."""
    errors: set[str] = set()
    for seed in range(20):
        with SimulatedWindows(seed, faults=Faults.of_every_kind(0.02)) as windows:
            windows.files["disk.img"] = bytes(1 << 20)
            try:
                disk = open_disk("disk.img")
            except OSError as error:
                errors.add(type(error).__name__)
                continue
            with disk:
                futures = [
                    disk.write(8 * number, b"\x01" * 4096, fua=number % 5 == 0)
                    for number in range(100)
                ]
                wait(futures, 30)
                for future in futures:
                    failure = future.exception()
                    if failure is not None:
                        errors.add(type(failure).__name__)
                        has_code = getattr(failure, "winerror", None) is not None
                        assert has_code or isinstance(failure, ShortTransferError)
    assert {"MediumError", "OSError", "ShortTransferError"} <= errors


def test_handles_of_the_support_are_those_of_the_simulation() -> None:
    with support.simulated(seed=1):
        before = support.handle_count()
        with support.closing(*support.pipe_handles()):
            assert support.handle_count() == before + 2
