"""Disks for asyncio: the view of a `Disk` whose requests are awaited.

    async with await AsyncDisk.open("data.vhd") as disk:
        await disk.write(0, b"\\x55" * 512, fua=True)
        async with asyncio.TaskGroup() as group:
            for sector in range(0, disk.sector_count, 2048):
                group.create_task(copy(await disk.read(sector, 2048)))

The way of one request:

    task's thread                       completion thread
    enter the gate: begin, or queue
    wait for the request (a future
    of asyncio's own)                   the kernel is done: put it into the mailbox,
                                        begin the next of the queue; then ring the loop
    empty the mailbox: wake the task <--
    take the result

Rules:

1. A task that is cancelled asks the kernel to cancel its request, and goes on when the
   kernel has let go of the buffers, not before: however often it is cancelled, and
   whatever the request ends with. Then it is cancelled.
2. At most `max_in_flight` requests of a disk are begun and not over. The others wait in
   order, hold no memory but their caller's, and are withdrawn at once when cancelled.
   The end of one begins the next, wherever that comes about; no loop has to turn for it.
3. What is over goes into the mailbox of its loop, and the loop is rung once for all that
   was dequeued together: each ring is a write to a socket, and wakes a thread that would
   only get in the way of this one. What is over when its call returns needs none.
4. What asyncio's own objects hold is touched in their loop's thread alone. Any number
   of loops, in as many threads, may use one disk; a loop that is closed is told nothing.
5. What a request is refused for is raised where it is awaited, as coroutines do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pyvhdmp.buffers import PAGE_SIZE, PageBuffer
from pyvhdmp.checks import whole_number
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk import Backend, Disk, HeldBuffers, UnmapBehavior, open_disk
from pyvhdmp.disk.direction import Counters
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.futures import IoFuture

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["AsyncDisk"]

_MAX_IN_FLIGHT: Final = 128
_READ_AHEAD: Final = 8
_BLOCK_BYTES: Final = 256 * 1024

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class AsyncDisk:
    """A `Disk` whose requests are coroutines. Closing it closes the disk.

    `disk`: an open disk, which can be used by itself, too. `max_in_flight`: requests that
    are begun and not over; more than that wait in order. A `wait_resize` is none of them.

    Every member of `Disk` is here. The properties are the same; what they ask Windows for
    (the size of a virtual disk) is answered at once, but in the thread of the loop. All
    methods can be used from any number of loops at a time. Sizes are in bytes, `sector`
    and `count` in sectors. Whatever is wrong with a request is raised where it is awaited.

    A task that is cancelled, or whose time is up, goes on when the kernel has let go of
    its buffers. What it did meanwhile is not told: a write may have been carried out in
    part, in full or not at all. A request that is cancelled by somebody else, by
    ``close(cancel=True)``, raises `concurrent.futures.CancelledError`, as the future does:
    that is an `Exception`, and says nothing about the task. A request that had to wait is
    begun on the completion thread, and if it is wrong, that is found then.

    Raises `InvalidInputError` if `max_in_flight` is not positive.
    """

    def __init__(self, disk: Disk, *, max_in_flight: int = _MAX_IN_FLIGHT) -> None:
        self._gate = _Gate(_checked_limit(max_in_flight), disk.port)
        self._unlimited = _Gate(None, disk.port)
        self._max_in_flight = max_in_flight
        self._disk = disk
        self._closing = False

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        backend: Backend = "auto",
        port: CompletionPort | None = None,
        max_in_flight: int = _MAX_IN_FLIGHT,
    ) -> Self:
        """Open a disk image as `open_disk` does, in a thread of the loop's executor.

        A task that is cancelled goes on when the disk is closed again. Raises as
        `open_disk` does.
        """
        _checked_limit(max_in_flight)
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(
            None, partial(open_disk, path, read_only=read_only, backend=backend, port=port)
        )
        try:
            return cls(await asyncio.shield(opening), max_in_flight=max_in_flight)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # then there is nothing to close
                disk = await _to_the_end(opening)
                await _to_the_end(loop.run_in_executor(None, disk.close))
            raise

    def __repr__(self) -> str:
        return f"<AsyncDisk of {self._disk!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- What the disk is -----------------------------------------------------

    @property
    def disk(self) -> Disk:
        """The disk beneath."""
        return self._disk

    @property
    def max_in_flight(self) -> int:
        """Requests that can be in flight at a time."""
        return self._max_in_flight

    @property
    def disk_type(self) -> str:
        """The kind of disk, as `open_disk` names its backends."""
        return self._disk.disk_type

    @property
    def path(self) -> str:
        """The path that the disk was opened by."""
        return self._disk.path

    @property
    def port(self) -> CompletionPort:
        """The completion port that its requests are finished on."""
        return self._disk.port

    @property
    def sector_size(self) -> int:
        """Bytes in a sector, the unit of all addressing."""
        return self._disk.sector_size

    @property
    def physical_sector_size(self) -> int:
        """Bytes that the medium writes at a time; writes aligned to it are the fast ones."""
        return self._disk.physical_sector_size

    @property
    def sector_count(self) -> int:
        """Sectors on the disk, as it is now. Asks the driver of a virtual disk."""
        return self._disk.sector_count

    @property
    def size(self) -> int:
        """Bytes on the disk, as it is now. Asks the driver of a virtual disk."""
        return self._disk.size

    @property
    def disk_id(self) -> uuid.UUID | None:
        """The identity that the image carries, if it does."""
        return self._disk.disk_id

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused."""
        return self._disk.is_read_only

    @property
    def is_fua_respected(self) -> bool:
        """Whether ``fua=True`` reaches stable storage by itself. Always so: it flushes."""
        return self._disk.is_fua_respected

    @property
    def unmap_behavior(self) -> UnmapBehavior:
        """What `unmap` does to the content. The first time, asks the driver of a virtual disk."""
        return self._disk.unmap_behavior

    @property
    def closed(self) -> bool:
        """Whether new requests are refused."""
        return self._closing or self._disk.closed

    @property
    def counters(self) -> Counters:
        """Requests and bytes so far: read, written and, of these, bounced."""
        return self._disk.counters

    # -- Requests -------------------------------------------------------------

    async def read_vectored(self, buffers: Sequence[Buffer] | HeldBuffers, sector: int) -> None:
        """Fill every buffer, in order, from `sector` on.

        Raises `InvalidInputError` for a buffer that is read-only or not contiguous, or a
        total that is no whole number of sectors; `IllegalBlockError` for a range not
        inside the disk; `ValueError` on a closed disk; `ShortTransferError`, `MediumError`
        or the `OSError` of Windows. A task that is cancelled has its buffers back when this
        raises `asyncio.CancelledError`; what they then hold is not said.
        """
        await self._begin(partial(self._disk.read_vectored, buffers, sector)).end()

    async def write_vectored(
        self, buffers: Sequence[Buffer] | HeldBuffers, sector: int, *, fua: bool = False
    ) -> None:
        """Write the buffers, in order, from `sector` on.

        `fua`: return only when the data is on stable storage. The buffers must not change
        before this returns or raises. Raises as `read_vectored` does, and `ReadOnlyError`
        on a read-only disk.
        """
        await self._begin(partial(self._disk.write_vectored, buffers, sector, fua=fua)).end()

    async def read(self, sector: int, count: int) -> bytes:
        """Read `count` sectors; `read_vectored` saves a copy of them. Raises as that does."""
        return await self._begin(partial(self._disk.read, sector, count)).end()

    async def write(self, sector: int, data: Buffer, *, fua: bool = False) -> None:
        """Write `data` from `sector` on. Raises as `write_vectored` does."""
        await self._begin(partial(self._disk.write, sector, data, fua=fua)).end()

    async def sync_cache(self) -> None:
        """Put every write that has returned on stable storage.

        A flush cannot be cancelled: a task that is goes on when it is over. Raises
        `ValueError` on a closed disk, and the `OSError` of Windows.
        """
        await self._begin(self._disk.sync_cache).end()

    async def unmap(self, sector: int, count: int) -> None:
        """Say that `count` sectors are no longer needed; `unmap_behavior` says what they then hold.

        Windows may write zeros while it is asked, so that is done in another thread. Raises
        as `Disk.unmap` does, and its future.
        """
        start = partial(self._disk.unmap, sector, count)
        await self._begin(partial(_begin_elsewhere, self.port, start)).end()

    async def wait_resize(self, sector_count: int) -> int:
        """Wait until the number of sectors is not `sector_count`; return it.

        Closing the disk cancels it: see the class. Asks the driver of a virtual disk. Raises
        `ValueError` on a closed disk.
        """
        start = partial(self._disk.wait_resize, sector_count)
        return await self._begin(start, self._unlimited).end()

    def slice(self, first_sector: int, count: int) -> AsyncDisk:
        """Return a part of the disk as a disk, as `Disk.slice` does, and raises.

        `max_in_flight` is that of this disk, and counted by itself.
        """
        beneath = self._disk.slice(first_sector, count)
        return AsyncDisk(beneath, max_in_flight=self._max_in_flight)

    async def blocks(
        self,
        sector: int = 0,
        count: int | None = None,
        *,
        block_sectors: int | None = None,
        read_ahead: int = _READ_AHEAD,
    ) -> AsyncGenerator[memoryview, None]:
        """Read `count` sectors from `sector` on, block by block, in order and ahead.

            async with contextlib.aclosing(disk.blocks()) as blocks:
                async for block in blocks:
                    digest.update(block)

        `count`: all up to the end if None. `block_sectors`: sectors in a block, of which the
        last may have fewer; 256 KiB of them if None. `read_ahead`: blocks that are being
        read while you have one. Each block is memory of its own, page-aligned and
        yours to keep and to write to.

        Who stops early closes the generator, by `contextlib.aclosing` or ``aclose()``: then,
        as when the task is cancelled, what is in flight is cancelled, and the kernel has let
        go of it when that returns. Without, asyncio closes it soon after.

        Raises `InvalidInputError` if `block_sectors` or `read_ahead` is not positive, and as
        `read_vectored` does, `IllegalBlockError` before anything is read.
        """
        sector_size = self.sector_size
        if block_sectors is None:
            block_sectors = max(1, _BLOCK_BYTES // sector_size)
        _check_positive(block_sectors, "block_sectors")
        _check_positive(read_ahead, "read_ahead")
        if count is None:
            count = max(0, self.sector_count - sector)
        self._disk._check_range(sector, count * sector_size)
        places = iter(range(sector, sector + count, block_sectors))
        end = sector + count
        ahead: deque[tuple[_Request[None], memoryview]] = deque()

        def read_on() -> None:
            while len(ahead) < read_ahead and (place := next(places, None)) is not None:
                length = min(block_sectors, end - place) * sector_size
                memory = PageBuffer(-(-length // PAGE_SIZE) * PAGE_SIZE)
                block = memoryview(memory)[:length]
                ahead.append(
                    (self._begin(partial(self._disk.read_vectored, [block], place)), block)
                )

        try:
            read_on()
            while ahead:
                request, block = ahead.popleft()
                try:
                    await request.end()
                except GeneratorExit:  # nobody can wait any more, not even below
                    for request, _ in ahead:
                        request.withdraw()
                    ahead.clear()
                    raise
                read_on()
                yield block
        finally:
            await _let_go(request for request, _ in ahead)

    async def close(self, *, cancel: bool = False) -> None:
        """Refuse new requests, wait for those that are in flight or wait, then close the disk.

        `cancel`: cancel them first. Idempotent. A task that is cancelled while it closes
        cancels them, too, and goes on when the disk is closed.
        """
        self._closing = True
        loop = asyncio.get_running_loop()
        closing: asyncio.Future[None] | None = None
        try:
            if cancel:
                self._gate.withdraw_all()
            else:  # this is begun when all that came before it is over, or was withdrawn
                request = _Request(_finished, self._gate)
                self._gate.enter_when_idle(request)
                with contextlib.suppress(CancelledError):
                    await request.end()
            closing = loop.run_in_executor(None, partial(self._disk.close, cancel=cancel))
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            self._gate.withdraw_all()
            # On the completion thread, where it does not wait: the executor may have no
            # thread left, if others wait in there for what is to be cancelled.
            self.port.call_soon(partial(self._disk.close, cancel=True))
            if closing is None:
                closing = loop.run_in_executor(None, self._disk.close)
            await _to_the_end(closing)
            raise

    # -- Inside ---------------------------------------------------------------

    def _begin(self, start: Callable[[], Future[T]], gate: _Gate | None = None) -> _Request[T]:
        """Begin a request, or queue it. Raises `ValueError` on a closed disk."""
        if self._closing:
            raise ValueError("I/O operation on a closed file")
        return self._request(start, gate or self._gate)

    def _request(self, start: Callable[[], Future[T]], gate: _Gate) -> _Request[T]:
        request = _Request(start, gate)
        gate.enter(request)
        return request


class _Request(asyncio.Future[None], Generic[T_co]):
    """A request: for its task, a future that is done when the kernel has let go.

    `outcome`: the disk's future, from when it was begun, or given up, on.
    """

    def __init__(self, start: Callable[[], Future[T_co]], gate: _Gate) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self.is_withdrawn = False
        self.outcome: Future[T_co] | None = None
        self._start = start
        self._gate = gate
        self.port = gate.port
        self._mailbox = _mailbox_of(loop)
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
        """In the loop's thread: it is over. Wake the task."""
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
            self._is_over_at_once = True  # and `begin` sees to it, without going deeper
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


class _Gate:
    """Lets `limit` requests be in flight; the rest waits in order. See rule 2."""

    def __init__(self, limit: int | None, port: CompletionPort) -> None:
        self.port = port
        self._limit = limit
        self._lock = threading.RLock()  # a finalizer may come back in
        self._in_flight = 0
        self._waiting: OrderedDict[_Request[object], None] = OrderedDict()  # then it is full
        self._last: OrderedDict[_Request[object], None] = OrderedDict()  # until all others are over

    def enter(self, request: _Request[object]) -> None:
        """Begin a request, or queue it."""
        with self._lock:
            if self._in_flight == self._limit:
                self._waiting[request] = None
                return
            self._in_flight += 1
        if request.begin():
            self.leave()

    def enter_when_idle(self, request: _Request[object]) -> None:
        """Begin a request when no other is in flight or waits."""
        with self._lock:
            if self._in_flight:
                self._last[request] = None
                return
            self._in_flight += 1
        if request.begin():
            self.leave()

    def leave(self) -> None:
        """A request is over. Begin the next one, and others that are over at once."""
        while True:
            with self._lock:
                queue = self._waiting
                if not queue and self._in_flight == 1:
                    queue = self._last
                if not queue:
                    self._in_flight -= 1
                    return
                request, _ = queue.popitem(last=False)
            if not request.begin():
                return

    def begun(self, request: _Request[T], outcome: Future[T]) -> None:
        """A request has been begun. If it was withdrawn meanwhile, this cancels it."""
        with self._lock:
            request.outcome = outcome
            is_withdrawn = request.is_withdrawn
        if is_withdrawn:
            outcome.cancel()

    def withdraw(self, request: _Request[object]) -> None:
        """Cancel a request: if it waits at once, otherwise by the kernel."""
        with self._lock:
            if request.is_withdrawn:
                return
            request.is_withdrawn = True
            queue = self._waiting if request in self._waiting else self._last
            waited = request in queue
            if waited:
                del queue[request]
            outcome = request.outcome
        if waited:
            request.give_up()
        elif outcome is not None:
            outcome.cancel()

    def withdraw_all(self) -> None:
        """Withdraw all that wait."""
        with self._lock:
            waiting = [*self._waiting, *self._last]
        for request in waiting:
            self.withdraw(request)


class _Mailbox:
    """What is over, for one loop to hear of: rule 3."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self._lock = threading.RLock()  # a finalizer may come back in
        self._letters: list[_Request[object]] = []
        self._is_rung = False

    def put(self, request: _Request[object]) -> None:
        """Have the loop hear of a request."""
        with self._lock:
            self._letters.append(request)
            if self._is_rung:
                return
            self._is_rung = True
        request.port.call_last(partial(self._ring, request.get_loop()))

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._empty)
        except BaseException:
            self._is_rung = False  # so the next one rings, if this was for want of memory
            if not loop.is_closed():
                raise
            self._take()  # nobody will

    def _take(self) -> list[_Request[object]]:
        with self._lock:
            letters, self._letters, self._is_rung = self._letters, [], False
            return letters

    def _empty(self) -> None:
        for request in self._take():
            request.arrive()


class _Local(threading.local):
    mailbox: _Mailbox | None = None


_local: Final = _Local()


def _mailbox_of(loop: asyncio.AbstractEventLoop) -> _Mailbox:
    """Return the mailbox of the loop that runs in this thread.

    Should two loops take turns here, each turn has a new one. The old ones are emptied by
    those who were rung for them.
    """
    mailbox = _local.mailbox
    if mailbox is None or mailbox.loop() is not loop:
        mailbox = _local.mailbox = _Mailbox(loop)
    return mailbox


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _let_go(requests: Iterable[_Request[object]]) -> None:
    """Cancel requests; return, or be cancelled, when the kernel has let go of them all."""
    requests = list(requests)
    for request in requests:
        request.withdraw()
    cancelled = None
    for request in requests:
        try:
            await request
        except asyncio.CancelledError as error:  # this task was, while it waited
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _to_the_end(future: asyncio.Future[T]) -> T:
    """Wait for what cannot be stopped, in a task that is being cancelled already."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    return future.result()


def _begin_elsewhere(port: CompletionPort, start: Callable[[], Future[T]]) -> Future[T]:
    """Call `start`, which may block, in another thread. Return a future that ends as its does."""
    begun: list[Future[T]] = []
    cancelled = threading.Event()

    def cancel() -> None:
        cancelled.set()
        for inner in begun:
            inner.cancel()

    def begin() -> None:
        try:
            inner = start()
        except BaseException as error:
            future.fail(error)
            return
        begun.append(inner)
        if cancelled.is_set():
            inner.cancel()
        inner.add_done_callback(finish)

    def finish(inner: Future[T]) -> None:
        try:
            result = inner.result()
        except BaseException as error:
            future.fail(error)
        else:
            future.resolve(result)

    future: IoFuture[T] = IoFuture(cancel)
    port.call_blocking(begin)
    return future


def _finished() -> Future[None]:
    future: IoFuture[None] = IoFuture()
    future.resolve(None)
    return future


def _failed(error: BaseException) -> Future[T]:
    future: IoFuture[T] = IoFuture()
    future.fail(error)
    return future


def _check_positive(value: int, name: str) -> None:
    if whole_number(value, name) < 1:
        raise InvalidInputError.because(f"{name} must be positive, not {value}")


def _checked_limit(max_in_flight: int) -> int:
    _check_positive(max_in_flight, "max_in_flight")
    return max_in_flight
