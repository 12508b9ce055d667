"""The simulated kernel's events, and GetOverlappedResult."""

from __future__ import annotations

import threading

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import DWORD_STRUCT
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.program import Overlapped, Program, content, reported, running

MANUAL, AUTO = 1, 0


def event(program: Program, kind: int = MANUAL, initial: int = 0) -> int:
    handle = program.kernel32.CreateEventW(0, kind, initial, 0)
    program._handles.append(handle)
    return handle


def test_an_event_is_set_or_waited_for_in_vain(program: Program) -> None:
    wait = program.kernel32.WaitForSingleObject
    assert wait(event(program, initial=1), 0) == constants.WAIT_OBJECT_0
    before = program.machine.now
    assert wait(event(program), 250) == constants.WAIT_TIMEOUT
    assert program.machine.now - before >= 0.25


def test_an_event_that_is_not_reset_by_hand_lets_one_wait_through(program: Program) -> None:
    wait = program.kernel32.WaitForSingleObject
    handle = event(program, AUTO, initial=1)
    assert [wait(handle, 0), wait(handle, 0)] == [constants.WAIT_OBJECT_0, constants.WAIT_TIMEOUT]


def test_what_is_no_event_cannot_be_waited_for(program: Program) -> None:
    wait = program.kernel32.WaitForSingleObject
    assert wait(program.open("disk.img"), 0) == constants.WAIT_FAILED
    assert program.windows.get_last_error() == constants.ERROR_INVALID_HANDLE
    assert program.failure(program.kernel32.CreateEventW(0, 0, 0, 1)) == 50


def test_the_event_of_a_request_is_reset_when_it_begins_and_set_when_it_is_over(
    program: Program,
) -> None:
    wait, handle = program.kernel32.WaitForSingleObject, program.open("disk.img")
    for _ in range(20):
        done, block = event(program, initial=1), Block(PAGE_SIZE)
        overlapped = Overlapped(event=done)
        code = program.begin("ReadFile", handle, block.address, 512, overlapped)
        if program.machine.in_flight:
            assert wait(done, 0) == constants.WAIT_TIMEOUT
        assert code in (0, constants.ERROR_IO_PENDING)
        assert wait(done, constants.INFINITE) == constants.WAIT_OBJECT_0
        assert overlapped.result == (0, 512)
        assert content(block.address, 4) == bytes(range(4))


def test_the_result_of_a_request_is_told_or_waited_for(program: Program) -> None:
    handle, cell = program.open("disk.img"), Block(PAGE_SIZE)
    ask = program.kernel32.GetOverlappedResult
    for hEvent in (0, event(program), event(program, AUTO) | 1):
        block = Block(PAGE_SIZE)
        while True:
            overlapped = Overlapped(event=hEvent)
            program.begin("ReadFile", handle, block.address, 512, overlapped)
            if program.machine.in_flight:
                break
        code = program.failure(ask(handle, overlapped.address, cell.address, 0))
        assert code in (0, constants.ERROR_IO_INCOMPLETE)
        assert ask(handle, overlapped.address, cell.address, 1)
        assert DWORD_STRUCT.unpack_from(cell.memory)[0] == 512


def test_asking_for_a_result_again_and_again_comes_to_an_end(program: Program) -> None:
    handle, cell, block = program.open("disk.img"), Block(PAGE_SIZE), Block(PAGE_SIZE)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512)
    ask = program.kernel32.GetOverlappedResult
    for _ in range(100):
        if ask(handle, overlapped.address, cell.address, 0):
            break
    else:
        raise AssertionError("it pends for ever")


def test_the_result_of_a_failed_request_is_its_code(program: Program) -> None:
    handle, cell, block = program.open("disk.img"), Block(PAGE_SIZE), Block(PAGE_SIZE)
    program.machine.fail_next("ReadFile", constants.ERROR_CRC, pending=True)
    overlapped = Overlapped(event=event(program))
    assert program.begin("ReadFile", handle, block.address, 512, overlapped) == 997
    returned = program.kernel32.GetOverlappedResult(handle, overlapped.address, cell.address, 1)
    assert program.failure(returned) == constants.ERROR_CRC


def test_threads_wait_for_events_as_for_packets() -> None:
    """Nothing else happens: only if both count as waiting does the clock move."""

    def trace(seed: int) -> list[str]:
        with running(seed) as program:
            handle, order = program.open("disk.img"), []
            blocks = [Block(PAGE_SIZE) for _ in range(4)]
            events = [event(program) for _ in blocks]
            overlapped = [Overlapped(event=done) for done in events]

            def wait(number: int) -> None:
                program.kernel32.WaitForSingleObject(events[number], constants.INFINITE)
                order.append(number)

            threads = [
                threading.Thread(target=wait, args=(n,), name=f"pyvhdmp-{n}") for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for block, each in zip(blocks, overlapped, strict=True):
                program.begin("ReadFile", handle, block.address, 512, each)
            for thread in threads:
                thread.join()
            return [*map(str, order), *program.machine.trace]

    assert trace(3) == trace(3)
    assert sorted(trace(4)[:4]) == ["0", "1", "2", "3"]


def test_an_event_that_is_left_open_is_reported() -> None:
    with reported("event was left open") as program:
        program.kernel32.CreateEventW(0, 1, 0, 0)


def test_an_event_that_is_closed_is_none() -> None:
    with reported("WaitForSingleObject on handle 0x100, which is closed") as program:
        handle = program.kernel32.CreateEventW(0, 1, 0, 0)
        assert program.failure(program.kernel32.CloseHandle(handle)) == 0
        program.kernel32.WaitForSingleObject(handle, 0)


def test_a_request_with_an_event_that_is_none_is_refused() -> None:
    with SimulatedWindows() as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(4096)
        handle, block = program.open("disk.img"), Block(PAGE_SIZE)
        overlapped = Overlapped(event=handle)
        assert program.begin("ReadFile", handle, block.address, 512, overlapped) == 6
        assert not windows.in_flight
