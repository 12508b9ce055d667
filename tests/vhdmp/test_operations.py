"""Long operations of a real driver: progress, ends, cancels, handles and threads."""

from __future__ import annotations

import asyncio
import itertools
import threading
import uuid
from pathlib import Path

import pytest

from pyvhdmp import Operation, VhdmpDisk, VirtualDisk, VirtualDiskType, _win32
from pyvhdmp._win32 import Handle, constants
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.structures import OVERLAPPED
from pyvhdmp.testing import SimulatedWindows
from tests.support.files import FilePath
from tests.vhdmp.helpers import (
    MIB,
    SECONDS,
    Found,
    aligned,
    fails,
    only_real,
    pattern,
    read,
    watch,
    write,
)

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 64 * MIB, block_size=MIB).close()
    return path


@pytest.fixture
def large(machine: SimulatedWindows | None) -> int:
    """Bytes that take a real driver some seconds."""
    return (8 << 30) if machine is None else 16 * MIB


def told(progress: list[tuple[int, int]]) -> str:
    """Return the outline of what an operation told about its progress."""
    fell = any(now[0] < before[0] for before, now in itertools.pairwise(progress))
    return f"{len(progress)} steps, the last {progress[-1]}{', and it fell back' if fell else ''}"


# -- Each to its end --------------------------------------------------------------


