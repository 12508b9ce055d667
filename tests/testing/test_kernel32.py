"""Files by name and by handle: what opens, what is refused, and with which code."""

from __future__ import annotations

import itertools

import pytest

from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import DWORD_STRUCT, LARGE_INTEGER_STRUCT
from pyvhdmp.buffers import PAGE_SIZE, Block
from pyvhdmp.testing import SimulatedWindows
from tests.testing.program import READ, WRITE, Overlapped, Program, reported, segments

SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
SHARE_OF = {READ: SHARE_READ, WRITE: SHARE_WRITE, constants.DELETE: SHARE_DELETE}


@pytest.mark.parametrize(
    ("disposition", "there", "missing"),
    [
        (constants.CREATE_NEW, 80, 0),
        (constants.CREATE_ALWAYS, 0, 0),
        (constants.OPEN_EXISTING, 0, 2),
        (constants.OPEN_ALWAYS, 0, 0),
        (constants.TRUNCATE_EXISTING, 0, 2),
    ],
)
def test_a_disposition_says_what_is_opened_and_what_is_made(
    program: Program, disposition: int, there: int, missing: int
) -> None:
    handle, code = program.create("disk.img", disposition=disposition)
    assert code == there
    truncates = disposition in (constants.CREATE_ALWAYS, constants.TRUNCATE_EXISTING)
    assert len(program.machine.files["disk.img"]) == (0 if truncates else 65536)
    handle, code = program.create("new.img", disposition=disposition)
    assert code == missing
    assert bool(handle) == ("new.img" in program.machine.files)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing.img", constants.ERROR_FILE_NOT_FOUND),
        ("missing\\disk.img", constants.ERROR_PATH_NOT_FOUND),
        ("folder", constants.ERROR_ACCESS_DENIED),
        ("C:\\", constants.ERROR_ACCESS_DENIED),
        ("what?.img", constants.ERROR_INVALID_NAME),
        ("", constants.ERROR_PATH_NOT_FOUND),
        ("locked.img", constants.ERROR_ACCESS_DENIED),
        ("DISK.IMG", 0),
        ("\\\\?\\C:\\disk.img", 0),
        ("folder/../disk.img", 0),
    ],
)
def test_a_name_that_cannot_be_opened_fails_with_windows_code(
    program: Program, name: str, code: int
) -> None:
    program.machine.files.make_folder("folder")
    program.machine.files["locked.img"] = b""
    program.machine.files.set_read_only("locked.img")
    assert program.create(name)[1] == code


def test_a_file_that_is_marked_read_only_can_be_read(program: Program) -> None:
    program.machine.files.set_read_only("disk.img")
    assert program.create("disk.img", READ)[1] == 0


def test_who_neither_reads_nor_writes_nor_deletes_is_in_nobody_s_way(program: Program) -> None:
    for access in (0, READ | WRITE, 0):
        assert program.create("disk.img", access, 0)[1] == 0


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.product([READ, WRITE, READ | WRITE, constants.DELETE], repeat=2)),
)
@pytest.mark.parametrize("first_shares", range(8))
def test_two_can_have_a_file_open_if_each_shares_what_the_other_does(
    program: Program, first: int, second: int, first_shares: int
) -> None:
    program.create("disk.img", first, first_shares)
    for second_shares in range(8):
        wanted = sum(share for right, share in SHARE_OF.items() if right & second)
        given = sum(share for right, share in SHARE_OF.items() if right & first)
        agreed = not wanted & ~first_shares and not given & ~second_shares
        handle, code = program.create("disk.img", second, second_shares)
        assert code == (0 if agreed else constants.ERROR_SHARING_VIOLATION)
        if handle:
            program.close(handle)


def test_a_handle_does_only_what_it_was_opened_for(program: Program) -> None:
    block = Block(PAGE_SIZE)
    reading, writing = program.open("disk.img", READ), 0
    denied = constants.ERROR_ACCESS_DENIED
    assert program.begin("WriteFile", reading, block.address, 512, Overlapped()) == denied
    program.close(reading)
    writing = program.open("disk.img", WRITE)
    assert program.begin("ReadFile", writing, block.address, 512, Overlapped()) == denied


def test_delete_and_what_keeps_from_it(program: Program) -> None:
    delete = program.kernel32.DeleteFileW
    handle = program.open("disk.img")
    assert program.failure(delete("disk.img")) == constants.ERROR_SHARING_VIOLATION
    program.close(handle)
    program.machine.files.set_read_only("disk.img")
    assert program.failure(delete("disk.img")) == constants.ERROR_ACCESS_DENIED
    program.machine.files.set_read_only("disk.img", False)
    assert program.failure(delete("disk.img")) == 0
    assert program.failure(delete("disk.img")) == constants.ERROR_FILE_NOT_FOUND
    assert program.failure(delete("missing\\a")) == constants.ERROR_PATH_NOT_FOUND
    program.machine.files.make_folder("folder")
    assert program.failure(delete("folder")) == constants.ERROR_ACCESS_DENIED


