"""Disks: sector-addressed concurrent reads, writes, flushes and unmaps.

Read `base` first: what every disk is. A request of it is of one of three kinds, each in a
`direction`: `direct` (one call, into the caller's own pages: most are), `request` (parts, made by
`plan`, and memory to bounce), or `waited` (without any other thread). `held` has buffers ready
for many of them. Then the kinds of disk: `images` (plain files), with `other_formats` (what is
none), and `vhdmp`, with `unmap` and `resize`; `slices` (parts of them), `opening` (which kind a
path is), `new_images` (which kind a new one is) and `reach` (what there is without VHDMP).
`probe` finds out what a handle takes.
"""

from __future__ import annotations

from pyvhdmp.disk.base import Disk, UnmapBehavior
from pyvhdmp.disk.held import HeldBuffers
from pyvhdmp.disk.images import FixedVhdDisk, NewImage, RawDisk, make_fixed_vhd
from pyvhdmp.disk.new_images import make_virtual_image, new_image_kind
from pyvhdmp.disk.opening import Backend, open_disk
from pyvhdmp.disk.reach import (
    is_vhdmp_out_of_reach,
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
