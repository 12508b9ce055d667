"""VhdmpDisk on a real driver: depth, sizes, caches, cancels, flushes and other owners."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import CancelledError, Future, wait

import pytest

from pyvhdmp import CompletionPort, PageBuffer, VhdmpDisk, VirtualDisk, VirtualDiskType
from pyvhdmp.testing import SimulatedWindows
from tests.examples import data_disk
from tests.support.files import FilePath
from tests.support.pages import pages_apart
from tests.support.windows import winerror
from tests.vhdmp.helpers import (
    MIB,
    SECONDS,
    Found,
    aligned,
    code_of,
    fails,
    only_real,
    pattern,
    read,
    takes_pages,
    write,
)

pytestmark = pytest.mark.usefixtures("machine")

SIZE = 256 * MIB
KINDS = ["fixed.vhd", "dynamic.vhd", "fixed.vhdx", "dynamic.vhdx", "child.vhd", "child.vhdx"]


def make(folder: FilePath, name: str, *, size: int = SIZE, sector_size: int = 512) -> FilePath:
    """Make a disk whose name tells its type and format."""
    path, (kind, _, suffix) = folder / name, name.partition(".")
    if kind == "fixed":
        VirtualDisk.create_fixed(path, size, sector_size=sector_size).close()
    elif kind == "child":
        parent = folder / f"parent.{suffix}"
        VirtualDisk.create_dynamic(parent, size, sector_size=sector_size).close()
        VirtualDisk.create_differencing(path, parent).close()
    else:
        VirtualDisk.create_dynamic(path, size, sector_size=sector_size).close()
    return path


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    return make(tmp_path, "dynamic.vhdx")


def all_of(disk: VhdmpDisk, starts: list[int]) -> dict[int, bytes]:
    """Read 64 KiB from each sector, all at once."""
    reads = {start: disk.read(start, 128) for start in starts}
    return {start: request.result(SECONDS) for start, request in reads.items()}


# -- Round trips ------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_at_depth_is_read_back_in_this_open_and_the_next(
    tmp_path: FilePath, machine: SimulatedWindows | None, found: Found, name: str
) -> None:
    count = 1024 if machine is None else 64
    chance = random.Random(1)
    path = make(tmp_path, name)
    starts = chance.sample(range(0, SIZE // 512 - 128, 128), count)
    content = {start: pattern(65536, seed=start + 1) for start in starts}
    with VhdmpDisk.open(path) as disk:
        writes = [
            disk.write_vectored([aligned(data)] if number % 2 else [data], start)
            for number, (start, data) in enumerate(content.items())
        ]
        deepest = disk.port.in_flight
        for request in writes:
            request.result(SECONDS)
        disk.sync_cache().result(SECONDS)
        assert all_of(disk, starts) == content
    with VhdmpDisk.open(path, read_only=True) as disk:
        assert all_of(disk, starts) == content
    found(f"{name}: {deepest} of {count} in flight, pages by scatter: {takes_pages(disk)}")


@pytest.mark.parametrize("name", ["dynamic.vhdx", "fixed.vhdx"])
def test_sectors_of_4096_bytes(tmp_path: FilePath, name: str) -> None:
    path = make(tmp_path, name, sector_size=4096)
    with VhdmpDisk.open(path) as disk:
        assert (disk.sector_size, disk.sector_count) == (4096, SIZE // 4096)
        disk.write(7, pattern(8192)).result(SECONDS)
        disk.write_vectored([aligned(pattern(65536))], 100).result(SECONDS)
        assert disk.read(7, 2).result(SECONDS) == pattern(8192)
        assert disk.read(100, 16).result(SECONDS) == pattern(65536)


def test_what_was_never_written_is_zeros(path: FilePath) -> None:
    with VhdmpDisk.open(path) as disk:
        for sector in (0, disk.sector_count // 2, disk.sector_count - 2048):
            assert not any(disk.read(sector, 2048).result(SECONDS))


def test_the_last_sector(path: FilePath) -> None:
    with VhdmpDisk.open(path) as disk:
        disk.write(disk.sector_count - 1, pattern(512)).result(SECONDS)
        assert disk.read(disk.sector_count - 1, 1).result(SECONDS) == pattern(512)


def test_many_pages_from_many_buffers_in_one_request(path: FilePath, found: Found) -> None:
    """Each page a segment of its own; the most in one call is this package's own limit."""
    count = 3000
    pages = [PageBuffer(4096) for _ in range(count)]
    for number, page in enumerate(pages):
        page[:] = pattern(4096, seed=number + 1)
    with VhdmpDisk.open(path) as disk:
        disk.write_vectored(pages, 8).result(SECONDS)
        back = [PageBuffer(4096) for _ in range(count)]
        disk.read_vectored(back, 8).result(SECONDS)
        found(f"{disk.port.calls} calls; pages by scatter: {takes_pages(disk)}")
    assert all(one[:] == other[:] for one, other in zip(pages, back, strict=True))


