"""What --force does not replace: that which the new disk is made from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyvhdmp import VirtualDisk, open_disk
from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows

MIB = 1 << 20


@pytest.fixture
def machine() -> Iterator[SimulatedWindows]:
    with SimulatedWindows() as machine:
        machine.files["source.img"] = b"\x11" * (4 * MIB)
        VirtualDisk.create_dynamic("base.vhdx", 4 * MIB).close()
        with open_disk("base.vhdx") as disk:
            disk.write(7, b"\x22" * 512).result()
        for child, parent in (("middle.vhdx", "base.vhdx"), ("leaf.vhdx", "middle.vhdx")):
            VirtualDisk.create_differencing(child, parent).close()
        yield machine


@pytest.mark.parametrize(
    "command",
    [
        ["create", "--force", "base.vhdx", "--parent", "leaf.vhdx"],
        ["create", "--force", "middle.vhdx", "--parent", "leaf.vhdx"],
        ["create", "--force", "C:\\BASE.vhdx", "--from", "leaf.vhdx"],
        ["create", "--force", "\\\\?\\C:\\base.vhdx", "--parent", "leaf.vhdx"],
        ["copy", "--force", "source.img", "base.vhdx", "--parent", "leaf.vhdx"],
        ["copy", "--force", "leaf.vhdx", "base.vhdx"],
    ],
)
def test_a_parent_of_what_it_is_made_from_is_not_replaced(
    machine: SimulatedWindows, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    before = dict(machine.files)
    assert main(command) == 1
    assert "it is a parent of leaf.vhdx" in capsys.readouterr().err
    assert dict(machine.files) == before
    with open_disk("leaf.vhdx", read_only=True) as disk:
        assert disk.read(7, 1).result() == b"\x22" * 512


def test_a_child_of_what_it_is_made_from_is(machine: SimulatedWindows) -> None:
    assert main(["create", "--force", "leaf.vhdx", "--parent", "base.vhdx"]) == 0
    with open_disk("leaf.vhdx", read_only=True) as disk:
        assert disk.read(7, 1).result() == b"\x22" * 512
