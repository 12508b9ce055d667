"""A request: for the task that awaits it a future of asyncio's own, for the gate what it begins.

Rules:

1. A task that is cancelled asks the kernel to cancel its request, and goes on when the
   kernel has let go of the buffers, not before: however often it is cancelled, and
   whatever the request ends with. Then it is cancelled.
2. What asyncio's own objects hold is touched in their loop's thread alone: what ends
   elsewhere goes through the `mailbox`. What is over when its call returns needs none.
3. Its end is told once, and takes no step deeper while it is being begun: thousands that
   are over at once need no deep stack.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Generic, TypeVar

from pyvhdmp.aio.mailbox import mailbox_of
from pyvhdmp.completion import CompletionPort
from pyvhdmp.futures import IoFuture

if TYPE_CHECKING:
    from pyvhdmp.aio.gate import Gate

__all__ = ["Request"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Request(asyncio.Future[None], Generic[T_co]):
    """A request, which is done when the kernel has let go of its buffers.

    `outcome`: the disk's future, from when it was begun, or given up, on.
    """

    def __init__(self, start: Callable[[], Future[T_co]], gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self.is_withdrawn: bool = False
        self.outcome: Future[T_co] | None = None
        self._start = start
        self._gate = gate
        self.port: CompletionPort = gate.port
        self._mailbox = mailbox_of(loop)
        self._beginner = 0  # the thread, while it is being begun
        self._is_over_at_once = False
        self._is_task_cancelled = False
        self._message: object = None

    async def end(self) -> T_co:
        """Wait for it, and return its result or raise its error."""
        try:
            if not self.done():
                await self
        except GeneratorExit:  # the loop is gone, and so is whoever waited: who is to wait now?
            self.withdraw()
            raise
        assert self.outcome is not None
        return self.outcome.result()

    def withdraw(self) -> None:
        """Have it cancelled. It still ends by itself, once."""
        self._gate.withdraw(self)

    def cancel(self, msg: object = None) -> bool:
        """For the task that waits for this, and is cancelled: rule 1."""
        if self.done():
            return False
        self._is_task_cancelled, self._message = True, msg
        self.withdraw()
        return True

    def arrive(self) -> None:
        """In the loop's thread, see rule 2: it is over. Wake the task."""
        if self.done():
            return
        if self._is_task_cancelled:
            super().cancel(self._message)
        else:
            self.set_result(None)

    def begin(self) -> bool:
        """Begin; return whether that was all. Otherwise the gate will be left when it is over."""
        if self.is_withdrawn or self.get_loop().is_closed():
            self.give_up()
            return True
        try:
            outcome = self._start()
        except BaseException as error:
            outcome = _failed(error)
        del self._start  # it refers to the buffers
        self._gate.begun(self, outcome)
        self._beginner = threading.get_ident()
        outcome.add_done_callback(self._over)
        self._beginner = 0
        if self._is_over_at_once:
            self._tell()
        return self._is_over_at_once

    def give_up(self) -> None:
        """It is not begun, and will not be."""
        self.outcome = _failed(CancelledError())
        self._tell()

    def _over(self, _: Future[T_co]) -> None:
        """The kernel has let go: on the completion thread, if not while it was being begun."""
        if self._beginner == threading.get_ident():
            self._is_over_at_once = True  # and `begin` sees to it: rule 3
            return
        try:
            self._mailbox.put(self)
        finally:
            self._gate.leave()

    def _tell(self) -> None:
        if _running_loop() is self.get_loop():
            self.arrive()
        else:
            self._mailbox.put(self)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _failed(error: BaseException) -> Future[T]:
    future: IoFuture[T] = IoFuture()
    future.fail(error)
    return future
