# pyright: strict
"""What users write, with every public name, for type checkers: it is checked, and not run.

Not one line of it is exempted from being checked: see `test_typing`.
"""

from __future__ import annotations

import io
import mmap
import os
import uuid
import zipfile
from array import array
from collections.abc import AsyncGenerator, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import assert_type

import pyvhdmp
from pyvhdmp import (
    AlreadyDone,
    Backend,
    BlockingDisk,
    ChangedRange,
    ChangeTracking,
    Comparison,
    CompletionPort,
    CopyResult,
    Disk,
    DiskError,
    FixedVhdDisk,
    HeldBuffers,
    IllegalBlockError,
    InvalidInputError,
    MediumError,
    Metadata,
    Operation,
    OverlappedFile,
    PageBuffer,
    PhysicalDisk,
    RawDisk,
    ReadOnlyError,
    ScsiError,
    ScsiResponse,
    ShortTransferError,
    StorageDependency,
    UnmapBehavior,
    VhdmpDisk,
    VirtualDisk,
    VirtualDiskFormat,
    VirtualDiskInfo,
    VirtualDiskType,
    compare_images,
    copy_image,
    make_fixed_vhd,
    open_disk,
)
from pyvhdmp.aio import AsyncDisk
from pyvhdmp.testing import (
    Faults,
    SimulatedFiles,
    SimulatedWindows,
    SimulationError,
    set_last_error,
    simulated_virtdisk,
    substituted,
)


class Folder:
    """What knows its own path, and is no `Path`."""

    def __fspath__(self) -> str:
        return "folder"


def opening(path: str, backend: Backend, port: CompletionPort) -> None:
    assert_type(pyvhdmp.__version__, str)
    assert_type(make_fixed_vhd(path, 1 << 20), uuid.UUID)
    assert_type(make_fixed_vhd(Folder(), 1 << 20, disk_id=uuid.uuid4()), uuid.UUID)

    assert_type(open_disk(path), Disk)
    assert_type(open_disk(Path(path), read_only=True, port=port), Disk)
    assert_type(open_disk(Folder(), backend=backend), Disk)
    assert_type(open_disk(path, backend="auto"), Disk)
    assert_type(open_disk(path, backend="raw"), RawDisk)
    assert_type(open_disk(path, backend="fixed-vhd", port=port), FixedVhdDisk)
    assert_type(open_disk(path, read_only=True, backend="vhdmp"), VhdmpDisk)
    assert_type(RawDisk.open(path), RawDisk)
    assert_type(FixedVhdDisk.open(path, port=port), FixedVhdDisk)
    assert_type(VhdmpDisk.open(path, cached_io=True), VhdmpDisk)


def copying(source: str, target: Path) -> None:
    def report(phase: str, done: int, total: int) -> None:
        print(phase, done, total)

    result = copy_image(source, target, disk_type=VirtualDiskType.FIXED, verify=True, report=report)
    assert_type(result, CopyResult)
    assert_type((result.bytes, result.seconds, result.verified), tuple[int, float, bool])
    assert_type(copy_image(Folder(), target, parent=source, force=True), CopyResult)
    found = compare_images(source, target, queue_depth=8, io_size=1 << 20)
    assert_type(found, Comparison)
    assert_type(found.first_difference, int | None)
    assert_type((found.identical, found.first_size, found.second_size), tuple[bool, int, int])


