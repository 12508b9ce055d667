"""Windows without Windows, for tests: simulated whole, or one function at a time.

    with SimulatedWindows(seed=7) as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        windows.fail_next("WriteFile", 1117, pending=True)
        ...  # the whole package runs on it, the command line included

    def failing(file, buffer, length, transferred, overlapped):
        set_last_error(ERROR_CRC)
        return 0

    with substituted(kernel32={"ReadFile": failing}):
        ...  # whatever is opened in here reads through it

Either way a function is called through a C function pointer made from the very
prototype that binds the real one. It is given ints, as the kernel is: addresses, not
objects. An object of this package keeps the functions that were in force when it was
made. An exception in a substitute cannot pass through C: the call fails as such calls
do, and the with block raises it at its end.

Only what this package itself asks of Windows is simulated: a test's own ``open()`` sees none
of these files, which is what `files` is for. Opening a disk reads from it, so plan a failure
after that; whole pages that lie apart go through ReadFileScatter and WriteFileGather, all else
through ReadFile and WriteFile, a flush through NtFlushBuffersFileEx. Wait for futures, or for
the device with `run_until_idle`: time spent in ``time.sleep`` is nobody's. After a power cut
what was open fails with error 1167, and can be closed and opened anew. A command is run by
``pyvhdmp.cli.main(["copy", "a.img", "b.vhd"])``, which returns the exit code.

Virtual disks are there too, with every function of virtdisk.dll. Long operations take simulated
time; their progress may fall back, and a cancel may come too late:
``fail_next("ResizeVirtualDisk", 112, pending=True)`` has one fail in the end. What users without
rights will see, ``SimulatedWindows(elevated=False)`` shows.

Violations, for which the end of the block raises `SimulationError`, are an OVERLAPPED or a buffer
let go while the kernel had it, a handle closed with I/O in flight or never, a length cut to 32
bits. For less than a whole Windows there are `substituted`, for single functions, and
`simulated_virtdisk`, a simulated virtdisk.dll over the real kernel32.

To read on: `simulated` (what tests use), `entry` (the way in), `kernel32`, `ntdll`, `advapi32`,
`virtdisk` with `volume_host` and `real_host` (the functions, and where their images lie),
`io_manager` (a request from call to packet), `long_operations` (those of virtual disks),
`devices`, `volume` and `store` (where bytes go), `kernel` (handles), `scheduler` and
`clock` (whose turn it is), `memory` (the caller's), `draws` (chance), `statuses` (codes),
`substitutes` (single functions), `convention` (the C side).
"""

from __future__ import annotations

from pyvhdmp.testing.convention import set_last_error
from pyvhdmp.testing.draws import Faults
from pyvhdmp.testing.real_host import simulated_virtdisk
from pyvhdmp.testing.simulated import SimulatedFiles, SimulatedWindows, SimulationError
from pyvhdmp.testing.substitutes import substituted

__all__ = [
    "Faults",
    "SimulatedFiles",
    "SimulatedWindows",
    "SimulationError",
    "set_last_error",
    "simulated_virtdisk",
    "substituted",
]
