"""What a new image is by its name, and the making of those that VHDMP makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pyvhdmp.checks import instance
from pyvhdmp.completion import CompletionPort
from pyvhdmp.disk.images import FixedVhdDisk, RawDisk
from pyvhdmp.disk.reach import VHDMP_ONLY, wanting_vhdmp
from pyvhdmp.disk.vhdmp import NewVirtualImage, VhdmpDisk
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.virtual_disk import VirtualDiskType
from pyvhdmp.virtual_disk.formats import suffix_of

__all__ = ["ImageKind", "make_virtual_image", "new_image_kind"]

_NOT_MADE: Final = (".qcow", ".qcow2", ".qed", ".vdi", ".vmdk")
"""A raw image of such a name would be taken for what it is not."""
_DIFFERENCING: Final = (".vhd", ".avhd", ".vhdx", ".avhdx")

ImageKind: TypeAlias = type[FixedVhdDisk] | type[RawDisk] | type[VhdmpDisk]


def new_image_kind(
    path: str, disk_type: VirtualDiskType | None = None, *, has_parent: bool = False
) -> tuple[ImageKind, VirtualDiskType | None]:
    """Return what a new image of this name is, and how it holds its content; None for a raw one.

    `disk_type`: what was asked for. Unless something is, a .vhd is fixed and a .vhdx dynamic.
    Raises `InvalidInputError` for a name of what there cannot be.
    """
    if disk_type is not None:
        instance(disk_type, VirtualDiskType, "disk_type")
    suffix = suffix_of(path)
    if has_parent:
        if suffix not in _DIFFERENCING:
            raise InvalidInputError.because(
                "a differencing disk must be a .vhd, .avhd, .vhdx or .avhdx", path
            )
        if disk_type is not None:
            raise InvalidInputError.because("what has a parent is neither fixed nor dynamic", path)
        return VhdmpDisk, VirtualDiskType.DIFFERENCING
    if suffix in _NOT_MADE or (suffix in VHDMP_ONLY and suffix != ".vhdx"):
        raise InvalidInputError.because(
            f"a new image cannot be a {suffix}: make it a .vhdx, a .vhd or a raw image", path
        )
    if disk_type is VirtualDiskType.DIFFERENCING:
        raise InvalidInputError.because("a differencing disk must have a parent", path)
    if suffix == ".vhdx":
        return VhdmpDisk, disk_type or VirtualDiskType.DYNAMIC
    if suffix == ".vhd":
        is_dynamic = disk_type is VirtualDiskType.DYNAMIC
        return VhdmpDisk if is_dynamic else FixedVhdDisk, disk_type or VirtualDiskType.FIXED
    if disk_type is not None:
        raise InvalidInputError.because(
            f"a raw image cannot be {disk_type.value}: only a .vhd or a .vhdx can", path
        )
    return RawDisk, None


def make_virtual_image(
    path: str,
    temporary: str,
    *,
    disk_type: VirtualDiskType,
    size: int,
    sector_size: int,
    parent: str | None = None,
    port: CompletionPort,
    report: Callable[[int, int], None] | None = None,
) -> NewVirtualImage:
    """Make a virtual disk, at `temporary`, that is to be renamed to `path`.

    `parent`: of a differencing disk, which has its size and sector size from there. `report`:
    how far it is, as `Operation.follow` has it.

    Raises as `open_disk` does where VHDMP is out of reach. Then there is no file.
    """
    with wanting_vhdmp(path, disk_type.value, absent=temporary):
        return NewVirtualImage(
            temporary,
            size,
            disk_type=disk_type,
            sector_size=sector_size,
            parent=parent,
            port=port,
            report=report,
        )
