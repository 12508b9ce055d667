"""copy from standard input and to standard output, in one process and through real pipes."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from pyvhdmp import make_fixed_vhd, open_disk
from pyvhdmp.cli import main
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run, Terminal
from tests.support.files import FilePath

CONTENT = random.Random(5).randbytes(2 * MIB) + bytes(MIB) + b"end of it".ljust(512)
SIZE = len(CONTENT)

Feed: TypeAlias = Callable[[bytes], None]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Return what makes bytes standard input."""

    def feed(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return feed


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes]]:
    """Return what runs a command, and returns its exit code and the bytes of its output."""

    def run(*arguments: str) -> tuple[int, bytes]:
        stream = io.BytesIO()
        with monkeypatch.context() as patches:
            patches.setattr(sys, "stdout", io.TextIOWrapper(stream))
            code = main(list(arguments))
            return code, stream.getvalue()

    return run


def test_standard_input_becomes_a_disk(
    machine: SimulatedWindows | None, tmp_path: FilePath, run: Run, feed: Feed
) -> None:
    target = str(tmp_path / "out.vhd")
    feed(CONTENT)
    said = run("copy", "-", target, "--size", str(SIZE), "--verify").text
    assert said.startswith("copied 3.0 MiB in ")
    assert said.endswith(", verified\n")
    with open_disk(target) as disk:
        assert disk.read(0, disk.sector_count).result() == CONTENT
    feed(CONTENT)
    figures = run("copy", "-", target, "--size", str(SIZE), "--force", "--json").json
    assert (figures["source"], figures["target"], figures["bytes"]) == ("-", target, SIZE)
    assert figures["target_type"] == "fixed"


