"""What a terminal is shown by rich, where that is installed: bars, tables, colour."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO, TypeAlias

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp.cli import main
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Terminal

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    if sys.platform == "win32":  # which on Wine has no console that could tell
        monkeypatch.setattr("rich.console.detect_legacy_windows", lambda: False)
        monkeypatch.setenv("COLORTERM", "truecolor")


class Shown(NamedTuple):
    """What a command came to, and what the terminals of both its streams were sent."""

    code: int
    output: Terminal
    errors: Terminal


OnTerminals: TypeAlias = Callable[..., Shown]


@pytest.fixture
def on_terminals(monkeypatch: pytest.MonkeyPatch) -> OnTerminals:
    """Return what runs a command on terminals."""

    def run(*arguments: str) -> Shown:
        output, errors = Terminal(), Terminal()
        with monkeypatch.context() as patches:
            patches.setattr(sys, "stdout", output)
            patches.setattr(sys, "stderr", errors)
            return Shown(main(list(arguments)), output, errors)

    return run


@pytest.fixture
def disk(vhdmp: SimulatedWindows) -> SimulatedWindows:
    VirtualDisk.create_dynamic("[b]a.vhdx", 8 * MIB).close()
    return vhdmp


def words(terminal: io.StringIO) -> list[str]:
    return ESCAPES.sub("", terminal.getvalue()).split()


def is_coloured(terminal: io.StringIO) -> bool:
    return COLOURS.search(terminal.getvalue()) is not None


def shown(terminal: TextIO, **options: bool) -> None:
    with ProgressLine(terminal, **options) as progress:
        progress.report("copying", 0, 4 << 20)
        progress.report("copying", 1 << 20, 4 << 20)


def test_progress_is_a_bar_with_bytes_rate_and_time_left_that_is_wiped() -> None:
    terminal = Terminal()
    shown(terminal)
    said = ESCAPES.sub("", terminal.getvalue())
    assert re.search(r"copying \S+ *\S* 1\.0 MiB of 4\.0 MiB  25 %  \S+ .iB/s  \d+:\d\d left", said)
    assert is_coloured(terminal)
    assert terminal.getvalue().endswith("\x1b[2K")  # erased
    assert said.endswith("\r") or said.strip("\r\n ").endswith("left")


def test_a_bar_without_a_unit() -> None:
    terminal = Terminal()
    with ProgressLine(terminal) as progress:
        progress.share("merging [b]")(3, 4)
    said = ESCAPES.sub("", terminal.getvalue())
    assert re.search(r"merging \[b\] .* 75 %  \d+:\d\d left", said)


def test_what_never_had_progress_shows_nothing() -> None:
    terminal = Terminal()
    with ProgressLine(terminal):
        pass
    assert terminal.getvalue() == ""


def test_no_color_has_a_bar_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    shown(terminal)
    assert "copying" in words(terminal)
    assert not is_coloured(terminal)


@pytest.mark.parametrize("term", ["dumb", "unknown", "DUMB"])
def test_a_dumb_terminal_is_written_plain_text(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    terminal = Terminal()
    shown(terminal)
    assert "\x1b" not in terminal.getvalue()
    assert "\rcopying 1.0 MiB of 4.0 MiB  25 %  " in terminal.getvalue()


def test_nothing_is_shown_in_a_pipe_or_where_there_is_no_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = io.StringIO()
    shown(pipe)
    assert pipe.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressLine() as progress:
        progress.report("copying", 1, 2)


def test_quiet_shows_nothing() -> None:
    terminal = Terminal()
    shown(terminal, quiet=True)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("disk")
def test_info_is_a_table(on_terminals: OnTerminals) -> None:
    code, output, errors = on_terminals("info", "[b]a.vhdx")
    assert (code, errors.getvalue()) == (0, "")
    assert is_coloured(output)
    lines = [line.split() for line in ESCAPES.sub("", output.getvalue()).splitlines()]
    assert ["path:", "[b]a.vhdx"] in lines
    assert ["size:", "8.0", "MiB", "(8388608", "bytes)"] in lines


@pytest.mark.usefixtures("disk")
def test_a_folder_is_a_table(on_terminals: OnTerminals) -> None:
    said = words(on_terminals("info", ".").output)
    assert said[:8] == "name format type size file parent or problem".split()  # noqa: SIM905
    assert said[-7:] == ["[b]a.vhdx", "vhdx", "dynamic", "8.0", "MiB", "64.0", "KiB"]


@pytest.mark.usefixtures("disk")
def test_attached_disks_are_a_table(on_terminals: OnTerminals) -> None:
    assert on_terminals("attached").output.getvalue() == ""
    (device,) = words(on_terminals("attach", "[b]a.vhdx").output)
    head, below, *_, file = words(on_terminals("attached").output)
    assert (head, below) == ("device", "file")
    assert file.endswith("[b]a.vhdx")
    assert device in words(on_terminals("attached").output)
    assert on_terminals("detach", "[b]a.vhdx").code == 0


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("option", "begins"), [("--json", '{"path": '), ("--quiet", "")])
def test_no_table_is_made_of_what_is_not_for_people(
    on_terminals: OnTerminals, option: str, begins: str
) -> None:
    shown = on_terminals("info", "[b]a.vhdx", option).output.getvalue()
    assert "\x1b" not in shown
    assert shown[:9] == begins


@pytest.mark.usefixtures("disk")
def test_an_error_is_one_line_however_narrow_the_terminal(
    on_terminals: OnTerminals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    code, output, errors = on_terminals("info", "[bold]none.vhdx")
    assert (code, output.getvalue()) == (1, "")
    assert is_coloured(errors)
    assert errors.getvalue().count("\n") == 1
    said = ESCAPES.sub("", errors.getvalue())
    assert said.startswith("pyvhdmp: [bold]none.vhdx: ")
    assert said.endswith("(Windows error 2)\n")


@pytest.mark.usefixtures("disk", "without_rich")
def test_without_rich_a_terminal_has_the_same_words(on_terminals: OnTerminals) -> None:
    _, output, errors = on_terminals("info", "[b]a.vhdx")
    assert output.getvalue().startswith(f"{'path:':22}[b]a.vhdx\n")
    failed = on_terminals("info", "none.vhdx").errors
    assert "\x1b" not in output.getvalue() + errors.getvalue() + failed.getvalue()


@pytest.mark.usefixtures("disk")
def test_what_is_logged_stands_above_the_bar(on_terminals: OnTerminals) -> None:
    code, output, errors = on_terminals("copy", "[b]a.vhdx", "b.img", "--verbose", "--verify")
    assert code == 0
    assert output.getvalue().startswith("copied 8.0 MiB in ")
    said = ESCAPES.sub("", errors.getvalue())
    assert re.search(r"copying \S+ *\S* 8\.0 MiB of 8\.0 MiB  100 %", said)
    assert re.search(r"\r\d\d:\d\d:\d\d\.\d{3}  copied 8388608 bytes in .*\n", said)
