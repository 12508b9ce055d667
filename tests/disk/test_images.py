"""Images in plain files: what opens, what is refused and why, and what is made."""

from __future__ import annotations

import re
import struct
import uuid
from contextlib import AbstractContextManager
from functools import partial

import pytest

from pyvhdmp import (
    CompletionPort,
    DiskError,
    FixedVhdDisk,
    InvalidInputError,
    RawDisk,
    make_fixed_vhd,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp.disk import NewImage
from pyvhdmp.testing import SimulatedWindows, set_last_error, substituted
from pyvhdmp.vhd import MAX_SIZE, Footer
from tests.support import windows
from tests.support.files import FilePath, make_folders
from tests.support.interrupts import every_moment

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 30
SIZE = 1 << 20


def refusing_driver(
    code: int = constants.ERROR_CALL_NOT_IMPLEMENTED,
) -> AbstractContextManager[None]:
    """Have OpenVirtualDisk fail, as it does where there is no VHDMP."""
    return substituted(virtdisk={"OpenVirtualDisk": lambda *_: code})


def test_make_fixed_vhd_makes_zeros_and_a_footer(tmp_path: FilePath) -> None:
    path = tmp_path / "new.vhd"
    disk_id = make_fixed_vhd(path, SIZE)
    raw = path.read_bytes()
    assert raw[:SIZE] == bytes(SIZE)
    footer = Footer.parse(raw[SIZE:], file_size=len(raw))
    assert (footer.size, footer.disk_id) == (SIZE, disk_id)
    with open_disk(path, backend="fixed-vhd") as disk:
        assert isinstance(disk, FixedVhdDisk)
        assert disk.disk_id == disk_id


def test_make_fixed_vhd_gives_each_disk_its_own_identity(tmp_path: FilePath) -> None:
    first = make_fixed_vhd(tmp_path / "a.vhd", 512)
    assert first != make_fixed_vhd(tmp_path / "b.vhd", 512)
    assert isinstance(first, uuid.UUID)


@pytest.mark.parametrize("scatter", [True, False])
def test_ctrl_c_at_any_moment_of_an_open_leaves_the_file_closed(
    tmp_path: FilePath, *, scatter: bool
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    refused = {} if scatter else {"ReadFileScatter": refusing}
    with substituted(kernel32=refused), CompletionPort() as port:
        RawDisk.open(path, port=port).close()
        before, opened = windows.handle_count(), list[RawDisk]()
        for ctrl_c in every_moment("pyvhdmp.disk.images", "pyvhdmp.files", "pyvhdmp.overlapped"):
            opening = map(partial(RawDisk.open, port=port), [path])
            with ctrl_c:
                opened.extend(opening)
            for disk in opened:
                disk.close()
            assert windows.handle_count() <= before, ctrl_c
        assert opened
        assert ctrl_c.number > 50


def refusing(*_: int) -> int:
    set_last_error(constants.ERROR_INVALID_PARAMETER)
    return 0


def test_make_fixed_vhd_never_overwrites(tmp_path: FilePath) -> None:
    path = tmp_path / "precious.vhd"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        make_fixed_vhd(path, SIZE)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("size", [0, -512, 1000, MAX_SIZE + 512])
def test_make_fixed_vhd_refuses_a_size_and_leaves_no_file(tmp_path: FilePath, size: int) -> None:
    path = tmp_path / "new.vhd"
    with pytest.raises(InvalidInputError, match=r"the size of a fixed VHD must be ") as caught:
        make_fixed_vhd(path, size)
    assert caught.value.filename == str(path)
    assert ("at least 512, not " in str(caught.value)) == (size < MAX_SIZE)
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["new.vhdx", "new.AVHDX", "new.avhd", "new.vhds", "new.iso", "new.img", "new", "newvhd"]
)
def test_make_fixed_vhd_refuses_a_name_that_open_disk_would_take_for_something_else(
    tmp_path: FilePath, name: str
) -> None:
    path = tmp_path / name
    with pytest.raises(InvalidInputError, match=r"must end in \.vhd"):
        make_fixed_vhd(path, SIZE)
    assert not path.exists()
    make_fixed_vhd(tmp_path / "new.VHD", SIZE)
    with refusing_driver(), open_disk(tmp_path / "new.VHD") as disk:
        assert disk.size == SIZE


def test_make_fixed_vhd_leaves_no_file_when_it_fails(tmp_path: FilePath) -> None:
    def full(*_: int) -> int:
        set_last_error(constants.ERROR_DISK_FULL)
        return 0

    path = tmp_path / "new.vhd"
    for function in ("SetFileInformationByHandle", "WriteFile"):
        with substituted(kernel32={function: full}), pytest.raises(OSError) as caught:  # noqa: PT011
            make_fixed_vhd(path, SIZE)
        assert windows.winerror(caught.value) == constants.ERROR_DISK_FULL
        assert not path.exists()


def test_the_footer_of_a_new_image_is_its_last_byte_to_be_written(tmp_path: FilePath) -> None:
    path = tmp_path / "new.vhd"
    image = NewImage(str(path), SIZE, FixedVhdDisk)
    image.disk.write(0, b"\x11" * 512).result(SECONDS)
    assert not any(path.read_bytes()[SIZE:])
    image.seal()
    image.disk.close()
    assert path.read_bytes()[SIZE : SIZE + 8] == b"conectix"
    assert path.read_bytes()[:512] == b"\x11" * 512


def test_the_footer_is_no_part_of_the_disk(tmp_path: FilePath) -> None:
    path = tmp_path / "new.vhd"
    make_fixed_vhd(path, SIZE)
    with open_disk(path) as disk:
        assert disk.size == SIZE
        disk.write(0, b"\xff" * SIZE).result(SECONDS)
    with open_disk(path) as disk:  # the footer is whole
        assert disk.read(SIZE // 512 - 1, 1).result(SECONDS) == b"\xff" * 512


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (bytes(100), "100 bytes are no whole number of sectors of 512"),
        (bytes(513), "513 bytes are no whole number of sectors of 512"),
    ],
)
def test_a_file_that_is_no_raw_image_is_refused(
    tmp_path: FilePath, content: bytes, reason: str
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=reason) as caught:
        open_disk(path)
    assert caught.value.filename == str(path)
    path.unlink()  # it is not held open


