"""GetVirtualDiskInformation and SetVirtualDiskInformation."""

from __future__ import annotations

import uuid

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from pyvhdmp.buffers import PAGE_SIZE, Block
from tests.testing.virtdisk.disks import MIB, VHD, VHDX, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
FLAG = enums.OPEN_VIRTUAL_DISK_FLAG
GET = enums.GET_VIRTUAL_DISK_INFO_VERSION
SET = enums.SET_VIRTUAL_DISK_INFO_VERSION
A, P, C, G = ("C:\\" + name for name in ("a.vhdx", "p.vhdx", "c.vhdx", "g.vhdx"))
NEW_ID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


def texts(disks: Disks, handle: int, what: int, at: int, room: int = PAGE_SIZE) -> list[str]:
    """Return the texts of an answer that has some."""
    block = Block(PAGE_SIZE)
    v.GET_VIRTUAL_DISK_INFO.from_buffer(block.memory).Version = what
    size, used = v.ULONG_CELL(room), v.ULONG_CELL()
    code = disks.virtdisk.GetVirtualDiskInformation(
        handle, address_of(size), block.address, address_of(used)
    )
    if code:
        assert code == constants.ERROR_INSUFFICIENT_BUFFER
        assert size.Value > room
        return []
    return bytes(block.memory[at : used.Value]).decode("utf-16-le").rstrip("\0").split("\0")


def change(disks: Disks, handle: int, what: int, **values: object) -> int:
    """Call SetVirtualDiskInformation; return the code."""
    asked = v.SET_VIRTUAL_DISK_INFO(Version=what)
    for name, value in values.items():
        setattr(asked, name, value)
    return disks.virtdisk.SetVirtualDiskInformation(handle, address_of(asked))


def chain(disks: Disks) -> None:
    disks.make(P, 4 * MIB)
    disks.make(C, parent=P)
    disks.make(G, parent=C)


# -- Get ------------------------------------------------------------------------


def test_every_question_has_an_answer(disks: Disks) -> None:
    chain(disks)
    handle = disks.open(C)
    assert disks.attach(handle) == 0
    for what in list(GET)[1:]:
        assert disks.asked(handle, what)[0] == 0
    assert disks.asked(handle, 16)[0] == 87
    assert disks.info(handle, GET.IS_4K_ALIGNED).Is4kAligned
    assert disks.info(handle, GET.IS_LOADED).IsLoaded
    physical = disks.info(handle, GET.PHYSICAL_DISK).PhysicalDisk
    assert (physical.LogicalSectorSize, physical.PhysicalSectorSize) == (512, 4096)
    assert disks.info(handle, GET.FRAGMENTATION).FragmentationPercentage == 0


