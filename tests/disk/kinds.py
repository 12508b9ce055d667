"""Every kind of disk, and slices of them, made the same way, for the suites all must pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import pytest

from pyvhdmp import Backend, CompletionPort, Disk, VirtualDisk, open_disk
from pyvhdmp.disk import FixedVhdDisk, NewImage
from tests.support import windows
from tests.support.files import FilePath, make_zeros

SECTORS: Final = 6144
SIZE: Final = SECTORS * 512
IMAGES: Final[tuple[Backend, ...]] = ("raw", "fixed-vhd")
KINDS: Final[tuple[Backend, ...]] = (*IMAGES, "vhdmp")
SLICES: Final = ("slice of vhdmp", "slice of slice of fixed-vhd")
FIRST: Final = 11
"""Where a slice begins, so that no page of it begins where one of the disk does."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of disk. VHDMP itself is simulated, over real files on a real Windows."""
    with _driver(request.param):
        yield request.param


@pytest.fixture(params=[*KINDS, *SLICES])
def kind_or_slice(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of disk, and slices of them, for `made`."""
    with _driver(request.param):
        yield request.param


@pytest.fixture
def disk(kind_or_slice: str, tmp_path: FilePath, port: CompletionPort) -> Iterator[Disk]:
    """A disk of zeros, or a slice of one, of each kind."""
    with made(kind_or_slice, tmp_path, port=port) as disk:
        yield disk


def _driver(kind: str) -> AbstractContextManager[None]:
    return windows.vhdmp() if kind.endswith("vhdmp") else nullcontext()


def make_file(kind: str, folder: FilePath, size: int = SIZE) -> FilePath:
    """Make a disk of zeros; return its path."""
    if kind == "raw":
        path = folder / "disk.img"
        make_zeros(path, size)
    elif kind == "vhdmp":
        path = folder / "disk.vhdx"
        VirtualDisk.create_dynamic(path, size).close()
    else:
        path = folder / "disk.vhd"
        with CompletionPort() as port:  # no default port, whose threads would stay
            image = NewImage(os.fspath(path), size, FixedVhdDisk, port=port)
            image.seal()
            image.disk.close()
    return path


def make(
    kind: str, folder: FilePath, *, size: int = SIZE, port: CompletionPort | None = None
) -> Disk:
    """Make a disk of zeros and open it."""
    (backend,) = (known for known in KINDS if known == kind)
    return open_disk(make_file(kind, folder, size), backend=backend, port=port)


@contextmanager
def made(kind: str, folder: FilePath, *, port: CompletionPort | None = None) -> Iterator[Disk]:
    """Make a disk of zeros, or a slice of one, and have it open for a with block.

    A slice has other sectors before and behind it, which must be the same at the end.
    """
    *slices, kind = kind.split(" of ")
    if not slices:
        with make(kind, folder, port=port) as disk:
            yield disk
        return
    around = {0: b"\xee" * FIRST * 512, FIRST + SECTORS: b"\xdd" * FIRST * 512}
    with make(kind, folder, size=(2 * FIRST + SECTORS) * 512, port=port) as disk:
        for sector, data in around.items():
            disk.write(sector, data).result()
        if len(slices) == 1:
            slice_ = disk.slice(FIRST, SECTORS)
        else:
            slice_ = disk.slice(1, FIRST + SECTORS + 7).slice(FIRST - 1, SECTORS)
        with slice_:
            yield slice_
        for sector, data in around.items():
            assert disk.read(sector, FIRST).result() == data
