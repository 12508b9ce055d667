"""Whose turn it is: threads that call, threads that wait, and the clock between them.

Rules:

1. One lock guards everything simulated, and no finalizer runs while it is held: the
   collector is off until the call returns or waits.
2. A thread that waits for packets gets them when every other thread waits, or when a
   thread that has just issued a request hands over to it. So callbacks interleave with
   the program where the seed wants it, and not where the machine happens to.
3. A thread that waits for an event or a request gets its turn in the same way. Those of
   several that could go on do so in the order of handles.
4. A thread that issues a request first lets those that were given packets, or whose flush
   is over, come to rest: what they do about it comes before. They are the helpers.
5. The clock moves only when nobody has a turn to take (`clock` rule 1).
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pyvhdmp.testing.clock import HELPERS, Clock, Watcher

__all__ = ["Port", "Scheduler"]

_SHORTEST_PAUSE: Final = 0.00005
_LONGEST_PAUSE: Final = 0.002
_IDLE_PAUSE: Final = 0.05
_HAND_OVER_SECONDS: Final = 0.2
_HAND_OVER_LOOKS: Final = 100
"""The longest that one who hands over waits: what it holds may be what the other needs."""


class Port:
    """A completion port: packets, and the threads that wait for them."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.packets: deque[tuple[int, int, int, int]] = deque()
        """(completion key, OVERLAPPED, status, bytes transferred), oldest first."""
        self.waiting = 0
        self.is_closed = False
        self.is_handed_over = False

    def __str__(self) -> str:
        return "completion port"


@dataclass(eq=False)
class _Wait:
    """A thread that waits for something to be so. `order`: among those that could go on."""

    order: int
    is_over: Callable[[], bool]