def test_a_disk_is_made_larger_and_smaller_again(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        for size in (128 * MIB, 96 * MIB):
            operation = disk.resize(size)
            seen = watch(operation)
            assert operation.result(SECONDS) is None
            assert disk.info.virtual_size == size
            found(f"to {size >> 20} MiB: {told(seen)}")


def test_an_attached_disk_is_resized(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        disk.resize(128 * MIB).result(SECONDS)
        assert disk.info.virtual_size == 128 * MIB
        with VhdmpDisk.take_over(disk, read_only=False) as taken:
            assert taken.size == 128 * MIB
            taken.write(127 * 2048, pattern(4096)).result(SECONDS)
            assert taken.read(127 * 2048, 8).result(SECONDS) == pattern(4096)


def test_what_is_cut_off_unsafely_is_refused_first(tmp_path: FilePath, found: Found) -> None:
    """A partition that reaches to the end makes the smallest safe size."""
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 64 * MIB).close()
    entry = bytes([0, 0, 2, 0, 7, 0, 0, 0]) + (2048).to_bytes(4, "little")
    entry += (60 * 2048).to_bytes(4, "little")
    write(path, 0, (bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa")
    with VirtualDisk.open(path) as disk:
        found(
            f"the smallest safe size of a partition that ends at 61 MiB: {disk.smallest_safe_size}"
        )
        with fails() as caught:
            disk.resize(32 * MIB).result(SECONDS)
        found(caught.value.__notes__[0])
        disk.resize_to_smallest().result(SECONDS)
        assert 61 * MIB <= disk.info.virtual_size < 64 * MIB
        disk.resize(32 * MIB, allow_unsafe=True).result(SECONDS)
        assert disk.info.virtual_size == 32 * MIB


@pytest.mark.parametrize("name", ["disk.vhd", "disk.vhdx"])
def test_a_disk_is_expanded(tmp_path: FilePath, name: str) -> None:
    with VirtualDisk.create_dynamic(tmp_path / name, 8 * MIB) as disk:
        disk.expand(16 * MIB).result(SECONDS)
        assert disk.info.virtual_size == 16 * MIB


def test_whether_a_vhd_can_be_resized(tmp_path: FilePath, found: Found) -> None:
    """The documentation of VirtualDisk.resize says that it can only grow."""
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhd", 16 * MIB) as disk:
        for size in (32 * MIB, 8 * MIB):
            try:
                disk.resize(size, allow_unsafe=True).result(SECONDS)
                found(f"to {size >> 20} MiB: done")
            except OSError as error:
                found(f"to {size >> 20} MiB: {error.__notes__[0]}")


def test_compacting_gives_back_what_is_zeros_and_keeps_the_rest(
    path: FilePath, found: Found
) -> None:
    with VhdmpDisk.open(path) as disk:
        for start in range(0, 32 * 2048, 2048):
            disk.write_vectored([aligned(pattern(MIB))], start).result(SECONDS)
        for start in range(2048, 32 * 2048, 2048):
            disk.write_vectored([aligned(bytes(MIB))], start).result(SECONDS)
        disk.sync_cache().result(SECONDS)
    with VirtualDisk.open(path) as virtual:
        before = virtual.info.physical_size
        operation = virtual.compact()
        seen = watch(operation)
        operation.result(SECONDS)
        found(f"{before} to {virtual.info.physical_size} bytes; {told(seen)}")
        assert virtual.info.physical_size < before
    assert read(path, 0, MIB) == pattern(MIB)
    assert read(path, MIB, MIB) == bytes(MIB)


@pytest.mark.parametrize("name", ["vhd", "vhdx"])
def test_merging_writes_a_child_into_its_parent(
    tmp_path: FilePath, found: Found, name: str
) -> None:
    """With parameters of version 2, a source depth of 1 and a target depth of 2."""
    base, middle, top = (tmp_path / f"{part}.{name}" for part in ("base", "middle", "top"))
    VirtualDisk.create_dynamic(base, 8 * MIB).close()
    write(base, 0, pattern(8192))
    VirtualDisk.create_differencing(middle, base).close()
    write(middle, 4096, b"\x55" * 4096)
    VirtualDisk.create_differencing(top, middle).close()
    write(top, 8192, b"\x66" * 4096)
    with VirtualDisk.open(top) as disk:
        operation = disk.merge()
        found(told(watch(operation)))
        operation.result(SECONDS)
    assert read(middle, 0, 12288) == pattern(4096) + b"\x55" * 4096 + b"\x66" * 4096
    with VirtualDisk.open(middle) as disk:
        disk.merge().result(SECONDS)
    assert read(base, 0, 12288) == pattern(4096) + b"\x55" * 4096 + b"\x66" * 4096


def test_merging_all_of_a_chain_at_once(tmp_path: FilePath) -> None:
    paths = [tmp_path / f"{number}.vhdx" for number in range(4)]
    VirtualDisk.create_dynamic(paths[0], 8 * MIB).close()
    for number in range(1, 4):
        VirtualDisk.create_differencing(paths[number], paths[number - 1]).close()
        write(paths[number], 4096 * number, bytes([number]) * 4096)
    with VirtualDisk.open(paths[3]) as disk:
        disk.merge(source_depth=1, target_depth=4).result(SECONDS)
    content = b"".join(bytes([number]) * 4096 for number in range(4))
    assert read(paths[0], 0, 16384) == content


# -- Creating ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["disk.vhd", "disk.vhdx"])
def test_a_disk_that_is_being_created_tells_its_progress_by_the_handle_it_already_has(
    tmp_path: FilePath, found: Found, name: str, large: int
) -> None:
    """CreateVirtualDisk returns 997 and a handle, which GetVirtualDiskOperationProgress takes."""
    operation = VirtualDisk.begin_create_fixed(tmp_path / name, large // 4)
    seen = watch(operation)
    with operation.result(SECONDS) as disk:
        assert disk.info.virtual_size == large // 4
        assert disk.info.disk_type is VirtualDiskType.FIXED
    found(told(seen))


def test_the_handle_of_a_created_disk_is_good_for_io_on_a_port(tmp_path: FilePath) -> None:
    """It has not been bound to one by its creation, and takes overlapped requests."""
    disk = VirtualDisk.create_fixed(tmp_path / "disk.vhdx", 8 * MIB)
    disk.attach_raw()
    with VhdmpDisk.take_over(disk, read_only=False) as taken:
        taken.write(0, pattern(4096), fua=True).result(SECONDS)
        assert taken.read(0, 8).result(SECONDS) == pattern(4096)


@pytest.mark.parametrize("name", ["disk.vhd", "disk.vhdx"])
def test_a_cancelled_creation_leaves_no_file(
    tmp_path: FilePath, found: Found, name: str, large: int
) -> None:
    """Or it was faster than the cancel, and the disk is whole."""
    path = tmp_path / name
    operation = VirtualDisk.begin_create_fixed(path, large)
    operation.cancel()
    operation.wait_until_over()
    found(f"{operation!r}")
    if operation.cancelled():
        assert not path.exists()
    else:
        with operation.result(SECONDS) as disk:
            assert disk.info.virtual_size == large


def test_a_cancelled_copy_leaves_no_file(tmp_path: FilePath, path: FilePath, found: Found) -> None:
    write(path, 0, pattern(32 * MIB))
    target = tmp_path / "copy.vhdx"
    operation = VirtualDisk.begin_create_from(target, path, disk_type=VirtualDiskType.FIXED)
    operation.cancel()
    operation.wait_until_over()
    found(f"{operation!r}")
    if operation.cancelled():
        assert not target.exists()
    else:
        operation.result(SECONDS).close()
        assert read(target, 0, 32 * MIB) == pattern(32 * MIB)


@only_real
def test_what_a_cancelled_creation_leaves_if_nobody_deletes_it(
    tmp_path: FilePath, found: Found
) -> None:
    """This package deletes a half-made file; whether Windows would have, nobody says."""
    path = tmp_path / "disk.vhdx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyvhdmp.files.discard_file", lambda *_: None)
        operation = VirtualDisk.begin_create_fixed(path, 8 << 30)
        operation.cancel()
        operation.wait_until_over()
    found(f"{operation!r}, and a file is there: {path.exists()}")
    if not operation.cancelled():
        operation.result(SECONDS).close()


# -- Cancels ----------------------------------------------------------------------


def test_a_cancelled_compaction_keeps_the_content(path: FilePath, found: Found) -> None:
    content = pattern(32 * MIB)
    write(path, 0, content)
    write(path, 0, bytes(16 * MIB))
    with VirtualDisk.open(path) as disk:
        operation = disk.compact()
        operation.cancel()
        operation.wait_until_over()
        found(f"{operation!r}")
        disk.compact().result(SECONDS)  # it is free for another one
    assert read(path, 0, 32 * MIB) == bytes(16 * MIB) + content[16 * MIB :]


def test_closing_waits_for_an_operation_and_with_cancel_asks_it_to_end(path: FilePath) -> None:
    write(path, 0, pattern(16 * MIB))
    for cancel in (False, True):
        disk = VirtualDisk.open(path)
        operation = disk.compact()
        disk.close(cancel=cancel)
        assert operation.is_over
        assert operation.done()
    assert read(path, 0, 16 * MIB) == pattern(16 * MIB)


@only_real
def test_a_cancelled_task_cancels_its_operation(tmp_path: Path) -> None:
    """A coroutine that waits for a creation and is cancelled lets go when Windows has."""
    path = tmp_path / "disk.vhdx"

    async def create() -> VirtualDisk:
        return await VirtualDisk.begin_create_fixed(path, 8 << 30)

    async def main() -> None:
        task = asyncio.create_task(create())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not path.exists() or path.stat().st_size >= 8 << 30


# -- Handles, ports and threads ---------------------------------------------------


def test_an_operation_on_a_second_handle_posts_nothing_to_the_port_of_the_data(
    path: FilePath, monkeypatch: pytest.MonkeyPatch, found: Found
) -> None:
    """The second is opened with the first one's ResiliencyGuid: else it is refused. A disk that
    is open notices the new size, and so does who waits for it."""
    same = uuid.uuid4()
    monkeypatch.setattr("pyvhdmp.virtual_disk.opening.uuid.uuid4", lambda: same)
    with VhdmpDisk.open(path) as disk:
        with VirtualDisk.open(path) as second:
            waiting = disk.wait_resize(disk.sector_count)
            second.resize(128 * MIB).result(SECONDS)
        assert waiting.result(SECONDS) == 128 * 2048
        assert disk.size == 128 * MIB
        disk.write(127 * 2048, pattern(4096)).result(SECONDS)
        found(f"packets for nobody: {disk.port.strays}")
        assert disk.port.strays == 0


def test_what_an_operation_on_the_handle_of_the_data_posts_is_taken_for_a_stray(
    path: FilePath, found: Found
) -> None:
    with VhdmpDisk.open(path) as disk:
        before = disk.port.strays
        borrowed = VirtualDisk(disk.port.windows, Handle(disk._file.handle), disk.path)
        try:
            borrowed.resize(128 * MIB).result(SECONDS)
        finally:
            borrowed.release()
        assert disk.size == 128 * MIB
        disk.write(0, pattern(4096)).result(SECONDS)
        assert disk.read(0, 8).result(SECONDS) == pattern(4096)
        found(f"packets for nobody: {disk.port.strays - before}")


def test_a_question_about_a_disk_posts_nothing_to_its_port(path: FilePath) -> None:
    with VhdmpDisk.open(path) as disk:
        before = disk.port.strays
        for _ in range(100):
            assert disk.size == 64 * MIB
        disk.read(0, 8).result(SECONDS)
        assert disk.port.strays == before


@only_real
def test_an_operation_whose_thread_has_ended(path: FilePath, found: Found) -> None:
    """The reason why an Operation has a thread of its own: Windows may cancel it otherwise."""
    write(path, 0, pattern(32 * MIB))
    windows, overlapped = _win32.current(), OVERLAPPED()
    event = overlapped.hEvent = windows.kernel32.CreateEventW(0, 1, 0, 0)
    parameters = structures.COMPACT_VIRTUAL_DISK_PARAMETERS(Version=1)
    codes: list[int] = []
    with VirtualDisk.open(path) as disk:

        def begin() -> None:
            codes.append(
                windows.virtdisk.CompactVirtualDisk(
                    disk.handle, 0, address_of(parameters), address_of(overlapped)
                )
            )

        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        if codes == [constants.ERROR_IO_PENDING]:
            windows.kernel32.WaitForSingleObject(event, constants.INFINITE)
        progress = structures.VIRTUAL_DISK_PROGRESS()
        code = windows.virtdisk.GetVirtualDiskOperationProgress(
            disk.handle, address_of(overlapped), address_of(progress)
        )
        found(f"begun with {codes}, ended with {code}, {progress.OperationStatus}")
    windows.kernel32.CloseHandle(event)
    assert read(path, 0, 32 * MIB) == pattern(32 * MIB)


def test_progress_can_be_asked_when_an_operation_is_over(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        operation: Operation[None] = disk.resize(128 * MIB)
        operation.result(SECONDS)
        found(f"{operation.progress()}")
        assert operation.progress() == operation.progress()


def test_of_an_overlapped_that_nothing_was_begun_with_there_is_no_progress(
    path: FilePath, found: Found
) -> None:
    overlapped, progress = OVERLAPPED(), structures.VIRTUAL_DISK_PROGRESS()
    with VirtualDisk.open(path) as disk:
        code = disk.windows.virtdisk.GetVirtualDiskOperationProgress(
            disk.handle, address_of(overlapped), address_of(progress)
        )
    found(f"error {code}, status {progress.OperationStatus}")


def test_two_operations_at_a_time_on_one_disk(path: FilePath, found: Found) -> None:
    write(path, 0, pattern(32 * MIB))
    with VirtualDisk.open(path) as disk:
        first = disk.compact()
        try:
            second = disk.compact()
            second.wait_until_over()
            found(f"the second: {second!r}, {second.exception()!r}")
        except OSError as error:
            found(f"the second: {error.__notes__[0]}")
        first.wait_until_over()
        assert first.exception() is None
