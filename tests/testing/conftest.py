"""A simulated Windows without the engine, for the tests of the simulation itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testing.program import Program, running


@pytest.fixture
def program() -> Iterator[Program]:
    with running() as program:
        yield program
