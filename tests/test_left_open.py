"""What is told of objects that are dropped while they are open, and what is logged."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvhdmp import CompletionPort, Disk, OverlappedFile, VirtualDisk, open_disk
from pyvhdmp.aio import AsyncDisk
from tests.disk.kinds import KINDS, kind, make, make_file
from tests.support import windows
from tests.support.files import FilePath
from tests.support.pipe_disk import PipeDisk

SECONDS = 60

__all__ = ["kind"]  # a fixture

on_each_machine = pytest.mark.usefixtures("machine")


def warned(drop: Callable[[], object], *, at_least: int = 0) -> list[warnings.WarningMessage]:
    """Return what is warned of when something is dropped, which may come a moment later."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop()
        windows.wait_until(lambda: gc.collect() >= 0 and len(caught) >= at_least)
    assert all(warning.category is ResourceWarning for warning in caught)
    return caught


@on_each_machine
@pytest.mark.parametrize("read_only", [False, True])
def test_a_disk_is_named_by_the_path_it_was_opened_by(
    kind: str, tmp_path: FilePath, read_only: bool
) -> None:
    path = make_file(kind, tmp_path)
    with CompletionPort() as port:
        (backend,) = (known for known in KINDS if known == kind)
        disks: list[Disk] = [open_disk(path, read_only=read_only, backend=backend, port=port)]
        shown = f"<{type(disks[0]).__name__} {os.fspath(path)!r}>"
        (warning,) = warned(disks.clear)
        assert str(warning.message) == f"unclosed {shown}"
        assert isinstance(warning.source, OverlappedFile)
        assert warning.source.closed
        with open_disk(path, backend=backend, port=port):  # nobody else has it open
            pass


@on_each_machine
def test_a_disk_that_is_dropped_with_requests_in_flight_is_named_when_they_are_over() -> None:
    with CompletionPort() as port:
        pipe = PipeDisk(port)
        readings = [pipe.disk.read(0, 1)]  # which may know the file

        def drop() -> None:
            del pipe.disk

        def end() -> None:
            pipe.feed()
            assert readings.pop().result(SECONDS) == b"\x77" * 512

        assert warned(drop) == []
        (warning,) = warned(end, at_least=1)
        assert str(warning.message) == "unclosed <RawDisk 'pipe'>"
        pipe.close()


@on_each_machine
def test_a_closed_disk_and_one_that_could_not_be_opened_are_not_warned_of(
    tmp_path: FilePath,
) -> None:
    with CompletionPort() as port:
        disks = [make("raw", tmp_path, port=port)]
        disks[0].close()
        assert warned(disks.clear) == []

        def fail() -> None:
            with pytest.raises(FileNotFoundError):
                open_disk(tmp_path / "none.img", port=port)

        assert warned(fail) == []


@on_each_machine
def test_a_slice_owns_nothing_and_its_disk_is_named(tmp_path: FilePath) -> None:
    with CompletionPort() as port:
        disk = make("raw", tmp_path, port=port)
        slices = [disk.slice(0, 5)]
        assert warned(slices.clear) == []
        disk.close()
        slices = [make("raw", tmp_path, port=port).slice(0, 5).slice(1, 2)]
        (warning,) = warned(slices.clear)
        assert str(warning.message).startswith("unclosed <RawDisk '")


@on_each_machine
def test_an_async_disk_is_warned_of_by_the_path_it_was_opened_by(tmp_path: FilePath) -> None:
    path = make_file("raw", tmp_path)

    async def forget(port: CompletionPort) -> None:
        await AsyncDisk.open(path, port=port)

    with CompletionPort() as port:
        (warning,) = warned(lambda: asyncio.run(forget(port)))
        assert str(warning.message).startswith(f"unclosed <RawDisk {os.fspath(path)!r}>")


@on_each_machine
def test_a_file_is_named_by_its_handle() -> None:
    with CompletionPort() as port:
        handle, other = windows.pipe_handles()
        with windows.closing(other):
            files = [OverlappedFile(handle, port=port)]
            (warning,) = warned(files.clear)
            assert str(warning.message) == f"unclosed <OverlappedFile handle {handle:#x}>"
            assert isinstance(warning.source, OverlappedFile)


@on_each_machine
def test_a_port_ends_with_its_last_user_and_is_not_warned_of() -> None:
    """It holds nothing of the user's, and the default one is nobody's to close."""
    others = set(threading.enumerate())
    ports = [CompletionPort()]
    (thread,) = set(threading.enumerate()) - others
    assert warned(ports.clear) == []
    windows.wait_until(lambda: not thread.is_alive())


@on_each_machine
def test_a_virtual_disk_is_named_when_its_operation_is_over(tmp_path: FilePath) -> None:
    """An operation goes on when it is forgotten, and keeps its disk open, and is no leak."""
    with windows.vhdmp():
        path = tmp_path / "disk.vhdx"
        disks = [VirtualDisk.create_dynamic(path, 8 << 20)]
        operations = [disks[0].resize(16 << 20)]
        done = threading.Event()
        operations[0].add_done_callback(lambda _: done.set())
        assert "running" in repr(operations[0]) or "done" in repr(operations[0])

        def drop() -> None:
            disks.clear()
            operations.clear()
            windows.wait_until(done.is_set)
            windows.wait_until(
                lambda: "pyvhdmp-operation" not in [one.name for one in threading.enumerate()]
            )

        (warning,) = warned(drop)
        assert str(warning.message).startswith(f"unclosed <VirtualDisk {os.fspath(path)!r}, handle")
        with VirtualDisk.open(path, info_only=True) as disk:
            assert disk.info.virtual_size == 16 << 20


# -- The log --------------------------------------------------------------------------

PROGRAM = """
import logging, sys
{setup}
from pyvhdmp import CompletionPort
from pyvhdmp.testing import SimulatedWindows
with SimulatedWindows(), CompletionPort() as port:
    port.call_soon(lambda: 1 / 0)
"""
CALLBACK = """
from pyvhdmp.futures import IoFuture
future = IoFuture()
future.add_done_callback(lambda _: 1 / 0)
future.resolve(None)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("setup", "is_heard"),
    [("", False), ("logging.basicConfig()", True), ("logging.raiseExceptions = False", False)],
)
def test_what_is_logged_is_heard_by_programs_that_listen_alone(setup: str, is_heard: bool) -> None:
    done = run(PROGRAM.format(setup=setup))
    assert (done.returncode, done.stdout) == (0, "")
    assert ("ZeroDivisionError" in done.stderr) == is_heard
    assert is_heard or done.stderr == ""


def test_what_a_callback_raises_is_told_by_default_as_of_any_future() -> None:
    done = run(CALLBACK)
    assert (done.returncode, done.stdout) == (0, "")
    assert "a done-callback of <IoFuture" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_the_logger_is_named_after_the_package_and_sets_no_level() -> None:
    from pyvhdmp import logs

    assert logs.logger is logging.getLogger("pyvhdmp")
    assert logs.logger.level == logging.NOTSET
    assert logs.logger.propagate