def using(disk: Disk, other: RawDisk) -> None:
    with other as same:
        assert_type(same, RawDisk)
    assert_type(disk.disk_type, str)
    assert_type(RawDisk.disk_type, str)
    assert_type(disk.path, str)
    assert_type(disk.port, CompletionPort)
    assert_type(disk.sector_size + disk.physical_sector_size, int)
    assert_type(disk.sector_count, int)
    assert_type(disk.size, int)
    assert_type(disk.disk_id, uuid.UUID | None)
    assert_type((disk.is_read_only, disk.is_fua_respected, disk.closed), tuple[bool, bool, bool])
    assert_type(disk.unmap_behavior, UnmapBehavior)
    assert_type(disk.counters.requests, int)
    assert_type(disk.counters.bytes_read, int)

    page, mapped, numbers = PageBuffer(4096), mmap.mmap(-1, 4096), array("H", [0] * 256)
    assert_type(
        disk.read_vectored([page, mapped, bytearray(512), memoryview(page)], 0), Future[None]
    )
    assert_type(disk.write_vectored((b"\x00" * 512, numbers), 0, fua=True), Future[None])
    assert_type(disk.read(0, 1), Future[bytes])
    assert_type(disk.read(0, 1).result(), bytes)
    assert_type(disk.write(0, numbers, fua=True), Future[None])
    assert_type(disk.sync_cache(), Future[None])
    assert_type(disk.unmap(0, 1), Future[None])
    assert_type(disk.wait_resize(1).result(5.0), int)
    assert_type(disk.slice(0, 1), Disk)
    assert_type(disk.slice(0, 1).slice(0, 1).read(0, 1), Future[bytes])
    disk.close(cancel=True)


def holding(disk: Disk, pages: list[memoryview]) -> None:
    with HeldBuffers(pages) as held:
        assert_type(held, HeldBuffers)
        assert_type((held.length, held.closed), tuple[int, bool])
        assert_type(disk.read_vectored(held, 0), Future[None])
        assert_type(disk.write_vectored(held, 0, fua=True), Future[None])


def as_a_file(disk: Disk, port: CompletionPort) -> None:
    with BlockingDisk(disk, close_disk=False) as file:
        assert_type(file, BlockingDisk)
        assert_type(file.disk, Disk)
        assert_type((file.name, file.mode, file.size, file.tell()), tuple[str, str, int, int])
        assert_type(file.seek(-512, 2), int)
        assert_type(file.readinto(bytearray(512)), int)
        assert_type(file.read(10), bytes)
        assert_type(file.write(memoryview(b"")), int)
        with zipfile.ZipFile(io.BufferedReader(file)) as archive:
            assert_type(archive.namelist(), list[str])
    assert_type(BlockingDisk.open("disk.img", read_only=True, port=port), BlockingDisk)


async def awaiting(disk: Disk, port: CompletionPort) -> None:
    async with AsyncDisk(disk, max_in_flight=5) as view:
        assert_type(view, AsyncDisk)
        assert_type(view.disk, Disk)
        assert_type(await view.read(0, 1), bytes)
        assert_type(await view.wait_resize(1), int)
        await view.read_vectored([PageBuffer(4096)], 0)
        await view.write_vectored([b""], 0, fua=True)
        await view.write(0, bytearray(512))
        await view.sync_cache()
        await view.unmap(0, 1)
        assert_type(view.slice(0, 1), AsyncDisk)
        assert_type(view.blocks(0, 5, block_sectors=1), AsyncGenerator[memoryview, None])
        assert_type([block async for block in view.blocks(read_ahead=3)], list[memoryview])
        await view.close(cancel=True)
    assert_type(await AsyncDisk.open("disk.img", backend="raw", port=port), AsyncDisk)


def below_the_disks(handle: int, buffers: Sequence[bytearray]) -> None:
    with CompletionPort(bounce_budget=1 << 24) as port:
        assert_type(port, CompletionPort)
        assert_type(CompletionPort.default(), CompletionPort)
        assert_type(port.calls + port.in_flight + port.peak_in_flight + port.strays, int)
        with OverlappedFile(handle, port=port) as file:
            assert_type(file, OverlappedFile)
            assert_type(file.read_at(bytearray(512), 0), Future[int])
            assert_type(file.write_at(b"", 0), Future[int])
            assert_type(file.read_scatter_at(buffers, 0), Future[int])
            assert_type(file.write_gather_at([PageBuffer(4096)], 0), Future[int])
            assert_type(file.device_io_control(1, b"", bytearray(8)), Future[int])
            assert_type(file.flush(), Future[None])
            file.cancel()
            assert_type(file.detach(), int)


