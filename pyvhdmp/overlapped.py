"""A file opened for overlapped I/O, with any number of requests in flight.

Rules:

1. The handle belongs to the `OverlappedFile`, from a successful constructor until
   `close` or `detach`. It is closed once, and never with I/O in flight: whoever
   finishes the last piece of work after `close` closes it.
2. Work (a request with a future, which may take several operations) is entered
   before its first call and left after its future is finished. Closed means that
   no new work is entered; what has been entered runs to its end. Neither takes a lock:
   who enters, or leaves, changes the dict and then looks whether the file is closing;
   who closes says so and then looks at the dict. So one of the two sees the other.
3. A slot is detached from its operation, and cancelled, under one lock, so CancelIoEx
   can only ever name the OVERLAPPED of the operation that was meant.
4. A cancel that comes while a call is being made would find nothing to cancel. It
   leaves a mark, and the thread that makes the call cancels when it returns.
5. A flush covers every write that had finished when it was asked for, so one that
   begins later than that serves just as well, and serves any number who wait for it.
6. What most requests go through (`enter`, `submit`, `_start`, `finished`) is written for
   speed: few steps, few objects, one lock at a time. A request that is one call is one
   object, its future.
"""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from pyvhdmp._win32 import Handle, constants
from pyvhdmp._win32.memory import Pins
from pyvhdmp._win32.structures import (
    DWORD_STRUCT,
    OVERLAPPED_RESULT,
    OVERLAPPED_STRUCT,
    SEGMENT_SIZE,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.completion import NOT_CALLED, CompletionPort, KernelCall
from pyvhdmp.errors import InvalidInputError, is_success, status_error, windows_error
from pyvhdmp.futures import IoFuture, Latch
from pyvhdmp.slots import MAX_SEGMENTS, Slot, pack_segments

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["OverlappedFile", "Transfer", "pin_buffers"]

T = TypeVar("T")

MAX_TRANSFER: Final = constants.MAXDWORD // PAGE_SIZE * PAGE_SIZE
"""Bytes that one call can transfer: its length is a DWORD. Whole pages."""

_MAX_OFFSET: Final = (1 << 63) - 1
_SLICE_SECONDS: Final = 0.1

_PENDING: Final = [0, constants.ERROR_IO_PENDING]
"""What most calls return, and the last error then."""

_pack_overlapped: Final = OVERLAPPED_STRUCT.pack_into

FlushDone: TypeAlias = "Callable[[BaseException | None], None]"
"""What is called when a flush is over: with None, or why it failed."""

Step: TypeAlias = tuple[object, ...]
"""A function and its arguments."""

Call: TypeAlias = Callable[[int, int, int, int, int], int]
"""ReadFile and its kin: handle, address, length, NULL, OVERLAPPED."""


class Work(Protocol):
    """What a file has taken on and has to finish before its handle can be closed."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is with Windows, so that only a cancel can end it."""

    def cancel(self) -> object:
        """Ask for the work to end early. It still ends by itself, once."""


class OverlappedFile:
    """Owns a handle opened with FILE_FLAG_OVERLAPPED and does I/O on it.

    Any contiguous object with the buffer protocol is a buffer. It is used in
    place, never copied, and can be neither freed nor resized until its future is
    finished; what else the file asks of it (alignment on an unbuffered handle) is
    the caller's to keep. All methods can be called from any thread.

    `port`: the `CompletionPort` to use, the process's own by default.

    Raises `InvalidInputError` for a handle that is not open for overlapped I/O,
    and the `OSError` of CreateIoCompletionPort, for one that is bound to a port
    already. The handle then remains the caller's.
    """

    opened_as: str | None = None
    """What the user has opened, which a warning names if nobody closes it. For the layers above."""

    def __init__(self, handle: int, *, port: CompletionPort | None = None) -> None:
        self._ended = Latch()
        self._ended.set()  # nothing to close, as far as __del__ is concerned
        self._handle = Handle(operator.index(handle))
        self._port = port if port is not None else CompletionPort.default()
        self._windows = self._port.windows
        self._ask_last_error = (self._windows.get_last_error,)
        self._operations = self._port.operations
        self._slots = self._port.slots
        self._note_pending = self._port.note_pending
        self._lock = threading.RLock()  # a finalizer may come back in
        self._work: dict[Work, None] = {}  # in the order it was entered
        self._to_flush: list[FlushDone] = []
        self._being_flushed: list[FlushDone] = []  # the completion thread's own
        self._closing = False
        self._owns_handle = True
        self._check_overlapped()
        self._port.attach(self, self._handle)
        self._ended = Latch()

    def _check_overlapped(self) -> None:
        # Asked of the kernel, as a synchronous handle would block every caller
        # and never post a packet.
        slot = self._slots.take()
        try:
            mode_at = slot.segments_offset
            status = self._windows.ntdll.NtQueryInformationFile(
                self._handle,
                slot.address,
                slot.segments_address,
                DWORD_STRUCT.size,
                constants.FileModeInformation,
            )
            if not is_success(status):
                raise status_error(self._windows, status, "NtQueryInformationFile")
            (mode,) = DWORD_STRUCT.unpack_from(slot.memory, mode_at)
        finally:
            self._slots.give(slot)
        if mode & (constants.FILE_SYNCHRONOUS_IO_ALERT | constants.FILE_SYNCHRONOUS_IO_NONALERT):
            raise InvalidInputError.because(
                f"handle {self._handle:#x} was opened without FILE_FLAG_OVERLAPPED"
            )

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"handle {self._handle:#x}"
        return f"<OverlappedFile {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Work refers to its file, and the port to the work: nothing is in flight.
        if not self._ended.is_set:
            text = f"unclosed {self.opened_as or repr(self)}"
            self._begin_close()  # first, as a warning may be an error
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._closing

    @property
    def handle(self) -> int:
        """The handle, still owned by this object."""
        return self._handle

    @property
    def port(self) -> CompletionPort:
        """The port that the handle is bound to."""
        return self._port

    # -- Requests -------------------------------------------------------------

    def read_at(self, buffer: Buffer, offset: int) -> Future[int]:
        """Fill `buffer` from byte `offset`. Future of the bytes read, 0 at the end of the file.

        Raises `InvalidInputError` for a buffer that is read-only, not contiguous
        or above 4 GiB, or an `offset` out of range. Source: ReadFile, fileapi.h.
        """
        function = self._windows.kernel32.ReadFile
        return self._transfer("ReadFile", function, buffer, offset, writable=True)

    def write_at(self, buffer: Buffer, offset: int) -> Future[int]:
        """Write `buffer` at byte `offset`. Future of the bytes written.

        Raises `InvalidInputError` as `read_at` does. Source: WriteFile, fileapi.h.
        """
        function = self._windows.kernel32.WriteFile
        return self._transfer("WriteFile", function, buffer, offset, writable=False)

    def read_scatter_at(self, buffers: Sequence[Buffer], offset: int) -> Future[int]:
        """Fill whole pages, wherever they lie, from byte `offset`. Future of the bytes read.

        Each buffer is page-aligned and a whole number of pages long, and the
        handle unbuffered. Raises `InvalidInputError` otherwise. Source:
        ReadFileScatter, fileapi.h.
        """
        function = self._windows.kernel32.ReadFileScatter
        return self._transfer_pages("ReadFileScatter", function, buffers, offset, writable=True)

    def write_gather_at(self, buffers: Sequence[Buffer], offset: int) -> Future[int]:
        """Write whole pages, wherever they lie, at byte `offset`. Future of the bytes written.

        Raises as `read_scatter_at` does. Source: WriteFileGather, fileapi.h.
        """
        function = self._windows.kernel32.WriteFileGather
        return self._transfer_pages("WriteFileGather", function, buffers, offset, writable=False)

    def device_io_control(
        self, code: int, input: Buffer | None = None, output: Buffer | None = None
    ) -> Future[int]:
        """Send a control code. Future of the bytes that the driver put into `output`.

        Raises `InvalidInputError` as `read_at` does, for either buffer, and for a code that
        is none. Source: DeviceIoControl, ioapiset.h.
        """
        code = operator.index(code)
        if not 0 <= code <= constants.MAXDWORD:
            raise InvalidInputError.because(f"{code} is no control code")
        function = self._windows.kernel32.DeviceIoControl
        transfer = _Transfer(self, "DeviceIoControl")
        try:
            given = transfer.pin([] if input is None else [input], writable=False, name="input")
            # Some codes take data through the output buffer and leave it as it is.
            taken = transfer.pin([] if output is None else [output], writable=True, name="output")
            _check_length(given.length)
            _check_length(taken.length)
            in_address = given.addresses[0] if given.length else 0
            out_address = taken.addresses[0] if taken.length else 0
            self.enter(transfer)
            arguments = (code, in_address, given.length, out_address, taken.length, 0)
            self._start(transfer, self._slots.take(), 0, function, *arguments)
        except BaseException:
            transfer.abandon()
            raise
        return transfer

    def flush(self) -> Future[None]:
        """Put all that has been written on stable storage. Future of None.

        It blocks a thread of the flush executor, and no other. A cancel has no
        effect. Raises `ValueError` on a closed file. Source: NtFlushBuffersFileEx, ntifs.h.
        """
        flush = _Flush(self)
        try:
            self.enter(flush)
            self.flush_then(flush.finish)
        except BaseException as error:
            # Closed, or Ctrl+C. The completion thread knows whether it is being flushed already.
            self._port.call_soon(partial(self._abandon_flush, flush, error))
            raise
        return flush.future

    def cancel(self) -> None:
        """Ask the kernel to cancel all that is in flight on this file.

        Each future finishes for itself: as cancelled where the kernel confirms it.
        """
        with self._lock:
            work = list(self._work)
        for item in work:
            item.cancel()

    def close(self, *, cancel: bool = False) -> None:
        """Refuse new requests, wait for those in flight, then close the handle.

        `cancel`: ask the kernel to cancel them first. Idempotent. On the completion
        thread, in a done-callback, it does not wait; the handle is closed when the
        last request is done.
        """
        self._begin_close(cancel=cancel)
        if not self._port.on_thread():
            self._wait_for_end()

    def detach(self) -> int:
        """Wait as `close` does, then hand the handle over to the caller, open.

        The handle stays bound to its port, as Windows has it. Raises `ValueError` if
        the file is closed, and `RuntimeError` in a done-callback, which cannot wait.
        """
        if self._port.on_thread():
            raise RuntimeError("a done-callback cannot wait for the handle to become idle")
        with self._lock:
            if self._closing:
                raise ValueError("the file is closed")
            self._closing = True
            self._owns_handle = False
        try:
            self._begin_close()
            self._wait_for_end()
        except BaseException:  # Ctrl+C: then it is closed, not lost
            with self._lock:
                self._owns_handle = not self._ended.is_set
            raise
        return self._handle

    # -- Work and operations, for the layers above ----------------------------

    def enter(self, work: Work) -> None:
        """Take on a piece of work. Raises `ValueError` on a closed file."""
        self._work[work] = None
        if self._closing:
            self.leave(work)
            raise ValueError("I/O operation on a closed file")

    def has(self, work: Work) -> bool:
        """Whether a piece of work has been entered and not left."""
        return work in self._work

    @property
    def is_busy(self) -> bool:
        """Whether there is work that has been entered and not left."""
        return bool(self._work)

    def refuse(self) -> None:
        """Take on no more work. The handle stays open."""
        with self._lock:
            self._closing = True

    def leave(self, work: Work) -> None:
        """A piece of work is over, its future finished. The last one closes the handle."""
        self._work.pop(work, None)
        self.look_whether_idle()

    def last_steps(self, operation: Work, slot: Slot) -> tuple[Step, ...]:
        """Return what ends a call that its thread has waited for, as calls of functions in C.

        That is: detach the slot under the lock (rule 3), take the call out of the register, reuse
        the slot, leave. Then follows `look_whether_idle`.
        """
        return (
            (self._lock.acquire,),
            (setattr, operation, "slot", None),
            (self._lock.release,),
            (self._operations.pop, slot.address, None),
            (self._slots.give, slot),
            (self._work.pop, operation, None),
        )

    def look_whether_idle(self) -> None:
        """Close the handle if that is wanted, and what has been left was the last."""
        if self._closing:
            with self._lock:
                self._end_if_idle()

    def submit(
        self, operation: KernelCall, call: Call, address: int, length: int, offset: int
    ) -> None:
        """Make one call over contiguous memory. `operation.finish` follows, once."""
        self._start(operation, self._slots.take(), offset, call, address, length, 0)

    def submit_pages(
        self, operation: KernelCall, call: Call, pages: Sequence[int], offset: int
    ) -> None:
        """Make one scatter or gather call over up to MAX_SEGMENTS pages, by their addresses."""
        slot = self._slots.take()
        pack_segments(slot.memory, slot.segments_offset, pages)
        length = len(pages) * PAGE_SIZE
        self._start(operation, slot, offset, call, slot.segments_address, length, 0)

    def cancel_operation(self, operation: KernelCall) -> None:
        """Ask the kernel to cancel one operation, by CancelIoEx. Its packet comes all the same."""
        with self._lock:
            operation.cancel_wanted = True
            if operation.slot is not None:
                # ERROR_NOT_FOUND: it is over already, or not begun (rule 4).
                self._windows.kernel32.CancelIoEx(self._handle, operation.slot.address)

    def release_slot(self, operation: KernelCall) -> None:
        """Detach and reuse the slot of an operation that the kernel has let go of."""
        with self._lock:
            slot, operation.slot = operation.slot, None
        if slot is not None:
            self._slots.give(slot)

    def begin(
        self, transfer: Transfer[T], call: Call, address: int, length: int, offset: int
    ) -> None:
        """Enter a request that is one call over contiguous memory, and make the call.

        Raises `ValueError` on a closed file, as `enter` does.
        """
        try:
            self.enter(transfer)
            self._start(transfer, self._slots.take(), offset, call, address, length, 0)
        except BaseException:
            transfer.abandon()
            raise

    def begin_pages(
        self, transfer: Transfer[T], call: Call, pages: Sequence[int], offset: int
    ) -> None:
        """Enter a request that is one call over up to MAX_SEGMENTS pages, and make the call.

        Raises `ValueError` on a closed file, as `enter` does.
        """
        try:
            self.enter(transfer)
            self.submit_pages(transfer, call, pages, offset)
        except BaseException:
            transfer.abandon()
            raise

    def finished(self, transfer: Transfer[T]) -> None:
        """The future of a request that was one call is finished: reuse its slot, and leave."""
        self.release_slot(transfer)
        self.leave(transfer)

    def flush_then(self, done: FlushDone) -> None:
        """Flush on the executor, then call `done` on the completion thread.

        One flush at a time: all who ask for one while it runs share the next (rule 5).
        """
        with self._lock:
            self._to_flush.append(done)
        self._port.call_soon(self._begin_flush)

    def _begin_flush(self) -> None:
        """On the completion thread: begin one flush for all who have asked, if none runs."""
        if self._being_flushed:
            return
        with self._lock:
            served, self._to_flush = self._to_flush, []
        if not served:
            return
        self._being_flushed = served
        try:
            self._port.call_blocking(self._flush_and_tell)
        except BaseException as error:  # for want of memory
            self._flushed(0, error)

    def _abandon_flush(self, flush: _Flush, error: BaseException) -> None:
        """On the completion thread: an exception came up while a flush was asked for."""
        with self._lock:
            if flush.finish in self._to_flush:
                self._to_flush.remove(flush.finish)
        if flush.finish not in self._being_flushed and not flush.future.done():
            flush.finish(error)

    def _flush_and_tell(self) -> None:
        """On the executor: flush."""
        status, failure = 0, None
        try:
            status = self._flush()
        except BaseException as error:  # for want of memory; whoever waits must get it
            failure = error
        self._port.call_soon(partial(self._flushed, status, failure))

    def _flushed(self, status: int, failure: BaseException | None) -> None:
        """On the completion thread: tell everybody how it went, and flush for the next."""
        served, self._being_flushed = self._being_flushed, []
        try:
            for done in served:
                error = failure
                if error is None and not is_success(status):  # an error of its own for each
                    error = status_error(self._windows, status, "NtFlushBuffersFileEx")
                self._port.call_soon(partial(done, error))
        finally:
            self._begin_flush()

    def _flush(self) -> int:
        """Flush; return the status."""
        slot = self._slots.take()  # its first two fields are an IO_STATUS_BLOCK
        status = self._windows.ntdll.NtFlushBuffersFileEx(self._handle, 0, 0, 0, slot.address)
        if status == constants.STATUS_PENDING:
            # It always blocks, says Windows. If not, the slot is the kernel's for good.
            raise windows_error(constants.ERROR_IO_PENDING, "NtFlushBuffersFileEx")
        self._slots.give(slot)
        return status

    def _start(
        self,
        operation: KernelCall,
        slot: Slot,
        offset: int,
        call: Callable[..., int],
        *arguments: int,
    ) -> None:
        """Make a call: `arguments` are all it takes between the handle and the OVERLAPPED."""
        address = slot.address
        _pack_overlapped(
            slot.memory, slot.offset, NOT_CALLED, 0, offset & 0xFFFFFFFF, offset >> 32, 0
        )
        operation.slot = slot
        outcome: list[int] = []
        try:
            operation.begun = True
            self._operations[address] = operation
            # In one step of the interpreter: in between, a finalizer or a signal handler
            # could make a call of its own on this thread and leave its error for ours.
            steps = ((call, self._handle, *arguments, address), self._ask_last_error)
            outcome.extend(starmap(operator.call, steps))
            if outcome == _PENDING and not operation.cancel_wanted:
                self._note_pending()
            elif not outcome[0] or operation.cancel_wanted:
                self._called(operation, slot, outcome)
        except BaseException:
            # Ctrl+C, or an argument that ctypes refused. The call itself begins by
            # changing Internal, so this tells whether the kernel knows of it.
            try:
                self._interrupted(operation, slot, outcome)
            except BaseException:  # Ctrl+C once more: this can be repeated
                self._interrupted(operation, slot, outcome)
            raise

    def _interrupted(self, operation: KernelCall, slot: Slot, outcome: list[int]) -> None:
        """A call was interrupted, before it was made or after."""
        status, _ = OVERLAPPED_RESULT.unpack_from(slot.memory, slot.offset)
        if len(outcome) == 2:
            self._called(operation, slot, outcome)  # which can be done twice
        elif status == NOT_CALLED and operation.begun:
            self._port.withdraw(operation, slot)
            self.release_slot(operation)
            operation.begun = False

    def _called(self, operation: KernelCall, slot: Slot, outcome: list[int]) -> None:
        """The call has been made: what it returned, and the last error."""
        succeeded, code = outcome
        if not succeeded and code not in (constants.ERROR_IO_PENDING, constants.ERROR_MORE_DATA):
            code = code or constants.ERROR_GEN_FAILURE
            self._port.call_soon(partial(self._fail, operation, slot, code))
            return
        if not succeeded:
            self._note_pending()
        if operation.cancel_wanted:
            # By now the operation may be finished, and the slot another's (rule 3).
            self.cancel_operation(operation)

    def _fail(self, operation: KernelCall, slot: Slot, code: int) -> None:
        """On the completion thread: no packet will come for an operation, as its call failed."""
        if self._port.call_failed(operation, slot):
            operation.finish(code, 0)

    def _transfer(
        self, function: str, call: Call, buffer: Buffer, offset: int, *, writable: bool
    ) -> Future[int]:
        transfer = _Transfer(self, function)
        try:
            offset = _checked_offset(offset)
            pins = transfer.pin([buffer], writable=writable, name="the buffer")
            _check_length(pins.length)
            self.enter(transfer)
            self.submit(transfer, call, pins.addresses[0], pins.length, offset)
        except BaseException:
            transfer.abandon()
            raise
        return transfer

    def _transfer_pages(
        self, function: str, call: Call, buffers: Sequence[Buffer], offset: int, *, writable: bool
    ) -> Future[int]:
        transfer = _Transfer(self, function)
        try:
            offset = _checked_offset(offset)
            pages: list[int] = []
            pins = transfer.pin(list(buffers), writable=writable)
            _check_length(pins.length)
            for index, address in enumerate(pins.addresses):
                if address % PAGE_SIZE or pins.lengths[index] % PAGE_SIZE:
                    raise InvalidInputError.because(
                        f"buffers[{index}] is not made of whole, aligned pages of {PAGE_SIZE} bytes"
                    )
                pages.extend(range(address, address + pins.lengths[index], PAGE_SIZE))
            self.enter(transfer)
            if len(pages) <= MAX_SEGMENTS:
                self.submit_pages(transfer, call, pages, offset)
            else:
                # More than a slot has room for: an array of its own, kept by the operation.
                array = transfer.segments = Block((len(pages) + 1) * SEGMENT_SIZE)
                pack_segments(array.memory, 0, pages)
                self.submit(transfer, call, array.address, len(pages) * PAGE_SIZE, offset)
        except BaseException:
            transfer.abandon()
            raise
        return transfer

    def _begin_close(self, *, cancel: bool = False) -> None:
        with self._lock:
            self._closing = True
            work = list(self._work)
        for item in work:
            if cancel or item.is_idle:
                item.cancel()
        with self._lock:
            self._end_if_idle()

    def _wait_for_end(self) -> None:
        while not self._ended.wait(_SLICE_SECONDS):  # lets Ctrl+C through: longer waits do not
            with self._lock:  # again, for whoever has left and was interrupted before it looked
                self._end_if_idle()

    def _end_if_idle(self) -> None:
        """Under the lock: close the handle if the file is to be closed and nothing is left."""
        if not self._closing or self._work or self._ended.is_set:
            return
        try:
            if self._owns_handle:
                self._owns_handle = False
                self._windows.kernel32.CloseHandle(self._handle)
        finally:
            self._ended.set()


class Transfer(IoFuture[T], KernelCall):
    """A request that is one call: the future, and the call, and the work of the file.

    Its `finish` lets the buffers go, finishes the future and then, whatever came up, tells
    the file that it is `finished`.
    """

    is_idle: Final = False

    def __init__(self, file: OverlappedFile) -> None:
        super().__init__()
        self.file = file

    def cancel(self) -> bool:
        """Ask the kernel to cancel the call; return False: see `IoFuture.cancel`."""
        if not self.done():
            self.file.cancel_operation(self)
        return False

    def abandon(self) -> None:
        """An exception came up while this was being begun. If it was, its packet will come."""
        if not self.begun:
            self.finish(constants.ERROR_OPERATION_ABORTED, 0)


class _Transfer(Transfer[int]):
    """One call whose future tells the bytes transferred: a read, a write, a control."""

    def __init__(self, file: OverlappedFile, function: str) -> None:
        super().__init__(file)
        self.segments: Block | None = None
        self._function = function
        self._pins: list[Pins] = []

    def pin(self, buffers: list[Buffer], *, writable: bool, name: str | None = None) -> Pins:
        """Hold buffers until the end of the transfer."""
        pins = pin_buffers(buffers, writable=writable, name=name)
        self._pins.append(pins)
        return pins

    def finish(self, code: int, transferred: int) -> None:
        """Let the buffers go, tell how many bytes were transferred, leave the file."""
        try:
            for pins in self._pins:
                pins.release()
            if code in (constants.ERROR_SUCCESS, constants.ERROR_HANDLE_EOF):
                self.resolve(transferred)
            elif code == constants.ERROR_OPERATION_ABORTED and self.cancel_wanted:
                self.fail(CancelledError())
            else:
                self.fail(windows_error(code, self._function))
        finally:
            self.file.finished(self)


class _Flush:
    """A flush on the executor."""

    is_idle = False

    def __init__(self, file: OverlappedFile) -> None:
        self.future: IoFuture[None] = IoFuture()
        self._file = file

    def cancel(self) -> None:
        pass  # a flush has no OVERLAPPED to name

    def finish(self, error: BaseException | None) -> None:
        try:
            if error is None:
                self.future.resolve(None)
            else:
                self.future.fail(error)
        finally:
            self._file.leave(self)


def pin_buffers(buffers: list[Buffer], *, writable: bool, name: str | None = None) -> Pins:
    """Hold buffers that a caller gave.

    Raises `InvalidInputError` for one that cannot be used, and `TypeError` for what is no
    buffer, with its `name`, which by default is its place among `buffers`.
    """
    try:
        return Pins(buffers, writable)
    except (BufferError, TypeError) as error:
        for index, buffer in enumerate(buffers):
            _check_buffer(buffer, writable, name or f"buffers[{index}]")
        raise error


def _check_buffer(buffer: Buffer, writable: bool, name: str) -> None:
    try:
        Pins([buffer], writable).release()
    except BufferError as error:
        raise InvalidInputError.because(f"{name} cannot be used: {error}") from error


def _check_length(length: int) -> None:
    if length > MAX_TRANSFER:
        raise InvalidInputError.because(f"one call transfers at most {MAX_TRANSFER} bytes")


def _checked_offset(offset: int) -> int:
    offset = operator.index(offset)
    if not 0 <= offset <= _MAX_OFFSET:
        raise InvalidInputError.because(f"offset {offset} is not in 0 .. 2**63 - 1")
    return offset
