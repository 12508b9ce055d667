"""Copying between a disk and a stream of bytes, such as a pipe, which has an order and no places.

Rules:

1. The stream is read and written in order. Ahead of it, or behind, up to `queue_depth`
   requests are in flight on the disk, in page-aligned buffers that are used again and again.
2. A target is whole or not there, as in `copying`: a stream that ends too early, goes on too
   long, or holds an image that is not raw, makes none.
3. Whatever is raised, Ctrl+C included, comes through when what was in flight has been
   cancelled and is over.
4. A thread that is in a call lets no Ctrl+C through on Windows, and a pipe can be silent for
   long. So the stream has a thread of its own, while the caller's waits. After Ctrl+C that
   thread is left in its call.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Protocol

from pyvhdmp import files
from pyvhdmp.blocks import nonzero_runs
from pyvhdmp.buffers import PageBuffer
from pyvhdmp.completion import CompletionPort
from pyvhdmp.copying import IO_SIZE, QUEUE_DEPTH, CopyResult, new_image
from pyvhdmp.course import Course, Report
from pyvhdmp.disk import Disk, VhdmpDisk, new_image_kind, open_disk
from pyvhdmp.disk.other_formats import check_raw
from pyvhdmp.errors import DiskError, InvalidInputError, ShortTransferError
from pyvhdmp.futures import IoFuture
from pyvhdmp.logs import logger
from pyvhdmp.pipeline import check_requests
from pyvhdmp.replacing import check_target, partial_name, replacing
from pyvhdmp.vhd import SECTOR_SIZE
from pyvhdmp.virtual_disk import VirtualDiskType

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ReadableStream", "WritableStream", "copy_from_stream", "copy_to_stream"]


class ReadableStream(Protocol):
    """What bytes come from: a binary file."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read up to the length of `buffer`; return how many bytes, 0 at the end."""


class WritableStream(Protocol):
    """What bytes go to: a binary file."""

    def write(self, data: memoryview, /) -> int | None:
        """Write bytes; return how many."""

    def flush(self) -> object:
        """Write what was kept back."""


def copy_from_stream(
    stream: ReadableStream,
    target: str | os.PathLike[str],
    size: int,
    *,
    stream_name: str = "the stream",
    disk_type: VirtualDiskType | None = None,
    queue_depth: int = QUEUE_DEPTH,
    io_size: int = IO_SIZE,
    verify: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> CopyResult:
    """Make a disk image of the `size` bytes that `stream` has, which are a raw disk's.

    `stream_name`: what errors call it. `verify`: read the image again, and compare the
    SHA-256 of what was read with that of what had come. The rest is as for `copy_image`.

    Raises `ShortTransferError` if the stream ends too early, `InvalidInputError` if it goes on
    behind `size` bytes or is an image of another format, its own `OSError`, and what
    `copy_image` raises. Then the target is as it was before.
    """
    check_requests(queue_depth, io_size)
    target = files.checked_path(target)
    kind, disk_type = new_image_kind(target, disk_type)
    partial_path = partial_name(target, by_vhdmp=issubclass(kind, VhdmpDisk))
    check_target(target, partial_path, force=force)
    if size <= 0 or size % SECTOR_SIZE:
        raise InvalidInputError.because(
            f"a disk has a whole number of sectors of {SECTOR_SIZE} bytes, not {size} bytes", target
        )
    source = _Source(stream, stream_name, size, with_digest=verify)
    with replacing(target, partial_path, force=force), CompletionPort() as port:  # rule 2
        image = new_image(
            target, partial_path, kind, disk_type, size, SECTOR_SIZE, port=port, report=report
        )
        try:
            logger.info("copying %d bytes from %s to %s", size, stream_name, target)
            course = Course("copying", size, report)
            with _Thread() as thread:
                bytes_zero = _fill(image.disk, source, thread, queue_depth, io_size, course)
                thread.call(source.check_end)
            image.seal()
            seconds = course.end(size)
            if verify:
                _verify(image.disk, source.digest, target, queue_depth, io_size, report)
        finally:  # rule 3
            image.disk.close(cancel=True)
        logger.info("copied %d bytes in %.3f s; %d not written", size, seconds, bytes_zero)
        return CopyResult(
            bytes=size,
            bytes_zero=bytes_zero,
            bytes_same=0,
            bytes_bounced=image.disk.counters.bytes_bounced,
            requests=image.disk.counters.requests,
            depth=port.peak_in_flight,
            seconds=seconds,
            verified=verify,
            target_type="raw" if disk_type is None else disk_type.value,
        )


def copy_to_stream(
    source: str | os.PathLike[str],
    stream: WritableStream,
    *,
    stream_name: str = "the stream",
    queue_depth: int = QUEUE_DEPTH,
    io_size: int = IO_SIZE,
    report: Report | None = None,
) -> CopyResult:
    """Write all of a disk to `stream`, in order, while up to `queue_depth` blocks are read ahead.

    `stream_name`: what errors call it. The `target_type` of the result is "stream". The rest
    is as for `copy_image`, as far as it is here.

    Raises `InvalidInputError` for options that cannot be, `BrokenPipeError` if nobody reads the
    stream any more, its own `OSError`, and what `open_disk` raises and reads of the disk do.
    """
    check_requests(queue_depth, io_size)
    with CompletionPort() as port, open_disk(source, read_only=True, port=port) as disk:
        size = disk.size
        logger.info("copying %r to %s", disk, stream_name)
        course = Course("copying", size, report)
        try:
            with _Thread() as thread:
                for block in _read(disk, queue_depth, io_size):
                    thread.call(partial(_write_all, stream, block, stream_name, course))
                    course.advance(len(block))
                thread.call(partial(_write_all, stream, None, stream_name, course))
        finally:
            disk.close(cancel=True)
        seconds = course.end(size)
        logger.info("copied %d bytes in %.3f s", size, seconds)
        return CopyResult(
            bytes=size,
            bytes_zero=0,
            bytes_same=0,
            bytes_bounced=disk.counters.bytes_bounced,
            requests=disk.counters.requests,
            depth=port.peak_in_flight,
            seconds=seconds,
            verified=False,
            target_type="stream",
        )


# -- The stream -------------------------------------------------------------------------------


class _Thread:
    """A thread that calls what may take long, see rule 4."""

    def __init__(self) -> None:
        self._calls: Queue[tuple[IoFuture[None], Callable[[], None]] | None] = Queue()
        threading.Thread(target=self._run, name="pyvhdmp-stream", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)

    def call(self, function: Callable[[], None]) -> None:
        """Have it call `function`; wait, and raise what that raises."""
        future: IoFuture[None] = IoFuture()
        self._calls.put((future, function))
        future.result()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            future.resolve_with(function)


class _Source:
    """A stream that is to have a certain number of bytes. `with_digest`: of SHA-256."""

    def __init__(self, stream: ReadableStream, name: str, size: int, *, with_digest: bool) -> None:
        self._digest = hashlib.sha256() if with_digest else None
        self._stream = stream
        self._name = name
        self._size = size
        self._done = 0

    def fill(self, block: memoryview) -> None:
        """Fill a block with what comes next. Raises if there is not enough of it."""
        filled = 0
        while filled < len(block):
            if not (count := self._read(block[filled:])):
                done = self._done + filled
                raise ShortTransferError.because(
                    f"it ended after {done} bytes: {self._size - done} of {self._size} are missing",
                    self._name,
                )
            filled += count
        if self._digest is not None:
            self._digest.update(block)
        first = bytes(block[:SECTOR_SIZE]) if self._done == 0 else b""
        self._done += filled
        last = bytes(block[-SECTOR_SIZE:]) if self._done == self._size else b""
        try:
            check_raw(first, last, self._name)
        except InvalidInputError as error:
            error.__notes__.clear()  # which tell what can be done about a file
            raise

    @property
    def digest(self) -> bytes:
        """The SHA-256 of what has come."""
        assert self._digest is not None
        return self._digest.digest()

    def check_end(self) -> None:
        """Raise if there is more than there should be."""
        if self._read(memoryview(bytearray(1))):
            raise InvalidInputError.because(
                f"it goes on behind the {self._size} bytes that it should have", self._name
            )

    def _read(self, buffer: memoryview) -> int:
        try:
            count = self._stream.readinto(buffer)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), self._name) from error
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "it must not be non-blocking", self._name)
        return count


