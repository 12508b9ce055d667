"""The simulated virtdisk.dll over the real kernel32: what it can do with real files."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyvhdmp import VirtualDisk, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.testing import simulated_virtdisk
from tests.support.windows import winerror

pytestmark = pytest.mark.windows

MIB, SECONDS = 1 << 20, 30


@pytest.fixture(autouse=True)
def virtdisk() -> Iterator[None]:
    with simulated_virtdisk():
        yield


def test_a_disk_is_resized_and_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    VirtualDisk.create_dynamic(path, 4 * MIB).close()
    with open_disk(path) as disk:
        disk.write(0, b"\x11" * 512, fua=True).result(SECONDS)
    with VirtualDisk.open(path) as virtual:
        virtual.expand(6 * MIB).result(SECONDS)
        virtual.resize(8 * MIB).result(SECONDS)
        virtual.compact().result(SECONDS)
        assert virtual.info.virtual_size == 8 * MIB
    with open_disk(path) as disk:
        assert disk.size == 8 * MIB
        assert disk.read(0, 1).result(SECONDS) == b"\x11" * 512
        assert disk.read(4 * MIB // 512, 4 * MIB // 512).result(SECONDS) == bytes(4 * MIB)
    with VirtualDisk.open(path) as virtual:
        virtual.resize(4 * MIB, allow_unsafe=True).result(SECONDS)
    assert path.stat().st_size == 4 * MIB + 4096


def test_metadata_and_identities_are_kept(tmp_path: Path) -> None:
    path, item = tmp_path / "a.vhdx", uuid.UUID(int=1)
    with VirtualDisk.create_dynamic(path, 4 * MIB) as disk:
        disk.metadata[item] = b"\x22" * 10_000
        disk.set_disk_id(item)
    with VirtualDisk.open(path) as disk:
        assert dict(disk.metadata) == {item: b"\x22" * 10_000}
        assert disk.info.disk_id == item


def test_a_disk_is_copied_into_another_format(tmp_path: Path) -> None:
    VirtualDisk.create_fixed(tmp_path / "a.vhd", 4 * MIB).close()
    with open_disk(tmp_path / "a.vhd") as disk:
        disk.write(8191, b"\x33" * 512, fua=True).result(SECONDS)
    VirtualDisk.create_from(tmp_path / "b.vhdx", tmp_path / "a.vhd").close()
    with open_disk(tmp_path / "b.vhdx") as disk:
        assert disk.read(8190, 2).result(SECONDS) == bytes(512) + b"\x33" * 512


def test_scsi_commands_reach_the_file(tmp_path: Path) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "a.vhdx", 4 * MIB) as disk:
        disk.attach_raw()
        write, read = (
            bytes([0x2A, 0, 0, 0, 0, 7, 0, 0, 1, 0]),
            bytes([0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0]),
        )
        disk.raw_scsi(write, data=b"\x44" * 512).check()
        assert disk.raw_scsi(read, length=512).check() == b"\x44" * 512


def test_a_disk_is_unmapped(tmp_path: Path) -> None:
    VirtualDisk.create_dynamic(tmp_path / "a.vhdx", 4 * MIB).close()
    with open_disk(tmp_path / "a.vhdx") as disk:
        disk.write(0, b"\x55" * 4096).result(SECONDS)
        disk.unmap(1, 2).result(SECONDS)
        expected = b"\x55" * 512 + bytes(1024) + b"\x55" * 512
        assert disk.read(0, 4).result(SECONDS) == expected


def test_what_a_plain_file_cannot_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    with VirtualDisk.create_dynamic(path, 4 * MIB) as disk:
        for call in (
            lambda: disk.mirror(tmp_path / "b.vhdx"),
            lambda: disk.fork(tmp_path / "b.vhdx"),
            lambda: disk.set_change_tracking(True),
        ):
            with pytest.raises(OSError) as caught:  # noqa: PT011  # the code tells
                call()
            assert winerror(caught.value) == constants.ERROR_NOT_SUPPORTED
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the code tells
        VirtualDisk.create_differencing(tmp_path / "c.vhdx", path)
    assert winerror(caught.value) == constants.ERROR_NOT_SUPPORTED
