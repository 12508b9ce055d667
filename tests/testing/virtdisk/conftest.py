"""A simulated Windows, and calls by address of its virtdisk.dll."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvhdmp.testing import SimulatedWindows
from tests.testing.virtdisk.disks import Disks


@pytest.fixture
def disks() -> Iterator[Disks]:
    with SimulatedWindows(seed=5) as windows, Disks(windows) as disks:
        yield disks
