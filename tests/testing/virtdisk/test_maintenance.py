"""CompactVirtualDisk and MergeVirtualDisk."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing import SimulatedWindows
from tests.testing.virtdisk.disks import MIB, PENDING, RAW, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
READ_ONLY = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
FIXED = enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
A, P, C, G = ("C:\\" + name for name in ("a.vhdx", "p.vhdx", "c.vhdx", "g.vhdx"))


def chain(disks: Disks) -> None:
    """A disk, its child, and the child of that; each with a sector of its own."""
    disks.make(P, 4 * MIB)
    disks.fill(P, 0, b"\x01" * 2048)
    disks.make(C, parent=P)
    disks.fill(C, 512, b"\x02" * 512)
    disks.make(G, parent=C)
    disks.fill(G, 1024, b"\x03" * 512)


def pattern(*numbers: int) -> bytes:
    return b"".join(bytes([number]) * 512 for number in numbers)


# -- Compact --------------------------------------------------------------------


def test_compacting_takes_zeros_away(disks: Disks) -> None:
    disks.make(A, 16 * MIB)
    disks.fill(A, 0, b"\x11" * 4 * MIB)
    disks.fill(A, 512, bytes(2 * MIB))
    handle = disks.open(A)
    before = disks.physical_size(handle)
    assert disks.compact(handle) == 0
    assert before - 2 * MIB <= disks.physical_size(handle) < before - MIB
    disks.close(handle)
    whole = b"\x11" * 512 + bytes(2 * MIB) + b"\x11" * (2 * MIB - 512)
    assert disks.content(A, 0, 4 * MIB) == whole


def test_a_compact_that_is_cancelled_has_done_no_harm() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            disks.make(A, 16 * MIB)
            disks.fill(A, 0, bytes(4 * MIB) + b"\x11" * 512)
            handle, overlapped = disks.open(A), disks.overlapped()
            if disks.compact(handle, overlapped=overlapped.address) == PENDING:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
                assert disks.result(handle, overlapped) in (0, 995)
            disks.close(handle)
            assert disks.content(A, 4 * MIB - 512, 1024) == pattern(0, 0x11)


def test_what_cannot_be_compacted_is_said(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=ACCESS.READ)
    assert disks.compact(handle) == 5
    disks.close(handle)
    handle = disks.open(A)
    assert disks.virtdisk.CompactVirtualDisk(handle, 0x10, 0, 0) == 87
    assert disks.attach(handle) == 0
    assert disks.compact(handle) == constants.ERROR_VHD_INVALID_STATE
    assert disks.virtdisk.DetachVirtualDisk(handle, 0, 0) == 0
    assert disks.attach(handle, RAW | READ_ONLY) == 0
    assert disks.compact(handle) == 0
    fixed = disks.create(P, 4 * MIB, flags=FIXED)
    assert disks.compact(fixed) == constants.ERROR_VHD_INVALID_TYPE


# -- Merge ----------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_a_child_is_merged_into_its_parent(disks: Disks, version: int) -> None:
    chain(disks)
    if version == 1:
        handle = disks.open(C, version=1, mask=ACCESS.METAOPS | ACCESS.GET_INFO, depth=2)
    else:
        handle = disks.open(C)
    assert disks.merge(handle, version=version) == 0
    disks.close(handle)
    assert disks.content(P, 0, 2048) == pattern(1, 2, 1, 1)
    assert disks.content(C, 0, 2048) == pattern(1, 2, 1, 1)


def test_a_chain_is_merged_from_any_depth_to_any_other(disks: Disks) -> None:
    chain(disks)
    handle = disks.open(G)
    assert disks.merge(handle, 2, 3) == 0
    disks.close(handle)
    assert disks.content(P, 0, 2048) == pattern(1, 2, 1, 1)
    handle = disks.open(G)
    assert disks.merge(handle, 1, 3) == 0
    disks.close(handle)
    assert disks.content(P, 0, 2048) == pattern(1, 2, 3, 1)


def test_a_parent_grows_with_what_a_larger_child_brings(disks: Disks) -> None:
    disks.make(P, 4 * MIB)
    disks.make(C, parent=P)
    handle = disks.open(C)
    assert disks.resize(handle, 8 * MIB) == 0
    assert disks.attach(handle) == 0
    assert disks.put(handle, 8 * MIB - 512, b"\x02" * 512) == 0
    assert disks.virtdisk.DetachVirtualDisk(handle, 0, 0) == 0
    assert disks.merge(handle) == 0
    disks.close(handle)
    assert disks.content(P, 8 * MIB - 512, 512) == b"\x02" * 512


def test_a_merge_that_ends_otherwise_leaves_the_parent_as_it_was() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            chain(disks)
            handle, overlapped = disks.open(C), disks.overlapped()
            code = disks.merge(handle, overlapped=overlapped.address)
            if code == PENDING:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
                code = disks.result(handle, overlapped)
            disks.close(handle)
            expected = pattern(1, 2, 1, 1) if code == 0 else pattern(1, 1, 1, 1)
            assert disks.content(P, 0, 2048) == expected


def test_what_cannot_be_merged_is_said(disks: Disks) -> None:
    chain(disks)
    alone = disks.open(P)
    assert disks.merge(alone) == constants.ERROR_VHD_INVALID_TYPE
    disks.close(alone)
    handle = disks.open(G)
    for source, target in ((0, 1), (1, 1), (2, 1), (1, 4)):
        assert disks.merge(handle, source, target) == 87
    assert disks.merge(handle, version=1, target=3) == 87
    reader = disks.open(P, read_only=True)
    assert disks.merge(handle, 1, 3) == 32  # somebody else reads what is to be written
    disks.close(reader)
    assert disks.attach(handle) == 0
    assert disks.merge(handle) == constants.ERROR_VHD_INVALID_STATE
    disks.close(handle)
    handle = disks.open(C, version=1, mask=ACCESS.METAOPS)
    assert disks.merge(handle, version=1) == 87  # its parent is open for reading alone
    assert disks.opened(C, version=1, mask=ACCESS.METAOPS, depth=4)[0] == 87


def test_a_parent_is_in_use_while_its_child_is_open(disks: Disks) -> None:
    chain(disks)
    child = disks.open(C)
    assert disks.opened(P)[0] == 32
    disks.open(P, read_only=True)
    disks.close(child)
    parent = disks.open(C)
    assert disks.opened(G)[0] == 32
    disks.close(parent)
    disks.open(G)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_merged_survives_a_power_cut(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Disks(windows) as disks:
        chain(disks)
        handle = disks.open(C)
        assert disks.merge(handle) == 0
        windows.power_cut()
        disks.close(handle)
        assert disks.content(P, 0, 2048)[512:1024] == pattern(2)
