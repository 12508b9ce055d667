"""What the README shows is run as it stands, and what it lists is there."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

import pyvhdmp
from pyvhdmp import VirtualDisk, hints, make_fixed_vhd
from pyvhdmp._win32 import constants
from pyvhdmp._win32.virtdisk import SINCE
from pyvhdmp.cli import main
from pyvhdmp.cli.text import parse_size
from pyvhdmp.copying import QUEUE_DEPTH
from pyvhdmp.testing import SimulatedWindows

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

PRINTED: Final = {
    "disk.read(4096": "b'\\xa5\\xa5\\xa5\\xa5'\n",
    "disk.blocks(": "1c538600\n",
    "file_digest(": "d623c978\n",
    "child.chain": "['child.avhdx', 'C:\\\\base.vhdx']\n",
    'main(["attach"': (
        "created disk.vhdx: dynamic VHDX, 10.0 GiB, takes 64.0 KiB\n\\\\.\\PhysicalDrive1\n"
    ),
}
"""What an example prints, by a part of it."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Return the first cell of each row of the tables in there, without their heads."""
    return re.findall(r"^\| ([^|]*?) \|", re.sub(r"^\|.*\n\| ---.*\n", "", text, flags=re.M), re.M)


SHELL_LINES: Final = [
    command.strip()
    for language in ("sh", "powershell")
    for block in blocks(language)
    for line in block.splitlines()
    for command in line.split(" ; ")
]


def test_every_block_is_of_a_kind_that_is_tested_here() -> None:
    kinds = re.findall(r"^```(.*)\n(?:.*\n)*?```$", README, re.MULTILINE)
    assert set(kinds) == {"mermaid", "powershell", "sh", "python", "console"}


@pytest.mark.parametrize("code", blocks("python"))
def test_the_examples_run(
    machine: SimulatedWindows | None,
    code: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("readme"))  # of the real machine; not in the way
    if "VirtualDisk" in code:
        if machine is None:
            pytest.skip("needs VHDMP")
        machine.vhdmp = True
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    for name, function in names.items():
        if name.startswith("test_"):
            assert callable(function)
            function()
    printed = capsys.readouterr().out
    assert printed == next((text for mark, text in PRINTED.items() if mark in code), "")


def test_the_first_example_is_about_ten_lines() -> None:
    assert len(blocks("python")[0].strip().splitlines()) <= 12


# -- Commands ----------------------------------------------------------------------


class Zeros(io.RawIOBase):
    """What comes out of a pipe, with zeros in it and nothing else."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # of io's callers
        length = min(len(buffer), self._left)
        buffer[:length] = bytes(length)
        self._left -= length
        return length


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run what is a command of this package in a line for a shell; return its exit code.

    What another command pipes into it is as many zeros as it is told.
    """
    *before, command = line.split(" | ")
    arguments = shlex.split(command.split("pyvhdmp ", 1)[1], posix=False)
    if before:
        size = parse_size(arguments[arguments.index("--size") + 1])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Zeros(size))))
    if arguments[0] == "bench":
        arguments += ["--operations", "200"]
    return main(arguments)


def shape(text: str) -> str:
    """Return what is left of what a command prints when its numbers and their units are not."""
    text = re.sub(r"\d[\d.]*(?: (?:B|[KMGT]iB|ms|s|min)\b(?:/s)?)?", "#", text)
    return re.sub(r"[ \t]+", " ", text).strip()


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_print_what_is_shown(
    block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)
    assert "".join(f"$ {line}\n{shown}" for line, shown in lines) == block
    with SimulatedWindows() as windows:
        if "disk.img" in block:
            windows.files["disk.img"] = b"\x55\xaa" * (2 << 20)
        else:
            make_fixed_vhd("disk.vhd", 1 << 30)
        for line, shown in lines:
            if "disk.img" in windows.files and " info" in line:
                del windows.files["disk.img"]  # whose row would be one more
            assert run(line, monkeypatch) == 0
            output, errors = capsys.readouterr()
            assert errors == ""
            for depth in re.findall(r"at most (\d+) in flight", shown):
                assert int(depth) <= (1 if " - " in line else 2) * QUEUE_DEPTH
            assert [shape(row) for row in output.splitlines()] == [
                shape(row) for row in shown.splitlines()
            ], line


