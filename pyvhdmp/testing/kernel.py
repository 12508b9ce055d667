"""The simulated kernel's objects: handles, files, ports, events; and its notes on its callers.

Rules:

1. What Windows would refuse is refused with Windows' code. What it would accept, to the
   harm of the caller, is a violation: noted here, and raised at the end.
2. A handle's number is used once, so the use of one that was closed is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from pyvhdmp._win32 import constants
from pyvhdmp.testing.draws import Draws
from pyvhdmp.testing.memory import Owners
from pyvhdmp.testing.scheduler import Port, Scheduler

if TYPE_CHECKING:
    from pyvhdmp.testing.io_manager import Request
    from pyvhdmp.testing.long_operations import LongOperation
    from pyvhdmp.testing.volume import File

__all__ = ["CallFailed", "Device", "Event", "FileObject", "Kernel", "Search"]

_FIRST_HANDLE: Final = 0x100

T = TypeVar("T")


class CallFailed(Exception):
    """A call fails with a Win32 code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Device(Protocol):
    """What a file handle stands for."""

    @property
    def sector_size(self) -> int:
        """The unit of unbuffered I/O in bytes."""

    def start(self, request: Request) -> None:
        """Take a request on, and have it completed now or later."""

    def cancel(self, request: Request) -> None:
        """Have a request completed as cancelled, if it is not too late."""

    def begin_flush(self) -> Callable[[], None]:
        """A flush begins; return what happens when it ends."""

    def close(self) -> None:
        """The handle is closed."""


class Event:
    """An event: set or not. One that is not reset by hand is so by whoever waited for it."""

    def __init__(self, name: int, *, manual_reset: bool, is_set: bool) -> None:
        self.name = name
        self.manual_reset = manual_reset
        self.is_set = is_set

    def __str__(self) -> str:
        return "event"


class Search:
    """A walk through a folder: what it has yet to tell, as it is told."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries: deque[bytes] = deque(entries)

    def __str__(self) -> str:
        return "search"


class FileObject:
    """An open file, and what was asked for when it was opened."""

    def __init__(
        self,
        device: Device,
        name: str,
        *,
        access: int,
        share_mode: int,
        flags: int,
        uses: Sequence[File] = (),
        reads: Sequence[File] = (),
    ) -> None:
        self.device = device
        self.name = name
        self.access = access
        self.share_mode = share_mode
        self.uses = uses
        """The files that sharing is a matter of."""
        self.reads = reads
        """Files that it reads beside them, as a differencing disk does its parents'."""
        self.can_read: bool = bool(access & constants.GENERIC_READ)
        self.can_write: bool = bool(access & constants.GENERIC_WRITE)
        self.is_overlapped: bool = bool(flags & constants.FILE_FLAG_OVERLAPPED)
        self.is_unbuffered: bool = bool(flags & constants.FILE_FLAG_NO_BUFFERING)
        self.port: Port | None = None
        self.key = 0
        self.requests: list[Request] = []
        self.operations: dict[int, LongOperation] = {}
        """The last long operation for each OVERLAPPED."""
        self.flushes = 0
        """Flushes that have not ended."""
        self.is_dead = False
        """Whether the power was cut since it was opened."""

    def __str__(self) -> str:
        return self.name


def _needs(access: int) -> int:
    """Return the share mode that somebody with these rights needs of the others."""
    return (
        (constants.FILE_SHARE_READ if access & constants.GENERIC_READ else 0)
        | (constants.FILE_SHARE_WRITE if access & constants.GENERIC_WRITE else 0)
        | (constants.FILE_SHARE_DELETE if access & constants.DELETE else 0)
    )


Target: TypeAlias = "FileObject | Port | Event | Search"
"""What a handle stands for."""


