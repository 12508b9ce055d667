"""The progress line, in plain text: on a terminal only, and wiped at the end."""

from __future__ import annotations

import io

import pytest

from pyvhdmp.cli.progress import ProgressLine
from tests.cli.conftest import Terminal

pytestmark = pytest.mark.usefixtures("without_rich")


def test_a_terminal_is_shown_bytes_rate_and_time_left() -> None:
    terminal = Terminal()
    with ProgressLine(terminal) as progress:
        progress.report("copying", 0, 4 << 20)
        progress.report("copying", 1 << 20, 4 << 20)
        line = terminal.getvalue().split("\r")[-1]
    assert line.startswith("copying 1.0 MiB of 4.0 MiB  25 %  ")
    assert "/s  " in line
    assert line.rstrip().endswith("left")


def test_the_line_is_wiped_at_the_end() -> None:
    terminal = Terminal()
    with ProgressLine(terminal) as progress:
        progress.report("copying", 1 << 20, 4 << 20)
    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().split("\r")[-2].isspace()
    assert "\n" not in terminal.getvalue()


def test_a_shorter_line_leaves_nothing_of_the_longer_one() -> None:
    terminal = Terminal()
    with ProgressLine(terminal) as progress:
        progress.report("verifying", 1023 << 20, 1024 << 20)
        before = len(terminal.getvalue().split("\r")[-1])
        progress.report("copying", 1, 1)
        assert len(terminal.getvalue().split("\r")[-1]) >= before - 1


def test_nothing_is_written_into_a_pipe() -> None:
    pipe = io.StringIO()
    with ProgressLine(pipe) as progress:
        progress.report("copying", 1, 2)
    assert pipe.getvalue() == ""


def test_what_windows_does_is_shown_without_its_unit_and_never_complete() -> None:
    terminal = Terminal()
    with ProgressLine(terminal) as progress:
        report = progress.share("merging")
        shown = []
        for done, total in ((0, 0), (1, 4), (3, 4), (1, 2), (4, 4)):
            report(done, total)
            shown.append(terminal.getvalue().split("\r")[-1].rstrip())
    assert [line.split()[1] for line in shown] == ["0", "25", "75", "50", "99"]
    assert all(line.startswith("merging  ") and line.endswith(" left") for line in shown)


def test_what_windows_does_is_not_shown_in_a_pipe() -> None:
    pipe = io.StringIO()
    with ProgressLine(pipe) as progress:
        progress.share("merging")(1, 2)
    assert pipe.getvalue() == ""
