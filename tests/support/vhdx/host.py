"""Genuine VHDX images, as the simulated virtdisk.dll sees them."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing.kernel import CallFailed
from pyvhdmp.testing.long_operations import Work
from pyvhdmp.testing.real_host import RealHost, virtdisk_over
from pyvhdmp.testing.virtdisk import TRAILER_SIZE, Image, OpenImage
from tests.support.vhdx import HELPER
from tests.support.vhdx.images import SIGNATURE

_SECONDS: Final = 180
_VHDX: Final = enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHDX


def genuine_vhdx() -> AbstractContextManager[None]:
    """Put a simulated virtdisk.dll in force whose .vhdx are genuine. Needs the helper."""
    windows = _win32.current()
    host = GenuineHost(windows.kernel32, windows.get_last_error)
    return virtdisk_over(host, seed=secrets.randbits(64))


class GenuineHost(RealHost):
    """Images in real files, a .vhdx by way of the helper."""

    def __init__(self, kernel32: _win32.Kernel32, get_last_error: Callable[[], int]) -> None:
        super().__init__(kernel32, get_last_error)
        # Of the handle to a disk: its export, and the handle that keeps its image open.
        self._exports: dict[int, tuple[int, int]] = {}
        # The disks that a long operation copies from, each by its image: its export, as a file.
        self._sources: dict[str, tuple[int, str]] = {}

    def tail(self, path: str, length: int = TRAILER_SIZE) -> tuple[bytes, int]:
        """What would follow the payload if something did."""
        tail, file_size = super().tail(path, length)
        if not _is_genuine(path):
            return tail, file_size
        facts = ask("facts", path=unix_path(path))
        image = Image(
            device=_VHDX,
            subtype=enums.PROVIDER_SUBTYPE_FIXED
            if facts.pop("is_fixed")
            else enums.PROVIDER_SUBTYPE_DYNAMIC,
            disk_id=uuid.UUID(facts.pop("disk_id")),
            **facts,
        )
        return image.tail(), image.size + TRAILER_SIZE

    def allocated(self, path: str) -> int:
        return int(ask("allocated", path=unix_path(path))["bytes"])

    def create(self, path: str, image: Image) -> None:
        is_fixed = image.subtype == enums.PROVIDER_SUBTYPE_FIXED
        if image.device == enums.VIRTUAL_STORAGE_TYPE_DEVICE_VHD and is_fixed:
            super().create(path, image)
        elif image.device != _VHDX or image.subtype == enums.PROVIDER_SUBTYPE_DIFFERENCING:
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        else:
            ask(
                "create",
                path=unix_path(path),
                size=image.size,
                is_fixed=is_fixed,
                block_size=image.block_size,
                sector_size=image.sector_size,
                physical_sector_size=image.physical_sector_size,
                disk_id=str(image.disk_id),
            )

    def rewrite(self, path: str, old: Image, new: Image, opened: OpenImage | None = None) -> None:
        if new.device == _VHDX:  # no tail follows the payload: the facts are in the image
            raise CallFailed(constants.ERROR_NOT_SUPPORTED)
        super().rewrite(path, old, new, opened)

    def open(self, opened: OpenImage) -> int:
        handle = super().open(opened)  # the image itself, from here on protected by that
        if opened.info_only or opened.image.device != _VHDX:
            return handle
        try:
            writable = not opened.read_only
            export = ask("export", path=unix_path(opened.path), writable=writable)
            number = int(export["number"])
            try:
                payload = self._kernel32.CreateFileW(
                    _windows_path(export["payload"]),
                    opened.access,
                    opened.share_mode,
                    0,
                    constants.OPEN_EXISTING,
                    opened.flags,
                    0,
                )
                if payload == constants.INVALID_HANDLE_VALUE:
                    raise CallFailed(self._get_last_error())
            except BaseException:
                ask("release", number=number)
                raise
        except BaseException:
            super().close(handle)
            raise
        with self.lock:
            self._open[payload] = self._open.pop(handle)
            self._exports[payload] = (number, handle)
        return payload

    def payload(self, path: str) -> str:
        """The disk in an image, until the long operation that reads it is over."""
        if not _is_genuine(path):
            return path
        if path not in self._sources:
            export = ask("export", path=unix_path(path), writable=False)
            self._sources[path] = int(export["number"]), _windows_path(export["payload"])
        return self._sources[path][1]

    def begin(self, function: str, handle: int, overlapped: int, work: Work) -> None:
        try:
            super().begin(function, handle, overlapped, work)
        finally:
            while self._sources:
                ask("release", number=self._sources.popitem()[1][0])

    def close(self, handle: int) -> int:
        with self.lock:
            number, image = self._exports.pop(handle, (0, 0))
        done = super().close(handle)
        if number:
            ask("release", number=number)
            self._kernel32.CloseHandle(image)
        return done


def ask(what: str, **details: Any) -> dict[str, Any]:
    """Ask the helper. Raises `CallFailed` for what Windows would refuse."""
    port, secret = os.environ[HELPER].split()
    with (
        socket.create_connection(("127.0.0.1", int(port)), timeout=_SECONDS) as connection,
        connection.makefile("rw", encoding="utf-8") as lines,
    ):
        print(json.dumps({"secret": secret, "do": what, **details}), file=lines, flush=True)
        answer: dict[str, Any] = json.loads(lines.readline())
    if "error" in answer:
        raise CallFailed(getattr(constants, answer["error"]))
    if "failure" in answer:
        raise RuntimeError(answer["failure"])
    return answer


def _is_genuine(path: str) -> bool:
    """Whether a file is a VHDX, by its content."""
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def _windows_path(path: str) -> str:
    """Return what Wine calls a file of Linux."""
    return "Z:" + path.replace("/", "\\")


def unix_path(path: str) -> str:
    """Return what Linux calls a file of Wine's, be it there or not."""
    kernel32 = ctypes.CDLL("kernel32")
    kernel32.wine_get_unix_file_name.restype = ctypes.c_void_p
    kernel32.GetProcessHeap.restype = ctypes.c_void_p
    kernel32.HeapFree.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    name = kernel32.wine_get_unix_file_name(ctypes.c_wchar_p(path))
    if not name:
        raise CallFailed(constants.ERROR_PATH_NOT_FOUND)
    try:
        return ctypes.string_at(name).decode()
    finally:
        kernel32.HeapFree(kernel32.GetProcessHeap(), 0, name)