class Kernel(Scheduler):
    """Handles and notes."""

    def __init__(self, draws: Draws, *, trace_length: int) -> None:
        super().__init__(draws.slack)
        self.draws = draws
        self.owners: Owners = Owners()
        self.trace: deque[str] = deque(maxlen=trace_length)
        self.violations: list[str] = []
        self.allocations: dict[int, object] = {}
        """Memory that was given out and that LocalFree takes back, by its address."""
        self.held: list[FileObject] = []
        """What the system itself has open, without a handle."""
        self._objects: dict[int, Target] = {}
        self._next_handle = _FIRST_HANDLE

    # -- Notes ------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.clock.now / 1000:12.3f} us  {text}")

    def violation(self, text: str) -> None:
        """The caller has done what it must not."""
        self.violations.append(text)
        self.note(f"VIOLATION: {text}")

    def pass_a_moment(self) -> None:
        """Let a little time pass: who asks again and again is to see something happen."""
        self.clock.advance(max(1000, self.draws.latency[1] // 2))

    # -- Handles ----------------------------------------------------------------

    @property
    def objects(self) -> dict[int, Target]:
        """What is open, by handle."""
        return self._objects

    def files(self) -> list[FileObject]:
        """Return the open files."""
        files = [target for target in self._objects.values() if isinstance(target, FileObject)]
        return files + self.held

    def check_sharing(
        self,
        uses: Sequence[File],
        access: int,
        share_mode: int,
        *,
        but_for: Sequence[FileObject] = (),
    ) -> None:
        """Raise `CallFailed` if an open with these rights clashes with one there is."""
        needs = _needs(access)
        for other in self.files():
            if other in but_for:
                continue
            if any(file in other.uses for file in uses):
                its_needs, its_share_mode = _needs(other.access), other.share_mode
            elif any(file in other.reads for file in uses):
                its_needs = its_share_mode = constants.FILE_SHARE_READ
            else:
                continue
            if not needs or not its_needs:  # who neither reads, writes nor deletes is in no way
                continue
            if needs & ~its_share_mode or its_needs & ~share_mode:
                raise CallFailed(constants.ERROR_SHARING_VIOLATION)

    def new_handle(self, target: Target) -> int:
        """Return a handle for an object."""
        handle = self._next_handle
        self._next_handle += 4
        self._objects[handle] = target
        return handle

    def new_port(self) -> int:
        """Return the handle of a new completion port."""
        port = Port(self._next_handle)
        self.ports.append(port)
        return self.new_handle(port)

    def new_event(self, *, manual_reset: bool, is_set: bool) -> int:
        """Return the handle of a new event."""
        event = Event(self._next_handle, manual_reset=manual_reset, is_set=is_set)
        return self.new_handle(event)

    def event(self, handle: int, function: str) -> Event:
        """Return the event that a handle stands for."""
        return self._found_as(Event, handle, function)

    def search(self, handle: int, function: str) -> Search:
        """Return the walk through a folder that a handle stands for."""
        return self._found_as(Search, handle, function)

    def file(self, handle: int, function: str) -> FileObject:
        """Return the open file that a handle stands for."""
        return self._found_as(FileObject, handle, function)

    def port(self, handle: int, function: str) -> Port:
        """Return the port that a handle stands for."""
        return self._found_as(Port, handle, function)

    def close(self, handle: int) -> None:
        """Close a handle."""
        target = self._found(handle, "CloseHandle")
        if isinstance(target, Port):
            target.is_closed = True
            self.ports.remove(target)
        elif isinstance(target, FileObject):
            target.device.close()
        del self._objects[handle]
        self.changed()

    def _found_as(self, kind: type[T], handle: int, function: str) -> T:
        target = self._found(handle, function)
        if not isinstance(target, kind):
            raise CallFailed(constants.ERROR_INVALID_HANDLE)
        return target

    def _found(self, handle: int, function: str) -> Target:
        target = self._objects.get(handle)
        if target is None:
            if _FIRST_HANDLE <= handle < self._next_handle and handle % 4 == 0:
                self.violation(f"{function} on handle {handle:#x}, which is closed")
            raise CallFailed(constants.ERROR_INVALID_HANDLE)
        return target
