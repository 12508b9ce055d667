"""What a handle can stand for: a file of the volume, a folder, or an end of a pipe."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import FILE_ZERO_DATA_STRUCT
from pyvhdmp.testing import memory, statuses
from pyvhdmp.testing.io_manager import Action, IoManager, Request, StorageDevice
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.volume import File, Marker, Volume

__all__ = ["FileDevice", "FolderDevice", "PipeEnd", "existing_file"]

_PIPE_QUOTA: Final = 65536
_PIPE_PEEK: Final = struct.Struct("<IIII")
_CONNECTED: Final = 3


def existing_file(io: IoManager, volume: Volume, name: str) -> File:
    """Return the file of a name. Raises `CallFailed` with what Windows says if there is none."""
    if io.is_off:
        raise CallFailed(constants.ERROR_NOT_READY)
    file = volume.find(name)
    if file is not None:
        return file
    if volume.is_folder(name):
        raise CallFailed(constants.ERROR_ACCESS_DENIED)
    if not volume.has_parent(name):
        raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
    raise CallFailed(constants.ERROR_FILE_NOT_FOUND)


class FileDevice(StorageDevice):
    """A file of the volume."""

    def __init__(self, io: IoManager, volume: Volume, file: File, sector_size: int) -> None:
        super().__init__(io)
        self.volume = volume
        self.file = file
        self.sector_size = sector_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range, as far as there are any."""
        return self.file.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; a write beyond the end extends the file."""
        if offset + len(data) > self.file.size:
            self.volume.resize(self.file, offset + len(data))
        self.file.write(offset, data, self.volume.cache_size)

    def control(self, code: int, data: bytes, length: int) -> bytes:
        """Make sparse, or zero a range."""
        if code == constants.FSCTL_SET_SPARSE:
            return b""
        if code == constants.FSCTL_SET_ZERO_DATA:
            if len(data) < FILE_ZERO_DATA_STRUCT.size:
                raise CallFailed(constants.ERROR_INVALID_PARAMETER)
            start, end = FILE_ZERO_DATA_STRUCT.unpack_from(data)
            end = min(end, self.file.size)
            if start < end:
                self.file.zero(start, end - start)
            return b""
        raise CallFailed(constants.ERROR_INVALID_FUNCTION)

    def begin_flush(self) -> Callable[[], None]:
        """A flush promises what is written by now."""
        marker = Marker(self.file)
        return lambda: self.volume.flush(self.file, marker)


class FolderDevice:
    """A folder, or a volume: a handle to ask about, without any I/O."""

    sector_size = 1

    def start(self, request: Request) -> None:
        """Nothing gets this far: the handle has no rights."""
        raise AssertionError(request)

    def cancel(self, request: Request) -> None:
        """There are none."""
        raise AssertionError(request)

    def begin_flush(self) -> Callable[[], None]:
        """There is nothing to flush."""
        return lambda: None

    def close(self) -> None:
        """There is nothing to do."""


class PipeEnd:
    """One end of a pipe of bytes: a read pends until the other end writes."""

    sector_size = 1

    def __init__(self, io: IoManager) -> None:
        self.io = io
        self.other: PipeEnd = self
        self._arrived = bytearray()
        self._reads: list[Request] = []
        self._writes: list[Request] = []
        self._is_open = True

    def start(self, request: Request) -> None:
        """Take a request on."""
        if request.action is Action.CONTROL:
            self._control(request)
            return
        if request.error:
            self.io.complete(request, statuses.status_of(request.error))
            return
        if request.action is Action.READ:
            self._reads.append(request)
            self.pump()
        else:
            self._writes.append(request)
            self.other.pump()

    def cancel(self, request: Request) -> None:
        """Have a request completed as cancelled: what pends here can always be."""
        for queue in (self._reads, self._writes):
            if request in queue:
                queue.remove(request)
        self.io.complete(request, statuses.STATUS_CANCELLED)

    def begin_flush(self) -> Callable[[], None]:
        """There is nothing to flush."""
        return lambda: None

    def close(self) -> None:
        """Closing an end fails what pends at the other."""
        self._is_open = False
        self.other.pump()

    def pump(self) -> None:
        """Take in what the other end writes, and give it to the reads, in order."""
        while True:
            if self._reads and self._arrived:
                request = self._reads.pop(0)
                data = bytes(self._arrived[: request.length])
                del self._arrived[: request.length]
                self._give(request, data)
            elif self._reads and not self._reads[0].length:
                self._give(self._reads.pop(0), b"")
            elif self.other._writes and len(self._arrived) < _PIPE_QUOTA:
                request = self.other._writes.pop(0)
                self._arrived += memory.copy_in(request.owned.inputs)
                self.io.complete(request, statuses.STATUS_SUCCESS, request.length)
            else:
                break
        if not (self._is_open and self.other._is_open):
            for queue in (self._reads, self._writes):
                while queue:
                    self.io.complete(queue.pop(0), statuses.STATUS_PIPE_BROKEN)

    def _give(self, request: Request, data: bytes) -> None:
        def move() -> tuple[int, int]:
            memory.copy_out(request.owned.outputs, data)
            return statuses.STATUS_SUCCESS, len(data)

        self.io.complete(request, None, 0, move)

    def _control(self, request: Request) -> None:
        if request.code != constants.FSCTL_PIPE_PEEK:
            self.io.complete(request, statuses.status_of(constants.ERROR_INVALID_FUNCTION))
            return
        room = max(0, request.length - _PIPE_PEEK.size)
        state = _PIPE_PEEK.pack(_CONNECTED, len(self._arrived), 0, 0)
        answer = state[: request.length] + bytes(self._arrived[:room])
        self._give(request, answer)
