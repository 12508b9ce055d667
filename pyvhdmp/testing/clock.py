"""Simulated time, and how it is known that everybody waits for it.

Rules:

1. The clock moves when it is told to, a little with each I/O call, and to the next
   event when every thread waits: nobody is left who could do anything before it.
2. A thread waits when it is inside a simulated call that waits, or when the innermost
   frame of its stack is one of those places of the standard library where threads
   block, and what it blocks on has not been given to it yet. So a program with one
   thread of its own sees the same times twice, however the machine schedules it.
3. A thread that blocks in another way (time.sleep, a lock of its own) cannot be told
   from one that computes, but for the processor's time that this takes. If nobody has
   called and the process has been idle for `PATIENCE` real seconds, it counts as waiting.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import heapq
import itertools
import math
import selectors
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

from pyvhdmp.waiting import InterruptibleLock, Latch

__all__ = ["HELPERS", "PATIENCE", "Clock", "Watcher"]

HELPERS: Final = "pyvhdmp-"
"""How the names of the package's own threads begin."""

PATIENCE: Final = 0.25
_PATIENT_LOOKS: Final = 100
_LAST_PATIENCE: Final = 15.0
"""After so many seconds without a call even somebody who computes is not waited for."""

_GLANCE: Final = 0.05
_BUSY: Final = 0.2
"""The share of a processor's time from which on somebody computes."""

Event: TypeAlias = Callable[[], None]


class Clock:
    """Simulated time in nanoseconds, and what is to happen when."""

    def __init__(self) -> None:
        self.now: int = 0
        self._events: list[tuple[int, int, Event]] = []
        self._numbers = itertools.count()

    def at(self, due: int, event: Event) -> None:
        """Have something happen at a time; what is due together happens in order of entry."""
        heapq.heappush(self._events, (max(due, self.now), next(self._numbers), event))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to happen any more."""
        return not self._events

    @property
    def next_due(self) -> float:
        """When something is to happen next, infinity if nothing is."""
        return self._events[0][0] if self._events else math.inf

    def advance(self, nanoseconds: int) -> None:
        """Let time pass; what is due happens, at its own time."""
        until = self.now + nanoseconds
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def advance_to_next(self, beyond: int = 0) -> None:
        """Let time pass up to the next event, and `beyond` nanoseconds more."""
        if self._events:
            self.advance(self._events[0][0] - self.now + beyond)


class Watcher:
    """Tells whether every thread but those in simulated waits is waiting."""

    def __init__(self) -> None:
        # Threads of others, such as a test runner's: until one calls, it plays no part.
        self._bystanders = {_thread(ident) for ident in sys._current_frames()}
        self._is_waiting: dict[int, bool] = {}  # of threads in simulated calls that take time
        self._called = self._quiet_since = self._looked = time.monotonic()
        self._processor_time = time.process_time()
        self._looks = 0

    def called(self) -> None:
        """The calling thread has called."""
        self._called = self._quiet_since = time.monotonic()
        self._looks = 0
        self._bystanders.discard(threading.current_thread())

    def begin_wait(self) -> None:
        """The calling thread begins to wait in a simulated call."""
        self._is_waiting[threading.get_ident()] = True

    def begin_pause(self) -> None:
        """The calling thread stands still in a simulated call, and will go on by itself."""
        self._is_waiting[threading.get_ident()] = False

    def released(self, ident: int) -> None:
        """A thread in a simulated call has been given what it waited for."""
        self._is_waiting[ident] = False

    def end_wait(self) -> None:
        """The calling thread is about to return from its call."""
        self._is_waiting.pop(threading.get_ident(), None)

    def everybody_waits(self) -> bool:
        """Whether nothing will happen unless the clock moves."""
        return self._all_wait("") or self._is_patience_over()

    def _is_patience_over(self) -> bool:
        now = time.monotonic()
        elapsed = now - self._looked
        if elapsed > _GLANCE:
            processor_time = time.process_time()
            if processor_time - self._processor_time > _BUSY * elapsed:
                self._quiet_since = now
                self._looks = 0
            self._looked, self._processor_time = now, processor_time
        self._looks += 1
        # So many looks, too: on a busy machine an idle process may just not have its turn.
        is_quiet = now - self._quiet_since > PATIENCE and self._looks > _PATIENT_LOOKS
        return is_quiet or now - self._called > _LAST_PATIENCE

    def helpers_wait(self) -> bool:
        """Whether the threads that the package has of its own have nothing to do."""
        return self._all_wait(HELPERS)

    def _all_wait(self, prefix: str) -> bool:
        """Whether all other threads wait whose names begin so."""
        for attempt in range(_LOOKS):
            if attempt:
                time.sleep(0.00005)  # lets a thread that is about to run do so
            frames = sys._current_frames()
            try:
                answer = self._all_of(frames, prefix)
            finally:
                # One of them is this frame, which would keep itself, and all its callers' locals.
                frames.clear()
            if answer is not None:
                return answer
        return True

    def _all_of(self, frames: dict[int, FrameType], prefix: str) -> bool | None:
        """Whether all of these wait; None if that is likely, and to be looked at again."""
        me = threading.get_ident()
        sure = True
        for ident, frame in frames.items():
            thread = _thread(ident)
            if ident == me or not (thread.name if thread else "").startswith(prefix):
                continue
            waits = self._is_waiting.get(ident)
            if waits is None and thread not in self._bystanders:
                waits = _waits(frame, frames)
                sure = sure and waits is not None
            if waits is False:
                return False
        return True if sure else None


def _thread(ident: int) -> threading.Thread | None:
    """Return a thread by its number, which may be another's when it has ended."""
    active: dict[int, threading.Thread] = vars(threading)["_active"]
    return active.get(ident)


