"""VHD sets and their snapshots."""

from __future__ import annotations

import uuid

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from tests.testing.virtdisk.disks import MIB, RAW, VHDSET, Disks

MODIFY = enums.MODIFY_VHDSET_VERSION
READ_ONLY = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY
SET = "C:\\a.vhds"
FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=0xABC)


def take(disks: Disks, handle: int, snapshot: uuid.UUID, *, flags: int = 0) -> int:
    asked = v.TAKE_SNAPSHOT_VHDSET_PARAMETERS(Version=1)
    asked.Version1.SnapshotId = v.GUID.of(snapshot)
    return disks.virtdisk.TakeSnapshotVhdSet(handle, address_of(asked), flags)


def apply(disks: Disks, handle: int, snapshot: uuid.UUID) -> int:
    asked = v.APPLY_SNAPSHOT_VHDSET_PARAMETERS(Version=1)
    asked.Version1.SnapshotId = v.GUID.of(snapshot)
    return disks.virtdisk.ApplySnapshotVhdSet(handle, address_of(asked), 0)


def delete(disks: Disks, handle: int, snapshot: uuid.UUID) -> int:
    asked = v.DELETE_SNAPSHOT_VHDSET_PARAMETERS(Version=1)
    asked.Version1.SnapshotId = v.GUID.of(snapshot)
    return disks.virtdisk.DeleteSnapshotVhdSet(handle, address_of(asked), 0)


def modify(disks: Disks, handle: int, what: int, *, flags: int = 0, **values: object) -> int:
    asked = v.MODIFY_VHDSET_PARAMETERS(Version=what)
    for name, value in values.items():
        setattr(asked, name, value)
    return disks.virtdisk.ModifyVhdSet(handle, address_of(asked), flags)


def with_snapshots(disks: Disks, *, flags: int = 0) -> int:
    """A set that held 1s when the first snapshot was taken, and 2s at the second."""
    disks.make(SET, 4 * MIB, device=VHDSET)
    for number, snapshot in ((1, FIRST), (2, SECOND)):
        disks.fill(SET, 0, bytes([number]) * 4096)
        handle = disks.open(SET)
        assert take(disks, handle, snapshot, flags=flags) == 0
        disks.close(handle)
    disks.fill(SET, 0, b"\x03" * 4096)
    return disks.open(SET)


def snapshot_holds(disks: Disks, snapshot: uuid.UUID) -> int:
    handle = disks.open(SET, version=3, snapshot=snapshot, read_only=True)
    assert disks.attach(handle, RAW | READ_ONLY) == 0
    data = disks.get(handle, 0, 4096)
    disks.close(handle)
    assert len(set(data)) == 1
    return data[0]


def test_a_snapshot_keeps_what_was_there(disks: Disks) -> None:
    disks.close(with_snapshots(disks))
    assert [snapshot_holds(disks, snapshot) for snapshot in (FIRST, SECOND)] == [1, 2]
    assert disks.content(SET, 0, 4096) == b"\x03" * 4096


def test_a_snapshot_is_gone_back_to_as_often_as_one_likes(disks: Disks) -> None:
    handle = with_snapshots(disks)
    for snapshot, number in ((FIRST, 1), (SECOND, 2), (FIRST, 1)):
        assert apply(disks, handle, snapshot) == 0
        disks.close(handle)
        assert disks.content(SET, 0, 4096) == bytes([number]) * 4096
        disks.fill(SET, 2 * MIB, b"\x09" * 512)
        handle = disks.open(SET)
    assert disks.resize(handle, 8 * MIB) == 0
    assert apply(disks, handle, FIRST) == 0
    assert disks.size(handle) == 4 * MIB
    disks.close(handle)
    assert disks.content(SET, 2 * MIB, 512) == bytes(512)


