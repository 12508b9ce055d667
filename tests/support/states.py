"""State machines over what does I/O: what all of them do, and what must be true of it.

Rules of the game, each looked at after every step or at the end:

1. Whatever is asked for ends exactly once, and before what it was asked of has closed.
2. An error comes to whom it was meant for, and to nobody else. Windows fails a request
   with a code of its own; a flush is everybody's who has asked for it, and its code too.
3. What is read, and what a power cut leaves, is what the `History` allows.
4. Nobody touches a buffer whose request is over: what was read stays, and what was
   written is written over at once, which Windows would notice.
5. At rest there is a slot in use for each call in flight, and none else.
6. The simulation has seen nothing that Windows would punish, nor the log an error.

The threads of a simulated Windows take turns, so the same steps have the same course.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pyvhdmp import CompletionPort, PageBuffer, ShortTransferError, _win32
from pyvhdmp._win32 import constants
from pyvhdmp.testing import Faults, SimulatedWindows, statuses, substituted
from tests.support.history import SECTOR, History
from tests.support.windows import winerror

PLACES: Final = st.integers(0, 9999)
"""A place on the disk, or among the futures, modulo how many there are."""

FAULTS: Final = st.sampled_from(["", "", "", "", "", "", "at once", "pending"])
"""How a request is to fail, mostly not at all."""

_SECONDS: Final = 20
"""Real seconds after which what ought to end counts as hanging."""

_FIRST_CODE: Final = 20_000
"""Codes that nothing else in Windows fails with, from here on."""


@dataclass(frozen=True)
class Setup:
    """A simulated Windows, and the port on it. `sectors`: of the disk."""

    seed: int
    sectors: int
    latency: tuple[float, float]
    depth: int
    cache_size: int
    faults: Faults
    bounce_budget: int


SETUPS: Final = st.builds(
    Setup,
    seed=st.integers(0, 999),
    sectors=st.sampled_from([64, 512, 4096]),
    latency=st.sampled_from([(50e-6, 2e-3), (1e-6, 20e-3), (0.0, 0.0)]),
    depth=st.sampled_from([32, 4, 1]),
    cache_size=st.sampled_from([16 << 20, 64 << 10]),
    faults=st.sampled_from([Faults(), Faults(stray_packets=0.2), Faults(short_transfers=0.1)]),
    bounce_budget=st.sampled_from([16 << 20, 1 << 20]),
)


@dataclass(eq=False)
class _Asked:
    """Something that was asked for.

    `code`: what Windows was told to fail it with, or 0. `flush`: the number of the first
    flush that can be its own, None if it needs none. `needs_power`: whether it cannot
    succeed without. `cuts`: power cuts before it.
    """

    what: str
    code: int
    has_failed_at_once: bool
    calls_once: bool
    flush: int | None
    can_be_cancelled: bool
    needs_power: bool
    had_power: bool
    cuts: int
    cancel_was_asked: bool = False
    times_ended: int = 0


class IoStates(RuleBasedStateMachine):
    """What there is to do with a disk and with a file, and what must always be true.

    A machine of its own says how the thing is made, opened and closed, and adds the rules
    that ask something of it.
    """

    path: ClassVar[str] = "disk.img"

    def __init__(self) -> None:
        super().__init__()
        self._stack: ExitStack | None = None
        self._asked: dict[Future[Any], _Asked] = {}  # since the last opening
        self._finished_reads: list[tuple[memoryview, bytes]] = []
        self._problems: list[str] = []
        self._codes = itertools.count(_FIRST_CODE)
        self._flushes_begun = 0
        self._flush_results: list[int] = []  # a Win32 code for each flush that has ended
        self._codes_seen: set[int] = set()
        self.has_power = True
        self.times_cancelled = 0

    # -- What a machine of its own says -------------------------------------------

    def make(self, sectors: int) -> int:
        """Make the file, of zeros; return the number of its sectors, `sectors` if possible."""
        self.windows.files[self.path] = bytes(sectors * SECTOR)
        return sectors

    def open(self, port: CompletionPort) -> None:
        """Open the thing."""
        raise NotImplementedError

    def close(self, *, cancel: bool) -> None:
        """Close the thing."""
        raise NotImplementedError

    def flush(self) -> Future[None]:
        """Ask the thing for a flush."""
        raise NotImplementedError

    # -- Beginning and end --------------------------------------------------------

    @initialize(setup=SETUPS)
    def start(self, setup: Setup) -> None:
        self.setup = setup
        self.windows = SimulatedWindows(
            setup.seed,
            latency=setup.latency,
            depth=setup.depth,
            cache_size=setup.cache_size,
            faults=setup.faults,
        )
        self._stack = ExitStack()
        self._stack.enter_context(self.windows)
        self._below = _win32.current().ntdll
        self._stack.enter_context(substituted(ntdll={"NtFlushBuffersFileEx": self._count_flush}))
        log = _Log(self._problems)
        logging.getLogger("pyvhdmp").addHandler(log)
        self._stack.callback(logging.getLogger("pyvhdmp").removeHandler, log)
        self.sectors = self.make(setup.sectors)
        self.history = History(self.sectors)
        self._open_on_new_port()

    def teardown(self) -> None:
        """Close everything; after a step that failed no more than that."""
        if self._stack is None:
            return
        if sys.exc_info()[0] is None:
            try:
                self._close(self.port.close, cancel=False)
                self.windows.power_cut()
                self._check_after_power_cut()
            except BaseException:
                self._abandon()
                raise
            self._stack.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        assert self._stack is not None
        with contextlib.suppress(AssertionError):  # there is one already
            _run_limited(partial(self.port.close, cancel=True))
        self._stack.__exit__(*sys.exc_info())

    def _open_on_new_port(self) -> None:
        self.port = CompletionPort(bounce_budget=self.setup.bounce_budget)
        self._open()

    def _open(self) -> None:
        for _ in range(100):
            try:
                self.open(self.port)
            except OSError:
                if self.setup.faults == Faults():
                    raise
            else:
                return
        raise AssertionError("100 openings in a row have failed")

    # -- Asking -------------------------------------------------------------------

    def ask(
        self,
        what: str,
        begin: Callable[[], Future[Any]],
        ended: Callable[[Future[Any]], None],
        *,
        function: str = "",
        fault: str = "",
        calls_once: bool = True,
        flushes: bool = False,
        can_be_cancelled: bool = True,
        needs_power: bool = True,
    ) -> None:
        """Ask for something; `ended` is called when it is over, on the completion thread mostly.

        `fault`: how `function`, the first that it calls, is to fail. `calls_once`: whether it
        makes no call but that.
        """
        code, fault = 0, fault if self.has_power else ""
        if fault:
            # With everything at rest the next call is the one that is made here.
            self.windows.advance(0)
            code = next(self._codes)
            self.windows.fail_next(function, code, pending=fault == "pending")
        before = self.windows.faults_injected
        asked = _Asked(
            what,
            code,
            fault == "at once",
            calls_once,
            self._flushes_begun if flushes else None,
            can_be_cancelled,
            needs_power,
            self.has_power,
            self.windows.power_cuts,
        )
        future = begin()
        assert not code or self.windows.faults_injected > before, f"{what} did not call {function}"
        self._asked[future] = asked
        future.add_done_callback(partial(self._ended, asked, ended))

    def has_read(self, buffers: list[memoryview]) -> None:
        """A read is over: its buffers are to stay as they are."""
        self._finished_reads += [(buffer, bytes(buffer)) for buffer in buffers]

    def problem(self, text: str | None) -> None:
        """Something is wrong, if there is a text."""
        if text is not None:
            self._problems.append(text)

    def _ended(
        self, asked: _Asked, ended: Callable[[Future[Any]], None], future: Future[Any]
    ) -> None:
        try:
            asked.times_ended += 1
            problem = self._problem_of(asked, future)
            if problem is not None:
                self.problem(f"{asked.what}: {problem}")
            ended(future)
        except BaseException as error:
            self.problem(f"{asked.what}: {error!r}")

    def _problem_of(self, asked: _Asked, future: Future[Any]) -> str | None:
        """Return what is wrong with how something has ended."""
        if asked.times_ended != 1:
            return f"it has ended {asked.times_ended} times"
        if future.cancelled():
            self.times_cancelled += 1
            if not asked.cancel_was_asked:
                return "it was cancelled, and nobody had asked for that"
            if asked.has_failed_at_once or (asked.calls_once and self._has_failed(asked.code)):
                return f"it was cancelled, and had failed with {asked.code} before"
            return None if asked.can_be_cancelled else "it cannot be cancelled, and was"
        error = future.exception()
        flushes = [] if asked.flush is None else self._flush_results[asked.flush :]
        if error is None:
            if asked.code:
                return f"it succeeded, and had failed with {asked.code}"
            if asked.needs_power and not asked.had_power:
                return "it succeeded without power"
            if asked.flush is not None and constants.ERROR_SUCCESS not in flushes:
                return f"it succeeded, and the flushes since ended with {flushes}"
            return None
        if isinstance(error, ShortTransferError) and self.setup.faults.short_transfers:
            return None
        if not isinstance(error, OSError):
            return f"it failed with {error!r}"
        code = winerror(error)
        self._codes_seen.add(code)
        allowed = {asked.code, *flushes} - {constants.ERROR_SUCCESS}
        if not asked.had_power or self.windows.power_cuts > asked.cuts:
            allowed.add(constants.ERROR_DEVICE_NOT_CONNECTED)
        return None if code in allowed else f"it failed with {code}, and not with one of {allowed}"

    def _has_failed(self, code: int) -> bool:
        """Whether Windows has failed a request as it was told to: a cancel may come before."""
        status = f"-> {statuses.status_of(code):#010x},"
        return code != 0 and any(status in line for line in self.windows.trace)

    def _count_flush(self, *arguments: int) -> int:
        self._flushes_begun += 1
        status = self._below.NtFlushBuffersFileEx(*arguments)
        self._flush_results.append(statuses.dos_error(status & 0xFFFFFFFF))
        return status

    def _pending(self) -> list[Future[Any]]:
        return [future for future in self._asked if not future.done()]

    # -- Rules that every machine has ---------------------------------------------

    @rule(failing=st.sampled_from([False, False, False, True]), times=st.integers(1, 3))
    def ask_for_flushes(self, failing: bool, times: int) -> None:
        if failing:
            self.windows.fail_next("NtFlushBuffersFileEx", next(self._codes))
        for _ in range(times):
            begun = self.history.step()
            self.ask("a flush", self.flush, partial(self._flushed, begun), **_FLUSH)

    def _flushed(self, begun: int, future: Future[Any]) -> None:
        if has_succeeded(future):
            self.history.end_flush(begun)

    @rule(places=st.lists(PLACES, min_size=1, max_size=6))
    def cancel(self, places: list[int]) -> None:
        for place in places:
            pending = self._pending()
            if pending:
                future = pending[place % len(pending)]
                self._asked[future].cancel_was_asked = True
                assert future.cancel() is False

    @rule(seconds=st.sampled_from([None, 0.0, 1e-5, 1e-4, 1e-3]))
    def let_time_pass(self, seconds: float | None) -> None:
        if seconds is None:
            self.windows.run_until_idle()
        else:
            self.windows.advance(seconds)

    @rule(for_all=st.booleans())
    def wait(self, for_all: bool) -> None:
        done, left = wait(self._pending(), _SECONDS, ALL_COMPLETED if for_all else FIRST_COMPLETED)
        whats = [self._asked[future].what for future in left]
        assert not left or (done and not for_all), f"never ended: {whats}"
        self.windows.advance(0)  # what else has ended is known when all is at rest
        if for_all:
            self.check_at_rest()

    def check_at_rest(self) -> None:
        """Check what must be true when everything has ended."""
        self.windows.run_until_idle()
        assert self.windows.in_flight == self.port.in_flight == 0
        assert self.port.slots.free == self.port.slots.total
        failed = {code for code in self._flush_results if code}
        assert failed <= self._codes_seen, f"kept from all who asked: {failed - self._codes_seen}"

    @precondition(lambda self: self.has_power)
    @rule(and_go_on=st.sampled_from([False, False, True]), cancel=st.booleans())
    def cut_power(self, and_go_on: bool, cancel: bool) -> None:
        self.windows.power_cut()
        self.has_power = False
        if not and_go_on:
            self.close_and_reopen(cancel, with_port=False)

    @rule(cancel=st.booleans(), with_port=st.booleans())
    def close_and_reopen(self, cancel: bool, with_port: bool) -> None:
        self._close(self.port.close if with_port else self.close, cancel=cancel)
        with pytest.raises(ValueError, match="closed"):
            self.flush()
        if with_port:
            self._open_on_new_port()
        else:
            self._open()

    def cancel_all(self, cancel: Callable[[], None]) -> None:
        """Have everything cancelled that has not ended."""
        for future in self._pending():
            self._asked[future].cancel_was_asked = True
        cancel()

    def _close(self, close: Callable[..., None], *, cancel: bool) -> None:
        if cancel:
            self.cancel_all(lambda: _run_limited(partial(close, cancel=True)))
        else:
            _run_limited(close)
        self.windows.advance(0)
        left = [asked.what for asked in self._asked.values() if asked.times_ended != 1]
        assert not left, f"not ended when it was closed: {left}"
        self.check_at_rest()
        assert not self.port.strays or self.setup.faults.stray_packets
        for buffer, content in self._finished_reads:
            assert buffer == content, "a buffer was written to after its read was over"
        self._asked.clear()
        self._finished_reads.clear()
        if not self.has_power:
            self._check_after_power_cut()
            self.has_power = True
        content = self._content()
        assert self.history.check_read(self.history.step(), 0, content) is None
        self.nothing_has_gone_wrong()

    def _check_after_power_cut(self) -> None:
        problem = self.history.power_cut(self._content())
        assert problem is None, problem

    def _content(self) -> bytes:
        return self.windows.files[self.path][: self.sectors * SECTOR]

    # -- What is always true ------------------------------------------------------

    @invariant()
    def nothing_has_gone_wrong(self) -> None:
        assert not self._problems, "\n".join(self._problems)

    @invariant()
    def windows_has_nothing_to_object_to(self) -> None:
        self.windows.check(leaks=False)

    @invariant()
    def buffers_stay_as_they_were_read(self) -> None:
        for buffer, content in self._finished_reads[-8:]:  # and all of them when it is closed
            assert buffer == content, "a buffer was written to after its read was over"

    @invariant()
    def slots_in_use_are_calls_in_flight(self) -> None:
        is_flushing = any(self._asked[future].flush is not None for future in self._pending())
        slots, in_flight = self.port.slots, self.port.in_flight
        assert 0 <= slots.total - slots.free - in_flight <= is_flushing
        assert self.windows.in_flight <= in_flight


_FLUSH: Final[dict[str, Any]] = {"flushes": True, "can_be_cancelled": False}


class _Log(logging.Handler):
    """The engine logs what it has no future for, such as a future that is finished twice."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        self._problems.append(f"logged: {record.getMessage()} {error!r}")


