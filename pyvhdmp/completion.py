"""The completion port: one thread that turns packets into finished operations.

The way of one operation:

    caller's thread                    kernel              completion thread
    take a slot, register it
    make the call  ------------------> works
    (returns at once)                  posts a packet ---> look the operation up,
                                                           operation.finish(...),
                                                           which gives the slot back

Rules:

1. A call that did not fail, whether it returned TRUE, ERROR_IO_PENDING or
   ERROR_MORE_DATA, posts exactly one packet: FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
   stays off. A call that failed posts none.
2. An operation is registered before its call, since its packet may be dequeued
   before the call returns. The completion thread takes it out of the register and
   finishes it, whether its packet came or its call failed. Nobody else, ever: signals
   interrupt other threads halfway. (A call that is to post no packet is taken out by the
   thread that waits for it: see `synchronous`.)
3. The register keeps everything the kernel can touch alive: slot, pages, the
   exporting objects. It is never emptied by anything but rule 2, not even when
   the interpreter ends; then what is left over is leaked on purpose.
4. The outcome is read from the OVERLAPPED, never from GetLastError or the packet.
   A packet for an unknown address, or for an operation whose OVERLAPPED says that
   it is pending or not called yet, is a stray: counted, and ignored.
5. Nothing that a callback raises stops the thread.
"""

from __future__ import annotations

import atexit
import enum
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Final

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import keep_for_ever
from pyvhdmp._win32.structures import DWORD_STRUCT, OVERLAPPED_ENTRY_STRUCT, OVERLAPPED_RESULT
from pyvhdmp.buffers import PAGE_SIZE, Block, BouncePool
from pyvhdmp.errors import InvalidInputError, is_success, last_error
from pyvhdmp.futures import Latch, mark_completion_thread
from pyvhdmp.logs import logger
from pyvhdmp.slots import MAX_SEGMENTS, Slot, SlotPool

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pyvhdmp.overlapped import OverlappedFile

__all__ = ["CompletionPort", "KernelCall", "wait_interruptibly"]

NOT_CALLED: Final = 0xEFBEADDE
"""OVERLAPPED.Internal before the call: a status with the customer bit, so none of Windows'."""

_BATCH: Final = 64
"""Packets taken by one dequeue: each wake-up costs a wait for the GIL, so take many."""

_PACKETS_SIZE: Final = _BATCH * OVERLAPPED_ENTRY_STRUCT.size

_BOUNCE_BUDGET: Final = 16 * 1024 * 1024
_FLUSH_THREADS: Final = 4
_EXIT_SECONDS: Final = 3.0
"""How long the end of the interpreter waits for the kernel to confirm cancellations."""

_unpack_result: Final = OVERLAPPED_RESULT.unpack_from


class _Key(enum.IntEnum):
    """What a packet is for: the completion key."""

    IO = 1
    CALL = 2
    STOP = 3


class KernelCall:
    """One call into the kernel, from before it is made until its packet is dequeued.

    `slot` is set for as long as the kernel may use it, and until it is given back. It is
    taken away under the lock of the file, so that a cancel can never hit a reused slot.
    `begun`: somebody will call `finish`, or has; until then nobody will.
    """

    file: OverlappedFile
    slot: Slot | None = None
    begun: bool = False
    cancel_wanted: bool = False

    def finish(self, code: int, transferred: int) -> None:
        """The kernel has let go: a Win32 code (0 for success) and the bytes transferred.

        Called once, on the completion thread. It gives the slot back, through the file.
        """
        raise NotImplementedError


