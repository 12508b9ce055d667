"""VirtualDisk: one open virtual disk file, and everything Windows does with it but its I/O.

What can be done with it is in a module for each subject: `opening`, `asking`, `attaching`,
`settings`, `maintenance`, `tracking`, `snapshots`, over the `handle` that all of them use, and
whose rules all of them keep.
"""

from __future__ import annotations

from pyvhdmp.virtual_disk import scsi
from pyvhdmp.virtual_disk.attaching import Attaching
from pyvhdmp.virtual_disk.maintenance import Maintenance
from pyvhdmp.virtual_disk.scsi import ScsiResponse
from pyvhdmp.virtual_disk.snapshots import Snapshots
from pyvhdmp.virtual_disk.tracking import Tracking

__all__ = ["VirtualDisk"]


class VirtualDisk(Attaching, Maintenance, Tracking, Snapshots):
    """An open virtual disk file.

    Made by `open` and the `create_...` methods. For reading and writing it, see `VhdmpDisk`.
    All methods can be called from any thread. A method that fails raises the `OSError` of the
    virtdisk.h function it is named for, with `winerror` and `filename`, and in its notes what
    is known to help. Sizes are in bytes. Paths may be relative, and of any length.

    Source: https://learn.microsoft.com/windows/win32/api/virtdisk/
    """

    def raw_scsi(self, cdb: bytes, *, data: bytes = b"", length: int = 0) -> ScsiResponse:
        """Send a SCSI command to the attached disk, and return what it came to.

        `cdb`: the command. `data`: what it writes, or `length`: the most that it reads.
        Success means that it was delivered: see the response's `check`.

        Raises `InvalidInputError`, and the `OSError` of RawSCSIVirtualDisk.
        """
        with self._lock:
            return scsi.send(self._windows, self.handle, self._path, cdb, data=data, length=length)
