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
3. What most requests go through (`enter`, `leave`, `begin`, `finished`) is written for speed:
   few steps, few objects, one lock at a time.

How a call is made and cancelled is in `calls`, what a request of one call holds in `transfers`.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from pyvhdmp._win32 import Handle, constants
from pyvhdmp._win32.structures import DWORD_STRUCT, SEGMENT_SIZE
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.calls import Calls
from pyvhdmp.completion import CompletionPort
from pyvhdmp.errors import InvalidInputError, is_success, status_error
from pyvhdmp.flushing import Flush, FlushDone, Flushes
from pyvhdmp.register import Call
from pyvhdmp.slots import MAX_SEGMENTS, Slot, pack_segments
from pyvhdmp.transfers import ByteTransfer, Transfer, check_length, checked_offset
from pyvhdmp.waiting import Latch

if TYPE_CHECKING:
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["OverlappedFile", "Step", "Work"]

T = TypeVar("T")

_SLICE_SECONDS: Final = 0.1

Step: TypeAlias = tuple[object, ...]
"""A function and its arguments."""


class Work(Protocol):
    """What a file has taken on and has to finish before its handle can be closed."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is with Windows, so that only a cancel can end it."""

    def cancel(self) -> object:
        """Ask for the work to end early. It still ends by itself, once."""


class OverlappedFile(Calls):
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

    _owns_handle = False

    def __init__(self, handle: int, *, port: CompletionPort | None = None) -> None:
        super().__init__(
            Handle(operator.index(handle)), port if port is not None else CompletionPort.default()
        )
        self._work: dict[Work, None] = {}  # in the order it was entered
        self._flushes = Flushes(self._port, self._handle)
        self._closing = self._detaching = False
        self._ended = Latch()
        self._check_overlapped()
        self._port.attach(self, self._handle)
        self._owns_handle = True  # last, so whatever is raised from here, it is the caller's

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

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Work refers to its file, and the port to the work: nothing is in flight.
        if self._owns_handle:
            text = f"unclosed {self.opened_as or repr(self)}"
            self._begin_close()  # first, as a warning may be an error
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._closing

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
        transfer = ByteTransfer(self, "DeviceIoControl")
        try:
            given = transfer.pin([] if input is None else [input], writable=False, name="input")
            # Some codes take data through the output buffer and leave it as it is.
            taken = transfer.pin([] if output is None else [output], writable=True, name="output")
            check_length(given.length)
            check_length(taken.length)
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
        flush = Flush(self)
        try:
            self.enter(flush)
            self.flush_then(flush.finish)
        except BaseException as error:
            # Closed, or Ctrl+C. The completion thread knows whether it is being flushed already.
            self._port.call_soon(partial(self._flushes.abandon, flush, error))
            raise
        return flush

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
        begun = False
        try:
            with self._lock:
                if self._closing:
                    raise ValueError("the file is closed")
                self._closing = self._detaching = begun = True
            self._begin_close()
            self._wait_for_end()
        except BaseException:  # Ctrl+C: then it is closed, not lost
            if begun:
                with self._lock:
                    self._detaching = False
                    self._end_if_idle()
            raise
        self._owns_handle = False
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

        That is: detach the slot under the lock (rule 1 of `calls`), take the call out of the
        register, reuse the slot, leave. Then follows `look_whether_idle`.
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
        """Flush on the executor, then call `done` on the completion thread."""
        self._flushes.ask(done)

    def _transfer(
        self, function: str, call: Call, buffer: Buffer, offset: int, *, writable: bool
    ) -> Future[int]:
        transfer = ByteTransfer(self, function)
        try:
            offset = checked_offset(offset)
            pins = transfer.pin([buffer], writable=writable, name="the buffer")
            check_length(pins.length)
            self.enter(transfer)
            self.submit(transfer, call, pins.addresses[0], pins.length, offset)
        except BaseException:
            transfer.abandon()
            raise
        return transfer

    def _transfer_pages(
        self, function: str, call: Call, buffers: Sequence[Buffer], offset: int, *, writable: bool
    ) -> Future[int]:
        transfer = ByteTransfer(self, function)
        try:
            offset = checked_offset(offset)
            pages: list[int] = []
            pins = transfer.pin(list(buffers), writable=writable)
            check_length(pins.length)
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
        if not self._closing or self._work:
            return
        close = self._windows.kernel32.CloseHandle  # which may have to be looked up
        try:
            if self._owns_handle and not self._detaching:
                self._owns_handle = False  # and no Ctrl+C comes between this and the call
                close(self._handle)
        finally:
            self._ended.set()
