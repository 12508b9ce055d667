"""The disks of the machine: which are attached, and what lies on which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvhdmp import StorageDependency, VirtualDisk, VirtualDiskFormat
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.virtdisk_enums import DEPENDENT_DISK_FLAG
from pyvhdmp.testing import memory, substituted
from tests.support.vhdmp import Driver


class Machine:
    """What is attached, and what its files lie on."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.paths: list[str] = []
        self.entries: list[tuple[int, str, str, str, str]] = []
        self.opened: list[tuple[str, int, int]] = []
        self.flags = 0

    def attached(self, size: int, paths: int) -> int:
        raw = ("".join(path + "\0" for path in self.paths) + "\0").encode("utf-16-le")
        cell = v.ULONG_CELL.from_address(size)
        room, cell.Value = cell.Value, len(raw)
        if room < len(raw):
            return constants.ERROR_INSUFFICIENT_BUFFER
        memory.write(paths, raw)
        return 0

    def open(self, name: str, access: int, share: int, *rest: int) -> int:
        self.opened.append((name, access, rest[2]))
        return self.driver.new_handle()

    def ask(self, handle: int, flags: int, size: int, info: int, used: int) -> int:
        assert handle in self.driver.handles
        self.flags = flags
        header = v.STORAGE_DEPENDENCY_INFO.from_address(info)
        assert header.Version == 2
        texts_at = 8 + v.DEPENDENCY_SIZE * len(self.entries)
        needed = texts_at + sum(2 * (len(text) + 1) for _, *texts in self.entries for text in texts)
        v.ULONG_CELL.from_address(used).Value = needed
        if size < needed:
            return constants.ERROR_INSUFFICIENT_BUFFER
        header.NumberEntries = len(self.entries)
        at = info + texts_at
        for index, (level, *texts) in enumerate(self.entries):
            entry = v.STORAGE_DEPENDENCY_INFO_TYPE_2.from_address(
                info + 8 + index * v.DEPENDENCY_SIZE
            )
            entry.AncestorLevel = level
            entry.DependencyTypeFlags = 0x402
            entry.VirtualStorageType.DeviceId = 3
            places = []
            for text in texts:
                raw = (text + "\0").encode("utf-16-le")
                memory.write(at, raw)
                places.append(at)
                at += len(raw)
            entry.DependencyDeviceName, entry.HostVolumeName = places[:2]
            entry.DependentVolumeName, entry.DependentVolumeRelativePath = places[2:]
        return 0


@pytest.fixture
def machine(driver: Driver) -> Iterator[Machine]:
    machine = Machine(driver)
    with substituted(
        virtdisk={
            "GetAllAttachedVirtualDiskPhysicalPaths": machine.attached,
            "GetStorageDependencyInformation": machine.ask,
        },
        kernel32={"CreateFileW": machine.open},
    ):
        yield machine


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_attached_disks(machine: Machine, count: int) -> None:
    machine.paths = [f"\\\\.\\PhysicalDrive{number}" for number in range(count)]
    assert VirtualDisk.attached_disks() == tuple(machine.paths)


@pytest.mark.parametrize("count", [0, 2, 100])
def test_dependencies(machine: Machine, count: int) -> None:
    device, volume = "\\\\?\\PhysicalDrive3", "\\\\?\\Volume{1}"
    machine.entries = [
        (level, device, volume, "\\\\?\\Volume{2}", f"\\vm\\{level}.vhdx")
        for level in range(1, count + 1)
    ]
    found = VirtualDisk.dependencies("D:")
    assert len(found) == count
    assert machine.driver.handles == set()
    if found:
        assert found[0] == StorageDependency(
            level=1,
            format=VirtualDiskFormat.VHDX,
            flags=DEPENDENT_DISK_FLAG.PERMANENT_LIFETIME | DEPENDENT_DISK_FLAG.FULLY_ALLOCATED,
            device=device,
            host_volume=volume,
            volume="\\\\?\\Volume{2}",
            path="\\vm\\1.vhdx",
        )


def test_a_text_that_lies_elsewhere_is_not_read(machine: Machine) -> None:
    machine.entries = [(1, "", "", "", "")]
    ask = machine.ask

    def astray(handle: int, flags: int, size: int, info: int, used: int) -> int:
        code = ask(handle, flags, size, info, used)
        v.STORAGE_DEPENDENCY_INFO_TYPE_2.from_address(info + 8).HostVolumeName = 0x10
        return code

    with substituted(virtdisk={"GetStorageDependencyInformation": astray}):
        (found,) = VirtualDisk.dependencies("D:\\folder\\file")
    assert found.host_volume == ""


@pytest.mark.parametrize(
    ("path", "opened", "flags"),
    [
        ("D:", "\\\\.\\D:", 1),
        ("D:\\", "\\\\.\\D:", 1),
        ("D:\\vm\\a.vhdx", "D:\\vm\\a.vhdx", 1),
        ("\\\\.\\PhysicalDrive3", "\\\\.\\PhysicalDrive3", 3),
    ],
)
def test_a_volume_a_file_and_a_disk_can_be_asked_about(
    machine: Machine, path: str, opened: str, flags: int
) -> None:
    assert VirtualDisk.dependencies(path) == ()
    assert machine.opened == [
        (opened, constants.GENERIC_READ, constants.FILE_FLAG_BACKUP_SEMANTICS)
    ]
    assert machine.flags == flags


def test_what_cannot_be_opened_is_named(driver: Driver) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        VirtualDisk.dependencies("D:\\missing")
    assert caught.value.filename == "D:\\missing"
