"""A request from its call to its packet: when there is one, what is in it, and cancels."""

from __future__ import annotations

import random

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import FILE_ZERO_DATA_STRUCT
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows, set_last_error, substituted
from tests.testing.program import (
    BUFFERED,
    READ,
    Overlapped,
    Packet,
    Program,
    content,
    running,
    segments,
)

END_OF_FILE = 0xC0000011
CANCELLED = 0xC0000120
PENDING = constants.ERROR_IO_PENDING


def test_a_call_that_did_not_fail_posts_one_packet_whether_it_was_pending_or_not(
    program: Program,
) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    codes = set()
    for number in range(64):
        overlapped = Overlapped(512 * number)
        codes.add(program.begin("ReadFile", handle, block.address, 512, overlapped))
        program.machine.run_until_idle()
        packets, _ = program.dequeue(port)
        assert packets == [Packet(handle, overlapped.address, 0, 512)]
    assert codes == {0, PENDING}


def test_a_request_may_be_over_before_its_call_says_that_it_is_pending(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    early = 0
    for _ in range(100):
        overlapped = Overlapped()
        code = program.begin("ReadFile", handle, block.address, 512, overlapped)
        early += code == PENDING and overlapped.result == (0, 512)
        program.machine.run_until_idle()
    assert early


def test_the_low_bit_of_the_event_keeps_the_packet_away(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    overlapped = Overlapped(event=1)
    program.begin("ReadFile", handle, block.address, 512, overlapped)
    program.machine.run_until_idle()
    assert overlapped.result == (0, 512)
    assert program.dequeue(port) == ([], constants.WAIT_TIMEOUT)


@pytest.mark.parametrize("offset", [65536, 65536 + 4096])
def test_a_read_behind_the_end_ends_with_end_of_file(program: Program, offset: int) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    overlapped = program.begin_pending("ReadFile", handle, block.address, 512, offset)
    program.machine.run_until_idle()
    assert overlapped.result == (END_OF_FILE, 0)
    to_dos = program.windows.ntdll.RtlNtStatusToDosError
    assert to_dos(END_OF_FILE) == constants.ERROR_HANDLE_EOF


@pytest.mark.parametrize("seed", range(10))
def test_a_planned_failure_strikes_a_read_behind_the_end_as_well(seed: int) -> None:
    with running(seed) as program:
        handle, block = program.open("disk.img"), Block(PAGE_SIZE)
        program.machine.fail_next("ReadFile", constants.ERROR_CRC, pending=True)
        overlapped = Overlapped(65536)
        assert program.begin("ReadFile", handle, block.address, 512, overlapped) in (0, PENDING)
        program.machine.run_until_idle()
        assert program.windows.ntdll.RtlNtStatusToDosError(overlapped.result[0]) == 23
        assert program.machine.faults_injected == 1


def test_a_read_over_the_end_is_short_and_a_write_extends(program: Program) -> None:
    program.machine.files["small"] = b"abc"
    handle, block = program.open("small", flags=BUFFERED), Block(PAGE_SIZE)
    overlapped = Overlapped(1)
    program.begin("ReadFile", handle, block.address, 100, overlapped)
    program.machine.run_until_idle()
    assert overlapped.result == (0, 2)
    program.put(handle, 5, b"xyz")
    assert program.machine.files["small"] == b"abc\0\0xyz"


def test_pages_are_scattered_and_gathered_in_the_order_of_their_segments(program: Program) -> None:
    handle, pages = program.open("disk.img"), Block(4 * PAGE_SIZE)
    order = [pages.address + page * PAGE_SIZE for page in (2, 0, 3, 1)]
    data = random.Random(1).randbytes(4 * PAGE_SIZE)
    pages.memory[:] = data
    array = segments(*order)
    program.begin("WriteFileGather", handle, array.address, 4 * PAGE_SIZE, Overlapped(4096))
    program.machine.run_until_idle()
    gathered = b"".join(content(page, PAGE_SIZE) for page in order)
    assert program.machine.files["disk.img"][4096 : 4096 + 4 * PAGE_SIZE] == gathered
    program.begin("ReadFileScatter", handle, array.address, 4 * PAGE_SIZE, Overlapped(4096))
    program.machine.run_until_idle()
    assert pages.memory[:] == data


def test_zeroing_a_range_is_a_control(program: Program) -> None:
    handle, block, overlapped = program.open("disk.img"), Block(PAGE_SIZE), Overlapped()
    block.memory[:16] = FILE_ZERO_DATA_STRUCT.pack(10, 20)
    program.kernel32.DeviceIoControl(
        handle, constants.FSCTL_SET_ZERO_DATA, block.address, 16, 0, 0, 0, overlapped.address
    )
    program.machine.run_until_idle()
    assert overlapped.result == (0, 0)
    assert program.machine.files["disk.img"][8:22] == b"\x08\x09" + bytes(10) + b"\x14\x15"


def test_requests_overtake_each_other() -> None:
    with SimulatedWindows(seed=2, depth=8) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(65536)
        handle, block = program.open("disk.img"), Block(PAGE_SIZE)
        port = program.port(handle)
        begun = [
            program.begin_pending("ReadFile", handle, block.address, 512).address for _ in range(30)
        ]
        windows.run_until_idle()
        packets, _ = program.dequeue(port)
        ended = [packet.overlapped for packet in packets if packet.overlapped in begun]
        assert sorted(ended) == sorted(begun)
        assert ended != begun


def test_a_device_that_does_one_thing_at_a_time_does_it_in_order() -> None:
    with SimulatedWindows(seed=2, depth=1) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(65536)
        handle, block = program.open("disk.img"), Block(PAGE_SIZE)
        port = program.port(handle)
        begun = [
            program.begin_pending("ReadFile", handle, block.address, 512).address for _ in range(30)
        ]
        windows.run_until_idle()
        packets, _ = program.dequeue(port)
        assert [packet.overlapped for packet in packets if packet.overlapped in begun] == begun


# -- Cancel ---------------------------------------------------------------------


def test_a_cancel_wins_or_loses(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    results = []
    for _ in range(50):
        overlapped = program.begin_pending("ReadFile", handle, block.address, 512)
        assert program.kernel32.CancelIoEx(handle, overlapped.address)
        assert program.machine.in_flight == 1  # asked for, and not yet done
        program.machine.run_until_idle()
        results.append(overlapped.result)
    assert set(results) == {(CANCELLED, 0), (0, 512)}


def test_a_cancel_of_nothing_says_so(program: Program) -> None:
    handle, overlapped = program.open("disk.img"), Overlapped()
    for address in (0, overlapped.address):
        code = program.failure(program.kernel32.CancelIoEx(handle, address))
        assert code == constants.ERROR_NOT_FOUND


def test_a_cancel_names_one_request_or_all(program: Program) -> None:
    reader, _ = program.pipe()
    blocks = [Block(PAGE_SIZE) for _ in range(3)]
    reads = [Overlapped() for _ in blocks]
    for block, overlapped in zip(blocks, reads, strict=True):
        assert program.begin("ReadFile", reader, block.address, 8, overlapped) == PENDING
    program.kernel32.CancelIoEx(reader, reads[1].address)
    program.machine.run_until_idle()
    assert [overlapped.result[0] for overlapped in reads] == [0x103, CANCELLED, 0x103]
    program.kernel32.CancelIoEx(reader, 0)
    program.machine.run_until_idle()
    assert [overlapped.result[0] for overlapped in reads] == [CANCELLED] * 3


# -- Pipes ----------------------------------------------------------------------


def test_a_read_of_a_pipe_pends_until_the_other_end_writes(program: Program) -> None:
    reader, writer = program.pipe()
    target, source, overlapped = Block(PAGE_SIZE), Block(PAGE_SIZE), Overlapped()
    source.memory[:5] = b"hello"
    program.begin("ReadFile", reader, target.address, 100, overlapped)
    program.machine.advance(3600)
    assert overlapped.result[0] == constants.STATUS_PENDING
    program.begin("WriteFile", writer, source.address, 5, Overlapped())
    assert overlapped.result == (0, 5)
    assert target.memory[:5] == b"hello"


def test_closing_one_end_of_a_pipe_fails_what_pends_at_the_other(program: Program) -> None:
    reader, writer = program.pipe()
    block, overlapped = Block(PAGE_SIZE), Overlapped()
    program.begin("ReadFile", reader, block.address, 1, overlapped)
    program.close(writer)
    to_dos = program.windows.ntdll.RtlNtStatusToDosError
    assert to_dos(overlapped.result[0]) == constants.ERROR_BROKEN_PIPE


# -- Planned failures -----------------------------------------------------------


def test_a_planned_failure_is_one_of_the_call(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    program.machine.fail_next("ReadFile", constants.ERROR_CRC, after=1, calls=2)
    codes = []
    for _ in range(4):
        overlapped = Overlapped()
        codes.append(program.begin("ReadFile", handle, block.address, 512, overlapped))
        program.machine.run_until_idle()
        packets, _ = program.dequeue(port)
        assert len(packets) == (codes[-1] != constants.ERROR_CRC)
    assert [code == constants.ERROR_CRC for code in codes] == [False, True, True, False]
    assert program.machine.operations == 2
    assert program.machine.faults_injected == 2


@pytest.mark.parametrize("code", [constants.ERROR_IO_DEVICE, constants.ERROR_DISK_FULL, 1450])
def test_a_planned_failure_may_come_after_the_call(program: Program, code: int) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    program.machine.fail_next("WriteFile", code, pending=True)
    overlapped = Overlapped()
    assert program.begin("WriteFile", handle, block.address, 512, overlapped) in (0, PENDING)
    program.machine.run_until_idle()
    status, transferred = overlapped.result
    assert program.windows.ntdll.RtlNtStatusToDosError(status) == code
    assert transferred == 0
    assert program.dequeue(port)[0] == [Packet(handle, overlapped.address, status, 0)]
    assert program.machine.files["disk.img"] == bytes(range(256)) * 256


def test_a_planned_failure_of_a_call_that_is_refused_is_not_the_next_ones(
    program: Program,
) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    port = program.port(handle)
    program.machine.fail_next("ReadFile", constants.ERROR_CRC, pending=True)
    refused = program.begin("ReadFile", 0xBAD0, block.address, 512, Overlapped())
    assert refused == constants.ERROR_INVALID_HANDLE
    overlapped = Overlapped()
    assert program.begin("WriteFile", handle, block.address, 512, overlapped) in (0, PENDING)
    program.machine.run_until_idle()
    assert overlapped.result == (0, 512)
    assert program.dequeue(port)[0] == [Packet(handle, overlapped.address, 0, 512)]


def test_a_function_that_is_not_used_or_never_pending_cannot_be_planned_to(
    program: Program,
) -> None:
    with pytest.raises(ValueError, match="no function ReadFileEx"):
        program.machine.fail_next("ReadFileEx", 5)
    with pytest.raises(ValueError, match="CreateFileW is never pending"):
        program.machine.fail_next("CreateFileW", 5, pending=True)


def test_a_substitute_in_front_of_the_simulation_can_go_on_to_it(program: Program) -> None:
    def create(name: str, *others: int) -> int:
        if name == "forbidden":
            set_last_error(constants.ERROR_ACCESS_DENIED)
            return constants.INVALID_HANDLE_VALUE
        return real.CreateFileW(name, *others)

    real = program.kernel32
    with substituted(kernel32={"CreateFileW": create}), Program(program.machine) as inner:
        assert inner.create("forbidden")[1] == constants.ERROR_ACCESS_DENIED
        assert inner.create("missing")[1] == constants.ERROR_FILE_NOT_FOUND
        assert inner.create("disk.img")[1] == 0


def test_a_control_code_needs_the_rights_that_it_says(program: Program) -> None:
    handle = program.open("disk.img", READ)
    program.port(handle)
    given = Block(PAGE_SIZE)
    FILE_ZERO_DATA_STRUCT.pack_into(given.memory, 0, 0, 512)
    overlapped = Overlapped()
    returned = program.kernel32.DeviceIoControl(
        handle, constants.FSCTL_SET_ZERO_DATA, given.address, 16, 0, 0, 0, overlapped.address
    )
    assert program.failure(returned) == constants.ERROR_ACCESS_DENIED


def test_a_call_that_returns_true_has_succeeded(program: Program) -> None:
    handle = program.open("disk.img")
    program.port(handle)
    codes, buffer = set(), Block(PAGE_SIZE)
    for _ in range(60):
        overlapped = Overlapped(1 << 20)  # far behind the end
        codes.add(program.begin("ReadFile", handle, buffer.address, 512, overlapped))
        program.machine.run_until_idle()
    assert codes == {constants.ERROR_IO_PENDING, constants.ERROR_HANDLE_EOF}
