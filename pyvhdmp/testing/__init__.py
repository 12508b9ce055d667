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

To read on: `simulated` (what tests use), `entry` (the way in), `kernel32`, `ntdll`,
`virtdisk` with `hosts` and `real_host` (the functions, and where their images lie),
`io_manager` (a request from call to packet), `long_operations` (those of virtual disks),
`devices`, `volume` and `store` (where bytes go), `kernel` (handles), `scheduler` and
`clock` (whose turn it is), `memory` (the caller's), `draws` (chance), `convention` (the
C side).
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
