"""The functions of the simulated kernel32.dll, in Win32 spelling.

Each takes what comes through the C convention, ints and text, and returns what the
real one would; a `CallFailed` becomes its last error. Source of what each does: its
page in Microsoft's Win32 documentation.
"""

from __future__ import annotations

import fnmatch
import ntpath
from collections.abc import Callable
from typing import Final, TypeAlias

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import (
    DWORD_STRUCT,
    FIND_DATA_STRUCT,
    LARGE_INTEGER_STRUCT,
    OVERLAPPED_ENTRY_STRUCT,
    OVERLAPPED_RESULT,
    SEGMENT_SIZE,
)
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.testing import memory, statuses
from pyvhdmp.testing.devices import FileDevice, FolderDevice, existing_file
from pyvhdmp.testing.io_manager import Action, IoManager
from pyvhdmp.testing.kernel import CallFailed, Event, FileObject, Kernel, Search
from pyvhdmp.testing.memory import Run
from pyvhdmp.testing.volume import File, Volume, full_path

__all__ = ["SimulatedKernel32"]

_DEVICES: Final = "\\\\.\\"
_BAD_CHARACTERS: Final = frozenset('*?"<>|')


OpenDrive: TypeAlias = Callable[[str, int, int, int], "int | None"]
"""Returns a handle to the drive of a name, given access, share mode and flags."""


