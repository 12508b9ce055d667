"""How ctypes lays structures out, in this process and as in one with pointers of another size."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

from pyvhdmp._win32 import library, virtdisk_structures
from tests.support.virtdisk_h import Extent

_NUMBERS = {4: ctypes.c_uint32, 8: ctypes.c_uint64}


def structures_with_pointers_of(size: int) -> ModuleType:
    """Return virtdisk_structures as a process has it whose pointers are `size` bytes wide.

    It is a second copy of the module, run while the two types of `library` that are as wide as
    a pointer are numbers of that size. All the others are as wide, and aligned the same, in
    either Windows; only a 32-bit Linux, which aligns 64-bit numbers to 4, cannot do this.
    """
    spec = importlib.util.find_spec(virtdisk_structures.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    number = _NUMBERS[size]
    with mock.patch.multiple(library, POINTER=number, PCWSTR=number):
        spec.loader.exec_module(module)
    return module


def structures_of(module: ModuleType) -> dict[str, type[ctypes.Structure]]:
    """Return the structures that a module has for others to use."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, ctypes.Structure)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def fields_of(
    structure: type[ctypes.Structure] | type[ctypes.Union], path: str = "", base: int = 0
) -> Iterator[tuple[str, Extent]]:
    """Yield each field, with its offset and size, and those of what lies in it.

    What has a name of its own, as a GUID has, is not looked into.
    """
    for name, kind, *_ in structure._fields_:
        at = base + getattr(structure, name).offset
        if name not in getattr(structure, "_anonymous_", ()):
            yield path + name, Extent(at, ctypes.sizeof(kind))
            name += "."
        else:
            name = ""
        if issubclass(kind, ctypes.Structure | ctypes.Union) and kind.__name__.startswith("_"):
            yield from fields_of(kind, path + name, at)
