"""Windows takes a path for the file that it names, or it is refused."""

from __future__ import annotations

import gc
import ntpath
import os
from collections.abc import Callable

import pytest

from pyvhdmp import InvalidInputError, VirtualDisk, files, make_fixed_vhd, open_disk
from pyvhdmp._win32 import constants, current
from pyvhdmp.cli import main
from pyvhdmp.copying import copy_image
from pyvhdmp.testing import SimulatedWindows, set_last_error, substituted
from tests.support.files import FilePath, make_folders
from tests.support.windows import handle_count

SIZE = 1 << 20

DEVICES = [
    "NUL",
    "nul.img",
    "NUL:",
    "Nul .vhd",
    "C:NUL",
    "C:\\disks\\CON",
    "C:/disks/con.vhdx",
    "CONIN$",
    "PRN",
    "aux.vhdx",
    "COM1",
    "com1:x",
    "COM\u00b9.img",
    "LPT9",
    "\\\\.\\PhysicalDrive0",
    "//./PhysicalDrive0",
    "\\\\./PhysicalDrive0",
    "\\\\.\\C:",
    "\\\\.\\C:\\disk.img",
    "\\\\.\\pipe\\x",
    "\\\\.\\pipe\\x.vhdx",
    "\\\\?\\pipe\\x",
    "\\\\?\\PhysicalDrive0",
    "\\\\?\\C:",
    "\\\\?\\Volume{e5d8a8a5-6f3d-11ee-8c99-0242ac120002}",
    "\\\\?\\GLOBALROOT\\Device\\Harddisk0\\Partition0",
    "\\\\?\\GLOBALROOT\\Device\\x.vhd",
    "//?/C:/../GLOBALROOT/Device/x.vhd",
    "\\??\\PhysicalDrive0",
    "\\\\server\\pipe\\x.vhd",
    "//localhost/PIPE/x",
    "\\\\server\\ipc$",
    "\\\\server\\mailslot\\x",
    "\\\\?\\UNC\\server\\pipe\\x",
]
FILES = [
    "null.img",
    "C:\\NUL\\disk.img",
    "COM10",
    "console.vhd",
    "..\\disk.img",
    ".\\disk.img",
    "C:disk.img",
    "C:\\a folder \\disk.img",
    "disk.img:stream",
    "pipe\\x",
    "\\\\server\\share\\pipe",
    "\\\\server\\pipes\\x",
    "\\\\?\\C:\\NUL",
    "\\\\?\\C:\\disk.",
    "\\\\?\\UNC\\server\\share\\disk.img",
    "\\\\?\\Volume{e5d8a8a5-6f3d-11ee-8c99-0242ac120002}\\disk.img",
]
DROPPED = ["a.vhdx.", "a.vhd ", "a.img. .", "C:\\disks.\\a.vhd", "C:/x../a.vhd", "a.vhdx...", " "]

