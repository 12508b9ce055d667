"""Slices: a part of a disk, say a partition, as a disk of its own.

Rules:

1. A slice does its I/O on the handle of the disk beneath, and owns none. Its sectors count
   from 0, and so does every place that its errors name; a note tells where it lies.
2. A request through a slice is work of both: the slice's close waits for it, and so does
   the disk's. Closing a slice leaves the disk open; a closed disk has no open slices.
3. It has as many sectors as it was made with. Where the disk has become smaller, what lies
   past its end is refused as soon as that is known, and until then fails as Windows has it.
4. What a disk does without a slice takes no step more for there being slices.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ClassVar, Final

from pyvhdmp.disk.base import Disk, UnmapBehavior
from pyvhdmp.disk.direction import Direction
from pyvhdmp.errors import IllegalBlockError
from pyvhdmp.flushing import FlushDone
from pyvhdmp.overlapped import OverlappedFile, Step, Work
from pyvhdmp.slots import Slot
from pyvhdmp.waiting import Latch

__all__ = ["Slice"]


class Slice(Disk):
    """A part of the disk `beneath`: see `Disk.slice`."""

    _noun: ClassVar[str] = "slice"

    def __init__(self, beneath: Disk, first_sector: int, count: int) -> None:
        """Make it. Raises as `Disk.slice` does."""
        first_sector, count = operator.index(first_sector), operator.index(count)
        sector_size = beneath.sector_size
        beneath._check_range(first_sector, count * sector_size)
        if beneath.closed:
            raise ValueError("I/O operation on a closed file")
        loan = self._loan = _Loan(beneath._file)
        super().__init__(
            loan,
            path=beneath.path,
            size=count * sector_size,
            sector_size=sector_size,
            physical_sector_size=beneath.physical_sector_size,
            disk_id=None,
            read_only=beneath.is_read_only,
            scatter=beneath._scatter,
            unmap_behavior=beneath._unmap_behavior,
        )
        self.disk_type: str = beneath.disk_type
        self._beneath = beneath
        self._first_sector = first_sector
        self._first_byte = first_sector * sector_size  # of the file
        if isinstance(beneath, Slice):
            self._first_byte += beneath._first_byte
        where = f"Places are those of a slice from sector {first_sector} of {beneath!r} on."
        self._reading = _Direction(loan, beneath.path, self._first_byte, where, write=False)
        self._writing = _Direction(loan, beneath.path, self._first_byte, where, write=True)

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        part = f"{self._sector_count} sectors from sector {self._first_sector}"
        return f"<Slice of {self._beneath!r}: {part}{state}>"

    @property
    def unmap_behavior(self) -> UnmapBehavior:
        """What `unmap` does to the content. Asks and raises as that of the disk beneath."""
        return self._beneath.unmap_behavior

    def _check_range(self, sector: int, length: int) -> int:
        """Return where `sector` begins in the file: all a slice changes of a request: rule 1."""
        start = super()._check_range(sector, length)
        if self._reaches_past_end(start + length):  # rule 3
            disk = self._disk()
            raise IllegalBlockError.because(
                f"the range of {length // self._sector_size} sectors from sector {sector} of "
                f"{self!r} reaches past the end of the disk, which has {disk._sector_count} "
                "sectors by now",
                self._path,
            )
        return self._first_byte + start

    def _reaches_past_end(self, end: int) -> bool:
        size = self._sector_size
        start = self._first_sector * size
        return end > self._sector_count * size or self._beneath._reaches_past_end(start + end)

    def _disk(self) -> Disk:
        """Return the disk that it is a part of, itself or by way of others."""
        beneath = self._beneath
        return beneath._disk() if isinstance(beneath, Slice) else beneath

    def _unmap(self, sector: int, count: int) -> Future[None]:
        return self._loan.lend(partial(self._beneath._unmap, self._first_sector + sector, count))


Disk._make_slice = Slice


class _Direction(Direction):
    """Reading, or writing, through a slice: its errors tell what they count from."""

    def __init__(
        self, file: OverlappedFile, path: str, first_byte: int, where: str, *, write: bool
    ) -> None:
        super().__init__(file, path, write=write)
        self._first_byte = first_byte
        self._where = where

    def error(
        self, code: int, transferred: int, length: int, offset: int, **call: bool
    ) -> BaseException | None:
        """Return what was wrong with a call that is over, as `Direction` does."""
        error = super().error(code, transferred, length, offset - self._first_byte, **call)
        if isinstance(error, OSError):
            error.add_note(self._where)
        return error


class _Lent:
    """A request that the disk beneath carries out by itself: work of the slice's file."""

    is_idle: Final = False

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._future: Future[None] | None = None
        self._cancel_wanted = False

    def follow(self, future: Future[None]) -> None:
        """It has been begun."""
        with self._lock:
            self._future = future
            cancel_wanted = self._cancel_wanted
        if cancel_wanted:
            future.cancel()

    def cancel(self) -> None:
        """Ask for it to end early, now or as soon as it has been begun."""
        with self._lock:
            self._cancel_wanted = True
            future = self._future
        if future is not None:
            future.cancel()


class _Loan(OverlappedFile):
    """The file `beneath`, lent to a slice: with work and an end of its own, but no handle."""

    def __init__(self, beneath: OverlappedFile) -> None:
        # Not super().__init__(), as there is no handle to take over: all but the following
        # is shared.
        vars(self).update(vars(beneath))
        self._beneath = beneath
        self._lock = threading.RLock()  # a finalizer may come back in
        self._work: dict[Work, None] = {}
        self._ended = Latch()
        self._closing = False
        self._owns_handle = False

    def __del__(self) -> None:
        """The handle is not its own."""

    @property
    def closed(self) -> bool:
        """Whether new requests are refused, here or beneath."""
        return self._closing or self._beneath.closed

    def enter(self, work: Work) -> None:
        """Take on a piece of work, here and beneath, by rule 2.

        Raises `ValueError` if either is closed.
        """
        super().enter(work)
        try:
            self._beneath.enter(work)
        except BaseException:
            self.leave(work)
            raise

    def leave(self, work: Work) -> None:
        """A piece of work is over."""
        try:
            self._beneath.leave(work)
        finally:
            super().leave(work)

    def last_steps(self, operation: Work, slot: Slot) -> tuple[Step, ...]:
        """Return what ends a call that its thread has waited for, here and beneath."""
        steps = super().last_steps(operation, slot)
        beneath = self._beneath.last_steps(operation, slot)[-1]
        return (*steps, beneath)

    def look_whether_idle(self) -> None:
        """Close the handle if that is wanted, and what has been left was the last."""
        try:
            self._beneath.look_whether_idle()
        finally:
            super().look_whether_idle()

    def flush(self) -> Future[None]:
        """Flush the whole file."""
        return self.lend(self._beneath.flush)

    def flush_then(self, done: FlushDone) -> None:
        """Flush the whole file, then call `done` on the completion thread."""
        self._beneath.flush_then(done)

    def lend(self, start: Callable[[], Future[None]]) -> Future[None]:
        """Begin what is work of the file beneath by itself, and make it work of this one, too."""
        lent = _Lent()
        try:
            super().enter(lent)
            future = start()
            lent.follow(future)
            future.add_done_callback(lambda _: super(_Loan, self).leave(lent))
        except BaseException:  # Ctrl+C: if it was begun, it is over with the file beneath
            super().leave(lent)
            raise
        return future