def test_a_file_as_standard_input_tells_its_size(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = tmp_path_factory.mktemp("real") / "in.img"
    real.write_bytes(b"what was read before".ljust(512) + CONTENT)
    with real.open("rb") as file:
        file.seek(512)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert run("copy", "-", str(tmp_path / "out.img")).code == 0
    assert (tmp_path / "out.img").read_bytes() == CONTENT


def test_an_input_that_is_too_short_is_one_line_and_no_file(
    machine: SimulatedWindows | None, tmp_path: FilePath, run: Run, feed: Feed
) -> None:
    feed(CONTENT)
    assert run("copy", "-", str(tmp_path / "out.vhd"), "--size", "4M").error == (
        f"standard input: it ended after {SIZE} bytes: {4 * MIB - SIZE} of {4 * MIB} are missing"
    )
    feed(CONTENT)
    assert run("copy", "-", str(tmp_path / "out.vhd"), "--size", "3M").error == (
        f"standard input: it goes on behind the {3 * MIB} bytes that it should have"
    )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_what_there_is_of_the_target(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(io.BytesIO):
        def readinto(self, buffer: object, /) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Interrupted()))
    target = tmp_path / "out.vhd"
    done = run("copy", "-", str(target), "--size", "3M")
    assert done.interruption == "copy was cancelled; no file is left"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_goes_to_standard_output_and_nothing_else_does(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    output: Callable[..., tuple[int, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    without_rich: None,
) -> None:
    make_fixed_vhd(tmp_path / "in.vhd", SIZE)
    with open_disk(tmp_path / "in.vhd") as disk:
        disk.write(0, CONTENT).result()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert output("copy", str(tmp_path / "in.vhd"), "-") == (0, CONTENT)
    assert "copying 3.0 MiB of 3.0 MiB  100 %" in terminal.getvalue()
    assert terminal.getvalue().split("\r")[-2].strip() == ""


@pytest.mark.parametrize("nowhere", ["NUL", "nul", "/dev/null"])
def test_a_disk_that_goes_nowhere_is_read_to_its_end(
    machine: SimulatedWindows | None, tmp_path: FilePath, run: Run, nowhere: str
) -> None:
    (tmp_path / "in.img").write_bytes(CONTENT)
    source = str(tmp_path / "in.img")
    assert run("copy", source, nowhere).text.startswith("read 3.0 MiB in ")
    figures = run("copy", source, nowhere, "--json").json
    assert (figures["target"], figures["bytes"]) == (nowhere, SIZE)
    assert figures["requests"] > 0
    assert "(Windows error 2)" in run("copy", str(tmp_path / "none.img"), nowhere).error
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


def test_a_disk_that_cannot_be_read_to_its_end_is_one_line(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.files["in.img"] = CONTENT
    vhdmp.fail_next("ReadFile", 23, pending=True, calls=20)  # the first are no more than probes
    assert "(Windows error 23)" in run("copy", "in.img", "NUL").error


def test_ctrl_c_in_a_copy_to_standard_output(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    output: Callable[..., tuple[int, bytes]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "in.img").write_bytes(CONTENT)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "report", interrupted)
    code, _ = output("copy", str(tmp_path / "in.img"), "-")
    assert code == 130
    assert capsys.readouterr().err == (
        f"pyvhdmp: interrupted: copy was cancelled; {tmp_path / 'in.img'} was only read\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-", "-"], "- as SRC cannot go with - as DST"),
        (["-", "NUL", "--size", "8M"], "- as SRC cannot go with NUL as DST"),
        (["a.img", "nul", "--verify"], "--verify cannot go with nul as DST"),
        (["a.img", "/dev/null", "--type", "fixed"], "--type cannot go with /dev/null as DST"),
        (["-", "b.vhd"], "- as SRC wants --size, such as --size 10G"),
        (["-", "b.vhd", "--size", "much"], "argument --size: 'much' is no size, such as"),
        (["-", "b.vhdx", "--size", "8M", "--parent", "a.vhdx"], "--parent cannot go with - as SRC"),
        (["a.img", "b.vhd", "--size", "8M"], "--size goes with - as SRC alone"),
        (["a.img", "-", "--json"], "--json cannot go with - as DST"),
        (["a.img", "-", "--verify"], "--verify cannot go with - as DST"),
        (["a.img", "-", "--force"], "--force cannot go with - as DST"),
        (["a.img", "-", "--type", "fixed"], "--type cannot go with - as DST"),
        (["a.img", "-", "--parent", "a.vhdx"], "--parent cannot go with - as DST"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    run: Run, feed: Feed, arguments: list[str], complaint: str
) -> None:
    feed(CONTENT)
    code, output, errors = run("copy", *arguments)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert errors.count("\n") == 1


def test_a_terminal_has_no_bytes_of_a_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    done = run("copy", "-", "b.vhd", "--size", "8M")
    assert done.code == 2
    assert "standard input to be a file or a pipe, not a terminal" in done.errors
    monkeypatch.setattr(sys, "stdin", None)  # as where there is no console at all
    assert run("copy", "-", "b.vhd", "--size", "8M").code == 2
    terminal = Terminal()
    with monkeypatch.context() as patches:
        patches.setattr(sys, "stdout", terminal)
        assert main(["copy", "a.img", "-"]) == 2
    assert terminal.getvalue() == ""


# -- Real pipes: of the Windows Python, or, elsewhere, on a simulated Windows ------------------

PROGRAM = (
    [sys.executable, "-m", "pyvhdmp"]
    if sys.platform == "win32"
    else [
        sys.executable,
        "-c",
        "import pathlib, sys\n"
        "from pyvhdmp.testing import SimulatedWindows\n"
        "from pyvhdmp.cli import run\n"
        "with SimulatedWindows() as windows:\n"
        "    for path in pathlib.Path().glob('*.img'):\n"
        "        windows.files[path.name] = path.read_bytes()\n"
        "    code = run()\n"
        "    for path in windows.files:\n"
        "        pathlib.Path(path[3:]).write_bytes(windows.files[path])\n"
        "sys.exit(code)\n",
    ]
)
ROOT = Path(__file__).parents[2]


def start(
    folder: Path,
    *arguments: str,
    output: int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    program = [*PROGRAM, *arguments]
    if sys.platform != "win32":
        program[2] = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + program[2]
    return subprocess.Popen(
        program,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipes")


NASTY = bytes(range(256)) * 2 + b"\r\n\x1a\n" * 128  # what a text stream would not let through


def test_a_pipe_becomes_an_image_to_the_byte(folder: Path) -> None:
    process = start(folder, "copy", "-", "out.img", "--size", str(len(NASTY + CONTENT)))
    output, errors = process.communicate(NASTY + CONTENT, timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert output.startswith(b"copied 3.0 MiB in ")
    assert (folder / "out.img").read_bytes() == NASTY + CONTENT


def test_an_image_goes_through_a_pipe_to_the_byte(folder: Path) -> None:
    (folder / "in.img").write_bytes(NASTY + CONTENT)
    process = start(folder, "copy", "in.img", "-", "--io-size", "64K")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert output == NASTY + CONTENT


def test_standard_output_that_leads_nowhere_is_no_terminal(folder: Path) -> None:
    (folder / "in.img").write_bytes(CONTENT)
    process = start(folder, "copy", "in.img", "-", output=subprocess.DEVNULL)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_a_pipe_that_nobody_reads_any_more_is_one_line_and_exit_code_1(folder: Path) -> None:
    (folder / "in.img").write_bytes(CONTENT * 4)
    process = start(folder, "copy", "in.img", "-", "--io-size", "4K")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdin is not None
    with process:
        assert process.stdout.read(4096) == CONTENT[:4096]
        process.stdout.close()
        errors = process.stderr.read().replace(b"\r\n", b"\n")
    assert process.returncode == 1
    assert errors.startswith(b"pyvhdmp: standard output: nobody reads it any more, after ")
    assert errors.count(b"\n") == 1


def test_a_pipe_that_ends_too_early_is_one_line_and_no_file(folder: Path) -> None:
    process = start(folder, "copy", "-", "out.vhd", "--size", "8M")
    output, errors = process.communicate(CONTENT, timeout=60)
    assert (process.returncode, output) == (1, b"")
    assert errors.startswith(f"pyvhdmp: standard input: it ended after {SIZE} bytes: ".encode())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("options", [["ł.img"], ["."], ["ł.img", "-vv"], ["none ł.img"]])
def test_names_go_through_a_pipe_that_has_no_letters_for_them(
    folder: Path, options: list[str]
) -> None:
    (folder / "ł.img").write_bytes(CONTENT)
    environment = {name: value for name, value in os.environ.items() if "UTF8" not in name}
    environment["PYTHONIOENCODING"] = "" if sys.platform == "win32" else "ascii"
    process = start(folder, "info", *options, environment=environment)
    outputs = process.communicate(timeout=60)
    assert process.returncode == (1 if "none" in options[0] else 0)
    text = b"".join(outputs).decode("ascii")
    assert "\\u0142.img" in text
    assert "Error" not in text
    if process.returncode == 0:
        process = start(folder, "info", *options, "--json", environment=environment)
        facts = json.loads(process.communicate(timeout=60)[0])
        assert "ł.img" in json.dumps(facts, ensure_ascii=False)