class SimulatedKernel32:
    """kernel32.dll over a simulated kernel, one volume, and what drives there are."""

    def __init__(
        self,
        kernel: Kernel,
        io: IoManager,
        volume: Volume,
        sector_size: int,
        open_drive: OpenDrive = lambda *_: None,
    ) -> None:
        self._open_drive = open_drive
        self._kernel = kernel
        self._io = io
        self._volume = volume
        self._sector_size = sector_size

    # -- Files by name ------------------------------------------------------------

    def CreateFileW(
        self,
        name: str,
        access: int,
        share_mode: int,
        security_attributes: int,
        disposition: int,
        flags: int,
        template: int,
    ) -> int:
        """Open or create a file, or open a drive."""
        self._check_name(name)
        if name.startswith(_DEVICES) and disposition == constants.OPEN_EXISTING:
            drive = self._open_drive(name, access, share_mode, flags)
            if drive is not None:
                return drive
        volume, file = self._volume, self._volume.find(name)
        if volume.is_folder(name) and flags & constants.FILE_FLAG_BACKUP_SEMANTICS:
            folder = FolderDevice()
            return self._kernel.new_handle(
                FileObject(folder, full_path(name), access=0, share_mode=7, flags=0)
            )
        if file is None and volume.is_folder(name):
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        if not volume.has_parent(name):
            raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
        if file is None and disposition in (constants.OPEN_EXISTING, constants.TRUNCATE_EXISTING):
            raise CallFailed(constants.ERROR_FILE_NOT_FOUND)
        if file is not None:
            if disposition == constants.CREATE_NEW:
                raise CallFailed(constants.ERROR_FILE_EXISTS)
            if file.is_read_only and access & (constants.GENERIC_WRITE | constants.DELETE):
                raise CallFailed(constants.ERROR_ACCESS_DENIED)
            self._kernel.check_sharing([file], access, share_mode)
            if disposition in (constants.CREATE_ALWAYS, constants.TRUNCATE_EXISTING):
                volume.resize(file, 0)
        else:
            file = volume.create(name)
        device = FileDevice(self._io, volume, file, self._sector_size)
        handle = self._kernel.new_handle(
            FileObject(
                device,
                full_path(name),
                access=access,
                share_mode=share_mode,
                flags=flags,
                uses=[file],
            )
        )
        self._kernel.note(f"CreateFileW {full_path(name)} -> {handle:#x}")
        return handle

    def CloseHandle(self, handle: int) -> int:
        """Close a handle of any kind."""
        target = self._kernel.objects.get(handle)
        if isinstance(target, FileObject) and (target.requests or target.flushes):
            self._kernel.violation(
                f"handle {handle:#x} of {target.name} was closed with {len(target.requests)} "
                f"requests and {target.flushes} flushes in flight"
            )
            self._io.abandon(target, statuses.STATUS_CANCELLED)
        self._kernel.close(handle)
        self._kernel.note(f"CloseHandle {handle:#x}")
        return 1

    def DeleteFileW(self, name: str) -> int:
        """Delete a file."""
        file = self._existing(name)
        if file.is_read_only:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        self._kernel.check_sharing([file], constants.DELETE, 7)
        self._volume.delete(name)
        self._kernel.note(f"DeleteFileW {full_path(name)}")
        return 1

    def MoveFileExW(self, existing: str, new: str, flags: int) -> int:
        """Rename a file."""
        file = self._existing(existing)
        self._check_name(new)
        if not self._volume.has_parent(new):
            raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
        if self._volume.is_folder(new):
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        replaced = self._volume.find(new)
        if replaced is not None and replaced is not file:
            if not flags & constants.MOVEFILE_REPLACE_EXISTING:
                raise CallFailed(constants.ERROR_ALREADY_EXISTS)
            if replaced.is_read_only or any(replaced in o.uses for o in self._kernel.files()):
                raise CallFailed(constants.ERROR_ACCESS_DENIED)
        self._kernel.check_sharing([file], constants.DELETE, 7)
        self._volume.rename(existing, new)
        if flags & constants.MOVEFILE_WRITE_THROUGH:
            self._volume.write_journal()
        self._kernel.note(f"MoveFileExW {full_path(existing)} to {full_path(new)}")
        return 1

    def GetFileAttributesW(self, name: str) -> int:
        """Return a file's attributes."""
        self._check_name(name)
        if self._volume.is_folder(name):
            return constants.FILE_ATTRIBUTE_DIRECTORY
        return _attributes(self._existing(name))

    def FindFirstFileW(self, name: str, data: int) -> int:
        """Begin to walk through what lies in a folder; tell of the first."""
        folder, pattern = ntpath.split(name)
        self._check_name(folder)
        if not self._volume.is_folder(folder):
            raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
        entries = [(".", None), ("..", None), *self._volume.entries(folder)]
        search = Search(
            [
                _find_data(entry, file)
                for entry, file in entries
                if fnmatch.fnmatchcase(entry.casefold(), pattern.casefold())
            ]
        )
        if not search.entries:
            raise CallFailed(constants.ERROR_FILE_NOT_FOUND)
        memory.write(data, search.entries.popleft())
        return self._kernel.new_handle(search)

    def FindNextFileW(self, search: int, data: int) -> int:
        """Tell of the next one."""
        entries = self._kernel.search(search, "FindNextFileW").entries
        if not entries:
            raise CallFailed(constants.ERROR_NO_MORE_FILES)
        memory.write(data, entries.popleft())
        return 1

    def FindClose(self, search: int) -> int:
        """End the walk."""
        self._kernel.search(search, "FindClose")
        self._kernel.close(search)
        return 1

    def GetFullPathNameW(self, name: str, length: int, path: int, file_part: int) -> int:
        """Return the length of a path in full, and the path where it fits."""
        text = name if name.startswith("\\\\") else full_path(name)
        raw = text.encode("utf-16-le", "surrogatepass")
        if len(raw) // 2 >= length:
            return len(raw) // 2 + 1
        memory.write(path, raw + b"\0\0")
        return len(raw) // 2

    def _check_name(self, name: str) -> None:
        if self._io.is_off:
            raise CallFailed(constants.ERROR_NOT_READY)
        plain = name.removeprefix("\\\\?\\")
        if not plain:
            raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
        if _BAD_CHARACTERS & set(plain):
            raise CallFailed(constants.ERROR_INVALID_NAME)

    def _existing(self, name: str) -> File:
        self._check_name(name)
        return existing_file(self._io, self._volume, name)

    # -- Files by handle ----------------------------------------------------------

    def _plain_file(self, handle: int, function: str) -> FileDevice:
        target = self._kernel.file(handle, function)
        if not isinstance(target.device, FileDevice):
            raise CallFailed(constants.ERROR_INVALID_FUNCTION)
        if target.is_dead or self._io.is_off:
            raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)
        return target.device

    def GetFileSizeEx(self, handle: int, size: int) -> int:
        """Return the size of a file."""
        device = self._plain_file(handle, "GetFileSizeEx")
        memory.write(size, LARGE_INTEGER_STRUCT.pack(device.file.size))
        return 1

    def SetFileInformationByHandle(
        self, handle: int, information_class: int, information: int, size: int
    ) -> int:
        """Set the end of a file."""
        device = self._plain_file(handle, "SetFileInformationByHandle")
        if not self._kernel.file(handle, "").can_write:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        if information_class != constants.FileEndOfFileInfo or size < LARGE_INTEGER_STRUCT.size:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        (end,) = LARGE_INTEGER_STRUCT.unpack(memory.read(information, 8))
        if end < 0:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        self._volume.resize(device.file, end)
        self._kernel.note(f"SetFileInformationByHandle {handle:#x}, end of file {end}")
        return 1

    def LocalFree(self, address: int) -> int:
        """Take memory back."""
        if address and self._kernel.allocations.pop(address, None) is None:
            self._kernel.violation(f"LocalFree was given {address:#x}, which nobody gave out")
        return 0

    # -- Ports --------------------------------------------------------------------

    def CreateIoCompletionPort(self, file: int, port: int, key: int, threads: int) -> int:
        """Make a port, bind a file to one, or both."""
        kernel = self._kernel
        target = None
        if file != constants.INVALID_HANDLE_VALUE:
            target = kernel.file(file, "CreateIoCompletionPort")
            if target.port is not None or not target.is_overlapped:
                raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        elif port:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        if port:
            kernel.port(port, "CreateIoCompletionPort")
        else:
            port = kernel.new_port()
        if target is not None:
            target.port = kernel.port(port, "CreateIoCompletionPort")
            target.key = key
        return port

    def SetFileCompletionNotificationModes(self, file: int, flags: int) -> int:
        """Take the one mode that changes no packet."""
        self._kernel.file(file, "SetFileCompletionNotificationModes")
        if flags != constants.FILE_SKIP_SET_EVENT_ON_HANDLE:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        return 1

    def GetQueuedCompletionStatusEx(
        self, port: int, entries: int, count: int, removed: int, milliseconds: int, alertable: int
    ) -> int:
        """Wait for packets, and take as many as there is room for."""
        kernel = self._kernel
        target = kernel.port(port, "GetQueuedCompletionStatusEx")
        expires = self._end_of_wait(milliseconds)
        if not kernel.wait_for_packets(target, expires):
            closed = target.is_closed
            raise CallFailed(constants.ERROR_ABANDONED_WAIT_0 if closed else constants.WAIT_TIMEOUT)
        taken = [target.packets.popleft() for _ in range(min(count, len(target.packets)))]
        raw = b"".join(OVERLAPPED_ENTRY_STRUCT.pack(*packet) for packet in taken)
        memory.write(entries, raw)
        memory.write(removed, DWORD_STRUCT.pack(len(taken)))
        kernel.note(f"{len(taken)} packets from port {port:#x}")
        return 1

    def PostQueuedCompletionStatus(
        self, port: int, transferred: int, key: int, overlapped: int
    ) -> int:
        """Queue a packet."""
        target = self._kernel.port(port, "PostQueuedCompletionStatus")
        target.packets.append((key, overlapped, statuses.STATUS_SUCCESS, transferred))
        self._kernel.changed()
        return 1

    # -- Overlapped I/O -----------------------------------------------------------

    def ReadFile(
        self, file: int, buffer: int, length: int, transferred: int, overlapped: int
    ) -> int:
        """Read."""
        return self._begin("ReadFile", Action.READ, file, [], [(buffer, length)], overlapped)

    def WriteFile(
        self, file: int, buffer: int, length: int, transferred: int, overlapped: int
    ) -> int:
        """Write."""
        return self._begin("WriteFile", Action.WRITE, file, [(buffer, length)], [], overlapped)

    def ReadFileScatter(
        self, file: int, segments: int, length: int, reserved: int, overlapped: int
    ) -> int:
        """Read into pages."""
        runs = self._pages("ReadFileScatter", file, segments, length)
        array = (segments, (length // PAGE_SIZE + 1) * SEGMENT_SIZE)
        return self._begin("ReadFileScatter", Action.READ, file, [], runs, overlapped, array)

    def WriteFileGather(
        self, file: int, segments: int, length: int, reserved: int, overlapped: int
    ) -> int:
        """Write from pages."""
        runs = self._pages("WriteFileGather", file, segments, length)
        array = (segments, (length // PAGE_SIZE + 1) * SEGMENT_SIZE)
        return self._begin("WriteFileGather", Action.WRITE, file, runs, [], overlapped, array)

    def DeviceIoControl(
        self,
        device: int,
        code: int,
        input: int,
        input_length: int,
        output: int,
        output_length: int,
        returned: int,
        overlapped: int,
    ) -> int:
        """Send a control code."""
        inputs = [(input, input_length)] if input_length else []
        outputs = [(output, output_length)] if output_length else []
        return self._begin(
            "DeviceIoControl", Action.CONTROL, device, inputs, outputs, overlapped, code=code
        )

    def CancelIoEx(self, file: int, overlapped: int) -> int:
        """Ask for requests to be cancelled."""
        self._io.cancel(self._kernel.file(file, "CancelIoEx"), overlapped)
        return 1

    def GetOverlappedResult(self, file: int, overlapped: int, transferred: int, wait: int) -> int:
        """Tell how a request has ended, or wait for that."""
        kernel = self._kernel
        target = kernel.file(file, "GetOverlappedResult")
        _, hEvent = self._io.overlapped("GetOverlappedResult", overlapped)
        pending = [r for r in target.requests if r.owned.overlapped[0] == overlapped]
        if pending and not wait:
            kernel.pass_a_moment()
            raise CallFailed(constants.ERROR_IO_INCOMPLETE)
        if pending and hEvent & ~1:
            self._wait(kernel.event(hEvent & ~1, "GetOverlappedResult"), None)
        elif pending:
            kernel.wait_until(lambda: pending[0].is_over, file, None)
        status, count = OVERLAPPED_RESULT.unpack(memory.read(overlapped, OVERLAPPED_RESULT.size))
        memory.write(transferred, DWORD_STRUCT.pack(count & 0xFFFFFFFF))
        code = statuses.dos_error(status & 0xFFFFFFFF)
        if code != constants.ERROR_SUCCESS:
            pends = code == constants.ERROR_IO_PENDING  # the event was set by somebody else
            raise CallFailed(constants.ERROR_IO_INCOMPLETE if pends else code)
        return 1

    # -- Events -------------------------------------------------------------------

    def CreateEventW(
        self, security_attributes: int, manual_reset: int, initial_state: int, name: int
    ) -> int:
        """Make an event without a name."""
        if name:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        return self._kernel.new_event(manual_reset=bool(manual_reset), is_set=bool(initial_state))

    def WaitForSingleObject(self, object: int, milliseconds: int) -> int:
        """Wait for an event."""
        kernel = self._kernel
        event = kernel.event(object, "WaitForSingleObject")
        expires = self._end_of_wait(milliseconds)
        if self._wait(event, expires):
            return constants.WAIT_OBJECT_0
        if not milliseconds:
            kernel.pass_a_moment()
        return constants.WAIT_TIMEOUT

    def _end_of_wait(self, milliseconds: int) -> int | None:
        """Return when a wait that begins now ends, None if it never does."""
        if milliseconds == constants.INFINITE:
            return None
        return self._kernel.clock.now + milliseconds * 1_000_000

    def _wait(self, event: Event, expires: int | None) -> bool:
        came = self._kernel.wait_until(lambda: event.is_set, event.name, expires)
        if came and not event.manual_reset:
            event.is_set = False
        return came

    def _begin(
        self,
        function: str,
        action: Action,
        handle: int,
        inputs: list[Run],
        outputs: list[Run],
        overlapped: int,
        segments: Run | None = None,
        code: int = 0,
    ) -> int:
        self._io.begin(
            function, action, handle, inputs, outputs, overlapped, segments=segments, code=code
        )
        return 1

    def _pages(self, function: str, handle: int, segments: int, length: int) -> list[Run]:
        """Return the pages of a segment array, adjoining ones as one run."""
        kernel = self._kernel
        file = kernel.file(handle, function)
        if not file.is_unbuffered or not file.is_overlapped or length % PAGE_SIZE:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        count = length // PAGE_SIZE
        if not memory.is_mapped(segments, (count + 1) * SEGMENT_SIZE):
            kernel.violation(f"{function} was given a segment array where there is no memory")
            raise CallFailed(constants.ERROR_NOACCESS)
        raw = memory.read(segments, (count + 1) * SEGMENT_SIZE)
        pages = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
        if pages.pop():
            kernel.violation(f"{function}: the segment array goes on after its {count} pages")
        if any(page % PAGE_SIZE for page in pages):
            kernel.violation(f"{function} was given a segment that is not page-aligned")
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        runs: list[Run] = []
        for page in pages:
            if runs and page == sum(runs[-1]):
                runs[-1] = (runs[-1][0], runs[-1][1] + PAGE_SIZE)
            else:
                runs.append((page, PAGE_SIZE))
        return runs


def _find_data(name: str, file: File | None) -> bytes:
    """Return what Windows tells of something in a folder. Without a file it is a folder."""
    attributes, size = constants.FILE_ATTRIBUTE_DIRECTORY, 0
    if file is not None:
        attributes, size = _attributes(file), file.size
    raw = name.encode("utf-16-le", "surrogatepass")
    return FIND_DATA_STRUCT.pack(attributes, size >> 32, size & 0xFFFFFFFF, raw)


def _attributes(file: File) -> int:
    return constants.FILE_ATTRIBUTE_READONLY if file.is_read_only else 0x80
