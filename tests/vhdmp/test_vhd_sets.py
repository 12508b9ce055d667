"""VHD sets of a real driver, and their snapshots."""

from __future__ import annotations

import uuid

import pytest

from pyvhdmp import VhdmpDisk, VirtualDisk, VirtualDiskFormat
from tests.support.files import FilePath
from tests.vhdmp.helpers import MIB, SECONDS, Found, code_of, pattern, read, write

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture
def path(tmp_path: FilePath, found: Found) -> FilePath:
    path = tmp_path / "set.vhds"
    with VirtualDisk.create_dynamic(path, 16 * MIB) as disk:
        assert disk.info.virtual_size == 16 * MIB
        found(f"a new VHD set: {sorted(file.name for file in tmp_path.iterdir())}, {disk.info}")
    write(path, 0, pattern(4096))
    return path


def snapshot_content(path: FilePath, snapshot: uuid.UUID) -> bytes:
    with VirtualDisk.open(path, read_only=True, snapshot_id=snapshot) as disk:
        disk.attach_raw()
        with VhdmpDisk.take_over(disk, read_only=True) as data:
            return data.read(0, 8).result(SECONDS)


def test_a_set_is_a_disk_like_any_other(path: FilePath) -> None:
    assert read(path, 0, 4096) == pattern(4096)
    with VirtualDisk.open(path, info_only=True) as disk:
        assert disk.info.format in (VirtualDiskFormat.VHD_SET, VirtualDiskFormat.VHDX)


def test_a_snapshot_keeps_what_was_there_and_can_be_gone_back_to(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        snapshot = disk.take_snapshot()
    found(f"with a snapshot: {sorted(file.name for file in tmp_path.iterdir())}")
    write(path, 0, b"\x99" * 4096)
    assert snapshot_content(path, snapshot) == pattern(4096)
    assert read(path, 0, 4096) == b"\x99" * 4096
    with VirtualDisk.open(path) as disk:
        disk.apply_snapshot(snapshot)
    assert read(path, 0, 4096) == pattern(4096)


def test_a_snapshot_has_the_id_that_it_is_given(path: FilePath) -> None:
    wanted = uuid.uuid4()
    with VirtualDisk.open(path) as disk:
        assert disk.take_snapshot(wanted) == wanted
    assert snapshot_content(path, wanted) == pattern(4096)


def test_a_snapshot_that_is_deleted_is_gone(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        snapshot = disk.take_snapshot()
        disk.delete_snapshot(snapshot)
        code = code_of(lambda: disk.apply_snapshot(snapshot))
        found(f"applying a snapshot that is gone: error {code:#x}")
        assert code != 0
    assert read(path, 0, 4096) == pattern(4096)


def test_a_snapshot_taken_while_the_disk_is_attached(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        code = code_of(disk.take_snapshot)
    found(f"error {code:#x}")


def test_a_snapshot_can_be_taken_out_of_the_set(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        snapshot = disk.take_snapshot()
        code = code_of(lambda: disk.forget_snapshot(snapshot))
        found(f"REMOVE_SNAPSHOT: error {code:#x}")
    if code == 0:
        assert code_of(lambda: snapshot_content(path, snapshot)) != 0


def test_a_set_is_told_where_its_files_are(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        snapshot = disk.take_snapshot()
        elsewhere = tmp_path / "elsewhere.avhdx"
        codes = [
            code_of(lambda: disk.set_snapshot_path(snapshot, elsewhere)),
            code_of(lambda: disk.set_default_snapshot_path(elsewhere)),
        ]
    found(f"SNAPSHOT_PATH, DEFAULT_SNAPSHOT_PATH: errors {codes}")


def test_a_disk_that_is_no_set_has_no_snapshots(tmp_path: FilePath, found: Found) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhdx", 8 * MIB) as disk:
        code = code_of(disk.take_snapshot)
    found(f"error {code:#x}")
    assert code != 0
