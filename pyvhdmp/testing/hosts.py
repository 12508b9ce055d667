"""Where the images of the simulated virtdisk.dll lie: on the simulated volume, or in real files.

A real file is given out as a real handle: what is read and written through it goes
through the real kernel32, and only virtdisk.dll is simulated. Differencing disks are
for the simulated volume alone, since a plain handle knows nothing of a parent.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing import statuses
from pyvhdmp.testing.convention import DLLS, set_last_error
from pyvhdmp.testing.devices import existing_file
from pyvhdmp.testing.io_manager import IoManager, Request, StorageDevice
from pyvhdmp.testing.kernel import CallFailed, FileObject, Kernel
from pyvhdmp.testing.substitutes import substituted
from pyvhdmp.testing.virtdisk import TRAILER_SIZE, Image, OpenImage, SimulatedVirtdisk
from pyvhdmp.testing.volume import File, Marker, Volume, full_path

__all__ = ["RealHost", "VolumeHost", "simulated_virtdisk", "virtdisk_over"]

_SECTOR: Final = 512


class VolumeHost:
    """Images on the simulated volume."""

    def __init__(self, kernel: Kernel, io: IoManager, volume: Volume) -> None:
        self._kernel = kernel
        self._io = io
        self._volume = volume

    def tail(self, path: str) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size."""
        file = self._file(path)
        start = max(0, file.size - TRAILER_SIZE)
        return file.read(start, file.size - start), file.size

    def allocated(self, path: str) -> int:
        """Return the bytes that a file takes."""
        return self._file(path).content.allocated

    def create(self, path: str, image: Image) -> None:
        """Make a file of zeros with the image's tail."""
        if self._volume.find(path) is not None:
            raise CallFailed(constants.ERROR_FILE_EXISTS)
        if not self._volume.has_parent(path):
            raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
        tail = image.tail()
        file = self._volume.create(path)
        self._volume.resize(file, image.size + len(tail))
        file.write(image.size, tail, self._volume.cache_size)
        self._volume.flush(file, Marker(file))

    def open(self, opened: OpenImage) -> int:
        """Return a handle to the payload."""
        files = [self._file(path) for path in (opened.path, *(path for path, _ in opened.chain))]
        access, share_mode = opened.access, opened.share_mode
        if files[0].is_read_only and access & constants.GENERIC_WRITE:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        self._kernel.check_sharing(files[:1], access, share_mode)
        self._kernel.check_sharing(files[1:], constants.GENERIC_READ if access else 0, 7)
        device = _ImageDevice(self._io, self._volume, opened, files)
        file = FileObject(
            device,
            full_path(opened.path),
            access=access,
            share_mode=share_mode,
            flags=opened.flags,
            uses=files[:1],
        )
        handle = self._kernel.new_handle(file)
        self._kernel.note(f"virtual disk {file.name} -> {handle:#x}")
        return handle

    def found(self, handle: int) -> OpenImage:
        """Return what a handle stands for."""
        device = self._kernel.file(handle, "a function of virtdisk.dll").device
        if not isinstance(device, _ImageDevice):
            raise CallFailed(constants.ERROR_INVALID_HANDLE)
        return device.opened

    def detached(self, handle: int) -> None:
        """What is in flight fails."""
        file = self._kernel.file(handle, "DetachVirtualDisk")
        self._io.abandon(file, statuses.STATUS_DEVICE_NOT_CONNECTED)

    def opened(self) -> list[OpenImage]:
        """Return what is open."""
        devices = [file.device for file in self._kernel.files()]
        return [device.opened for device in devices if isinstance(device, _ImageDevice)]

    def _file(self, path: str) -> File:
        return existing_file(self._io, self._volume, path)


class _ImageDevice(StorageDevice):
    """The payload of an image, and of its parents below it."""

    def __init__(self, io: IoManager, volume: Volume, opened: OpenImage, files: list[File]) -> None:
        super().__init__(io)
        self.opened = opened
        self.sector_size = opened.image.sector_size
        self._volume = volume
        self._files = files

    def start(self, request: Request) -> None:
        """Take a request on, if the disk is attached."""
        if not self.opened.is_attached:
            self.io.complete(request, statuses.status_of(constants.ERROR_INVALID_FUNCTION))
        else:
            super().start(request)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        self._check_range(offset, length)
        if len(self._files) == 1:
            return self._files[0].read(offset, length)
        return b"".join(
            next(
                (file for file in self._files if file.content.is_written(at // _SECTOR)),
                self._files[-1],
            ).read(at, _SECTOR)
            for at in range(offset, offset + length, _SECTOR)
        )

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        self._check_range(offset, len(data))
        if not self.opened.is_writable:
            raise CallFailed(constants.ERROR_WRITE_PROTECT)
        self._files[0].write(offset, data, self._volume.cache_size)

    def begin_flush(self) -> Callable[[], None]:
        """A flush promises what is written by now."""
        file = self._files[0]
        marker = Marker(file)
        return lambda: self._volume.flush(file, marker)

    def _check_range(self, offset: int, length: int) -> None:
        if offset + length > self.opened.image.size:
            raise CallFailed(constants.ERROR_SECTOR_NOT_FOUND)


class RealHost:
    """Images in real files, by way of the real kernel32."""

    def __init__(self, kernel32: _win32.Kernel32, get_last_error: Callable[[], int]) -> None:
        self._kernel32 = kernel32
        self._get_last_error = get_last_error
        self._open: dict[int, OpenImage] = {}
        self.lock = threading.RLock()

    def tail(self, path: str) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size."""
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - TRAILER_SIZE))
                return file.read(), size
        except OSError as error:
            raise CallFailed(getattr(error, "winerror", None) or 5) from error

    def allocated(self, path: str) -> int:
        """Return the size of a file."""
        return os.path.getsize(path)

    def create(self, path: str, image: Image) -> None:
        """Make a file of zeros with the image's tail."""
        if image.subtype == enums.PROVIDER_SUBTYPE_DIFFERENCING:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        try:
            with open(path, "xb") as file:
                file.truncate(image.size)
                file.seek(image.size)
                file.write(image.tail())
        except OSError as error:
            raise CallFailed(getattr(error, "winerror", None) or 5) from error

    def open(self, opened: OpenImage) -> int:
        """Return a handle to the file."""
        handle = self._kernel32.CreateFileW(
            opened.path,
            opened.access,
            opened.share_mode,
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

    def detached(self, handle: int) -> None:
        """What is in flight is cancelled."""
        self._kernel32.CancelIoEx(handle, 0)

    def opened(self) -> list[OpenImage]:
        """Return what is open."""
        return list(self._open.values())

    def close(self, handle: int) -> int:
        """CloseHandle, which ends an attachment."""
        with self.lock:
            self._open.pop(handle, None)
        done = self._kernel32.CloseHandle(handle)
        if not done:
            set_last_error(self._get_last_error())
        return done


@contextmanager
def simulated_virtdisk(*, elevated: bool = True, seed: int = 0) -> Iterator[None]:
    """Put a simulated virtdisk.dll over the real kernel32 for the length of a with block.

    Fixed and dynamic disks can be created, opened, attached raw and queried; their
    payload is a real file, and a real handle reads and writes it. `elevated`: whether
    the process may attach disks. Needs Windows.
    """
    windows = _win32.current()
    with virtdisk_over(
        RealHost(windows.kernel32, windows.get_last_error), elevated=elevated, seed=seed
    ):
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
