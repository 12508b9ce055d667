"""MirrorVirtualDisk and ForkVirtualDisk."""

from __future__ import annotations

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp._win32.memory import address_of
from pyvhdmp.testing import SimulatedWindows
from tests.testing.program import Overlapped
from tests.testing.virtdisk.disks import MIB, PENDING, Disks

EXISTING = enums.MIRROR_VIRTUAL_DISK_FLAG.EXISTING_FILE
SKIP = enums.MIRROR_VIRTUAL_DISK_FLAG.SKIP_MIRROR_ACTIVATION
A, B = "C:\\a.vhdx", "C:\\b.vhdx"


def mirror(disks: Disks, handle: int, overlapped: int, *, flags: int = 0, path: str = B) -> int:
    asked = v.MIRROR_VIRTUAL_DISK_PARAMETERS(Version=1)
    asked.Version1.MirrorVirtualDiskPath = path
    return disks.virtdisk.MirrorVirtualDisk(handle, flags, address_of(asked), overlapped)


def fork(disks: Disks, handle: int, overlapped: int, *, path: str = B) -> int:
    asked = v.FORK_VIRTUAL_DISK_PARAMETERS(Version=1)
    asked.Version1.ForkedVirtualDiskPath = path
    return disks.virtdisk.ForkVirtualDisk(handle, 0, address_of(asked), overlapped)


def attached(disks: Disks) -> int:
    """A disk with something on it."""
    handle = disks.create(A, 8 * MIB)
    assert disks.attach(handle) == 0
    for at in range(4):
        assert disks.put(handle, at * 2 * MIB, b"\x11" * 4096) == 0
    return handle


def level(disks: Disks, handle: int, overlapped: Overlapped) -> None:
    """Wait until everything is copied, which takes no end."""
    disks.machine.run_until_idle()
    code, current, completion = disks.progress(handle, overlapped)
    assert (code, current) == (PENDING, completion)


