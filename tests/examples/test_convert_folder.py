"""A folder of images is converted, and what fails keeps nothing else from being converted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pyvhdmp import CopyResult, copy_image, make_fixed_vhd, open_disk
from pyvhdmp.copying import Report
from pyvhdmp.testing import SimulatedWindows
from tests.examples import convert_folder
from tests.support import windows

MIB: Final = 1 << 20
DISKS: Final = {name: random.Random(name).randbytes(4 * MIB) for name in ("a", "b", "c")}


@dataclass
class Folders:
    """Real ones. On a simulated Windows, which has its own files, they tell what is in those."""

    source: Path
    target: Path
    simulation: SimulatedWindows | None

    def put(self, name: str, content: bytes) -> None:
        path = self.source / name
        path.write_bytes(content)
        if self.simulation is not None:
            self.simulation.files[str(path)] = content

    def made(self) -> set[str]:
        """The names of all files that there are in the target."""
        if self.simulation is None:
            return {path.name for path in self.target.iterdir()}
        paths = [path.replace("\\", "/") for path in self.simulation.files]
        folder = self.target.as_posix()
        return {path.rpartition("/")[2] for path in paths if f"{folder}/" in path}

    def content(self, name: str) -> bytes:
        with open_disk(self.target / name, read_only=True) as disk:
            return disk.read(0, disk.sector_count).result()

    def convert(self, *arguments: str) -> int:
        return convert_folder.main([str(self.source), str(self.target), *arguments])


@pytest.fixture
def folders(
    machine: SimulatedWindows | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Folders]:
    """A folder with a raw image, a fixed VHD, another raw image, and what is no image at all."""
    root = tmp_path_factory.mktemp("images")
    source, target = root / "source", root / "target"
    source.mkdir()
    folders = Folders(source, target, machine)
    if machine is not None:
        machine.files.make_folder(str(target))
    with windows.vhdmp():
        folders.put("a.img", DISKS["a"])
        make_fixed_vhd(source / "b.vhd", 4 * MIB)
        (source / "b.vhd").touch()
        with open_disk(source / "b.vhd", backend="fixed-vhd") as disk:
            disk.write(0, DISKS["b"]).result()
        folders.put("c.RAW", DISKS["c"])
        folders.put("notes.txt", b"no image")
        yield folders


def failures(said: str) -> list[str]:
    """Return the lines that name an image; what else is known of one stands below them."""
    return [line for line in said.splitlines() if not line.startswith("  ")]


@pytest.mark.parametrize(("to", "suffix"), [("vhdx", ".vhdx"), ("vhd", ".vhd"), ("raw", ".img")])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_every_image_is_converted(
    folders: Folders, to: str, suffix: str, jobs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folders.convert("--to", to, "--jobs", jobs) == 0
    assert folders.made() == {name + suffix for name in DISKS}
    for name, content in DISKS.items():
        assert folders.content(name + suffix) == content
    said = capsys.readouterr()
    assert sorted(said.out.splitlines()) == [
        f"{source} -> {source[0]}{suffix}: {4 * MIB} bytes"
        for source in ("a.img", "b.vhd", "c.RAW")
    ]
    assert said.err == ""


def test_what_fails_is_told_at_the_end_and_the_others_are_done(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.put("bad.vhdx", b"no VHDX at all" * 1000)
    folders.put("odd.img", b"no whole sector")
    assert folders.convert("--to", "vhd") == 1
    assert folders.made() == {f"{name}.vhd" for name in DISKS}
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    bad, odd = sorted(failures(said.err))
    assert "bad.vhdx -> bad.vhd: " in bad
    assert "odd.img -> odd.vhd: " in odd


def test_what_is_there_already_is_not_replaced(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folders.convert("--to", "vhd") == 0
    folders.put("a.img", bytes(MIB))
    capsys.readouterr()
    assert folders.convert("--to", "vhd") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(failures(said.err)) == 3
    assert folders.content("a.vhd") == DISKS["a"]


def test_of_two_that_would_become_one_the_second_fails(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.put("a.raw", bytes(MIB))
    assert folders.convert("--to", "vhd") == 1
    assert "a.raw: a.img becomes a.vhd already\n" in capsys.readouterr().err
    assert folders.content("a.vhd") == DISKS["a"]


def test_several_are_converted_at_a_time(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3)

    def copy_together(*arguments: Any, **options: Any) -> CopyResult:
        together.wait(60)  # until all three have come
        return copy_image(*arguments, **options)

    monkeypatch.setattr(convert_folder, "copy_image", copy_together)
    assert folders.convert("--to", "raw", "--jobs", "3") == 0
    assert folders.made() == {f"{name}.img" for name in DISKS}


def interrupt(line: str) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_ctrl_c_stops_all_and_leaves_nothing_half_made(
    folders: Folders,
    jobs: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convert_folder, "show", interrupt)
    assert folders.convert("--to", "vhd", "--jobs", jobs) == 130
    assert capsys.readouterr().err.endswith(": interrupted\n")
    for name in folders.made():
        assert folders.content(name) == DISKS[name[0]]


def test_ctrl_c_ends_conversions_that_are_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(source: Path, target: Path, *, report: Report) -> CopyResult:
        while True:
            report("copying", 1, 2)
            time.sleep(0.01)

    monkeypatch.setattr(convert_folder, "copy_image", endless)
    monkeypatch.setattr(convert_folder, "show", interrupt)
    for number in range(5):
        (tmp_path / f"{number}.img").touch()
    assert convert_folder.main([str(tmp_path), str(tmp_path / "target"), "--jobs", "2"]) == 130


def test_progress_is_summed_up_over_all_images(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(convert_folder, "show", shown.append)
    assert folders.convert("--to", "vhd") == 0
    assert [line for line in shown if line][-1] == "3 of 3 images, 12 of 12 MiB"
    assert shown[-1] == ""


def test_an_empty_folder_is_no_failure(tmp_path: Path) -> None:
    assert convert_folder.main([str(tmp_path), str(tmp_path / "target")]) == 0
