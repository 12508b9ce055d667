"""What a terminal is shown of a hostile image's names is text, and does nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest

from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk import PROTOTYPES
from pyvhdmp.cli import main
from pyvhdmp.testing import SimulatedWindows, substituted
from tests.cli.conftest import Terminal
from tests.support.vhdmp import Driver

HOSTILE = "C:\\x\x1b]0;title\x07\x1b[2J\x9b31m\r\u202efdp\ntype: raw\t.vhdx"


@pytest.fixture
def hostile() -> Iterator[Driver]:
    """A disk with such a parent, on a Windows that answers no more than it must."""
    driver = Driver(subtype=enums.PROVIDER_SUBTYPE_DIFFERENCING, parents=[HOSTILE])
    with substituted(virtdisk=dict.fromkeys(PROTOTYPES, lambda *_: 50)), driver.installed():
        yield driver


def shown(monkeypatch: pytest.MonkeyPatch, *arguments: str, terminal: bool) -> str:
    """Return what a command writes, to a terminal or to a pipe."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal() if terminal else io.StringIO())
    main(list(arguments))
    assert isinstance(sys.stdout, io.StringIO)
    assert isinstance(sys.stderr, io.StringIO)
    return sys.stdout.getvalue() + sys.stderr.getvalue()


@pytest.mark.parametrize("parent_found", [True, False])
def test_a_parent_whose_name_is_a_command_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, hostile: Driver, parent_found: bool
) -> None:
    hostile.parent_found = parent_found
    text = shown(monkeypatch, "info", "a.vhdx", terminal=False)
    assert not set("\x1b\x07\x9b\r\t\u202e") & set(text)
    assert "\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\r\\u202efdp\\ntype: raw\\t.vhdx" in text
    assert not any(line.startswith("type: raw") for line in text.splitlines())
    found = json.loads(shown(monkeypatch, "info", "a.vhdx", "--json", terminal=False))
    assert HOSTILE in [disk["path"] for disk in found["chain"]] + found.get("parent_looked_for", [])


@pytest.mark.usefixtures("hostile")
def test_a_table_on_a_terminal_has_no_commands_of_its_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = shown(monkeypatch, "info", "a.vhdx", terminal=True)
    assert "]0;title" in text.replace("\n", "")
    for command in ("\x1b]", "\x07", "\x9b", "\u202e", "\x1b[2J"):
        assert command not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_an_error_is_one_line_whatever_the_name(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    with SimulatedWindows():
        text = shown(monkeypatch, "info", "a\x1b[2J\nb\x07.img", terminal=terminal)
    assert text.count("\n") == 1
    assert "\x1b[2J" not in text
    assert "\x07" not in text
