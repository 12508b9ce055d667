"""The tests of the driver know whether there is one."""

from __future__ import annotations

from pathlib import PureWindowsPath

import pytest

from pyvhdmp.testing import SimulatedWindows
from tests.vhdmp.conftest import why_not

PROBE = PureWindowsPath("C:\\probe.vhdx")


def test_a_windows_with_vhdmp_and_rights_has_no_reason_against_it() -> None:
    with SimulatedWindows():
        assert why_not(PROBE) == ""


@pytest.mark.parametrize(
    ("function", "code", "reason"),
    [
        ("OpenVirtualDisk", 120, "this virtdisk.dll, such as Wine's, has no virtual disks"),
        ("OpenVirtualDisk", 87, "this virtdisk.dll, such as Wine's, knows no virtual disks"),
        ("AttachVirtualDisk", 1314, "it needs to be run as administrator"),
        ("AttachVirtualDisk", 5, "it needs to be run as administrator"),
    ],
)
def test_the_reason_is_what_failed_and_what_that_means(
    function: str, code: int, reason: str
) -> None:
    with SimulatedWindows() as simulation:
        simulation.fail_next(function, code)
        said = why_not(PROBE)
    assert said == f"no working VHDMP: {function} failed with Windows error {code}: {reason}"


def test_an_error_that_means_nothing_else_is_told_as_it_is() -> None:
    with SimulatedWindows() as simulation:
        simulation.fail_next("OpenVirtualDisk", 1117)
        said = why_not(PROBE)
    assert "OpenVirtualDisk failed with Windows error 1117: [" in said


@pytest.mark.windows
def test_on_a_real_windows_it_is_found_out_without_an_error(missing_vhdmp: str) -> None:
    assert missing_vhdmp in ("", "virtdisk.dll is simulated here") or (
        missing_vhdmp.startswith("no working VHDMP: ")
    )
