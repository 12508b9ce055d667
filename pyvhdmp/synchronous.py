"""One call that the thread which makes it waits for: no packet, no future, no other thread.

Rules:

1. The low bit of hEvent is set, so that Windows posts no packet. The event itself is what is
   waited on, and only if the call is not over when it returns.
2. The event may still be set from its last call, so it only says when to look: whether the
   kernel has let go is what the OVERLAPPED says, or a call that failed.
3. Whatever comes up, Ctrl+C included and however often, nobody gets away from here before the
   kernel has let go: what is left early is cancelled first. Python looks for signals between
   its steps, so what must not be missed is one: a function in C goes through calls of others.
4. It is the file's work, and in the register of its port, as everything else is: it can be
   cancelled, close waits for it, and what it needs outlives the interpreter if it must.
"""

from __future__ import annotations

import operator
import time
from collections import deque
from itertools import starmap
from typing import TYPE_CHECKING, Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import OVERLAPPED_RESULT, OVERLAPPED_STRUCT
from pyvhdmp.errors import is_success, last_error
from pyvhdmp.register import NOT_CALLED, KernelCall
from pyvhdmp.slots import SEGMENTS_AT

if TYPE_CHECKING:
    from pyvhdmp.overlapped import OverlappedFile
    from pyvhdmp.register import Call
    from pyvhdmp.slots import Slot

__all__ = ["call_and_wait"]

_WITH_THE_KERNEL: Final = (constants.ERROR_IO_PENDING, constants.ERROR_MORE_DATA)
"""The last error of a call that has not failed, though it returned FALSE."""

_ROOM: Final = SEGMENTS_AT
"""Where a slot has room for a DWORD: its segment array is not used here."""

_SLICE_MILLISECONDS: Final = 100
"""A wait on Windows lets no Ctrl+C through before its end."""

_pack_overlapped: Final = OVERLAPPED_STRUCT.pack_into
_unpack_result: Final = OVERLAPPED_RESULT.unpack_from


def call_and_wait(
    file: OverlappedFile, call: Call, address: int, length: int, offset: int
) -> tuple[int, int, bool]:
    """Make one call over contiguous memory, and return when it is over.

    That is: its Win32 code, the bytes transferred, and whether somebody wanted it cancelled.
    The caller holds the memory. Raises `ValueError` on a closed file, and the `OSError` of
    CreateEventW.
    """
    operation = _WaitedCall(file)
    slot = file.port.slots.take()
    leaving = starmap(operator.call, file.last_steps(operation, slot))
    try:
        operation.slot = slot
        file.enter(operation)
        code, transferred = operation.run(slot, call, address, length, offset)
    finally:
        deque(leaving, 0)  # in one step: see `run`
        file.look_whether_idle()
    file.port.count_waited_for()
    return code, transferred, operation.cancel_wanted


class _WaitedCall(KernelCall):
    is_idle: Final = False

    def __init__(self, file: OverlappedFile) -> None:
        self.file = file
        self._outcome: list[int] = []

    def cancel(self) -> None:
        """Ask the kernel to cancel the call."""
        self.file.cancel_operation(self)

    def finish(self, code: int, transferred: int) -> None:
        """A packet has come all the same. Who waits looks for itself."""

    def run(
        self, slot: Slot, call: Call, address: int, length: int, offset: int
    ) -> tuple[int, int]:
        """Make the call and wait for its end."""
        port = self.file.port
        event = slot.event or self._make_event(slot)
        _pack_overlapped(
            slot.memory, slot.offset, NOT_CALLED, 0, offset & 0xFFFFFFFF, offset >> 32, event | 1
        )
        port.operations[slot.address] = self
        # In one step, as in `calls`.
        windows, handle, overlapped = port.windows, self.file.handle, slot.address
        steps = (
            (call, handle, address, length, 0, overlapped),
            (windows.get_last_error,),
        )
        # Rule 3, in one step, too: it is made beforehand, and deque goes through it, so that no
        # other Ctrl+C comes in between. Waits twice, as the event may have been set before.
        kernel32 = windows.kernel32
        wait = (kernel32.GetOverlappedResult, handle, overlapped, overlapped + _ROOM, 1)
        ending = starmap(operator.call, ((kernel32.CancelIoEx, handle, overlapped), wait, wait))
        outcome = self._outcome
        try:
            outcome.extend(starmap(operator.call, steps))
            while (result := self._result(slot)) is None:
                if self.cancel_wanted:
                    self.cancel()  # it may have come while the call was being made
                self._wait(slot)
            return result
        except BaseException:
            if not outcome or outcome[0] or outcome[1] in _WITH_THE_KERNEL:
                deque(ending, 0)
            raise

    def _make_event(self, slot: Slot) -> int:
        windows = self.file.port.windows
        slot.event = windows.kernel32.CreateEventW(0, 0, 0, 0)  # resets itself
        if not slot.event:
            raise last_error(windows, "CreateEventW")
        return slot.event

    def _result(self, slot: Slot) -> tuple[int, int] | None:
        """Return what came of the call, or None while the kernel works on it."""
        if self._outcome:
            succeeded, code = self._outcome
            if not succeeded and code not in _WITH_THE_KERNEL:
                return code or constants.ERROR_GEN_FAILURE, 0
        status, _ = _unpack_result(slot.memory, slot.offset)
        if status == constants.STATUS_PENDING:
            return None
        # Again, now that it is over: the count is written before the status.
        status, transferred = _unpack_result(slot.memory, slot.offset)
        if is_success(status := status & 0xFFFFFFFF):
            return constants.ERROR_SUCCESS, transferred
        return self.file.port.windows.ntdll.RtlNtStatusToDosError(status), 0

    def _wait(self, slot: Slot) -> None:
        """Wait for the event, or for some time."""
        wait = self.file.port.windows.kernel32.WaitForSingleObject
        if wait(slot.event, _SLICE_MILLISECONDS) == constants.WAIT_FAILED:
            time.sleep(_SLICE_MILLISECONDS / 1000)  # for want of memory: look again later
