"""Paths, as Windows reads them."""

from __future__ import annotations

import ntpath
import os
from functools import partial
from pathlib import Path

import pytest

from pyvhdmp import files
from pyvhdmp._win32 import constants, current
from pyvhdmp.testing import set_last_error, substituted
from tests.support import windows
from tests.support.files import FilePath
from tests.support.interrupts import every_moment
from tests.support.vhdmp import Driver


@pytest.mark.parametrize(
    ("path", "full"),
    [
        ("a.vhd", "C:\\disks\\a.vhd"),
        ("..\\a.vhd", "C:\\a.vhd"),
        ("d:/x/./a.vhd", "d:\\x\\a.vhd"),
        ("x" * 2100, "C:\\disks\\" + "x" * 2100),
        ("x" * 30000, "C:\\disks\\" + "x" * 30000),
    ],
)
def test_full_path_is_what_windows_makes_of_a_path_of_any_length(path: str, full: str) -> None:
    with Driver().installed():
        assert files.full_path(current(), path) == full


@pytest.mark.parametrize("length", range(2030, 2052))
def test_full_path_has_room_around_the_size_of_its_first_try(length: int) -> None:
    with Driver().installed():
        assert len(files.full_path(current(), "C:\\" + "x" * (length - 3))) == length


def test_extended_changes_long_paths_only() -> None:
    long = "x" * 300
    with Driver().installed():
        assert files.extended(current(), "a.vhd") == "a.vhd"
        assert files.extended(current(), long) == "\\\\?\\C:\\disks\\" + long
        assert files.extended(current(), "//host/share/" + long) == (
            "\\\\?\\UNC\\host\\share\\" + long
        )
        assert files.extended(current(), "\\\\?\\C:\\" + long) == "\\\\?\\C:\\" + long


def test_a_path_that_windows_cannot_read() -> None:
    def fail(*_: int) -> int:
        set_last_error(123)
        return 0

    with (
        substituted(kernel32={"GetFullPathNameW": fail}),
        pytest.raises(OSError, match="bad") as caught,
    ):
        files.full_path(current(), "bad")
    assert windows.winerror(caught.value) == 123


@pytest.mark.usefixtures("machine")
def test_ctrl_c_at_any_moment_of_an_open_leaves_neither_a_handle_nor_a_new_file(
    tmp_path: FilePath,
) -> None:
    path, before, handles = tmp_path / "new", windows.handle_count(), list[int]()
    for ctrl_c in every_moment("pyvhdmp.files"):
        opening = map(
            partial(files.open_file, writable=True, disposition=constants.CREATE_NEW),
            [current()],
            [str(path)],
        )
        with ctrl_c:
            handles.extend(opening)
        for handle in handles:
            windows.close_handle(handle)
        assert windows.handle_count() <= before, ctrl_c
        assert path.exists() == bool(handles)
    assert handles
    assert ctrl_c.number > 5


@pytest.mark.windows
@pytest.mark.parametrize("path", ["a.vhd", "..\\x/a.vhd", "C:\\a\\..\\b", "x" * 3000])
def test_full_path_of_windows_itself(path: str) -> None:
    assert files.full_path(current(), path) == ntpath.normpath(ntpath.join(os.getcwd(), path))


@pytest.mark.windows
def test_check_exists_knows_files_folders_and_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    with pytest.raises(FileNotFoundError) as caught:
        files.check_exists(current(), str(path))
    assert caught.value.filename == str(path)
    path.write_bytes(b"")
    files.check_exists(current(), str(path))
    with pytest.raises(IsADirectoryError):
        files.check_exists(current(), str(tmp_path))
