"""Images of the simulated virtdisk.dll on the simulated volume. For real files see `real_host`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyvhdmp._win32 import constants
from pyvhdmp.testing import long_operations, statuses
from pyvhdmp.testing.devices import existing_file
from pyvhdmp.testing.io_manager import Action, IoManager, Request, StorageDevice
from pyvhdmp.testing.kernel import CallFailed, Device, FileObject, Kernel
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.virtdisk import (
    TRAILER_SIZE,
    Content,
    Image,
    Layer,
    OpenImage,
    read_through,
)
from pyvhdmp.testing.virtdisk.attaching import drive_path
from pyvhdmp.testing.virtdisk.host import SECTOR
from pyvhdmp.testing.volume import File, Marker, Volume, full_path

__all__ = ["VolumeHost"]


class VolumeHost:
    """Images on the simulated volume."""

    sees_writes = True

    def __init__(self, kernel: Kernel, io: IoManager, volume: Volume) -> None:
        self._kernel = kernel
        self._io = io
        self._volume = volume

    # -- Files --------------------------------------------------------------------

    def tail(self, path: str, length: int = TRAILER_SIZE) -> tuple[bytes, int]:
        """Return the last bytes of a file, and its size."""
        file = self._file(path)
        start = max(0, file.size - length)
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

    def delete(self, path: str) -> None:
        """Take a file away, open or not."""
        if self._volume.find(path) is not None:
            self._volume.delete(path)

    def rewrite(self, path: str, old: Image, new: Image, opened: OpenImage | None = None) -> None:
        """Have a file be another image."""
        file, tail = self._file(path), new.tail()
        before = list(file.unflushed)
        if new.size > old.size:
            file.forget(old.size, len(old.tail()))
            # What a child gets back is not to be its parent's.
            hidden = min(old.parent_size, new.size) if old.is_differencing else 0
            file.zero(old.size, max(0, hidden - old.size))
        self._volume.resize(file, new.size + len(tail))
        file.write(new.size, tail, self._volume.cache_size)
        marker = Marker(file)
        marker.writes = [write for write in marker.writes if write not in before]
        self._volume.flush(file, marker)

    def content(
        self, path: str, opened: OpenImage | None = None, *, write: bool = False
    ) -> Content:
        """Return the payload of a file."""
        file = self._file(path)
        if opened is None or path != opened.path:
            access = constants.GENERIC_READ | (constants.GENERIC_WRITE if write else 0)
            mine = [] if opened is None else self._objects([opened])
            self._kernel.check_sharing([file], access, constants.FILE_SHARE_READ, but_for=mine)
        return _FileContent(self._volume, file)

    def _file(self, path: str) -> File:
        return existing_file(self._io, self._volume, path)

    # -- Handles ------------------------------------------------------------------

    def open(self, opened: OpenImage) -> int:
        """Return a handle to the payload."""
        files = [self._file(path) for path in (opened.path, *(path for path, _ in opened.chain))]
        access, share_mode = opened.access, opened.share_mode
        if files[0].is_read_only and access & constants.GENERIC_WRITE:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        uses, reads = files[: opened.write_depth], files[opened.write_depth :]
        peers = self._objects(opened.peers())
        self._kernel.check_sharing(uses, access, share_mode, but_for=peers)
        if access:
            self._kernel.check_sharing(
                reads, constants.GENERIC_READ, constants.FILE_SHARE_READ, but_for=peers
            )
        device = _ImageDevice(self._io, self._volume, opened, files)
        file = device.file = FileObject(
            device,
            full_path(opened.path),
            access=access,
            share_mode=share_mode,
            flags=opened.flags,
            uses=uses,
            reads=reads if access else [],
        )
        handle = self._kernel.new_handle(file)
        self._kernel.note(f"virtual disk {file.name} -> {handle:#x}")
        return handle

    def close(self, handle: int) -> None:
        """Close a handle that the caller has not been given."""
        self._kernel.close(handle)

    def found(self, handle: int) -> OpenImage:
        """Return what a handle stands for."""
        return self._device(handle).opened

    def reads(self, handle: int) -> None:
        """The disk behind a handle has one more parent."""
        device = self._device(handle)
        parent = self._file(device.opened.chain[-1][0])
        device.files.append(parent)
        assert device.file is not None
        device.file.reads = [*device.file.reads, parent]

    def hold(self, handle: int, path: str) -> None:
        """The disk behind a handle uses another file, too."""
        file = self._kernel.file(handle, "")
        file.uses = [*file.uses, self._file(path)]

    def let_go(self, handle: int, path: str) -> None:
        """It does so no more."""
        if handle in self._kernel.objects:
            file, other = self._kernel.file(handle, ""), self._volume.find(path)
            own = self._device(handle).files[0] if not file.is_dead else None
            file.uses = [used for used in file.uses if used is not other or used is own]

    def move(self, handle: int, path: str) -> None:
        """Every handle to the disk is one to another file from now on."""
        other = self._file(path)
        for file in self._objects(self._device(handle).opened.disk.handles):
            assert isinstance(file.device, _ImageDevice)
            own, file.device.files[0] = file.device.files[0], other
            file.uses = [other, *(used for used in file.uses if used not in (own, other))]
            file.name = full_path(path)

    def detached(self, handle: int) -> None:
        """What is in flight fails."""
        disk = self._device(handle).opened.disk
        for file in self._objects(disk.handles):
            if not _opened(file).is_attached:
                self._io.abandon(file, statuses.STATUS_DEVICE_NOT_CONNECTED, Action.WORK)
                if file in self._kernel.held:
                    self._kernel.held.remove(file)
                    disk.handles.remove(_opened(file))

    def opened(self) -> list[OpenImage]:
        """Return what is open."""
        return [
            file.device.opened
            for file in self._kernel.files()
            if isinstance(file.device, _ImageDevice) and not file.is_dead
        ]

    def _device(self, handle: int) -> _ImageDevice:
        file = self._kernel.file(handle, "a function of virtdisk.dll")
        if not isinstance(file.device, _ImageDevice):
            raise CallFailed(constants.ERROR_INVALID_HANDLE)
        if file.is_dead:
            raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)
        return file.device

    def _objects(self, handles: Sequence[OpenImage]) -> list[FileObject]:
        """Return the open files that are these handles'."""
        return [
            file
            for file in self._kernel.files()
            if isinstance(file.device, _ImageDevice) and file.device.opened in handles
        ]

    def open_drive(self, name: str, access: int, share_mode: int, flags: int) -> int | None:
        """Return a handle to the drive of this name, None if it is no drive's."""
        for opened in self.opened():
            attachment = opened.attachment
            if attachment is None or attachment.is_raw or opened.is_harmless:
                continue
            if name.lower() == drive_path(opened, attachment).lower():
                (file, *_) = self._objects([opened])
                drive = _Drive(self._io, opened, file.device)
                return self._kernel.new_handle(
                    FileObject(drive, name, access=access, share_mode=share_mode, flags=flags)
                )
        return None

    def drive(self, handle: int) -> OpenImage:
        """Return the disk behind a handle to a drive."""
        device = self._kernel.file(handle, "GetStorageDependencyInformation").device
        if not isinstance(device, _Drive):
            raise CallFailed(constants.ERROR_VIRTDISK_NOT_VIRTUAL_DISK)
        return device.opened

    def violation(self, text: str) -> None:
        """The caller has done what it must not."""
        self._kernel.violation(text)

    # -- Long operations ----------------------------------------------------------

    def begin(self, function: str, handle: int, overlapped: int, work: Work) -> None:
        """Begin a long operation."""
        long_operations.begin(self._io, function, handle, overlapped, work)

    def go_on(self, handle: int) -> None:
        """What a long operation waits for has come."""
        for operation in self._kernel.file(handle, "").operations.values():
            operation.go_on()

    def pause(self) -> None:
        """Let a little time pass."""
        self._kernel.pass_a_moment()

    def progress(self, handle: int, overlapped: int) -> tuple[int, int, int]:
        """Return how far a long operation is."""
        file = self._kernel.file(handle, "GetVirtualDiskOperationProgress")
        operation = file.operations.get(overlapped)
        if operation is None:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        progress = operation.progress
        if progress[0] == constants.ERROR_IO_PENDING:
            self.pause()
        return progress


