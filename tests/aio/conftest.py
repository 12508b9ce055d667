"""A disk for every test here."""

from __future__ import annotations

import pytest

from tests.disk.kinds import make_file
from tests.support.files import FilePath


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    return make_file("raw", tmp_path)
