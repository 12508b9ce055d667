"""Long operations on virtual disks: compact, merge, resize and their kin, step by step.

Rules:

1. A `Work` is a generator. What it does before it yields for the first time is part of the
   call. It yields how far it is, (current, completion); (completion, completion) once more
   before what it has done counts; and None when it has nothing left to do but wait, until
   `LongOperation.go_on`.
2. A work that is closed before its end undoes what it has done.
3. Without an OVERLAPPED it is done when the call returns. With one, each step takes its
   time, and the OVERLAPPED is watched like that of any request; nothing else of the
   caller's is looked at after the call.
4. What is told of the progress may fall back, and may be all of it before the end. Only of
   a mirror or a fork it is all of it when that waits to be ended, and not before: the page
   of MirrorVirtualDisk has one find it out so.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeAlias

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import OVERLAPPED_RESULT, OVERLAPPED_STRUCT
from pyvhdmp.testing import memory, statuses
from pyvhdmp.testing.io_manager import Action, IoManager, Request
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.memory import Owned

__all__ = ["LongOperation", "Work", "begin", "run_to_end"]

Work: TypeAlias = Generator["tuple[int, int] | None", None, None]

_FALLS_BACK: Final = 0.2
_IS_AHEAD: Final = 0.1
_WAIT_TO_BE_ENDED: Final = frozenset({"MirrorVirtualDisk", "ForkVirtualDisk"})


def run_to_end(work: Work, failure: int = 0) -> None:
    """Do a work at once. `failure`: a code that it is to fail with in the end."""
    for progress in work:
        if progress is None:
            work.close()
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        if failure and progress[0] == progress[1]:
            work.close()
            raise CallFailed(failure)


def begin(io: IoManager, function: str, handle: int, overlapped: int, work: Work) -> None:
    """Begin a work; return if it is done, raise `CallFailed` with the code if not."""
    try:
        first = next(work)  # from here on it undoes what it does
        _begin(io, function, handle, overlapped, work, first or (0, 1))
    except CallFailed as failed:
        if failed.code != constants.ERROR_IO_PENDING:
            work.close()
        raise


def _begin(
    io: IoManager,
    function: str,
    handle: int,
    overlapped: int,
    work: Work,
    progress: tuple[int, int],
) -> None:
    kernel = io.kernel
    later, io.fails_later = io.fails_later, 0  # first: others call while this one waits
    kernel.settle()
    file = kernel.file(handle, function)
    if file.is_dead or io.is_off:
        raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)
    if not overlapped:
        run_to_end(work, later)
        return
    _, hEvent = io.overlapped(function, overlapped)
    memory.write(overlapped, OVERLAPPED_RESULT.pack(statuses.STATUS_PENDING, 0))
    draw = kernel.draws.request()
    later = later or draw.error
    io.operations += 1
    io.faults_injected += bool(later or draw.immediate_error)
    if draw.immediate_error:
        raise CallFailed(draw.immediate_error)
    name = f"#{io.operations} {function}"
    owned = Owned(name, [], [], (overlapped, OVERLAPPED_STRUCT.size), None)
    request = Request(io.operations, function, Action.WORK, file, 0, 0, owned, draw, error=later)
    io.own(request, hEvent)
    kernel.note(f"{name}: {file.name}")
    operation = request.operation = LongOperation(io, request, work, progress)
    file.operations[overlapped] = operation
    operation.start()
    if not request.is_over:
        raise CallFailed(constants.ERROR_IO_PENDING)
    code = statuses.dos_error(request.status)
    if code != constants.ERROR_SUCCESS:
        raise CallFailed(constants.ERROR_IO_PENDING)  # there is a packet, or an event, for it


class LongOperation:
    """A work that is under way, or is over."""

    def __init__(
        self, io: IoManager, request: Request, work: Work, progress: tuple[int, int]
    ) -> None:
        self._io = io
        self._request = request
        self._work = work
        self._shown = progress
        self._sleeps = False
        self._is_cancelled = False

    @property
    def progress(self) -> tuple[int, int, int]:
        """The code, which is ERROR_IO_PENDING until the end, and how far it seems to be."""
        code = statuses.dos_error(self._request.status)
        return code, *self._shown

    def start(self) -> None:
        """Do everything now, if the seed says so, or the first step later."""
        if self._request.draw.at_once:
            while not (self._request.is_over or self._sleeps):
                self._step()
        else:
            self._step_later()

    def go_on(self) -> None:
        """What the work waits for has come."""
        if self._sleeps:
            self._sleeps = False
            self._step()

    def cancel(self) -> None:
        """End it as cancelled, if that is not too late; what does not end by itself always is."""
        draw, clock = self._request.draw, self._io.kernel.clock
        self._is_cancelled = True
        if draw.cancel_wins or self._sleeps:
            clock.at(clock.now + draw.pause, lambda: self._end(statuses.STATUS_CANCELLED))

    def stop(self) -> None:
        """The request is over, however it came to that."""
        self._work.close()

    def _step_later(self) -> None:
        kernel = self._io.kernel
        least, most = kernel.draws.latency
        kernel.clock.at(kernel.clock.now + kernel.draws.operations.randint(least, most), self._step)

    def _step(self) -> None:
        if self._request.is_over:
            return
        try:
            progress = next(self._work)
        except StopIteration:
            self._shown = self._shown[1], self._shown[1]
            self._end(statuses.STATUS_SUCCESS)
            return
        except CallFailed as failed:
            self._end(statuses.status_of(failed.code))
            return
        if progress is None:
            self._sleeps = True
            self._shown = self._shown[1], self._shown[1]
            if self._is_cancelled:
                self._end(statuses.STATUS_CANCELLED)
            return
        current, completion = progress
        if current == completion and self._request.error:
            self._shown = progress
            self._end(statuses.status_of(self._request.error))
            return
        luck = self._io.kernel.draws.operations.random()
        if luck < _FALLS_BACK:
            current //= 2
        elif luck < _FALLS_BACK + _IS_AHEAD:
            current = completion
        if self._request.function in _WAIT_TO_BE_ENDED:
            current = min(current, completion - 1)
        self._shown = current, completion
        if not self._request.draw.at_once:
            self._step_later()

    def _end(self, status: int) -> None:
        self._io.complete(self._request, status)