USES: dict[str, Callable[[str], object]] = {
    "open_disk": open_disk,
    "fixed-vhd": lambda path: open_disk(path, backend="fixed-vhd"),
    "vhdmp": lambda path: open_disk(path, backend="vhdmp"),
    "make_fixed_vhd": lambda path: make_fixed_vhd(path, SIZE),
    "VirtualDisk.open": VirtualDisk.open,
    "VirtualDisk.create_dynamic": lambda path: VirtualDisk.create_dynamic(path, 8 * SIZE),
    "copy_image from": lambda path: copy_image(path, "target.img"),
    "copy_image to": lambda path: copy_image("source.img", path),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", DEVICES)
@pytest.mark.usefixtures("machine")
def test_a_device_is_refused_before_windows_is_asked(path: str, use: str) -> None:
    asked: list[str] = []

    def create(name: str, *_: int) -> int:
        asked.append(name)
        return constants.INVALID_HANDLE_VALUE

    def open_virtual(kind: int, name: str, *_: int) -> int:
        asked.append(name)
        return 2

    with (
        substituted(kernel32={"CreateFileW": create}, virtdisk={"OpenVirtualDisk": open_virtual}),
        pytest.raises(InvalidInputError, match="this is a device, and not a file") as caught,
    ):
        USES[use](path)
    assert caught.value.filename == path
    assert asked == []


@pytest.mark.usefixtures("machine")
def test_the_refusal_says_how_a_device_is_opened_all_the_same() -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_disk("\\\\.\\PhysicalDrive3")
    assert caught.value.__notes__ == ["open_disk(path, backend='raw') takes it as it is."]


@pytest.mark.usefixtures("machine")
def test_a_device_that_is_asked_for_is_opened_by_its_own_name() -> None:
    asked: list[str] = []

    def create(name: str, *_: int) -> int:
        asked.append(name)
        set_last_error(constants.ERROR_ACCESS_DENIED)
        return constants.INVALID_HANDLE_VALUE

    with (
        substituted(kernel32={"CreateFileW": create}),
        pytest.raises(OSError, match="PhysicalDrive3") as caught,
    ):
        open_disk("\\\\.\\PhysicalDrive3", backend="raw")
    assert asked == ["\\\\.\\PhysicalDrive3"]
    assert caught.value.filename == "\\\\.\\PhysicalDrive3"
    assert not isinstance(caught.value, InvalidInputError)


@pytest.mark.usefixtures("machine")
def test_a_device_that_is_no_disk_is_an_error_and_leaves_nothing_open() -> None:
    with pytest.raises(OSError, match="NUL"):
        open_disk("NUL", backend="raw")
    gc.collect()  # what earlier tests have left may have handles
    before = handle_count()
    with pytest.raises(OSError, match="NUL"):
        open_disk("NUL", backend="raw")
    assert handle_count() <= before


@pytest.mark.parametrize("path", FILES)
def test_what_looks_like_a_device_and_is_a_file_is_taken(path: str) -> None:
    assert files.checked_path(path) == path


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", DROPPED)
@pytest.mark.usefixtures("machine")
def test_a_name_that_windows_would_change_is_refused(path: str, use: str) -> None:
    with pytest.raises(InvalidInputError, match="Windows drops dots and spaces") as caught:
        USES[use](path)
    assert caught.value.filename == path


def test_dots_at_the_end_would_have_had_another_disk_opened(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    (tmp_path / "secret.img").write_bytes(b"\x01" * SIZE)
    with pytest.raises(InvalidInputError):
        open_disk(f"{tmp_path}\\secret.img.")
    if machine is None:  # where the extended form means it, and there is none
        with pytest.raises(FileNotFoundError):
            open_disk(f"\\\\?\\{tmp_path}\\secret.img.")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", ["a\0.img", "\0", "a.vhdx\0.img", ""])
@pytest.mark.usefixtures("machine")
def test_an_embedded_nul_is_refused(path: str, use: str) -> None:
    with pytest.raises(InvalidInputError, match="is no path"):
        USES[use](path)


@pytest.mark.parametrize("command", ["info", "compare", "copy"])
@pytest.mark.parametrize("path", ["NUL", "\\\\.\\PhysicalDrive0", "\\\\.\\pipe\\x", "a.vhdx."])
@pytest.mark.usefixtures("machine")
def test_commands_refuse_them_in_one_line(
    capsys: pytest.CaptureFixture[str], path: str, command: str
) -> None:
    paths = [path] if command == "info" else [path, "other.img"]
    assert main([command, *paths]) == (2 if command == "compare" else 1)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"pyvhdmp: {path}: ")
    assert errors.count("\n") == 1


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("length", [200, 247, 248, 259, 260, 261, 300, 1000])
def test_a_path_of_any_length_works(tmp_path: FilePath, length: int) -> None:
    folder = tmp_path
    while len(str(folder)) < length - 120:
        folder = folder / ("f" * 100)
    make_folders(folder)
    path = f"{folder}\\".ljust(length - 4, "x") + ".vhd"
    assert len(path) == length or length < len(str(tmp_path)) + 12
    make_fixed_vhd(path, SIZE)
    with open_disk(path) as disk:
        assert disk.size == SIZE
    with pytest.raises(FileExistsError) as caught:
        make_fixed_vhd(path, SIZE)
    assert caught.value.filename == path
    copy_image(path, path[:-4] + "y.img")
    with open_disk(path[:-4] + "y.img", read_only=True) as disk:
        assert disk.path == path[:-4] + "y.img"


@pytest.mark.windows
def test_a_short_name_in_a_deep_folder_works(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.path.join(tmp_path, "f" * (200 - len(str(tmp_path))))
    os.mkdir(folder)
    monkeypatch.chdir(folder)
    name = "x" * 100 + ".vhd"
    assert len(ntpath.abspath(name)) > 260
    make_fixed_vhd(name, SIZE)
    with open_disk(name) as disk:
        assert disk.path == name
    monkeypatch.undo()


def test_the_extended_form_is_made_from_what_is_long_in_full() -> None:
    with SimulatedWindows() as windows:
        relative = "x" * 246
        assert files.extended(current(), relative) == "\\\\?\\C:\\" + relative
        slashes = "//?/C:/" + "x" * 300
        assert not files.extended(current(), slashes).startswith("\\\\?\\UNC")
        unc = "\\\\server\\share\\" + "x" * 300
        assert files.extended(current(), unc) == "\\\\?\\UNC" + unc[1:]
        assert windows.files.keys() == set()