class _Register:
    """What the completion thread and the callers share. The thread holds this and
    not the `CompletionPort`, so that a port nobody uses any more can be collected."""

    def __init__(self, windows: _win32.Windows, handle: int) -> None:
        self.windows = windows
        self.handle = handle
        self.slots = SlotPool()
        self.operations: dict[int, KernelCall] = {}  # by the address of the OVERLAPPED
        self.peak_in_flight = 0
        self.calls_over = 0  # this and the next are the thread's own
        self.strays = 0
        self.calls_waited_for = 0
        self.is_kept = False  # for ever, as the kernel owns some of it
        self._lock = threading.RLock()
        self._soon: deque[Callable[[], object]] = deque()
        self._last: list[Callable[[], object]] = []  # the thread's own
        self._packets = Block(_PACKETS_SIZE + DWORD_STRUCT.size)  # and how many there are
        self._running = self._over = False

    def note_pending(self) -> None:
        """A call has returned pending: this is a moment to look how deep the queue is.

        Calls that Windows carried out while they were made never are such a moment, so
        a depth that was only asked for is not reported as one that was achieved.
        """
        depth = len(self.operations)
        if depth > self.peak_in_flight:
            with self._lock:
                self.peak_in_flight = max(self.peak_in_flight, depth)

    def take_out(self, operation: KernelCall, address: int) -> bool:
        """Take out an operation that no packet will come for; False if one came all the same."""
        if self.operations.get(address) is not operation:
            return False
        del self.operations[address]
        return True

    def count_waited_for(self) -> None:
        """A call that was made to be waited for is over."""
        with self._lock:
            self.calls_waited_for += 1

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have the thread run `call`, after the packets it has dequeued."""
        with self._lock:
            if not self._over:
                self._soon.append(call)
                # If this fails, for want of memory, the next packet of any kind will do.
                self.windows.kernel32.PostQueuedCompletionStatus(self.handle, 0, _Key.CALL, 0)
                return
        call()  # the thread is gone: nothing it could have been doing is in the way

    def call_last(self, call: Callable[[], object]) -> None:
        """On the thread: run `call` when all that was dequeued with what is at hand is done."""
        self._last.append(call)

    def stop(self) -> None:
        """Have the thread end, and close the port's handle when it does."""
        with self._lock:
            if not self._over:
                self.windows.kernel32.PostQueuedCompletionStatus(self.handle, 0, _Key.STOP, 0)

    def abandon(self) -> None:
        """There is to be no thread after all, though it may be on its way already."""
        with self._lock:
            if self._running:
                self.stop()
            elif not self._over:
                self._over = True
                self.windows.kernel32.CloseHandle(self.handle)

    def run(self) -> None:
        """The completion thread: dequeue packets until told to stop."""
        with self._lock:
            if self._over:
                return
            self._running = True
        mark_completion_thread()
        memory = memoryview(self._packets.memory)
        io, complete = int(_Key.IO), self._complete
        running = True
        while running and self._dequeue():
            (count,) = DWORD_STRUCT.unpack_from(memory, _PACKETS_SIZE)
            batch = memory[: count * OVERLAPPED_ENTRY_STRUCT.size]
            calls = len(self._soon)  # what is asked for from here on has a packet to come
            for key, address, _, _ in OVERLAPPED_ENTRY_STRUCT.iter_unpack(batch):
                if key == io:
                    try:
                        complete(address)
                    except BaseException:
                        _log_error()
                elif key == _Key.STOP:
                    running = False
                elif key != _Key.CALL:
                    self.strays += 1
            self._run_calls(calls)
            self._run_last()
        with self._lock:
            self._over = True
            self.windows.kernel32.CloseHandle(self.handle)
            if not self.is_kept:
                self.slots.close_events(self.windows.kernel32.CloseHandle)
        self._run_calls(len(self._soon))
        self._run_last()

    def _dequeue(self) -> bool:
        """Wait for packets; False if there can be none any more."""
        dequeue = self.windows.kernel32.GetQueuedCompletionStatusEx
        packets, removed = self._packets.address, self._packets.address + _PACKETS_SIZE
        while not dequeue(self.handle, packets, _BATCH, removed, constants.INFINITE, 0):
            code = self.windows.get_last_error()
            logger.error("GetQueuedCompletionStatusEx failed with Windows error %d", code)
            if code in (constants.ERROR_ABANDONED_WAIT_0, constants.ERROR_INVALID_HANDLE):
                return False
            time.sleep(0.01)  # for want of memory: what is in flight still needs this thread
        return True

    def _run_calls(self, count: int) -> None:
        for _ in range(count):
            call = self._soon.popleft()
            try:
                call()
            except BaseException:
                _log_error()

    def _run_last(self) -> None:
        while self._last:
            try:
                self._last.pop()()
            except BaseException:
                _log_error()

    def _complete(self, address: int) -> None:
        operation = self.operations.get(address)
        slot = operation.slot if operation is not None else None
        if slot is None:
            self.strays += 1
            return
        status, transferred = _unpack_result(slot.memory, slot.offset)
        if status == constants.STATUS_PENDING or status & 0xFFFFFFFF == NOT_CALLED:
            self.strays += 1
            return
        # This needs no lock: other threads only take out what has never been called.
        operation = self.operations.pop(address, None)
        if operation is None:
            self.strays += 1
            return
        self.calls_over += 1
        if status == 0 or is_success(status := status & 0xFFFFFFFF):
            operation.finish(constants.ERROR_SUCCESS, transferred)
        else:
            operation.finish(self.windows.ntdll.RtlNtStatusToDosError(status), 0)


