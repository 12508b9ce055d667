"""AsyncDisk: every member of a `Disk`, its requests awaited.

Rules:

1. What a request is refused for is raised where it is awaited, as coroutines do.
2. No loop is blocked: what may take long before it is a request (opening, closing, an
   unmap) is called in another thread.
3. `close` refuses new requests at once, and closes the disk when all that came before are
   over. One that is cancelled cancels them, and goes on when the disk is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from pyvhdmp.aio.arguments import positive
from pyvhdmp.aio.blocks import read_blocks
from pyvhdmp.aio.gate import Gate
from pyvhdmp.aio.request import Request
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk import Backend, Disk, HeldBuffers, UnmapBehavior, open_disk
from pyvhdmp.disk.direction import Counters
from pyvhdmp.futures import IoFuture, finished

if TYPE_CHECKING:
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["AsyncDisk"]

_MAX_IN_FLIGHT: Final = 128
_READ_AHEAD: Final = 8

T = TypeVar("T")


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
        self._max_in_flight = positive(max_in_flight, "max_in_flight")
        self._gate = Gate(self._max_in_flight, disk.port)
        self._unlimited = Gate(None, disk.port)
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
        positive(max_in_flight, "max_in_flight")
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

    async def __aexit__(self, *_: object) -> None:
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
        if self._closing:  # the disk itself may be open still
            raise ValueError("I/O operation on a closed file")
        beneath = self._disk.slice(first_sector, count)
        return AsyncDisk(beneath, max_in_flight=self._max_in_flight)

    def blocks(
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
        return read_blocks(
            self._disk,
            self._begin,
            sector,
            count,
            block_sectors=block_sectors,
            read_ahead=read_ahead,
        )

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
            else:  # rule 3: this is begun when all that came before is over, or was withdrawn
                request = Request(finished, self._gate)
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

    def _begin(self, start: Callable[[], Future[T]], gate: Gate | None = None) -> Request[T]:
        """Begin a request, or queue it. Raises `ValueError` on a closed disk."""
        if self._closing:
            raise ValueError("I/O operation on a closed file")
        gate = gate or self._gate
        request = Request(start, gate)
        gate.enter(request)
        return request


async def _to_the_end(future: asyncio.Future[T]) -> T:
    """Wait for what cannot be stopped, in a task that is being cancelled already."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    return future.result()


def _begin_elsewhere(port: CompletionPort, start: Callable[[], Future[T]]) -> Future[T]:
    """Call `start` in another thread, see rule 2. Return a future that ends as its does."""
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
        inner.add_done_callback(lambda inner: future.resolve_with(inner.result))

    future: IoFuture[T] = IoFuture(cancel)
    port.call_blocking(begin)
    return future
