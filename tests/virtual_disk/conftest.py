"""What the tests of virtual disks have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.vhdmp import Driver
from tests.virtual_disk.kernels import Kernel


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    with driver.installed():
        yield driver
        assert driver.handles == set()  # nothing leaks, in any test here


@pytest.fixture
def kernel(driver: Driver) -> Iterator[Kernel]:
    kernel = Kernel(driver)
    with kernel.installed("CompactVirtualDisk", "MirrorVirtualDisk", "ForkVirtualDisk"):
        yield kernel
        assert kernel.open_events == 0  # nothing leaks, in any test here
