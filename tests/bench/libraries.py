"""The DLLs that importing all of pyvhdmp's names loads, besides Python's own modules."""

from __future__ import annotations

import ctypes
import os
import sys

from tests.bench.rounds import report
from tests.bench.windows import library


def loaded() -> set[str]:
    """Return the paths of the modules of this process."""
    kernel32 = library("kernel32")
    kernel32.GetCurrentProcess.restype = ctypes.c_size_t
    handles = (ctypes.c_size_t * 1024)()
    needed = ctypes.c_uint32()
    listed = kernel32.K32EnumProcessModules
    listed.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    size, process = ctypes.sizeof(handles), kernel32.GetCurrentProcess()
    assert listed(process, handles, size, ctypes.byref(needed))
    assert needed.value <= size
    name_of = kernel32.GetModuleFileNameW
    name_of.argtypes = [ctypes.c_size_t, ctypes.c_wchar_p, ctypes.c_uint32]
    paths = set()
    for handle in handles[: needed.value // ctypes.sizeof(ctypes.c_size_t)]:
        path = ctypes.create_unicode_buffer(1024)
        name_of(handle, path, 1024)
        paths.add(path.value.lower())
    return paths


def main() -> None:
    """Measure, and report."""
    before = loaded()
    import pyvhdmp

    for name in pyvhdmp.__all__:  # each is loaded when it is first used
        getattr(pyvhdmp, name)
    home = os.path.dirname(sys.executable).lower()
    new = {path for path in loaded() - before if not path.startswith(home)}
    sys.stderr.write("".join(f"loaded: {path}\n" for path in sorted(new)))
    report("DLLs", {"": [(len(new), 1)]})


if __name__ == "__main__":
    main()
