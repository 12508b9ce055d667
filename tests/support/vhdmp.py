"""A virtdisk.dll of one virtual disk, and just enough kernel around it to do I/O on that.

It notes every call with its structures decoded, and which handles are open.
"""

from __future__ import annotations

import ctypes
import itertools
import ntpath
import queue
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.structures import OVERLAPPED, OVERLAPPED_ENTRY
from pyvhdmp.testing import set_last_error, substituted

DISK_ID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
NO_HANDLE = 0xBAD0  # what a failing open or create leaves behind
FOLDER = "C:\\disks"


@dataclass
class Call:
    """A call of virtdisk.dll."""

    function: str
    handle: int = 0
    path: str = ""
    mask: int = 0
    flags: int = 0
    device: int = 0
    vendor: uuid.UUID | None = None
    open: v.OPEN_VIRTUAL_DISK_PARAMETERS | None = None
    create: v.CREATE_VIRTUAL_DISK_PARAMETERS | None = None
    parent: str | None = None
    attach: v.ATTACH_VIRTUAL_DISK_PARAMETERS | None = None
    what: int = 0


@dataclass
class Driver:
    """What the disk is, which calls fail with which code, and what was called."""

    device: int = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX
    subtype: int = enums.PROVIDER_SUBTYPE_DYNAMIC
    size: int = 8 << 20
    sector_size: int = 512
    parents: list[str] = field(default_factory=list)
    parent_found: bool = True
    physical_path: str = "\\\\.\\PhysicalDrive3"
    tracking: tuple[int, int, str] = (0, 0, "")
    answers: dict[int, Callable[[v.GET_VIRTUAL_DISK_INFO], object]] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] | None = None  # what GetFileAttributesW knows; None: everything
    calls: list[Call] = field(default_factory=list)
    handles: set[int] = field(default_factory=set)
    closed: list[int] = field(default_factory=list)
    synchronous: bool = False
    on_ask: Callable[[], object] = lambda: None  # runs at the start of each question

    def __post_init__(self) -> None:
        self._numbers = itertools.count(0x100, 4)
        self._packets: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
        self._keys: dict[int, int] = {}
        self._events: set[int] = set()

    def names(self) -> list[str]:
        """The functions of virtdisk.dll that were called, in order."""
        return [call.function for call in self.calls]

    def of(self, function: str) -> Call:
        """The only call of a function."""
        (call,) = [call for call in self.calls if call.function == function]
        return call

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put all of it in the place of Windows' own for the length of a with block."""

        def own(names: list[str]) -> dict[str, Callable[..., int]]:
            return {name: getattr(self, name) for name in names}

        virtdisk = own([name for name in vars(Driver) if name.endswith("VirtualDisk")])
        virtdisk |= own(["GetVirtualDiskInformation", "GetVirtualDiskPhysicalPath"])
        kernel32 = own(
            [
                "CloseHandle",
                "CreateEventW",
                "CreateFileW",
                "CreateIoCompletionPort",
                "GetFileAttributesW",
                "GetFullPathNameW",
                "GetQueuedCompletionStatusEx",
                "PostQueuedCompletionStatus",
                "ReadFile",
                "ReadFileScatter",
                "SetFileCompletionNotificationModes",
            ]
        )
        ntdll = own(["NtQueryInformationFile", "RtlNtStatusToDosError"])
        with substituted(kernel32=kernel32, ntdll=ntdll, virtdisk=virtdisk):
            yield

    # -- virtdisk -------------------------------------------------------------

    def OpenVirtualDisk(
        self, storage: int, path: str, mask: int, flags: int, parameters: int, handle: int
    ) -> int:
        kind = v.VIRTUAL_STORAGE_TYPE.from_address(storage)
        given = v.OPEN_VIRTUAL_DISK_PARAMETERS.from_buffer_copy(
            ctypes.string_at(parameters, ctypes.sizeof(v.OPEN_VIRTUAL_DISK_PARAMETERS))
        )
        call = Call(
            "OpenVirtualDisk", 0, path, mask, flags, kind.DeviceId, kind.VendorId.uuid(), open=given
        )
        return self._give_out(call, handle)

    def CreateVirtualDisk(
        self,
        storage: int,
        path: str,
        mask: int,
        security: int,
        flags: int,
        provider_flags: int,
        parameters: int,
        overlapped: int,
        handle: int,
    ) -> int:
        assert (security, provider_flags) == (0, 0)
        kind = v.VIRTUAL_STORAGE_TYPE.from_address(storage)
        given = v.CREATE_VIRTUAL_DISK_PARAMETERS.from_buffer_copy(
            ctypes.string_at(parameters, ctypes.sizeof(v.CREATE_VIRTUAL_DISK_PARAMETERS))
        )
        call = Call(
            "CreateVirtualDisk",
            0,
            path,
            mask,
            flags,
            kind.DeviceId,
            kind.VendorId.uuid(),
            create=given,
            parent=given.Version2.ParentPath,  # which is there only during the call
        )
        return self._give_out(call, handle)

    def _give_out(self, call: Call, handle: int) -> int:
        self.calls.append(call)
        code = self.fails.get(call.function, 0)
        cell = v.HANDLE_CELL.from_address(handle)
        cell.Value = NO_HANDLE if code else self.new_handle()
        return code

    def AttachVirtualDisk(
        self,
        disk: int,
        security: int,
        flags: int,
        provider_flags: int,
        parameters: int,
        overlapped: int,
    ) -> int:
        assert disk in self.handles
        assert (security, provider_flags, overlapped) == (0, 0, 0)
        given = v.ATTACH_VIRTUAL_DISK_PARAMETERS.from_buffer_copy(
            ctypes.string_at(parameters, ctypes.sizeof(v.ATTACH_VIRTUAL_DISK_PARAMETERS))
        )
        self.calls.append(Call("AttachVirtualDisk", disk, flags=flags, attach=given))
        return self.fails.get("AttachVirtualDisk", 0)

    def DetachVirtualDisk(self, disk: int, flags: int, provider_flags: int) -> int:
        assert disk in self.handles
        assert provider_flags == 0
        self.calls.append(Call("DetachVirtualDisk", disk, flags=flags))
        return self.fails.get("DetachVirtualDisk", 0)

    def RawSCSIVirtualDisk(self, disk: int, parameters: int, flags: int, response: int) -> int:
        return constants.ERROR_NOT_SUPPORTED

    def GetVirtualDiskPhysicalPath(self, disk: int, size: int, path: int) -> int:
        assert disk in self.handles
        self.calls.append(Call("GetVirtualDiskPhysicalPath", disk))
        text = self.physical_path.encode("utf-16-le") + b"\0\0"
        return self._answer("GetVirtualDiskPhysicalPath", text, size, path)

    def GetVirtualDiskInformation(self, disk: int, size: int, info: int, used: int) -> int:
        self.on_ask()
        assert disk in self.handles
        assert used == 0
        answer = v.GET_VIRTUAL_DISK_INFO(
            Version=ctypes.c_uint32.from_address(info).value,
        )
        what, text_at = answer.Version, v.PARENT_LOCATION_AT
        self.calls.append(Call("GetVirtualDiskInformation", disk, what=what))
        raw = b""
        if what == enums.GET_VIRTUAL_DISK_INFO_VERSION.SIZE:
            answer.Size.VirtualSize, answer.Size.PhysicalSize = self.size, 4 << 20
            answer.Size.BlockSize, answer.Size.SectorSize = 32 << 20, self.sector_size
        elif what == enums.GET_VIRTUAL_DISK_INFO_VERSION.VIRTUAL_STORAGE_TYPE:
            answer.VirtualStorageType.DeviceId = self.device
        elif what == enums.GET_VIRTUAL_DISK_INFO_VERSION.PROVIDER_SUBTYPE:
            answer.ProviderSubtype = self.subtype
        elif what == enums.GET_VIRTUAL_DISK_INFO_VERSION.VHD_PHYSICAL_SECTOR_SIZE:
            answer.VhdPhysicalSectorSize = 4096
        elif what == enums.GET_VIRTUAL_DISK_INFO_VERSION.PARENT_LOCATION:
            if not self.parents:
                return constants.ERROR_VHD_INVALID_TYPE
            answer.ParentLocation.ParentResolved = self.parent_found
            texts = "".join(parent + "\0" for parent in self.parents)
            raw = (texts + ("" if self.parent_found else "\0")).encode("utf-16-le")
        elif what == (
            enums.GET_VIRTUAL_DISK_INFO_VERSION.IDENTIFIER
            if self.device == enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
            else enums.GET_VIRTUAL_DISK_INFO_VERSION.VIRTUAL_DISK_ID
        ):
            answer.VirtualDiskId = v.GUID.of(DISK_ID)
        elif what == enums.GET_VIRTUAL_DISK_INFO_VERSION.CHANGE_TRACKING_STATE:
            enabled, newer, most_recent = self.tracking
            answer.ChangeTrackingState.Enabled = enabled
            answer.ChangeTrackingState.NewerChanges = newer
            raw = (most_recent + "\0").encode("utf-16-le")
            text_at = v.MOST_RECENT_ID_AT
        elif what in self.answers:
            self.answers[what](answer)
        else:
            return constants.ERROR_INVALID_PARAMETER
        head = bytes(answer)[:text_at] if raw else bytes(answer)
        return self._answer(f"GetVirtualDiskInformation {what}", head + raw, size, info)

    def _answer(self, name: str, answer: bytes, size: int, address: int) -> int:
        room = v.ULONG_CELL.from_address(size)
        code = self.fails.get(name, self.fails.get(name.split()[0], 0))
        if code == 0 and room.Value < len(answer):
            code = constants.ERROR_INSUFFICIENT_BUFFER
        room.Value = len(answer)
        if code == 0:
            ctypes.memmove(address, answer, len(answer))
        return code

    # -- kernel32 and ntdll ---------------------------------------------------

    def new_handle(self) -> int:
        handle = next(self._numbers)
        self.handles.add(handle)
        return handle

    def CreateEventW(self, attributes: int, manual: int, initial: int, name: int) -> int:
        event = next(self._numbers)
        self._events.add(event)
        return event

    def CloseHandle(self, handle: int) -> int:
        if handle in self._events:
            self._events.remove(handle)
            return 1
        assert handle in self.handles, f"{handle:#x} is not open"
        self.handles.remove(handle)
        self.closed.append(handle)
        return 1

    def CreateFileW(self, name: str, *_: int) -> int:
        set_last_error(constants.ERROR_FILE_NOT_FOUND)
        return constants.INVALID_HANDLE_VALUE

    def GetFileAttributesW(self, name: str) -> int:
        if self.files is None or name in self.files:
            return 0x80 if self.files is None else self.files[name]
        set_last_error(constants.ERROR_FILE_NOT_FOUND)
        return constants.INVALID_FILE_ATTRIBUTES

    def GetFullPathNameW(self, name: str, length: int, path: int, part: int) -> int:
        text = ntpath.normpath(ntpath.join(FOLDER, name)).encode("utf-16-le")
        if len(text) // 2 >= length:
            return len(text) // 2 + 1
        ctypes.memmove(path, text + b"\0\0", len(text) + 2)
        return len(text) // 2

    def CreateIoCompletionPort(self, file: int, port: int, key: int, threads: int) -> int:
        if file == constants.INVALID_HANDLE_VALUE:
            return self.new_handle()
        if code := self.fails.get("CreateIoCompletionPort"):
            set_last_error(code)
            return 0
        self._keys[file] = key
        return port

    def SetFileCompletionNotificationModes(self, file: int, flags: int) -> int:
        return 1

    def PostQueuedCompletionStatus(
        self, port: int, transferred: int, key: int, overlapped: int
    ) -> int:
        self._packets.put((key, overlapped, transferred))
        return 1

    def GetQueuedCompletionStatusEx(
        self, port: int, entries: int, count: int, removed: int, milliseconds: int, alertable: int
    ) -> int:
        entry = OVERLAPPED_ENTRY.from_address(entries)
        entry.lpCompletionKey, entry.lpOverlapped, entry.dwNumberOfBytesTransferred = (
            self._packets.get()
        )
        ctypes.c_uint32.from_address(removed).value = 1
        return 1

    def ReadFile(self, file: int, buffer: int, length: int, _: int, overlapped: int) -> int:
        assert file in self.handles
        if code := self.fails.get("ReadFile"):
            set_last_error(code)
            return 0
        ctypes.memset(buffer, 0x55, length)
        return self._complete(file, overlapped, length)

    def ReadFileScatter(
        self, file: int, segments: int, length: int, _: int, overlapped: int
    ) -> int:
        assert file in self.handles
        if code := self.fails.get("ReadFileScatter"):
            set_last_error(code)
            return 0
        for page in (ctypes.c_uint64 * (length // 4096)).from_address(segments):
            ctypes.memset(page, 0xAA, 4096)
        return self._complete(file, overlapped, length)

    def _complete(self, file: int, overlapped: int, length: int) -> int:
        done = OVERLAPPED.from_address(overlapped)
        done.InternalHigh, done.Internal = length, 0
        self._packets.put((self._keys[file], overlapped, length))
        return 1

    def NtQueryInformationFile(
        self, file: int, status: int, information: int, length: int, what: int
    ) -> int:
        assert file in self.handles
        mode = constants.FILE_SYNCHRONOUS_IO_NONALERT if self.synchronous else 0
        ctypes.c_uint32.from_address(information).value = mode
        return 0

    def RtlNtStatusToDosError(self, status: int) -> int:
        return constants.ERROR_GEN_FAILURE
