"""The function of the simulated advapi32.dll, in Win32 spelling.

It knows the form of SDDL, and takes every name and right of that form for one that there is. The
descriptor that it gives out is the text again: nobody but Windows looks into one.
"""

from __future__ import annotations

import ctypes
import re
from typing import Final

from pyvhdmp._win32 import constants
from pyvhdmp._win32.virtdisk_structures import HANDLE_CELL
from pyvhdmp.testing import memory
from pyvhdmp.testing.kernel import CallFailed, Kernel

__all__ = ["SimulatedAdvapi32"]

_SID: Final = r"(?:S-1(?:-[0-9]+)+|[A-Z]{2})"
_ACL: Final = r"[A-Z_]*(?:\([A-Z]*;[A-Z]*;[0-9A-Zx]*;[^;()]*;[^;()]*;" + _SID + r"\))*"
_SDDL: Final = re.compile(rf"(?:O:{_SID})?(?:G:{_SID})?(?:D:{_ACL})?(?:S:{_ACL})?", re.IGNORECASE)
_REVISION: Final = 1


class SimulatedAdvapi32:
    """advapi32.dll over a simulated kernel, which has the memory that it gives out."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ConvertStringSecurityDescriptorToSecurityDescriptorW(
        self, text: str, revision: int, descriptor: int, size: int
    ) -> int:
        """Give out a security descriptor for a text."""
        if revision != _REVISION or not descriptor:
            raise CallFailed(constants.ERROR_INVALID_PARAMETER)
        if not _SDDL.fullmatch(text):
            raise CallFailed(constants.ERROR_INVALID_ACL)
        held = ctypes.create_string_buffer(text.encode("utf-16-le") + b"\0\0")
        address = ctypes.addressof(held)
        self._kernel.allocations[address] = held
        memory.write(descriptor, bytes(HANDLE_CELL(address)))
        return 1
