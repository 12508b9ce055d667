"""A Windows whose one file answers at once, or after a delay: see device.c."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import cast

from pyvhdmp import OverlappedFile, UnmapBehavior
from pyvhdmp._win32 import Windows, installed, kernel32, ntdll, virtdisk
from pyvhdmp._win32.library import Prototype
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.base import Disk
from tests.bench.windows import library

__all__ = ["Device"]


class _Library:
    """Functions of the device's library, each with its prototype."""

    def __init__(self, library: ctypes.CDLL, prototypes: Mapping[str, Prototype]) -> None:
        self._library = library
        self._prototypes = prototypes

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = self._library[f"Device_{name}"]
        function.restype, *function.argtypes = self._prototypes[name]
        setattr(self, name, function)
        returned: Callable[..., int] = function
        return returned


class Device:
    """The library at `path`. It is one device: one port at a time."""

    def __init__(self, path: str) -> None:
        self._library = library(path)
        self.kernel32 = cast("kernel32.Kernel32", _Library(self._library, kernel32.PROTOTYPES))
        self.windows = Windows(
            self.kernel32,
            cast("ntdll.Ntdll", _Library(self._library, ntdll.PROTOTYPES)),
            cast("virtdisk.Virtdisk", None),
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
