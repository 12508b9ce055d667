"""completions: in bash itself what it completes, for PowerShell what the script says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyvhdmp.cli import main
from tests.cli.conftest import Run
from tests.cli.test_usage import COMMANDS

ROOT = Path(__file__).parents[2]

in_bash = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash"
)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completed")
    for name in ("disk.img", "disk one.vhdx", "other.vhd"):
        (folder / name).touch()
    (folder / "deep").mkdir()
    (folder / "deep" / "inner.vhd").touch()
    return folder


COMPLETE = """
source completions
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_pyvhdmp && printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(folder: Path, run: Run, *words: str) -> set[str]:
    """Return what bash completes the last of these words to."""
    (folder / "completions").write_text(run("completions", "bash").text)
    done = subprocess.run(
        ["bash", "--norc", "-u", "-c", COMPLETE, "bash", "pyvhdmp", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines()) - {"completions", ""}


@in_bash
def test_bash_completes_commands(folder: Path, run: Run) -> None:
    assert completed(folder, run, "") == {*COMMANDS} - {"completions"}
    assert completed(folder, run, "com") == {"compact", "compare"}
    assert completed(folder, run, "--v") == {"--version", "--verbose"}
    assert completed(folder, run, "-") >= {"-h", "--help", "-q", "--quiet", "-v"}
    assert completed(folder, run, "-q", "com") == {"compact", "compare"}
    assert completed(folder, run, "-v", "-v", "merge", "--de") == {"--depth", "--delete"}
    assert completed(folder, run, "mount") == set()


@in_bash
def test_bash_completes_the_options_of_a_command(folder: Path, run: Run) -> None:
    assert completed(folder, run, "copy", "a.img", "--ver") == {"--verify", "--verbose"}
    assert completed(folder, run, "merge", "--de") == {"--depth", "--delete"}
    assert "-q" in completed(folder, run, "attached", "-")
    assert completed(folder, run, "attached", "--f") == set()
    assert completed(folder, run, "mount", "--f") == set()


@in_bash
@pytest.mark.parametrize("before", [["--type"], ["--type", "="]])
def test_bash_completes_what_an_option_can_be(folder: Path, run: Run, before: list[str]) -> None:
    assert completed(folder, run, "copy", *before, "") == {"fixed", "dynamic"}
    assert completed(folder, run, "create", *before, "f") == {"fixed"}
    assert completed(folder, run, "bench", "--backend", "") == {"auto", "vhdmp", "fixed-vhd", "raw"}
    assert completed(folder, run, "completions", "p") == {"powershell"}
    assert completed(folder, run, "copy", "--type", "=") == {"fixed", "dynamic"}


@in_bash
def test_bash_completes_paths_where_one_is_wanted(folder: Path, run: Run) -> None:
    there = {"disk.img", "disk one.vhdx"}
    for words in (["info"], ["copy", "a.img"], ["create", "--parent"], ["bench", "--plot"]):
        assert completed(folder, run, *words, "disk") == there
    assert completed(folder, run, "compare", "deep/") == {"deep/inner.vhd"}
    assert completed(folder, run, "copy", "--io-size", "disk") == set()
    assert completed(folder, run, "attached", "disk") == set()
    assert completed(folder, run, "completions", "disk") == set()


@in_bash
def test_bash_has_it_in_place_once_it_is_sourced(folder: Path, run: Run) -> None:
    (folder / "completions").write_text(run("completions", "bash").text)
    done = subprocess.run(
        ["bash", "--norc", "-c", "source completions; complete -p pyvhdmp pyvhdmp.exe"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "complete -F _pyvhdmp pyvhdmp",
        "complete -F _pyvhdmp pyvhdmp.exe",
    ]


def without_strings(script: str) -> str:
    """Return a PowerShell script without what stands in quotes, and in comments."""
    return re.sub(r"#.*", "", re.sub(r"'(?:[^']|'')*'", "", script))


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    assert main([command, "--help"]) == 0
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out.split("\n\n")[0]))


def test_powershell_is_told_of_every_command_and_all_its_options(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    script = run("completions", "powershell").text
    for command in COMMANDS:
        block = re.search(rf"^        '{command}' = @\{{\n(.*?)^        \}}", script, re.M | re.S)
        assert block, command
        options = block[1].splitlines()[0]
        wanted = options_of(command, capsys)
        assert wanted >= {"-h", "-q", "-v"}
        for option in wanted:
            assert f"'{option}' = '" in options
    assert "'--type' = [ordered]@{'fixed' = 'fixed'; 'dynamic' = 'dynamic'}" in script
    assert "words = [ordered]@{'bash' = 'bash'; 'powershell' = 'powershell'}" in script


def test_the_script_for_powershell_is_well_formed(run: Run) -> None:
    script = run("completions", "powershell").text
    assert script.count("'") % 2 == 0
    bare = without_strings(script)
    assert "'" not in bare
    assert '"' not in bare
    for opening, closing in ("{}", "()", "[]"):
        depth = 0
        for character in bare:
            depth += (character == opening) - (character == closing)
            assert depth >= 0
        assert depth == 0
    assert re.search(r"Register-ArgumentCompleter -Native -CommandName 'pyvhdmp'", script)
    assert re.findall(r"^ *param\((.*)\)$", script, re.M) == ["$word, $line, $cursor"]
    assert "@NAMES@" not in script


@pytest.mark.parametrize("shell", ["bash", "powershell"])
def test_the_script_is_ascii_with_the_line_ends_of_unix(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyvhdmp", "completions", shell],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    assert b"\r" not in done.stdout
    assert done.stdout.isascii()


def test_another_shell_is_wrong_usage(run: Run) -> None:
    code, output, errors = run("completions", "zsh")
    assert (code, output) == (2, "")
    assert "argument SHELL: invalid choice: 'zsh'" in errors