def test_a_snapshot_can_only_be_read_unless_it_is_writeable(disks: Disks) -> None:
    disks.close(with_snapshots(disks))
    handle = disks.open(SET, version=3, snapshot=FIRST)
    assert disks.attach(handle) == 5
    disks.close(handle)
    writeable = enums.TAKE_SNAPSHOT_VHDSET_FLAG.WRITEABLE
    handle, third = disks.open(SET), uuid.UUID(int=3)
    assert take(disks, handle, third, flags=writeable) == 0
    handle = disks.open(SET, version=3, snapshot=third)
    assert disks.attach(handle) == 0
    assert disks.put(handle, 0, b"\x04" * 4096) == 0
    disks.close(handle)
    assert snapshot_holds(disks, third) == 4


def test_a_snapshot_that_is_deleted_is_gone_and_one_removed_leaves_its_file(disks: Disks) -> None:
    handle, files = with_snapshots(disks), disks.machine.files
    assert len(files) == 3
    reader = disks.open(SET, version=3, snapshot=FIRST, read_only=True)
    assert delete(disks, handle, FIRST) == 32
    disks.close(reader)
    assert delete(disks, handle, FIRST) == 0
    assert len(files) == 2
    (path,) = [path for path in files if path != SET]
    assert path == f"C:\\a_{str(SECOND).upper()}.avhdx"
    assert modify(disks, handle, MODIFY.REMOVE_SNAPSHOT, SnapshotId=v.GUID.of(SECOND)) == 0
    assert path in files
    for snapshot in (FIRST, SECOND):
        assert disks.opened(SET, version=3, snapshot=snapshot)[0] == 1168
        assert apply(disks, handle, snapshot) == 1168
        assert delete(disks, handle, snapshot) == 1168


def test_a_set_is_told_where_its_snapshots_are(disks: Disks) -> None:
    handle = with_snapshots(disks)
    asked = v.MODIFY_VHDSET_PARAMETERS().SnapshotPath
    asked.SnapshotId = v.GUID.of(FIRST)
    for path, code in (("b.avhdx", 87), ("C:\\none.avhdx", 2)):
        asked.SnapshotFilePath = path
        assert modify(disks, handle, MODIFY.SNAPSHOT_PATH, SnapshotPath=asked) == code
    asked.SnapshotFilePath = f"C:\\a_{str(SECOND).upper()}.avhdx"
    assert modify(disks, handle, MODIFY.SNAPSHOT_PATH, SnapshotPath=asked) == 0
    assert snapshot_holds(disks, FIRST) == 2
    disks.machine.files.make_folder("C:\\else")
    path = "C:\\else\\b.avhdx"
    assert modify(disks, handle, MODIFY.DEFAULT_SNAPSHOT_PATH, DefaultFilePath=path) == 0
    assert take(disks, handle, uuid.UUID(int=3)) == 0
    assert any(name.startswith("C:\\else\\b_0000") for name in disks.machine.files)


def test_what_is_asked_wrongly_is_refused(disks: Disks) -> None:
    handle = with_snapshots(disks)
    assert take(disks, handle, FIRST) == constants.ERROR_ALREADY_EXISTS
    assert take(disks, handle, uuid.UUID(int=0)) == 87
    assert take(disks, handle, uuid.UUID(int=5), flags=8) == 87
    assert modify(disks, handle, 4) == 87
    assert disks.attach(handle) == 0
    assert apply(disks, handle, FIRST) == constants.ERROR_VHD_INVALID_STATE
    plain = disks.create("C:\\b.vhdx", 4 * MIB)
    assert take(disks, plain, FIRST) == constants.ERROR_NOT_SUPPORTED
    disks.close(plain)
    assert disks.opened("C:\\b.vhdx", version=3, snapshot=FIRST)[0] == 87


def test_the_set_alone_can_be_opened_to_ask(disks: Disks) -> None:
    disks.close(with_snapshots(disks))
    flags = enums.OPEN_VIRTUAL_DISK_FLAG.VHDSET_FILE_ONLY
    handle = disks.open(SET, flags=flags)
    assert disks.size(handle) == 4 * MIB
    assert disks.attach(handle) == 5