@pytest.mark.parametrize("size", [64 << 10, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 128 * MIB])
@pytest.mark.parametrize("is_aligned", [True, False])
def test_a_transfer_of_any_size_is_one_request(
    path: FilePath, machine: SimulatedWindows | None, found: Found, size: int, is_aligned: bool
) -> None:
    """No maximum is documented; the length is a DWORD."""
    if machine is not None and size > 16 * MIB:
        pytest.skip("a simulated disk has no limit of its own to be found out")
    data = pattern(size)
    with VhdmpDisk.open(path) as disk:
        calls = disk.port.calls
        buffer = aligned(data) if is_aligned else data
        code = code_of(lambda: disk.write_vectored([buffer], 0).result(SECONDS))
        found(f"a write of {size} bytes: error {code}, in {disk.port.calls - calls} calls")
        assert code == 0
        assert disk.read(0, size // 512).result(SECONDS) == data


# -- Which calls the handle takes -------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cached_io", [False, True])
def test_pages_go_by_scatter_and_gather_or_by_plain_calls_and_arrive_either_way(
    tmp_path: FilePath, found: Found, name: str, cached_io: bool
) -> None:
    """Whether ReadFileScatter works on such a handle is tried once, by a read of one page."""
    path = make(tmp_path, name)
    with VhdmpDisk.open(path, cached_io=cached_io) as disk:
        found(f"{name}, cached_io={cached_io}: taken: {takes_pages(disk)}")
        for scatter in {False, takes_pages(disk)}:
            disk._scatter = scatter
            pages = pages_apart(16)
            for number, page in enumerate(pages):
                page[:] = pattern(4096, seed=number)
            disk.write_vectored([*pages, pattern(512)], 8).result(SECONDS)
            back = pages_apart(16)
            disk.read_vectored(back, 8).result(SECONDS)
            assert back == pages
            assert disk.read(8 + 128, 1).result(SECONDS) == pattern(512)


def test_through_the_cache_it_is_the_same_disk(path: FilePath) -> None:
    with VhdmpDisk.open(path, cached_io=True) as disk:
        disk.write(3, pattern(512)).result(SECONDS)
        disk.write_vectored([aligned(pattern(8192))], 8).result(SECONDS)
        assert disk.read(3, 1).result(SECONDS) == pattern(512)
        disk.sync_cache().result(SECONDS)
    assert read(path, 4096, 8192) == pattern(8192)


# -- Flushes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_the_handle_of_a_writable_disk_can_be_flushed(tmp_path: FilePath, name: str) -> None:
    with VhdmpDisk.open(make(tmp_path, name)) as disk:
        disk.write(0, pattern(4096), fua=True).result(SECONDS)
        disk.sync_cache().result(SECONDS)


def test_the_handle_of_a_read_only_disk_need_not_be_flushed(path: FilePath, found: Found) -> None:
    """NtFlushBuffersFileEx is not called for it, as it may answer ERROR_ACCESS_DENIED."""
    with VhdmpDisk.open(path, read_only=True) as disk:
        disk.sync_cache().result(SECONDS)
        found(f"a flush all the same: error {code_of(lambda: disk._file.flush().result(SECONDS))}")


@only_real
def test_a_flush_beside_requests_at_depth(path: FilePath) -> None:
    with VhdmpDisk.open(path) as disk:
        requests: list[Future[None]] = []
        for sector in range(0, 128 * 512, 128):
            requests.append(disk.write(sector, pattern(65536, seed=sector + 1)))
            if sector % 1024 == 0:
                requests.append(disk.sync_cache())
        for request in requests:
            request.result(SECONDS)


# -- Cancels and closes -----------------------------------------------------------


def test_a_cancelled_request_ends_as_cancelled_or_done(path: FilePath, found: Found) -> None:
    with VhdmpDisk.open(path) as disk:
        buffers = [PageBuffer(MIB) for _ in range(64)]
        reads = [disk.read_vectored([one], number * 2048) for number, one in enumerate(buffers)]
        for request in reads:
            request.cancel()
        wait(reads, SECONDS)
        ends = [request.cancelled() for request in reads]
        found(f"{sum(ends)} of {len(ends)} were cancelled")
        for request in reads:
            with contextlib.suppress(CancelledError):
                request.result(SECONDS)
        assert disk.read(0, 8).result(SECONDS) == bytes(4096)
        assert disk.port.strays == 0


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_with_requests_in_flight_ends_them_all_first(path: FilePath, cancel: bool) -> None:
    disk = VhdmpDisk.open(path)
    writes = [disk.write(sector, pattern(65536)) for sector in range(0, 128 * 128, 128)]
    disk.close(cancel=cancel)
    assert all(request.done() for request in writes)
    if not cancel:
        for request in writes:
            request.result(SECONDS)
    write(path, 0, pattern(4096))  # the file is free
    assert read(path, 0, 4096) == pattern(4096)


def test_requests_from_many_threads(path: FilePath, machine: SimulatedWindows | None) -> None:
    rounds, failures = 200 if machine is None else 8, []
    with VhdmpDisk.open(path) as disk:

        def work(number: int) -> None:
            try:
                for turn in range(rounds):
                    sector = number * 8192 + turn * 8
                    disk.write(sector, pattern(4096, seed=sector + 1)).result(SECONDS)
                    assert disk.read(sector, 8).result(SECONDS) == pattern(4096, seed=sector + 1)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_several_disks_on_one_port(tmp_path: FilePath) -> None:
    paths = [make(tmp_path, name, size=16 * MIB) for name in ("dynamic.vhdx", "fixed.vhd")]
    with CompletionPort() as port:
        disks = [VhdmpDisk.open(path, port=port) for path in paths]
        for number, disk in enumerate(disks):
            disk.write(0, pattern(4096, seed=number + 1)).result(SECONDS)
        for number, disk in enumerate(disks):
            assert disk.read(0, 8).result(SECONDS) == pattern(4096, seed=number + 1)
            disk.close()


# -- Sizes ------------------------------------------------------------------------


def test_a_read_past_the_end_is_an_error_of_windows_below_this_packages_own(
    path: FilePath, found: Found
) -> None:
    with VhdmpDisk.open(path) as disk:
        buffer = PageBuffer(4096)

        def read_past_the_end() -> None:
            count = disk._file.read_at(buffer, disk.size).result(SECONDS)
            found(f"a read at the end: {count} bytes")

        found(f"a read at the end: error {code_of(read_past_the_end)}")


@only_real
def test_what_is_not_a_whole_number_of_sectors_is_an_error_of_windows_too(
    path: FilePath, found: Found
) -> None:
    with VhdmpDisk.open(path) as disk, fails() as caught:
        disk._file.read_at(bytearray(100), 0).result(SECONDS)
    found(f"a read of 100 bytes: error {winerror(caught.value)}")


def test_a_disk_that_is_made_smaller_refuses_what_is_past_its_end(
    tmp_path: FilePath,
) -> None:
    path = tmp_path / "disk.vhdx"
    disk = VirtualDisk.create_dynamic(path, 64 * MIB)
    disk.attach_raw()
    disk.resize(32 * MIB, allow_unsafe=True).result(SECONDS)
    with VhdmpDisk.take_over(disk, read_only=False) as data:
        assert data.size == 32 * MIB
        with fails():
            data._file.write_at(aligned(pattern(4096)), 48 * MIB).result(SECONDS)


# -- Chains -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["vhd", "vhdx"])
def test_a_parent_in_use_by_its_child(tmp_path: FilePath, found: Found, suffix: str) -> None:
    """It can be read beside its child, and written by nobody."""
    child = make(tmp_path, f"child.{suffix}")
    parent = tmp_path / f"parent.{suffix}"
    with VhdmpDisk.open(child) as disk:
        found(f"the parent to read: error {code_of(lambda: read(parent, 0, 512))}")
        code = code_of(lambda: write(parent, 0, pattern(512)))
        found(f"the parent to write: error {code}")
        assert code != 0
        disk.write(0, pattern(4096)).result(SECONDS)
    assert read(child, 0, 4096) == pattern(4096)
    assert not any(read(parent, 0, 4096))


def test_two_children_of_one_parent_at_a_time(tmp_path: FilePath) -> None:
    parent = make(tmp_path, "dynamic.vhdx")
    write(parent, 0, pattern(8192))
    children = [tmp_path / f"{number}.avhdx" for number in range(2)]
    for child in children:
        VirtualDisk.create_differencing(child, parent).close()
    disks = [VhdmpDisk.open(child) for child in children]
    for number, disk in enumerate(disks):
        disk.write(0, bytes([number + 1]) * 4096).result(SECONDS)
    for number, disk in enumerate(disks):
        expected = bytes([number + 1]) * 4096 + pattern(8192)[4096:]
        assert disk.read(0, 16).result(SECONDS) == expected
        disk.close()
    assert read(parent, 0, 8192) == pattern(8192)


# -- The whole job ----------------------------------------------------------------


def test_the_data_disk_of_the_example_and_one_on_it(tmp_path: FilePath) -> None:
    base, child = tmp_path / "data.vhdx", tmp_path / "vm1.avhdx"
    files = {"a.txt": b"a", "b.bin": pattern(MIB)}
    first = data_disk.fat32(files, volume_id=5)
    VirtualDisk.create_dynamic(base, data_disk.DISK_SIZE).close()
    data_disk.write(base, first)
    second = data_disk.fat32(files | {"hostname": b"vm1"}, volume_id=5)
    with VirtualDisk.create_differencing(child, base) as disk:
        assert disk.info.disk_type is VirtualDiskType.DIFFERENCING
    data_disk.write(child, {at: data for at, data in second.items() if first.get(at) != data})
    owner = VhdmpDisk.open(child)
    moment = threading.Timer(0.3, owner.close)
    moment.start()
    with data_disk.open_when_free(child) as data:
        assert data_disk.read_file(data, "hostname") == b"vm1"
        assert data_disk.read_file(data, "b.bin") == files["b.bin"]
    moment.join()