@pytest.mark.parametrize("seed", range(8))
def test_a_mirror_follows_the_disk_until_it_takes_its_place(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Disks(windows) as disks:
        handle, overlapped = attached(disks), disks.overlapped()
        assert mirror(disks, handle, overlapped.address) == PENDING
        assert disks.put(handle, 0, b"\x22" * 512) == 0
        level(disks, handle, overlapped)
        assert disks.put(handle, 512, b"\x33" * 512) == 0
        assert disks.virtdisk.BreakMirrorVirtualDisk(handle) == 0
        assert disks.result(handle, overlapped) == 0
        assert disks.put(handle, 1024, b"\x44" * 512) == 0
        whole = b"\x22" * 512 + b"\x33" * 512 + b"\x44" * 512 + b"\x11" * 512
        assert disks.get(handle, 0, 2048) == whole
        assert disks.opened(B)[0] == 32
        assert disks.content(A, 0, 2048) == whole[:1024] + b"\x11" * 1024  # it was let go
        disks.close(handle)
        assert disks.content(B, 0, 2048) == whole
        assert disks.content(B, 6 * MIB, 4096) == b"\x11" * 4096


def test_a_mirror_that_is_not_to_take_its_place_does_not(disks: Disks) -> None:
    handle, overlapped = attached(disks), disks.overlapped()
    assert mirror(disks, handle, overlapped.address, flags=SKIP) == PENDING
    level(disks, handle, overlapped)
    assert disks.virtdisk.BreakMirrorVirtualDisk(handle) == 0
    assert disks.put(handle, 0, b"\x22" * 512) == 0
    disks.close(handle)
    assert disks.content(B, 0, 512) == b"\x11" * 512
    assert disks.content(A, 0, 512) == b"\x22" * 512


def test_a_mirror_that_is_cancelled_is_gone_at_any_time() -> None:
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = attached(disks), disks.overlapped()
            assert mirror(disks, handle, overlapped.address) == PENDING
            if seed % 2:
                level(disks, handle, overlapped)
            assert disks.kernel32.CancelIoEx(handle, overlapped.address)
            assert disks.result(handle, overlapped) == 995
            assert B not in windows.files
            assert disks.put(handle, 0, b"\x22" * 512) == 0
            assert disks.get(handle, 0, 512) == b"\x22" * 512


def test_a_mirror_over_a_file_that_is_there_leaves_it_when_cancelled(disks: Disks) -> None:
    disks.make(B, 8 * MIB)
    handle, overlapped = attached(disks), disks.overlapped()
    assert mirror(disks, handle, overlapped.address) == constants.ERROR_FILE_EXISTS
    assert mirror(disks, handle, overlapped.address, flags=EXISTING) == PENDING
    assert disks.opened(B)[0] == 32
    assert disks.kernel32.CancelIoEx(handle, overlapped.address)
    assert disks.result(handle, overlapped) == 995
    disks.close(disks.open(B))


def test_a_mirror_in_flight_is_lost_with_the_power() -> None:
    for seed in range(5):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            disks.make(A, 8 * MIB)
            handle, overlapped = disks.open(A), disks.overlapped()
            assert mirror(disks, handle, overlapped.address) == PENDING
            windows.run_until_idle()
            windows.power_cut()
            disks.close(handle)
            assert disks.content(A, 0, 512) == bytes(512)


def test_what_cannot_be_mirrored_is_said(disks: Disks) -> None:
    handle, overlapped = attached(disks), disks.overlapped()
    state = constants.ERROR_VHD_INVALID_STATE
    assert mirror(disks, handle, 0) == 87
    assert mirror(disks, handle, overlapped.address, path="b.vhdx") == 87
    assert mirror(disks, handle, overlapped.address, flags=EXISTING) == 2
    assert disks.virtdisk.BreakMirrorVirtualDisk(handle) == state
    assert disks.virtdisk.CompleteForkVirtualDisk(handle) == state
    disks.make(B, 4 * MIB)
    assert mirror(disks, handle, overlapped.address, flags=EXISTING) == 87
    assert disks.resize(handle, 16 * MIB) == 0  # nothing is under way


def test_a_mirror_that_is_not_complete_cannot_be_broken() -> None:
    codes = set()
    for seed in range(10):
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = attached(disks), disks.overlapped()
            assert mirror(disks, handle, overlapped.address) == PENDING
            assert disks.resize(handle, 16 * MIB) == constants.ERROR_VHD_INVALID_STATE
            code = disks.virtdisk.BreakMirrorVirtualDisk(handle)
            codes.add(code)
            if code:
                disks.kernel32.CancelIoEx(handle, overlapped.address)
            assert disks.result(handle, overlapped) == (995 if code else 0)
    assert codes == {0, constants.ERROR_VHD_INVALID_STATE}


def test_who_tries_to_break_a_mirror_again_and_again_succeeds(disks: Disks) -> None:
    handle, overlapped = attached(disks), disks.overlapped()
    assert mirror(disks, handle, overlapped.address) == PENDING
    for _ in range(100):
        if disks.virtdisk.BreakMirrorVirtualDisk(handle) == 0:
            break
    assert disks.result(handle, overlapped) == 0


def test_a_mirror_can_fail_with_everything_copied(disks: Disks) -> None:
    handle, overlapped = attached(disks), disks.overlapped()
    disks.machine.fail_next("MirrorVirtualDisk", 112, pending=True)
    assert mirror(disks, handle, overlapped.address) == PENDING
    assert disks.result(handle, overlapped) == 112
    assert B not in disks.machine.files


def test_a_mirror_of_a_child_is_a_child(disks: Disks) -> None:
    disks.make("C:\\p.vhdx", 8 * MIB)
    disks.fill("C:\\p.vhdx", 0, b"\x01" * 1024)
    handle, overlapped = disks.create(A, parent="C:\\p.vhdx"), disks.overlapped()
    assert disks.attach(handle) == 0
    assert disks.put(handle, 512, b"\x02" * 512) == 0
    assert mirror(disks, handle, overlapped.address) == PENDING
    level(disks, handle, overlapped)
    assert disks.virtdisk.BreakMirrorVirtualDisk(handle) == 0
    disks.close(handle)
    assert disks.content(B, 0, 1024) == b"\x01" * 512 + b"\x02" * 512


@pytest.mark.parametrize("seed", range(5))
def test_a_fork_is_the_disk_at_the_moment_it_is_completed(seed: int) -> None:
    with SimulatedWindows(seed) as windows, Disks(windows) as disks:
        handle, overlapped = attached(disks), disks.overlapped()
        assert fork(disks, handle, 0) == 87
        assert fork(disks, handle, overlapped.address) == PENDING
        level(disks, handle, overlapped)
        assert disks.put(handle, 0, b"\x22" * 512) == 0
        assert disks.virtdisk.BreakMirrorVirtualDisk(handle) == constants.ERROR_VHD_INVALID_STATE
        assert disks.virtdisk.CompleteForkVirtualDisk(handle) == 0
        assert disks.result(handle, overlapped) == 0
        assert disks.put(handle, 512, b"\x33" * 512) == 0
        assert disks.content(B, 0, 1024) == b"\x22" * 512 + b"\x11" * 512
        assert disks.get(handle, 0, 1024) == b"\x22" * 512 + b"\x33" * 512


def test_the_same_seed_mirrors_the_same_way_twice() -> None:
    def trace(seed: int) -> list[str]:
        with SimulatedWindows(seed) as windows, Disks(windows) as disks:
            handle, overlapped = attached(disks), disks.overlapped()
            mirror(disks, handle, overlapped.address)
            for at in range(8):
                disks.put(handle, at * MIB, bytes([at]) * 4096)
            level(disks, handle, overlapped)
            disks.virtdisk.BreakMirrorVirtualDisk(handle)
            return windows.trace

    assert trace(1) == trace(1) != trace(2)
