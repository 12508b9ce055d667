"""What `tests/winpython` promises on Linux, each promise by a test of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.winpython import CHECKOUT

if sys.platform != "linux":
    pytest.skip("tests/winpython on Linux", allow_module_level=True)

LAUNCHER = CHECKOUT / "tests" / "winpython"
SECONDS = 60
pytestmark = pytest.mark.timeout(900)  # for the set-up


@pytest.fixture(scope="module", autouse=True)
def bed() -> None:
    """Have everything set up, so that the time limits below are those of later calls."""
    for version in ("3.11", "3.13"):
        done = winpython("-c", "", environment={"WINPYTHON": version}, seconds=400)
        if done.returncode == 2 and os.getuid() != 0:
            pytest.skip(done.stderr.decode())
        assert done.returncode == 0, done.stderr


def winpython(
    *arguments: str | Path,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    data: bytes = b"",
    seconds: int = SECONDS,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [LAUNCHER, *arguments],
        cwd=cwd,
        env=os.environ | {"WINPYTHON": "3.13"} | (environment or {}),
        input=data,
        capture_output=True,
        timeout=seconds,
    )


@contextlib.contextmanager
def started(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher whose program has written its first line, `ready`."""
    process = subprocess.Popen(
        [LAUNCHER, "-uc", program],
        env=os.environ | {"WINPYTHON": "3.13"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout
        assert process.stdout.readline().rstrip() == b"ready"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def lines(output: bytes) -> list[str]:
    return output.decode().splitlines()


# ------------------------------------------------------------------- output, input, exit code


@pytest.mark.parametrize("code", [0, 1, 2, 255])
def test_the_exit_code_is_the_programs(code: int) -> None:
    assert winpython("-c", f"import sys; sys.exit({code})").returncode == code


def test_an_uncaught_exception_is_a_traceback_and_exit_code_1() -> None:
    done = winpython("-c", "raise ValueError('of the program')")
    assert done.returncode == 1
    assert lines(done.stderr)[-1] == "ValueError: of the program"


def test_both_outputs_are_separate_and_keep_every_byte() -> None:
    program = (
        "import sys; data = bytes(range(256)) * 1024;"
        "sys.stdout.buffer.write(data); sys.stderr.buffer.write(data[::-1])"
    )
    done = winpython("-c", program)
    data = bytes(range(256)) * 1024
    assert done.stdout == data
    assert done.stderr == data[::-1]


def test_standard_input_from_a_pipe_keeps_every_byte() -> None:
    data = bytes(range(256)) * 1024
    program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert winpython("-c", program, data=data).stdout == data


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a program whose standard descriptors are one, and what is shown."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "rb+", buffering=0) as standard:
            process = subprocess.Popen(
                [LAUNCHER, *arguments],
                stdin=standard,
                stdout=standard,
                stderr=standard,
                env=os.environ | {"WINPYTHON": "3.13"},
            )
        try:
            code = process.wait(timeout=SECONDS)
            return code, terminal.read(4000).decode()
        finally:
            process.kill()


def test_standard_output_may_be_a_terminal_which_shows_every_letter() -> None:
    code, shown = on_a_terminal("-c", "import sys; print('seen: größe ł 日本'); sys.exit(3)")
    assert (code, shown.split()) == (3, ["seen:", "größe", "ł", "日本"])


def test_a_terminal_gives_no_input_and_the_prompt_ends_at_once() -> None:
    code, shown = on_a_terminal()
    assert code == 0
    assert shown.rstrip().endswith(">>>")
    assert "Traceback" not in shown


def test_capture_does_not_wait_for_the_wine_server_that_the_call_starts(tmp_path: Path) -> None:
    program = "import os; print(os.environ['WINEPREFIX']); print(os.environ['WINESERVER'])"
    booted, server = lines(winpython("-c", program).stdout)
    for path in Path(booted).iterdir():  # a prefix of its own, so a server of its own
        if path.is_dir():
            (tmp_path / path.name).symlink_to(path)
        elif not path.name.startswith(".winpython"):
            shutil.copy(path, tmp_path)
    prefix = {"WINEPREFIX": str(tmp_path)}
    try:
        done = winpython("-c", program, environment=prefix)  # or the time is up
        assert lines(done.stdout) == [str(tmp_path), server]
    finally:
        subprocess.run([server, "--kill"], env=prefix, timeout=SECONDS, check=True)


# -------------------------------------------------------------------------- signals and ends


def test_sigint_is_a_keyboard_interrupt_and_exit_code_130() -> None:
    with started("import time; print('ready'); time.sleep(60)") as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert lines(errors)[-1] == "KeyboardInterrupt"


def test_a_program_may_handle_its_keyboard_interrupt() -> None:
    program = """
import sys, time
try:
    print("ready")
    time.sleep(60)
except KeyboardInterrupt:
    print("handled")
    sys.exit(7)
"""
    with started(program) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SECONDS)
        assert (process.returncode, lines(output)) == (7, ["handled"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_launcher_that_is_ended_takes_the_program_along(number: int, code: int) -> None:
    with started("import time; print('ready'); time.sleep(50)") as process:
        began = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=SECONDS)  # to the end of what the program holds open
        assert process.returncode == code
        assert time.monotonic() - began < 25


# ------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", ["plain", "with some spaces", "größer 日本語"])
def test_host_paths_work_relative_and_absolute_in_any_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.py").write_text(
        "import pathlib, sys\nfor path in sys.argv[1:]: print(pathlib.Path(path).read_text())"
    )
    (folder / f"{name}.txt").write_text("found")
    done = winpython(f"{name}.py", f"{name}.txt", folder / f"{name}.txt", cwd=folder)
    assert lines(done.stdout) == ["found", "found"]
    done = winpython(folder / f"{name}.py", f"{name}/{name}.txt", cwd=tmp_path)
    assert lines(done.stdout) == ["found"]


def test_the_checkout_is_importable_from_any_folder(tmp_path: Path) -> None:
    program = "import importlib.util as u; print(u.find_spec('pyvhdmp').origin)"
    done = winpython("-c", program, cwd=tmp_path)
    assert done.stdout.decode().strip().replace("\\", "/") == f"Z:{CHECKOUT}/pyvhdmp/__init__.py"


def test_pythonpath_names_host_folders_and_comes_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(f"print('{name}')")
    (tmp_path / "one" / "pyvhdmp.py").write_text("print('ours')")
    paths = {"PYTHONPATH": f"{tmp_path}/one:two"}
    done = winpython("-c", "import one, two, pyvhdmp", cwd=tmp_path, environment=paths)
    assert lines(done.stdout) == ["one", "two", "ours"]


def test_a_tmpdir_of_the_host_does_no_harm(tmp_path: Path) -> None:
    program = "import tempfile; tempfile.TemporaryFile().close()"
    done = winpython("-c", program, environment={"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, b"")


# ---------------------------------------------------------------------------------- versions


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_winpython_picks_the_version(version: str) -> None:
    program = "import sys; print(sys.platform, '{}.{}'.format(*sys.version_info))"
    done = winpython("-c", program, environment={"WINPYTHON": version})
    assert lines(done.stdout) == [f"win32 {version}"]


@pytest.mark.parametrize("version", ["3.10", "nonsense"])
def test_another_version_is_refused_in_one_line(version: str) -> None:
    done = winpython("-c", "print('ran')", environment={"WINPYTHON": version})
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = lines(done.stderr)
    assert line.startswith("winpython: ")
    assert version in line


# ------------------------------------------------------------------------------- concurrency


def test_several_run_at_once() -> None:
    program = "import sys; print('ready', flush=True); print(sys.stdin.read())"
    processes = [
        subprocess.Popen([LAUNCHER, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    try:
        for process in processes:  # all of them run until the last one does
            assert first_line(process.stdout) == "ready"
        for number, process in enumerate(processes):
            output, _ = process.communicate(b"%d" % number, timeout=SECONDS)
            assert (process.returncode, lines(output)) == (0, [str(number)])
    finally:
        for process in processes:
            process.kill()


def first_line(source: IO[bytes] | None) -> str:
    assert source
    return source.readline().decode().strip()
