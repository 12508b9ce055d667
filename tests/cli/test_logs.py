"""--quiet and --verbose: how much every command tells beside its result."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import pytest

from pyvhdmp import VirtualDisk, open_disk
from pyvhdmp.cli import main
from pyvhdmp.logs import logger
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run, Terminal

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3}  \S.*")


@pytest.fixture
def disks(vhdmp: SimulatedWindows) -> SimulatedWindows:
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
    VirtualDisk.create_dynamic("attached.vhdx", 8 * MIB).close()
    VirtualDisk.create_differencing("child.vhdx", "a.vhdx").close()
    vhdmp.files["a.img"] = bytes(4 * MIB)
    assert main(["attach", "attached.vhdx", "--quiet"]) == 0
    return vhdmp


COMMANDS = [
    ["create", "b.vhdx", "8M"],
    ["create", "c.vhdx", "--parent", "a.vhdx"],
    ["info", "a.vhdx"],
    ["info", "."],
    ["attach", "a.vhdx"],
    ["attached"],
    ["detach", "attached.vhdx"],
    ["resize", "a.vhdx", "16M"],
    ["compact", "a.vhdx"],
    ["merge", "child.vhdx", "--delete"],
    ["copy", "a.img", "b.vhd"],
    ["compare", "a.img", "a.img"],
    ["bench", "a.img", "--operations", "20"],
]


@pytest.mark.usefixtures("disks")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_quiet_says_nothing_of_success(
    run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(*command, "--quiet") == (0, "", "")
    assert terminal.getvalue() == ""
    for attached in ("a.vhdx", "attached.vhdx"):
        main(["detach", attached])


@pytest.mark.usefixtures("disks")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_verbose_changes_nothing_but_standard_error(run: Run, command: list[str]) -> None:
    code, output, errors = run(*command, "-vv", "--json")
    assert code == 0
    assert isinstance(json.loads(output), dict)
    lines = errors.splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert bool(lines) == (command != ["attached"])
    for attached in ("a.vhdx", "attached.vhdx"):
        main(["detach", attached])


@pytest.mark.usefixtures("disks")
def test_how_much_is_told_can_be_said_before_the_command_too(run: Run) -> None:
    assert run("-q", "info", "a.vhdx") == (0, "", "")
    details = [
        run(*words).errors.count("handle")
        for words in (
            ["-v", "info", "a.img"],
            ["-vv", "info", "a.img"],
            ["-v", "info", "a.img", "--verbose"],
            ["info", "a.img", "-vv"],
        )
    ]
    assert details[0] < details[1] == details[2] == details[3]
    code, output, errors = run("-v", "info", "a.img", "-q")
    assert (code, output) == (2, "")
    assert "--quiet cannot go with --verbose" in errors


@pytest.mark.usefixtures("disks")
def test_quiet_says_what_goes_wrong_and_what_is_asked_for_as_json(run: Run) -> None:
    assert run("info", "none.vhdx", "-q").error == run("info", "none.vhdx").error
    assert run("info", "a.vhdx", "-q", "--json").json["size"] == 8 * MIB
    said = "they differ: a.img has 4194304 bytes, a.vhdx 8388608\n"
    assert run("compare", "a.img", "a.vhdx", "-q") == (1, said, "")


def test_quiet_does_not_keep_back_that_images_differ(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files["a.img"], vhdmp.files["b.img"] = bytes(MIB), b"\x01" * MIB
    done = run("compare", "a.img", "b.img", "--quiet")
    assert done == (1, "they differ, first at byte 0\n", "")


@pytest.mark.parametrize("command", ["info", "attached", "bench"])
def test_quiet_and_verbose_do_not_go_together(run: Run, command: str) -> None:
    path = [] if command == "attached" else ["a.img"]
    code, output, errors = run(command, *path, "--quiet", "--verbose")
    assert (code, output) == (2, "")
    assert "not allowed with argument" in errors


def test_verbose_tells_why_a_vhd_goes_without_the_driver(vhdmp: SimulatedWindows, run: Run) -> None:
    assert run("create", "a.vhd", "4M", "--type", "fixed", "-q").code == 0
    vhdmp.vhdmp = False
    _, _, errors = run("copy", "a.vhd", "b.img", "-v")
    said = [line[14:] for line in errors.splitlines()]
    assert said[0].startswith("a.vhd goes without VHDMP, which is out of reach: ")
    assert said[0].endswith("(Windows error 120)")
    assert said[1] == "opened <FixedVhdDisk 'a.vhd', 4194304 bytes, read-only>"
    assert said[2].startswith("copying <FixedVhdDisk 'a.vhd', 4194304 bytes, read-only> to b.img")
    assert re.fullmatch(r"copied 4194304 bytes in \d+\.\d{3} s; 4194304 not written", said[3])
    assert len(said) == 4


def test_verbose_tells_why_a_vhd_is_made_without_the_driver(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.vhdmp = False
    assert "out of reach" not in run("create", "a.vhd", "4M", "--type", "fixed").errors
    said = run("create", "b.vhd", "4M", "--type", "fixed", "-v").errors
    assert "  b.vhd is made without VHDMP, which is out of reach: " in said
    assert "(Windows error 120)" in said


def test_verbose_twice_tells_of_every_handle(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files["a.img"] = bytes(MIB)
    _, _, errors = run("info", "a.img", "-vv")
    assert re.search(r"  opened a\.img as a file, handle 0x[0-9a-f]+$", errors, re.MULTILINE)
    assert errors.splitlines()[-1].endswith("  closed a.img")


def test_verbose_tells_of_attachments(disks: SimulatedWindows, run: Run) -> None:
    assert "  attached a.vhdx, read-only\n" in run("attach", "a.vhdx", "--read-only", "-v").errors
    assert "  detached a.vhdx\n" in run("detach", "a.vhdx", "--verbose").errors
    disks.fail_next("ReadFileScatter", 50)
    said = run("compare", "a.vhdx", "a.img", "-v").errors
    assert "  attached a.vhdx raw, read-only\n" in said
    assert "  a.vhdx takes no scattered pages: they go by plain calls\n" in said
    disks.fail_next("ReadFileScatter", 50)
    assert "  a.img takes no unbuffered pages: " in run("info", "a.img", "-v").errors
    assert run("detach", "attached.vhdx").code == 0


def test_a_line_of_the_log_leaves_nothing_of_the_progress_before_it(
    vhdmp: SimulatedWindows, without_rich: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhdmp.files["a.img"] = bytes(MIB)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["copy", "a.img", "b.img", "-v", "-v"]) == 0
    for line in terminal.getvalue().split("\n")[:-1]:
        assert LINE.fullmatch(line.split("\r")[-1].rstrip())
        assert len(line.split("\r")[-1]) >= 79


def test_the_log_is_as_it_was_after_a_command(run: Run, vhdmp: SimulatedWindows) -> None:
    before = list(logger.handlers), logger.level
    vhdmp.files["a.img"] = bytes(MIB)
    run("info", "a.img", "-vv")
    run("info", "none.img", "-v")
    assert (list(logger.handlers), logger.level) == before


def test_a_warning_is_shown_without_being_asked_for(run: Run, vhdmp: SimulatedWindows) -> None:
    vhdmp.files["a.img"] = bytes(MIB)
    vhdmp.fail_next("WriteFile", 112, pending=True)
    vhdmp.files["a.img"] = b"\x01" * MIB
    vhdmp.fail_next("DeleteFileW", 5, after=1)
    left, failed = run("copy", "a.img", "b.img", "--quiet").errors.splitlines()
    assert left == ("pyvhdmp: b.img.pyvhdmp-partial was left behind: DeleteFileW failed, 5")
    assert failed.startswith("pyvhdmp: b.img: ")


def test_a_program_that_does_not_ask_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with SimulatedWindows() as windows:
        windows.files["a.img"] = bytes(MIB)
        with open_disk("a.img") as disk:
            future = disk.read(0, 1)
            future.add_done_callback(lambda _: 1 / 0)  # which is logged as an error
            future.result()
    assert capsys.readouterr() == ("", "")


def test_nothing_is_logged_of_a_single_request(caplog: pytest.LogCaptureFixture) -> None:
    with (
        SimulatedWindows() as windows,
        caplog.at_level(logging.DEBUG, "pyvhdmp"),
    ):
        windows.files["a.img"] = bytes(MIB)
        with open_disk("a.img") as disk:
            before = len(caplog.records)
            disk.read(0, 1).result()
            disk.write(0, bytes(512), fua=True).result()
            disk.unmap(0, 1).result()
            assert len(caplog.records) == before


def test_importing_the_package_makes_its_log_silent() -> None:
    code = (
        "import logging, pyvhdmp.files, pyvhdmp.completion\n"
        "logging.getLogger('pyvhdmp').error('heard')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
