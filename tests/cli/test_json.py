"""--json: a result is one object on standard output, and an error is what it is without."""

from __future__ import annotations

import pytest

from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run


@pytest.mark.parametrize(
    "command",
    [
        ["info", "none.vhdx"],
        ["create", "a.img", "8M"],
        ["copy", "none.img", "b.vhd"],
        ["resize", "none.vhdx", "8M"],
        ["merge", "a.img"],
        ["attach", "none.vhdx"],
        ["detach", "none.vhdx"],
    ],
)
def test_an_error_is_the_same_line_and_standard_output_is_empty(
    vhdmp: SimulatedWindows, run: Run, command: list[str]
) -> None:
    vhdmp.files["a.img"] = bytes(MIB)
    assert run(*command, "--json").error == run(*command).error  # which look at standard output


def test_what_differs_is_a_result(run: Run, vhdmp: SimulatedWindows) -> None:
    vhdmp.files["a.img"], vhdmp.files["b.img"] = bytes(MIB), b"\x01" * MIB
    done = run("compare", "a.img", "b.img", "--json")
    assert done == (
        1,
        '{"identical": false, "first_size": 1048576, "second_size": 1048576, '
        '"first_difference": 0}\n',
        "",
    )


@pytest.mark.parametrize("command", [[], ["info"], ["attached"]])
def test_the_help_says_so(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "one line on standard error" in said
