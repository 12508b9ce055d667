"""A Windows whose one file answers at once, or after a delay: see device.c."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from typing import cast

from pyvhdmp import OverlappedFile, PageBuffer, UnmapBehavior
from pyvhdmp._win32 import Windows, advapi32, installed, kernel32, ntdll, virtdisk
from pyvhdmp._win32.library import DynamicLibrary, Prototype
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from tests.bench.rounds import Keeper
from tests.bench.windows import PAGE, library

__all__ = ["Device"]


class _Functions(DynamicLibrary):
    """Functions of the device in the place of those of a DLL."""

    def __init__(self, device: ctypes.CDLL, prototypes: Mapping[str, Prototype]) -> None:
        super().__init__("device", prototypes)
        self._device = device

    def _find(self, function: str, prototype: Prototype) -> Callable[..., int]:
        found = self._device[f"Device_{function}"]
        found.restype, *found.argtypes = prototype
        returned: Callable[..., int] = found
        return returned


class Device:
    """The library at `path`. It is one device: one port at a time."""

    def __init__(self, path: str) -> None:
        self._library = library(path)
        self.kernel32 = cast("kernel32.Kernel32", _Functions(self._library, kernel32.PROTOTYPES))
        self.windows = Windows(
            self.kernel32,
            cast("ntdll.Ntdll", _Functions(self._library, ntdll.PROTOTYPES)),
            cast("virtdisk.Virtdisk", None),
            cast("advapi32.Advapi32", None),
        )

    def set_delay(self, seconds: float) -> None:
        """Set how long a read takes, from the next one on."""
        self._library["Device_set_delay"](ctypes.c_int64(round(seconds * 1e9)))

    def port(self) -> CompletionPort:
        """Return a new port."""
        with installed(self.windows):
            return CompletionPort()

    def disk(self, port: CompletionPort) -> Disk:
        """Return a disk of a gigabyte on the device."""
        file = OverlappedFile(64, port=port)
        return Disk(
            file,
            path="device",
            size=1 << 30,
            sector_size=512,
            physical_sector_size=4096,
            disk_id=None,
            read_only=False,
            scatter=True,
            unmap_behavior=UnmapBehavior.IGNORED,
        )

    def reads(self, depth: int, count: int) -> float:
        """Return microseconds for each read of pyvhdmp, so many in flight."""
        with self.port() as port:
            disk = self.disk(port)
            buffers = [[PageBuffer(PAGE)] for _ in range(depth)]
            read = disk.read_vectored
            keeper = Keeper(
                lambda slot, number: read(buffers[slot], number % 1000 * 8), depth, count
            )
            began = time.perf_counter()
            port.call_soon(keeper.start)
            keeper.wait()
            seconds = time.perf_counter() - began
            disk.close()
        return seconds / count * 1e6
