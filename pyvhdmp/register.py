"""The register of calls that are in flight, and the one thread that dequeues their packets.

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

import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import DWORD_STRUCT, OVERLAPPED_ENTRY_STRUCT, OVERLAPPED_RESULT
from pyvhdmp.buffers import Block
from pyvhdmp.errors import is_success
from pyvhdmp.futures import mark_completion_thread
from pyvhdmp.logs import logger
from pyvhdmp.slots import Slot, SlotPool

if TYPE_CHECKING:
    from pyvhdmp.overlapped import OverlappedFile

__all__ = ["NOT_CALLED", "Call", "KernelCall", "Key", "Register"]

NOT_CALLED: Final = 0xEFBEADDE
"""OVERLAPPED.Internal before the call: a status with the customer bit, so none of Windows'."""

_BATCH: Final = 64
"""Packets taken by one dequeue: each wake-up costs a wait for the GIL, so take many."""

_PAUSE_SECONDS: Final = 0.01
_POST_TRIES: Final = 100
"""How long, and how often, it is tried again what fails for want of memory."""

_PACKETS_SIZE: Final = _BATCH * OVERLAPPED_ENTRY_STRUCT.size

_unpack_result: Final = OVERLAPPED_RESULT.unpack_from

Call: TypeAlias = Callable[[int, int, int, int, int], int]
"""ReadFile and its kin: handle, address, length, NULL, OVERLAPPED."""


class Key(enum.IntEnum):
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


class Register:
    """What the completion thread and the callers share. The thread holds this and
    not the `CompletionPort`, so that a port nobody uses any more can be collected."""

    def __init__(self, windows: _win32.Windows, handle: int) -> None:
        self.windows = windows
        self.handle = handle
        self.slots: SlotPool = SlotPool()
        self.operations: dict[int, KernelCall] = {}  # by the address of the OVERLAPPED
        self.peak_in_flight: int = 0
        self.calls_over: int = 0  # this and the next are the thread's own
        self.strays: int = 0
        self.calls_waited_for: int = 0
        self.is_kept: bool = False  # for ever, as the kernel owns some of it
        self._lock = threading.RLock()
        self._soon: deque[Callable[[], object]] = deque()
        self._last: list[Callable[[], object]] = []  # the thread's own
        self._packets = Block(_PACKETS_SIZE + DWORD_STRUCT.size)  # and how many there are
        self._running = self._over = False
        self._ident = 0  # of the thread
        self._missed = False  # the thread's own: it could post no packet to itself

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
                self._post(Key.CALL)
                return
        call()  # the thread is gone: nothing it could have been doing is in the way

    def call_last(self, call: Callable[[], object]) -> None:
        """On the thread: run `call` when all that was dequeued with what is at hand is done."""
        self._last.append(call)

    def stop(self) -> None:
        """Have the thread end, and close the port's handle when it does."""
        with self._lock:
            if not self._over:
                self._post(Key.STOP)

    def _post(self, key: Key) -> None:
        """Under the lock: wake the thread, again and again if there is no memory for a packet.

        The thread itself need not wait: it looks at what it is asked for before it sleeps.
        """
        for _ in range(_POST_TRIES):
            if self.windows.kernel32.PostQueuedCompletionStatus(self.handle, 0, key, 0):
                return
            if threading.get_ident() == self._ident:
                self._missed = True
                return
            time.sleep(_PAUSE_SECONDS)
        logger.error("PostQueuedCompletionStatus keeps failing: a call is late")

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
        self._ident = threading.get_ident()
        mark_completion_thread()
        memory = memoryview(self._packets.memory)
        io, complete = int(Key.IO), self._complete
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
                elif key == Key.STOP:
                    running = False
                elif key != Key.CALL:
                    self.strays += 1
            self._run_calls(calls)
            self._run_last()
            while self._missed:  # there is no packet for some of these
                self._missed = False
                self._run_calls(len(self._soon))
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
            time.sleep(_PAUSE_SECONDS)  # no memory, and what is in flight still needs this thread
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
