"""What the tests of virtual disks have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.vhdmp import Driver


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    with driver.installed():
        yield driver
        assert driver.handles == set()  # nothing leaks, in any test here
