"""How the examples are called, and what they say when something is wrong."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from pyvhdmp.testing import SimulatedWindows
from tests.examples import (
    backup_changes,
    convert_folder,
    data_disk,
    pull_files,
    watch_compact,
)

needs_other_systems: Final = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows is what they need"
)
NO_WINDOWS: Final = "pyvhdmp does its I/O through Windows' own DLLs"


def run(script: ModuleType, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Run a script; return its exit code, and what it says."""
    path = Path(str(script.__file__))
    done = subprocess.run(
        [sys.executable, path, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(path.parents[2]), *sys.path])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (data_disk, "In the current folder it makes data.vhdx"),
        (pull_files, "pip install dissect.volume dissect.fat"),
        (backup_changes, "each time only what has changed"),
        (convert_folder, "What is there already is not replaced."),
        (watch_compact, "124 out of time"),
    ],
)
def test_help_says_what_a_script_does(script: ModuleType, said: str, tmp_path: Path) -> None:
    code, text = run(script, "--help", cwd=tmp_path)
    assert code == 0
    assert said in text


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (data_disk, [], "the following arguments are required: FOLDER"),
        (data_disk, ["none"], "error: none is no folder"),
        (pull_files, [], "the following arguments are required: IMAGE"),
        (pull_files, ["a.img", "--number", "0"], "N must be 1 or more"),
        (backup_changes, [], "the following arguments are required: COMMAND"),
        (convert_folder, ["none", "to"], "error: none is no folder"),
        (convert_folder, [".", "to", "--jobs", "0"], "N must be 1 or more"),
        (convert_folder, [".", "."], "TARGET must be another folder than SOURCE"),
        (convert_folder, [".", "to", "--to", "vmdk"], "invalid choice: 'vmdk'"),
        (watch_compact, ["a.vhdx", "--timeout", "soon"], "invalid float value: 'soon'"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    script: ModuleType, arguments: list[str], said: str, tmp_path: Path
) -> None:
    code, text = run(script, *arguments, cwd=tmp_path)
    assert code == 2
    assert said in text


@needs_other_systems
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (data_disk, ["."]),
        (pull_files, ["a.img"]),
        (backup_changes, ["backup", "a.vhdx", "to"]),
        (convert_folder, [".", "to"]),
        (watch_compact, ["a.vhdx"]),
    ],
)
def test_without_windows_one_line_says_so(
    script: ModuleType, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.img").touch()
    code, text = run(script, *arguments, cwd=tmp_path)
    assert code == 1
    assert text.startswith(Path(str(script.__file__)).name + ": ")
    assert NO_WINDOWS in text


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (data_disk, ["."]),
        (pull_files, ["none.img"]),
        (backup_changes, ["backup", "none.vhdx", "to"]),
        (convert_folder, [".", "to"]),
        (watch_compact, ["none.vhdx"]),
    ],
)
def test_an_error_has_its_notes_below_it(
    script: ModuleType,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "none.vhdx").touch()  # of the real machine alone
    monkeypatch.chdir(tmp_path)
    path = str(script.__file__)
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    with SimulatedWindows(vhdmp=False), pytest.raises(SystemExit) as ended:
        runpy.run_path(path, run_name="__main__")
    assert ended.value.code == 1
    said, *notes = capsys.readouterr().err.splitlines()
    assert said.startswith(Path(path).name + ": ")
    assert "failed with Windows error" in notes[0]
    assert all(note.startswith("  ") for note in notes)
