"""A simulated virtdisk.dll over the real kernel32: its images are real files.

Rules:

1. A file is given out as a real handle: what is read and written through it goes through
   the real kernel32, and only virtdisk.dll is simulated.
2. What a plain handle cannot do is answered with ERROR_NOT_SUPPORTED: it knows nothing of
   a parent, and nothing of a mirror.
3. A long operation is over when its call returns, with an OVERLAPPED or without.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, cast

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import (
    DWORD_STRUCT,
    LARGE_INTEGER_STRUCT,
    OVERLAPPED_RESULT,
    OVERLAPPED_STRUCT,
)
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import long_operations, memory, statuses
from pyvhdmp.testing.convention import DLLS, set_last_error
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.substitutes import substituted
from pyvhdmp.testing.virtdisk import (
    TRAILER_SIZE,
    Content,
    Image,
    OpenImage,
    SimulatedVirtdisk,
)

__all__ = ["RealHost", "simulated_virtdisk", "virtdisk_over"]

_PIECE: Final = 1 << 20


class RealHost:
    """Images in real files, by way of the real kernel32. Long operations are done at once."""

    sees_writes = False

    def __init__(self, kernel32: _win32.Kernel32, get_last_error: Callable[[], int]) -> None:
        self._kernel32 = kernel32
        self._get_last_error = get_last_error
        self._open: dict[int, OpenImage] = {}
        self._kept: list[OpenImage] = []
        self._done: set[tuple[int, int]] = set()
        self.lock: threading.RLock = threading.RLock()

    def tail(self, path: str, length: int = TRAILER_SIZE) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size."""
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - length))
                return file.read(), size
        except OSError as error:
            raise _failure(error) from error

    def allocated(self, path: str) -> int:
        """Return the size of a file."""
        return os.path.getsize(path)

    def create(self, path: str, image: Image) -> None:
        """Make a file of zeros with the image's tail."""
        if image.is_differencing:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        try:
            with open(path, "xb") as file:
                file.truncate(image.size)
                file.seek(image.size)
                file.write(image.tail())
        except OSError as error:
            raise _failure(error) from error

    def delete(self, path: str) -> None:
        """Take a file away, if it is not open."""
        with suppress(OSError):  # it may be open
            os.unlink(path)

    def rewrite(self, path: str, old: Image, new: Image, opened: OpenImage | None = None) -> None:
        """Move the end of the payload, and what follows it."""
        content, tail = self._own_content(path), new.tail()
        if new.size > old.size:
            content.zero(old.size, len(old.tail()))
        content.set_end(new.size + len(tail))
        content.write(new.size, tail)

    def content(
        self, path: str, opened: OpenImage | None = None, *, write: bool = False
    ) -> Content:
        """Return the payload of a file."""
        if opened is not None and path == opened.path:
            return self._own_content(path)
        if write:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        return _NamedContent(partial(self.payload, path))

    def payload(self, path: str) -> str:
        """Return the file in which the payload of one that is not open here can be read."""
        return path

    def _own_content(self, path: str) -> _HandleContent:
        """Return the payload of a file by way of a handle that may write it, if there is one."""
        handles = [handle for handle, opened in self._open.items() if opened.path == path]
        handles.sort(key=lambda handle: not self._open[handle].access & constants.GENERIC_WRITE)
        if not handles:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        return _HandleContent(self._kernel32, self._get_last_error, handles[0])

    def open(self, opened: OpenImage) -> int:
        """Return a handle to the file."""
        handle = self._kernel32.CreateFileW(
            opened.path,
            opened.access,
            7 if opened.peers() else opened.share_mode,
            0,
            constants.OPEN_EXISTING,
            opened.flags,
            0,
        )
        if handle == constants.INVALID_HANDLE_VALUE:
            raise CallFailed(self._get_last_error())
        self._open[handle] = opened
        return handle

    def found(self, handle: int) -> OpenImage:
        """Return what a handle stands for."""
        if handle not in self._open:
            raise CallFailed(constants.ERROR_INVALID_HANDLE)
        return self._open[handle]

    def reads(self, handle: int) -> None:
        """A plain handle reads from no parent."""
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def hold(self, handle: int, path: str) -> None:
        """No file follows another here."""
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def let_go(self, handle: int, path: str) -> None:
        """No file follows another here."""
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def move(self, handle: int, path: str) -> None:
        """A plain handle stays where it is."""
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def go_on(self, handle: int) -> None:
        """Nothing waits."""
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def detached(self, handle: int) -> None:
        """What is in flight is cancelled."""
        disk = self._open[handle].disk
        for other, opened in self._open.items():
            if opened.disk is disk:
                self._kernel32.CancelIoEx(other, 0)
        for opened in [kept for kept in self._kept if kept.disk is disk]:
            self._kept.remove(opened)
            disk.handles.remove(opened)

    def opened(self) -> list[OpenImage]:
        """Return what is open."""
        return [*self._open.values(), *self._kept]

    def close(self, handle: int) -> int:
        """CloseHandle, which ends an attachment that is not permanent."""
        with self.lock:
            opened = self._open.pop(handle, None)
            self._done = {done for done in self._done if done[0] != handle}
            if opened is not None and opened in opened.disk.handles and opened.close():
                self._kept.append(opened)
        done = self._kernel32.CloseHandle(handle)
        if not done:
            set_last_error(self._get_last_error())
        return done

    def drive(self, handle: int) -> OpenImage:
        """There are no drives."""
        raise CallFailed(constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK)

    def violation(self, text: str) -> None:
        """The caller has done what it must not."""
        raise AssertionError(text)

    def begin(self, function: str, handle: int, overlapped: int, work: Work) -> None:
        """Do the whole of a long operation."""
        if function in ("MirrorVirtualDisk", "ForkVirtualDisk"):
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        long_operations.run_to_end(work)
        if overlapped:
            memory.write(overlapped, OVERLAPPED_RESULT.pack(statuses.STATUS_SUCCESS, 0))
            self._done.add((handle, overlapped))

    def pause(self) -> None:
        """It passes by itself."""

    def progress(self, handle: int, overlapped: int) -> tuple[int, int, int]:
        """Every operation is over."""
        if (handle, overlapped) not in self._done:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        return constants.ERROR_SUCCESS, 1, 1


