"""The functions of the simulated ntdll.dll. A `CallFailed` becomes the NTSTATUS of its code."""

from __future__ import annotations

from collections.abc import Callable

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import DWORD_STRUCT, OVERLAPPED_RESULT
from pyvhdmp.testing import memory, statuses
from pyvhdmp.testing.io_manager import IoManager
from pyvhdmp.testing.kernel import CallFailed, Kernel

__all__ = ["SimulatedNtdll"]


class SimulatedNtdll:
    """ntdll.dll over a simulated kernel."""

    def __init__(self, kernel: Kernel, io: IoManager) -> None:
        self._kernel = kernel
        self._io = io

    def NtFlushBuffersFileEx(
        self, handle: int, flags: int, parameters: int, parameters_size: int, io_status: int
    ) -> int:
        """Flush; block while it takes."""
        kernel = self._kernel
        file = kernel.file(handle, "NtFlushBuffersFileEx")
        if not file.can_write:
            raise CallFailed(constants.ERROR_ACCESS_DENIED)
        if not memory.is_mapped(io_status, OVERLAPPED_RESULT.size):
            kernel.violation("NtFlushBuffersFileEx was given no memory for its status")
            raise CallFailed(constants.ERROR_NOACCESS)
        failure = 0

        def begin() -> tuple[int, Callable[[], None]]:
            nonlocal failure
            latency, failure = kernel.draws.flush()
            self._io.faults_injected += bool(failure)
            kernel.note(f"flush of {file.name} begins")
            return kernel.clock.now + latency, partial_end(file.device.begin_flush())

        def partial_end(carry_over: Callable[[], None]) -> Callable[[], None]:
            def end() -> None:
                nonlocal failure
                if file.is_dead or self._io.is_off:
                    failure = constants.ERROR_DEVICE_NOT_CONNECTED
                if not failure:
                    carry_over()
                kernel.note(f"flush of {file.name} ends, {failure}")

            return end

        if file.is_dead or self._io.is_off:
            raise CallFailed(constants.ERROR_DEVICE_NOT_CONNECTED)
        file.flushes += 1
        try:
            kernel.flush(handle, begin)
        finally:
            file.flushes -= 1
        if failure:
            raise CallFailed(failure)
        memory.write(
            io_status,
            OVERLAPPED_RESULT.pack(statuses.STATUS_SUCCESS, 0),
        )
        return statuses.STATUS_SUCCESS

    def NtQueryInformationFile(
        self, handle: int, io_status: int, information: int, length: int, information_class: int
    ) -> int:
        """Tell the mode that a file was opened with."""
        file = self._kernel.file(handle, "NtQueryInformationFile")
        if information_class != constants.FileModeInformation or length < DWORD_STRUCT.size:
            return statuses.STATUS_INVALID_INFO_CLASS
        mode = 0 if file.is_overlapped else constants.FILE_SYNCHRONOUS_IO_NONALERT
        memory.write(information, DWORD_STRUCT.pack(mode))
        return statuses.STATUS_SUCCESS

    def RtlNtStatusToDosError(self, status: int) -> int:
        """Return the Win32 code of an NTSTATUS."""
        return statuses.dos_error(status)
