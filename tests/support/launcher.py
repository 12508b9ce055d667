"""Calls of tests/winpython from tests on the Linux side."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

LAUNCHER: Final = Path(__file__).parents[1] / "winpython"

needs_winpython: Final = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="tests/winpython sets itself up on Linux, as root",
)


def winpython(
    *arguments: str | Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program on the Windows Python; return its outputs, progress of a set-up left out."""
    done = subprocess.run(
        [LAUNCHER, *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if not line.startswith("winpython: "))
    done.stdout = done.stdout.replace("\r\n", "\n")
    done.stderr = done.stderr.replace("\r\n", "\n")
    return done


def start_copy(
    folder: Path, target: str, partial: str, *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a copy of in.img in small blocks; return when it has written to `partial`."""
    ready = winpython("-c", "", cwd=folder, environment=environment)
    assert ready.returncode == 0, ready.stderr  # everything is set up
    command = ["-m", "pyvhdmp", "copy", "in.img", target, "--force", "--verify"]
    process = subprocess.Popen(
        [LAUNCHER, *command, "--queue-depth", "2", "--io-size", "4K"],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not ((folder / partial).exists() and _allocated(folder / partial) > 4 << 20):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def _allocated(path: Path) -> int:
    """Return the bytes that a sparse file takes."""
    if sys.platform == "win32":
        raise NotImplementedError
    return path.stat().st_blocks * 512
