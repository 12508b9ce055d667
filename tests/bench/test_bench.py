"""The benchmarks: that they run, and that what they say follows from what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.bench.__main__ import ROOT, judged, line
from tests.bench.rounds import Keeper, interleaved
from tests.bench.table import TABLE, Row
from tests.support.launcher import needs_winpython

FASTER = Row("1", "a peer", 1.2, ("program",))
LESS = Row("2", "a limit", 64, ("program",), at_most=True, inverse=False, unit="bytes")


def test_a_ratio_of_speeds_is_that_of_the_other_ones_cost_to_ours() -> None:
    figure = judged(FASTER, "us", [(1.0, 2.0), (1.0, 1.0), (2.0, 6.0)])
    assert (figure["median"], figure["is_reached"]) == (2.0, True)
    assert not judged(FASTER, "us", [(1.0, 1.1)])["is_reached"]
    assert "MISSED" in line(judged(FASTER, "us", [(1.0, 1.1)]))


def test_a_limit_is_reached_by_what_is_not_above_it() -> None:
    assert judged(LESS, "bytes", [(64, 1)])["is_reached"]
    assert not judged(LESS, "bytes", [(65, 1)])["is_reached"]


def test_rounds_take_turns_and_the_first_is_left_out() -> None:
    order: list[str] = []

    def ours() -> float:
        order.append("ours")
        return len(order)

    def other() -> float:
        order.append("other")
        return len(order)

    assert interleaved(ours, other, 2) == [(3, 4), (6, 5)]
    assert order == ["other", "ours", "ours", "other", "other", "ours"]


def test_a_keeper_keeps_the_queue_full_until_the_end() -> None:
    begun: list[tuple[int, Future[None]]] = []

    def begin(slot: int, number: int) -> Future[None]:
        assert number == len(begun)
        future: Future[None] = Future()
        begun.append((slot, future))
        return future

    keeper = Keeper(begin, 3, 10)
    keeper.start()
    for at in range(10):
        assert len(begun) == min(at + 3, 10)
        begun[at][1].set_result(None)
    keeper.wait()
    assert [slot for slot, _ in begun] == [0, 1, 2] * 3 + [0]


def test_a_keeper_raises_the_error_of_a_request() -> None:
    future: Future[None] = Future()
    keeper = Keeper(lambda slot, number: future, 1, 5)
    keeper.start()
    future.set_exception(OSError(5))
    with pytest.raises(OSError, match="5"):
        keeper.wait()


def test_every_figure_has_a_number_of_its_own() -> None:
    assert len({row.number for row in TABLE}) == len(TABLE)


@needs_winpython
def test_figures_are_measured_on_a_windows_python_and_kept_as_json(tmp_path: Path) -> None:
    """Those that do not depend on the machine's speed."""
    kept = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "11b", "12", "--json", kept],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("all reached\n")
    figures = json.loads(kept.read_text(encoding="utf-8"))["figures"]
    assert [(figure["number"], figure["median"]) for figure in figures] == [("11b", 0), ("12", 0)]
