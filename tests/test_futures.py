"""The future of an I/O request, by itself: rules 7 and 10."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import logging
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from pyvhdmp.futures import IoFuture


def test_rule_7_a_future_is_running_from_birth() -> None:
    future: IoFuture[int] = IoFuture()
    assert future.running()
    assert not future.done()


def test_rule_7_cancel_asks_and_returns_false() -> None:
    asked: list[str] = []
    future: IoFuture[int] = IoFuture(lambda: asked.append("cancel"))
    assert future.cancel() is False
    assert asked == ["cancel"]
    assert future.running()
    assert not future.cancelled()


def test_rule_7_a_cancel_that_loses_leaves_the_result() -> None:
    future: IoFuture[int] = IoFuture(lambda: None)
    future.cancel()
    future.resolve(5)
    assert future.result() == 5
    assert not future.cancelled()


def test_rule_7_a_confirmed_cancellation_looks_like_one() -> None:
    future: IoFuture[int] = IoFuture()
    future.fail(concurrent.futures.CancelledError())
    assert future.done()
    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with pytest.raises(concurrent.futures.CancelledError):
        future.exception()
    assert concurrent.futures.wait([future], timeout=0).done == {future}


def test_a_finished_future_asks_nobody_to_cancel() -> None:
    asked: list[str] = []
    future: IoFuture[int] = IoFuture(lambda: asked.append("cancel"))
    future.resolve(1)
    assert future.cancel() is False
    assert asked == []


def test_an_error_is_raised_and_reported() -> None:
    future: IoFuture[int] = IoFuture()
    error = OSError("broken")
    future.fail(error)
    assert future.exception() is error
    assert not future.cancelled()
    with pytest.raises(OSError, match="broken"):
        future.result()


@pytest.mark.parametrize("wish", [SystemExit, KeyboardInterrupt, ValueError])
def test_rule_10_a_callback_that_raises_does_not_keep_the_next_from_being_called(
    wish: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def raising(_: object) -> None:
        raise wish

    called: list[object] = []
    future: IoFuture[int] = IoFuture()
    future.add_done_callback(raising)
    future.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.resolve(1)
    assert called == [future]
    assert {record.name for record in caplog.records} == {"concurrent.futures"}
    assert wish.__name__ in caplog.text


def test_a_wait_with_a_limit_ends_with_a_timeout() -> None:
    future: IoFuture[int] = IoFuture()
    for timeout in (0, 0.25):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Have Ctrl+C do what it does, even where the shell that runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("timeout", [None, 30])
def test_ctrl_c_ends_a_wait(timeout: float | None) -> None:
    future: IoFuture[int] = IoFuture()
    threading.Timer(0.2, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        future.result(timeout)


def test_an_error_that_is_a_timeout_is_raised_as_one() -> None:
    future: IoFuture[int] = IoFuture()
    error = TimeoutError("of the network")
    threading.Timer(0.2, future.fail, [error]).start()
    with pytest.raises(TimeoutError, match="of the network"):
        future.result()


def test_asyncio_can_wrap_it() -> None:
    async def main() -> tuple[int, bool]:
        good: IoFuture[int] = IoFuture()
        cancelled: IoFuture[int] = IoFuture()
        wrapped = asyncio.wrap_future(good), asyncio.wrap_future(cancelled)
        good.resolve(3)
        cancelled.fail(concurrent.futures.CancelledError())
        result = await wrapped[0]
        with pytest.raises(asyncio.CancelledError):
            await wrapped[1]
        return result, wrapped[1].cancelled()

    assert asyncio.run(main()) == (3, True)


def test_waiters_and_finishers_never_miss_each_other() -> None:
    """The condition of whoever waits is made while the future is being finished."""
    for _ in range(300):
        futures: list[IoFuture[int]] = [IoFuture() for _ in range(8)]
        waiting = threading.Barrier(4)
        called: list[int] = []

        def finish(
            futures: list[IoFuture[int]] = futures, start: threading.Barrier = waiting
        ) -> None:
            start.wait()
            for number, future in enumerate(futures):
                future.resolve(number)

        def collect(
            futures: list[IoFuture[int]] = futures,
            start: threading.Barrier = waiting,
            called: list[int] = called,
        ) -> None:
            start.wait()
            for future in futures:
                future.add_done_callback(lambda future: called.append(future.result()))

        threads = [threading.Thread(target=target) for target in (finish, collect)]
        results: list[int] = []

        def wait(
            futures: list[IoFuture[int]] = futures,
            start: threading.Barrier = waiting,
            results: list[int] = results,
        ) -> None:
            start.wait()
            results.extend(future.result(20) for future in futures)

        threads.append(threading.Thread(target=wait))
        for thread in threads:
            thread.start()
        waiting.wait()
        done, left = concurrent.futures.wait(futures, timeout=20)
        assert (len(done), len(left)) == (8, 0)
        assert {f.result() for f in concurrent.futures.as_completed(futures, 20)} == set(range(8))
        for thread in threads:
            thread.join()
        assert results == list(range(8))
        assert sorted(called) == list(range(8))


def test_a_future_that_nobody_waits_for_makes_no_condition() -> None:
    future: IoFuture[int] = IoFuture()
    future.add_done_callback(lambda done: done.result())
    future.resolve(1)
    assert future.result() == 1
    assert future._waited_for is None


def test_a_condition_that_ctrl_c_has_left_locked_holds_nobody_up_for_long() -> None:
    future: IoFuture[int] = IoFuture()
    leaving = threading.Thread(target=future._condition.acquire)
    leaving.start()
    leaving.join()
    waiting = threading.Thread(target=future.result)
    waiting.start()
    future.resolve(1)
    waiting.join(20)
    assert not waiting.is_alive()
    assert future.result() == 1


def test_ctrl_c_in_a_callback_that_is_called_at_once_is_the_callers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def raising(wish: type[BaseException], _: object) -> None:
        raise wish

    future: IoFuture[int] = IoFuture()
    future.resolve(1)
    with pytest.raises(KeyboardInterrupt):
        future.add_done_callback(partial(raising, KeyboardInterrupt))
    future.add_done_callback(partial(raising, ValueError))
    assert "ValueError" in caplog.text
