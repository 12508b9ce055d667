"""CompletionPort: its one thread, its end, and the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import Future, wait

import pytest

from pyvhdmp import CompletionPort, OverlappedFile
from pyvhdmp._win32 import constants
from pyvhdmp.testing import SimulatedWindows, set_last_error, substituted
from tests.support import windows
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 30


def new_threads(before: set[threading.Thread]) -> set[threading.Thread]:
    """Return the completion threads that were not there before; others' may end meanwhile."""
    return {t for t in threading.enumerate() if t.name == "pyvhdmp-port"} - before


def test_a_port_has_one_thread_from_its_making_to_its_close() -> None:
    before = set(threading.enumerate())
    port = CompletionPort()
    (thread,) = new_threads(before)
    assert thread.daemon
    port.close()
    assert not thread.is_alive()
    assert port.closed
    port.close()


def test_the_default_port_is_shared_and_made_anew_after_a_close() -> None:
    first = CompletionPort.default()
    assert CompletionPort.default() is first
    first.close()
    second = CompletionPort.default()
    assert second is not first
    assert not second.closed


@pytest.mark.parametrize("is_started", [False, True])
def test_ctrl_c_while_the_thread_is_started_closes_the_port_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_started: bool
) -> None:
    before, handles = set(threading.enumerate()), windows.handle_count()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if is_started:
            start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        CompletionPort()
    windows.wait_until(lambda: not new_threads(before))
    assert windows.handle_count() == handles
    assert not caplog.records


def test_a_port_that_nobody_uses_any_more_ends_its_thread() -> None:
    before = set(threading.enumerate())
    port = CompletionPort()
    (thread,) = new_threads(before)
    del port  # and no collection of garbage: nothing in a port refers back to it
    windows.wait_until(lambda: not thread.is_alive())


def test_closing_a_port_closes_its_files() -> None:
    port = CompletionPort()
    server, client = windows.pipe_handles()
    reader, writer = OverlappedFile(server, port=port), OverlappedFile(client, port=port)
    futures = [reader.read_at(bytearray(1), 0) for _ in range(8)]
    port.close(cancel=True)
    assert reader.closed
    assert writer.closed
    assert all(future.cancelled() for future in futures)
    assert repr(port) == "<CompletionPort closed>"


def test_a_closed_port_takes_no_files(tmp_path: FilePath) -> None:
    port = CompletionPort()
    port.close()
    path = tmp_path / "file"
    path.write_bytes(b"x")
    handle = windows.create_file(path)
    with windows.closing(handle), pytest.raises(ValueError, match="port is closed"):
        OverlappedFile(handle, port=port)


def test_a_callback_cannot_close_its_own_port(tmp_path: FilePath) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    errors: list[Exception] = []
    with CompletionPort() as port, OverlappedFile(windows.create_file(path), port=port) as file:

        def close(_: Future[None]) -> None:
            try:
                port.close()
            except RuntimeError as error:
                errors.append(error)

        future = file.flush()
        future.add_done_callback(close)
        wait([future], SECONDS)
    assert len(errors) in (0, 1)  # none if the flush was over before the callback was added
    assert all("done-callback" in str(error) for error in errors)


@pytest.mark.parametrize("failures", [1, 5])
def test_a_call_is_run_though_windows_had_no_memory_for_its_packet(failures: int) -> None:
    with CompletionPort() as outer:
        post = outer.windows.kernel32.PostQueuedCompletionStatus
    left = failures

    def fail(port: int, transferred: int, key: int, overlapped: int) -> int:
        nonlocal left
        if not left:
            return post(port, transferred, key, overlapped)
        left -= 1
        set_last_error(constants.ERROR_NO_SYSTEM_RESOURCES)
        return 0

    with substituted(kernel32={"PostQueuedCompletionStatus": fail}), CompletionPort() as port:
        called = threading.Event()
        port.call_soon(called.set)
        assert called.wait(SECONDS)
        assert not left

        def call_again() -> None:
            nonlocal left
            left = failures
            again.clear()
            port.call_soon(again.set)

        again = threading.Event()
        port.call_soon(call_again)  # and the thread cannot post to itself
        assert again.wait(SECONDS)
        left = 0


def test_a_port_that_cannot_be_made_is_the_error_of_windows() -> None:
    def failing(*_: int) -> int:
        set_last_error(constants.ERROR_NO_SYSTEM_RESOURCES)
        return 0

    with (
        substituted(kernel32={"CreateIoCompletionPort": failing}),
        pytest.raises(OSError) as caught,  # noqa: PT011  # checked below
    ):
        CompletionPort()
    assert windows.winerror(caught.value) == 1450
    assert any("lower the queue depth" in note for note in caught.value.__notes__)


IN_A_SIMULATION = """
from contextlib import ExitStack
from tests.support.windows import simulated
stack = ExitStack()
simulation = stack.enter_context(simulated(seed=1))  # and never left
simulation.files["file"] = b"x"
"""


def run_python(
    machine: SimulatedWindows | None, code: str, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run code on a new interpreter, on a Windows of the same kind."""
    code = ("" if machine is None else IN_A_SIMULATION) + textwrap.dedent(code)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, time.monotonic() - began


PENDING = """
    import sys
    from pyvhdmp import OverlappedFile
    from tests.support import windows
    server, client = windows.pipe_handles()
    reader, writer = OverlappedFile(server), OverlappedFile(client)
    futures = [reader.read_at(bytearray(1000), 0) for _ in range(64)]
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise SystemExit(7)", 7),
        ("del futures, reader, writer", 0),
        ("futures[0].add_done_callback(lambda _: sys.exit(3))", 0),
    ],
)
def test_rule_9_the_interpreter_exits_cleanly_with_io_pending_and_nothing_closed(
    machine: SimulatedWindows | None, ending: str, code: int
) -> None:
    done, seconds = run_python(machine, textwrap.dedent(PENDING) + ending)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
    assert seconds < 20  # the promise is 5 s; this machine may be busy


def test_the_end_of_the_interpreter_cancels_what_pends(
    machine: SimulatedWindows | None,
) -> None:
    done, _ = run_python(
        machine,
        textwrap.dedent(PENDING)
        + "futures[5].add_done_callback(lambda f: print('cancelled', f.cancelled(), flush=True))",
    )
    assert done.stdout.split() == ["cancelled", "True"]


def test_the_interpreter_exits_when_the_kernel_does_not_cancel(
    machine: SimulatedWindows | None,
) -> None:
    if machine is not None and not windows.HAS_GIL:
        pytest.skip("the program ends without the modules that its simulation still needs")
    done, seconds = run_python(
        machine,
        """
        from pyvhdmp import _win32
        from pyvhdmp.testing import substituted
        with substituted(kernel32={"CancelIoEx": lambda file, overlapped: 1}):
            from pyvhdmp import OverlappedFile
            from tests.support import windows
            server, client = windows.pipe_handles()
            reader, writer = OverlappedFile(server), OverlappedFile(client)
            futures = [reader.read_at(bytearray(1000), 0) for _ in range(64)]
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert seconds < 25


def test_a_flush_asked_for_while_the_interpreter_ends_is_still_done(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    done, _ = run_python(
        machine,
        """
        import atexit, sys
        from pyvhdmp import OverlappedFile
        from tests.support import windows
        file = OverlappedFile(windows.create_file(sys.argv[1]))
        file.flush().result(20)
        atexit.register(lambda: print("flushed", file.flush().result(20), flush=True))
        """,
        str(path) if machine is None else "file",
    )
    assert done.stdout.split() == ["flushed", "None"], done.stderr
