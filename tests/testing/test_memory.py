"""What callers do to their memory: what the simulation reports, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyvhdmp import PageBuffer
from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE, Block
from tests.testing.program import BUFFERED, Overlapped, Program, content, reported, segments


def address_of(buffer: PageBuffer) -> int:
    return buffer.address


# -- Reported -------------------------------------------------------------------


def test_an_overlapped_that_is_in_use_already() -> None:
    with reported("#2 ReadFile was given the OVERLAPPED that #1 ReadFile still owns") as program:
        reader, _ = program.pipe()
        first, second, overlapped = Block(PAGE_SIZE), Block(PAGE_SIZE), Overlapped()
        assert program.begin("ReadFile", reader, first.address, 1, overlapped) == 997
        program.begin("ReadFile", reader, second.address, 1, overlapped)
        program.kernel32.CancelIoEx(reader, 0)


def test_an_overlapped_that_is_changed_in_flight() -> None:
    with reported("the OVERLAPPED of #1 ReadFile was changed") as program:
        reader, writer = program.pipe()
        block, overlapped = Block(PAGE_SIZE), Overlapped()
        program.begin("ReadFile", reader, block.address, 1, overlapped)
        overlapped.block.memory[16] = 7
        program.begin("WriteFile", writer, block.address + 512, 1, Overlapped())


def test_an_overlapped_that_is_not_there() -> None:
    with reported("given an OVERLAPPED where there is no memory") as program:
        handle = program.open("disk.img")
        overlapped = Overlapped()
        overlapped.address = 0x10000
        block = Block(PAGE_SIZE)
        code = program.begin("ReadFile", handle, block.address, 512, overlapped)
        assert code == constants.ERROR_NOACCESS


@pytest.mark.parametrize("function", ["ReadFile", "WriteFile"])
def test_a_buffer_that_is_written_to_in_flight(function: str) -> None:
    with reported(f"memory of .* {function} was written to or reused") as program:
        handle = program.open("disk.img")
        block = Block(PAGE_SIZE)
        overlapped = program.begin_pending(function, handle, block.address, 512)
        block.memory[5] = block.memory[5] ^ 1
        program.machine.run_until_idle()
        assert overlapped.result[0] == constants.STATUS_UNSUCCESSFUL


def test_a_buffer_that_two_writes_have_is_watched_all_the_same() -> None:
    with reported("memory of .* WriteFile was written to or reused") as program:
        handle = program.open("disk.img")
        block = Block(PAGE_SIZE)
        program.begin_pending("WriteFile", handle, block.address, 512)
        program.begin_pending("WriteFile", handle, block.address, 512, 4096)
        block.memory[5] = block.memory[5] ^ 1
        program.machine.run_until_idle()


def test_an_overlapped_that_lies_in_another_requests_buffer() -> None:
    with reported("was given the OVERLAPPED that .* still owns") as program:
        handle = program.open("disk.img")
        buffer = Block(PAGE_SIZE)
        overlapped = program.begin_pending("ReadFile", handle, buffer.address, 512)
        program.begin("ReadFile", handle, overlapped.address, PAGE_SIZE, Overlapped(4096))


@pytest.mark.parametrize("function", ["ReadFileScatter", "WriteFileGather"])
def test_a_segment_array_that_is_reused_in_flight(function: str) -> None:
    with reported(f"memory of .* {function} was written to or reused") as program:
        handle = program.open("disk.img")
        pages = Block(2 * PAGE_SIZE)
        array = segments(pages.address, pages.address + PAGE_SIZE)
        program.begin_pending(function, handle, array.address, 2 * PAGE_SIZE)
        array.memory[:16] = array.memory[8:16] + array.memory[:8]


@pytest.mark.parametrize("what", ["pages", "array"])
def test_memory_that_is_unmapped_in_flight(what: str) -> None:
    with reported("memory of .* ReadFileScatter was (released|written to or reused)") as program:
        handle = program.open("disk.img")
        # Large, so that nothing else is mapped in its place meanwhile.
        pages, room = PageBuffer(64 * PAGE_SIZE), PageBuffer(1 << 24)
        address = address_of(pages)
        at = address_of(room)
        for page in range(64):
            room[8 * page : 8 * page + 8] = (address + page * PAGE_SIZE).to_bytes(8, "little")
        program.begin_pending("ReadFileScatter", handle, at, 64 * PAGE_SIZE - 48 * PAGE_SIZE)
        (pages if what == "pages" else room).close()


def test_a_segment_array_without_its_end() -> None:
    with reported("ReadFileScatter: the segment array goes on after its 1 pages") as program:
        handle = program.open("disk.img")
        pages = Block(2 * PAGE_SIZE)
        array = segments(pages.address, pages.address + PAGE_SIZE)
        program.begin("ReadFileScatter", handle, array.address, PAGE_SIZE, Overlapped())


def test_a_pin_that_is_released_in_flight() -> None:
    with reported("a buffer of #1 ReadFile was let go while the kernel owned it") as program:
        reader, _ = program.pipe()
        pin = Pins([bytearray(8)], writable=True)
        program.begin("ReadFile", reader, pin.addresses[0], 8, Overlapped())
        pin.release()
        program.kernel32.CancelIoEx(reader, 0)


@pytest.mark.parametrize("shift", [512, 8])
def test_a_segment_that_is_no_page(shift: int) -> None:
    with reported("given a segment that is not page-aligned") as program:
        handle = program.open("disk.img")
        pages = Block(2 * PAGE_SIZE)
        array = segments(pages.address + shift)
        code = program.begin("ReadFileScatter", handle, array.address, PAGE_SIZE, Overlapped())
        assert code == constants.ERROR_INVALID_PARAMETER


@pytest.mark.parametrize(("address", "length", "offset"), [(1, 512, 0), (0, 100, 0), (0, 512, 8)])
def test_unbuffered_io_that_is_no_whole_sectors(address: int, length: int, offset: int) -> None:
    with reported("an offset that is no multiple of 512") as program:
        handle = program.open("disk.img")
        block = Block(PAGE_SIZE)
        code = program.begin(
            "ReadFile", handle, block.address + address, length, Overlapped(offset)
        )
        assert code == constants.ERROR_INVALID_PARAMETER


def test_a_buffer_that_is_not_there() -> None:
    with reported("ReadFile was given 0x10000, where there is no memory") as program:
        handle = program.open("disk.img")
        code = program.begin("ReadFile", handle, 0x10000, 512, Overlapped())
        assert code == constants.ERROR_NOACCESS


@pytest.mark.parametrize("length", [(1 << 32) + 512, -512])
def test_a_number_that_does_not_fit_its_argument(length: int) -> None:
    with reported(f"argument 2 of ReadFile, {length}, does not fit its type") as program:
        handle = program.open("disk.img")
        block = Block(PAGE_SIZE)
        program.begin("ReadFile", handle, block.address, length, Overlapped())
        program.machine.run_until_idle()


def test_a_pin_that_is_never_released() -> None:
    with reported("1 buffers were never let go"):
        pin = Pins([b"abc"], writable=False)
    pin.release()


# -- Left alone -----------------------------------------------------------------


def test_two_reads_may_be_given_the_same_memory(program: Program) -> None:
    handle = program.open("disk.img")
    block = Block(PAGE_SIZE)
    keep = [
        program.begin_pending("ReadFile", handle, block.address, 512, offset)
        for offset in (0, 1024, 2048)
    ]
    program.machine.run_until_idle()
    assert [overlapped.result for overlapped in keep] == [(0, 512)] * 3


def test_memory_is_the_caller_s_again_after_the_end(program: Program) -> None:
    handle = program.open("disk.img")
    pin = Pins([PageBuffer(PAGE_SIZE)], writable=True)
    overlapped = program.begin_pending("ReadFile", handle, pin.addresses[0], 512)
    program.machine.run_until_idle()
    pin.release()
    other = Block(PAGE_SIZE)
    program.begin("ReadFile", handle, other.address, 512, overlapped)
    program.machine.run_until_idle()


def test_a_second_pin_of_the_same_memory_holds_it_too(program: Program) -> None:
    handle = program.open("disk.img")
    buffer = PageBuffer(PAGE_SIZE)
    first, second = Pins([buffer], writable=True), Pins([memoryview(buffer)[:2048]], writable=True)
    overlapped = program.begin_pending("ReadFile", handle, first.addresses[0], 512)
    first.release()
    program.machine.run_until_idle()
    assert overlapped.result == (0, 512)
    second.release()


def test_any_alignment_will_do_where_there_is_a_cache(program: Program) -> None:
    handle = program.open("disk.img", flags=BUFFERED)
    block, overlapped = Block(PAGE_SIZE), Overlapped(3)
    program.begin("ReadFile", handle, block.address + 1, 5, overlapped)
    program.machine.run_until_idle()
    assert content(block.address + 1, 5) == bytes([3, 4, 5, 6, 7])


@pytest.mark.parametrize("act", [lambda block: bytes(block.memory), lambda _: None])
def test_a_read_is_scribbled_over_and_filled_only_at_its_end(
    program: Program, act: Callable[[Block], object]
) -> None:
    handle = program.open("disk.img")
    block = Block(PAGE_SIZE)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512, 512)
    scribble = content(block.address, 512)
    assert len(set(scribble)) == 1
    assert scribble != bytes(512)
    assert overlapped.result[0] == constants.STATUS_PENDING
    act(block)
    assert content(block.address, 512) == scribble
    program.machine.run_until_idle()
    assert content(block.address, 512) == bytes(range(256)) * 2
    assert overlapped.result == (0, 512)
