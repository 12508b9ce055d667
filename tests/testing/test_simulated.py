"""What tests see of a simulated Windows: files, trace, counts, and what its end reports."""

from __future__ import annotations

from typing import Any

import pytest

from pyvhdmp import CompletionPort, Disk, make_fixed_vhd, open_disk
from pyvhdmp._win32 import is_available
from pyvhdmp._win32.memory import Pins
from pyvhdmp.testing import Faults, SimulatedWindows, SimulationError
from tests.support.windows import winerror
from tests.testing.program import Program


def test_files_are_a_mapping_with_names_as_windows_has_them() -> None:
    with SimulatedWindows() as windows:
        files = windows.files
        files["Folder/Disk.img"] = b"abc"
        assert files["c:\\folder\\DISK.IMG"] == b"abc"
        assert list(files) == ["C:\\Folder\\Disk.img"]
        assert files.is_folder("folder")
        files["folder\\disk.img"] = b"xy"
        assert (len(files), files["Folder/Disk.img"]) == (1, b"xy")
        del files["folder/disk.img"]
        assert len(files) == 0
        with pytest.raises(KeyError):
            files["missing"]
        with pytest.raises(KeyError):
            del files["missing"]
        with pytest.raises(KeyError):
            files.set_read_only("missing")


def test_a_sparse_file_takes_no_memory() -> None:
    with SimulatedWindows() as windows:
        windows.files.make_sparse("disk.img", 1 << 50)
        with open_disk("disk.img") as disk:
            assert disk.size == 1 << 50
            disk.write((1 << 41) - 1, b"\x01" * 512).result(30)
            assert disk.read((1 << 41) - 2, 2).result(30) == bytes(512) + b"\x01" * 512


def test_an_open_file_cannot_be_exchanged() -> None:
    with SimulatedWindows() as windows, Program(windows) as program:
        windows.files["disk.img"] = b"abc"
        program.open("disk.img")
        with pytest.raises(ValueError, match=r"C:\\disk.img is open"):
            windows.files["disk.img"] = b""
        with pytest.raises(ValueError, match="is open"):
            del windows.files["disk.img"]


def test_it_is_in_force_inside_its_block_only() -> None:
    before = is_available()
    with SimulatedWindows():
        assert is_available()
    assert is_available() == before


def test_the_default_port_of_the_block_is_closed_at_its_end() -> None:
    with SimulatedWindows() as windows:
        windows.files["disk.img"] = bytes(512)
        with open_disk("disk.img") as disk:
            port = disk.port
        assert port is CompletionPort.default()
    assert port.closed


def test_what_is_seen_is_counted_and_told() -> None:
    with SimulatedWindows(seed=9) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(512)
        handle = program.open("disk.img")
        assert windows.open_handles == [f"{handle:#x} C:\\disk.img"]
        assert repr(windows) == "<SimulatedWindows of seed 9, 0 operations>"
        assert windows.trace[0].endswith(f"us  CreateFileW C:\\disk.img -> {handle:#x}")
        assert windows.violations == []
        windows.check(leaks=False)
        with pytest.raises(SimulationError, match="was left open"):
            windows.check()


def test_the_trace_keeps_the_last_lines() -> None:
    with SimulatedWindows(trace_length=3) as windows, Program(windows) as program:
        windows.files["disk.img"] = bytes(512)
        for _ in range(5):
            program.close(program.open("disk.img"))
        assert len(windows.trace) == 3


def test_an_exception_of_the_test_is_not_replaced() -> None:
    with pytest.raises(ZeroDivisionError), SimulatedWindows():  # noqa: PT012
        Pins([b"never let go"], writable=False)
        raise ZeroDivisionError


def test_an_exception_inside_the_simulation_comes_out_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = SimulatedWindows()
    monkeypatch.setattr(windows._volume, "find", lambda name: 1 // 0)
    with pytest.raises(ZeroDivisionError), windows:
        Program(windows).create("disk.img")


def test_a_latency_below_zero_or_upside_down_is_refused() -> None:
    for latency in ((-1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="latency must be"):
            SimulatedWindows(latency=latency)


def test_the_power_can_be_cut_at_a_later_call_and_come_back() -> None:
    with SimulatedWindows() as windows:
        windows.files["disk.img"] = bytes(4096)
        windows.power_cut(after=2, restart=False)
        with pytest.raises(OSError) as caught:  # noqa: PT011  # checked below
            open_disk("disk.img")
        assert winerror(caught.value) == 1167
        assert windows.power_cuts == 1
        with pytest.raises(OSError) as caught:  # noqa: PT011  # checked below
            open_disk("disk.img")
        assert winerror(caught.value) == 21
        windows.restart()
        open_disk("disk.img").close()


def test_a_windows_without_vhdmp_can_be_given_it() -> None:
    with SimulatedWindows(vhdmp=False) as windows:
        make_fixed_vhd("disk.vhd", 4096)
        with open_disk("disk.vhd") as disk:
            assert disk.disk_type == "fixed-vhd"
        windows.vhdmp = True
        with open_disk("disk.vhd") as disk:
            assert disk.disk_type == "vhdmp"


def open_and_forget() -> Disk:
    with SimulatedWindows() as windows:
        windows.files["disk.img"] = bytes(4096)
        return open_disk("disk.img")


def test_a_disk_that_is_left_open_on_the_default_port_is_reported() -> None:
    with pytest.raises(SimulationError, match=r"handle 0x\w+ C:\\disk.img was left open"):
        open_and_forget()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"latency": (-1.0, 2.0)}, r"latency must be a pair of seconds \(least, most\)"),
        ({"latency": (2.0, 1.0)}, r"latency must be a pair of seconds \(least, most\)"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_a_windows_that_cannot_be_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SimulatedWindows(**arguments)


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(ValueError, match="errors must be a chance from 0 to 1, not 2"):
        Faults(errors=2.0)
    with SimulatedWindows() as windows:
        with pytest.raises(ValueError, match="cannot be planned"):
            windows.fail_next("ReadFile", 23, after=-1)
        with pytest.raises(ValueError, match="cannot be planned"):
            windows.fail_next("ReadFile", 23, calls=0)
        with pytest.raises(ValueError, match="must not be negative"):
            windows.power_cut(after=-1)


def test_files_are_found_by_any_path() -> None:
    with SimulatedWindows() as windows:
        windows.files["C:/folder/Disk.IMG"] = b"content"
        assert windows.files["\\folder\\disk.img"] == b"content"
        assert "Disk.IMG" in repr(windows.files)