def has_succeeded(future: Future[Any]) -> bool:
    """Whether something that is over has succeeded."""
    return not future.cancelled() and future.exception() is None


def aligned(length: int, shift: int = 0) -> memoryview:
    """Return memory of `length` bytes that begins `shift` bytes behind a page's beginning."""
    return memoryview(PageBuffer(shift + length))[shift:]


def pieces(length: int, shapes: list[tuple[int, int]]) -> list[memoryview]:
    """Return memory of `length` bytes, in pieces of (size, shift), one after the other."""
    buffers = []
    for size, shift in itertools.cycle(shapes):
        if not length:
            break
        buffers.append(aligned(min(size, length), shift))
        length -= len(buffers[-1])
    return buffers


def fill(buffers: list[memoryview], data: bytes) -> None:
    """Put data into memory."""
    start = 0
    for buffer in buffers:
        buffer[:] = data[start : start + len(buffer)]
        start += len(buffer)


def scribble(buffers: list[memoryview]) -> None:
    """Write over memory that belongs to the caller again."""
    for buffer in buffers:
        buffer[:] = b"\xee" * len(buffer)


def run_states(machine: type[IoStates]) -> None:
    """Run a machine. The profile in force says how often, and whether at random: see conftest."""
    # One takes as long as dozens of other tests', and on Wine ten times as long as elsewhere.
    examples = settings().max_examples * (1 if sys.platform == "win32" else 3) // 5
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=40)
    )


def _run_limited(call: Callable[[], None]) -> None:
    """Call on a thread of its own, which can be left behind if it hangs."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="closing", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    assert not thread.is_alive(), "closing hangs"
    if raised:
        raise raised[0]