class _FileContent:
    """The payload of a file of the volume."""

    def __init__(self, volume: Volume, file: File) -> None:
        self._volume = volume
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        return self._file.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        self._file.write(offset, data, self._volume.cache_size)

    def zero(self, offset: int, length: int) -> None:
        self._file.zero(offset, length)

    def is_written(self, offset: int) -> bool:
        return self._file.content.is_written(offset // SECTOR)

    def written(self, size: int) -> list[tuple[int, int]]:
        return self._file.content.written(size)

    def compact(self, offset: int, length: int) -> None:
        self._file.compact(offset, length)

    def flush(self) -> None:
        self._volume.flush(self._file, Marker(self._file))


class _ImageDevice(StorageDevice):
    """The payload of an image, and of its parents below it. `files`: its own first."""

    def __init__(self, io: IoManager, volume: Volume, opened: OpenImage, files: list[File]) -> None:
        super().__init__(io)
        self.opened = opened
        self.files = files
        self.file: FileObject | None = None
        self.sector_size = opened.image.sector_size
        self._volume = volume

    def start(self, request: Request) -> None:
        """Take a request on, if the disk is attached."""
        if not self.opened.is_attached:
            self.io.complete(request, statuses.status_of(constants.ERROR_INVALID_FUNCTION))
        else:
            super().start(request)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        offset = self._checked(offset, length)
        sizes = [self.opened.image.size, *(image.size for _, image in self.opened.chain)]
        layers = [
            Layer(_FileContent(self._volume, file), size)
            for file, size in zip(self.files, sizes, strict=True)
        ]
        return read_through(layers, offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        offset = self._checked(offset, len(data))
        if not self.opened.is_writable:
            raise CallFailed(constants.ERROR_WRITE_PROTECT)
        self.files[0].write(offset, data, self._volume.cache_size)
        self.opened.disk.changed(offset, len(data))

    def begin_flush(self) -> Callable[[], None]:
        """A flush promises what is written by now."""
        file = self.files[0]
        marker = Marker(file)
        return lambda: self._volume.flush(file, marker)

    def close(self) -> None:
        """The handle is closed; a permanent attachment stays."""
        assert self.file is not None
        self.opened.disk.is_lost |= self.file.is_dead
        if self.opened.close() and not self.file.is_dead:
            self.io.kernel.held.append(self.file)

    def _checked(self, offset: int, length: int) -> int:
        """Return where in the disk a range begins that must lie within what is attached."""
        if offset + length > self.opened.size:
            raise CallFailed(constants.ERROR_SECTOR_NOT_FOUND)
        return self.opened.start + offset


class _Drive(StorageDevice):
    """An attached disk as a drive of this machine."""

    def __init__(self, io: IoManager, opened: OpenImage, image: Device) -> None:
        super().__init__(io)
        assert isinstance(image, _ImageDevice)
        self.opened = opened
        self.sector_size = image.sector_size
        self._image = image

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        self._check()
        return self._image.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        self._check()
        self._image.write(offset, data)

    def begin_flush(self) -> Callable[[], None]:
        """A flush promises what is written by now."""
        return self._image.begin_flush()

    def _check(self) -> None:
        if not self.opened.is_attached:
            raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)


def _opened(file: FileObject) -> OpenImage:
    assert isinstance(file.device, _ImageDevice)
    return file.device.opened
