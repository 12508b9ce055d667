"""OverlappedFile on handles of Windows: files, and pipes, whose reads really pend."""

from __future__ import annotations

import contextlib
import gc
import random
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from types import FrameType
from typing import Any

import pytest

from pyvhdmp import CompletionPort, InvalidInputError, OverlappedFile, PageBuffer
from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.register import KernelCall
from pyvhdmp.testing import set_last_error, substituted
from tests.support import windows
from tests.support.files import FilePath
from tests.support.interrupts import every_moment

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 30
FSCTL_PIPE_PEEK = 0x0011400C


@pytest.fixture
def port() -> Iterator[CompletionPort]:
    with CompletionPort() as port:
        yield port
        assert port.strays == 0
    assert port.slots.free == port.slots.total


@pytest.fixture
def pipe(port: CompletionPort) -> Iterator[tuple[OverlappedFile, OverlappedFile]]:
    """Both ends of a pipe: what is written to one is read from the other."""
    server, client = windows.pipe_handles()
    reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
    yield reader, writer
    reader.close(cancel=True)
    writer.close(cancel=True)


@pytest.fixture
def content() -> bytes:
    return random.Random(1).randbytes(64 * PAGE_SIZE)


@pytest.fixture
def path(tmp_path: FilePath, content: bytes) -> FilePath:
    path = tmp_path / "file"
    path.write_bytes(content)
    return path


@pytest.fixture
def file(path: FilePath, port: CompletionPort) -> Iterator[OverlappedFile]:
    with OverlappedFile(windows.create_file(path), port=port) as file:
        yield file


# -- Reading and writing --------------------------------------------------------


def test_read_at_fills_the_buffer_from_an_offset(file: OverlappedFile, content: bytes) -> None:
    buffer = bytearray(1000)
    assert file.read_at(buffer, 77).result(SECONDS) == 1000
    assert buffer == content[77:1077]


def test_write_at_writes_bytes_and_other_read_only_buffers(
    file: OverlappedFile, path: FilePath
) -> None:
    assert file.write_at(b"abcd", 3).result(SECONDS) == 4
    assert file.write_at(memoryview(b"xefghx")[1:5], 7).result(SECONDS) == 4
    assert path.read_bytes()[3:11] == b"abcdefgh"


def test_a_read_at_the_end_is_short_and_behind_it_is_zero(
    file: OverlappedFile, content: bytes
) -> None:
    buffer = bytearray(100)
    assert file.read_at(buffer, len(content) - 10).result(SECONDS) == 10
    assert file.read_at(buffer, len(content)).result(SECONDS) == 0
    assert file.read_at(buffer, len(content) + 5000).result(SECONDS) == 0


def test_no_bytes_are_read_and_written(file: OverlappedFile) -> None:
    assert file.read_at(bytearray(), 0).result(SECONDS) == 0
    assert file.write_at(b"", 0).result(SECONDS) == 0


@pytest.mark.parametrize("pages", [1, 2, 16, 256, 300])
def test_pages_are_scattered_and_gathered(path: FilePath, port: CompletionPort, pages: int) -> None:
    data = random.Random(pages).randbytes(pages * PAGE_SIZE)
    source, target = PageBuffer(len(data)), PageBuffer(len(data))
    source[:] = data
    places = list(range(0, len(data), PAGE_SIZE))
    random.Random(2).shuffle(places)
    with OverlappedFile(windows.create_file(path, unbuffered=True), port=port) as file:
        gathered = [memoryview(source)[place : place + PAGE_SIZE] for place in places]
        assert file.write_gather_at(gathered, PAGE_SIZE).result(SECONDS) == len(data)
        scattered = [memoryview(target)[place : place + PAGE_SIZE] for place in places]
        assert file.read_scatter_at(scattered, PAGE_SIZE).result(SECONDS) == len(data)
    assert target[:] == data
    written = b"".join(data[place : place + PAGE_SIZE] for place in places)
    assert path.read_bytes()[PAGE_SIZE : PAGE_SIZE + len(data)] == written


def test_buffers_that_are_no_whole_pages_are_refused_by_number(file: OverlappedFile) -> None:
    page = PageBuffer(2 * PAGE_SIZE)
    for bad in (memoryview(page)[:100], memoryview(page)[512 : 512 + PAGE_SIZE]):
        with pytest.raises(InvalidInputError, match=r"buffers\[1\] is not made of whole"):
            file.read_scatter_at([memoryview(page)[:PAGE_SIZE], bad], 0)


