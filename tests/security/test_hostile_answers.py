"""What virtdisk.dll tells comes out of the file, and that may have been made to do harm."""

from __future__ import annotations

import ctypes
import itertools
import tracemalloc
import uuid
from collections.abc import Callable

import pytest

from pyvhdmp import ChangedRange, CompletionPort, DiskError, VirtualDisk, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32 import virtdisk_structures as v
from pyvhdmp.testing import memory, substituted
from tests.support.vhdmp import Driver

KEY = uuid.UUID(int=7)
QUESTION = enums.GET_VIRTUAL_DISK_INFO_VERSION
MIB = 1 << 20


def put(address: int, value: int) -> None:
    v.ULONG_CELL.from_address(address).Value = value


def given(address: int) -> int:
    return v.ULONG_CELL.from_address(address).Value


def told_by(question: int, texts_at: int, raw: bytes) -> Callable[[int, int, int, int], int]:
    """Return a GetVirtualDiskInformation that fills all the room there is with a text."""

    def ask(disk: int, size: int, info: int, used: int) -> int:
        assert v.GET_VIRTUAL_DISK_INFO.from_address(info).Version == question
        room = given(size)
        text = (raw * (room // len(raw) + 1))[: room - texts_at]
        memory.write(info, (b"\0" * texts_at + text))
        return 0

    return ask


@pytest.mark.parametrize("wanted", [1, 4097, 1 << 31, 0xFFFFFFFF, None])
@pytest.mark.parametrize(
    ("function", "ask"),
    [
        ("GetVirtualDiskPhysicalPath", lambda disk: disk.physical_path),
        ("GetVirtualDiskInformation", lambda disk: disk.parent),
        ("GetVirtualDiskInformation", lambda disk: disk.change_tracking),
        ("GetVirtualDiskMetadata", lambda disk: disk.metadata[KEY]),
        ("EnumerateVirtualDiskMetadata", lambda disk: list(disk.metadata)),
        ("GetAllAttachedVirtualDiskPhysicalPaths", lambda disk: disk.attached_disks()),
    ],
)
@pytest.mark.usefixtures("driver")
def test_an_answer_that_never_fits_is_an_error_and_takes_no_more_than_some_memory(
    function: str, ask: Callable[[VirtualDisk], object], wanted: int | None
) -> None:
    sizes: list[int] = []
    place = {"GetAllAttachedVirtualDiskPhysicalPaths": 0, "GetVirtualDiskMetadata": 2}

    def never(*arguments: int) -> int:
        size = arguments[place.get(function, 1)]
        sizes.append(given(size))
        put(size, min(given(size) + 1, 0xFFFFFFFF) if wanted is None else wanted)
        return constants.ERROR_INSUFFICIENT_BUFFER

    with (
        substituted(virtdisk={function: never}),
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(OSError, match=r".") as caught,
    ):
        ask(disk)
    assert "\n" not in str(caught.value)
    assert len(sizes) <= 16
    assert max(sizes) <= 16 * MIB


@pytest.mark.parametrize("raw", [b"a\0", b"\0\xd8", b"a\0\0\0", b"\x1b\0[\0002\0J\0"])
@pytest.mark.usefixtures("driver")
def test_texts_without_an_end_are_read_to_the_end_of_the_memory(raw: bytes) -> None:
    ask = told_by(QUESTION.PARENT_LOCATION, v.PARENT_LOCATION_AT, raw)
    with substituted(virtdisk={"GetVirtualDiskInformation": ask}):
        disk = VirtualDisk.open("a.vhdx")
        with disk, pytest.raises(FileNotFoundError) as caught:
            print(disk.parent)
    first = raw.decode("utf-16-le", "surrogatepass").rstrip("\0")
    assert str(caught.value.filename).startswith(first)
    assert caught.value.__notes__


@pytest.mark.parametrize("wanted", [4097, 8191, 8195])
@pytest.mark.usefixtures("driver")
def test_a_text_in_an_odd_number_of_bytes_is_read(wanted: int) -> None:
    ask = told_by(QUESTION.CHANGE_TRACKING_STATE, v.MOST_RECENT_ID_AT, b"\0\xd8a\0")

    def odd(disk: int, size: int, info: int, used: int) -> int:
        if given(size) < wanted:
            put(size, wanted)
            return constants.ERROR_INSUFFICIENT_BUFFER
        return ask(disk, size, info, used)

    with (
        substituted(virtdisk={"GetVirtualDiskInformation": odd}),
        VirtualDisk.open("a.vhdx") as disk,
    ):
        assert disk.change_tracking.most_recent_id.startswith("\ud800a")


def test_a_hundred_thousand_places_for_the_parent_are_read_in_one_go(driver: Driver) -> None:
    driver.parents, driver.parent_found = ["a"] * 200_000, False  # took hours, one by one
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(FileNotFoundError) as caught:
        print(disk.parent)
    assert caught.value.__notes__[-1].count("a, ") == 199_999


@pytest.mark.parametrize("length", [4097, 1 << 31, 0xFFFFFFFF])
@pytest.mark.usefixtures("driver")
def test_an_item_that_is_longer_than_the_memory_it_is_in_is_an_error(length: int) -> None:
    def answer(disk: int, item: int, size: int, data: int) -> int:
        put(size, length)
        return 0

    with (
        substituted(virtdisk={"GetVirtualDiskMetadata": answer}),
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(DiskError, match="GetVirtualDiskMetadata answers what cannot be") as caught,
    ):
        print(disk.metadata[KEY])
    assert caught.value.filename == "a.vhdx"


@pytest.mark.parametrize("count", [257, 1 << 28, 0xFFFFFFFF])
@pytest.mark.usefixtures("driver")
def test_more_items_than_there_is_room_for_are_an_error(count: int) -> None:
    def answer(disk: int, number: int, items: int) -> int:
        put(number, count)
        return 0

    with (
        substituted(virtdisk={"EnumerateVirtualDiskMetadata": answer}),
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(DiskError, match="EnumerateVirtualDiskMetadata answers what cannot be"),
    ):
        len(disk.metadata)


@pytest.mark.parametrize("count", [100_000, 0xFFFFFFFF])
def test_more_dependencies_than_there_is_room_for_are_an_error(driver: Driver, count: int) -> None:
    def answer(handle: int, flags: int, size: int, info: int, used: int) -> int:
        v.STORAGE_DEPENDENCY_INFO.from_address(info).NumberEntries = count
        return 0

    with (
        substituted(
            kernel32={"CreateFileW": lambda *_: driver.new_handle()},
            virtdisk={"GetStorageDependencyInformation": answer},
        ),
        pytest.raises(DiskError, match="GetStorageDependencyInformation answers what cannot be"),
    ):
        VirtualDisk.dependencies("C:\\a.vhdx")


@pytest.mark.parametrize(
    ("count", "offset", "length"),
    [
        (0xFFFFFFFF, 0, 512),
        (100_000, 0, 512),
        (1, 8 * MIB, 512),
        (1, 8 * MIB - 512, 1024),
        (1, 0, (1 << 64) - 1),
        (1, (1 << 64) - 512, 1024),
    ],
)
@pytest.mark.usefixtures("driver")
def test_a_changed_range_that_is_not_on_the_disk_is_an_error(
    count: int, offset: int, length: int
) -> None:
    def answer(*arguments: int) -> int:
        ranges, number, processed = arguments[5:]
        told = v.QUERY_CHANGES_VIRTUAL_DISK_RANGE(ByteOffset=offset, ByteLength=length)
        memory.write(ranges, bytes(told))
        put(number, count)
        v.ULONG64_CELL.from_address(processed).Value = 8 * MIB
        return 0

    with (
        substituted(virtdisk={"QueryChangesVirtualDisk": answer}),
        VirtualDisk.open("a.vhdx") as disk,
        pytest.raises(DiskError, match="QueryChangesVirtualDisk answers what cannot be"),
    ):
        list(disk.changes("id"))


@pytest.mark.usefixtures("driver")
def test_changes_that_go_on_past_the_end_of_the_number_stop() -> None:
    def answer(*arguments: int) -> int:
        ranges, number, processed = arguments[5:]
        memory.write(ranges, bytes(v.QUERY_CHANGES_VIRTUAL_DISK_RANGE(ByteLength=512)))
        put(number, 1)
        v.ULONG64_CELL.from_address(processed).Value = (1 << 64) - 1
        return 0

    with (
        substituted(virtdisk={"QueryChangesVirtualDisk": answer}),
        VirtualDisk.open("a.vhdx") as disk,
    ):
        assert list(disk.changes("id")) == [ChangedRange(0, 512)]


@pytest.mark.parametrize("sector_size", [0, 1, 511, 513, 1 << 17, 0xFFFFFFFF])
def test_a_sector_size_that_no_disk_has_is_an_error(driver: Driver, sector_size: int) -> None:
    driver.sector_size = sector_size
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(DiskError, match="what cannot be"):
        print(disk.info)
    with pytest.raises(DiskError, match="what cannot be"):
        open_disk("a.vhdx")


@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1])
def test_a_size_that_no_disk_has_is_an_error(driver: Driver, size: int) -> None:
    driver.size = size
    with pytest.raises(DiskError, match="what cannot be"):
        open_disk("a.vhdx")