def virtual_disks(path: str | os.PathLike[str]) -> None:
    with VirtualDisk.open(path, read_only=True, info_only=True) as disk:
        assert_type(disk, VirtualDisk)
        info = disk.info
        assert_type(info, VirtualDiskInfo)
        assert_type(info.format, VirtualDiskFormat)
        assert_type(info.disk_type, VirtualDiskType | None)
        assert_type(info.parent_candidates, tuple[str, ...])
        assert_type(disk.chain, tuple[VirtualDiskInfo, ...])
        assert_type(disk.parent, str | None)
        assert_type(disk.physical_disk, PhysicalDisk)
        assert_type(disk.physical_disk.is_remote, bool)
        assert_type(disk.change_tracking, ChangeTracking)
        assert_type(disk.change_tracking.most_recent_id, str)
        assert_type(disk.changes("id"), Iterator[ChangedRange])
        assert_type([change.length for change in disk.changes("id", length=5)], list[int])
        assert_type(disk.metadata, Metadata)
        store: MutableMapping[uuid.UUID, bytes] = disk.metadata
        assert_type(store.get(uuid.uuid4()), bytes | None)
        assert_type(disk.attach(drive_letter=False), str)
        assert_type(disk.take_snapshot(), uuid.UUID)
        response = disk.raw_scsi(b"\x12" + bytes(5), length=36)
        assert_type(response, ScsiResponse)
        assert_type(response.check(), bytes)
        assert_type(response.additional_sense, tuple[int, int] | None)
    assert_type(VirtualDisk.create_fixed(path, 1 << 22), VirtualDisk)
    assert_type(VirtualDisk.create_dynamic(path, 1 << 22, sector_size=4096), VirtualDisk)
    assert_type(VirtualDisk.create_differencing(path, path), VirtualDisk)
    assert_type(VirtualDisk.create_from(path, path, disk_type=VirtualDiskType.FIXED), VirtualDisk)
    assert_type(VirtualDisk.attached_disks(), tuple[str, ...])
    dependencies = VirtualDisk.dependencies(path)
    assert_type(dependencies, tuple[StorageDependency, ...])
    assert_type(dependencies[0].format, VirtualDiskFormat | None)


async def long_operations(disk: VirtualDisk) -> None:
    resizing = disk.resize(1 << 30)
    assert_type(resizing, Operation[None])
    done, total = resizing.progress()
    assert_type((done, total), tuple[int, int])
    making = VirtualDisk.begin_create_fixed("disk.vhdx", 1 << 22)
    assert_type(making, Operation[VirtualDisk])
    assert_type(making.result(5), VirtualDisk)
    assert_type(await making, VirtualDisk)
    try:
        assert_type(making.follow(lambda done, total: print(done / total)), VirtualDisk)
    except AlreadyDone as late:
        interrupt: KeyboardInterrupt = late
        raise interrupt from None
    disk.mirror("other.vhdx").wait_ready(timeout=1.5)


def failing(disk: Disk) -> None:
    try:
        disk.write(0, b"").result()
    except (IllegalBlockError, ReadOnlyError, ShortTransferError, MediumError) as error:
        base: DiskError = error
        raise base from None
    except InvalidInputError as error:
        value: ValueError = error
        raise value from None
    except ScsiError as error:
        system: OSError = error
        raise system from None


def simulating() -> None:
    faults = Faults.of_every_kind(0.01)
    assert_type(faults, Faults)
    try:
        with SimulatedWindows(7, latency=(1e-5, 1e-3), faults=faults) as windows:
            assert_type(windows, SimulatedWindows)
            assert_type(windows.files, SimulatedFiles)
            windows.files["disk.img"] = bytes(1 << 20)
            assert_type(windows.files["disk.img"], bytes)
            windows.fail_next("WriteFile", 1117, pending=True)
            assert_type(windows.pipe(), tuple[int, int])
            windows.power_cut(after=5)
            windows.run_until_idle()
            assert_type(windows.trace, list[str])
            assert_type(windows.now, float)
    except SimulationError as error:
        assertion: AssertionError | Exception = error
        raise assertion from None

    def failing(*arguments: int) -> int:
        set_last_error(23)
        return 0

    with substituted(kernel32={"ReadFile": failing}) as nothing:
        assert_type(nothing, None)
    with simulated_virtdisk(elevated=False, seed=1):
        pass
