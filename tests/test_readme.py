"""What the README shows is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyvhdmp.testing import SimulatedWindows

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

PRINTED = {
    "disk.read(4096": "b'\\xa5\\xa5\\xa5\\xa5'\n",
    "disk.read(2048": "b'\\xaa\\xaa\\xaa\\xaa'\n",
    "disk.blocks(": "1c538600\n",
    "file_digest(": "d623c978\n",
    "child.chain": "['child.avhdx', 'C:\\\\base.vhdx']\n",
}
"""What an example prints, by a part of it."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


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


def test_every_member_in_the_table_exists() -> None:
    from pyvhdmp import Disk

    members = re.findall(r"^\| `(\w+)\(", README, re.MULTILINE)
    assert {"read_vectored", "sync_cache", "close"} <= set(members)
    for member in members:
        assert callable(getattr(Disk, member))


def test_every_command_is_in_the_table_and_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    from pyvhdmp.cli import main

    assert main(["--help"]) == 0
    known = set(re.findall(r"^    (\w+)(?: |$)", capsys.readouterr().out, re.MULTILINE))
    rows = re.findall(
        r"^\| (`[a-z].*?) \|", README.split("## On the command line")[1], re.MULTILINE
    )
    shown = {name for row in rows[: len(known)] for name in re.findall(r"`(\w+)", row)}
    assert known <= shown
    used = set(re.findall(r"^\$ pyvhdmp (\w+)", README, re.MULTILINE))
    assert used <= known


def test_a_benchmark_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from pyvhdmp import make_fixed_vhd
    from pyvhdmp.cli import main

    command, *shown = next(
        text for text in blocks("console") if "pyvhdmp bench" in text
    ).splitlines()
    with SimulatedWindows(vhdmp=False):
        make_fixed_vhd("disk.vhd", 1 << 30)
        assert main([*command.split()[2:], "--operations", "200"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == shown[:2]
    assert [line.split()[:2] for line in printed[2:]] == [line.split()[:2] for line in shown[2:]]
