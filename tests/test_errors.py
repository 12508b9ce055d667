"""Codes become the exceptions that Python programmers catch."""

from __future__ import annotations

import errno
import pickle

import pytest

import pyvhdmp
from pyvhdmp._win32 import constants
from pyvhdmp.errors import is_success, windows_error
from tests.support import windows


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (constants.ERROR_FILE_NOT_FOUND, FileNotFoundError),
        (constants.ERROR_PATH_NOT_FOUND, FileNotFoundError),
        (constants.ERROR_ACCESS_DENIED, PermissionError),
        (constants.ERROR_SHARING_VIOLATION, PermissionError),
        (constants.ERROR_FILE_EXISTS, FileExistsError),
        (constants.ERROR_ALREADY_EXISTS, FileExistsError),
        (constants.ERROR_BROKEN_PIPE, BrokenPipeError),
        (constants.ERROR_CRC, pyvhdmp.MediumError),
        (constants.ERROR_IO_DEVICE, pyvhdmp.MediumError),
        (constants.ERROR_INVALID_PARAMETER, OSError),
        (constants.ERROR_VHD_PARENT_VHD_NOT_FOUND, FileNotFoundError),
        (constants.ERROR_VHD_PARENT_VHD_ACCESS_DENIED, PermissionError),
    ],
)
def test_a_code_becomes_the_exception_that_it_stands_for(code: int, kind: type[OSError]) -> None:
    error = windows_error(code, "ReadFile", "disk.vhd")
    assert isinstance(error, kind)
    assert windows.winerror(error) == code
    assert error.filename == "disk.vhd"
    assert "ReadFile" in error.__notes__[0]


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (constants.ERROR_DISK_FULL, errno.ENOSPC),
        (constants.ERROR_VHD_PARENT_VHD_NOT_FOUND, errno.ENOENT),
        (constants.ERROR_VHD_PARENT_VHD_ACCESS_DENIED, errno.EACCES),
    ],
)
def test_a_code_has_the_errno_of_what_it_becomes(code: int, number: int) -> None:
    assert windows_error(code, "WriteFile").errno == number


@pytest.mark.parametrize("code", [49999, 0xC03A7777])
def test_the_text_of_an_unknown_code_does_not_repeat_the_code(code: int) -> None:
    text = str(windows_error(code, "ReadFile").strerror)
    assert text
    assert not any(form in text.upper() for form in (str(code), f"{code:X}"))


def test_a_sharing_violation_says_what_to_do() -> None:
    notes = windows_error(constants.ERROR_SHARING_VIOLATION, "CreateFileW").__notes__
    assert any("open elsewhere" in note for note in notes)


@pytest.mark.parametrize("code", [0xC03A001A, 0xC03A0014, 0x80000000, 0xFFFFFFFF])
def test_a_code_above_int_max_stays_as_people_write_it(code: int) -> None:
    error = windows_error(code, "OpenVirtualDisk", "disk.vhdx")
    assert type(error) is OSError
    assert error.errno == errno.EINVAL
    assert windows.winerror(error) == code
    assert error.__notes__[0] == f"OpenVirtualDisk failed with Windows error 0x{code:08X}."
    assert error.strerror
    assert error.filename == "disk.vhdx"
    assert str(error)


@pytest.mark.parametrize(
    ("function", "code", "hint"),
    [
        ("AttachVirtualDisk", 1314, "run as administrator"),
        ("AttachVirtualDisk", 5, "run as administrator"),
        ("OpenVirtualDisk", 87, "parameters were of version 2"),
        ("CreateVirtualDisk", 87, "block size were checked"),
        ("AttachVirtualDisk", 87, "version 1"),
        ("DetachVirtualDisk", 21, "was not attached"),
        ("OpenVirtualDisk", 665, "exFAT"),
        ("OpenVirtualDisk", 32, "or attached, which `pyvhdmp detach PATH` ends"),
        ("GetVirtualDiskPhysicalPath", 21, "attached raw"),
        ("OpenVirtualDisk", 1168, "no snapshot of that id"),
        ("ApplySnapshotVhdSet", 1168, "no snapshot of that id"),
        ("TakeSnapshotVhdSet", 50, "Only a VHD set"),
        ("TakeSnapshotVhdSet", 5, "opened read-only, or only to ask"),
        ("ResizeVirtualDisk", 5, "opened read-only, or only to ask"),
        ("SetVirtualDiskMetadata", 5, "opened read-only, or only to ask"),
        ("SetVirtualDiskMetadata", 50, "Only a VHDX"),
        ("SetVirtualDiskInformation", 50, "of this format"),
        ("OpenVirtualDisk", 0xC03A000D, "parent"),
        ("OpenVirtualDisk", 0xC03A001A, "compressed, encrypted or sparse"),
    ],
)
def test_the_infamous_codes_say_what_to_do(function: str, code: int, hint: str) -> None:
    assert hint in windows_error(code, function).__notes__[1]


@pytest.mark.parametrize(
    ("function", "since"),
    [
        ("MirrorVirtualDisk", "Windows 8"),
        ("TakeSnapshotVhdSet", "Windows 10"),
        ("ForkVirtualDisk", "Windows 10, version 1809"),
    ],
)
def test_a_function_that_this_windows_has_not_is_named_with_its_age(
    function: str, since: str
) -> None:
    error = windows_error(constants.ERROR_CALL_NOT_IMPLEMENTED, function, "disk.vhdx")
    assert error.__notes__ == [
        f"{function} failed with Windows error 120.",
        f"This Windows has no {function}: it came with {since}.",
    ]


def test_a_function_that_every_windows_has_is_one_of_the_driver() -> None:
    error = windows_error(constants.ERROR_CALL_NOT_IMPLEMENTED, "CreateVirtualDisk", "disk.vhdx")
    assert error.__notes__[1].startswith("This Windows has no CreateVirtualDisk, and so no VHDMP")


def test_a_hint_belongs_to_its_function() -> None:
    assert len(windows_error(constants.ERROR_NOT_READY, "ReadFile").__notes__) == 1
    assert len(windows_error(constants.ERROR_ACCESS_DENIED, "CreateFileW").__notes__) == 1
    assert len(windows_error(constants.ERROR_CALL_NOT_IMPLEMENTED, "ReadFile").__notes__) == 1


def test_success_is_never_turned_into_an_exception() -> None:
    with pytest.raises(AssertionError):
        windows_error(constants.ERROR_SUCCESS, "ReadFile")


@pytest.mark.parametrize(
    ("status", "success"),
    [(0, True), (0x103, True), (0x40000000, True), (0x80000005, False), (0xC0000011, False)],
)
def test_a_status_is_a_success_as_a_signed_number(status: int, success: bool) -> None:
    assert is_success(status) is success


@pytest.mark.parametrize(
    "kind",
    [
        pyvhdmp.IllegalBlockError,
        pyvhdmp.InvalidInputError,
        pyvhdmp.MediumError,
        pyvhdmp.ReadOnlyError,
        pyvhdmp.ShortTransferError,
    ],
)
def test_disk_errors_are_os_errors_with_an_errno_and_a_file(
    kind: type[pyvhdmp.DiskError],
) -> None:
    error = kind.because("the reason", "disk.vhd")
    assert isinstance(error, pyvhdmp.DiskError)
    assert isinstance(error, OSError)
    assert error.errno
    assert (error.strerror, error.filename) == ("the reason", "disk.vhd")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.filename) == (kind, error.args, error.filename)


def test_invalid_input_is_a_value_error_too() -> None:
    assert issubclass(pyvhdmp.InvalidInputError, ValueError)