def test_a_disk_that_is_not_attached_is_not_loaded(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    assert not disks.info(handle, GET.IS_LOADED).IsLoaded
    assert disks.asked(handle, GET.PHYSICAL_DISK)[0] == constants.ERROR_NOT_READY


def test_a_disk_without_a_parent_tells_none(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    for what in (GET.PARENT_LOCATION, GET.PARENT_IDENTIFIER, GET.PARENT_TIMESTAMP):
        assert disks.asked(handle, what)[0] == constants.ERROR_VHD_INVALID_TYPE


def test_a_child_tells_its_parent(disks: Disks) -> None:
    chain(disks)
    parent = disks.open(P, info_only=True)
    parent_id = disks.info(parent, GET.IDENTIFIER).Identifier.uuid()
    handle = disks.open(C)
    assert disks.info(handle, GET.PARENT_IDENTIFIER).ParentIdentifier.uuid() == parent_id
    stamp = disks.info(handle, GET.PARENT_TIMESTAMP).ParentTimestamp
    assert disks.info(handle, GET.PARENT_TIMESTAMP).ParentTimestamp == stamp != 0
    assert texts(disks, handle, GET.PARENT_LOCATION, v.PARENT_LOCATION_AT) == [P]


def test_where_a_missing_parent_is_looked_for_is_told(disks: Disks) -> None:
    chain(disks)
    del disks.machine.files[P]
    handle = disks.open(C, flags=FLAG.NO_PARENTS)
    found = texts(disks, handle, GET.PARENT_LOCATION, v.PARENT_LOCATION_AT)
    assert found == [P, ".\\p.vhdx"]
    assert texts(disks, handle, GET.PARENT_LOCATION, v.PARENT_LOCATION_AT, 48) == []


def test_a_vhd_knows_nothing_of_what_is_newer(disks: Disks) -> None:
    handle = disks.create("C:\\a.vhd", 4 * MIB, device=VHD)
    assert disks.asked(handle, GET.VIRTUAL_DISK_ID)[0] == 87
    assert disks.asked(handle, GET.CHANGE_TRACKING_STATE)[0] == 50


def test_an_answer_of_no_room_says_how_much_it_takes(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    info, size = v.GET_VIRTUAL_DISK_INFO(Version=GET.SIZE), v.ULONG_CELL(8)
    ask = disks.virtdisk.GetVirtualDiskInformation
    assert ask(handle, address_of(size), address_of(info), 0) == 122
    assert size.Value == v.INFO_SIZE
    size.Value = 0
    assert ask(handle, address_of(size), address_of(info), 0) == 122


# -- Set ------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "device"), [("C:\\a.vhd", VHD), (A, VHDX)])
def test_an_identifier_is_set_and_stays(disks: Disks, path: str, device: int) -> None:
    disks.make(path, 4 * MIB, device=device)
    handle = disks.open(path)
    new = v.GUID.of(NEW_ID)
    assert change(disks, handle, SET.IDENTIFIER, UniqueIdentifier=new) == 0
    code = change(disks, handle, SET.VIRTUAL_DISK_ID, VirtualDiskId=new)
    assert code == (50 if device == VHD else 0)
    disks.close(handle)
    handle = disks.open(path, info_only=True)
    assert disks.info(handle, GET.IDENTIFIER).Identifier.uuid() == NEW_ID
    if device == VHDX:
        assert disks.info(handle, GET.VIRTUAL_DISK_ID).VirtualDiskId.uuid() == NEW_ID


def test_children_do_not_know_a_parent_with_another_identifier(disks: Disks) -> None:
    chain(disks)
    handle = disks.open(P)
    new = v.GUID.of(NEW_ID)
    assert change(disks, handle, SET.VIRTUAL_DISK_ID, VirtualDiskId=new) == 0
    disks.close(handle)
    disks.close(disks.open(C))
    handle = disks.open(P)
    assert change(disks, handle, SET.IDENTIFIER, UniqueIdentifier=new) == 0
    disks.close(handle)
    assert disks.opened(C)[0] == constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH
    handle = disks.open(C, flags=FLAG.NO_PARENTS)
    locator = v.SET_VIRTUAL_DISK_INFO().ParentLocator
    locator.LinkageId, locator.ParentFilePath = new, P
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath=P) == 0xC03A000E
    assert change(disks, handle, SET.PARENT_LOCATOR, ParentLocator=locator) == 0
    disks.close(handle)
    disks.open(C)


def test_a_parent_that_has_moved_is_set_anew(disks: Disks) -> None:
    chain(disks)
    files = disks.machine.files
    files["C:\\there\\p.vhdx"] = files[P]
    del files[P]
    handle = disks.open(C, flags=FLAG.NO_PARENTS)
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath="p.vhdx") == 87
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath="C:\\none.vhdx") == 2
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath="C:\\there\\p.vhdx") == 0
    disks.close(handle)
    handle = disks.open(C)
    found = texts(disks, handle, GET.PARENT_LOCATION, v.PARENT_LOCATION_AT)
    assert found == ["C:\\there\\p.vhdx"]
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath="C:\\there\\p.vhdx") == 87


def test_a_parent_deeper_in_the_chain_is_set_too(disks: Disks) -> None:
    chain(disks)
    files = disks.machine.files
    files["C:\\there\\p.vhdx"] = files[P]
    del files[P]
    handle = disks.open(G, flags=FLAG.CUSTOM_DIFF_CHAIN)
    assert disks.virtdisk.AddVirtualDiskParent(handle, C) == 0
    given = v.SET_VIRTUAL_DISK_INFO().ParentPathWithDepthInfo
    for depth, code in ((0, 87), (3, 87), (2, 0)):
        given.ChildDepth, given.ParentFilePath = depth, "C:\\there\\p.vhdx"
        what = SET.PARENT_PATH_WITH_DEPTH
        assert change(disks, handle, what, ParentPathWithDepthInfo=given) == code
    disks.close(handle)
    disks.open(G)


def test_the_physical_sector_size_is_set(disks: Disks) -> None:
    handle = disks.create(A, 4 * MIB)
    for size, code in ((1024, 87), (512, 0)):
        assert change(disks, handle, SET.PHYSICAL_SECTOR_SIZE, VhdPhysicalSectorSize=size) == code
    info = disks.info(handle, GET.VHD_PHYSICAL_SECTOR_SIZE)
    assert info.VhdPhysicalSectorSize == 512


def test_what_cannot_be_set_is_said(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    handle = disks.open(A, version=1, mask=ACCESS.READ)
    assert change(disks, handle, SET.IDENTIFIER) == 5
    disks.close(handle)
    handle = disks.open(A, flags=FLAG.NO_PARENTS)
    assert change(disks, handle, 8) == 87
    assert change(disks, handle, SET.PARENT_PATH, ParentFilePath=P) == 0xC03A001B
    assert change(disks, handle, SET.PARENT_LOCATOR) == 0xC03A001B
    assert disks.attach(handle) == 0
    assert change(disks, handle, SET.IDENTIFIER) == constants.ERROR_VHD_INVALID_STATE
