"""Everything that can be told about an image without reading its content.

Rules:

1. A virtual disk is asked through VHDMP, only for information, so it may be attached or in
   use. What Windows will not answer for its format or state is left out.
2. A chain that is broken is no error: what there is of it is told, and what is wrong.
3. Without VHDMP a fixed .vhd tells what its footer says, and an .iso its size.
"""

from __future__ import annotations

import contextlib
import ntpath
from collections.abc import Callable
from typing import Any, Final

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.cli.output import describe
from pyvhdmp.disk import FixedVhdDisk, is_vhdmp_out_of_reach, open_disk
from pyvhdmp.errors import code_of
from pyvhdmp.virtual_disk import VirtualDisk, VirtualDiskInfo, VirtualDiskType
from pyvhdmp.virtual_disk.asking import MAX_CHAIN
from pyvhdmp.virtual_disk.formats import format_of

__all__ = ["facts_of"]

_BROKEN_CHAIN: Final = (
    constants.ERROR_VHD_PARENT_VHD_NOT_FOUND,
    constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH,
    constants.ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH,
    constants.ERROR_VHD_PARENT_VHD_ACCESS_DENIED,
)

# What Windows may refuse to tell.
_QUESTIONS: Final[dict[str, Callable[[VirtualDisk], object]]] = {
    "identifier": lambda disk: str(disk.identifier),
    "physical_path": lambda disk: disk.physical_path,
    "is_loaded": lambda disk: disk.is_loaded,
    "smallest_safe_size": lambda disk: disk.smallest_safe_size,
    "fragmentation": lambda disk: disk.fragmentation,
    "is_4k_aligned": lambda disk: disk.is_4k_aligned,
    "metadata_items": lambda disk: len(disk.metadata),
}


def facts_of(path: str) -> dict[str, Any]:
    """Return what there is to tell, by name, as JSON has it."""
    format = format_of(files.checked_path(path))
    if format is not None:
        try:
            return _virtual_disk(path)
        except OSError as error:
            if not is_vhdmp_out_of_reach(error):
                raise
    with open_disk(path, read_only=True) as disk:
        is_vhd = isinstance(disk, FixedVhdDisk)
        return {
            "path": disk.path,
            "format": format.value if format is not None else disk.disk_type,
            "disk_type": "fixed" if is_vhd else disk.disk_type,
            "size": disk.size,
            "sector_size": disk.sector_size,
            "physical_sector_size": disk.physical_sector_size,
            "sector_count": disk.sector_count,
            "disk_id": str(disk.disk_id) if disk.disk_id is not None else None,
        }


def _virtual_disk(path: str) -> dict[str, Any]:
    disk, problem = _open(path)
    with disk:
        found = disk.info
        facts = _always_known(found) | {
            "sector_size": found.sector_size,
            "physical_sector_size": found.physical_sector_size,
            "sector_count": found.virtual_size // found.sector_size,
            "block_size": found.block_size,
        }
        for name, ask in _QUESTIONS.items():
            with contextlib.suppress(OSError):
                facts[name] = ask(disk)
        with contextlib.suppress(OSError):
            tracking = disk.change_tracking
            facts["change_tracking"] = {
                "enabled": tracking.enabled,
                "newer_changes": tracking.newer_changes,
                "most_recent_id": tracking.most_recent_id,
            }
        if found.disk_type is VirtualDiskType.DIFFERENCING:
            with contextlib.suppress(OSError):
                facts["parent_id"] = str(disk.parent_id)
    chain = _chain(found)
    facts["chain"] = [_always_known(one) for one in chain]
    if chain[-1].disk_type is VirtualDiskType.DIFFERENCING:
        facts["parent_looked_for"] = list(chain[-1].parent_candidates)
    if problem is not None:
        facts["problem"] = describe(problem)
    return facts


def _always_known(found: VirtualDiskInfo) -> dict[str, Any]:
    return {
        "path": found.path,
        "format": found.format.value,
        "disk_type": found.disk_type.value if found.disk_type is not None else None,
        "size": found.virtual_size,
        "file_size": found.physical_size,
        "disk_id": str(found.disk_id) if found.disk_id is not None else None,
    }


def _open(path: str) -> tuple[VirtualDisk, OSError | None]:
    """Return a disk, opened to be asked, and what is wrong with its chain."""
    try:
        return VirtualDisk.open(path, info_only=True), None
    except OSError as error:
        if code_of(error) not in _BROKEN_CHAIN:
            raise
        return VirtualDisk.open(path, info_only=True, no_parents=True), error


def _chain(first: VirtualDiskInfo) -> list[VirtualDiskInfo]:
    """Return a disk, its parent, and so on, as far as they are to be found."""
    chain, seen = [first], {_key(first.path)}
    while (parent := _parent_of(chain[-1])) is not None and _key(parent) not in seen:
        if len(chain) == MAX_CHAIN:
            break
        seen.add(_key(parent))
        try:
            disk, _ = _open(parent)
        except OSError:
            break  # which is why the first of them has a problem
        with disk:
            chain.append(disk.info)
    return chain


def _parent_of(child: VirtualDiskInfo) -> str | None:
    """Return where the parent of a disk is, even if the chain breaks behind it."""
    if child.parent_path is not None:
        return child.parent_path
    folder = ntpath.dirname(files.full_path(current(), child.path))
    for candidate in child.parent_candidates:
        path = ntpath.normpath(ntpath.join(folder, candidate))
        with contextlib.suppress(OSError):
            if files.file_attributes(current(), path) is not None:
                return path
    return None


def _key(path: str) -> str:
    return ntpath.normcase(files.full_path(current(), path))