def vhd_with(offset: int, form: str, value: object) -> bytes:
    raw = bytearray(Footer(SIZE).pack())
    struct.pack_into(form, raw, offset, value)
    struct.pack_into(">I", raw, 64, 0)
    struct.pack_into(">I", raw, 64, ~sum(raw) & 0xFFFFFFFF)
    return bytes(SIZE) + bytes(raw)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "shorter than a footer"),
        (bytes(100), "shorter than a footer"),
        (bytes(1000), "truncated"),
        (bytes(4096), "do not begin with 'conectix'"),
        (bytes(SIZE) + Footer(SIZE).pack()[:-2] + b"xx", "damaged VHD footer"),
        (bytes(SIZE) + Footer(SIZE).pack()[:-1], "truncated"),
        (bytes(SIZE - 512) + Footer(SIZE).pack(), "truncated VHD: its footer says"),
        (bytes(SIZE + 512) + Footer(SIZE).pack(), "damaged VHD: its footer says"),
        (vhd_with(12, ">I", 0x00030001), r"unknown VHD version 3\.1"),
        (vhd_with(60, ">I", 3), "a dynamic VHD needs Windows' VHDMP driver"),
        (vhd_with(60, ">I", 4), "a differencing VHD needs Windows' VHDMP driver"),
    ],
)
def test_a_file_that_is_no_fixed_vhd_is_refused(
    tmp_path: FilePath, content: bytes, reason: str
) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=reason) as caught:
        open_disk(path, backend="fixed-vhd")
    assert caught.value.filename == str(path)
    path.unlink()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("disk.vhd", FixedVhdDisk), ("DISK.VHD", FixedVhdDisk), ("disk.img", RawDisk), ("d", RawDisk)],
)
def test_auto_goes_by_the_name(tmp_path: FilePath, name: str, kind: type) -> None:
    path = tmp_path / name
    if kind is FixedVhdDisk:
        make_fixed_vhd(path, SIZE)
    else:
        path.write_bytes(bytes(SIZE))
    with refusing_driver(), open_disk(path) as disk:
        assert type(disk) is kind


