"""Disks: sector-addressed concurrent reads, writes, flushes and unmaps.

Read `base` first, then `plan` (how buffers become calls), `request` (a request in
flight), `vhdmp` and `images` (the kinds), `slices` (parts of them), `opening` (which kind a path
is) and `other_formats` (and what is none of them).
"""

from __future__ import annotations

from pyvhdmp.disk.base import Disk, UnmapBehavior
from pyvhdmp.disk.held import HeldBuffers
from pyvhdmp.disk.images import FixedVhdDisk, NewImage, RawDisk, make_fixed_vhd
from pyvhdmp.disk.opening import (
    Backend,
    is_vhdmp_out_of_reach,
    make_virtual_image,
    new_image_kind,
    open_disk,
    open_virtual_disk,
    refuse_without_vhdmp,
    wanting_vhdmp,
)
from pyvhdmp.disk.slices import Slice as Slice
from pyvhdmp.disk.vhdmp import NewVirtualImage, VhdmpDisk

__all__ = [
    "Backend",
    "Disk",
    "FixedVhdDisk",
    "HeldBuffers",
    "NewImage",
    "NewVirtualImage",
    "RawDisk",
    "UnmapBehavior",
    "VhdmpDisk",
    "is_vhdmp_out_of_reach",
    "make_fixed_vhd",
    "make_virtual_image",
    "new_image_kind",
    "open_disk",
    "open_virtual_disk",
    "refuse_without_vhdmp",
    "wanting_vhdmp",
]
