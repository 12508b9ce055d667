"""What every test file may rely on."""

from __future__ import annotations

import sys

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `windows` where there is none."""
    if sys.platform == "win32":
        return
    for item in items:
        if item.get_closest_marker("windows"):
            item.add_marker(pytest.mark.skip(reason="needs Windows' DLLs"))
