"""What the tests of the driver have in common."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import pytest

from pyvhdmp import Disk, Operation, PageBuffer, VhdmpDisk, VirtualDisk, _win32
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp.virtual_disk import formats
from tests.support.files import FilePath
from tests.support.windows import winerror

MIB: Final = 1 << 20
SECONDS: Final = 120
"""After which a test gives up waiting."""

Found: TypeAlias = Callable[[str], None]

only_real: Final = pytest.mark.parametrize(
    "machine", [pytest.param("real", marks=pytest.mark.vhdmp)], indirect=True
)
"""For what no simulation can show, or has to."""


@contextmanager
def fails(*codes: int) -> Iterator[pytest.ExceptionInfo[OSError]]:
    """Expect an error of Windows, by its code: any of these, or any at all."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the code tells
        yield caught
    assert not codes or winerror(caught.value) in codes, caught.value


def code_of(call: Callable[[], object]) -> int:
    """Return the Windows code that a call fails with, 0 if it succeeds."""
    try:
        call()
    except OSError as error:
        return winerror(error)
    return 0


def pattern(length: int, seed: int = 1) -> bytes:
    """Return bytes in which each sector is another."""
    sectors = range(seed, seed + length // 512)
    return b"".join(sector.to_bytes(8, "little") * 64 for sector in sectors)


def write(path: FilePath, offset: int, data: bytes) -> None:
    """Write to a disk that is not open."""
    with VhdmpDisk.open(path) as disk:
        disk.write(offset // disk.sector_size, data, fua=True).result(SECONDS)


def read(path: FilePath, offset: int, length: int) -> bytes:
    """Read from a disk that nobody writes."""
    with VhdmpDisk.open(path, read_only=True) as disk:
        return disk.read(offset // disk.sector_size, length // disk.sector_size).result(SECONDS)


def aligned(data: bytes) -> PageBuffer:
    """Return memory of whole pages."""
    buffer = PageBuffer(len(data))
    buffer[:] = data
    return buffer


def takes_pages(disk: Disk) -> bool:
    """Whether pages go to the disk by ReadFileScatter and WriteFileGather."""
    return disk._scatter


def watch(operation: Operation[Any]) -> list[tuple[int, int]]:
    """Ask for the progress until the operation is done; return the answers that differ."""
    seen, never = [operation.progress()], threading.Event()
    while not operation.done():
        now = operation.progress()
        if now != seen[-1]:
            seen.append(now)
        never.wait(0.005)  # unlike a sleep, a simulated Windows can tell this from computing
    seen.append(operation.progress())
    return seen


def asked(disk: VirtualDisk, question: int, size: int = structures.INFO_SIZE) -> tuple[int, int]:
    """Ask GetVirtualDiskInformation itself; return the code, and the size that it tells."""
    info, cell = structures.GET_VIRTUAL_DISK_INFO(Version=question), structures.ULONG_CELL(size)
    code = disk.windows.virtdisk.GetVirtualDiskInformation(
        disk.handle, address_of(cell), address_of(info), 0
    )
    return code, cell.Value


def created(path: FilePath, **fields: int) -> int:
    """Call CreateVirtualDisk itself, past every check; return the code."""
    windows, name = _win32.current(), os.fspath(path)
    parameters = structures.CREATE_VIRTUAL_DISK_PARAMETERS(Version=2)
    for field, value in fields.items():
        setattr(parameters.Version2, field, value)
    kind, cell = formats.storage_type(formats.format_of(name)), structures.HANDLE_CELL()
    code = windows.virtdisk.CreateVirtualDisk(
        address_of(kind), name, 0, 0, 0, 0, address_of(parameters), 0, address_of(cell)
    )
    if code == 0:
        assert windows.kernel32.CloseHandle(cell.Value)
    return code


def opened(
    path: FilePath, *, version: int = 2, mask: int = 0, read_only: bool = False
) -> tuple[int, int]:
    """Call OpenVirtualDisk itself; return the code, and the handle."""
    windows, name = _win32.current(), os.fspath(path)
    parameters = structures.OPEN_VIRTUAL_DISK_PARAMETERS(Version=version)
    if version == 1:
        parameters.Version1.RWDepth = 1
    else:
        parameters.Version2.ReadOnly = read_only
    kind, cell = formats.storage_type(formats.format_of(name)), structures.HANDLE_CELL()
    code = windows.virtdisk.OpenVirtualDisk(
        address_of(kind), name, mask, 0, address_of(parameters), address_of(cell)
    )
    return code, cell.Value