def test_a_size_that_grows_with_each_question_ends_in_an_error(driver: Driver) -> None:
    def grow() -> None:
        driver.size <<= 1

    with CompletionPort() as port, open_disk("a.vhdx", port=port) as disk:
        driver.on_ask = grow
        before = disk.size
        assert disk.size > before
        sizes = iter(lambda: disk.size, None)
        with pytest.raises(DiskError, match="what cannot be"):
            list(itertools.islice(sizes, 100))
        driver.on_ask = lambda: None
        driver.size = before


@pytest.mark.parametrize("parent", ["a.vhdx", "C:\\disks\\A.VHDX", ".\\x\\..\\a.vhdx"])
def test_a_chain_that_leads_back_to_itself_is_an_error(driver: Driver, parent: str) -> None:
    driver.subtype, driver.parents = enums.PROVIDER_SUBTYPE_DIFFERENCING, [parent]
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(DiskError, match="has no end") as caught:
        print(disk.chain)
    assert caught.value.filename == "a.vhdx"


def test_a_chain_of_ever_new_names_is_an_error(driver: Driver) -> None:
    driver.subtype, driver.parents = enums.PROVIDER_SUBTYPE_DIFFERENCING, ["0.vhdx"]
    number = 0

    def other() -> None:
        nonlocal number
        number += 1
        driver.parents = [f"{number}.vhdx"]

    driver.on_ask = other
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(DiskError, match="after 1000 disks"):
        print(disk.chain)


