"""Change tracking of a real driver, and what it says has changed."""

from __future__ import annotations

import pytest

from pyvhdmp import VhdmpDisk, VirtualDisk
from pyvhdmp._win32 import constants
from tests.support.files import FilePath
from tests.vhdmp.helpers import MIB, SECONDS, Found, code_of, fails, pattern, write

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 64 * MIB).close()
    return path


def test_tracking_is_off_until_it_is_switched_on(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        assert not disk.change_tracking.enabled
        with fails() as caught:
            list(disk.changes("nothing"))
        found(f"without tracking: {caught.value.__notes__[0]}")
        disk.set_change_tracking(True)
        state = disk.change_tracking
        found(f"the form of an id: {state.most_recent_id!r}")
        assert state.enabled
    with VirtualDisk.open(path) as disk:
        assert disk.change_tracking.enabled
        disk.set_change_tracking(False)
        assert not disk.change_tracking.enabled


def test_what_was_written_since_an_id_is_among_the_changes(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.set_change_tracking(True)
        since = disk.change_tracking.most_recent_id
    for start in (0, 5 * MIB, 40 * MIB):
        write(path, start, pattern(4096))
    with VirtualDisk.open(path) as disk:
        state = disk.change_tracking
        ranges = list(disk.changes(since))
        part = list(disk.changes(since, offset=4 * MIB, length=4 * MIB))
    found(f"{state}, 4096 bytes each at 0, 5 and 40 MiB: {ranges}")
    for start in (0, 5 * MIB, 40 * MIB):
        assert any(
            changed.offset <= start and start + 4096 <= changed.offset + changed.length
            for changed in ranges
        )
    assert sum(changed.length for changed in ranges) < 64 * MIB
    assert [changed.offset for changed in ranges] == sorted(changed.offset for changed in ranges)
    assert part
    assert all(4 * MIB <= changed.offset < 8 * MIB for changed in part)


def test_many_changes_are_told_whole(path: FilePath, found: Found) -> None:
    """More ranges than one call has room for: the next goes on at ProcessedLength."""
    with VirtualDisk.open(path) as disk:
        disk.set_change_tracking(True)
        since = disk.change_tracking.most_recent_id
    starts = range(0, 64 * MIB, 128 << 10)
    with VhdmpDisk.open(path) as data:
        writes = [data.write(start // 512, pattern(512)) for start in starts]
        for request in writes:
            request.result(SECONDS)
        data.sync_cache().result(SECONDS)
    with VirtualDisk.open(path) as disk:
        ranges = list(disk.changes(since))
    found(f"{len(starts)} sectors, 128 KiB apart: {len(ranges)} ranges")
    for start in starts:
        assert any(at.offset <= start < at.offset + at.length for at in ranges)


def test_an_id_of_no_moment_is_refused_with_the_code_that_the_hint_is_for(
    path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        disk.set_change_tracking(True)
        with fails() as caught:
            list(disk.changes("rctX:01234567:89ab:cdef:0123:456789abcdef:00000000"))
    found(caught.value.__notes__[0])


def test_a_disk_in_use_tracks_its_changes(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.set_change_tracking(True)
        since = disk.change_tracking.most_recent_id
        disk.attach_raw()
        code = code_of(lambda: list(disk.changes(since)))
        found(f"changes while it is attached: error {code:#x}")
        with VhdmpDisk.take_over(disk, read_only=False) as data:
            data.write(2048, pattern(4096), fua=True).result(SECONDS)
            with VirtualDisk.open(path, info_only=True) as other:
                code = code_of(lambda: other.change_tracking)
                found(f"asked by a handle that was opened to ask: error {code:#x}")


def test_a_vhd_has_no_change_tracking(tmp_path: FilePath, found: Found) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhd", 8 * MIB) as disk:
        code = code_of(lambda: disk.set_change_tracking(True))
    found(f"error {code:#x}")
    assert code not in (constants.ERROR_SUCCESS, constants.ERROR_PRIVILEGE_NOT_HELD)