_LOOKS: Final = 3
"""How often a state is looked at that may have changed without showing it."""


def _condition(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    caller = frame.f_back
    if caller is not None and caller.f_code is threading.Event.wait.__code__:
        starter = caller.f_back
        if starter is not None and starter.f_code is threading.Thread.start.__code__:
            return False  # for a thread that is about to run, and not among the frames yet
    # Whoever notifies takes the waiter off the condition's list.
    waiter, condition = frame.f_locals.get("waiter"), frame.f_locals["self"]
    return waiter is not None and waiter in condition._waiters


def _latch(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    return not frame.f_locals["self"].is_set


def _lock(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    return repr(frame.f_locals["self"]._lock).startswith("<locked")  # nothing else tells


def _join(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    return frame.f_locals["self"].ident in frames


def _executor_worker(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    local = frame.f_locals
    queue: Any = local.get("work_queue")
    if queue is None or not queue.empty() or local.get("work_item") is not None:
        return False
    executor = local["executor_reference"]()
    if executor is not None:
        # Whoever submits takes an idle worker off this count, which a worker comes back to
        # when it is idle again: if they are fewer than wait for items, one has been given one.
        waiting = sum(
            thread.ident in frames and frames[thread.ident].f_code is frame.f_code
            for thread in list(executor._threads)
        )
        if executor._idle_semaphore._value < waiting:
            return False
    return None  # it may just have taken an item


def _select(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    return None  # it may just have been woken


_Predicate: TypeAlias = Callable[[FrameType, dict[int, FrameType]], "bool | None"]


def _places() -> dict[CodeType, _Predicate]:
    """Return where threads block, and how to see that one really does."""
    thread: Any = threading.Thread
    workers: Any = concurrent.futures.thread
    places: dict[CodeType, _Predicate] = {
        threading.Condition.wait.__code__: _condition,
        thread.join.__code__: _join,
        workers._worker.__code__: _executor_worker,
        Latch.wait.__code__: _latch,
        InterruptibleLock.__enter__.__code__: _lock,
    }
    if hasattr(thread, "_wait_for_tstate_lock"):  # before Python 3.13
        places[thread._wait_for_tstate_lock.__code__] = _join
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"):
        selector = getattr(selectors, name, None)
        if selector is not None:
            places[selector.select.__code__] = _select
    if hasattr(selectors.SelectSelector, "_select") and sys.platform == "win32":
        places[selectors.SelectSelector._select.__code__] = _select
    proactor: Any = getattr(asyncio, "IocpProactor", None)
    if proactor is not None:
        places[proactor._poll.__code__] = _select
    return places


_PLACES: Final = _places()


def _waits(frame: FrameType, frames: dict[int, FrameType]) -> bool | None:
    """Whether a thread waits; None if that is likely, and to be looked at again."""
    predicate = _PLACES.get(frame.f_code)
    return predicate is not None and predicate(frame, frames)
