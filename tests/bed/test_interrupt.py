"""Ctrl+C and worse in the middle of a copy on the Windows Python."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.launcher import LAUNCHER, needs_winpython, start_copy, winpython

pytestmark = needs_winpython

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.img"
    block = random.Random(1).randbytes(16 * MIB)
    with path.open("wb") as file:
        for _ in range(64):
            file.write(block)
    return path


@pytest.mark.parametrize("old", [None, b"old target"])
def test_ctrl_c_halfway_is_exit_code_130_and_leaves_all_as_it_was(
    source: Path, tmp_path: Path, old: bytes | None
) -> None:
    if old is not None:
        (tmp_path / "out.vhd").write_bytes(old)
    process = start_copy(tmp_path, "out.vhd", "out.vhd.pyvhdmp-partial")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    state = "no file is left" if old is None else "out.vhd is as it was"
    line = f"pyvhdmp: interrupted: copy was cancelled; {state}\n"
    assert errors.replace("\r\n", "\n") == line
    names = sorted(path.name for path in tmp_path.iterdir())
    if old is None:
        assert names == ["in.img"]
    else:
        assert names == ["in.img", "out.vhd"]
        assert (tmp_path / "out.vhd").read_bytes() == old


@pytest.mark.parametrize("arguments", [["-", "out.img", "--size", "2G"], ["in.img", "-"]])
def test_ctrl_c_while_a_pipe_is_silent_leaves_all_as_it_was(
    source: Path, tmp_path: Path, arguments: list[str]
) -> None:
    assert winpython("-c", "", cwd=tmp_path).returncode == 0  # everything is set up
    with subprocess.Popen(
        [LAUNCHER, "-m", "pyvhdmp", "copy", *arguments, "-v"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        while b"copying " not in (line := process.stderr.readline()):
            assert line, process.wait()
        process.send_signal(signal.SIGINT)
        process.wait(60)  # while nobody writes to it, or reads from it
        errors = process.stderr.read().decode()
    assert process.returncode == 130
    state = "no file is left" if arguments[0] == "-" else "in.img was only read"
    said = f"pyvhdmp: interrupted: copy was cancelled; {state}\n"
    assert errors.replace("\r\n", "\n").endswith(said)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process the Linux way")
def test_a_killed_copy_leaves_no_target_and_the_next_one_works(
    source: Path, tmp_path: Path
) -> None:
    process = start_copy(tmp_path, "out.vhd", "out.vhd.pyvhdmp-partial")
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / "out.vhd").exists()
    source.write_bytes(source.read_bytes()[: 8 * MIB])
    deadline = time.monotonic() + 30  # until Wine has noticed that the file is free again
    while (
        done := winpython("-m", "pyvhdmp", "copy", "in.img", "out.vhd", cwd=tmp_path)
    ).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.img", "out.vhd"]


def test_a_source_that_shrinks_under_a_copy_is_one_line(source: Path, tmp_path: Path) -> None:
    """Windows would not let it; the Linux side can."""
    process = start_copy(tmp_path, "out.vhd", "out.vhd.pyvhdmp-partial")
    with source.open("r+b") as file:
        file.truncate(32 * MIB)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert errors.count("\n") == 1
    assert "in.img: read " in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.img"]