def test_a_benchmark_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    command, *shown = next(
        text for text in blocks("console") if "pyvhdmp bench" in text
    ).splitlines()
    with SimulatedWindows(vhdmp=False):
        make_fixed_vhd("disk.vhd", 1 << 30)
        assert main([*command.split()[2:], "--operations", "200"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == shown[:2]
    assert [line.split()[:2] for line in printed[2:]] == [line.split()[:2] for line in shown[2:]]


@pytest.mark.parametrize("line", SHELL_LINES)
def test_what_a_shell_is_to_run_is_there(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()
    if words[0] != "py":
        assert (ROOT / words[0]).read_bytes().startswith(b"#!/bin/sh\n")
    if "pyvhdmp" in words:
        with SimulatedWindows() as windows:
            windows.files["disk.img"] = b"\x55" * (4 << 20)
            assert run(line, monkeypatch) == 0
        assert "verified" in capsys.readouterr().out
    elif "--group" in words:
        assert words[words.index("--group") + 1] in PROJECT["dependency-groups"]
    elif "install" in words:
        assert words == ["py", "-m", "pip", "install", "."] or words[-2:] == ["-U", "pip"]
    else:
        assert words in (["tests/run"], ["py", "-m", "pytest"])


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
@pytest.mark.parametrize("code", blocks("sh"))
def test_a_shell_can_read_what_it_is_to_run(code: str) -> None:
    done = subprocess.run(["sh", "-n"], input=code, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_text_has_one_run_or_install_is_there() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(re.findall(r'pip install "\.\[(\w+)\]"', README)) == set(extras)
    for path in re.findall(r"`(?:python )?(tests/[\w/.]+)", README):
        assert (ROOT / path).exists(), path
    for marker in re.findall(r"pytest -m (\w+)", README):
        markers = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
        assert any(known.startswith(f"{marker}:") for known in markers)


# -- Tables ------------------------------------------------------------------------


def test_every_member_in_the_table_exists() -> None:
    from pyvhdmp import Disk

    members = re.findall(r"^\| `(\w+)\(", README, re.MULTILINE)
    assert {"read_vectored", "sync_cache", "close"} <= set(members)
    for member in members:
        assert callable(getattr(Disk, member))


def test_every_member_of_a_virtual_disk_that_is_named_exists() -> None:
    members = re.findall(r"`(\w+)`", " ".join(first_cells(section("Virtual disks as such"))))
    assert {"open", "chain", "raw_scsi"} <= set(members)
    for member in members:
        assert hasattr(VirtualDisk, member), member


def test_virtdisk_has_as_many_functions_as_is_said() -> None:
    assert set(re.findall(r"all (\d+)(?: functions)?", README)) == {str(len(SINCE))}


def test_every_command_is_in_the_table_and_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    known = set(re.findall(r"^    (\w+)(?: |$)", capsys.readouterr().out, re.MULTILINE))
    rows = first_cells(section("On the command line"))
    assert {name for row in rows for name in re.findall(r"`(\w+)", row)} == known
    assert set(re.findall(r"(?:\$ |`|\| )pyvhdmp (\w+)", README)) <= known


def test_the_table_of_errors_says_what_the_errors_themselves_say() -> None:
    functions = {name for name, _ in hints._BY_FUNCTION} | {"ReadFile", *SINCE}
    rows = re.findall(r"^\| ([\dx][^|]*) \|(.*)\|$", section("When Windows refuses"), re.MULTILINE)
    assert len(rows) > 15
    for codes, said in rows:
        for code in re.split(", ", codes):
            known = {hints.hint_for(name, int(code, 0)) for name in functions} - {None}
            assert known, f"{code} is in README's table, and hints.py knows nothing of it"
            words = set(re.findall(r"[\w-]{5,}", " ".join(map(str, known)).lower()))
            shared = words & set(re.findall(r"[\w-]{5,}", said.lower()))
            assert len(shared) >= 2, f"README says something else of {code}: only {shared} is alike"


def test_what_helps_whatever_failed_is_in_the_table_of_errors() -> None:
    shown = re.findall(
        r"0x[0-9A-F]{8}|\b\d+\b", " ".join(first_cells(section("When Windows refuses")))
    )
    listed = {int(code, 0) for code in shown}
    rare = {
        constants.ERROR_INSUFFICIENT_BUFFER,
        constants.ERROR_MORE_DATA,
        constants.ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE,
        constants.ERROR_VHD_METADATA_FULL,
    }
    assert hints._BY_CODE.keys() - listed == rare


# -- The rest ----------------------------------------------------------------------


def test_the_picture_is_a_flowchart_of_what_there_is() -> None:
    (picture,) = blocks("mermaid")
    kind, *lines = [line.strip() for line in picture.splitlines()]
    assert kind == "flowchart LR"
    nodes = dict(re.findall(r'^(\w+)\["([^"]*)"\]$', "\n".join(lines), re.MULTILINE))
    edges = lines[len(nodes) :]
    ways = r"(?: (?:-->|-\.->)(?:\|[\w:, -]+\|)? (?:\w+))+"
    assert all(re.fullmatch(rf"\w+{ways}", edge) for edge in edges)
    ends = {name for edge in edges for name in re.split(r" (?:-->|-\.->)(?:\|[^|]+\|)? ", edge)}
    assert ends == nodes.keys()
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(pyvhdmp.__file__).parent.rglob("*.py")
    )
    names = re.findall(r"\b[A-Z][a-z]+[A-Z]\w+|\bVHDMP\b|\bmmap\b", " ".join(nodes.values()))
    assert len(names) >= 10
    for name in names:
        assert re.search(rf"\b{name}\b", source), f"{name} is nowhere in the package"


def test_links_lead_to_files_and_headings_that_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        text = (ROOT / path).read_text(encoding="utf-8") if path else README
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, link