FIXED_VHD = bytes(4096) + Footer(4096).pack()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"vhdxfile".ljust(4096), r"a VHDX, and has to have a name that ends in \.vhdx"),
        (FIXED_VHD, r"a fixed VHD, and has to have a name that ends in \.vhd$"),
        (FIXED_VHD[-512:] + FIXED_VHD, r"a dynamic or differencing VHD, and has to have a name"),
        (b"QFI\xfb".ljust(512), "a qcow2 image, which nothing here reads"),
        (b"QED\0".ljust(4096), "a QED image, which"),
        (b"KDMV".ljust(4096), "a VMDK, which"),
        (b"COWD".ljust(4096), "a VMDK, which"),
        (b"# Disk DescriptorFile\nversion=1".ljust(512), "the description of a VMDK, which"),
        ((b"<<< ".ljust(64) + b"\x7f\x10\xda\xbe").ljust(4096), "a VDI, which"),
    ],
)
def test_auto_takes_no_other_format_for_a_raw_image_unless_it_is_told_to(
    tmp_path: FilePath, content: bytes, said: str
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="no raw image: this is ") as caught:
        open_disk(path, read_only=True)
    assert caught.value.filename == str(path)
    assert re.search(said, str(caught.value.strerror))
    assert "backend='raw'" in caught.value.__notes__[0]
    with open_disk(path, read_only=True, backend="raw") as disk:
        assert disk.read(0, len(content) // 512).result(SECONDS) == content
    path.unlink()  # nothing has it open


@pytest.mark.parametrize("machine", ["simulated"], indirect=True)
def test_a_raw_image_whose_ends_cannot_be_read_is_opened_all_the_same(
    tmp_path: FilePath, machine: SimulatedWindows
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"QFI\xfb".ljust(4096))
    machine.fail_next("ReadFile", constants.ERROR_CRC, after=1, calls=2)  # the first is a probe
    with open_disk(path, read_only=True) as disk:
        assert disk.size == 4096


@pytest.mark.parametrize(("disk_type", "kind"), [(3, "dynamic"), (4, "differencing")])
@pytest.mark.parametrize("code", [constants.ERROR_CALL_NOT_IMPLEMENTED, 1314])
def test_a_vhd_that_is_not_fixed_is_refused_with_the_drivers_own_error(
    tmp_path: FilePath, disk_type: int, kind: str, code: int
) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(vhd_with(60, ">I", disk_type))
    with refusing_driver(code), pytest.raises(OSError, match="disk") as caught:
        open_disk(path)
    error = caught.value
    assert error.filename == str(path)
    if code == 1314:
        assert windows.winerror(error) == code
        assert f"a {kind} VHD needs Windows' VHDMP driver" in error.__notes__[-1]
    else:
        assert f"a {kind} VHD needs Windows' VHDMP driver, which does not work here" in str(error)
        assert windows.winerror(error.__cause__) == code


def test_a_backend_can_be_chosen(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.bin"
    path.write_bytes(bytes(SIZE) + Footer(SIZE).pack())
    with open_disk(path, backend="fixed-vhd") as disk:
        assert disk.size == SIZE
    with open_disk(path, backend="raw") as disk:
        assert disk.size == SIZE + 512


@pytest.mark.parametrize("name", ["disk.vhdx", "disk.avhdx", "disk.vhds", "DISK.VHDX"])
def test_what_only_the_driver_reads_is_refused_saying_so(tmp_path: FilePath, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with (
        refusing_driver(),
        pytest.raises(InvalidInputError, match="needs Windows' VHDMP driver") as caught,
    ):
        open_disk(path)
    assert caught.value.filename == str(path)
    path.unlink()
    with refusing_driver(), pytest.raises(FileNotFoundError):
        open_disk(path)


def test_an_unknown_backend_is_named(tmp_path: FilePath) -> None:
    with pytest.raises(InvalidInputError, match="not 'qcow2'"):
        open_disk(tmp_path / "disk.img", backend="qcow2")  # type: ignore[call-overload]  # that is the test


def test_missing_files_folders_and_wrong_paths(tmp_path: FilePath) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_disk(tmp_path / "missing.img")
    assert caught.value.filename == str(tmp_path / "missing.img")
    with pytest.raises(IsADirectoryError):
        open_disk(tmp_path)
    with pytest.raises(InvalidInputError, match="is no path"):
        open_disk("a\0b")
    with pytest.raises(InvalidInputError, match="is no path"):
        open_disk("")
    with pytest.raises(TypeError, match="not bytes"):
        open_disk(b"disk.img")  # type: ignore[call-overload]  # that is the test


def test_a_file_that_is_written_elsewhere_is_refused_with_a_hint(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(512))
    with open_disk(path), pytest.raises(PermissionError) as caught:
        open_disk(path)
    assert windows.winerror(caught.value) == constants.ERROR_SHARING_VIOLATION
    assert any("open elsewhere" in note for note in caught.value.__notes__)


def test_many_can_read_one_file(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(512))
    with open_disk(path, read_only=True) as first, open_disk(path, read_only=True) as second:
        assert first.read(0, 1).result(SECONDS) == second.read(0, 1).result(SECONDS)


def test_a_path_of_more_than_260_characters_works(tmp_path: FilePath) -> None:
    folder = tmp_path
    while len(str(folder)) < 300:
        folder = folder / ("x" * 50)
    make_folders(folder)
    path = folder / "disk.vhd"
    make_fixed_vhd(path, SIZE)
    with open_disk(path) as disk:
        disk.write(0, b"\x01" * 512, fua=True).result(SECONDS)


@pytest.mark.windows  # a simulated one has no processes that could inherit anything
@pytest.mark.parametrize("machine", ["real"], indirect=True)
def test_handles_are_not_inheritable(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(512))
    with open_disk(path) as disk:
        assert not windows.is_inheritable(disk._file.handle)


def test_a_volume_of_larger_sectors_is_served_buffered(tmp_path: FilePath) -> None:
    """Unbuffered reads of 512 bytes fail on a volume of 4096-byte sectors, as played here."""
    path = tmp_path / "disk.vhd"
    make_fixed_vhd(path, SIZE)
    unbuffered: set[int] = set()
    with CompletionPort() as outer:
        real = outer.windows.kernel32

    def create(
        name: str, access: int, share: int, security: int, how: int, flags: int, template: int
    ) -> int:
        handle = real.CreateFileW(name, access, share, security, how, flags, template)
        if flags & constants.FILE_FLAG_NO_BUFFERING:
            unbuffered.add(handle)
        else:
            unbuffered.discard(handle)
        return handle

    def read(file: int, buffer: int, length: int, null: int, overlapped: int) -> int:
        if file in unbuffered and length % 4096:
            set_last_error(constants.ERROR_INVALID_PARAMETER)
            return 0
        return real.ReadFile(file, buffer, length, null, overlapped)

    with (
        substituted(kernel32={"CreateFileW": create, "ReadFile": read}),
        open_disk(path, backend="fixed-vhd") as disk,
    ):
        disk.write(3, b"\x33" * 1024).result(SECONDS)
        assert disk.read(3, 2).result(SECONDS) == b"\x33" * 1024


def test_disk_errors_are_os_errors(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"")
    with pytest.raises(OSError, match="empty") as caught:
        open_disk(path)
    assert isinstance(caught.value, DiskError)
    assert isinstance(caught.value, ValueError)