def test_rename_and_what_keeps_from_it(program: Program) -> None:
    files = program.machine.files
    files["other.img"] = b"other"
    files.make_folder("folder")
    replace = constants.MOVEFILE_REPLACE_EXISTING

    def move(existing: str, new: str, flags: int = 0) -> int:
        return program.failure(program.kernel32.MoveFileExW(existing, new, flags))

    assert move("missing", "new") == constants.ERROR_FILE_NOT_FOUND
    assert move("disk.img", "other.img") == constants.ERROR_ALREADY_EXISTS
    assert move("disk.img", "missing\\new") == constants.ERROR_PATH_NOT_FOUND
    assert move("disk.img", "folder", replace) == constants.ERROR_ACCESS_DENIED
    handle = program.open("disk.img")
    assert move("disk.img", "new") == constants.ERROR_SHARING_VIOLATION
    program.close(handle)
    handle = program.open("other.img")
    assert move("disk.img", "other.img", replace) == constants.ERROR_ACCESS_DENIED
    program.close(handle)
    assert move("disk.img", "DISK.img") == 0
    assert move("disk.img", "other.img", replace) == 0
    assert set(files) == {"C:\\other.img"}
    assert len(files["other.img"]) == 65536


def test_attributes_tell_files_from_folders(program: Program) -> None:
    attributes = program.kernel32.GetFileAttributesW
    program.machine.files.make_folder("folder")
    assert attributes("folder") == constants.FILE_ATTRIBUTE_DIRECTORY
    assert not attributes("disk.img") & constants.FILE_ATTRIBUTE_DIRECTORY
    program.machine.files.set_read_only("disk.img")
    assert attributes("disk.img") & constants.FILE_ATTRIBUTE_READONLY
    assert attributes("missing") == constants.INVALID_FILE_ATTRIBUTES
    assert program.windows.get_last_error() == constants.ERROR_FILE_NOT_FOUND


def test_the_end_of_a_file_can_be_asked_for_and_moved(program: Program) -> None:
    handle, block = program.open("disk.img"), Block(PAGE_SIZE)
    for size in (100, 200_000):
        LARGE_INTEGER_STRUCT.pack_into(block.memory, 0, size)
        assert program.kernel32.SetFileInformationByHandle(
            handle, constants.FileEndOfFileInfo, block.address, 8
        )
        assert program.kernel32.GetFileSizeEx(handle, block.address)
        assert LARGE_INTEGER_STRUCT.unpack_from(block.memory) == (size,)
    content = program.machine.files["disk.img"]
    assert content == bytes(range(100)) + bytes(199_900)


def test_the_mode_of_a_handle_is_told(program: Program) -> None:
    block = Block(PAGE_SIZE)
    modes: list[int] = []
    for flags in (constants.FILE_FLAG_OVERLAPPED, 0):
        handle = program.open("disk.img", flags=flags)
        query = program.windows.ntdll.NtQueryInformationFile
        at = block.address + 64
        assert query(handle, block.address, at, 4, constants.FileModeInformation) == 0
        modes += DWORD_STRUCT.unpack_from(block.memory, 64)
        program.close(handle)
    assert modes == [0, constants.FILE_SYNCHRONOUS_IO_NONALERT]


def test_pages_need_an_unbuffered_handle(program: Program) -> None:
    handle = program.open("disk.img", flags=constants.FILE_FLAG_OVERLAPPED)
    array = segments(Block(PAGE_SIZE).address)
    code = program.begin("ReadFileScatter", handle, array.address, PAGE_SIZE, Overlapped())
    assert code == constants.ERROR_INVALID_PARAMETER


def test_a_volume_of_larger_sectors_refuses_smaller_ones() -> None:
    with SimulatedWindows(sector_size=4096) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(65536)
        handle, block = program.open("disk.img"), Block(PAGE_SIZE)
        begin = program.begin
        assert begin("ReadFile", handle, block.address, 512, Overlapped()) == 87
        overlapped = Overlapped(4096)
        assert begin("ReadFile", handle, block.address, 4096, overlapped) in (0, 997)
        windows.run_until_idle()
        assert overlapped.result == (0, 4096)


def test_what_is_no_handle_is_refused(program: Program) -> None:
    for handle in (0, 4, 0x7FFF0):
        assert program.close(handle) == constants.ERROR_INVALID_HANDLE


def test_a_closed_handle_is_refused_and_reported() -> None:
    with reported("CloseHandle on handle 0x100, which is closed") as program:
        handle = program.open("disk.img")
        assert program.close(handle) == 0
        assert program.close(handle) == constants.ERROR_INVALID_HANDLE
        assert program.open("disk.img") != handle


def test_a_handle_that_is_closed_with_io_in_flight_is_reported() -> None:
    with reported("was closed with 1 requests and 0 flushes in flight") as program:
        reader, _ = program.pipe()
        block, overlapped = Block(PAGE_SIZE), Overlapped()
        program.begin("ReadFile", reader, block.address, 1, overlapped)
        program.close(reader)


def test_a_handle_that_is_left_open_is_reported() -> None:
    with reported(r"handle 0x100 C:\\disk.img was left open") as program:
        Program(program.machine).open("disk.img")


def test_a_handle_is_bound_to_one_port_for_good(program: Program) -> None:
    handle, bind = program.open("disk.img"), program.kernel32.CreateIoCompletionPort
    program.port(handle)
    assert program.failure(bind(handle, program.port(), 1, 0)) == 87
    synchronous = program.create("disk.img", 0, flags=0)[0]
    assert program.failure(bind(synchronous, program.port(), 1, 0)) == 87
