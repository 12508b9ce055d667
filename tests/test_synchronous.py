"""Calls that their own thread waits for, on files and on pipes, whose reads really pend."""

from __future__ import annotations

import _thread
import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

import pytest

from pyvhdmp import CompletionPort, OverlappedFile, PageBuffer
from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import OVERLAPPED_RESULT
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.synchronous import call_and_wait
from pyvhdmp.testing import set_last_error, substituted
from tests.support import windows
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 30
PAGES = 64


@pytest.fixture
def reader(port: CompletionPort) -> Iterator[OverlappedFile]:
    """The end of a pipe that nobody has written to, so that a read pends."""
    server, client = windows.pipe_handles()
    reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
    yield reader
    reader.close(cancel=True)
    writer.close(cancel=True)


@pytest.fixture
def content() -> bytes:
    return random.Random(1).randbytes(PAGES * PAGE_SIZE)


@pytest.fixture
def file(tmp_path: FilePath, content: bytes, port: CompletionPort) -> Iterator[OverlappedFile]:
    path = tmp_path / "file"
    path.write_bytes(content)
    with OverlappedFile(windows.create_file(path, unbuffered=True), port=port) as file:
        yield file


def read(file: OverlappedFile, buffer: PageBuffer, offset: int = 0) -> tuple[int, int, bool]:
    call = file.port.windows.kernel32.ReadFile
    return call_and_wait(file, call, buffer.address, len(buffer), offset)


def test_pages_are_read_and_no_packet_comes(
    file: OverlappedFile, port: CompletionPort, content: bytes
) -> None:
    buffer = PageBuffer(PAGE_SIZE)
    for page in (0, 5, PAGES - 1):
        assert read(file, buffer, page * PAGE_SIZE) == (0, PAGE_SIZE, False)
        assert buffer[:] == content[page * PAGE_SIZE :][:PAGE_SIZE]
    assert port.calls == 3
    # What has been posted before this would be dequeued before this.
    assert file.read_at(buffer, 0).result(SECONDS) == PAGE_SIZE


def test_it_can_be_done_on_the_completion_thread(
    file: OverlappedFile, port: CompletionPort, content: bytes
) -> None:
    done: Future[bytes] = Future()

    def callback(_: object) -> None:
        buffer = PageBuffer(PAGE_SIZE)
        read(file, buffer, PAGE_SIZE)
        done.set_result(buffer[:])

    file.read_at(PageBuffer(PAGE_SIZE), 0).add_done_callback(callback)
    assert done.result(SECONDS) == content[PAGE_SIZE : 2 * PAGE_SIZE]


def test_rule_12_many_threads_read_at_once_between_requests_that_post_packets(
    file: OverlappedFile, port: CompletionPort, content: bytes
) -> None:
    def work(seed: int) -> None:
        chance, buffer = random.Random(seed), PageBuffer(PAGE_SIZE)
        for _ in range(50):
            at = chance.randrange(PAGES) * PAGE_SIZE
            if chance.random() < 0.3:
                assert file.read_at(buffer, at).result(SECONDS) == PAGE_SIZE
            else:
                assert read(file, buffer, at) == (0, PAGE_SIZE, False)
            assert buffer[:] == content[at : at + PAGE_SIZE]

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result(SECONDS)
    assert port.calls == 8 * 50


def test_a_call_that_fails_tells_its_code(file: OverlappedFile, port: CompletionPort) -> None:
    def failing(*_: int) -> int:
        set_last_error(constants.ERROR_CRC)
        return 0

    buffer = PageBuffer(PAGE_SIZE)
    assert call_and_wait(file, failing, buffer.address, PAGE_SIZE, 0)[:2] == (
        constants.ERROR_CRC,
        0,
    )


def test_a_read_behind_the_end_says_so(file: OverlappedFile) -> None:
    code, transferred, _ = read(file, PageBuffer(PAGE_SIZE), PAGES * PAGE_SIZE)
    assert (code, transferred) == (constants.ERROR_HANDLE_EOF, 0)


