"""Locks and latches that Ctrl+C leaves as they should be."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from pyvhdmp.waiting import InterruptibleLock
from tests.support.interrupts import every_moment

SECONDS = 30


def is_free(lock: InterruptibleLock) -> bool:
    """Whether another thread can take a lock at once."""
    found: list[bool] = []

    def look() -> None:
        found.append(lock._lock.acquire(blocking=False))
        if found[0]:
            lock._lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(SECONDS)
    return found == [True]


def test_the_thread_that_holds_a_lock_can_take_it_again() -> None:
    lock = InterruptibleLock()
    with lock, lock:
        assert not is_free(lock)
    assert is_free(lock)


def test_one_thread_at_a_time_holds_a_lock() -> None:
    lock, count = InterruptibleLock(), 0

    def work() -> None:
        nonlocal count
        for _ in range(200):
            with lock:
                before = count
                threading.Event().wait(0)  # lets another one run
                count = before + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert count == 800


@contextlib.contextmanager
def held_by_another(lock: InterruptibleLock) -> Iterator[None]:
    """Have another thread hold a lock for a moment, from before the block begins."""
    held = threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            threading.Event().wait(0.02)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(SECONDS)
    yield
    thread.join(SECONDS)


@pytest.mark.parametrize("others", [contextlib.nullcontext, held_by_another])
def test_ctrl_c_at_any_moment_leaves_a_lock_free(
    others: Callable[[InterruptibleLock], contextlib.AbstractContextManager[None]],
) -> None:
    for ctrl_c in every_moment("pyvhdmp.waiting", __name__):
        lock = InterruptibleLock()
        with others(lock), ctrl_c:
            use(lock)
        assert is_free(lock), ctrl_c
    assert ctrl_c.number > 5


def use(lock: InterruptibleLock) -> None:
    with lock:
        do_something()


def do_something() -> None:
    pass
