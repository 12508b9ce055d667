"""The completion port as its files and its users have it: made, shared, closed.

What its thread does, and what is registered with it, is in `register`. Rules:

1. Nothing that the thread refers to refers back to the port. So a port that nobody uses any
   more ends its thread, and waits for no garbage collection.
2. A closed port takes no file and no request. Its thread ends when its files are closed.
3. What may block, as a flush does, runs on threads of an executor; and where that takes no
   more work, in the thread that asks. Either way it runs once.
4. The interpreter ends when the kernel has confirmed that all that was in flight is cancelled,
   or after some seconds. What the kernel then still owns is kept for ever.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Final

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32.memory import keep_for_ever
from pyvhdmp.buffers import PAGE_SIZE, BouncePool
from pyvhdmp.errors import InvalidInputError, last_error
from pyvhdmp.register import KernelCall, Key, Register
from pyvhdmp.slots import MAX_SEGMENTS, Slot, SlotPool

if TYPE_CHECKING:
    from typing import Self

    from pyvhdmp.overlapped import OverlappedFile

__all__ = ["CompletionPort"]

_BOUNCE_BUDGET: Final = 16 * 1024 * 1024
_FLUSH_THREADS: Final = 4
_EXIT_SECONDS: Final = 3.0
"""How long the end of the interpreter waits for the kernel to confirm cancellations."""


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
        self._register = Register(windows, handle)
        self._files: weakref.WeakSet[OverlappedFile] = weakref.WeakSet()
        self._flush_executor: ThreadPoolExecutor | None = None
        self.slots: SlotPool = self._register.slots
        self.operations: dict[int, KernelCall] = self._register.operations
        self.note_pending: Final[Callable[[], None]] = self._register.note_pending
        # The register's method, not the port's: rule 1.
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

    def __exit__(self, *_: object) -> None:
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
            if kernel32.CreateIoCompletionPort(handle, self._register.handle, Key.IO, 0) == 0:
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
            # be started; then the executor has it queued, and another thread may run it: rule 3.
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
            keep_for_ever(self._register)  # rule 4: the kernel still owns this memory
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
