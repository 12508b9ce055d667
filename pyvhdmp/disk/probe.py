"""What a handle takes, found out by trying."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE, PageBuffer
from pyvhdmp.errors import code_of
from pyvhdmp.overlapped import OverlappedFile

__all__ = ["is_supported", "takes_pages"]

_UNSUPPORTED: Final = frozenset(
    {
        constants.ERROR_INVALID_FUNCTION,
        constants.ERROR_NOT_SUPPORTED,
        constants.ERROR_INVALID_PARAMETER,
    }
)


def is_supported(attempt: Callable[[], Future[int]]) -> bool:
    """Whether Windows takes a request. One that it takes and fails at is supported."""
    try:
        attempt().result()
    except OSError as error:
        return code_of(error) not in _UNSUPPORTED
    return True


def takes_pages(file: OverlappedFile) -> bool:
    """Whether ReadFileScatter works on the file, and so WriteFileGather."""
    page = PageBuffer(PAGE_SIZE)
    return is_supported(lambda: file.read_scatter_at([page], 0))