def _write_all(stream: WritableStream, block: memoryview | None, name: str, course: Course) -> None:
    """Write a block to a stream; at the end, without one, what the stream has kept back."""
    try:
        if block is None:
            stream.flush()
        while block:
            count = stream.write(block)
            if not count:
                raise BlockingIOError(errno.EAGAIN, "it must not be non-blocking")
            block = block[count:]
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
            reason = f"nobody reads it any more, after {course.done} of {course.size} bytes"
            raise BrokenPipeError(errno.EPIPE, reason, name) from error
        raise OSError(error.errno, error.strerror or str(error), name) from error


# -- The disk ---------------------------------------------------------------------------------


def _fill(
    disk: Disk,
    source: _Source,
    thread: _Thread,
    queue_depth: int,
    io_size: int,
    course: Course,
) -> int:
    """Write what the source has to a disk of zeros, by rule 1; return how much of it was zeros."""
    free = _buffers(queue_depth, io_size)
    in_flight: deque[tuple[list[Future[None]], memoryview]] = deque()
    size, bytes_zero = disk.size, 0
    for offset in range(0, size, io_size):
        if not free:
            writes, buffer = in_flight.popleft()
            for write in writes:
                write.result()
            free.append(buffer)
        buffer = free.pop()
        block = buffer[: min(io_size, size - offset)]
        thread.call(partial(source.fill, block))
        bytes_zero += len(block)
        writes = []
        for start, end in nonzero_runs(block):
            bytes_zero -= end - start
            writes.append(disk.write((offset + start) // disk.sector_size, block[start:end]))
        in_flight.append((writes, buffer))
        course.advance(len(block))
    for writes, _ in in_flight:
        for write in writes:
            write.result()
    return bytes_zero


def _read(disk: Disk, queue_depth: int, io_size: int) -> Iterator[memoryview]:
    """Yield what the disk holds, block by block; each is there until the next is asked for."""
    free = _buffers(queue_depth, io_size)
    in_flight: deque[tuple[Future[None], int, memoryview]] = deque()
    size, offset = disk.size, 0
    while offset < size or in_flight:
        while offset < size and free:
            buffer, length = free.pop(), min(io_size, size - offset)
            future = disk.read_vectored([buffer[:length]], offset // disk.sector_size)
            in_flight.append((future, length, buffer))
            offset += length
        future, length, buffer = in_flight.popleft()
        future.result()
        yield buffer[:length]
        free.append(buffer)


def _buffers(queue_depth: int, io_size: int) -> list[memoryview]:
    return [memoryview(PageBuffer(io_size)) for _ in range(queue_depth)]


def _verify(
    disk: Disk,
    expected: bytes,
    target: str,
    queue_depth: int,
    io_size: int,
    report: Report | None,
) -> None:
    course = Course("verifying", disk.size, report)
    digest = hashlib.sha256()
    for block in _read(disk, queue_depth, io_size):
        digest.update(block)
        course.advance(len(block))
    course.end(course.size)
    if digest.digest() != expected:
        raise DiskError.because("verification failed: it does not read as it was written", target)
