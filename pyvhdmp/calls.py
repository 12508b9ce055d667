"""The calls that are made on one handle: each begins, may be cancelled, and gives its slot back.

Rules:

1. A slot is detached from its operation, and cancelled, under one lock, so CancelIoEx
   can only ever name the OVERLAPPED of the operation that was meant.
2. A cancel that comes while a call is being made would find nothing to cancel. It
   leaves a mark, and the thread that makes the call cancels when it returns.
3. Whether an exception comes up before the call is made or after, Ctrl+C included, it is
   either known to the register and will be finished, or nothing is left of it.
4. What most requests go through (`submit`, `_start`, `release_slot`) is written for speed:
   few steps, few objects, one lock at a time.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import OVERLAPPED_RESULT, OVERLAPPED_STRUCT
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.register import NOT_CALLED, Call, KernelCall
from pyvhdmp.slots import Slot, pack_segments

if TYPE_CHECKING:
    from pyvhdmp._win32 import Handle
    from pyvhdmp.completion import CompletionPort

__all__ = ["Calls"]

_PENDING: Final = [0, constants.ERROR_IO_PENDING]
"""What most calls return, and the last error then."""

_pack_overlapped: Final = OVERLAPPED_STRUCT.pack_into


class Calls:
    """What can be done with a handle that is open for overlapped I/O and bound to a port."""

    def __init__(self, handle: Handle, port: CompletionPort) -> None:
        self._handle = handle
        self._port = port
        self._windows = port.windows
        self._ask_last_error = (port.windows.get_last_error,)
        self._operations = port.operations
        self._slots = port.slots
        self._note_pending = port.note_pending
        self._lock = threading.RLock()  # a finalizer may come back in

    @property
    def handle(self) -> int:
        """The handle, still owned by this object."""
        return self._handle

    @property
    def port(self) -> CompletionPort:
        """The port that the handle is bound to."""
        return self._port

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
                # ERROR_NOT_FOUND: it is over already, or not begun (rule 2).
                self._windows.kernel32.CancelIoEx(self._handle, operation.slot.address)

    def release_slot(self, operation: KernelCall) -> None:
        """Detach and reuse the slot of an operation that the kernel has let go of."""
        with self._lock:
            slot, operation.slot = operation.slot, None
        if slot is not None:
            self._slots.give(slot)

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
        """A call was interrupted, before it was made or after (rule 3)."""
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
            # By now the operation may be finished, and the slot another's (rule 1).
            self.cancel_operation(operation)

    def _fail(self, operation: KernelCall, slot: Slot, code: int) -> None:
        """On the completion thread: no packet will come for an operation, as its call failed."""
        if self._port.call_failed(operation, slot):
            operation.finish(code, 0)
