"""What every test file may rely on."""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pyvhdmp import CompletionPort
from pyvhdmp.testing import SimulatedWindows
from tests.support import windows
from tests.support.files import FilePath, SimulatedPath
from tests.support.pipe_disk import PipeDisk

# The same examples each time, so that no change fails for what another one has done. To look
# for what these do not show: pytest --hypothesis-profile=explore, now and then. There is no
# deadline in either, as an example takes as long as the machine is busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `windows` where there is none."""
    if sys.platform == "win32":
        return
    for item in items:
        if item.get_closest_marker("windows"):
            item.add_marker(pytest.mark.skip(reason="needs Windows' DLLs"))


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.windows), "simulated"])
def machine(request: pytest.FixtureRequest) -> Iterator[SimulatedWindows | None]:
    """A Windows to run on, one after the other: the real one (None), and a simulated one.

    The simulated one has a seed of each test's own, and fails the test for what it has
    seen that must not be: see `SimulatedWindows`.
    """
    if request.param == "real":
        yield None
    else:
        with windows.simulated(seed=zlib.crc32(request.node.name.encode())) as simulation:
            yield simulation


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> FilePath:
    """A folder for the files of a test, on the machine that it runs on."""
    simulation = request.getfixturevalue("machine") if "machine" in request.fixturenames else None
    if simulation is None:
        return tmp_path
    folder = SimulatedPath(simulation.files, "C:\\tests")
    folder.mkdir()
    return folder


@pytest.fixture
def port() -> Iterator[CompletionPort]:
    """A completion port, on which nothing is left over in the end."""
    with CompletionPort() as port:
        yield port
        assert port.strays == 0
        assert port.in_flight == 0
    assert port.slots.free == port.slots.total


@pytest.fixture
def pipe(port: CompletionPort) -> Iterator[PipeDisk]:
    """A disk whose reads pend."""
    with contextlib.closing(PipeDisk(port)) as pipe:
        yield pipe
