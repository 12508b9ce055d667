"""Fifty seeds of random work on simulated disks, and that a seed is a seed."""

from __future__ import annotations

import sys

import pytest

from tests.support.soak import KINDS, Soak, main, soak

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="its processes take too long to start there"
)


def test_fifty_seeds_show_no_violation(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seeds", "50"])
    output = capsys.readouterr().out
    assert code == 0, output
    assert "0 violations" in output


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_trace_and_another_gives_another(seed: int) -> None:
    first, second = soak(seed, 300), soak(seed, 300)
    assert first.trace == second.trace
    assert first == second
    assert soak(seed + 100, 300).trace != first.trace


def test_seeds_do_everything_there_is_to_do() -> None:
    """Over a few seeds: every kind of disk, faults, cancels that win, power cuts."""
    runs = [Soak(seed) for seed in range(12)]
    figures = [run.run(200) for run in runs]
    assert {run._kind for run in runs} == set(KINDS)
    assert sum(each.faults for each in figures)
    assert sum(each.failed for each in figures)
    assert sum(each.cancelled for each in figures)
    assert sum(each.power_cuts for each in figures)


def test_a_violation_is_reported_with_its_seed_and_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(self: object, sector: int, data: bytes, *rest: object) -> str:
        return "a sector that nobody wrote"

    monkeypatch.setattr("tests.support.history.History._check", lying)
    assert main(["--seeds", "1", "--operations", "100"]) == 1
    output = capsys.readouterr().out
    assert output.startswith("seed 0:\n")
    assert "a sector that nobody wrote" in output
    assert "ReadFile" in output
    assert "0 violations" not in output
