"""How a long operation runs: with an OVERLAPPED and without, its progress, and its ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import Faults, SimulatedWindows, SimulationError
from tests.testing.program import Overlapped, Program
from tests.testing.virtdisk.disks import MIB, PENDING, Disks


def test_without_an_overlapped_it_is_done_when_the_call_returns(disks: Disks) -> None:
    handle = disks.create("C:\\a.vhdx", 4 * MIB)
    assert disks.resize(handle, 8 * MIB) == 0
    assert disks.size(handle) == 8 * MIB


def test_with_one_it_is_over_at_once_or_later_as_the_seed_says() -> None:
    codes = set()
    for seed in range(20):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), disks.overlapped()
            code = disks.resize(handle, 8 * MIB, overlapped=overlapped.address)
            codes.add(code)
            assert disks.size(handle) == (8 if code == 0 else 4) * MIB
            assert disks.result(handle, overlapped) == 0
            assert disks.size(handle) == 8 * MIB
            assert overlapped.result == (0, 0)
            assert disks.progress(handle, overlapped)[0] == 0
    assert codes == {0, PENDING}


def test_progress_is_pending_until_the_end_and_may_fall_back_or_be_ahead() -> None:
    fell_back = was_ahead = False
    for seed in range(40):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), disks.overlapped()
            disks.resize(handle, 8 * MIB, overlapped=overlapped.address)
            seen = [disks.progress(handle, overlapped)]
            while seen[-1][0] == PENDING:
                seen.append(disks.progress(handle, overlapped))
                assert len(seen) < 1000
            code, current, completion = seen[-1]
            assert code == 0
            assert current == completion > 0
            fell_back |= any(a[1] > b[1] for a, b in itertools.pairwise(seen))
            was_ahead |= any(code == PENDING and now == end for code, now, end in seen[:-1])
    assert fell_back
    assert was_ahead


def test_of_an_unknown_overlapped_there_is_no_progress(disks: Disks) -> None:
    handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), Overlapped()
    ask, block = disks.virtdisk.GetVirtualDiskOperationProgress, Block(PAGE_SIZE)
    assert ask(handle, overlapped.address, block.address) == 87
    assert ask(handle, 0, block.address) == 87
    assert ask(0x7FFF0, overlapped.address, block.address) == 6


def test_a_cancel_wins_and_leaves_the_disk_as_it_was_or_comes_too_late() -> None:
    codes = set()
    for seed in range(20):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), disks.overlapped()
            if disks.resize(handle, 8 * MIB, overlapped=overlapped.address) == 0:
                continue
            assert disks.kernel32.CancelIoEx(handle, overlapped.address)
            code = disks.result(handle, overlapped)
            codes.add(code)
            assert disks.size(handle) == (8 if code == 0 else 4) * MIB
            assert disks.progress(handle, overlapped)[0] == code
            assert not disks.kernel32.CancelIoEx(handle, overlapped.address)
            assert disks.windows.get_last_error() == constants.ERROR_NOT_FOUND
            assert disks.resize(handle, 12 * MIB) == 0  # it is free for another one
    assert codes == {0, 995}


def test_it_fails_at_once_or_in_the_end_as_planned(disks: Disks) -> None:
    handle = disks.create("C:\\a.vhdx", 4 * MIB)
    disks.machine.fail_next("ResizeVirtualDisk", 112)
    assert disks.resize(handle, 8 * MIB) == 112
    disks.machine.fail_next("ResizeVirtualDisk", 112, pending=True)
    assert disks.resize(handle, 8 * MIB) == 112
    disks.machine.fail_next("ResizeVirtualDisk", 112, pending=True)
    overlapped = disks.overlapped()
    assert disks.resize(handle, 8 * MIB, overlapped=overlapped.address) == PENDING
    assert disks.result(handle, overlapped) == 112
    code, current, completion = disks.progress(handle, overlapped)
    assert code == 112
    assert current == completion
    assert disks.size(handle) == 4 * MIB
    with pytest.raises(ValueError, match="never pending"):
        disks.machine.fail_next("DetachVirtualDisk", 5, pending=True)


def test_there_is_one_at_a_time_on_a_disk(disks: Disks) -> None:
    handle = disks.create("C:\\a.vhdx", 4 * MIB)
    while True:
        overlapped = disks.overlapped()
        if disks.resize(handle, 8 * MIB, overlapped=overlapped.address) == PENDING:
            break
    assert disks.resize(handle, 16 * MIB) == constants.ERROR_VHD_INVALID_STATE
    assert disks.result(handle, overlapped) == 0
    assert disks.resize(handle, 16 * MIB) == 0


def test_faults_of_the_seed_strike_it_too() -> None:
    codes = set()
    for seed in range(10):
        faults = Faults(immediate_errors=0.3, errors=0.3)
        with SimulatedWindows(seed, faults=faults) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), disks.overlapped()
            code = disks.resize(handle, 8 * MIB, overlapped=overlapped.address)
            if code == PENDING:
                code = disks.result(handle, overlapped)
            codes.add(code)
            assert disks.size(handle) == (8 if code == 0 else 4) * MIB
    assert len(codes) > 2


def test_its_packet_comes_to_a_port_unless_the_low_bit_of_the_event_is_set() -> None:
    with SimulatedWindows(5) as windows, Disks(windows) as disks, Program(windows) as program:
        handle = disks.create("C:\\a.vhdx", 4 * MIB)
        port = program.port(handle)
        for size, low_bit, packets in ((8, 0, 1), (12, 1, 0)):
            overlapped = Overlapped(event=disks.event() | low_bit)
            disks.resize(handle, size * MIB, overlapped=overlapped.address)
            assert disks.result(handle, overlapped) == 0
            assert len(program.dequeue(port)[0]) == packets


@contextmanager
def resizing() -> Iterator[tuple[Disks, int, Overlapped]]:
    """A resize that is pending."""
    with SimulatedWindows(7) as windows, Disks(windows) as disks:
        handle, size = disks.create("C:\\a.vhdx", 4 * MIB), 4 * MIB
        while True:
            overlapped, size = disks.overlapped(), size + MIB
            if disks.resize(handle, size, overlapped=overlapped.address) == PENDING:
                break
        yield disks, handle, overlapped


@contextmanager
def reported(problem: str) -> Iterator[tuple[Disks, int, Overlapped]]:
    """Expect what is done to a resize that is pending to be reported."""
    with pytest.raises(SimulationError, match=problem), resizing() as pending:
        yield pending


def test_a_handle_closed_under_it_is_reported_and_it_is_abandoned() -> None:
    with reported("closed with 1 requests") as (disks, handle, overlapped):
        before = disks.size(handle)
        disks.close(handle)
        assert overlapped.result[0] == 0xC0000120
        assert disks.size(disks.open("C:\\a.vhdx")) == before


def test_an_overlapped_that_is_changed_under_it_is_reported() -> None:
    with reported("was changed while the kernel owned it") as (disks, _, overlapped):
        overlapped.block.memory[8] = 1
        disks.machine.run_until_idle()


def test_an_overlapped_that_is_used_twice_is_reported() -> None:
    with reported("OVERLAPPED that #[0-9]+ ResizeVirtualDisk still owns") as (
        disks,
        handle,
        overlapped,
    ):
        block = Block(PAGE_SIZE)
        assert disks.attach(handle) in (0, constants.ERROR_VHD_INVALID_STATE)
        disks.kernel32.ReadFile(handle, block.address, 512, 0, overlapped.address)


def test_what_a_power_cut_interrupts_is_undone() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = disks.create("C:\\a.vhdx", 4 * MIB), disks.overlapped()
            code = disks.resize(handle, 8 * MIB, overlapped=overlapped.address)
            windows.power_cut()
            assert disks.resize(handle, 8 * MIB) == constants.ERROR_DEVICE_NOT_CONNECTED
            disks.close(handle)
            assert disks.size(disks.open("C:\\a.vhdx")) == (8 if code == 0 else 4) * MIB


def test_the_same_seed_gives_the_same_operation_twice() -> None:
    def trace(seed: int) -> list[str]:
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle = disks.create("C:\\a.vhdx", 4 * MIB)
            for size in range(5, 15):
                overlapped = disks.overlapped()
                disks.resize(handle, size * MIB, overlapped=overlapped.address)
                while disks.progress(handle, overlapped)[0] == PENDING:
                    pass
            return windows.trace

    assert trace(1) == trace(1) != trace(2)
