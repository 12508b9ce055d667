"""Wrong usage: exit code 2 and one line, on every system."""

from __future__ import annotations

import io
import re
import shlex
import sys

import pytest

import pyvhdmp
from pyvhdmp.cli import main
from pyvhdmp.cli.arguments import parse
from pyvhdmp.testing import SimulatedWindows


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["mount"], "mount"),
        (["copy"], "SRC, DST"),
        (["copy", "a.img"], "DST"),
        (["copy", "a.img", "b.vhd", "c"], "unrecognized arguments: c"),
        (["copy", "a.img", "b.vhd", "--queue-depth", "0"], "0 is not in 1 .. 1024"),
        (["copy", "a.img", "b.vhd", "--queue-depth", "x"], "x is not in 1 .. 1024"),
        (["copy", "a.img", "b.vhd", "--io-size", "1000"], "1000 is no multiple of 4K"),
        (["copy", "a.img", "b.vhd", "--io-size", "128M"], "128M is no multiple of 4K"),
        (["copy", "a.img", "b.vhd", "--io-size", "big"], "'big' is no size"),
        (["copy", "a.img", "b.vhd", "--io-size", "2,5M"], "argument --io-size: '2,5M' is no size"),
        (["create", "a.vhdx", "1.5"], "argument SIZE: '1.5' is no size, such as"),
        (["create", "a.vhdx", "8M", "--block-size", "1.1K"], "argument --block-size: '1.1K' is no"),
        (["resize", "a.vhdx", "8 M"], "argument SIZE: '8 M' is no size, such as"),
        (["bench", "a.img", "--block-size", "x"], "argument --block-size: 'x' is no size, such as"),
        (["copy", "a.img", "b.vhd", "--type", "sparse"], "'sparse' is neither fixed nor dynamic"),
        (["copy", "a.img", "b.vhd", "--type", "fixed", "--parent", "c.vhd"], "not allowed with"),
        (["create"], "PATH"),
        (["create", "a.vhdx"], "SIZE (or --parent, or --from)"),
        (["create", "a.vhdx", "big"], "'big' is no size"),
        (["create", "a.vhdx", "8M", "9M"], "unrecognized arguments: 9M"),
        (["create", "a.vhdx", "8M", "--parent", "b.vhdx"], "SIZE cannot go with --parent"),
        (["create", "a.vhdx", "--parent", "b.vhdx", "--type", "fixed"], "--type cannot go with"),
        (["create", "a.vhdx", "--parent", "b.vhdx", "--from", "c.vhdx"], "not allowed with"),
        (["create", "a.vhdx", "--from", "b.vhdx", "--sector-size", "4K"], "it is the source's"),
        (["create", "a.vhdx", "8M", "--type", "fixed", "--block-size", "1M"], "has no blocks"),
        (["create", "a.vhdx", "8M", "--id", "x"], "'x' is no UUID"),
        (["attach"], "PATH"),
        (["attached", "a.vhdx"], "unrecognized arguments: a.vhdx"),
        (["detach"], "PATH"),
        (["resize", "a.vhdx"], "SIZE (or --smallest)"),
        (["resize", "a.vhdx", "8M", "--smallest"], "--smallest goes with neither"),
        (["compact"], "PATH"),
        (["merge"], "PATH"),
        (["merge", "a.vhdx", "--depth", "0"], "0 is not in 1 .. 1000"),
        (["info"], "PATH"),
        (["compare", "a.img"], "B"),
        (["bench"], "PATH"),
        (["bench", "a.img", "--write", "101"], "101 is not in 0 .. 100"),
        (["bench", "a.img", "--write", "1"], "--destroy-contents says that it may"),
        (["bench", "a.img", "--block-size", "1000"], "1000 is no multiple of 512 up to 64M"),
        (["bench", "a.img", "--block-size", "0"], "0 is no multiple of 512 up to 64M"),
        (["bench", "a.img", "--queue-depth", "0"], "0 is not in 1 .. 1024"),
        (["bench", "a.img", "--sweep", "1,,2"], "'' is not in 1 .. 1024"),
        (["bench", "a.img", "--sweep", "1,2", "--queue-depth", "4"], "not allowed with"),
        (["bench", "a.img", "--random", "--sequential"], "not allowed with"),
        (["bench", "a.img", "--threads", "65"], "65 is not in 0 .. 64"),
        (["bench", "a.img", "--duration", "0"], "0 is no time to measure"),
        (["bench", "a.img", "--duration", "inf"], "inf is no number of seconds"),
        (["bench", "a.img", "--warmup", "-1"], "-1 is no number of seconds"),
        (["bench", "a.img", "--operations", "5", "--warmup", "0"], "without --duration and"),
        (["bench", "a.img", "--backend", "vmdk"], "invalid choice: 'vmdk'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert complaint in errors
    assert errors.count("\n") == 1


COMMANDS = (
    "create",
    "info",
    "attach",
    "attached",
    "detach",
    "resize",
    "compact",
    "merge",
    "copy",
    "compare",
    "bench",
    "completions",
)


def test_these_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^    (\w+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_in_its_help_that_the_parser_takes(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # where all else is broken into lines
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    examples = re.findall(r"^example: .*?\bpyvhdmp (.*?)(?: [|>] .*|\))?$", said, re.MULTILINE)
    assert examples
    assert len(examples) == said.count("example: ")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for example in examples:
        words = shlex.split(example)
        assert words[0] == command
        run, options = parse(words)
        assert run.__name__ == command
        assert options.command is run
    assert capsys.readouterr() == ("", "")


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pyvhdmp {pyvhdmp.__version__}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is what it needs")
def test_without_windows_a_command_fails_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["info", "disk.vhd"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_error_with_several_hints_is_one_line_of_sentences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SimulatedWindows(elevated=False) as windows:
        windows.files["in.img"] = bytes(3 << 20)
        assert main(["copy", "in.img", "out.vhdx"]) == 1
        assert list(windows.files) == ["C:\\in.img"]
    error = capsys.readouterr().err
    assert error.startswith("pyvhdmp: out.vhdx: ")
    assert "(Windows error 1314). It needs a process that is run as administrator" in error
    assert error.endswith(". Without that there is no way: a .vhdx needs Windows' VHDMP driver.\n")
    assert ".." not in error
    assert error.count("\n") == 1
