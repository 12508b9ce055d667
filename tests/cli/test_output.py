"""Errors as one line: what they call the options, and which of their notes are in it."""

from __future__ import annotations

import pytest

from pyvhdmp import InvalidInputError, hints
from pyvhdmp._win32 import constants
from pyvhdmp.cli.output import _HERE, describe
from pyvhdmp.errors import windows_error


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
