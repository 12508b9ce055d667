"""The functions of the simulated virtdisk.dll: rules of VHDMP over images of its own.

Rules:

1. Each function returns a code. Structures are read and written by address.
2. Where images lie, and what a handle to one does, is the business of a `Host`.
3. What Microsoft's pages leave open is decided as others have seen it, or as seems
   likely, and is marked (inferred) where it is done.

To read on: `images` (what a file is), `handles` (what a handle stands for), `host` (what is
needed of the place where files lie), `calls` (what all functions share); then the functions
by subject: `opening`, `creating`, `attaching`, `dependencies`, `information`, `settings`,
`metadata`, `sizing`, `maintenance`, `mirroring`,
`changes`, `vhd_sets`, `scsi`.
"""

from __future__ import annotations

from pyvhdmp.testing.virtdisk.attaching import Attaching
from pyvhdmp.testing.virtdisk.creating import Creating
from pyvhdmp.testing.virtdisk.dependencies import Dependencies
from pyvhdmp.testing.virtdisk.handles import OpenImage
from pyvhdmp.testing.virtdisk.host import Content, Host, Layer, read_through
from pyvhdmp.testing.virtdisk.images import TRAILER_SIZE, Image
from pyvhdmp.testing.virtdisk.information import Information
from pyvhdmp.testing.virtdisk.maintenance import Maintenance
from pyvhdmp.testing.virtdisk.metadata import Metadata
from pyvhdmp.testing.virtdisk.mirroring import Mirroring
from pyvhdmp.testing.virtdisk.scsi import Scsi
from pyvhdmp.testing.virtdisk.settings import Settings
from pyvhdmp.testing.virtdisk.vhd_sets import VhdSets

__all__ = [
    "TRAILER_SIZE",
    "Content",
    "Host",
    "Image",
    "Layer",
    "OpenImage",
    "SimulatedVirtdisk",
    "read_through",
]


class SimulatedVirtdisk(
    Creating,
    Attaching,
    Dependencies,
    Information,
    Settings,
    Metadata,
    Maintenance,
    Mirroring,
    VhdSets,
    Scsi,
):
    """virtdisk.dll over a host. `elevated`: whether the process may attach disks."""
