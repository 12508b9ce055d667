"""Images that pyvhdmp makes on the Windows Python, judged by QEMU on the Linux side."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyvhdmp.vhd import FOOTER_SIZE, Footer, Geometry
from tests.support.launcher import needs_winpython, winpython
from tests.support.qemu import make_image, qemu_img

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img"),
    needs_winpython,
]

MIB = 1 << 20


def test_a_copy_of_a_gibibyte_is_identical_for_qemu(tmp_path: Path) -> None:
    make_image(tmp_path / "in.img", 1 << 30, data=200 * MIB)
    done = winpython("-m", "pyvhdmp", "copy", "in.img", "out.vhd", "--verify", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout
    compared = qemu_img(
        "compare", "-f", "raw", "-F", "vpc", tmp_path / "in.img", tmp_path / "out.vhd"
    )
    assert compared == "Images are identical.\n"


@pytest.mark.parametrize("size", [512, 34 * 512, MIB, 3 * MIB + 512, 127 * MIB])
def test_qemu_sees_exactly_the_size_that_was_asked_for(tmp_path: Path, size: int) -> None:
    code = "import sys, pyvhdmp; pyvhdmp.make_fixed_vhd(sys.argv[1], int(sys.argv[2]))"
    done = winpython("-c", code, "new.vhd", str(size), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    info = json.loads(qemu_img("info", "-f", "vpc", "--output=json", tmp_path / "new.vhd"))
    assert info["format"] == "vpc"
    assert info["virtual-size"] == size


@pytest.mark.parametrize("size", [8 * MIB, 504 * MIB + 512])
def test_a_fixed_vhd_of_qemu_is_read(tmp_path: Path, size: int) -> None:
    make_image(tmp_path / "in.img", size, data=4 * MIB)
    options = ["-O", "vpc", "-o", "subformat=fixed,force_size=on"]
    qemu_img("convert", "-f", "raw", *options, tmp_path / "in.img", tmp_path / "disk.vhd")
    done = winpython("-m", "pyvhdmp", "compare", "in.img", "disk.vhd", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "identical\n", "")


@pytest.mark.parametrize("size", [MIB, 100 * MIB, 1 << 30, 40 << 30, 127 << 30])
def test_the_geometry_is_the_one_that_qemu_computes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "disk.vhd"
    sectors = Geometry.of(size)
    size = sectors.cylinders * sectors.heads * sectors.sectors_per_track * 512
    qemu_img("create", "-f", "vpc", "-o", "subformat=fixed", path, str(size))
    with path.open("rb") as file:
        file.seek(-FOOTER_SIZE, 2)
        raw = file.read()
    footer = Footer.parse(raw, file_size=path.stat().st_size)
    assert raw[56:60] == Footer(footer.size).pack()[56:60]


def test_a_dynamic_vhd_of_qemu_is_refused_saying_what_it_needs(tmp_path: Path) -> None:
    qemu_img("create", "-f", "vpc", "-o", "subformat=dynamic", tmp_path / "disk.vhd", "8M")
    done = winpython("-m", "pyvhdmp", "info", "disk.vhd", cwd=tmp_path)
    assert done.returncode == 1
    why = "pyvhdmp: disk.vhd: a dynamic VHD needs Windows' VHDMP driver, which does not work here: "
    assert done.stderr.startswith(why)
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="mounts a file system")
def test_a_target_on_a_full_disk_fails_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    make_image(tmp_path / "in.img", 16 * MIB, data=16 * MIB)
    small = tmp_path / "small"
    small.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True, timeout=30
    )
    if mount.returncode:
        pytest.skip("cannot mount a small file system")
    try:
        done = winpython("-m", "pyvhdmp", "copy", "in.img", "small/out.vhd", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        # The last write that fits is cut short on Wine, and else the one after it fails.
        assert "no more room?" in done.stderr or "(Windows error 112)" in done.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", small], check=True, timeout=30)