def test_an_event_that_cannot_be_made_is_an_error(tmp_path: FilePath) -> None:
    def failing(*_: int | str) -> int:
        set_last_error(constants.ERROR_ACCESS_DENIED)
        return 0

    (tmp_path / "file").write_bytes(bytes(PAGE_SIZE))
    with (
        substituted(kernel32={"CreateEventW": failing}),
        CompletionPort() as port,
        OverlappedFile(windows.create_file(tmp_path / "file"), port=port) as file,
    ):
        with pytest.raises(PermissionError) as caught:
            read(file, PageBuffer(PAGE_SIZE))
        assert windows.winerror(caught.value) == constants.ERROR_ACCESS_DENIED
        assert port.in_flight == 0


def begun(reader: OverlappedFile, buffer: PageBuffer) -> tuple[Future[tuple[int, int, bool]], ...]:
    """Have another thread read from a pipe; return when its read is pending."""
    pool = ThreadPoolExecutor(1)
    done = pool.submit(read, reader, buffer)
    pool.shutdown(wait=False)
    windows.wait_until(lambda: reader.port.in_flight == 1)
    return (done,)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda file: file.cancel(), id="cancel"),
        pytest.param(lambda file: file.close(cancel=True), id="close"),
    ],
)
def test_rule_8_what_is_waited_for_is_cancelled_and_closed(
    reader: OverlappedFile, end: Callable[[OverlappedFile], None]
) -> None:
    (done,) = begun(reader, PageBuffer(PAGE_SIZE))
    end(reader)
    code, transferred, cancel_wanted = done.result(SECONDS)
    assert (code, transferred) == (constants.ERROR_OPERATION_ABORTED, 0)
    assert cancel_wanted


def test_a_closed_file_is_not_read(file: OverlappedFile) -> None:
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        read(file, PageBuffer(PAGE_SIZE))


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Have Ctrl+C do what it does, even where the shell that runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.windows)], indirect=True
)
def test_rule_9_ctrl_c_comes_through_when_the_kernel_has_let_go(reader: OverlappedFile) -> None:
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        read(reader, PageBuffer(PAGE_SIZE))
    assert reader.port.in_flight == 0


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.windows)], indirect=True
)
def test_rule_9_however_fast_ctrl_c_follows_on_ctrl_c_the_kernel_has_let_go(
    reader: OverlappedFile, times: int
) -> None:
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGABRT][:times]
    before = [signal.getsignal(number) for number in numbers]
    for number, following in itertools.pairwise(numbers):
        # Raises, as no two of its arguments compare, and has the next one come as early as it can.
        fail: Any = partial(max, int(following), None, key=_thread.interrupt_main)
        signal.signal(number, fail)
    signal.signal(numbers[-1], signal.default_int_handler)

    def press() -> None:
        windows.wait_until(lambda: reader.port.in_flight == 1)
        _thread.interrupt_main()

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises((KeyboardInterrupt, TypeError)):
            read(reader, PageBuffer(PAGE_SIZE))
    finally:
        pressing.join()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    pending = [
        slot
        for slot in reader.port.slots._slots
        if OVERLAPPED_RESULT.unpack_from(slot.memory, slot.offset)[0] == constants.STATUS_PENDING
    ]
    assert pending == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.windows)], indirect=True
)
def test_ctrl_c_at_any_moment_leaves_nothing_in_flight(tmp_path: FilePath, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    chance, over, armed, interrupted = random.Random(1), threading.Event(), False, 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:  # once for each arming, so never outside of the try below
            armed = False
            raise KeyboardInterrupt

    def bother() -> None:
        while not over.wait(chance.random() * 0.002):
            _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, handler)
    bothering = threading.Thread(target=bother)
    bothering.start()
    try:
        with (
            CompletionPort() as port,
            OverlappedFile(windows.create_file(tmp_path / "file"), port=port) as file,
        ):
            buffer = PageBuffer(PAGE_SIZE)
            for _ in range(300):
                try:
                    armed = True
                    for page in range(40):
                        read(file, buffer, page * PAGE_SIZE)
                    armed = False
                except KeyboardInterrupt:
                    interrupted += 1
            assert port.in_flight == 0
    finally:
        over.set()
        bothering.join()
        signal.signal(signal.SIGINT, before)
    assert interrupted