def _log_error() -> None:
    """Rule 5."""
    logger.exception("the completion thread carries on after an error")


class CompletionPort:
    """An I/O completion port and its one thread.

    Any number of files share it. `CompletionPort.default()` is shared by the
    whole process; make another to keep one group of files apart from the rest.

    `bounce_budget`: bytes of page-aligned memory for buffers that are not aligned.

    Raises the `OSError` of CreateIoCompletionPort, and `InvalidInputError` for a
    budget that is not enough for one call.
    Source: https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports
    """

    _default: ClassVar[CompletionPort | None] = None
    _default_lock = threading.RLock()  # a signal handler may come back in

    def __init__(self, *, bounce_budget: int = _BOUNCE_BUDGET) -> None:
        self._closed = True  # until everything below has worked; __del__ looks at it
        if bounce_budget < MAX_SEGMENTS * PAGE_SIZE:
            raise InvalidInputError.because(
                f"bounce_budget must be at least {MAX_SEGMENTS * PAGE_SIZE}, not {bounce_budget}"
            )
        self.windows: _win32.Windows = _win32.current()
        windows = self.windows
        handle = windows.kernel32.CreateIoCompletionPort(constants.INVALID_HANDLE_VALUE, 0, 0, 1)
        if handle == 0:
            raise last_error(windows, "CreateIoCompletionPort")
        self._lock = threading.RLock()
        self._register = _Register(windows, handle)
        self._files: weakref.WeakSet[OverlappedFile] = weakref.WeakSet()
        self._flush_executor: ThreadPoolExecutor | None = None
        self.slots: SlotPool = self._register.slots
        self.operations: dict[int, KernelCall] = self._register.operations
        self.note_pending: Final[Callable[[], None]] = self._register.note_pending
        # Nothing here refers back to the port, so it ends with its last user, and waits for
        # no garbage collection.
        self.bounce: BouncePool = BouncePool(bounce_budget, self._register.call_soon)
        self._thread = threading.Thread(target=self._register.run, name="pyvhdmp-port", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._register.abandon()
            raise
        self._closed = False
        _ports.add(self)

    @classmethod
    def default(cls) -> CompletionPort:
        """Return the port that the process shares, started on first use.

        Raises as the constructor does, and `RuntimeError` where there is no Windows.
        """
        with cls._default_lock:
            port = cls._default
            if port is None or port.closed or port.windows is not _win32.current():
                port = cls._default = cls()
            return port

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.in_flight} in flight"
        return f"<CompletionPort {state}>"

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
        # No file refers to this port any more, so nothing is in flight on it.
        if not self._closed:
            self._stop()

    @property
    def closed(self) -> bool:
        """Whether the port takes no more I/O."""
        return self._closed

    @property
    def calls(self) -> int:
        """I/O calls made so far by the files on this port."""
        register = self._register
        return register.calls_over + register.calls_waited_for + len(self.operations)

    @property
    def in_flight(self) -> int:
        """Calls made whose packets have not been dequeued: the depth at this moment."""
        return len(self.operations)

    @property
    def peak_in_flight(self) -> int:
        """The largest `in_flight` at the moment a call returned pending: the depth achieved."""
        return self._register.peak_in_flight

    @property
    def strays(self) -> int:
        """Packets that belonged to no operation. Windows posts none."""
        return self._register.strays

    def close(self, *, cancel: bool = False) -> None:
        """Close every file on the port, as `OverlappedFile.close` does, then end the thread.

        Idempotent. Raises `RuntimeError` in a done-callback, which runs on that thread.
        """
        if self.on_thread():
            raise RuntimeError("a done-callback cannot close the port that it runs on")
        with self._lock:
            self._closed = True  # no file is attached, no request entered from here on
            files = list(self._files)
        for file in files:
            file.refuse()
        if cancel:  # all of them first: closing one end of a pipe fails what pends at the other
            for file in files:
                file.cancel()
        for file in files:
            file.close(cancel=cancel)
        self._stop()
        while self._thread.is_alive():  # in slices, which let Ctrl+C through
            self._thread.join(0.1)

    # -- For the files on this port -------------------------------------------

    def attach(self, file: OverlappedFile, handle: int) -> None:
        """Bind a handle to the port, for good: Windows has no way back.

        Raises `ValueError` on a closed port, and the `OSError` of CreateIoCompletionPort.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the completion port is closed")
            kernel32 = self.windows.kernel32
            if kernel32.CreateIoCompletionPort(handle, self._register.handle, _Key.IO, 0) == 0:
                raise last_error(self.windows, "CreateIoCompletionPort")
            # Saves the kernel from setting an event nobody waits for. Where it
            # is refused, nothing depends on it.
            kernel32.SetFileCompletionNotificationModes(
                handle, constants.FILE_SKIP_SET_EVENT_ON_HANDLE
            )
            self._files.add(file)

    def withdraw(self, operation: KernelCall, slot: Slot) -> None:
        """Take out an operation that was entered, perhaps, and whose call was not made."""
        self._register.take_out(operation, slot.address)

    def call_failed(self, operation: KernelCall, slot: Slot) -> bool:
        """On the completion thread: take out an operation; False if a packet came all the same."""
        if not self._register.take_out(operation, slot.address):
            return False
        self._register.calls_over += 1
        return True

    def count_waited_for(self) -> None:
        """A call that its thread has waited for, and that posted no packet, is over."""
        self._register.count_waited_for()

    def has_thread(self) -> bool:
        """Whether the completion thread runs."""
        return self._thread.is_alive()

    def on_thread(self) -> bool:
        """Whether the calling thread is the completion thread."""
        return threading.current_thread() is self._thread

    def call_soon(self, call: Callable[[], object]) -> None:
        """Run `call` on the completion thread."""
        self._register.call_soon(call)

    def call_last(self, call: Callable[[], object]) -> None:
        """Run `call` when all that the completion thread has dequeued is done.

        On another thread: at once. So it is made once for many, and does not wake another
        thread that would be in the way of this one.
        """
        if self.on_thread():
            self._register.call_last(call)
        else:
            call()

    def call_blocking(self, call: Callable[[], None]) -> None:
        """Run `call`, which may block, on a thread of the flush executor."""
        with self._lock:
            if self._flush_executor is None:
                self._flush_executor = ThreadPoolExecutor(
                    _FLUSH_THREADS, thread_name_prefix="pyvhdmp-flush"
                )
        claim = threading.Lock()

        def call_once() -> None:
            if claim.acquire(blocking=False):
                call()

        try:
            self._flush_executor.submit(call_once)
        except RuntimeError:
            # The interpreter is ending and executors take no more work, or no thread can
            # be started; then the executor has it queued, and another thread may run it.
            call_once()

    # -- The end --------------------------------------------------------------

    def _stop(self) -> None:
        self._closed = True
        self._register.stop()
        if self._flush_executor is not None:
            self._flush_executor.shutdown(wait=False)

    def end_with_interpreter(self, deadline: float) -> None:
        """Cancel, drain, stop: leave no packet that could arrive without a thread."""
        with self._lock:
            self._closed = True
            files = list(self._files)
        for file in files:
            file.refuse()
            file.cancel()
        # A thread that has work may be about to make a call.
        while (self.in_flight or _are_busy(files)) and time.monotonic() < deadline:
            time.sleep(0.005)
        if self.in_flight or _are_busy(files):
            self._register.is_kept = True
            keep_for_ever(self._register)  # rule 3: the kernel still owns this memory
        self._stop()
        self._thread.join(max(0.1, deadline - time.monotonic()))


def _are_busy(files: Iterable[OverlappedFile]) -> bool:
    return any(file.is_busy for file in files)


_ports: weakref.WeakSet[CompletionPort] = weakref.WeakSet()


@atexit.register
def _end_all_ports() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for port in list(_ports):
        if port.has_thread():
            port.end_with_interpreter(deadline)


def wait_interruptibly(event: threading.Event | Latch) -> None:
    """Wait for an event, letting Ctrl+C through: a bare wait on Windows does not."""
    while not event.wait(0.1):
        pass
