"""Mirrors and forks of a real driver: how they go on, and both ways in which they end."""

from __future__ import annotations

import pytest

from pyvhdmp import Operation, VhdmpDisk, VirtualDisk
from pyvhdmp._win32 import Handle
from tests.support import windows
from tests.support.files import FilePath
from tests.vhdmp.helpers import MIB, SECONDS, Found, code_of, fails, pattern, read, write

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 16 * MIB).close()
    write(path, 0, pattern(4 * MIB))
    return path


def wait_until_level(operation: Operation[None]) -> tuple[int, int]:
    """Wait until all is copied, which is when progress says so; return that."""
    operation.wait_ready(SECONDS)
    assert not operation.done()
    return operation.progress()


def end(operation: Operation[None], call: str, disk: VirtualDisk) -> list[int]:
    """End a mirror or a fork, as soon as Windows lets it; return the codes on the way there."""
    codes: list[int] = []

    def is_ended() -> bool:
        codes.append(code_of(getattr(disk, call)))
        return codes[-1] == 0

    windows.wait_until(is_ended, SECONDS)
    operation.result(SECONDS)
    return sorted(set(codes))


def test_a_mirror_never_ends_by_itself_and_takes_over_when_it_is_broken(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    copy = tmp_path / "copy.vhdx"
    with VirtualDisk.open(path) as disk:
        operation = disk.mirror(copy)
        found(f"progress when it is level: {wait_until_level(operation)}")
        assert not operation.done()
        found(f"BreakMirrorVirtualDisk: errors {end(operation, 'break_mirror', disk)}")
        assert disk.info.virtual_size == 16 * MIB
    assert read(copy, 0, 4 * MIB) == pattern(4 * MIB)


def test_what_is_written_meanwhile_goes_to_both(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    """Mirrored on the handle of the data, as there is no other that may write the disk."""
    copy = tmp_path / "copy.vhdx"
    with VhdmpDisk.open(path) as data:
        disk = VirtualDisk(data.port.windows, Handle(data._file.handle), data.path)
        try:
            operation = disk.mirror(copy)
            for number in range(16):
                data.write(2048 * number, pattern(4096, seed=number + 100)).result(SECONDS)
            wait_until_level(operation)
            data.write(2048, b"\x77" * 4096, fua=True).result(SECONDS)
            end(operation, "break_mirror", disk)
            data.write(4096, b"\x88" * 4096, fua=True).result(SECONDS)
        finally:
            disk.release()
    assert read(copy, MIB, 4096) == b"\x77" * 4096
    assert read(path, MIB, 4096) == b"\x77" * 4096
    assert read(copy, 2 * MIB, 4096) == b"\x88" * 4096  # it is the disk now
    assert read(path, 2 * MIB, 4096) == pattern(4096, seed=102)


def test_a_cancelled_mirror_stays_with_the_original(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    copy = tmp_path / "copy.vhdx"
    with VirtualDisk.open(path) as disk:
        operation = disk.mirror(copy)
        operation.cancel()
        operation.wait_until_over()
        assert operation.cancelled()
        found(f"the copy is there: {copy.exists()}")
        with fails() as caught:
            disk.break_mirror()
        found(f"breaking no mirror: {caught.value.__notes__[0]}")
    assert read(path, 0, 4 * MIB) == pattern(4 * MIB)


def test_closing_a_disk_ends_its_mirror(path: FilePath, tmp_path: FilePath) -> None:
    disk = VirtualDisk.open(path)
    operation = disk.mirror(tmp_path / "copy.vhdx")
    disk.close()
    assert operation.cancelled()
    assert read(path, 0, 4096) == pattern(4096)


def test_a_mirror_goes_into_a_file_that_is_there(path: FilePath, tmp_path: FilePath) -> None:
    copy = tmp_path / "copy.vhdx"
    VirtualDisk.create_dynamic(copy, 16 * MIB).close()
    with VirtualDisk.open(path) as disk:
        operation = disk.mirror(copy, existing=True)
        wait_until_level(operation)
        end(operation, "break_mirror", disk)
    assert read(copy, 0, 4 * MIB) == pattern(4 * MIB)


def test_a_fork_keeps_what_the_disk_was_when_it_was_completed(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    """Microsoft has no page about ForkVirtualDisk."""
    copy = tmp_path / "copy.vhdx"
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        operation = disk.fork(copy)
        found(f"progress when it is level: {wait_until_level(operation)}")
        end(operation, "complete_fork", disk)
    write(path, 0, bytes(4096))
    assert read(copy, 0, 4 * MIB) == pattern(4 * MIB)
    assert read(path, 0, 4096) == bytes(4096)