class Scheduler:
    """Lock, clock and turns.

    `slack`: how much further than to the next event the clock moves, so that what is due
    about the same time comes out of one dequeue.
    """

    def __init__(self, slack: Callable[[], int]) -> None:
        self.slack = slack
        self.clock: Clock = Clock()
        self.ports: list[Port] = []
        self._waits: list[_Wait] = []
        self._changed = threading.Condition(threading.RLock())
        self._depth = 0
        self._collects = False
        self._watcher = Watcher()
        # Threads that take packets or flush. Not their numbers, which are used again.
        self._helpers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._active = False  # whether any of these was given something to work on
        self._resting = 0  # threads that wait for the others, and for no time to pass
        self._flushes: list[int] = []  # handles whose flush has not had its turn

    # -- Calls ------------------------------------------------------------------

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in a simulated call: alone, and undisturbed."""
        with self._changed:
            self._begin()
            try:
                yield
            finally:
                self._end()

    def _begin(self) -> None:
        self._watcher.called()
        if not self._depth:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def _end(self) -> None:
        self._depth -= 1
        if not self._depth and self._collects:
            gc.enable()

    def _pause(self, seconds: float) -> None:
        depth, self._depth = self._depth, 0
        if self._collects:
            gc.enable()
        self._changed.wait(seconds)
        self._collects = gc.isenabled()
        gc.disable()
        self._depth = depth

    def changed(self) -> None:
        """Something has happened that another thread may wait for."""
        self._changed.notify_all()

    # -- Turns ------------------------------------------------------------------

    def wait_for_packets(self, port: Port, expires: int | None) -> bool:
        """Wait until it is this thread's turn to take packets; False if there are none."""
        self._helpers.add(threading.current_thread())
        port.waiting += 1
        if expires is not None:
            self.clock.at(expires, self.changed)
        self._watcher.begin_wait()
        self.changed()  # whoever has handed over goes on
        try:
            self._wait(
                lambda: (
                    port.is_closed
                    or (bool(port.packets) and (port.is_handed_over or self._is_next(port)))
                    or (expires is not None and self.clock.now >= expires and not port.packets)
                )
            )
        finally:
            self._watcher.end_wait()
            port.waiting -= 1
            self._active = True
        return bool(port.packets) and not port.is_closed

    def wait_until(self, is_over: Callable[[], bool], order: int, expires: int | None) -> bool:
        """Wait until something is so, and it is this thread's turn; False if time is up first."""
        if not is_over() and expires is not None and expires <= self.clock.now:
            return False
        thread = threading.current_thread()
        if thread.name.startswith(HELPERS):
            self._helpers.add(thread)
        wait = _Wait(order, is_over)
        self._waits.append(wait)
        if expires is not None:
            self.clock.at(expires, self.changed)
        self._watcher.begin_wait()
        self.changed()  # whoever has handed over goes on
        try:
            self._wait(
                lambda: (
                    (is_over() and self._is_next(wait))
                    or (expires is not None and self.clock.now >= expires and not is_over())
                )
            )
        finally:
            self._watcher.end_wait()
            self._waits.remove(wait)
            self._active = self._active or thread in self._helpers
        return is_over()

    def settle(self) -> None:
        """Let threads that were given packets, or whose flush is over, come to rest.

        So what they do about it comes before what this thread does next.
        """
        if self._active and not self._is_helper():
            self._pause_until(self._watcher.helpers_wait)
            self._active = False

    def hand_over(self, port: Port) -> None:
        """Let a thread that waits at `port` work on its packets before this one goes on.

        And those that it gives something to do: that may bring packets, too.
        """
        self.settle()
        if self._is_helper() or not port.packets or not port.waiting:
            return
        port.is_handed_over = True
        self.changed()
        try:
            self._pause_until(
                lambda: (
                    port.is_closed
                    or (port.waiting > 0 and not port.packets and self._watcher.helpers_wait())
                )
            )
        finally:
            port.is_handed_over = False

    def _is_helper(self) -> bool:
        return threading.current_thread() in self._helpers

    def _pause_until(self, ready: Callable[[], bool]) -> None:
        """Stand still, without waiting as far as the clock is concerned."""
        until = time.monotonic() + _HAND_OVER_SECONDS
        pause = _SHORTEST_PAUSE
        self._watcher.begin_pause()
        try:
            # So many pauses at least: on a busy machine the others get as little done as this.
            looks = 0
            while not ready() and (time.monotonic() < until or looks < _HAND_OVER_LOOKS):
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                looks += 1
        finally:
            self._watcher.end_wait()

    def flush(self, handle: int, begin: Callable[[], tuple[int, Callable[[], None]]]) -> None:
        """Block for the time that a flush takes.

        Threads that flush come from a pool, each at any moment. So they wait for their turn,
        which comes in the order of handles; then `begin` is called, and returns when the
        flush ends and what happens then.
        """
        ident = threading.get_ident()
        self._helpers.add(threading.current_thread())
        self._flushes.append(handle)
        self.changed()
        ended = False

        def end() -> None:
            nonlocal ended
            finish()
            ended = True
            self._watcher.released(ident)
            self._active = True
            self.changed()

        self._watcher.begin_wait()
        try:
            try:
                self._wait(lambda: min(self._flushes) == handle and self._nobody_has_a_turn())
            finally:
                self._flushes.remove(handle)
            due, finish = begin()
            self.clock.at(due, end)
            self._wait(lambda: ended)
        finally:
            self._watcher.end_wait()

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait in a simulated call; meanwhile the clock moves whenever it may."""
        pause = _SHORTEST_PAUSE
        while not ready():
            may_move = not (self.clock.is_idle or self._flushes or self._resting)
            if may_move and self._nobody_has_a_turn():
                self.clock.advance_to_next(self.slack())
                pause = _SHORTEST_PAUSE
                continue
            is_idle = self.clock.is_idle and not self._flushes and not self._somebody_can_go_on()
            # Bounded even then: a finalizer may have come in between, and have queued a packet.
            self._pause(_IDLE_PAUSE if is_idle else pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _somebody_can_go_on(self) -> bool:
        return any(port.packets and port.waiting for port in self.ports) or any(
            wait.is_over() for wait in self._waits
        )

    def _nobody_has_a_turn(self) -> bool:
        return (
            not self._somebody_can_go_on()
            and not any(port.is_handed_over for port in self.ports)
            and self._watcher.everybody_waits()
        )

    def _is_next(self, waiter: Port | _Wait) -> bool:
        """Whether those who wait at a port, or for something, are the next to go on."""
        for port in self.ports:
            if port is waiter:
                return self._watcher.everybody_waits()
            if port.packets and port.waiting:
                return False
        for wait in sorted(self._waits, key=lambda wait: wait.order):
            if wait is waiter:
                return self._watcher.everybody_waits()
            if wait.is_over():
                return False
        return False

    # -- Told to move -------------------------------------------------------------

    def advance(self, nanoseconds: int) -> None:
        """Move the clock, and let everybody do at each time what there is to do then."""
        with self.entered():
            until = self.clock.now + nanoseconds
            self._rest()
            while self.clock.next_due <= until:
                self.clock.advance_to_next()
                self._rest()
            self.clock.advance(until - self.clock.now)

    def run_until_idle(self) -> None:
        """Move the clock until nothing is to happen any more."""
        with self.entered():
            self._rest()
            while not self.clock.is_idle:
                self.clock.advance_to_next()
                self._rest()

    def _rest(self) -> None:
        """Wait, without moving the clock, until nobody has anything to do at this time."""
        if self._is_helper():
            return  # it is one of those that would have to come to rest
        self._watcher.begin_wait()
        self._resting += 1
        self.changed()
        try:
            self._wait(lambda: not self._flushes and self._nobody_has_a_turn())
        finally:
            self._resting -= 1
            self._watcher.end_wait()
