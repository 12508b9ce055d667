"""What a simulated Windows refuses says what to do about it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp.testing import SimulatedWindows

MIB = 1 << 20


@pytest.fixture
def machine() -> Iterator[SimulatedWindows]:
    with SimulatedWindows() as machine:
        for name in ("a.vhd", "a.vhdx", "a.vhds"):
            VirtualDisk.create_dynamic(name, 8 * MIB).close()
        yield machine


def refusal(use: Callable[[], object]) -> str:
    """Return what is said of a refusal beside the code."""
    with pytest.raises(OSError, match=r"a\.vhd") as caught:
        use()
    return " ".join(caught.value.__notes__[1:])


@pytest.mark.usefixtures("machine")
def test_a_disk_that_is_attached_can_be_detached() -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.attach()
        assert "detach" in refusal(lambda: VirtualDisk.open("a.vhdx"))


@pytest.mark.usefixtures("machine")
def test_a_disk_that_is_attached_raw_has_no_device() -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        disk.attach_raw()
        assert "attached raw" in refusal(lambda: disk.physical_path)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.usefixtures("machine")
def test_a_disk_that_was_opened_to_be_asked_or_read_is_not_changed(read_only: bool) -> None:
    with VirtualDisk.open("a.vhdx", read_only=read_only, info_only=not read_only) as disk:
        uses: list[Callable[[], object]] = [
            lambda: disk.resize(16 * MIB),
            lambda: disk.compact(),
            lambda: disk.set_disk_id(uuid.uuid4()),
            lambda: disk.metadata.update({uuid.uuid4(): b""}),
        ]
        for use in uses:
            assert "cannot be changed" in refusal(use)


@pytest.mark.usefixtures("machine")
def test_snapshots_are_of_vhd_sets_and_known_by_their_ids() -> None:
    with VirtualDisk.open("a.vhdx") as disk:
        assert "Only a VHD set" in refusal(disk.take_snapshot)
    with VirtualDisk.open("a.vhds") as disk:
        assert "no snapshot of that id" in refusal(lambda: disk.apply_snapshot(uuid.uuid4()))
        assert "no snapshot of that id" in refusal(lambda: disk.delete_snapshot(uuid.uuid4()))
        assert "no snapshot of that id" in refusal(lambda: disk.forget_snapshot(uuid.uuid4()))
    unknown = uuid.uuid4()
    said = refusal(lambda: VirtualDisk.open("a.vhds", snapshot_id=unknown))
    assert "no snapshot of that id" in said


@pytest.mark.usefixtures("machine")
def test_what_a_vhd_has_not_is_of_a_vhdx() -> None:
    with VirtualDisk.open("a.vhd") as disk:
        assert "Only a VHDX" in refusal(lambda: len(disk.metadata))
        assert "of this format" in refusal(lambda: disk.set_change_tracking(True))