class _NamedContent:
    """The payload of a real file that is not open here; where it is, is asked when it is read."""

    def __init__(self, locate: Callable[[], str]) -> None:
        self._locate = locate

    def read(self, offset: int, length: int) -> bytes:
        try:
            with open(self._locate(), "rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise _failure(error) from error

    def write(self, offset: int, data: bytes) -> None:
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def zero(self, offset: int, length: int) -> None:
        raise CallFailed(constants.ERROR_NOT_SUPPORTED)

    def is_written(self, offset: int) -> bool:
        return True

    def written(self, size: int) -> list[tuple[int, int]]:
        return [(0, size)]

    def compact(self, offset: int, length: int) -> None:
        pass  # a plain file has no room to give back

    def flush(self) -> None:
        pass


class _HandleContent(_NamedContent):
    """The payload of a real file, by way of a handle for overlapped I/O, and no packets."""

    def __init__(
        self, kernel32: _win32.Kernel32, get_last_error: Callable[[], int], handle: int
    ) -> None:
        self._kernel32 = kernel32
        self._get_last_error = get_last_error
        self._handle = handle

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        for at in range(offset, offset + length, _PIECE):
            size = min(_PIECE, offset + length - at)
            block = Block(_rounded(size))
            count = self._transfer(self._kernel32.ReadFile, block, at, size)
            pieces.append(bytes(block.memory[:count]))
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            block = Block(_rounded(len(piece)))
            block.memory[: len(piece)] = piece
            self._transfer(self._kernel32.WriteFile, block, offset + at, len(piece))

    def zero(self, offset: int, length: int) -> None:
        for at in range(offset, offset + length, _PIECE):
            self.write(at, bytes(min(_PIECE, offset + length - at)))

    def set_end(self, size: int) -> None:
        """Cut or extend the file."""
        block = Block(PAGE_SIZE)
        block.memory[: LARGE_INTEGER_STRUCT.size] = LARGE_INTEGER_STRUCT.pack(size)
        self._check(
            self._kernel32.SetFileInformationByHandle(
                self._handle,
                constants.FileEndOfFileInfo,
                block.address,
                LARGE_INTEGER_STRUCT.size,
            )
        )

    def _transfer(
        self, function: Callable[[int, int, int, int, int], int], block: Block, at: int, size: int
    ) -> int:
        """Read or write, and wait for it; return the bytes transferred."""
        event = self._kernel32.CreateEventW(0, 1, 0, 0)
        self._check(event)
        try:
            overlapped = Block(PAGE_SIZE)
            # The low bit keeps the packet away from a port that the handle may be on.
            OVERLAPPED_STRUCT.pack_into(
                overlapped.memory, 0, 0, 0, at & 0xFFFFFFFF, at >> 32, event | 1
            )
            done = function(self._handle, block.address, size, 0, overlapped.address)
            if not done and self._get_last_error() != constants.ERROR_IO_PENDING:
                raise CallFailed(self._get_last_error())
            count = overlapped.address + PAGE_SIZE - DWORD_STRUCT.size
            self._check(
                self._kernel32.GetOverlappedResult(self._handle, overlapped.address, count, 1)
            )
            (transferred,) = DWORD_STRUCT.unpack(memory.read(count, DWORD_STRUCT.size))
            return int(transferred)
        finally:
            self._kernel32.CloseHandle(event)

    def _check(self, returned: int) -> None:
        if not returned:
            raise CallFailed(self._get_last_error())


def _rounded(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def _failure(error: OSError) -> CallFailed:
    """Return what Windows calls the error of `open`, which may know errno alone."""
    if isinstance(error, FileNotFoundError):
        return CallFailed(constants.ERROR_FILE_NOT_FOUND)
    if isinstance(error, FileExistsError):
        return CallFailed(constants.ERROR_FILE_EXISTS)
    return CallFailed(getattr(error, "winerror", None) or constants.ERROR_ACCESS_DENIED)


@contextmanager
def simulated_virtdisk(*, elevated: bool = True, seed: int = 0) -> Iterator[None]:
    """Put a simulated virtdisk.dll over the real kernel32 for the length of a with block.

    Fixed and dynamic disks can be created, opened, attached raw and queried; their
    payload is a real file, and a real handle reads and writes it. `elevated`: whether
    the process may attach disks. Raises `RuntimeError` where there is no Windows.
    """
    windows = _win32.current()
    host = RealHost(windows.kernel32, windows.get_last_error)
    with virtdisk_over(host, elevated=elevated, seed=seed):
        yield


@contextmanager
def virtdisk_over(host: RealHost, *, elevated: bool = True, seed: int = 0) -> Iterator[None]:
    """Put a simulated virtdisk.dll over a host of real files, as `simulated_virtdisk` does."""
    functions = SimulatedVirtdisk(host, random.Random(seed), elevated=elevated)

    def coded(name: str) -> Callable[..., int]:
        body = getattr(functions, name)

        def call(*arguments: int) -> int:
            with host.lock:
                try:
                    return cast("int", body(*arguments))
                except CallFailed as failed:
                    return failed.code

        return call

    with substituted(
        kernel32={"CloseHandle": host.close},
        virtdisk={name: coded(name) for name in DLLS["virtdisk"] if hasattr(functions, name)},
    ):
        yield
