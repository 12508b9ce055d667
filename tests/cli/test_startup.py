"""Ctrl+C before a command has begun: while Python imports what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyvhdmp import _startup

ROOT = Path(__file__).parents[2]

# Stands for a Ctrl+C at the moment when a module is imported.
INTERRUPT = """
import signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder)
"""
SCRIPT = "import sys\nfrom pyvhdmp.cli import run\nsys.exit(run())\n"


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(INTERRUPT.format(module=module))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("module", ["pyvhdmp.errors", "pyvhdmp.disk", "pyvhdmp.cli.create"])
@pytest.mark.parametrize("is_script", [False, True])
def test_ctrl_c_while_it_starts_is_one_line_and_exit_code_130(
    tmp_path: Path, module: str, is_script: bool
) -> None:
    (tmp_path / "pyvhdmp").write_text(SCRIPT)
    program = [str(tmp_path / "pyvhdmp")] if is_script else ["-m", "pyvhdmp"]
    done = run(tmp_path, module, *program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "pyvhdmp: interrupted\n")


def test_in_any_other_program_it_is_what_it_was(tmp_path: Path) -> None:
    catch = "\ntry:\n    from pyvhdmp import Disk\nexcept KeyboardInterrupt:\n    print('caught')\n"
    done = run(tmp_path, "pyvhdmp.disk", "-c", catch)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caught\n", "")


@pytest.mark.parametrize(
    ("arguments", "original", "expected"),
    [
        (["-m", "copy"], ["python", "-m", "pyvhdmp", "copy"], True),
        (["-m"], ["python", "-W", "error", "-m", "pyvhdmp"], True),
        (["-m", "pyvhdmp"], ["python", "-m", "other", "pyvhdmp"], False),
        (["-m"], ["python", "-m"], False),
        (["/usr/bin/pyvhdmp", "copy"], [], True),
        (["C:\\Python\\Scripts\\PyVhdmp.exe"], [], True),
        (["C:\\pyvhdmp\\tool.py"], [], False),
        (["-c"], ["python", "-c", "import pyvhdmp"], False),
        ([], [], False),
    ],
)
def test_it_knows_whether_it_is_the_program(
    arguments: list[str], original: list[str], expected: bool
) -> None:
    assert _startup.is_program(arguments, original) is expected


def test_nothing_is_changed_here() -> None:
    before = signal.getsignal(signal.SIGINT)
    _startup.over()
    assert signal.getsignal(signal.SIGINT) is before
