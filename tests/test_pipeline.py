"""Many requests, each of which begins the next: what is begun, and how all of it ends."""

from __future__ import annotations

import threading

import pytest

from pyvhdmp import CompletionPort, InvalidInputError, make_fixed_vhd, open_disk
from pyvhdmp.copying import compare_images, copy_image
from pyvhdmp.pipeline import Compare, Copy
from pyvhdmp.testing import substituted
from tests.support import windows
from tests.support.files import FilePath, make_image

pytestmark = pytest.mark.usefixtures("machine")

MIB = 1 << 20
SECONDS = 20
BLOCK = 64 << 10


@pytest.fixture
def source(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "in.img"
    make_image(path, 8 * MIB + 512)
    return path


def test_a_write_that_is_carried_out_while_it_is_begun_holds_back_no_read(
    source: FilePath, tmp_path: FilePath
) -> None:
    """As Windows does it with writes that make a file longer."""
    reads = 0
    waited: list[bool] = []
    enough = threading.Event()
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def read(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        nonlocal reads
        reads += length == BLOCK
        if reads == 8:
            enough.set()
        return real.ReadFile(file, address, length, null, overlapped)

    def write(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        waited.append(enough.wait(SECONDS))
        return real.WriteFile(file, address, length, null, overlapped)

    with substituted(kernel32={"ReadFile": read, "WriteFile": write}):
        copy_image(source, tmp_path / "out.vhd", queue_depth=4, io_size=BLOCK)
    assert waited
    assert all(waited)
    assert compare_images(source, tmp_path / "out.vhd").identical


def test_ctrl_c_while_a_write_is_begun_waits_for_it_and_cancels_it(
    source: FilePath, tmp_path: FilePath
) -> None:
    begun, interrupted = threading.Event(), threading.Event()
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def write(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        begun.set()
        interrupted.wait(SECONDS)
        return real.WriteFile(file, address, length, null, overlapped)

    def interrupt(phase: str, done: int, total: int) -> None:
        if begun.is_set():
            threading.Timer(0.2, interrupted.set).start()
            raise KeyboardInterrupt

    make_fixed_vhd(tmp_path / "out.vhd", 16 * MIB)
    with (
        substituted(kernel32={"WriteFile": write}),
        CompletionPort() as port,
        open_disk(source, read_only=True, port=port) as disk,
        open_disk(tmp_path / "out.vhd", port=port) as target,
    ):
        with pytest.raises(KeyboardInterrupt):
            Copy(disk, target, queue_depth=2, io_size=BLOCK).run("copying", interrupt)
        assert interrupted.is_set()
        assert port.in_flight == 0
        assert target.counters.requests <= 2
        assert disk.counters.requests <= 4
    assert_writer_ends()


def assert_writer_ends() -> None:
    windows.wait_until(
        lambda: not any(thread.name == "pyvhdmp-writer" for thread in threading.enumerate())
    )


def test_a_pipeline_refuses_what_cannot_work(source: FilePath, tmp_path: FilePath) -> None:
    make_fixed_vhd(tmp_path / "small.vhd", MIB)
    with (
        CompletionPort() as port,
        open_disk(source, read_only=True, port=port) as disk,
        open_disk(tmp_path / "small.vhd", port=port) as small,
    ):
        with pytest.raises(InvalidInputError, match="do not fit"):
            Copy(disk, small, queue_depth=1, io_size=4096)
        with pytest.raises(InvalidInputError, match=r"io_size must be .* not 100"):
            Compare(disk, disk, queue_depth=1, io_size=100)
        with pytest.raises(
            InvalidInputError, match=r"its size is 1048576 bytes, that of .* is 8389120"
        ):
            Compare(disk, small, queue_depth=1, io_size=4096)
        with pytest.raises(InvalidInputError, match=r"queue_depth must be .* not 0"):
            Compare(disk, disk, queue_depth=0, io_size=4096)
        with pytest.raises(InvalidInputError, match=r"queue_depth must be .* not -1"):
            Copy(disk, disk, queue_depth=-1, io_size=4096)
        with (
            open_disk(source, read_only=True) as elsewhere,
            pytest.raises(ValueError, match="one completion port"),
        ):
            Compare(disk, elsewhere, queue_depth=1, io_size=4096)


def test_a_disk_closed_under_a_copy_fails_it(source: FilePath, tmp_path: FilePath) -> None:
    make_fixed_vhd(tmp_path / "out.vhd", 16 * MIB)
    with CompletionPort() as port, open_disk(source, read_only=True, port=port) as disk:
        target = open_disk(tmp_path / "out.vhd", port=port)
        target.close()
        with pytest.raises(ValueError, match="closed"):
            Copy(disk, target, queue_depth=4, io_size=4096).run("copying")
        assert port.in_flight == 0
