"""Long operations: what Windows does to a virtual disk while the program goes on.

    caller                        the operation's thread           kernel
    start the thread              make the call -----------------> begin
    (has its future, or error) <- say how it began
                                  wait for the event <------------ set it at the end
                                  read the status, finish the future

Rules:

1. The call is made by the thread that waits for its end: Windows cancels what a thread has
   begun when that thread is gone.
2. OVERLAPPED, event and handle are there until the kernel is done. What it still works on
   when the interpreter ends is cancelled, and what it will not let go of is never freed.
3. Whether it is over, and how, is what Windows says when the event is set. Progress is a
   number to show: it may fall back, and may be complete when the operation is not. Only of
   a mirror or a fork it tells something: complete, it waits for somebody to end it.
4. `cancel` asks the kernel. The future is finished by the kernel's answer alone.
5. Ctrl+C while somebody waits in here is a `cancel`, and gets through when the kernel has
   answered: as `KeyboardInterrupt` if nothing was done, as `AlreadyDone` if everything was.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from typing import Any, Final, NoReturn, TypeVar

from pyvhdmp._win32 import Windows, constants
from pyvhdmp._win32.memory import address_of, keep_for_ever
from pyvhdmp._win32.structures import OVERLAPPED
from pyvhdmp._win32.virtdisk_structures import HANDLE_CELL, ULONG_CELL, VIRTUAL_DISK_PROGRESS
from pyvhdmp.errors import check_code, last_error
from pyvhdmp.files import close_handle
from pyvhdmp.futures import IoFuture
from pyvhdmp.waiting import wait_interruptibly

__all__ = ["AlreadyDone", "Operation"]

_POLL_SECONDS: Final = 0.01
_EXIT_SECONDS: Final = 3.0
_REPORT_SECONDS: Final = 0.1

_ENDLESS: Final = frozenset({"MirrorVirtualDisk", "ForkVirtualDisk"})

T = TypeVar("T")


class AlreadyDone(KeyboardInterrupt):
    """Ctrl+C that came too late: what it was to cancel is done."""


class Operation(IoFuture[T]):
    """A long operation on a virtual disk: a future that knows how far it is.

    `cancel` asks Windows, and returns False; the future then ends as cancelled if Windows
    says so, and otherwise as it would have. Callbacks run on the operation's own thread.
    In a coroutine, ``await`` it: a cancelled task lets go when Windows has.
    """

    def __init__(
        self,
        windows: Windows,
        function: str,
        handle: HANDLE_CELL,
        call: Callable[[int], int],
        settle: Callable[[int, bool], T],
        drop: Callable[[T], None] | None = None,
    ) -> None:
        """For `VirtualDisk`. `handle`: what the operation is asked about by; `call` may fill it.

        `call`: takes the address of the OVERLAPPED, returns a Win32 code. `settle`: takes the
        final code, and whether the operation had begun; returns the result or raises. `drop`:
        closes a result that Ctrl+C keeps from whoever was to close it.
        """
        super().__init__(self._want_cancelled)
        self._windows = windows
        self._function = function
        self._handle = handle
        self._call = call
        self._settle = settle
        self._drop = drop
        self._lock = threading.RLock()  # held while Windows is asked about it
        self._overlapped = OVERLAPPED()
        self._event = 0
        self._is_claimed = False
        self._is_pending = False
        self._cancel_wanted = False
        self._progress = (0, 0)
        self._refusal: BaseException | None = None
        self._begun = threading.Event()
        self._over = threading.Event()

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<Operation {self._function} {state}, {self._progress[0]}/{self._progress[1]}>"

    def progress(self) -> tuple[int, int]:
        """Return how much is done, and of how much, as Windows counts it at this moment.

        The unit differs from operation to operation. Both are 0 until Windows knows, and the
        first may fall back; only `done` says that it is over.

        Raises the `OSError` of GetVirtualDiskOperationProgress, virtdisk.h.
        """
        with self._lock:
            self._look()
            return self._progress

    def follow(self, report: Callable[[int, int], None] | None = None) -> T:
        """Wait for the result and return it. Ctrl+C cancels, and comes through when it is over.

        `report`: called about ten times a second with what `progress` returns.

        Raises what the operation failed with; `KeyboardInterrupt` when Windows has cancelled
        it, and `AlreadyDone`, which is one too, when Windows was faster. A disk that was made
        is closed then.
        """
        try:
            while not self.done():
                if report is not None:
                    with contextlib.suppress(OSError):  # not to know is no reason to stop
                        self.progress()
                    report(*self._progress)
                self._wait(_REPORT_SECONDS)
            return self.result()
        except BaseException as error:
            self._interrupted(error)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a mirror or a fork has copied everything, and can be ended.

        It never ends by itself: `break_mirror` or `complete_fork` is what it waits for then.
        Any other operation is waited for until it is over. Ctrl+C cancels, as in `follow`.

        Raises `TimeoutError` after `timeout` seconds, which cancels nothing; what the operation
        failed with; and the `OSError` of GetVirtualDiskOperationProgress.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.done():
                if self.is_endless and self._waits_to_be_ended():
                    return
                left = _REPORT_SECONDS if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._wait(min(left, _REPORT_SECONDS))
            self.result()
        except KeyboardInterrupt as error:
            self._interrupted(error)

    def __await__(self) -> Generator[object, None, T]:
        """Wait for it in a coroutine. Cancelling the task cancels it, and waits for Windows."""
        return _result_in_task(self).__await__()

    # -- For VirtualDisk ------------------------------------------------------

    def start(self) -> Operation[T]:
        """Begin; return this operation.

        Raises what Windows refuses it with at once, and the `OSError` of CreateEventW.
        """
        try:
            event = self._windows.kernel32.CreateEventW(0, 1, 0, 0)
            if event == 0:
                raise last_error(self._windows, "CreateEventW")
            self._event = self._overlapped.hEvent = event
            _running.add(self)
            # Which makes the call, and waits for its end: rule 1.
            threading.Thread(target=self._run, name="pyvhdmp-operation", daemon=True).start()
            wait_interruptibly(self._begun)
        except BaseException as error:  # nobody will have it, so it must not go on
            if self._claim():  # no thread to be had, or none yet: so no call is made
                self._release()
                self._over.set()
                raise
            self._interrupted(error)
        if self._refusal is not None:
            raise self._refusal
        return self

    @property
    def is_endless(self) -> bool:
        """Whether it goes on until it is cancelled, or somebody ends it: a mirror or a fork."""
        return self._function in _ENDLESS

    @property
    def is_over(self) -> bool:
        """Whether Windows has let go of everything, or never had anything."""
        return self._over.is_set()

    def wait_until_over(self) -> None:
        """Wait until Windows has let go of everything. Ctrl+C ends the wait."""
        wait_interruptibly(self._over)

    # -- Inside ---------------------------------------------------------------

    def _look(self) -> bool:
        """See how far it is, while it runs; return whether Windows says that it does."""
        with self._lock:
            if not self._is_pending:
                return False
            code, progress = self._ask()
            check_code(code, "GetVirtualDiskOperationProgress")
            self._progress = (progress.CurrentValue, progress.CompletionValue)
            return progress.OperationStatus == constants.ERROR_IO_PENDING

    def _waits_to_be_ended(self) -> bool:
        with self._lock:
            is_running = self._look()
            done, total = self._progress
            return is_running and 0 < total == done

    def _interrupted(self, error: BaseException) -> NoReturn:
        """Cancel, wait until it is over, and raise what the caller is to know: rule 5."""
        while not self._over.is_set():
            with contextlib.suppress(KeyboardInterrupt):  # who is impatient asks again
                self.cancel()
                self.wait_until_over()
        if self.done() and not self.cancelled() and error is not super().exception(0):
            result = self.result()  # raises what it failed with
            if self._drop is not None:
                self._drop(result)
            if isinstance(error, KeyboardInterrupt):
                raise AlreadyDone from error
        raise error

    def drop_result(self) -> None:
        """Close the result, if there is one that wants it: nobody will have it.

        For an operation that is over. Raises what closing it does.
        """
        if self._drop is not None and not self.cancelled() and self.exception() is None:
            self._drop(self.result())

    def _claim(self) -> bool:
        """Take it upon oneself to make the call, or not to. One alone can."""
        with self._lock:
            is_first, self._is_claimed = not self._is_claimed, True
            return is_first

    def _run(self) -> None:
        if not self._claim():
            return
        try:
            code = self._call(address_of(self._overlapped))
        except BaseException as error:  # an argument that ctypes refuses
            self._release()
            self._refusal = error
        else:
            if code == constants.ERROR_IO_PENDING:
                with self._lock:
                    self._is_pending = True
                    if self._cancel_wanted:
                        self._want_cancelled()
                self._begun.set()
                code = self._wait_for_kernel()
            self._release()
            begun = self._begun.is_set() or code == constants.ERROR_SUCCESS
            self._finish(code, begun)
        self._over.set()
        self._begun.set()

    def _wait_for_kernel(self) -> int:
        """Wait for the kernel; return the code that it ended with: rule 3."""
        kernel32 = self._windows.kernel32
        while True:
            kernel32.WaitForSingleObject(self._event, constants.INFINITE)
            with self._lock:
                if self._overlapped.Internal != constants.STATUS_PENDING:
                    code = self._outcome()
                    if code not in (constants.ERROR_IO_PENDING, constants.ERROR_IO_INCOMPLETE):
                        self._is_pending = False
                        return code
            time.sleep(_POLL_SECONDS)  # the event can be set by others, or the wait have failed

    def _outcome(self) -> int:
        """Return how it ended, or that it has not."""
        code, progress = self._ask()
        if code == constants.ERROR_SUCCESS:
            self._progress = (progress.CurrentValue, progress.CompletionValue)
            return progress.OperationStatus
        transferred = ULONG_CELL()  # which is always 0
        done = self._windows.kernel32.GetOverlappedResult(
            self._handle.Value, address_of(self._overlapped), address_of(transferred), 0
        )
        return constants.ERROR_SUCCESS if done else self._windows.get_last_error()

    def _ask(self) -> tuple[int, VIRTUAL_DISK_PROGRESS]:
        progress = VIRTUAL_DISK_PROGRESS()
        code = self._windows.virtdisk.GetVirtualDiskOperationProgress(
            self._handle.Value, address_of(self._overlapped), address_of(progress)
        )
        return code, progress

    def _want_cancelled(self) -> None:
        with self._lock:
            self._cancel_wanted = True
            if self._is_pending:  # if not, then as soon as it is
                self._windows.kernel32.CancelIoEx(self._handle.Value, address_of(self._overlapped))

    def _release(self) -> None:
        """The kernel has let go, or never had anything."""
        if self._event:
            close_handle(self._windows, self._event)
        self._call = _not_again
        _running.discard(self)

    def _finish(self, code: int, begun: bool) -> None:
        settle = self._settle
        del self._settle  # it may refer to this operation, and to the disk
        try:
            result = settle(code, begun)
        except BaseException as error:
            if not begun:
                self._refusal = error
            elif code == constants.ERROR_OPERATION_ABORTED and self._cancel_wanted:  # rule 4
                self.fail(CancelledError())
            else:
                self.fail(error)
        else:
            self.resolve(result)


def _not_again(_: int) -> int:
    raise AssertionError("an operation is begun once")


async def _result_in_task(operation: Operation[T]) -> T:
    import asyncio  # which takes longer to import than all of this package

    cancelled = None
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    operation.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    while not operation.done():
        try:
            await over.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            operation.cancel()
    if cancelled is not None:
        operation.drop_result()
        raise cancelled
    return operation.result()


_running: set[Operation[Any]] = set()
"""Whoever forgets an operation does not end it."""


@atexit.register
def _end_all() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    operations = list(_running)
    for operation in operations:
        operation.cancel()
    for operation in operations:
        if not operation._over.wait(max(0.0, deadline - time.monotonic())):
            keep_for_ever(operation)  # rule 2
