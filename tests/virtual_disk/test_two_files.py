"""Calls that name two files: an error is of the one that is wrong, which Windows does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyvhdmp import InvalidInputError, VirtualDisk, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.testing import SimulatedWindows
from tests.support import windows

MIB = 1 << 20


@pytest.fixture
def machine() -> Iterator[SimulatedWindows]:
    """base.vhdx and its child, child.avhdx, and another whose parent is gone."""
    with SimulatedWindows() as machine:
        machine.files["raw.img"] = bytes(4 * MIB)
        for base, child in (("base.vhdx", "child.avhdx"), ("gone.vhdx", "orphan.avhdx")):
            VirtualDisk.create_dynamic(base, 8 * MIB).close()
            VirtualDisk.create_differencing(child, base).close()
        del machine.files["gone.vhdx"]
        yield machine


def set_parent(parent: str) -> None:
    with VirtualDisk.open("child.avhdx", no_parents=True) as disk:
        disk.set_parent(parent)


def add_parent(parent: str) -> None:
    with VirtualDisk.open("child.avhdx", custom_chain=True) as disk:
        disk.add_parent(parent)


def create_differencing(parent: str) -> None:
    VirtualDisk.create_differencing("new.avhdx", parent)


def create_from(source: str) -> None:
    VirtualDisk.create_from("new.vhdx", source)


ALL = [create_differencing, create_from, set_parent, add_parent]


@pytest.mark.parametrize("use", ALL)
@pytest.mark.parametrize(
    ("other", "code"),
    [
        ("none.vhdx", constants.ERROR_FILE_NOT_FOUND),
        ("none\\base.vhdx", constants.ERROR_PATH_NOT_FOUND),
        ("raw.img", constants.ERROR_FILE_CORRUPT),
    ],
)
@pytest.mark.usefixtures("machine")
def test_the_other_file_is_named_if_that_is_wrong(
    use: Callable[[str], None], other: str, code: int
) -> None:
    with pytest.raises(OSError, match=r"none|raw") as caught:
        use(other)
    assert (windows.winerror(caught.value), caught.value.filename) == (code, other)


@pytest.mark.parametrize("use", [create_differencing, create_from])
@pytest.mark.usefixtures("machine")
def test_the_other_file_is_named_if_it_is_in_use(
    use: Callable[[str], None],
) -> None:
    with open_disk("base.vhdx"), pytest.raises(PermissionError) as caught:
        use("base.vhdx")
    assert caught.value.filename == "base.vhdx"


@pytest.mark.usefixtures("machine")
def test_the_other_file_is_named_if_its_own_parent_is_gone() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        create_from("orphan.avhdx")
    assert caught.value.filename == "orphan.avhdx"


@pytest.mark.parametrize("use", [create_differencing, create_from])
def test_the_new_file_is_named_if_the_other_is_in_order(
    machine: SimulatedWindows, use: Callable[[str], None]
) -> None:
    machine.fail_next("CreateVirtualDisk", constants.ERROR_DISK_FULL)
    with pytest.raises(OSError, match="new") as caught:
        use("base.vhdx")
    assert windows.winerror(caught.value) == constants.ERROR_DISK_FULL
    machine.files["new.vhdx"] = machine.files["new.avhdx"] = b""
    with pytest.raises(FileExistsError, match="new"):
        use("base.vhdx")


@pytest.mark.usefixtures("machine")
def test_a_child_is_named_if_its_parent_is_another_disk() -> None:
    VirtualDisk.create_dynamic("another.vhdx", 8 * MIB).close()
    for use in (set_parent, add_parent):
        with pytest.raises(OSError, match=r"child\.avhdx") as caught:
            use("another.vhdx")
        code = constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH
        assert windows.winerror(caught.value) == code


@pytest.mark.usefixtures("machine")
def test_a_copy_that_is_to_be_smaller_than_its_source_says_how_large_that_is() -> None:
    said = r"size must be at least that of base\.vhdx, 8388608 bytes, not 4194304"
    with pytest.raises(InvalidInputError, match=said):
        VirtualDisk.create_from("new.vhdx", "base.vhdx", size=4 * MIB)
