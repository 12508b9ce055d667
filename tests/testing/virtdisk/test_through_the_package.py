"""What the package makes of the simulation: its disks, and operations with a thread each."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import CancelledError
from contextlib import suppress

import pytest

from pyvhdmp import ReadOnlyError, VhdmpDisk, VirtualDisk, open_disk
from pyvhdmp._win32 import constants
from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows
from tests.support.windows import winerror
from tests.testing.virtdisk.disks import MIB

SECONDS = 30


def program(seed: int) -> list[str]:
    """Use operations of every kind, wait for some and cancel others; return the trace."""
    with SimulatedWindows(seed) as windows:
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        with open_disk("a.vhdx") as disk:
            for at in range(0, 8 * 2048, 2048):
                disk.write(at, b"\x11" * 4096).result(SECONDS)
            disk.unmap(0, 4096).result(SECONDS)
        with VirtualDisk.open("a.vhdx") as virtual:
            virtual.resize(16 * MIB).result(SECONDS)
            virtual.compact().result(SECONDS)
            cancelled = virtual.expand(32 * MIB)
            cancelled.cancel()
            with suppress(CancelledError):
                cancelled.result(SECONDS)
            mirror = virtual.mirror("b.vhdx")
            for _ in itertools.count():
                with suppress(OSError):
                    virtual.break_mirror()
                    break
            mirror.result(SECONDS)
        VirtualDisk.create_differencing("c.vhdx", "b.vhdx").close()
        with VirtualDisk.open("c.vhdx") as child:
            child.merge().result(SECONDS)
        with open_disk("c.vhdx") as disk:
            assert disk.read(4096, 8).result(SECONDS) == b"\x11" * 4096
            assert disk.read(0, 8).result(SECONDS) == bytes(4096)
        return windows.trace


def test_an_iso_is_a_read_only_disk_whatever_it_was_opened_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SimulatedWindows() as windows:
        windows.files["a.iso"] = b"\x11" * MIB
        with VhdmpDisk.open("a.iso") as disk:
            assert disk.is_read_only
            assert disk.read(0, 1).result(SECONDS) == b"\x11" * 2048
            with pytest.raises(ReadOnlyError):
                disk.write(0, bytes(2048))
            disk.sync_cache().result(SECONDS)
        assert main(["attach", "a.iso", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["read_only"] is True


def test_a_handle_that_an_operation_uses_is_not_taken_over_and_closed_once() -> None:
    with SimulatedWindows():
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        virtual = VirtualDisk.open("a.vhdx")
        virtual.attach_raw()
        mirror = virtual.mirror("b.vhdx")
        with pytest.raises(ValueError, match="MirrorVirtualDisk running"):
            VhdmpDisk.take_over(virtual, read_only=False)
        assert virtual.closed
        assert mirror.cancelled()


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_leads_to_the_same_operations_twice(seed: int) -> None:
    assert program(seed) == program(seed)


def test_another_seed_leads_to_others() -> None:
    assert len({tuple(program(seed)) for seed in range(4)}) == 4


@pytest.mark.parametrize("seed", range(20))
def test_a_mirror_and_a_fork_that_are_ready_can_be_ended(seed: int) -> None:
    with SimulatedWindows(seed):
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        with open_disk("a.vhdx") as disk:
            disk.write(4096, b"\x11" * 4096).result(SECONDS)
        with VirtualDisk.open("a.vhdx") as virtual:
            fork = virtual.fork("fork.vhdx")
            fork.wait_ready(SECONDS)
            virtual.complete_fork()
            fork.result(SECONDS)
            mirror = virtual.mirror("mirror.vhdx")
            mirror.wait_ready(SECONDS)
            virtual.break_mirror()
            mirror.result(SECONDS)
        for path in ("fork.vhdx", "mirror.vhdx"):
            with open_disk(path, read_only=True) as disk:
                assert disk.read(4096, 8).result(SECONDS) == b"\x11" * 4096


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_or_a_fork_that_nobody_ends_is_cancelled_with_its_disk(seed: int) -> None:
    with SimulatedWindows(seed) as windows:
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        for begin in (VirtualDisk.mirror, VirtualDisk.fork):
            with VirtualDisk.open("a.vhdx") as disk:
                operation = begin(disk, "b.vhdx")
            assert operation.cancelled()
            assert list(windows.files) == ["C:\\a.vhdx"]


def test_what_is_ended_too_early_says_what_to_wait_for() -> None:
    with SimulatedWindows():
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        with VirtualDisk.open("a.vhdx") as disk:
            for end in (disk.break_mirror, disk.complete_fork):
                with pytest.raises(OSError, match=r"a\.vhdx") as caught:
                    end()
                assert winerror(caught.value) == constants.ERROR_VHD_INVALID_STATE
                assert "wait_ready" in caught.value.__notes__[1]
