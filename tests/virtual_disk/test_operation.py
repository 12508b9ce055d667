"""Operations: begun, watched, cancelled, and over when the kernel says so and not before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest

from pyvhdmp import AlreadyDone, Operation, VirtualDisk
from pyvhdmp._win32 import constants
from pyvhdmp.testing import set_last_error, substituted
from pyvhdmp.waiting import wait_interruptibly
from tests.support import windows
from tests.virtual_disk.kernels import Kernel

MIB = 1 << 20


def test_it_is_a_future_that_ends_when_the_kernel_says_so(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        assert isinstance(operation, Operation)
        assert operation.running()
        assert repr(operation) == "<Operation CompactVirtualDisk running, 0/0>"
        kernel.progress = (7, 7)
        kernel.finish()
        assert operation.result() is None
        assert operation.progress() == (7, 7)
        assert repr(operation) == "<Operation CompactVirtualDisk done, 7/7>"


def test_progress_is_what_the_kernel_says_and_not_what_decides(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        seen = []
        for kernel.progress in ((0, 0), (60, 100), (40, 100), (100, 100)):
            seen.append(operation.progress())
            assert not operation.done()
        assert seen == [(0, 0), (60, 100), (40, 100), (100, 100)]
        kernel.progress = (100, 100)
        kernel.finish(constants.ERROR_DISK_FULL)  # at 100 %
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            operation.result()
        assert windows.winerror(caught.value) == constants.ERROR_DISK_FULL
        assert caught.value.__notes__[0].startswith("CompactVirtualDisk failed")


def test_progress_that_cannot_be_had_is_an_error_while_it_runs(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        kernel.progress_fails = constants.ERROR_INVALID_PARAMETER
        with pytest.raises(OSError, match=r".") as caught:
            operation.progress()
        assert caught.value.__notes__[0].startswith("GetVirtualDiskOperationProgress failed")
        kernel.finish(constants.ERROR_DISK_FULL)  # then GetOverlappedResult says so
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            operation.result()
        assert windows.winerror(caught.value) == constants.ERROR_DISK_FULL
        assert operation.progress() == (0, 0)


@pytest.mark.parametrize("code", [0, constants.ERROR_DISK_FULL])
def test_get_overlapped_result_decides_where_progress_is_silent(kernel: Kernel, code: int) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        kernel.progress_fails = constants.ERROR_CALL_NOT_IMPLEMENTED
        kernel.finish(code)
        error = operation.exception()
        assert (windows.winerror(error) if error else 0) == code


def test_an_event_that_somebody_else_sets_ends_nothing(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        kernel.event.set()
        with pytest.raises(TimeoutError):
            operation.result(0.1)
        kernel.status = 0  # and while the OVERLAPPED says that it is pending, it is
        with pytest.raises(TimeoutError):
            operation.result(0.1)
        kernel.finish()
        operation.result()


def test_cancel_asks_the_kernel_and_the_kernel_decides(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        assert operation.cancel() is False
        assert kernel.cancels == [(disk.handle, True)]
        assert not operation.done()
        kernel.finish(constants.ERROR_OPERATION_ABORTED)
        with pytest.raises(CancelledError):
            operation.result()
        assert operation.cancelled()
        assert "cancelled" in repr(operation)
        operation.cancel()  # after the end it asks nobody
        assert len(kernel.cancels) == 1


def test_a_cancel_that_came_too_late_changes_nothing(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        operation.cancel()
        kernel.finish()
        assert operation.result() is None
        assert not operation.cancelled()


def test_an_abort_that_nobody_asked_for_is_an_error(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        kernel.finish(constants.ERROR_OPERATION_ABORTED)
        with pytest.raises(OSError, match=r"a\.vhdx"):
            operation.result()


def test_what_windows_refuses_at_once_is_raised_at_once(kernel: Kernel) -> None:
    kernel.answer = constants.ERROR_NOT_SUPPORTED
    with VirtualDisk.open("a.vhdx") as disk:
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            disk.compact()
        assert windows.winerror(caught.value) == constants.ERROR_NOT_SUPPORTED
        disk.release()
    kernel.driver.handles.clear()


def test_what_is_done_at_once_is_done(kernel: Kernel) -> None:
    kernel.answer = 0
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        assert operation.result() is None
        assert operation.progress() == (0, 0)


def test_the_thread_that_made_the_call_is_there_until_it_is_over(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        begun: list[Operation[None]] = []
        caller = threading.Thread(target=lambda: begun.append(disk.compact()))
        caller.start()
        caller.join()
        thread = kernel.thread
        assert thread is not None
        assert thread is not caller
        assert thread.is_alive()
        kernel.finish()
        begun[0].result()
        thread.join()


def test_without_a_thread_nothing_is_begun(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with VirtualDisk.open("a.vhdx") as disk:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError, match="new thread"):
                disk.compact()
        assert not kernel.has_begun()


def test_without_an_event_nothing_is_begun_and_the_disk_can_be_closed(kernel: Kernel) -> None:
    def no_event(*_: int) -> int:
        set_last_error(constants.ERROR_NO_SYSTEM_RESOURCES)
        return 0

    with substituted(kernel32={"CreateEventW": no_event}):
        disk = VirtualDisk.open("a.vhdx")
        with pytest.raises(OSError, match=r".") as caught:
            disk.compact()
    assert caught.value.__notes__[0].startswith("CreateEventW failed")
    assert not kernel.has_begun()
    close_in_time(disk)


def test_ctrl_c_before_its_thread_is_there_begins_nothing(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        late.append(self)
        raise KeyboardInterrupt

    disk = VirtualDisk.open("a.vhdx")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            disk.compact()
    close_in_time(disk)
    late[0].run()  # the thread is there after all
    assert not kernel.has_begun()


def test_ctrl_c_while_its_thread_starts_cancels_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        real(self)
        windows.wait_until(kernel.has_begun)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    assert len(kernel.cancels) == 1
    assert kernel.deleted == ["C:\\disks\\a.vhdx"]


def close_in_time(disk: VirtualDisk) -> None:
    closer = threading.Thread(target=disk.close, daemon=True)
    closer.start()
    closer.join(30)
    assert not closer.is_alive()


def test_callbacks_run_and_may_close_the_disk(kernel: Kernel) -> None:
    disk = VirtualDisk.open("a.vhdx")
    operation = disk.compact()
    closed = threading.Event()

    def close(_: object) -> None:
        disk.close()
        closed.set()

    operation.add_done_callback(close)
    kernel.finish()
    assert closed.wait(30)


# -- The disk around it -----------------------------------------------------------


def test_close_waits_for_what_is_running(kernel: Kernel) -> None:
    disk = VirtualDisk.open("a.vhdx")
    operation = disk.compact()
    closer = threading.Thread(target=disk.close)
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    assert disk.closed
    with pytest.raises(ValueError, match="closed virtual disk"):
        disk.compact()
    assert kernel.driver.closed == []
    kernel.finish()
    closer.join()
    assert operation.done()
    assert kernel.cancels == []


def test_close_can_cancel_first(kernel: Kernel) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)
    disk = VirtualDisk.open("a.vhdx")
    operation = disk.compact()
    disk.close(cancel=True)
    with pytest.raises(CancelledError):
        operation.result()


def test_close_cancels_a_mirror_that_is_just_beginning(kernel: Kernel) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)
    closers: list[threading.Thread] = []

    def begin(disk: int, flags: int, parameters: int, overlapped: int) -> int:
        closers.append(threading.Thread(target=mirrored.close, daemon=True))
        closers[0].start()
        windows.wait_until(lambda: mirrored.closed)
        return kernel.begin(disk, flags, parameters, overlapped)

    with substituted(virtdisk={"MirrorVirtualDisk": begin}):
        mirrored = VirtualDisk.open("a.vhdx")
        operation = mirrored.mirror("b.vhdx")
    closers[0].join(30)
    assert not closers[0].is_alive()
    assert operation.cancelled()


@pytest.mark.parametrize("code", [0, constants.ERROR_OPERATION_ABORTED])
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_close_waits_cancels_and_closes_all_the_same(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, code: int, presses: int
) -> None:
    def cancelled() -> None:
        if len(kernel.cancels) == presses:
            kernel.finish(code)

    def interrupted(event: threading.Event) -> None:
        if len(kernel.cancels) == presses:
            real(event)
        else:
            raise KeyboardInterrupt

    kernel.on_cancel = cancelled
    disk = VirtualDisk.open("a.vhdx")
    operation = disk.compact()
    real = wait_interruptibly
    monkeypatch.setattr("pyvhdmp.virtual_disk.operation.wait_interruptibly", interrupted)
    with pytest.raises(KeyboardInterrupt):
        disk.close()
    assert len(kernel.cancels) == presses
    assert operation.cancelled() is (code != 0)
    assert kernel.driver.handles == set()


def test_a_handle_that_is_in_use_is_not_released(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.compact()
        with pytest.raises(ValueError, match="CompactVirtualDisk running"):
            disk.release()
        kernel.finish()


# -- asyncio ------------------------------------------------------------------------


def test_it_can_be_awaited(kernel: Kernel) -> None:
    async def main(disk: VirtualDisk) -> None:
        operation = disk.compact()
        asyncio.get_running_loop().call_later(0.05, kernel.finish)
        await operation
        assert operation.done()

    with VirtualDisk.open("a.vhdx") as disk:
        asyncio.run(main(disk))


def test_a_task_that_is_cancelled_lets_go_when_the_kernel_has(kernel: Kernel) -> None:
    async def main(disk: VirtualDisk) -> None:
        async def wait() -> None:
            await disk.compact()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        assert len(kernel.cancels) == 1
        kernel.finish(constants.ERROR_OPERATION_ABORTED)
        with pytest.raises(asyncio.CancelledError):
            await task

    with VirtualDisk.open("a.vhdx") as disk:
        asyncio.run(main(disk))


# -- Following --------------------------------------------------------------------


def test_following_reports_progress_until_the_end(kernel: Kernel) -> None:
    kernel.progress = (3, 9)
    reports: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reports.append((done, total))
        kernel.finish()

    with kernel.installed("CompactVirtualDisk"), VirtualDisk.open("a.vhdx") as disk:
        disk.compact().follow(report)
    assert reports == [(3, 9)]


def test_progress_that_windows_does_not_tell_stops_nothing(kernel: Kernel) -> None:
    kernel.progress_fails = constants.ERROR_INVALID_PARAMETER
    with kernel.installed("CompactVirtualDisk"), VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        operation.follow(lambda *_: kernel.finish())
        assert operation.done()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (constants.ERROR_OPERATION_ABORTED, KeyboardInterrupt),
        (0, AlreadyDone),
        (constants.ERROR_DISK_FULL, OSError),
    ],
)
def test_ctrl_c_while_it_is_followed_raises_what_the_kernel_answered(
    kernel: Kernel, code: int, kind: type[BaseException]
) -> None:
    kernel.on_cancel = lambda: kernel.finish(code)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with kernel.installed("CompactVirtualDisk"), VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        with pytest.raises(kind) as caught:
            operation.follow(interrupt)
        assert operation.done()
    assert type(caught.value) is kind
    assert len(kernel.cancels) == 1


def test_who_presses_ctrl_c_twice_waits_for_the_answer_all_the_same(kernel: Kernel) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    asked: list[Operation[None]] = []

    with kernel.installed("CompactVirtualDisk"), VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        real = operation.wait_until_over

        def impatient() -> None:
            asked.append(operation)
            if len(asked) == 1:
                raise KeyboardInterrupt
            kernel.finish(constants.ERROR_OPERATION_ABORTED)
            real()

        operation.wait_until_over = impatient  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            operation.follow(interrupt)
        assert operation.cancelled()
    assert len(kernel.cancels) == 2


def test_ctrl_c_while_it_is_begun_waits_for_the_answer(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)

    def interrupted(event: threading.Event) -> None:
        monkeypatch.undo()
        windows.wait_until(kernel.has_begun)
        raise KeyboardInterrupt

    monkeypatch.setattr("pyvhdmp.virtual_disk.operation.wait_interruptibly", interrupted)
    with pytest.raises(KeyboardInterrupt):
        VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    assert kernel.deleted == ["C:\\disks\\a.vhdx"]
    assert kernel.driver.handles == set()


def test_a_disk_made_before_ctrl_c_could_stop_it_is_closed(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.on_cancel = lambda: kernel.finish(0)

    def interrupted(event: threading.Event) -> None:
        monkeypatch.undo()
        windows.wait_until(kernel.has_begun)
        raise KeyboardInterrupt

    monkeypatch.setattr("pyvhdmp.virtual_disk.operation.wait_interruptibly", interrupted)
    with pytest.raises(AlreadyDone):
        VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    assert kernel.deleted == []
    assert kernel.driver.handles == set()


@pytest.mark.parametrize("won", [True, False])
def test_a_disk_that_a_cancelled_task_has_made_is_closed(kernel: Kernel, won: bool) -> None:
    async def main() -> None:
        async def make() -> None:
            await VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)

        task = asyncio.create_task(make())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        kernel.finish(constants.ERROR_OPERATION_ABORTED if won else 0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert kernel.driver.handles == set()


# -- Making disks -----------------------------------------------------------------


def test_making_a_disk_can_be_watched_and_gives_the_disk(kernel: Kernel) -> None:
    operation = VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    kernel.progress = (1, 8)
    assert operation.progress() == (1, 8)
    kernel.finish()
    with operation.result() as disk:
        assert disk.path == "a.vhdx"
        assert disk.handle in kernel.driver.handles
    assert kernel.deleted == []


def test_a_disk_that_could_not_be_made_leaves_no_file(kernel: Kernel) -> None:
    operation = VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    kernel.finish(constants.ERROR_DISK_FULL)
    with pytest.raises(OSError, match=r"a\.vhdx") as caught:
        operation.result()
    assert windows.winerror(caught.value) == constants.ERROR_DISK_FULL
    assert kernel.deleted == ["C:\\disks\\a.vhdx"]


def test_what_is_deleted_is_where_the_disk_was_made_wherever_the_program_is_by_then(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    monkeypatch.setattr("tests.support.vhdmp.FOLDER", "D:\\valuable")
    kernel.finish(constants.ERROR_DISK_FULL)
    assert operation.exception() is not None
    assert kernel.deleted == ["C:\\disks\\a.vhdx"]


def test_a_file_that_turns_out_to_be_there_is_not_deleted(kernel: Kernel) -> None:
    operation = VirtualDisk.begin_create_fixed("a.vhdx", 8 * MIB)
    kernel.finish(constants.ERROR_FILE_EXISTS)
    assert isinstance(operation.exception(), FileExistsError)
    assert kernel.deleted == []


def test_a_disk_that_windows_refuses_to_make_deletes_and_closes_nothing(kernel: Kernel) -> None:
    kernel.answer = constants.ERROR_FILE_EXISTS
    with pytest.raises(FileExistsError):
        VirtualDisk.create_fixed("a.vhdx", 8 * MIB)
    assert kernel.deleted == []
    assert kernel.driver.closed == []


def test_making_a_disk_can_be_cancelled(kernel: Kernel) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)
    operation = VirtualDisk.begin_create_from("a.vhdx", "b.vhd")
    operation.cancel()
    with pytest.raises(CancelledError):
        operation.result()
    assert kernel.deleted == ["C:\\disks\\a.vhdx"]


@pytest.mark.parametrize("won", [True, False])
def test_ctrl_c_while_a_disk_is_made_unmakes_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, won: bool
) -> None:
    code = constants.ERROR_OPERATION_ABORTED if won else 0
    kernel.on_cancel = lambda: kernel.finish(code)

    def interrupted(self: Operation[VirtualDisk], timeout: float | None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Operation, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt if won else AlreadyDone):
        VirtualDisk.create_fixed("a.vhdx", 8 * MIB)
    assert len(kernel.cancels) == 1
    assert kernel.deleted == (["C:\\disks\\a.vhdx"] if won else [])
    assert kernel.driver.handles == set()


# -- Mirrors and forks, which never end by themselves -----------------------------


@pytest.mark.parametrize("begin", [VirtualDisk.mirror, VirtualDisk.fork])
def test_close_cancels_what_would_never_end(
    kernel: Kernel, begin: Callable[[VirtualDisk, str], Operation[None]]
) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)
    disk = VirtualDisk.open("a.vhdx")
    operation = begin(disk, "b.vhdx")
    assert operation.is_endless
    close_in_time(disk)
    with pytest.raises(CancelledError):
        operation.result()


@pytest.mark.parametrize("begin", [VirtualDisk.mirror, VirtualDisk.fork])
def test_it_is_ready_when_all_of_the_progress_is_there_and_it_is_still_pending(
    kernel: Kernel, begin: Callable[[VirtualDisk, str], Operation[None]]
) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = begin(disk, "b.vhdx")
        for kernel.progress in ((0, 0), (0, 9), (8, 9)):
            with pytest.raises(TimeoutError):
                operation.wait_ready(0.01)
        waiter = threading.Thread(target=operation.wait_ready)
        waiter.start()
        kernel.progress = (9, 9)
        waiter.join(30)
        assert not waiter.is_alive()
        assert not operation.done()
        assert kernel.cancels == []
        kernel.finish()
        operation.wait_ready()  # and when it has been ended there is nothing to wait for


@pytest.mark.parametrize("code", [constants.ERROR_DISK_FULL, constants.ERROR_OPERATION_ABORTED])
def test_who_waits_for_it_to_be_ready_learns_how_it_failed(kernel: Kernel, code: int) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.mirror("b.vhdx")
        kernel.progress = (9, 9)
        kernel.finish(code)
        with pytest.raises(OSError, match=r"a\.vhdx") as caught:
            operation.wait_ready()
        assert windows.winerror(caught.value) == code


def test_any_other_operation_is_waited_for_to_its_end(kernel: Kernel) -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.compact()
        kernel.progress = (9, 9)
        with pytest.raises(TimeoutError):
            operation.wait_ready(0.05)
        kernel.finish()
        operation.wait_ready()
        assert operation.done()


def test_ctrl_c_while_somebody_waits_for_it_to_be_ready_cancels_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.on_cancel = lambda: kernel.finish(constants.ERROR_OPERATION_ABORTED)

    def interrupted(self: Operation[None], timeout: float | None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with VirtualDisk.open("a.vhdx") as disk:
        operation = disk.fork("b.vhdx")
        monkeypatch.setattr(Operation, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            operation.wait_ready()
        assert operation.cancelled()
