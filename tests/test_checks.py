"""Arguments of the wrong type, wherever they are given: an error that names the parameter."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyvhdmp import VirtualDisk, VirtualDiskType, copy_image, make_fixed_vhd, open_disk
from pyvhdmp.checks import identity, instance, octets, whole_number
from pyvhdmp.testing import SimulatedWindows

MIB = 1 << 20
SIZE = 8 * MIB


class Number:
    def __index__(self) -> int:
        return 7


def test_what_can_be_used_is_passed_on() -> None:
    assert whole_number(Number(), "size") == 7
    assert octets(array("B", [1, 2]), "data") == b"\x01\x02"
    assert identity(uuid.UUID(int=1), "disk_id") == uuid.UUID(int=1)
    assert instance("id", str, "since") == "id"


@pytest.fixture
def disk() -> Iterator[VirtualDisk]:
    with SimulatedWindows(), VirtualDisk.create_dynamic("a.vhds", SIZE) as disk:
        yield disk


WRONG: Any = "wrong"
NUMBER: Any = 5
BYTES: Any = b"b.img"
NONE: Any = None
TRIPLE: Any = (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("size", lambda disk: VirtualDisk.create_dynamic("b.vhdx", WRONG)),
        ("sector_size", lambda disk: VirtualDisk.create_fixed("b.vhdx", SIZE, sector_size=WRONG)),
        (
            "physical_sector_size",
            lambda disk: VirtualDisk.create_fixed("b.vhdx", SIZE, physical_sector_size=WRONG),
        ),
        ("block_size", lambda disk: VirtualDisk.create_dynamic("b.vhdx", SIZE, block_size=WRONG)),
        ("flags", lambda disk: VirtualDisk.create_dynamic("b.vhdx", SIZE, flags=WRONG)),
        ("disk_type", lambda disk: VirtualDisk.create_from("b.vhd", "a.vhd", disk_type=WRONG)),
        ("disk_type", lambda disk: VirtualDisk.create_from("b.vhd", "a.vhd", disk_type=NONE)),
        ("disk_type", lambda disk: copy_image("a.vhd", "b.vhd", disk_type=WRONG)),
        ("queue_depth", lambda disk: copy_image("a.vhd", "b.vhd", queue_depth=WRONG)),
        ("io_size", lambda disk: copy_image("a.vhd", "b.vhd", io_size=WRONG)),
        (
            "block_size",
            lambda disk: VirtualDisk.create_from(
                "b.vhd", "a.vhd", disk_type=VirtualDiskType.FIXED, block_size=WRONG
            ),
        ),
        ("size", lambda disk: disk.resize(WRONG)),
        ("source_depth", lambda disk: disk.merge(source_depth=WRONG)),
        ("target_depth", lambda disk: disk.merge(target_depth=WRONG)),
        ("depth", lambda disk: disk.set_parent("b.vhdx", depth=WRONG)),
        ("size", lambda disk: disk.set_physical_sector_size(WRONG)),
        ("since", lambda disk: disk.changes(NUMBER)),
        ("offset", lambda disk: disk.changes("id", offset=WRONG)),
        ("length", lambda disk: disk.changes("id", length=WRONG)),
        ("restrict_to", lambda disk: disk.attach(restrict_to=WRONG)),
        ("restrict_to", lambda disk: disk.attach(restrict_to=(0, WRONG))),
        ("restrict_to", lambda disk: disk.attach(restrict_to=NUMBER)),
        ("restrict_to", lambda disk: disk.attach(restrict_to=TRIPLE)),
        ("cdb", lambda disk: disk.raw_scsi(WRONG)),
        ("data", lambda disk: disk.raw_scsi(bytes(6), data=WRONG)),
        ("length", lambda disk: disk.raw_scsi(bytes(6), length=WRONG)),
        ("size", lambda disk: make_fixed_vhd("b.vhd", WRONG)),
        ("disk_id", lambda disk: make_fixed_vhd("b.vhd", SIZE, disk_id=WRONG)),
        ("a path", lambda disk: open_disk(NUMBER)),
        ("a path", lambda disk: open_disk(BYTES)),
    ],
)
def test_the_parameter_is_named(
    disk: VirtualDisk, name: str, use: Callable[[VirtualDisk], object]
) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be "):
        use(disk)


@pytest.mark.parametrize("name", ["seed", "latency", "faults", "depth", "sector_size"])
@pytest.mark.parametrize("value", ["wrong", 1.5])
def test_a_simulated_windows_names_its_own(name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=f"^{name} must be "):
        SimulatedWindows(**options)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("the content of a file", lambda windows: windows.files.update({"a": WRONG})),
        ("the content of a file", lambda windows: windows.files.update({"a": NUMBER})),
        ("size", lambda windows: windows.files.make_sparse("a", WRONG)),
        ("code", lambda windows: windows.fail_next("ReadFile", WRONG)),
        ("after", lambda windows: windows.fail_next("ReadFile", 5, after=WRONG)),
        ("after", lambda windows: windows.power_cut(after=WRONG)),
    ],
)
def test_what_is_done_to_a_simulated_windows_names_it_too(
    name: str, use: Callable[[SimulatedWindows], object]
) -> None:
    with SimulatedWindows() as windows:
        with pytest.raises(TypeError, match=f"^{name} must be "):
            use(windows)
        assert not list(windows.files)
