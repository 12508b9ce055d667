"""Calls of tests/winpython from tests on the Linux side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

LAUNCHER: Final = Path(__file__).parents[1] / "winpython"

needs_winpython: Final = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="tests/winpython sets itself up on Linux, as root",
)


def winpython(
    *arguments: str | Path, cwd: Path, seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a program on the Windows Python; return its outputs, progress of a set-up left out."""
    done = subprocess.run(
        [LAUNCHER, *arguments],
        cwd=cwd,
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
