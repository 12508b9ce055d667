"""The memory of this process, as the system counts it."""

from __future__ import annotations

import ctypes
from typing import ClassVar

from tests.bench.windows import library

__all__ = ["peak_working_set", "working_set"]


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS, psapi.h."""

    _fields_: ClassVar[list[tuple[str, type[ctypes._SimpleCData[int]]]]] = [
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        ("PeakWorkingSetSize", ctypes.c_size_t),
        ("WorkingSetSize", ctypes.c_size_t),
        ("QuotaPeakPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPagedPoolUsage", ctypes.c_size_t),
        ("QuotaPeakNonPagedPoolUsage", ctypes.c_size_t),
        ("QuotaNonPagedPoolUsage", ctypes.c_size_t),
        ("PagefileUsage", ctypes.c_size_t),
        ("PeakPagefileUsage", ctypes.c_size_t),
    ]
    PeakWorkingSetSize: int
    WorkingSetSize: int


def _counters() -> _Counters:
    counters = _Counters(ctypes.sizeof(_Counters))
    kernel32 = library("kernel32")
    kernel32.GetCurrentProcess.restype = ctypes.c_size_t
    get = kernel32.K32GetProcessMemoryInfo
    get.argtypes = [ctypes.c_size_t, ctypes.POINTER(_Counters), ctypes.c_uint32]
    assert get(kernel32.GetCurrentProcess(), counters, counters.cb)
    return counters


def working_set() -> int:
    """Return the bytes of memory in use now."""
    return _counters().WorkingSetSize


def peak_working_set() -> int:
    """Return the most bytes of memory that have been in use."""
    return _counters().PeakWorkingSetSize
