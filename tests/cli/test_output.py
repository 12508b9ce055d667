"""Errors as one line: what they call the options, and which of their notes are in it."""

from __future__ import annotations

import io
import sys

import pytest

from pyvhdmp import InvalidInputError, hints
from pyvhdmp._win32 import constants
from pyvhdmp.cli import run
from pyvhdmp.cli.output import _HERE, describe
from pyvhdmp.errors import windows_error
from pyvhdmp.testing import SimulatedWindows


@pytest.mark.parametrize("code", [32, 0xC03A001A, 0xC03A0025, 0xC03A7777])
def test_a_code_is_said_once_and_as_it_is_looked_up(code: int) -> None:
    line = describe(windows_error(code, "OpenVirtualDisk", "a.vhdx"))
    shown = f"0x{code:08X}" if code > 0xFFFF else str(code)
    assert line.count(f"(Windows error {shown})") == 1
    assert line.upper().count(shown.upper()) == 1
    assert str(code) == shown or str(code) not in line


def test_what_is_known_to_help_is_said_of_every_kind_of_error() -> None:
    error = InvalidInputError.because("size must be less", "a.vhdx")
    assert describe(error) == "a.vhdx: size must be less"
    error.add_note("With force=True it would go.")
    assert describe(error) == "a.vhdx: size must be less. With --force it would go."


@pytest.mark.parametrize("code", [constants.ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA, 1450])
def test_what_a_hint_calls_as_python_does_is_an_option_here(code: int) -> None:
    hint = hints.hint_for("ResizeVirtualDisk", code)
    assert hint
    assert any(name in hint for name in _HERE)
    line = describe(windows_error(code, "ResizeVirtualDisk"))
    assert not any(name in line for name in _HERE)


def test_names_of_parameters_are_whole_words() -> None:
    error = InvalidInputError.because("physical_sector_size must not be below sector_size")
    assert describe(error) == "--physical-sector-size must not be below --sector-size"
    assert describe(InvalidInputError.because("subsector_size")) == "subsector_size"


@pytest.mark.parametrize(("name", "code"), [("ł.img", 0), ("no ł.img", 1)])
def test_names_that_a_pipe_has_no_letters_for_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="cp1252") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["pyvhdmp", "info", name])
    with SimulatedWindows() as windows:
        windows.files["ł.img"] = bytes(4096)
        assert run() == code
    streams[code].seek(0)
    assert name.replace("ł", "\\u0142") in streams[code].read()
