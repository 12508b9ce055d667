"""Copies that are whole or not there."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from pyvhdmp import (
    Comparison,
    CompletionPort,
    DiskError,
    InvalidInputError,
    MediumError,
    ShortTransferError,
    VirtualDisk,
    compare_images,
    copy_image,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp.testing import Faults, SimulatedWindows, set_last_error, substituted
from pyvhdmp.virtual_disk import VirtualDiskFormat, VirtualDiskType
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


def assert_no_partial(folder: FilePath) -> None:
    assert [path.name for path in folder.iterdir() if ".pyvhdmp-partial" in path.name] == []


@pytest.mark.parametrize("size", [512, 4096, MIB, 8 * MIB + 512, 3 * MIB - 512])
@pytest.mark.parametrize(("queue_depth", "io_size"), [(1, 4096), (4, 64 << 10), (32, 256 << 10)])
def test_a_raw_image_goes_into_a_fixed_vhd_and_back(
    tmp_path: FilePath, size: int, queue_depth: int, io_size: int
) -> None:
    if size > MIB and io_size == 4096:
        size = MIB + 512
    content = make_image(tmp_path / "in.img", size)
    vhd, back = tmp_path / "out.vhd", tmp_path / "back.img"
    copy = partial(copy_image, queue_depth=queue_depth, io_size=io_size)
    there = copy(tmp_path / "in.img", vhd, verify=True)
    assert there.bytes == size
    assert there.verified
    with open_disk(vhd, read_only=True) as disk:
        assert disk.size == size
    copy(vhd, back)
    assert back.read_bytes() == content
    assert_no_partial(tmp_path)


def test_zeros_are_skipped_and_counted(tmp_path: FilePath) -> None:
    size = 8 * MIB
    (tmp_path / "in.img").write_bytes(bytes(4 * MIB) + b"\x01" * MIB + bytes(3 * MIB))
    result = copy_image(tmp_path / "in.img", tmp_path / "out.img", io_size=MIB)
    assert result.bytes == size
    assert result.bytes_zero == 7 * MIB
    assert result.requests == 8 + 1
    assert result.bytes_bounced == 0


@pytest.mark.parametrize("io_size", [MIB, 4 * MIB, 64 * MIB])
def test_zeros_are_left_out_of_requests_of_any_size(tmp_path: FilePath, io_size: int) -> None:
    content = bytearray(8 * MIB + 512)
    for start, end in ((0, 1), (BLOCK, BLOCK + 1), (5 * BLOCK - 1, 5 * BLOCK + 1)):
        content[start:end] = b"\x01" * (end - start)
    content[-512:] = b"\xee" * 512
    (tmp_path / "in.img").write_bytes(content)
    result = copy_image(tmp_path / "in.img", tmp_path / "out.img", io_size=io_size)
    assert (tmp_path / "out.img").read_bytes() == content
    assert result.bytes_zero == len(content) - 4 * BLOCK - 512


def test_both_directions_are_in_flight_at_once(source: FilePath, tmp_path: FilePath) -> None:
    result = copy_image(source, tmp_path / "out.vhd", queue_depth=4, io_size=4096)
    assert 1 < result.depth <= 8


def test_an_existing_target_is_refused_before_anything_is_done(
    source: FilePath, tmp_path: FilePath
) -> None:
    target = tmp_path / "out.vhd"
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        copy_image(source, target)
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"precious"
    assert_no_partial(tmp_path)


def test_force_replaces_the_target(source: FilePath, tmp_path: FilePath) -> None:
    target = tmp_path / "out.img"
    target.write_bytes(b"old")
    copy_image(source, target, force=True)
    assert target.read_bytes() == source.read_bytes()


def test_a_partial_that_was_left_behind_is_no_obstacle(
    source: FilePath, tmp_path: FilePath
) -> None:
    (tmp_path / "out.img.pyvhdmp-partial").write_bytes(b"x" * 100 * MIB)
    copy_image(source, tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == source.read_bytes()
    assert_no_partial(tmp_path)


def test_a_target_that_somebody_has_open_is_refused_before_the_copy(
    source: FilePath, tmp_path: FilePath
) -> None:
    target = tmp_path / "out.img"
    old = make_image(target, MIB, seed=2)
    reports: list[int] = []
    with open_disk(target, read_only=True), pytest.raises(PermissionError):
        copy_image(source, target, force=True, report=lambda _, done, __: reports.append(done))
    assert reports == []
    assert target.read_bytes() == old


def test_a_read_only_target_is_refused_before_the_copy(
    source: FilePath, tmp_path: FilePath
) -> None:
    target = tmp_path / "out.img"
    old = make_image(target, MIB, seed=2)
    target.chmod(0o444)
    with pytest.raises(PermissionError) as caught:
        copy_image(source, target, force=True)
    assert caught.value.filename == str(target)
    target.chmod(0o666)
    assert target.read_bytes() == old
    assert_no_partial(tmp_path)


@pytest.mark.parametrize("name", ["in.img", "IN.IMG", "sub/../in.img"])
def test_a_copy_onto_itself_is_refused(source: FilePath, tmp_path: FilePath, name: str) -> None:
    (tmp_path / "sub").mkdir()
    before = source.read_bytes()
    with pytest.raises(InvalidInputError, match="same file"):
        copy_image(source, tmp_path / name, force=True)
    assert source.read_bytes() == before


def test_a_folder_is_no_target_and_no_source(source: FilePath, tmp_path: FilePath) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        copy_image(source, tmp_path / "folder", force=True)
    with pytest.raises(IsADirectoryError):
        copy_image(tmp_path / "folder", tmp_path / "out.img")
    with pytest.raises(FileNotFoundError):
        copy_image(source, tmp_path / "missing" / "out.img")


@pytest.mark.parametrize("name", ["out.avhdx", "out.avhd", "out.VHDS", "out.qcow2", "out.VMDK"])
def test_what_cannot_stand_alone_or_is_not_made_here_is_no_target(
    source: FilePath, tmp_path: FilePath, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="a new image cannot be a "):
        copy_image(source, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def test_a_vhdx_needs_the_driver(source: FilePath, tmp_path: FilePath) -> None:
    with pytest.raises(InvalidInputError, match="VHDMP"):
        copy_image(source, tmp_path / "out.vhdx")
    (tmp_path / "in.vhdx").write_bytes(b"")
    with (
        substituted(virtdisk={"OpenVirtualDisk": lambda *_: 120}),
        pytest.raises(InvalidInputError, match="VHDMP"),
    ):
        copy_image(tmp_path / "in.vhdx", tmp_path / "out.img")
    with pytest.raises(FileNotFoundError):
        copy_image(tmp_path / "missing.vhdx", tmp_path / "out.img")


@pytest.fixture
def vhdmp(machine: object) -> Iterator[None]:
    """A driver that makes and reads a .vhdx."""
    with windows.vhdmp():
        yield


@pytest.mark.usefixtures("vhdmp")
@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB + 512, 8 * MIB + 512])
@pytest.mark.parametrize("name", ["out.vhdx", "OUT.VHDX", "a.b.vhdx"])
def test_a_raw_image_goes_into_a_dynamic_vhdx_and_back(
    tmp_path: FilePath, size: int, name: str
) -> None:
    content = make_image(tmp_path / "in.img", size)
    there = copy_image(tmp_path / "in.img", tmp_path / name, verify=True)
    assert there.bytes == size
    with VirtualDisk.open(tmp_path / name, info_only=True) as disk:
        assert disk.info.format is VirtualDiskFormat.VHDX
        assert disk.info.disk_type is VirtualDiskType.DYNAMIC
        assert disk.info.virtual_size == size
    copy_image(tmp_path / name, tmp_path / "back.img")
    assert (tmp_path / "back.img").read_bytes() == content
    names = [path.name for path in tmp_path.iterdir()]
    assert sorted(names) == sorted([name, "back.img", "in.img"])


@pytest.fixture
def driver() -> Iterator[SimulatedWindows]:
    """A simulated Windows with VHDMP, whatever this runs on."""
    with SimulatedWindows(7) as simulation:
        simulation.files["in.img"] = bytes(4 * MIB) + b"\x01" * MIB + bytes(3 * MIB)
        yield simulation


@pytest.mark.parametrize(
    ("target", "disk_type", "made"),
    [
        ("out.vhd", None, "fixed"),
        ("out.vhd", VirtualDiskType.FIXED, "fixed"),
        ("out.vhd", VirtualDiskType.DYNAMIC, "dynamic"),
        ("out.vhdx", None, "dynamic"),
        ("out.vhdx", VirtualDiskType.DYNAMIC, "dynamic"),
        ("out.vhdx", VirtualDiskType.FIXED, "fixed"),
    ],
)
def test_a_copy_makes_each_type_of_disk_and_dynamic_ones_stay_small(
    driver: SimulatedWindows, target: str, disk_type: VirtualDiskType | None, made: str
) -> None:
    result = copy_image("in.img", target, disk_type=disk_type, verify=True)
    assert result.target_type == made
    assert (result.bytes_zero, result.bytes_same) == (7 * MIB, 0)
    with VirtualDisk.open(target, info_only=True) as disk:
        info = disk.info
    assert info.disk_type is not None
    assert (info.disk_type.value, info.virtual_size) == (made, 8 * MIB)
    assert (info.physical_size < 2 * MIB) == (made == "dynamic")
    copy_image(target, "back.img")
    assert driver.files["back.img"] == driver.files["in.img"]
    assert compare_images("in.img", target).identical


@pytest.mark.parametrize("source", ["base.vhd", "base.vhdx"])
def test_a_differencing_source_is_copied_with_what_its_parents_hold(
    driver: SimulatedWindows, source: str
) -> None:
    copy_image("in.img", source, disk_type=VirtualDiskType.DYNAMIC)
    child = "child" + source[4:]
    VirtualDisk.create_differencing(child, source).close()
    with open_disk(child) as disk:
        disk.write(0, b"\x02" * 512).result()
    result = copy_image(child, "out.img", verify=True)
    assert result.target_type == "raw"
    assert driver.files["out.img"] == b"\x02" * 512 + driver.files["in.img"][512:]


@pytest.mark.parametrize(("queue_depth", "io_size"), [(1, 256 << 10), (4, 64 << 10), (32, 1 << 20)])
@pytest.mark.parametrize("target", ["out.vhdx", "out.avhdx"])
def test_a_copy_with_a_parent_holds_only_what_differs(
    driver: SimulatedWindows, target: str, queue_depth: int, io_size: int
) -> None:
    copy_image("in.img", "base.vhdx")
    content = bytearray(driver.files["in.img"])
    content[0:512] = b"\x02" * 512
    content[4 * MIB : 5 * MIB] = bytes(MIB)  # zeros where the parent has none
    driver.files["in.img"] = bytes(content)
    copy = partial(copy_image, queue_depth=queue_depth, io_size=io_size)
    result = copy("in.img", target, parent="base.vhdx", verify=True)
    assert result.target_type == "differencing"
    assert result.bytes_zero == 0
    assert result.bytes_same == 8 * MIB - BLOCK - MIB
    with VirtualDisk.open(target, info_only=True) as disk:
        assert disk.info.parent_path == "C:\\base.vhdx"
    assert compare_images("in.img", target).identical


def test_a_parent_of_another_size_or_of_none_is_refused(driver: SimulatedWindows) -> None:
    VirtualDisk.create_dynamic("base.vhdx", 16 * MIB).close()
    with pytest.raises(InvalidInputError, match="8388608 bytes, not 16777216") as caught:
        copy_image("in.img", "out.avhdx", parent="base.vhdx")
    assert caught.value.filename == "base.vhdx"
    with pytest.raises(FileNotFoundError) as missing:
        copy_image("in.img", "out.avhdx", parent="none.vhdx")
    assert missing.value.filename == "none.vhdx"
    with pytest.raises(InvalidInputError, match=r"must be a \.vhd, \.avhd, "):
        copy_image("in.img", "out.img", parent="base.vhdx")
    with pytest.raises(InvalidInputError, match="same file"):
        copy_image("in.img", "base.vhdx", parent="base.vhdx", force=True)
    assert sorted(driver.files) == ["C:\\base.vhdx", "C:\\in.img"]


@pytest.mark.parametrize(
    ("target", "disk_type", "complaint"),
    [
        ("out.img", VirtualDiskType.FIXED, "a raw image cannot be fixed"),
        ("out.img", VirtualDiskType.DYNAMIC, "a raw image cannot be dynamic"),
        ("out.vhdx", VirtualDiskType.DIFFERENCING, "must have a parent"),
    ],
)
def test_a_type_that_a_name_cannot_have_is_refused(
    driver: SimulatedWindows, target: str, disk_type: VirtualDiskType, complaint: str
) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        copy_image("in.img", target, disk_type=disk_type)
    assert list(driver.files) == ["C:\\in.img"]


def test_ctrl_c_while_a_fixed_vhdx_is_allocated_leaves_nothing() -> None:
    phases = set()
    for seed in range(12):
        with SimulatedWindows(seed) as simulation:
            simulation.files["in.img"] = b"\x01" * 4 * MIB

            def interrupt(phase: str, done: int, total: int) -> None:
                phases.add(phase)
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                copy_image("in.img", "out.vhdx", disk_type=VirtualDiskType.FIXED, report=interrupt)
            assert list(simulation.files) == ["C:\\in.img"]
    assert "allocating" in phases


@pytest.mark.usefixtures("vhdmp")
def test_zeros_take_no_room_in_a_new_vhdx(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    (tmp_path / "in.img").write_bytes(bytes(20 * MIB) + b"\x01" * MIB + bytes(11 * MIB))
    result = copy_image(tmp_path / "in.img", tmp_path / "out.vhdx", io_size=MIB)
    assert result.bytes_zero == 31 * MIB
    if machine is not None:  # over a real volume it is simulated with all of its zeros
        with VirtualDisk.open(tmp_path / "out.vhdx", info_only=True) as disk:
            assert disk.info.physical_size < 2 * MIB


@pytest.mark.usefixtures("vhdmp")
def test_a_vhdx_keeps_the_sector_size_of_its_source(tmp_path: FilePath) -> None:
    VirtualDisk.create_dynamic(tmp_path / "in.vhdx", 4 * MIB, sector_size=4096).close()
    copy_image(tmp_path / "in.vhdx", tmp_path / "out.vhdx")
    with open_disk(tmp_path / "out.vhdx", read_only=True) as disk:
        assert (disk.sector_size, disk.size) == (4096, 4 * MIB)


@pytest.mark.usefixtures("vhdmp")
@pytest.mark.parametrize("size", [512, 3 * MIB - 512])
def test_what_is_too_small_for_a_vhdx_is_said_at_once(tmp_path: FilePath, size: int) -> None:
    make_image(tmp_path / "in.img", size)
    with pytest.raises(InvalidInputError, match="at least 3145728 bytes") as caught:
        copy_image(tmp_path / "in.img", tmp_path / "out.vhdx")
    assert caught.value.filename == str(tmp_path / "out.vhdx")
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


@pytest.mark.usefixtures("vhdmp")
def test_a_vhdx_replaces_another_only_when_it_is_complete(
    source: FilePath, tmp_path: FilePath
) -> None:
    target, left_behind = tmp_path / "out.vhdx", tmp_path / "out.pyvhdmp-partial.vhdx"
    target.write_bytes(b"old")
    left_behind.write_bytes(b"of a copy that was killed")
    with pytest.raises(FileExistsError):
        copy_image(source, target)
    seen: list[bytes] = []
    copy_image(
        source, target, force=True, verify=True, report=lambda *_: seen.append(target.read_bytes())
    )
    assert set(seen) == {b"old"}
    assert compare_images(source, target).identical
    assert_no_partial(tmp_path)


@pytest.mark.usefixtures("vhdmp")
@pytest.mark.parametrize("target", ["disk.vhdx", "disk.vhd", "disk.img"])
def test_a_file_of_somebody_else_s_is_not_written_over(
    source: FilePath, tmp_path: FilePath, target: str
) -> None:
    others = [tmp_path / name for name in ("disk.partial.vhdx", f"{target}.partial")]
    for path in others:
        path.write_bytes(b"mine")
    copy_image(source, tmp_path / target)
    assert [path.read_bytes() for path in others] == [b"mine", b"mine"]


@pytest.mark.usefixtures("vhdmp")
def test_a_copy_is_not_written_over_its_source(source: FilePath, tmp_path: FilePath) -> None:
    copy_image(source, tmp_path / "disk.pyvhdmp-partial.vhdx")
    with pytest.raises(InvalidInputError, match="written over its source"):
        copy_image(tmp_path / "disk.pyvhdmp-partial.vhdx", tmp_path / "disk.vhdx")
    assert compare_images(source, tmp_path / "disk.pyvhdmp-partial.vhdx").identical


@pytest.mark.usefixtures("vhdmp")
@pytest.mark.parametrize(
    ("function", "calls"),
    [
        ("ReadFile", 1),
        ("ReadFile", 20),
        ("WriteFile", 1),
        ("WriteFile", 20),
        ("MoveFileExW", 1),
    ],
)
def test_a_copy_to_a_vhdx_that_fails_leaves_nothing(
    source: FilePath, tmp_path: FilePath, function: str, calls: int
) -> None:
    with CompletionPort() as outer:
        real = getattr(outer.windows.kernel32, function)
    with (
        substituted(kernel32={function: after(calls, constants.ERROR_CRC, real)}),
        pytest.raises(MediumError),
    ):
        copy_image(source, tmp_path / "out.vhdx", io_size=BLOCK)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


@pytest.mark.usefixtures("vhdmp")
@pytest.mark.parametrize("code", [5, constants.ERROR_PRIVILEGE_NOT_HELD])
def test_a_vhdx_that_must_not_be_attached_is_not_left_behind(
    source: FilePath, tmp_path: FilePath, code: int
) -> None:
    with (
        substituted(virtdisk={"AttachVirtualDisk": lambda *_: code}),
        pytest.raises(OSError, match=r"out\.vhdx") as caught,
    ):
        copy_image(source, tmp_path / "out.vhdx")
    assert windows.winerror(caught.value) == code
    assert caught.value.filename == str(tmp_path / "out.vhdx")
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def after(calls: int, code: int, real: Callable[..., int]) -> Callable[..., int]:
    """Return a function that fails from its `calls`-th call on.

    Of reads and writes, only those of a block count: opening takes others, too.
    """
    count = 0

    def call(*arguments: int) -> int:
        nonlocal count
        is_other = len(arguments) == 5 and arguments[2] != BLOCK
        count += not is_other
        if is_other or count < calls:
            return real(*arguments)
        set_last_error(code)
        return 0

    return call


@pytest.mark.parametrize("function", ["ReadFile", "WriteFile"])
@pytest.mark.parametrize("calls", [1, 5, 20])
@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_copy_that_fails_halfway_leaves_the_target_as_it_was(
    source: FilePath, tmp_path: FilePath, function: str, calls: int, old: bytes | None
) -> None:
    target = tmp_path / "out.img"
    if old is not None:
        target.write_bytes(old)
    with CompletionPort() as outer:
        real = getattr(outer.windows.kernel32, function)
    with (
        substituted(kernel32={function: after(calls, constants.ERROR_CRC, real)}),
        pytest.raises(MediumError),
    ):
        copy_image(source, target, force=True, io_size=BLOCK)
    assert (target.read_bytes() if target.exists() else None) == old
    assert_no_partial(tmp_path)


@pytest.mark.parametrize(
    ("function", "code", "kind"),
    [
        ("WriteFile", constants.ERROR_DISK_FULL, OSError),
        ("SetFileInformationByHandle", constants.ERROR_DISK_FULL, OSError),
        ("MoveFileExW", constants.ERROR_ACCESS_DENIED, PermissionError),
    ],
)
def test_a_full_disk_or_a_failed_rename_leaves_nothing(
    source: FilePath, tmp_path: FilePath, function: str, code: int, kind: type[OSError]
) -> None:
    with CompletionPort() as outer:
        real = getattr(outer.windows.kernel32, function)
    with (
        substituted(kernel32={function: after(1, code, real)}),
        pytest.raises(kind) as caught,
    ):
        copy_image(source, tmp_path / "out.vhd", io_size=BLOCK)
    assert windows.winerror(caught.value) == code
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def test_a_flush_that_fails_is_no_success(source: FilePath, tmp_path: FilePath) -> None:
    with (
        substituted(ntdll={"NtFlushBuffersFileEx": lambda *_: 0xC0000185}),
        pytest.raises(MediumError),
    ):
        copy_image(source, tmp_path / "out.vhd")
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def test_verify_finds_a_byte_that_the_medium_changed(source: FilePath, tmp_path: FilePath) -> None:
    with CompletionPort() as outer:
        real = outer.windows.kernel32
    changed: list[int] = []

    def lying(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        if not changed:
            changed.append(address)
            windows.write_u64(address + 8, windows.read_u64(address + 8, 1)[0] ^ 1)
        return real.WriteFile(file, address, length, null, overlapped)

    source.write_bytes(b"\x11" * MIB)
    with substituted(kernel32={"WriteFile": lying}):
        copy_image(source, tmp_path / "unverified.img")
        changed.clear()
        with pytest.raises(DiskError, match="verification failed: byte 8 "):
            copy_image(source, tmp_path / "out.img", verify=True, queue_depth=1)
    assert not (tmp_path / "out.img").exists()
    assert_no_partial(tmp_path)


def test_a_source_that_shrinks_is_an_error_and_leaves_nothing(
    source: FilePath, tmp_path: FilePath
) -> None:
    with CompletionPort() as outer:
        real = outer.windows.kernel32
    count = 0

    def shrunk(file: int, address: int, length: int, null: int, overlapped: int) -> int:
        nonlocal count
        count += length == BLOCK
        if count > 8:
            windows.write_u32(overlapped + 20, 1)  # OffsetHigh: behind what is left of it
        return real.ReadFile(file, address, length, null, overlapped)

    with (
        substituted(kernel32={"ReadFile": shrunk}),
        pytest.raises(ShortTransferError, match="read 0 of"),
    ):
        copy_image(source, tmp_path / "out.vhd", io_size=BLOCK)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def test_a_target_that_somebody_else_is_making_is_named(
    source: FilePath, tmp_path: FilePath
) -> None:
    partial, target = tmp_path / "out.vhd.pyvhdmp-partial", tmp_path / "out.vhd"
    partial.write_bytes(bytes(MIB))
    with open_disk(partial, backend="raw"), pytest.raises(OSError, match="error 32") as raised:
        copy_image(source, target)
    assert raised.value.filename == str(target)
    assert any(str(partial) in note for note in raised.value.__notes__)
    copy_image(source, target)


def test_ctrl_c_in_the_middle_cancels_and_leaves_nothing(tmp_path: FilePath) -> None:
    source = tmp_path / "in.img"
    source.write_bytes(b"\x01" * (64 * MIB))
    target = tmp_path / "out.vhd"
    target.write_bytes(b"old")

    def interrupt(phase: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_image(source, target, force=True, queue_depth=1, io_size=4096, report=interrupt)
    assert target.read_bytes() == b"old"
    assert_no_partial(tmp_path)
    assert threading.active_count() < 8


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_copy_whatever_fails(seed: int) -> None:
    def copy() -> list[str]:
        with SimulatedWindows(seed, faults=Faults.of_every_kind(0.02)) as simulation:
            simulation.files["in.img"] = random.Random(seed).randbytes(2 * MIB)
            with suppress(OSError, DiskError):
                copy_image("in.img", "out.vhd", queue_depth=4, io_size=BLOCK)
            return list(simulation.trace)

    assert copy() == copy()


def test_progress_ends_with_everything_done(source: FilePath, tmp_path: FilePath) -> None:
    reports: list[tuple[str, int, int]] = []
    copy_image(source, tmp_path / "out.img", verify=True, report=lambda *r: reports.append(r))
    size = len(source.read_bytes())
    phases = list(dict.fromkeys(phase for phase, _, _ in reports))
    assert phases == ["copying", "verifying"]
    assert ("copying", size, size) in reports
    assert reports[-1] == ("verifying", size, size)


# -- Comparing ------------------------------------------------------------------


def test_equal_disks_of_two_kinds_are_identical(source: FilePath, tmp_path: FilePath) -> None:
    copy_image(source, tmp_path / "out.vhd")
    assert compare_images(source, tmp_path / "out.vhd").identical
    assert compare_images(source, source).identical


@pytest.mark.parametrize("places", [[0], [511], [4 * MIB + 7, 6 * MIB], [8 * MIB + 511]])
def test_the_first_difference_is_found(
    source: FilePath, tmp_path: FilePath, places: list[int]
) -> None:
    other = tmp_path / "other.img"
    content = bytearray(source.read_bytes())
    for place in places:
        content[place] ^= 0xFF
    other.write_bytes(content)
    found = compare_images(source, other)
    assert found == Comparison(len(content), len(content), min(places))
    assert not found.identical
    assert compare_images(source, other, queue_depth=2, io_size=4096) == found


@pytest.mark.parametrize("more", [512, MIB])
def test_disks_of_two_sizes_differ(source: FilePath, tmp_path: FilePath, more: int) -> None:
    size = len(source.read_bytes())
    (tmp_path / "long.img").write_bytes(source.read_bytes() + bytes(more))
    found = compare_images(source, tmp_path / "long.img")
    assert (found.first_size, found.second_size) == (size, size + more)
    assert (found.first_difference, found.identical) == (None, False)


@pytest.mark.parametrize(
    "options",
    [
        {"queue_depth": 0},
        {"queue_depth": 1025},
        {"io_size": 0},
        {"io_size": -4096},
        {"io_size": 1000},
        {"io_size": (64 * MIB) + 4096},
    ],
)
def test_requests_that_cannot_be_are_refused_before_anything_is_done(
    source: FilePath, tmp_path: FilePath, options: dict[str, int]
) -> None:
    (name,), requests = options, {"queue_depth": 4, "io_size": 4096} | options
    depth, size = requests.values()
    with pytest.raises(InvalidInputError, match=f"{name} must be "):
        copy_image(source, tmp_path / "out.img", queue_depth=depth, io_size=size)
    with pytest.raises(InvalidInputError, match=f"{name} must be "):
        compare_images(source, source, queue_depth=depth, io_size=size)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]
