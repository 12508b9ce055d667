"""Requests, from their call to their packet.

The way of one request:

    check it, as Windows does, and watch for what no caller should do
    own its memory, scribble over what is to be filled, set STATUS_PENDING
    draw its luck
      error at once ............ the call fails, and nothing more comes
      at once .................. done now, packet queued, the call succeeds
      else ..................... pending; the device takes it when it has room,
                                 and is done with it when the clock says so
    done: look at the memory again, move the data, set the status, signal the event, queue
          the packet

Rules:

1. Data moves, and status is set, at the moment of completion and not before.
2. A call that did not fail queues one packet, one that failed queues none.
3. The event of an OVERLAPPED is reset when its request begins, and set when it is over.
4. A device works on so many requests at a time; the others queue, first come first served.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import OVERLAPPED_RESULT, OVERLAPPED_STRUCT
from pyvhdmp.testing import memory, statuses
from pyvhdmp.testing.draws import Draw
from pyvhdmp.testing.kernel import CallFailed, Event, FileObject, Kernel
from pyvhdmp.testing.memory import Owned, Run

if TYPE_CHECKING:
    from pyvhdmp.testing.long_operations import LongOperation

__all__ = ["Action", "IoManager", "Request", "StorageDevice"]

_SECTOR: Final = 512
_FIRST_ERROR: Final = 0xC0000000
_STRAY_ADDRESS: Final = 0x10
"""An address where no OVERLAPPED ever is."""


class Action(enum.Enum):
    """What a request is to do."""

    READ = "read"
    WRITE = "write"
    CONTROL = "control"
    WORK = "work"
    """A long operation on a virtual disk."""


@dataclass(eq=False)
class Request:
    """What a caller asks of a device. `length`: bytes to transfer; `code`: of a control."""

    number: int
    function: str
    action: Action
    file: FileObject
    offset: int
    length: int
    owned: Owned
    draw: Draw
    code: int = 0
    error: int = 0
    event: Event | None = None
    operation: LongOperation | None = None
    posts_packet: bool = True
    is_over: bool = False
    status: int = statuses.STATUS_PENDING
    image: bytes = b""
    """The OVERLAPPED as it must stay until the request is over."""

    def __str__(self) -> str:
        return f"#{self.number} {self.function}"


class StorageDevice:
    """A device of bytes by offset: the base of files and virtual disks.

    It is asked for its bytes at the moment a request is over.
    """

    sector_size = _SECTOR

    def __init__(self, io: IoManager) -> None:
        self.io = io

    def start(self, request: Request) -> None:
        """Take a request on; what is in a cache is done at once."""
        if request.draw.at_once or request.draw.early:
            self.io.finish(request)
        else:
            self.io.queue.add(request)

    def cancel(self, request: Request) -> None:
        """Have a request completed as cancelled, if the medium has not begun with it."""
        clock = self.io.kernel.clock
        if request.draw.cancel_wins:
            clock.at(
                clock.now + request.draw.pause,
                lambda: self.io.complete(request, statuses.STATUS_CANCELLED),
            )

    def begin_flush(self) -> Callable[[], None]:
        """A flush begins; return what happens when it ends."""
        raise NotImplementedError

    def close(self) -> None:
        """The handle is closed."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range, as far as there are any."""
        raise NotImplementedError

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes. Raises `CallFailed`."""
        raise NotImplementedError

    def control(self, code: int, data: bytes, length: int) -> bytes:
        """Do what a control code says; return at most `length` bytes. Raises `CallFailed`."""
        raise CallFailed(constants.ERROR_INVALID_FUNCTION)

    def perform(self, request: Request) -> tuple[int, int]:
        """Move the data of a request; return its status and the bytes transferred."""
        length = request.length
        if request.draw.share < 1:
            length = int(length * request.draw.share) // self.sector_size * self.sector_size
        if length < request.length:
            self.io.faults_injected += 1
        try:
            if request.action is Action.READ:
                data = self.read(request.offset, length)
                if request.length and not data and length:
                    return statuses.STATUS_END_OF_FILE, 0
                memory.copy_out(request.owned.outputs, data)
                return statuses.STATUS_SUCCESS, len(data)
            data = memory.copy_in(request.owned.inputs)
            if request.action is Action.WRITE:
                self.write(request.offset, data[:length])
                return statuses.STATUS_SUCCESS, length
            answer = self.control(request.code, data, sum(n for _, n in request.owned.outputs))
            memory.copy_out(request.owned.outputs, answer)
            return statuses.STATUS_SUCCESS, len(answer)
        except CallFailed as failure:
            return statuses.status_of(failure.code), 0


class _Queue:
    """What waits for the medium, and what it works on."""

    def __init__(self, io: IoManager, depth: int) -> None:
        self._io = io
        self._depth = depth
        self._working = 0
        self._waiting: deque[Request] = deque()

    def add(self, request: Request) -> None:
        self._waiting.append(request)
        self._fill()

    def _fill(self) -> None:
        clock = self._io.kernel.clock
        while self._waiting and self._working < self._depth:
            request = self._waiting.popleft()
            if request.is_over:  # cancelled while it waited
                continue
            self._working += 1

            def done(request: Request = request) -> None:
                self._working -= 1
                self._io.finish(request)
                self._fill()

            clock.at(clock.now + request.draw.latency, done)


class IoManager:
    """Begins requests and completes them."""

    def __init__(self, kernel: Kernel, *, depth: int) -> None:
        self.kernel = kernel
        self.queue: _Queue = _Queue(self, depth)
        self.operations: int = 0
        self.faults_injected: int = 0
        self.is_off = False
        """Whether the power is off."""
        self.fails_later: int = 0
        """A code that the next request is to be completed with."""

    # -- From the call ------------------------------------------------------------

    def begin(
        self,
        function: str,
        action: Action,
        handle: int,
        inputs: list[Run],
        outputs: list[Run],
        overlapped: int,
        *,
        segments: Run | None = None,
        code: int = 0,
    ) -> None:
        """Begin a request; return if it is done, raise `CallFailed` with the code if not."""
        kernel = self.kernel
        later, self.fails_later = self.fails_later, 0  # first: others call while this one waits
        kernel.settle()
        file = kernel.file(handle, function)
        self._check_rights(file, action, code)
        offset, hEvent = self.overlapped(function, overlapped)
        # The first thing that ReadFile and its kin do, whether or not they are refused then.
        memory.write(overlapped, OVERLAPPED_RESULT.pack(statuses.STATUS_PENDING, 0))
        if action is Action.CONTROL:
            offset = 0
        else:
            self._check_alignment(file, function, inputs or outputs, offset)
        for address, length in inputs + outputs:
            if length and not memory.is_mapped(address, length):
                kernel.violation(f"{function} was given {address:#x}, where there is no memory")
                raise CallFailed(constants.ERROR_NOACCESS)
        draw = kernel.draws.request()
        self.operations += 1
        name = f"#{self.operations} {function}"
        length = sum(length for _, length in (inputs if action is Action.WRITE else outputs))
        what = f"code {code:#x}" if action is Action.CONTROL else f"byte {offset}, {length} bytes"
        kernel.note(f"{name}: {file.name}, {what}")
        later = later or draw.error
        at_once = 0 if later else draw.immediate_error
        is_read = bool(length) and action is Action.READ
        if draw.at_once and is_read and not later and self._is_past_end(file, offset):
            raise CallFailed(constants.ERROR_HANDLE_EOF)  # or else a packet says so
        self.faults_injected += bool(at_once or later or draw.warning) + draw.stray
        if at_once:
            if draw.stray:
                self._post(file, overlapped, 0, 0)
            raise CallFailed(at_once)
        owned = Owned(name, inputs, outputs, (overlapped, OVERLAPPED_STRUCT.size), segments)
        request = Request(
            self.operations, function, action, file, offset, length, owned, draw, code, later
        )
        self.own(request, hEvent)
        file.device.start(request)
        answer = self._answer(request)
        if draw.stray:
            self._post(file, overlapped if draw.stray_is_own else _STRAY_ADDRESS, 0, 0)
        kernel.clock.advance(draw.pause)
        kernel.changed()
        if file.port is not None and (draw.early or draw.hands_over):
            kernel.hand_over(file.port)
        if answer != constants.ERROR_SUCCESS:
            raise CallFailed(answer)

    def _answer(self, request: Request) -> int:
        """Return what the call says that there is a packet for: success, pending or a warning."""
        if request.draw.early or not request.is_over or request.status >= _FIRST_ERROR:
            return constants.ERROR_IO_PENDING
        return statuses.dos_error(request.status)

    def _is_past_end(self, file: FileObject, offset: int) -> bool:
        device = file.device
        return isinstance(device, StorageDevice) and not device.read(offset, 1)

    def _check_rights(self, file: FileObject, action: Action, code: int) -> None:
        if file.is_dead or self.is_off:
            raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)
        if not file.is_overlapped:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        reads, writes = action is Action.READ, action is Action.WRITE
        if action is Action.CONTROL:  # a code says itself what it needs: winioctl.h, CTL_CODE
            reads, writes = bool(code >> 14 & 1), bool(code >> 14 & 2)
        if (reads and not file.can_read) or (writes and not file.can_write):
            raise CallFailed(constants.ERROR_ACCESS_DENIED)

    def overlapped(self, function: str, address: int) -> tuple[int, int]:
        """Return the offset and the hEvent that an OVERLAPPED holds."""
        if not address:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        if not memory.is_mapped(address, OVERLAPPED_STRUCT.size):
            self.kernel.violation(f"{function} was given an OVERLAPPED where there is no memory")
            raise CallFailed(constants.ERROR_NOACCESS)
        raw = memory.read(address, OVERLAPPED_STRUCT.size)
        _, _, low, high, event = OVERLAPPED_STRUCT.unpack(raw)
        offset = high << 32 | low
        if offset >> 63:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        return offset, event

    def _check_alignment(
        self, file: FileObject, function: str, runs: list[Run], offset: int
    ) -> None:
        if not file.is_unbuffered:
            return
        unit = file.device.sector_size
        values = [offset, *[value for run in runs for value in run]]
        if any(value % unit for value in values):
            # A probe may ask for sectors smaller than those of the volume; there are none
            # below 512 bytes, so that is a mistake.
            if any(value % _SECTOR for value in values):
                self.kernel.violation(
                    f"{function} on the unbuffered {file.name} was given an address, a length or "
                    f"an offset that is no multiple of {_SECTOR}"
                )
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)

    def own(self, request: Request, hEvent: int) -> None:
        """Take over the memory of a request, which is in flight from here on."""
        kernel, owned, file = self.kernel, request.owned, request.file
        if hEvent & ~1:
            request.event = kernel.event(hEvent & ~1, request.function)
        # The low bit says that there is to be no packet, and is no part of the handle.
        request.posts_packet = file.port is not None and not hEvent & 1
        clash = kernel.owners.add(owned)
        if clash is not None:
            kernel.owners.remove(owned)
            kernel.violation(f"{request} was given the OVERLAPPED that {clash} still owns")
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        owned.begin(request.draw.pattern)
        request.image = memory.read(*owned.overlapped)
        if request.event is not None:
            request.event.is_set = False
        file.requests.append(request)

    # -- To the packet ------------------------------------------------------------

    def finish(self, request: Request) -> None:
        """The device is done with a request: move its data, and complete it."""
        if request.is_over:
            return
        if request.error:
            self.complete(request, statuses.status_of(request.error))
        elif request.draw.warning:
            self.complete(request, statuses.STATUS_BUFFER_OVERFLOW)
        else:
            device = request.file.device
            assert isinstance(device, StorageDevice)
            self.complete(request, None, 0, lambda: device.perform(request))

    def complete(
        self,
        request: Request,
        status: int | None,
        transferred: int = 0,
        perform: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """End a request: once, and only if its memory is as it must be is it written to."""
        if request.is_over:
            return
        request.is_over = True
        if request.operation is not None:
            request.operation.stop()
        file, owned = request.file, request.owned
        file.requests.remove(request)
        self.kernel.owners.remove(owned)
        problem = owned.problem()
        is_whole = (
            memory.is_mapped(*owned.overlapped) and memory.read(*owned.overlapped) == request.image
        )
        if problem is None and not is_whole:
            problem = f"the OVERLAPPED of {request} was changed while the kernel owned it"
        if problem is not None:
            self.kernel.violation(problem)
            status, transferred = statuses.STATUS_UNSUCCESSFUL, 0
        elif perform is not None:
            status, transferred = perform()
        assert status is not None
        request.status = status
        if is_whole:  # so that the caller does not wait for ever for what is reported at the end
            memory.write(
                owned.overlapped[0],
                OVERLAPPED_RESULT.pack(status, transferred),
            )
        self.kernel.note(f"{request} -> {status:#010x}, {transferred} bytes")
        if request.event is not None:
            request.event.is_set = True
        if request.posts_packet:
            self._post(file, owned.overlapped[0], status, transferred)
        else:
            self.kernel.changed()  # for whoever waits for it otherwise

    def _post(self, file: FileObject, overlapped: int, status: int, transferred: int) -> None:
        if file.port is not None:
            file.port.packets.append((file.key, overlapped, status, transferred))
            self.kernel.changed()

    # -- Otherwise ----------------------------------------------------------------

    def cancel(self, file: FileObject, overlapped: int) -> None:
        """Ask for one request, or with 0 for all of a file, to be cancelled."""
        found = [
            request for request in file.requests if overlapped in (0, request.owned.overlapped[0])
        ]
        if not found:
            raise CallFailed(constants.ERROR_NOT_FOUND)
        for request in found:
            self.kernel.note(f"cancel {request}")
            if request.operation is not None:
                request.operation.cancel()
            else:
                file.device.cancel(request)

    def abandon(self, file: FileObject, status: int, spared: Action | None = None) -> None:
        """End the requests of a file: it is closed, or its device is gone."""
        for request in list(file.requests):
            if request.action is not spared:
                self.complete(request, status)
