"""The commands: output, exit codes, one line for each error."""

from __future__ import annotations

import json

import pytest

from pyvhdmp import make_fixed_vhd
from pyvhdmp.cli import main
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.vhd import Footer
from tests.support.files import FilePath

pytestmark = pytest.mark.usefixtures("machine")

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "in.img"
    path.write_bytes(b"\x01" * MIB + bytes(MIB))
    return path


def test_copy_says_what_it_did(
    source: FilePath, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", str(source), str(tmp_path / "out.vhd"), "--verify"]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("copied 2.0 MiB in ")
    assert output.endswith(", verified\n")
    assert errors == ""


def test_copy_reports_its_figures_as_json(
    source: FilePath, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["copy", str(source), str(tmp_path / "out.vhd"), "--json", "--io-size", "64K"]
    assert main(arguments) == 0
    output, errors = capsys.readouterr()
    figures = json.loads(output)
    assert errors == ""
    assert figures["target"] == str(tmp_path / "out.vhd")
    assert figures["bytes"] == 2 * MIB
    assert figures["bytes_zero"] == MIB
    assert figures["bytes_bounced"] == 0
    assert figures["requests"] == 32 + 16
    assert 1 <= figures["depth"] <= 64
    assert figures["seconds"] > 0
    assert figures["verified"] is False


def test_info_shows_a_fixed_vhd(tmp_path: FilePath, capsys: pytest.CaptureFixture[str]) -> None:
    disk_id = make_fixed_vhd(tmp_path / "disk.vhd", MIB)
    assert main(["info", str(tmp_path / "disk.vhd")]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert (lines["format"].strip(), lines["disk type"].strip()) == ("vhd", "fixed")
    assert lines["size"].strip() == "1.0 MiB (1048576 bytes)"
    assert lines["disk id"].strip() == str(disk_id)


def test_info_as_json(source: FilePath, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(source),
        "format": "raw",
        "disk_type": "raw",
        "size": 2 * MIB,
        "sector_size": 512,
        "physical_sector_size": 512,
        "sector_count": 4096,
        "disk_id": None,
    }


def test_compare_tells_by_its_exit_code(
    source: FilePath, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(source.read_bytes())
    assert main(["compare", str(source), str(other)]) == 0
    assert capsys.readouterr().out == "identical\n"
    other.write_bytes(b"\x01" * 1000 + b"\x02" + source.read_bytes()[1001:])
    assert main(["compare", str(source), str(other)]) == 1
    assert capsys.readouterr().out == "they differ, first at byte 1000\n"
    assert main(["compare", str(source), str(other), "--json"]) == 1
    sizes = {"first_size": 2 * MIB, "second_size": 2 * MIB}
    facts = {"identical": False, "first_difference": 1000} | sizes
    assert json.loads(capsys.readouterr().out) == facts


def test_images_of_two_sizes_differ(
    source: FilePath, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(source.read_bytes()[:MIB])
    assert main(["compare", str(source), str(other)]) == 1
    said = f"they differ: {source} has {2 * MIB} bytes, {other} {MIB}\n"
    assert capsys.readouterr() == (said, "")
    assert main(["compare", str(other), str(source), "--json"]) == 1
    facts = {"first_size": MIB, "second_size": 2 * MIB, "first_difference": None}
    assert json.loads(capsys.readouterr().out) == {"identical": False} | facts


def test_what_cannot_be_compared_is_not_taken_for_what_differs(
    source: FilePath, tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--json"], ["--quiet"]):
        assert main(["compare", str(source), str(tmp_path / "none.img"), *options]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.count("\n") == 1
        assert "(Windows error 2)" in errors


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.img", None, "(Windows error 2)"),
        ("empty.img", b"", "no raw image: the file is empty"),
        ("small.img", bytes(100), "100 bytes are no whole number of sectors of 512"),
        ("empty.vhd", b"", "shorter than a footer"),
        ("small.vhd", bytes(100), "shorter than a footer"),
        ("none.vhd", bytes(4096), "do not begin with 'conectix'"),
        ("damaged.vhd", bytes(512) + Footer(512).pack()[:-1] + b"x", "damaged VHD footer"),
        ("disk.vhdx", bytes(4096), "a .vhdx needs Windows' VHDMP driver"),
    ],
)
@pytest.mark.parametrize("command", ["info", "copy", "compare"])
def test_bad_input_is_one_line_that_names_the_file_and_an_exit_code(
    tmp_path: FilePath,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    content: bytes | None,
    complaint: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    arguments = [command, str(path)]
    if command != "info":
        arguments.append(str(tmp_path / "out.img") if command == "copy" else str(path))
    assert main(arguments) == (2 if command == "compare" else 1)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"pyvhdmp: {path}: ")
    assert complaint in errors
    assert not (tmp_path / "out.img").exists()


def test_a_folder_is_one_line_too(
    tmp_path: FilePath, source: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", str(tmp_path), str(tmp_path / "out.img")]) == 1
    assert main(["copy", str(source), str(tmp_path), "--force"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"pyvhdmp: {tmp_path}: Is a directory"] * 2


def test_a_target_that_exists_or_is_read_only_is_one_line_and_unharmed(
    tmp_path: FilePath, source: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.vhd"
    target.write_bytes(b"old")
    assert main(["copy", str(source), str(target)]) == 1
    target.chmod(0o444)
    assert main(["copy", str(source), str(target), "--force"]) == 1
    target.chmod(0o666)
    exists, read_only = capsys.readouterr().err.splitlines()
    assert exists.startswith(f"pyvhdmp: {target}: ")
    assert exists.endswith("(Windows error 80). With --force it would be replaced.")
    assert read_only.endswith("(Windows error 5). It is marked read-only.")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.img", "out.vhd"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_ctrl_c_in_a_copy_says_what_there_is_of_the_target(
    source: FilePath,
    tmp_path: FilePath,
    old: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "out.vhd"
    if old is not None:
        target.write_bytes(old)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "report", interrupted)
    assert main(["copy", str(source), str(target), "--force"]) == 130
    state = "no file is left" if old is None else f"{target} is as it was"
    line = f"pyvhdmp: interrupted: copy was cancelled; {state}\n"
    assert capsys.readouterr() == ("", line)
    assert (target.read_bytes() if target.exists() else None) == old


def test_ctrl_c_where_there_is_nothing_to_say_is_one_word(
    source: FilePath, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "report", interrupted)
    assert main(["compare", str(source), str(source)]) == 130
    assert capsys.readouterr() == ("", "pyvhdmp: interrupted\n")
