"""bench: what it prints, what it refuses, and what it leaves of the disk."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pyvhdmp import VirtualDisk, make_fixed_vhd, open_disk
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run, Terminal
from tests.support.files import FilePath

LATENCIES = ["min", "mean", "p50", "p90", "p95", "p99", "p99_9", "max"]
QUICK = ["--block-size", "4K", "--operations", "50"]


@pytest.fixture
def image(machine: SimulatedWindows | None, tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(MIB))
    return path


@pytest.fixture
def is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(self: ProgressLine, phase: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            raise KeyboardInterrupt

        return report

    monkeypatch.setattr(ProgressLine, "share", share)


def test_a_run_is_a_line_of_figures(image: FilePath, run: Run) -> None:
    title, head, line = run("bench", str(image), *QUICK, "--random").text.splitlines()
    assert title == f"random reads of 4.0 KiB on {image}, 1.0 MiB; times in microseconds"
    assert head.split()[:6] == ["depth", "peak", "avg", "IOPS", "MiB/s", "min"]
    depth, peak, _, kind, *figures = line.split()
    assert (depth, kind) == ("32", "read")
    assert 1 <= int(peak) <= 32
    assert len(figures) == len(head.split()) - 3
    assert all(float(figure) >= 0 for figure in figures)
    assert len(line) == len(head)


def test_a_mix_has_a_line_for_reads_and_one_for_writes_and_one_for_both(
    image: FilePath, run: Run
) -> None:
    mix = ["--write", "40", "--destroy-contents", "--threads", "2"]
    title, _, *lines = run("bench", str(image), *QUICK, *mix).text.splitlines()
    assert title.startswith("sequential reads and 40 % writes of 4.0 KiB by 2 threads on ")
    assert [line.split()[3] for line in lines] == ["read", "write", "both"]
    assert {line.split()[0] for line in lines} == {"64"}


def test_json_has_every_figure(image: FilePath, run: Run) -> None:
    mix = ["--write", "40", "--destroy-contents", "--queue-depth", "4", "--seed", "7"]
    result = run("bench", str(image), *QUICK, *mix, "--json").json
    (figures,) = result.pop("runs")
    assert result == {
        "path": str(image),
        "backend": "auto",
        "block_size": 4096,
        "threads": 0,
        "write_percent": 40,
        "random": False,
        "seed": 7,
    }
    for kind in ("read", "write", "total"):
        share = figures.pop(kind)
        assert list(share.pop("latency_us")) == LATENCIES
        assert list(share) == ["operations", "bytes", "iops", "mib_per_second"]
        assert share["operations"] > 0
    assert 1 <= figures.pop("depth_achieved") <= 4
    assert 0 < figures.pop("depth_average") <= 4
    assert figures.pop("seconds") > 0
    assert figures.pop("cpu_us_per_operation") >= 0
    assert figures == {
        "disk_type": "raw",
        "size": MIB,
        "queue_depth": 4,
        "depth_asked": 4,
        "errors": 0,
    }


def test_reads_alone_have_no_latency_of_writes(image: FilePath, run: Run) -> None:
    (figures,) = run("bench", str(image), *QUICK, "--json").json["runs"]
    assert figures["write"] == {
        "operations": 0,
        "bytes": 0,
        "iops": 0,
        "mib_per_second": 0,
        "latency_us": None,
    }
    assert figures["read"] == figures["total"]


def test_a_sweep_measures_at_each_depth(image: FilePath, run: Run) -> None:
    sweep = ["--sweep", "4,1,16"]
    lines = run("bench", str(image), *QUICK, *sweep).text.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["4", "1", "16"]
    runs = run("bench", str(image), *QUICK, *sweep, "--json").json["runs"]
    assert [figures["depth_asked"] for figures in runs] == [4, 1, 16]
    assert all(figures["depth_achieved"] <= figures["depth_asked"] for figures in runs)


def test_a_run_takes_as_long_as_was_asked_for(image: FilePath, run: Run) -> None:
    times = ["--duration", "0.2", "--warmup", "0.05"]
    (figures,) = run("bench", str(image), *times, "--json").json["runs"]
    assert figures["seconds"] == pytest.approx(0.2)
    assert figures["total"]["operations"] > 0


@pytest.mark.usefixtures("machine")
def test_a_fixed_vhd_is_measured_without_its_footer(tmp_path: FilePath, run: Run) -> None:
    path = tmp_path / "disk.vhd"
    make_fixed_vhd(path, MIB)
    footer = path.read_bytes()[MIB:]
    writes = ["--write", "100", "--destroy-contents"]
    (figures,) = run("bench", str(path), *QUICK, *writes, "--json").json["runs"]
    assert (figures["disk_type"], figures["size"]) == ("fixed-vhd", MIB)
    assert path.read_bytes()[:MIB] != bytes(MIB)
    assert path.read_bytes()[MIB:] == footer
    (figures,) = run("bench", str(path), *QUICK, "--backend", "raw", "--json").json["runs"]
    assert (figures["disk_type"], figures["size"]) == ("raw", MIB + 512)


@pytest.mark.usefixtures("vhdmp")
def test_a_virtual_disk_is_measured_through_vhdmp(run: Run) -> None:
    VirtualDisk.create_dynamic("disk.vhdx", 8 * MIB).close()
    sweep = ["--sweep", "1,8", "--write", "50", "--destroy-contents"]
    for figures in run("bench", "disk.vhdx", *QUICK, *sweep, "--json").json["runs"]:
        assert (figures["disk_type"], figures["size"]) == ("vhdmp", 8 * MIB)
        assert figures["depth_achieved"] == figures["depth_asked"]


# -- What is left of the disk ---------------------------------------------------------------


def test_reads_open_the_disk_for_reading_only(image: FilePath, run: Run) -> None:
    before = image.read_bytes()
    with open_disk(image, read_only=True):  # nobody can write meanwhile
        assert run("bench", str(image), *QUICK).code == 0
        destroying = run("bench", str(image), *QUICK, "--write", "1", "--destroy-contents")
        assert "(Windows error 32)" in destroying.error
    assert image.read_bytes() == before


def test_writes_are_refused_before_anything_is_opened(image: FilePath, run: Run) -> None:
    before = image.read_bytes()
    for path in (str(image), "no such file"):
        done = run("bench", path, *QUICK, "--write", "1")
        assert (done.code, done.output) == (2, "")
        assert f"--write destroys what {path} holds: --destroy-contents" in done.errors
    assert image.read_bytes() == before


def test_writes_destroy_what_the_disk_holds(image: FilePath, run: Run) -> None:
    before = image.read_bytes()
    assert run("bench", str(image), *QUICK, "--write", "100", "--destroy-contents").code == 0
    assert image.read_bytes() != before


# -- Errors, Ctrl+C, progress -----------------------------------------------------------------


def test_an_error_is_one_line_after_the_runs_before_it(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files["disk.img"] = bytes(MIB)
    vhdmp.fail_next("ReadFile", 1117, after=70, pending=True)
    code, output, errors = run("bench", "disk.img", *QUICK, "--sweep", "2,4,8")
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()[2:]] == ["2"]
    assert errors.startswith("pyvhdmp: disk.img: ")
    assert errors.endswith("(Windows error 1117)\n")
    assert errors.count("\n") == 1


def test_a_disk_that_is_too_small_is_one_line(image: FilePath, run: Run) -> None:
    assert run("bench", str(image), "--block-size", "2M").error == (
        f"{image}: the disk of 1048576 bytes is too small: it needs a block of 2097152"
    )


def test_blocks_must_be_whole_sectors(run: Run) -> None:
    with SimulatedWindows():
        VirtualDisk.create_dynamic("disk.vhdx", 8 * MIB, sector_size=4096).close()
        assert run("bench", "disk.vhdx", "--block-size", "512").error == (
            "disk.vhdx: a block of 512 bytes is no whole number of sectors of 4096"
        )


@pytest.mark.usefixtures("is_interrupted")
def test_ctrl_c_says_what_was_done_to_the_disk(image: FilePath, run: Run) -> None:
    before = image.read_bytes()
    assert run("bench", str(image), "--sweep", "1,2").interruption == (
        f"bench was cancelled; {image} was only read"
    )
    assert image.read_bytes() == before
    writing = run("bench", str(image), "--write", "1", "--destroy-contents")
    assert writing.interruption == (
        f"bench was cancelled; what {image} held may be overwritten in part"
    )


@pytest.mark.usefixtures("without_rich")
def test_a_terminal_is_shown_how_far_it_is(
    image: FilePath, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run("bench", str(image), "--duration", "0.3", "--warmup", "0.1").code == 0
    shown = terminal.getvalue().split("\r")
    assert shown[1].startswith("measuring at queue depth 32  ")
    assert " % " in shown[1]
    assert (shown[-1], shown[-2].strip()) == ("", "")


# -- The plot ---------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a picture goes: not to the simulated Windows, of which matplotlib knows nothing."""
    with warnings.catch_warnings(action="ignore"):  # those are its own
        pytest.importorskip("matplotlib.figure")
    return tmp_path_factory.mktemp("plots") / "plot"


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")]
)
@pytest.mark.parametrize("depths", [["--queue-depth", "4"], ["--sweep", "8,2,2"]])
def test_a_plot_is_drawn_with_a_sweep_and_without(
    image: FilePath, run: Run, picture: Path, suffix: str, begins: bytes, depths: list[str]
) -> None:
    path = picture.with_suffix(suffix)
    assert run("bench", str(image), *QUICK, *depths, "--plot", str(path)).text
    assert path.read_bytes().startswith(begins)


def test_what_keeps_a_plot_from_being_drawn_is_said_before_the_run(run: Run, picture: Path) -> None:
    bench = ["bench", "no such disk.img", "--plot"]  # which would be the next to be said
    assert run(*bench, "disk.img").error == "disk.img: a plot is one of .png, .svg, .pdf"
    folder = picture / "missing"
    assert run(*bench, str(folder / "plot.png")).error == f"{folder}: there is no such folder"


def test_without_matplotlib_a_plot_says_how_to_get_it_before_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = run("bench", "no such disk.img", "--plot", "plot.png").error
    assert error.startswith("--plot needs matplotlib: python -m pip install matplotlib (")
