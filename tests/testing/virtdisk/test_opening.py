"""OpenVirtualDisk: rights by version, sharing, chains, and AddVirtualDiskParent."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from tests.testing.virtdisk.disks import MIB, RAW, VHDX, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
FLAG = enums.OPEN_VIRTUAL_DISK_FLAG
GET = enums.GET_VIRTUAL_DISK_INFO_VERSION
READ_ONLY = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
A, P, C, G = ("C:\\" + name for name in ("a.vhdx", "p.vhdx", "c.vhdx", "g.vhdx"))


def chain(disks: Disks) -> None:
    disks.make(P, 4 * MIB)
    disks.fill(P, 0, b"\x01" * 512)
    disks.make(C, parent=P)
    disks.make(G, parent=C)


# -- Rights ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "allowed"),
    [
        (ACCESS.ATTACH_RO, {"attach read-only"}),
        (ACCESS.ATTACH_RW, {"attach"}),
        (ACCESS.GET_INFO, {"ask"}),
        (ACCESS.METAOPS, {"compact"}),
        (ACCESS.READ, {"attach read-only", "ask"}),
        (ACCESS.ALL, {"attach", "attach read-only", "ask", "compact"}),
    ],
)
def test_a_handle_of_version_1_may_do_what_its_mask_says(
    disks: Disks, mask: int, allowed: set[str]
) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=mask)
    codes = {
        "ask": disks.asked(handle, GET.SIZE)[0],
        "compact": disks.compact(handle),
        "attach read-only": disks.attach(handle, RAW | READ_ONLY),
    }
    disks.close(handle)
    handle = disks.open(A, version=1, mask=mask)
    codes["attach"] = disks.attach(handle)
    assert codes == {name: 0 if name in allowed else 5 for name in codes}


def test_a_depth_of_0_opens_for_reading(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=ACCESS.ALL, depth=0)
    assert disks.attach(handle) == 5
    disks.open(A, read_only=True)


def test_detaching_wants_the_right_too(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=ACCESS.ATTACH_RW)
    assert disks.attach(handle) == 0
    assert disks.virtdisk.DetachVirtualDisk(handle, 0, 0) == 5


@pytest.mark.parametrize(
    ("version", "mask", "flags"),
    [(1, 0, 0), (1, 1, 0), (2, ACCESS.READ, 0), (3, ACCESS.ALL, 0), (4, 0, 0), (2, 0, 0x1000)],
)
def test_parameters_that_are_none_are_refused(
    disks: Disks, version: int, mask: int, flags: int
) -> None:
    disks.make(A, 4 * MIB)
    assert disks.opened(A, version=version, mask=mask, flags=flags)[0] == 87


# -- Sharing --------------------------------------------------------------------


def test_two_may_read_and_a_third_may_not_write(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    for _ in range(2):
        assert disks.attach(disks.open(A, read_only=True), RAW | READ_ONLY) == 0
    assert disks.opened(A)[0] == 32


def test_who_has_the_same_resiliency_guid_shares_the_disk_and_its_attachment(
    disks: Disks,
) -> None:
    disks.make(A, 4 * MIB)
    first, second = disks.open(A, guid=1), disks.open(A, guid=1)
    assert disks.opened(A, guid=2)[0] == 32
    assert disks.attach(first) == 0
    assert disks.attach(second) == constants.ERROR_VHD_INVALID_STATE
    assert disks.put(second, 0, b"\x11" * 512) == 0
    disks.close(first)
    assert disks.get(second, 0, 512) == b"\x11" * 512  # it ends with the last handle


def test_who_only_asks_is_in_nobodys_way(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    asks = disks.open(A, info_only=True)
    assert disks.attach(disks.open(A)) == 0
    also = disks.open(A, version=1, mask=ACCESS.GET_INFO | ACCESS.DETACH)
    for handle in (asks, also):
        assert disks.size(handle) == 4 * MIB
        assert disks.info(handle, GET.IS_LOADED).IsLoaded
        assert disks.attach(handle) == 5


# -- Chains ---------------------------------------------------------------------


def test_a_parent_is_found_by_its_place_beside_the_child(disks: Disks) -> None:
    disks.make(P, 4 * MIB)
    disks.fill(P, 0, b"\x01" * 512)
    disks.make(C, parent=P)
    files = disks.machine.files
    for name in ("p.vhdx", "c.vhdx"):
        files["C:\\moved\\" + name] = files["C:\\" + name]
        del files["C:\\" + name]
    assert disks.content("C:\\moved\\c.vhdx", 0, 512) == b"\x01" * 512


def test_without_parents_there_is_nothing_to_attach(disks: Disks) -> None:
    chain(disks)
    del disks.machine.files[P]
    assert disks.opened(C)[0] == constants.ERROR_VHD_PARENT_VHD_NOT_FOUND
    handle = disks.open(C, flags=FLAG.NO_PARENTS)
    assert disks.attach(handle) == constants.ERROR_VHD_INVALID_STATE


def test_a_chain_can_be_the_callers_own(disks: Disks) -> None:
    chain(disks)
    files = disks.machine.files
    files["C:\\there\\p.vhdx"] = files[P]
    del files[P]
    add = disks.virtdisk.AddVirtualDiskParent
    handle = disks.open(G, flags=FLAG.CUSTOM_DIFF_CHAIN)
    assert add(handle, "c.vhdx") == 87
    assert add(handle, "C:\\none.vhdx") == 2
    assert add(handle, "C:\\there\\p.vhdx") == constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH
    assert add(handle, C) == 0
    assert disks.attach(handle) == constants.ERROR_VHD_INVALID_STATE  # it is not complete
    assert add(handle, "C:\\there\\p.vhdx") == 0
    assert add(handle, P) == constants.ERROR_VHD_INVALID_TYPE
    assert disks.attach(handle) == 0
    assert disks.get(handle, 0, 512) == b"\x01" * 512
    assert disks.opened("C:\\there\\p.vhdx")[0] == 32


def test_a_chain_is_only_made_where_it_was_asked_for(disks: Disks) -> None:
    chain(disks)
    add = disks.virtdisk.AddVirtualDiskParent
    handle = disks.open(C)
    assert add(handle, P) == 87
    disks.close(handle)
    handle = disks.open(P, flags=FLAG.CUSTOM_DIFF_CHAIN, device=VHDX)
    assert add(handle, C) == constants.ERROR_VHD_INVALID_TYPE
