"""Every kind of disk, made the same way, for the suites that all of them must pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
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


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of disk. VHDMP itself is simulated, over real files on a real Windows."""
    with windows.vhdmp() if request.param == "vhdmp" else nullcontext():
        yield request.param


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
