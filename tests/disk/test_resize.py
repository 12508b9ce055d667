"""Waiting for a disk to change its size, which Ctrl+C may end at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import pytest

from pyvhdmp import CompletionPort, Disk
from tests.disk.kinds import made
from tests.support import windows
from tests.support.files import FilePath
from tests.support.interrupts import every_moment

pytestmark = pytest.mark.usefixtures("machine")

SECONDS = 60
MODULES = ("pyvhdmp.disk.resize", "pyvhdmp.futures", "pyvhdmp.completion", "pyvhdmp.register")


@pytest.fixture
def disk(kind: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[Disk]:
    """A disk that others can resize, as the virtual one is, or that they cannot."""
    with made(kind, tmp_path, port=port) as disk:
        yield disk


def test_ctrl_c_at_any_moment_of_a_cancel_leaves_the_rest_to_the_next(disk: Disk) -> None:
    count = disk.sector_count
    for ctrl_c in every_moment(*MODULES):
        future = disk.wait_resize(count)
        with ctrl_c:
            future.cancel()
        future.cancel()
        with pytest.raises(CancelledError):
            future.result(SECONDS)
    assert ctrl_c.number > 5


def test_ctrl_c_at_any_moment_of_a_start_leaves_nothing_to_wait_for(disk: Disk) -> None:
    count, futures = disk.sector_count, list[Future[int]]()
    for ctrl_c in every_moment(*MODULES):
        starting = map(disk.wait_resize, [count])
        with ctrl_c:
            futures.extend(starting)
        for future in futures:
            future.cancel()
        windows.wait_until(lambda: not disk._file.is_busy)
    assert futures
    assert ctrl_c.number > 3
