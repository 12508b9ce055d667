"""Calls of virtdisk.dll by address, and what a test keeps of them: handles, OVERLAPPEDs."""

from __future__ import annotations

import ctypes
import uuid
from typing import TYPE_CHECKING, Any, Final

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.structures import DWORD_STRUCT
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.program import Overlapped

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

MIB: Final = 1 << 20
VHD: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD
VHDX: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX
VHDSET: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET
ISO: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_ISO
RAW: Final = int(enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST)
PENDING: Final = constants.ERROR_IO_PENDING


def storage_type(device: int) -> v.VIRTUAL_STORAGE_TYPE:
    vendor = v.GUID.of(enums.VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT)
    return v.VIRTUAL_STORAGE_TYPE(DeviceId=device, VendorId=vendor)


class Disks:
    """Opens and creates disks; closes what is open at its end."""

    def __init__(self, machine: SimulatedWindows) -> None:
        self.machine = machine
        self.windows = _win32.current()
        self.virtdisk, self.kernel32 = self.windows.virtdisk, self.windows.kernel32
        self.handles: list[int] = []
        self._kept: list[object] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self.handles:
            self.kernel32.CloseHandle(handle)

    # -- Handles ------------------------------------------------------------------

    def opened(
        self,
        path: str,
        *,
        device: int = 0,
        version: int = 2,
        mask: int = 0,
        depth: int = 1,
        flags: int = 0,
        read_only: bool = False,
        info_only: bool = False,
        guid: int = 0,
        snapshot: uuid.UUID | None = None,
    ) -> tuple[int, int]:
        """Open a disk; return the code and the handle. `guid`: 0 for one of its own."""
        asked = v.OPEN_VIRTUAL_DISK_PARAMETERS(Version=version)
        if version == 1:
            asked.Version1.RWDepth = depth
        else:
            asked.Version2.ReadOnly, asked.Version2.GetInfoOnly = read_only, info_only
            own = uuid.UUID(int=guid) if guid else uuid.uuid4()
            asked.Version2.ResiliencyGuid = v.GUID.of(own)
        if snapshot is not None:
            asked.Version3.SnapshotId = v.GUID.of(snapshot)
        kind, cell = storage_type(device), v.HANDLE_CELL()
        code = self.virtdisk.OpenVirtualDisk(
            address_of(kind), path, mask, flags, address_of(asked), address_of(cell)
        )
        if code == 0:
            self.handles.append(cell.Value)
        return code, cell.Value

    def open(self, path: str, **how: Any) -> int:
        """Return a handle to a disk."""
        code, handle = self.opened(path, **how)
        assert code == 0
        return handle

    def created(
        self,
        path: str,
        size: int = 0,
        *,
        device: int = VHDX,
        version: int = 2,
        mask: int = 0,
        flags: int = 0,
        parent: str | None = None,
        source: str | None = None,
        sector_size: int = 0,
        overlapped: int = 0,
        guid: int = 0,
    ) -> tuple[int, int]:
        """Create a disk; return the code and the handle."""
        asked = v.CREATE_VIRTUAL_DISK_PARAMETERS(Version=version)
        part = asked.Version1 if version == 1 else asked.Version2
        part.MaximumSize, part.SectorSizeInBytes = size, sector_size
        part.ParentPath, part.SourcePath = parent, source
        if version != 1:
            asked.Version2.ResiliencyGuid = v.GUID.of(uuid.UUID(int=guid) if guid else uuid.uuid4())
        kind, cell = storage_type(device), v.HANDLE_CELL()
        code = self.virtdisk.CreateVirtualDisk(
            address_of(kind),
            path,
            mask,
            0,
            flags,
            0,
            address_of(asked),
            overlapped,
            address_of(cell),
        )
        if code in (0, PENDING):
            self.handles.append(cell.Value)
        return code, cell.Value

    def create(self, path: str, size: int = 0, **how: Any) -> int:
        """Return a handle to a new disk."""
        code, handle = self.created(path, size, **how)
        assert code == 0
        return handle

    def make(self, path: str, size: int = 0, **how: Any) -> None:
        """Create a disk, and close it."""
        self.close(self.create(path, size, **how))

    def close(self, handle: int) -> None:
        self.handles.remove(handle)
        assert self.kernel32.CloseHandle(handle)

    def attach(self, handle: int, flags: int = RAW, parameters: int = 0) -> int:
        return self.virtdisk.AttachVirtualDisk(handle, 0, flags, 0, parameters, 0)

    def drive(self, path: str) -> int:
        """Return a handle to a drive."""
        handle = self.kernel32.CreateFileW(
            path,
            constants.GENERIC_READ | constants.GENERIC_WRITE,
            3,
            0,
            constants.OPEN_EXISTING,
            constants.FILE_FLAG_OVERLAPPED,
            0,
        )
        assert handle != constants.INVALID_HANDLE_VALUE
        self.handles.append(handle)
        return handle

    # -- What is asked ------------------------------------------------------------

    def info(self, handle: int, what: int) -> v.GET_VIRTUAL_DISK_INFO:
        """Return the answer to a question of a fixed size."""
        code, info = self.asked(handle, what)
        assert code == 0
        return info

    def asked(self, handle: int, what: int) -> tuple[int, v.GET_VIRTUAL_DISK_INFO]:
        info, size = v.GET_VIRTUAL_DISK_INFO(Version=what), v.ULONG_CELL(v.INFO_SIZE)
        code = self.virtdisk.GetVirtualDiskInformation(
            handle, address_of(size), address_of(info), 0
        )
        return code, info

    def size(self, handle: int) -> int:
        return self.info(handle, enums.GET_VIRTUAL_DISK_INFO_VERSION.SIZE).Size.VirtualSize

    def physical_size(self, handle: int) -> int:
        return self.info(handle, enums.GET_VIRTUAL_DISK_INFO_VERSION.SIZE).Size.PhysicalSize

    # -- Content ------------------------------------------------------------------

    def transfer(self, function: str, handle: int, offset: int, block: Block, size: int) -> int:
        """Read or write; return the code that it ended with."""
        overlapped = Overlapped(offset)
        done = getattr(self.kernel32, function)(handle, block.address, size, 0, overlapped.address)
        if not done and self.windows.get_last_error() != PENDING:
            return self.windows.get_last_error()
        return self.result(handle, overlapped)

    def put(self, handle: int, offset: int, data: bytes) -> int:
        """Write to an attached disk; return the code."""
        block = Block(-(-len(data) // PAGE_SIZE) * PAGE_SIZE)
        block.memory[: len(data)] = data
        return self.transfer("WriteFile", handle, offset, block, len(data))

    def get(self, handle: int, offset: int, size: int) -> bytes:
        """Read from an attached disk."""
        block = Block(-(-size // PAGE_SIZE) * PAGE_SIZE)
        assert self.transfer("ReadFile", handle, offset, block, size) == 0
        return bytes(block.memory[:size])

    def content(self, path: str, offset: int, size: int) -> bytes:
        """Read from a disk that is not open."""
        handle = self.open(path, read_only=True)
        assert self.attach(handle, RAW | enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY) == 0
        data = self.get(handle, offset, size)
        self.close(handle)
        return data

    def fill(self, path: str, offset: int, data: bytes) -> None:
        """Write to a disk that is not open."""
        handle = self.open(path)
        assert self.attach(handle) == 0
        assert self.put(handle, offset, data) == 0
        self.close(handle)

    # -- Long operations ----------------------------------------------------------

    def event(self, *, manual_reset: bool = True) -> int:
        handle = self.kernel32.CreateEventW(0, manual_reset, 0, 0)
        self.handles.append(handle)
        return handle

    def overlapped(self) -> Overlapped:
        """An OVERLAPPED with an event of its own."""
        overlapped = Overlapped(event=self.event())
        self._kept.append(overlapped)
        return overlapped

    def result(self, handle: int, overlapped: Overlapped) -> int:
        """Wait for an operation; return the code that it ended with."""
        done = self.kernel32.GetOverlappedResult(
            handle, overlapped.address, overlapped.address + 64, 1
        )
        return 0 if done else self.windows.get_last_error()

    def transferred(self, overlapped: Overlapped) -> int:
        (count,) = DWORD_STRUCT.unpack(ctypes.string_at(overlapped.address + 64, 4))
        return int(count)

    def progress(self, handle: int, overlapped: Overlapped) -> tuple[int, int, int]:
        """Return the code of an operation, and how far it is."""
        progress = v.VIRTUAL_DISK_PROGRESS()
        code = self.virtdisk.GetVirtualDiskOperationProgress(
            handle, overlapped.address, address_of(progress)
        )
        assert code == 0
        return progress.OperationStatus, progress.CurrentValue, progress.CompletionValue

    def resize(self, handle: int, size: int, *, flags: int = 0, overlapped: int = 0) -> int:
        asked = v.RESIZE_VIRTUAL_DISK_PARAMETERS(Version=1)
        asked.Version1.NewSize = size
        return self.virtdisk.ResizeVirtualDisk(handle, flags, address_of(asked), overlapped)

    def expand(self, handle: int, size: int, *, overlapped: int = 0) -> int:
        asked = v.EXPAND_VIRTUAL_DISK_PARAMETERS(Version=1)
        asked.Version1.NewSize = size
        return self.virtdisk.ExpandVirtualDisk(handle, 0, address_of(asked), overlapped)

    def compact(self, handle: int, *, overlapped: int = 0) -> int:
        asked = v.COMPACT_VIRTUAL_DISK_PARAMETERS(Version=1)
        return self.virtdisk.CompactVirtualDisk(handle, 0, address_of(asked), overlapped)

    def merge(
        self,
        handle: int,
        source: int = 1,
        target: int = 2,
        *,
        version: int = 2,
        overlapped: int = 0,
    ) -> int:
        asked = v.MERGE_VIRTUAL_DISK_PARAMETERS(Version=version)
        if version == 1:
            asked.Version1.MergeDepth = target - 1
        else:
            asked.Version2.MergeSourceDepth, asked.Version2.MergeTargetDepth = source, target
        return self.virtdisk.MergeVirtualDisk(handle, 0, address_of(asked), overlapped)