def test_a_buffer_that_cannot_be_written_or_is_not_contiguous_is_refused(
    file: OverlappedFile,
) -> None:
    with pytest.raises(InvalidInputError, match="cannot be used"):
        file.read_at(b"read only", 0)
    with pytest.raises(InvalidInputError, match="cannot be used"):
        file.write_at(memoryview(b"abcdef")[::2], 0)


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 64])
def test_an_offset_that_no_file_has_is_refused(file: OverlappedFile, offset: int) -> None:
    data = bytearray(8)
    for call in (file.read_at, file.write_at):
        with pytest.raises(InvalidInputError, match=f"offset {offset} is not in"):
            call(data, offset)
    with pytest.raises(InvalidInputError, match=f"offset {offset} is not in"):
        file.read_scatter_at([], offset)
    data.append(1)  # nothing holds it


def test_device_io_control_hands_both_buffers_over(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    writer.write_at(b"hello", 0).result(SECONDS)
    output = bytearray(16 + 5)
    assert reader.device_io_control(FSCTL_PIPE_PEEK, None, output).result(SECONDS) == 21
    assert output[16:] == b"hello"
    assert struct.unpack_from("<I", output, 4) == (5,)


def test_a_device_io_control_that_fails_says_so(file: OverlappedFile) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # which one is Windows' choice
        file.device_io_control(FSCTL_PIPE_PEEK, None, bytearray(16)).result(SECONDS)
    assert "DeviceIoControl" in caught.value.__notes__[0]


def test_flush_is_a_future_and_leaves_the_port_free(file: OverlappedFile) -> None:
    file.write_at(b"x", 0).result(SECONDS)
    assert file.flush().result(SECONDS) is None
    assert file.port.in_flight == 0


# -- What really pends ----------------------------------------------------------


def test_the_depth_is_the_number_of_pending_operations(
    port: CompletionPort, pipe: tuple[OverlappedFile, OverlappedFile]
) -> None:
    reader, writer = pipe
    futures = []
    for number in range(1, 65):
        futures.append(reader.read_at(bytearray(1), 0))
        assert port.in_flight == number
    for number in range(10):
        writer.write_at(bytes([number]), 0).result(SECONDS)
    wait(futures[:10], SECONDS)
    windows.wait_until(lambda: port.in_flight == 54)
    assert port.peak_in_flight in (64, 65)  # and the write of one byte, if it was slow
    reader.close(cancel=True)
    assert port.in_flight == 0


def test_pending_reads_finish_in_order_with_what_was_written(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    buffers = [bytearray(1) for _ in range(64)]
    futures = [reader.read_at(buffer, 0) for buffer in buffers]
    writer.write_at(bytes(range(64)), 0).result(SECONDS)
    assert [future.result(SECONDS) for future in futures] == [1] * 64
    assert [buffer[0] for buffer in buffers] == list(range(64))


def test_rule_7_one_of_64_is_cancelled_and_the_others_go_on(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    buffers = [bytearray(1) for _ in range(64)]
    futures = [reader.read_at(buffer, 0) for buffer in buffers]
    assert futures[20].running()
    assert futures[20].cancel() is False
    with pytest.raises(CancelledError):
        futures[20].result(SECONDS)
    assert futures[20].cancelled()
    others = futures[:20] + futures[21:]
    assert not any(future.done() for future in others)
    writer.write_at(bytes(range(63)), 0).result(SECONDS)
    assert [future.result(SECONDS) for future in others] == [1] * 63
    del buffers[20]  # what it holds is not promised
    assert [buffer[0] for buffer in buffers] == list(range(63))


def test_rule_7_a_buffer_is_held_until_the_kernel_confirms(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, _ = pipe
    buffer = bytearray(8)
    future = reader.read_at(buffer, 0)
    with pytest.raises(BufferError):
        buffer.append(1)
    future.cancel()
    wait([future], SECONDS)
    buffer.append(1)


def test_rule_9_a_slot_is_in_use_from_its_call_to_its_packet(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    slots = reader.port.slots
    futures = [reader.read_at(bytearray(1), 0) for _ in range(8)]
    assert slots.total - slots.free == 8
    for number, future in enumerate(futures):
        writer.write_at(b"x", 0).result(SECONDS)
        future.result(SECONDS)
        left = 7 - number  # in use: the last one is given back when its future is finished
        windows.wait_until(lambda left=left: slots.total - slots.free == left)  # type: ignore[misc]  # mypy cannot infer it
        assert slots.total - slots.free == left


def test_rule_9_a_slot_is_in_use_until_the_kernel_confirms_a_cancel() -> None:
    asked: list[int] = []

    def ask(_: int, overlapped: int) -> int:
        asked.append(overlapped)  # and it is too late: the request goes on
        return 1

    with substituted(kernel32={"CancelIoEx": ask}), CompletionPort() as port:
        server, client = windows.pipe_handles()
        reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
        future = reader.read_at(bytearray(1), 0)
        (address,) = port.operations
        future.cancel()
        in_use = port.slots.total - port.slots.free
        writer.write_at(b"x", 0).result(SECONDS)
        assert future.result(SECONDS) == 1
        reader.close()
        writer.close()
    assert asked == [address]
    assert in_use == 1, "slots in use"


def test_a_second_cancel_and_one_after_the_end_do_nothing(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    first = reader.read_at(bytearray(1), 0)
    first.cancel()
    first.cancel()
    wait([first], SECONDS)
    second = reader.read_at(bytearray(1), 0)  # it may have the slot of the first
    first.cancel()
    writer.write_at(b"x", 0).result(SECONDS)
    assert second.result(SECONDS) == 1


def test_cancel_of_the_file_cancels_all_that_is_in_flight(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, _ = pipe
    futures = [reader.read_at(bytearray(1), 0) for _ in range(64)]
    reader.cancel()
    wait(futures, SECONDS)
    assert all(future.cancelled() for future in futures)
    assert not reader.closed


def test_rule_8_close_waits_for_64_pending_and_refuses_new_ones(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    futures = [reader.read_at(bytearray(1), 0) for _ in range(64)]
    closer = threading.Thread(target=reader.close)
    closer.start()
    windows.wait_until(lambda: reader.closed)
    with pytest.raises(ValueError, match="closed file"):
        reader.read_at(bytearray(1), 0)
    writer.write_at(bytes(63), 0).result(SECONDS)
    closer.join(0.2)
    assert closer.is_alive()  # one is still pending
    writer.write_at(bytes(1), 0).result(SECONDS)
    closer.join(SECONDS)
    assert not closer.is_alive()
    assert all(future.done() and future.result() == 1 for future in futures)


def test_rule_8_close_with_cancel_ends_64_pending(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, _ = pipe
    futures = [reader.read_at(bytearray(1), 0) for _ in range(64)]
    reader.close(cancel=True)
    assert all(future.cancelled() for future in futures)
    reader.close()


def test_rule_8_close_in_a_callback_does_not_wait_for_itself(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    closed: list[bool] = []
    last = [reader.read_at(bytearray(1), 0) for _ in range(2)][1]
    first = reader.read_at(bytearray(1), 0)

    def close(_: Future[int]) -> None:
        reader.close()
        closed.append(reader.closed)

    last.add_done_callback(close)
    writer.write_at(bytes(2), 0).result(SECONDS)
    windows.wait_until(lambda: bool(closed))
    assert closed == [True]
    assert not first.done()
    writer.write_at(bytes(1), 0).result(SECONDS)
    assert first.result(SECONDS) == 1
    reader.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the reader, which nobody closes
def test_rule_9_pending_reads_survive_the_loss_of_every_reference(
    port: CompletionPort,
) -> None:
    server, client = windows.pipe_handles()
    reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
    done: list[int] = []
    for _ in range(64):
        future = reader.read_at(bytearray(16), 0)
        future.add_done_callback(lambda future: done.append(future.result()))
    del future
    alive = weakref.ref(reader)
    del reader
    for _ in range(3):
        gc.collect()
        bytearray(1 << 16)
    assert alive() is not None
    assert port.in_flight == 64
    for _ in range(64):
        writer.write_at(b"0123456789abcdef", 0).result(SECONDS)
    windows.wait_until(lambda: len(done) == 64)
    assert done == [16] * 64
    writer.close()
    if not windows.HAS_GIL:
        gc.collect()  # to which some references are left then
    windows.wait_until(lambda: alive() is None)


@pytest.mark.parametrize("wish", [SystemExit, KeyboardInterrupt, RuntimeError])
def test_rule_10_a_callback_that_raises_does_not_stop_the_thread(
    file: OverlappedFile, wish: type[BaseException]
) -> None:
    def raising(_: Future[int]) -> None:
        raise wish

    called = threading.Event()
    for _ in range(20):
        future = file.read_at(bytearray(8), 0)
        with contextlib.suppress(wish):  # it is called here if the future is finished already
            future.add_done_callback(raising)
        future.add_done_callback(lambda _: called.set())
    assert called.wait(SECONDS)
    assert file.read_at(bytearray(8), 0).result(SECONDS) == 8


def test_rule_10_callbacks_run_on_the_completion_thread(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    names: list[str] = []
    finished = threading.Event()
    future = reader.read_at(bytearray(1), 0)
    flush = writer.flush()
    for each in (future, flush):
        each.add_done_callback(lambda _: names.append(threading.current_thread().name))
    future.add_done_callback(lambda _: finished.set())
    writer.write_at(b"x", 0)
    assert finished.wait(SECONDS)
    wait([flush], SECONDS)
    assert names[-1] == "pyvhdmp-port"


def test_a_callback_that_waits_is_told_so_and_hangs_nothing(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    never = reader.read_at(bytearray(1), 0)
    errors: list[BaseException] = []

    def waiting(_: object) -> None:
        for wait_for in (never.result, never.exception):
            try:
                wait_for()
            except RuntimeError as error:
                errors.append(error)

    writer.port.call_soon(lambda: waiting(None))
    windows.wait_until(lambda: len(errors) == 2)
    assert "a done-callback cannot wait" in str(errors[0])


def test_a_callback_can_start_the_next_request(file: OverlappedFile) -> None:
    count = 0
    over = threading.Event()

    def again(_: object) -> None:
        nonlocal count
        count += 1
        if count == 100:
            over.set()
        else:
            file.read_at(bytearray(8), 0).add_done_callback(again)

    again(None)
    assert over.wait(SECONDS)


@pytest.mark.parametrize("function", ["read", "control"])
def test_an_error_of_another_call_on_the_thread_is_not_taken_for_ours(
    pipe: tuple[OverlappedFile, OverlappedFile], function: str
) -> None:
    """A finalizer that fails a call of its own leaves its code as the thread's last error."""
    reader, _ = pipe
    kernel32 = reader.port.windows.kernel32

    def tracer(frame: FrameType, event: str, argument: object) -> Any:
        if windows.is_in_simulation(frame):
            return None  # within a call into the kernel nothing of the caller's runs
        frame.f_trace_opcodes = True
        if event == "opcode":
            kernel32.CloseHandle(0)  # fails with 6
        return tracer

    before = sys.gettrace()
    peeked = bytearray(16)
    for _ in range(3):
        buffer = bytearray(8)
        sys.settrace(tracer)
        try:
            if function == "read":
                future = reader.read_at(buffer, 0)
            else:
                future = reader.device_io_control(FSCTL_PIPE_PEEK, None, peeked)
        finally:
            sys.settrace(before)
        if function == "control":
            assert future.result(SECONDS) == 16
        else:
            assert not future.done()
            with pytest.raises(BufferError):
                buffer.append(1)
    reader.cancel()


class OnDrop:
    """Runs something when it is collected, at a moment nobody chooses."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cycle = self

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # the file may be closed by then
            self.call()


def test_a_finalizer_may_use_the_file_that_is_in_use(
    pipe: tuple[OverlappedFile, OverlappedFile],
) -> None:
    reader, writer = pipe
    threshold = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        for _ in range(300):
            future = reader.read_at(bytearray(1), 0)
            OnDrop(future.cancel)
            OnDrop(lambda: writer.write_at(b"x", 0))
            OnDrop(reader.cancel)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    reader.cancel()
    windows.wait_until(lambda: reader.port.in_flight == 0)


def test_a_port_that_is_closed_refuses_requests_of_its_files(path: FilePath) -> None:
    port = CompletionPort()
    file = OverlappedFile(windows.create_file(path), port=port)
    port.close()
    with pytest.raises(ValueError, match="closed"):
        file.read_at(bytearray(1), 0)


def test_detach_in_a_callback_is_refused(file: OverlappedFile) -> None:
    errors: list[Exception] = []
    over = threading.Event()

    def detach(_: object) -> None:
        try:
            file.detach()
        except RuntimeError as error:
            errors.append(error)
        over.set()

    file.port.call_soon(lambda: detach(None))
    assert over.wait(SECONDS)
    assert "done-callback" in str(errors[0])
    assert not file.closed


# -- Handles --------------------------------------------------------------------


def test_a_synchronous_handle_is_refused_and_stays_the_caller_s(
    path: FilePath, port: CompletionPort
) -> None:
    handle = windows.create_file(path, overlapped=False)
    with pytest.raises(InvalidInputError, match="opened without FILE_FLAG_OVERLAPPED"):
        OverlappedFile(handle, port=port)
    windows.close_handle(handle)


def test_what_is_no_handle_is_an_error_of_windows(port: CompletionPort) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # checked below
        OverlappedFile(0x7FFF0, port=port)
    assert windows.winerror(caught.value) == 6


def test_a_handle_that_is_bound_already_is_refused(path: FilePath, port: CompletionPort) -> None:
    handle = windows.create_file(path)
    with OverlappedFile(handle, port=port):
        with pytest.raises(OSError) as caught:  # noqa: PT011  # checked below
            OverlappedFile(handle, port=port)
        assert windows.winerror(caught.value) == constants.ERROR_INVALID_PARAMETER


def test_ctrl_c_at_any_moment_of_its_making_leaves_the_handle_the_caller_s(
    path: FilePath, port: CompletionPort
) -> None:
    before = windows.handle_count()
    for ctrl_c in every_moment("pyvhdmp.overlapped", "pyvhdmp.calls", "pyvhdmp.completion"):
        handle, made = windows.create_file(path), list[OverlappedFile]()
        make = map(partial(OverlappedFile, port=port), [handle])
        with ctrl_c:
            made.extend(make)  # so that no Ctrl+C comes between the making and the noting
        if made:
            made.pop().close()
        else:
            windows.close_handle(handle)
        assert windows.handle_count() <= before, ctrl_c
    assert ctrl_c.number > 10


def test_ctrl_c_at_any_moment_of_a_close_leaves_the_rest_to_the_next(
    path: FilePath, port: CompletionPort
) -> None:
    before = windows.handle_count()
    for ctrl_c in every_moment("pyvhdmp.overlapped", "pyvhdmp.waiting"):
        file = OverlappedFile(windows.create_file(path), port=port)
        with ctrl_c:
            file.close()
        file.close()
        assert windows.handle_count() <= before, ctrl_c
    assert ctrl_c.number > 10


def test_ctrl_c_at_any_moment_of_a_detach_loses_no_handle(
    path: FilePath, port: CompletionPort
) -> None:
    before = windows.handle_count()
    for ctrl_c in every_moment("pyvhdmp.overlapped", "pyvhdmp.waiting"):
        file, handles = OverlappedFile(windows.create_file(path), port=port), list[int]()
        detach = map(OverlappedFile.detach, [file])
        with ctrl_c:
            handles.extend(detach)
        file.close()
        if handles:
            windows.close_handle(handles.pop())
        assert windows.handle_count() <= before, ctrl_c
    assert ctrl_c.number > 10


def test_detach_hands_the_open_handle_over(path: FilePath, port: CompletionPort) -> None:
    file = OverlappedFile(windows.create_file(path), port=port)
    handle = file.detach()
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.detach()
    windows.close_handle(handle)


def test_handles_are_counted(path: FilePath) -> None:
    """What the tests for leaks rely on."""
    before = windows.handle_count()
    handles = [windows.create_file(path) for _ in range(20)]
    with windows.closing(*handles):
        assert windows.handle_count() >= before + 18
    assert windows.handle_count() <= before + 2


def test_a_file_left_open_warns_and_is_closed(path: FilePath, port: CompletionPort) -> None:
    before = windows.handle_count()
    file = OverlappedFile(windows.create_file(path), port=port)
    with pytest.warns(ResourceWarning, match="unclosed <OverlappedFile handle"):
        del file
    assert windows.handle_count() == before


def test_repr_says_what_it_is(path: FilePath, port: CompletionPort) -> None:
    file = OverlappedFile(windows.create_file(path), port=port)
    assert repr(file) == f"<OverlappedFile handle {file.handle:#x}>"
    file.close()
    assert repr(file) == "<OverlappedFile closed>"


# -- Windows that misbehaves ----------------------------------------------------


def test_a_call_that_fails_at_once_fails_its_future_and_frees_its_slot(path: FilePath) -> None:
    def failing(*_: int) -> int:
        set_last_error(constants.ERROR_CRC)
        return 0

    with substituted(kernel32={"ReadFile": failing}), CompletionPort() as port:
        file = OverlappedFile(windows.create_file(path), port=port)
        buffer = bytearray(8)
        future = file.read_at(buffer, 0)
        assert windows.winerror(future.exception(SECONDS)) == constants.ERROR_CRC
        buffer.append(1)
        assert port.in_flight == 0
        file.close()


@pytest.mark.parametrize("is_entered", [False, True])
def test_ctrl_c_just_before_a_call_leaves_nothing_behind(
    path: FilePath, monkeypatch: pytest.MonkeyPatch, is_entered: bool
) -> None:
    with CompletionPort() as port:
        file = OverlappedFile(windows.create_file(path), port=port)

        class Interrupting(dict[int, KernelCall]):
            def __setitem__(self, address: int, operation: KernelCall) -> None:
                monkeypatch.undo()
                if is_entered:
                    port.operations[address] = operation
                raise KeyboardInterrupt

        monkeypatch.setattr(file, "_operations", Interrupting())
        buffer = bytearray(8)
        with pytest.raises(KeyboardInterrupt):
            file.write_at(buffer, 0)
        assert port.in_flight == 0
        assert file.write_at(buffer, 0).result(SECONDS) == 8  # and what comes after it works
        file.close()
        buffer.append(1)


def test_ctrl_c_while_a_flush_is_begun_leaves_nothing_behind(
    path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CompletionPort() as port:
        file = OverlappedFile(windows.create_file(path), port=port)
        real, interrupted = port.call_soon, threading.Event()

        def interrupting(call: Callable[[], object]) -> None:
            if not interrupted.is_set():
                interrupted.set()
                raise KeyboardInterrupt
            real(call)

        monkeypatch.setattr(port, "call_soon", interrupting)
        with pytest.raises(KeyboardInterrupt):
            file.flush()
        assert file.flush().result(SECONDS) is None  # and what comes after it works
        file.close()


def test_ctrl_c_right_after_a_call_that_failed_leaves_nothing_behind(
    path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: int) -> int:
        set_last_error(constants.ERROR_CRC)
        return 0

    with substituted(kernel32={"WriteFile": failing}), CompletionPort() as port:
        file = OverlappedFile(windows.create_file(path), port=port)
        call_soon, interrupted = port.call_soon, threading.Event()

        def interrupting(call: Callable[[], object]) -> None:
            if not interrupted.is_set():
                interrupted.set()
                raise KeyboardInterrupt
            call_soon(call)

        monkeypatch.setattr(port, "call_soon", interrupting)
        buffer = bytearray(8)
        with pytest.raises(KeyboardInterrupt):
            file.write_at(buffer, 0)
        file.close()  # does not wait for what never began
        buffer.append(1)


def test_a_packet_for_a_call_that_failed_finishes_it_once(path: FilePath) -> None:
    """Some Windows-alikes post one; Windows does not."""
    posted: list[int] = []

    def failing(_file: int, _buffer: int, _length: int, _null: int, overlapped: int) -> int:
        posted.append(overlapped)
        set_last_error(constants.ERROR_CRC)
        return 0

    with substituted(kernel32={"ReadFile": failing}), CompletionPort() as port:
        file = OverlappedFile(windows.create_file(path), port=port)
        finished: list[Future[int]] = []
        for _ in range(100):
            file.read_at(bytearray(8), 0).add_done_callback(finished.append)
        post = port.windows.kernel32.PostQueuedCompletionStatus
        for overlapped in posted:
            assert post(port._register.handle, 0, 1, overlapped)
        windows.wait_until(lambda: port.strays == 100)
        assert len(finished) == 100
        assert file.write_at(b"x", 0).result(SECONDS) == 1
        file.close()


def test_a_stray_packet_does_not_finish_an_operation_that_still_pends() -> None:
    with CompletionPort() as port:
        server, client = windows.pipe_handles()
        reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
        future = reader.read_at(bytearray(4), 0)
        (address,) = port.operations
        post = port.windows.kernel32.PostQueuedCompletionStatus
        assert post(port._register.handle, 4, 1, address)
        windows.wait_until(lambda: port.strays == 1)
        assert not future.done()
        writer.write_at(b"abcd", 0)
        assert future.result(SECONDS) == 4
        reader.close()
        writer.close()
