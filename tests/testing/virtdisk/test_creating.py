"""CreateVirtualDisk: its parameters, copies, and creations that take time."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing import SimulatedWindows
from tests.testing.virtdisk.disks import MIB, PENDING, VHD, VHDX, Disks

ACCESS = enums.VIRTUAL_DISK_ACCESS
FIXED = enums.CREATE_VIRTUAL_DISK_FLAG.FULL_PHYSICAL_ALLOCATION
A, B = "C:\\a.vhdx", "C:\\b.vhdx"


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_each_version_of_the_parameters_makes_a_disk(disks: Disks, version: int) -> None:
    mask = ACCESS.ALL if version == 1 else 0
    handle = disks.create(A, 4 * MIB, version=version, mask=mask)
    assert disks.size(handle) == 4 * MIB
    assert disks.attach(handle) == 0


def test_parameters_that_are_none_are_refused(disks: Disks) -> None:
    assert disks.created(A, 4 * MIB, version=5)[0] == 87
    assert disks.created(A, 4 * MIB, version=1, mask=0)[0] == 87
    assert disks.created(A, 4 * MIB, version=2, mask=ACCESS.ALL)[0] == 87
    assert disks.created(A, 4 * MIB, flags=0x8000)[0] == 87
    assert disks.created("a.vhdx", 4 * MIB)[0] == 87
    assert A not in disks.machine.files


def test_a_creation_gives_its_handle_out_at_once_and_is_over_later() -> None:
    codes = set()
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            overlapped = disks.overlapped()
            code, handle = disks.created(A, 4 * MIB, overlapped=overlapped.address)
            codes.add(code)
            assert disks.result(handle, overlapped) == 0
            assert disks.progress(handle, overlapped)[0] == 0
            assert disks.attach(handle) == 0
    assert codes == {0, PENDING}


def test_a_creation_that_is_cancelled_or_fails_deletes_its_file() -> None:
    codes = set()
    for seed in range(20):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            overlapped = disks.overlapped()
            if seed < 5:
                windows.fail_next("CreateVirtualDisk", 112, pending=True)
            code, handle = disks.created(A, 4 * MIB, overlapped=overlapped.address)
            if code == PENDING:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
                code = disks.result(handle, overlapped)
            codes.add(code)
            assert (A in windows.files) == (code == 0)
    assert codes == {0, 112, 995}


def test_a_creation_that_fails_at_once_leaves_neither_file_nor_handle(disks: Disks) -> None:
    disks.machine.fail_next("CreateVirtualDisk", 112)
    assert disks.created(A, 4 * MIB)[0] == 112
    disks.machine.fail_next("CreateVirtualDisk", 112, pending=True)
    assert disks.created(A, 4 * MIB)[0] == 112
    assert not disks.machine.files
    assert not disks.machine.open_handles


# -- Copies ---------------------------------------------------------------------


@pytest.mark.parametrize(("device", "path"), [(VHD, "C:\\b.vhd"), (VHDX, B)])
@pytest.mark.parametrize("flags", [0, FIXED])
def test_a_copy_has_the_content_in_another_format_and_size(
    disks: Disks, device: int, path: str, flags: int
) -> None:
    disks.make(A, 4 * MIB)
    disks.fill(A, 2 * MIB, b"\x11" * 4096)
    disks.make(path, 6 * MIB, device=device, flags=flags, source=A)
    handle = disks.open(path)
    assert disks.size(handle) == 6 * MIB
    disks.close(handle)
    assert disks.content(path, 2 * MIB - 512, 5120) == bytes(512) + b"\x11" * 4096 + bytes(512)


def test_a_copy_of_a_child_holds_what_its_parents_do(disks: Disks) -> None:
    disks.make("C:\\p.vhdx", 4 * MIB)
    disks.fill("C:\\p.vhdx", 0, b"\x01" * 1024)
    disks.make("C:\\c.vhdx", parent="C:\\p.vhdx")
    disks.fill("C:\\c.vhdx", 512, b"\x02" * 512)
    disks.make(B, source="C:\\c.vhdx")
    assert disks.content(B, 0, 1024) == b"\x01" * 512 + b"\x02" * 512


def test_a_copy_that_cannot_be_is_refused(disks: Disks) -> None:
    disks.make(A, 4 * MIB)
    assert disks.created(B, 3 * MIB, source=A)[0] == 87
    assert disks.created(B, source=A, parent=A)[0] == 87
    assert disks.created(B, source="a.vhdx")[0] == 87
    assert disks.created(B, source="C:\\none.vhdx")[0] == 2
    assert disks.created(B, source=A, sector_size=4096)[0] == 87
    writer = disks.open(A)
    assert disks.attach(writer) == 0
    assert disks.created(B, source=A)[0] == 32
    assert B not in disks.machine.files


def test_a_copy_that_is_cancelled_is_gone() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            disks.make(A, 8 * MIB)
            disks.fill(A, 0, b"\x11" * 8 * MIB)
            overlapped = disks.overlapped()
            code, handle = disks.created(B, source=A, overlapped=overlapped.address)
            if code == PENDING:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
                code = disks.result(handle, overlapped)
            assert (B in windows.files) == (code == 0)