@pytest.mark.parametrize("parent", ["\\\\.\\PhysicalDrive0", "\\\\?\\GLOBALROOT\\x", "NUL"])
def test_a_parent_that_is_a_device_is_not_opened(driver: Driver, parent: str) -> None:
    driver.subtype, driver.parents = enums.PROVIDER_SUBTYPE_DIFFERENCING, [parent]
    with VirtualDisk.open("a.vhdx") as disk, pytest.raises(DiskError, match="a device"):
        print(disk.chain)
    assert len([call for call in driver.calls if call.function == "OpenVirtualDisk"]) == 1


@pytest.mark.parametrize("status", [0, 2, 255])
@pytest.mark.parametrize("length", [0, 1, 36, 0xFFFFFFFF])
@pytest.mark.usefixtures("driver")
def test_a_scsi_response_has_no_more_than_was_asked_for(status: int, length: int) -> None:
    def answer(disk: int, parameters: int, flags: int, response: int) -> int:
        asked = v.RAW_SCSI_VIRTUAL_DISK_PARAMETERS.from_address(parameters).Version1
        ctypes.memset(asked.DataBuffer, 0xFF, asked.DataTransferLength)
        ctypes.memset(asked.SenseInfo, 0xFF, asked.SenseInfoLength)
        told = v.RAW_SCSI_VIRTUAL_DISK_RESPONSE.from_address(response).Version1
        told.ScsiStatus, told.SenseInfoLength, told.DataTransferLength = status, 255, length
        return 0

    with (
        substituted(virtdisk={"RawSCSIVirtualDisk": answer}),
        VirtualDisk.open("a.vhdx") as disk,
    ):
        response = disk.raw_scsi(b"\x12\0\0\0\x24\0", length=36)
    assert response.data == b"\xff" * min(length, 36)
    assert response.sense == (b"" if status == 0 else b"\xff" * 252)
    assert response.is_good or response.sense_key == 15


@pytest.mark.usefixtures("driver")
def test_as_much_text_as_there_can_be_takes_no_more_than_some_memory() -> None:
    fill = told_by(QUESTION.PARENT_LOCATION, v.PARENT_LOCATION_AT, b"a\0\0\0")

    def grow(disk: int, size: int, info: int, used: int) -> int:
        if given(size) < MIB:
            return constants.ERROR_MORE_DATA
        return fill(disk, size, info, used)

    with (
        substituted(virtdisk={"GetVirtualDiskInformation": grow}),
        VirtualDisk.open("a.vhdx") as disk,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(FileNotFoundError):
                print(disk.parent)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 32 * MIB
