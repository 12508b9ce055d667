"""VhdmpDisk and the choice of a backend, over a virtdisk.dll that is played."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial

import pytest

from pyvhdmp import (
    CompletionPort,
    FixedVhdDisk,
    IllegalBlockError,
    InvalidInputError,
    PageBuffer,
    ReadOnlyError,
    ScsiError,
    UnmapBehavior,
    VhdmpDisk,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.testing import substituted
from tests.support import windows
from tests.support.interrupts import every_moment
from tests.support.pages import pages_apart
from tests.support.scsi import FIXED_SENSE, Answer, Target, pages, ranges_of
from tests.support.vhdmp import DISK_ID, Driver

pytestmark = pytest.mark.skipif(PAGE_SIZE != 4096, reason="the driver that is played has 4K pages")

SECONDS = 20
MIB = 1 << 20


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    with driver.installed():
        yield driver


@pytest.fixture
def port(driver: Driver) -> Iterator[CompletionPort]:
    with CompletionPort() as port:
        yield port
        assert port.strays == 0
    assert driver.handles == set()  # nothing leaks, in any test that uses a port


# -- Opening --------------------------------------------------------------------


def test_open_opens_attaches_and_wraps(driver: Driver, port: CompletionPort) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        assert (disk.disk_type, disk.path, disk.disk_id) == ("vhdmp", "a.vhdx", DISK_ID)
        assert (disk.sector_size, disk.physical_sector_size) == (512, 4096)
        assert (disk.size, disk.sector_count) == (8 * MIB, 8 * MIB // 512)
        assert disk.unmap_behavior is UnmapBehavior.IGNORED
        assert disk.port is port
        assert not disk.is_read_only
        assert repr(disk) == f"<VhdmpDisk 'a.vhdx', {8 * MIB} bytes>"
    assert driver.names()[:2] == ["OpenVirtualDisk", "AttachVirtualDisk"]
    assert driver.of("OpenVirtualDisk").flags == 0
    assert driver.of("AttachVirtualDisk").flags == 8
    assert "DetachVirtualDisk" not in driver.names()


def test_options_reach_the_driver(driver: Driver, port: CompletionPort) -> None:
    with VhdmpDisk.open("a.vhdx", read_only=True, cached_io=True, port=port) as disk:
        assert disk.is_read_only
        with pytest.raises(ReadOnlyError):
            disk.write(0, bytes(512))
        disk.sync_cache().result(SECONDS)
    call = driver.of("OpenVirtualDisk")
    assert call.open is not None
    assert (call.flags, call.open.Version2.ReadOnly) == (8, 1)
    assert driver.of("AttachVirtualDisk").flags == 9


def test_pages_that_lie_apart_go_to_the_scatter_call_where_there_is_one(
    driver: Driver, port: CompletionPort
) -> None:
    apart, contiguous = pages_apart(2), PageBuffer(8192)
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        disk.read_vectored(apart, 0).result(SECONDS)
        assert b"".join(apart) == b"\xaa" * 8192
        disk.read_vectored([contiguous], 0).result(SECONDS)
        assert contiguous[:] == b"\x55" * 8192
        assert disk.read(1, 1).result(SECONDS) == b"\x55" * 512


@pytest.mark.parametrize("code", [1, 50, 87])
def test_pages_go_to_plain_calls_where_there_is_none(
    driver: Driver, port: CompletionPort, code: int
) -> None:
    driver.fails["ReadFileScatter"] = code
    apart = pages_apart(2)
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        disk.read_vectored(apart, 0).result(SECONDS)
        assert b"".join(apart) == b"\x55" * 8192


def test_sectors_of_4096_bytes(driver: Driver, port: CompletionPort) -> None:
    driver.sector_size = 4096
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        assert (disk.sector_size, disk.sector_count) == (4096, 8 * MIB // 4096)
        assert len(disk.read(1, 1).result(SECONDS)) == 4096
        with pytest.raises(InvalidInputError, match="sectors of 4096"):
            disk.read_vectored([bytearray(512)], 0)


def test_unmap_is_checked_and_does_nothing_where_the_disk_takes_no_unmap(
    driver: Driver, port: CompletionPort
) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        disk.unmap(0, disk.sector_count).result(SECONDS)
        with pytest.raises(IllegalBlockError):
            disk.unmap(0, disk.sector_count + 1)


@pytest.fixture
def target(driver: Driver) -> Iterator[Target]:
    target = Target()
    target.answers = taking_unmap()
    with substituted(virtdisk={"RawSCSIVirtualDisk": target.send}):
        yield target


def taking_unmap(status: int = 0, sense: bytes = b"") -> Callable[[bytes], Answer]:
    """Return a target that takes UNMAP of 100 sectors at a time, and answers it so."""
    inquiry = pages(limits=(100, 2))
    return lambda cdb: (status, sense, b"") if cdb[0] == 0x42 else inquiry(cdb)


def unmapped(target: Target) -> list[tuple[int, int]]:
    return [found for cdb, data, *_ in target.seen if cdb[0] == 0x42 for found in ranges_of(data)]


def test_unmap_sends_scsi_commands_within_the_limits_that_the_disk_names(
    target: Target,
) -> None:
    with CompletionPort() as port, VhdmpDisk.open("a.vhdx", port=port) as disk:
        assert disk.unmap_behavior is UnmapBehavior.UNSPECIFIED
        asked = len(target.seen)
        assert disk.unmap(7, 250).result(SECONDS) is None
        assert unmapped(target) == [(7, 100), (107, 100), (207, 50)]
        disk.unmap(0, 1).result(SECONDS)
        disk.unmap(0, 0).result(SECONDS)
        assert len(target.seen) == asked + 4  # its pages were asked for once
        with pytest.raises(IllegalBlockError):
            disk.unmap(0, disk.sector_count + 1)
    assert len(target.seen) == asked + 4


def test_a_disk_that_refuses_to_unmap_says_why(target: Target) -> None:
    target.answers = taking_unmap(2, FIXED_SENSE)
    with CompletionPort() as port, VhdmpDisk.open("a.vhdx", port=port) as disk:
        with pytest.raises(ScsiError, match="21h/01h"):
            disk.unmap(0, 300).result(SECONDS)
        assert len(unmapped(target)) == 1  # the rest is not sent


def test_an_unmap_can_be_cancelled_between_two_commands(target: Target) -> None:
    asked, go_on = threading.Event(), threading.Event()
    answers = target.answers

    def slow(cdb: bytes) -> Answer:
        if cdb[0] == 0x42:
            asked.set()
            assert go_on.wait(SECONDS)
        return answers(cdb)

    target.answers = slow
    with CompletionPort() as port, VhdmpDisk.open("a.vhdx", port=port) as disk:
        future = disk.unmap(0, 300)
        assert asked.wait(SECONDS)
        closer = threading.Thread(target=disk.close)
        closer.start()
        assert future.cancel() is False
        closer.join(0.1)
        assert closer.is_alive()  # the handle stays open while the command is under way
        go_on.set()
        with pytest.raises(CancelledError):
            future.result(SECONDS)
        closer.join()
    assert len(unmapped(target)) == 1


def test_ctrl_c_at_any_moment_of_a_take_over_closes_the_handle_once(
    driver: Driver, port: CompletionPort
) -> None:
    before, opened = set(driver.handles), list[VhdmpDisk]()
    for ctrl_c in every_moment("pyvhdmp.disk.vhdmp", "pyvhdmp.overlapped"):
        disk = VhdmpDisk.attach("a.vhdx", read_only=False)
        taking = map(partial(VhdmpDisk.take_over, read_only=False, port=port), [disk])
        with ctrl_c:
            opened.extend(taking)
        for taken in opened:
            taken.close()
        if ctrl_c.number:  # else it came before there was anything to catch it
            assert driver.handles == before, ctrl_c
        disk.close()
    assert opened
    assert ctrl_c.number > 20


def test_ctrl_c_before_an_unmap_is_begun_leaves_nothing_that_close_waits_for(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(function: Callable[[], object]) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with CompletionPort() as port:
        disk = VhdmpDisk.open("a.vhdx", port=port)
        monkeypatch.setattr(port, "call_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            disk.unmap(0, 300)
        closer = threading.Thread(target=disk.close, daemon=True)
        closer.start()
        closer.join(SECONDS)
        assert not closer.is_alive()
    assert unmapped(target) == []


def test_ctrl_c_when_an_unmap_has_begun_keeps_the_handle_until_it_is_over(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    answers = target.answers

    def slow(cdb: bytes) -> Answer:
        if cdb[0] == 0x42:
            asked.set()
            assert go_on.wait(SECONDS)
        return answers(cdb)

    target.answers = slow
    with CompletionPort() as port:
        disk = VhdmpDisk.open("a.vhdx", port=port)
        real = port.call_soon

        def interrupted(function: Callable[[], object]) -> None:
            monkeypatch.undo()
            real(function)
            assert asked.wait(SECONDS)
            raise KeyboardInterrupt

        monkeypatch.setattr(port, "call_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            disk.unmap(0, 300)
        closer = threading.Thread(target=disk.close)
        closer.start()
        closer.join(0.1)
        try:
            assert closer.is_alive()
        finally:
            go_on.set()
            closer.join()
    assert len(unmapped(target)) == 1  # the rest is not sent


def test_what_unmap_does_is_not_asked_of_a_closed_disk(target: Target) -> None:
    with CompletionPort() as port:
        disk = VhdmpDisk.open("a.vhdx", port=port)
        disk.close()
        with pytest.raises(ValueError, match="closed"):
            print(disk.unmap_behavior)
        with pytest.raises(ValueError, match="closed"):
            disk.unmap(0, 1)
    assert target.seen == []


@pytest.mark.parametrize(
    "function",
    [
        "OpenVirtualDisk",
        "AttachVirtualDisk",
        "CreateIoCompletionPort",
        *[f"GetVirtualDiskInformation {what}" for what in (1, 6, 7, 10, 14)],
    ],
)
@pytest.mark.parametrize("backend", ["auto", "vhdmp"])
def test_nothing_leaks_whichever_step_fails(
    driver: Driver, port: CompletionPort, function: str, backend: str
) -> None:
    driver.fails[function] = constants.ERROR_SHARING_VIOLATION
    with pytest.raises(PermissionError) as caught:
        open_disk("a.vhdx", backend=backend, port=port)  # type: ignore[call-overload]  # a str here
    assert windows.winerror(caught.value) == constants.ERROR_SHARING_VIOLATION
    assert len(driver.handles) == 1  # the port's


def test_a_handle_that_is_not_overlapped_is_closed_again(
    driver: Driver, port: CompletionPort
) -> None:
    driver.synchronous = True
    with pytest.raises(InvalidInputError, match="FILE_FLAG_OVERLAPPED"):
        VhdmpDisk.open("a.vhdx", port=port)
    assert len(driver.handles) == 1


# -- Resizing -------------------------------------------------------------------


def test_the_size_is_the_one_it_has_now(driver: Driver, port: CompletionPort) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        driver.size = 16 * MIB
        disk.read(15 * MIB // 512, 1).result(SECONDS)  # a range is checked against it too
        driver.size = 4 * MIB
        assert (disk.size, disk.sector_count) == (4 * MIB, 4 * MIB // 512)
        with pytest.raises(IllegalBlockError):
            disk.read(5 * MIB // 512, 1)
    driver.size = 32 * MIB
    assert disk.size == 4 * MIB  # a closed disk asks nobody


def test_a_range_inside_the_disk_asks_for_nothing(driver: Driver, port: CompletionPort) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        before = len(driver.calls)
        disk.read(0, 8).result(SECONDS)
        repr(disk)
        assert len(driver.calls) == before


def test_wait_resize_ends_when_the_size_has_changed(driver: Driver, port: CompletionPort) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        count = disk.sector_count
        waits = [disk.wait_resize(count) for _ in range(3)]
        threads = [thread.name for thread in threading.enumerate()]
        assert threads.count("pyvhdmp-resize") == 1
        assert not any(wait.done() for wait in waits)
        driver.size = 16 * MIB
        assert [wait.result(SECONDS) for wait in waits] == [2 * count] * 3
        assert disk.wait_resize(count).result(0) == 2 * count
        again = disk.wait_resize(2 * count)  # the thread may have ended, and begins again
        driver.size = 8 * MIB
        assert again.result(SECONDS) == count
    windows.wait_until(no_watch)


def no_watch() -> bool:
    return "pyvhdmp-resize" not in [thread.name for thread in threading.enumerate()]


def test_wait_resize_ends_with_a_cancel_or_a_close(driver: Driver, port: CompletionPort) -> None:
    disk = VhdmpDisk.open("a.vhdx", port=port)
    first, second = (disk.wait_resize(disk.sector_count) for _ in range(2))
    assert first.cancel() is False
    with pytest.raises(CancelledError):
        first.result(SECONDS)
    assert not second.done()
    disk.close()
    assert second.cancelled()
    windows.wait_until(no_watch)
    with pytest.raises(ValueError, match="closed"):
        disk.wait_resize(disk.sector_count)


def test_wait_resize_fails_when_the_disk_cannot_be_asked(
    driver: Driver, port: CompletionPort
) -> None:
    with VhdmpDisk.open("a.vhdx", port=port) as disk:
        wait = disk.wait_resize(disk.sector_count)
        driver.fails["GetVirtualDiskInformation 1"] = constants.ERROR_IO_DEVICE
        with pytest.raises(OSError, match="vhdx"):
            wait.result(SECONDS)
        with pytest.raises(OSError, match="vhdx"):
            print(disk.size)
        repr(disk)


def test_closing_waits_for_a_question_that_is_being_asked(
    driver: Driver, port: CompletionPort
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def wait_for_the_close() -> None:
        asked.set()
        assert answer.wait(SECONDS)

    disk = VhdmpDisk.open("a.vhdx", port=port)
    driver.on_ask = wait_for_the_close  # after it, the handle is seen to be open
    asking = threading.Thread(target=lambda: disk.size)
    asking.start()
    assert asked.wait(SECONDS)
    closing = threading.Thread(target=disk.close)
    closing.start()
    windows.wait_until(lambda: disk.closed)
    assert len(driver.handles) == 2
    answer.set()
    asking.join(SECONDS)
    closing.join(SECONDS)
    assert len(driver.handles) == 1


# -- Which backend ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.vhd", "A.VHD", "a.avhd", "a.vhdx", "a.avhdx", "a.vhds"])
def test_auto_opens_virtual_disks_through_the_driver(
    driver: Driver, port: CompletionPort, name: str
) -> None:
    with open_disk(name, port=port) as disk:
        assert type(disk) is VhdmpDisk


def test_auto_takes_everything_else_for_a_plain_file(driver: Driver, port: CompletionPort) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_disk("a.img", port=port)
    assert "CreateFileW" in caught.value.__notes__[0]
    assert driver.calls == []


def test_vhdmp_can_be_asked_for_whatever_the_name(driver: Driver, port: CompletionPort) -> None:
    with open_disk("a.bin", backend="vhdmp", port=port) as disk:
        assert disk.disk_type == "vhdmp"
    assert driver.of("OpenVirtualDisk").device == 0


FALLS_BACK = [("OpenVirtualDisk", code) for code in (1, 5, 50, 87, 120, 1314, 0xC03A0014)] + [
    ("AttachVirtualDisk", code) for code in (5, 1314)
]


@pytest.fixture
def opened_directly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []

    def open_directly(path: str, **_: object) -> None:
        opened.append(path)

    monkeypatch.setattr(FixedVhdDisk, "open", open_directly)
    return opened


@pytest.mark.parametrize(("function", "code"), FALLS_BACK)
def test_a_vhd_is_opened_directly_without_driver_or_rights(
    driver: Driver,
    port: CompletionPort,
    opened_directly: list[str],
    function: str,
    code: int,
) -> None:
    driver.fails[function] = code
    open_disk("a.vhd", port=port)
    assert opened_directly == ["a.vhd"]
    assert len(driver.handles) == 1


@pytest.mark.parametrize("code", [2, 32, 665, 1117, 0xC03A001A])
def test_a_vhd_is_not_opened_directly_when_the_driver_has_another_reason(
    driver: Driver, port: CompletionPort, opened_directly: list[str], code: int
) -> None:
    driver.fails["OpenVirtualDisk"] = code
    with pytest.raises(OSError, match=r"a\.vhd") as caught:
        open_disk("a.vhd", port=port)
    assert windows.winerror(caught.value) == code
    assert opened_directly == []


def test_only_opening_and_attaching_decide(
    driver: Driver, port: CompletionPort, opened_directly: list[str]
) -> None:
    driver.fails["GetVirtualDiskInformation 1"] = constants.ERROR_INVALID_PARAMETER
    with pytest.raises(OSError, match=r"a\.vhd"):
        open_disk("a.vhd", port=port)
    assert opened_directly == []


@pytest.mark.parametrize("code", [1314, 5])
@pytest.mark.parametrize("name", ["a.vhdx", "a.avhd", "a.avhdx", "a.vhds"])
def test_what_the_rights_are_missing_for_is_refused_as_windows_does(
    driver: Driver, port: CompletionPort, name: str, code: int
) -> None:
    driver.fails["AttachVirtualDisk"] = code
    with pytest.raises(OSError, match=name) as caught:
        open_disk(name, port=port)
    assert windows.winerror(caught.value) == code
    assert "run as administrator" in caught.value.__notes__[1]
    assert f"a .{name[2:]} needs Windows' VHDMP driver" in caught.value.__notes__[2]


@pytest.mark.parametrize("code", [1, 50, 87, 120, 0xC03A0014])
def test_what_the_driver_is_missing_for_is_refused_with_its_error(
    driver: Driver, port: CompletionPort, code: int
) -> None:
    driver.fails["OpenVirtualDisk"] = code
    with pytest.raises(InvalidInputError) as caught:
        open_disk("a.vhdx", port=port)
    shown = f"0x{code:X}" if code > 0xFFFF else code
    assert "a .vhdx needs Windows' VHDMP driver, which does not work here: " in str(caught.value)
    assert f"(Windows error {shown})" in str(caught.value)
    assert windows.winerror(caught.value.__cause__) == code
    assert caught.value.filename == "a.vhdx"
    notes = getattr(caught.value, "__notes__", [])
    assert any("as Wine does" in note for note in notes) == (code in (87, 120))


def test_a_missing_file_is_missing_even_where_the_driver_does_not_look(
    driver: Driver, port: CompletionPort
) -> None:
    driver.files = {"folder.vhdx": constants.FILE_ATTRIBUTE_DIRECTORY}
    driver.fails["OpenVirtualDisk"] = constants.ERROR_INVALID_PARAMETER
    for name in ("a.vhdx", "a.vhd"):
        with pytest.raises(FileNotFoundError) as caught:
            open_disk(name, port=port)
        assert caught.value.filename == name
    with pytest.raises(IsADirectoryError):
        open_disk("folder.vhdx", port=port)


def test_backend_vhdmp_never_falls_back(
    driver: Driver, port: CompletionPort, opened_directly: list[str]
) -> None:
    driver.fails["OpenVirtualDisk"] = constants.ERROR_CALL_NOT_IMPLEMENTED
    with pytest.raises(OSError, match=r"a\.vhd") as caught:
        open_disk("a.vhd", backend="vhdmp", port=port)
    assert windows.winerror(caught.value) == constants.ERROR_CALL_NOT_IMPLEMENTED
    assert opened_directly == []
