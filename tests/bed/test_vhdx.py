"""Genuine VHDX images, read and written by the Windows Python and judged by QEMU."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("exports disks over FUSE", allow_module_level=True)

from tests.support.launcher import needs_winpython, start_copy
from tests.support.launcher import winpython as plain_winpython
from tests.support.qemu import make_image, qemu_img
from tests.support.vhdx import images
from tests.support.vhdx.exports import FUSE, NEEDED, ExportError, Exports
from tests.support.winpython import CHECKOUT
from tests.support.winpython import vhdx as launcher
from tests.support.winpython.cache import Cache, SetupError

MISSING = [*([] if FUSE.exists() else [str(FUSE)]), *(n for n in NEEDED if not shutil.which(n))]

pytestmark = [
    needs_winpython,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

MIB = 1 << 20


def create(path: Path, size: int, *, is_fixed: bool = False, block_size: int = MIB) -> None:
    images.create(
        path,
        size=size,
        is_fixed=is_fixed,
        block_size=block_size,
        sector_size=512,
        physical_sector_size=4096,
        disk_id=str(uuid.uuid4()),
    )


@pytest.fixture(scope="module", autouse=True)
def fuse(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip all of this where an export is not allowed, as in some containers."""
    folder = tmp_path_factory.mktemp("fuse")
    create(folder / "disk.vhdx", 3 * MIB)
    (folder / "exports").mkdir()
    exports = Exports(folder / "exports")
    try:
        exports.start(folder / "disk.vhdx", writable=True)
    except ExportError as error:
        pytest.skip(f"cannot mount over FUSE: {str(error).splitlines()[0]}")
    finally:
        exports.stop_all()


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The switch, and a folder of its own for the exports."""
    return {"WINPYTHON_VHDX": "1", "TMPDIR": str(tmp_path_factory.mktemp("exports"))}


@pytest.fixture(autouse=True)
def nothing_is_left(environment: dict[str, str]) -> object:
    yield
    deadline = time.monotonic() + 30  # a call that was killed has a helper that outlives it
    folder = Path(environment["TMPDIR"])
    while left := list(folder.iterdir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert str(folder) not in Path("/proc/mounts").read_text()
    return None


@pytest.fixture
def winpython(tmp_path: Path, environment: dict[str, str]) -> Winpython:
    return Winpython(tmp_path, environment)


class Winpython:
    """The Windows Python, with genuine VHDX images."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def __call__(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run a program; return its output, or if it fails, its one line of error."""
        done = plain_winpython(*arguments, cwd=self._folder, environment=self._environment)
        if fails:
            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
            return done.stderr
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def pyvhdmp(self, *arguments: str, fails: bool = False) -> str:
        return self("-m", "pyvhdmp", *arguments, fails=fails)


def assert_same(raw: Path, vhdx: Path) -> None:
    """Have QEMU find a VHDX sound, and its content that of a raw image."""
    assert qemu_img("check", "-f", "vhdx", vhdx) == "No errors were found on the image.\n"
    compared = qemu_img("compare", "-f", "raw", "-F", "vhdx", raw, vhdx)
    assert compared == "Images are identical.\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- Copying --------------------------------------------------------------------


def test_a_copy_of_a_gibibyte_is_identical_for_qemu_sparse_and_comes_back(
    tmp_path: Path, winpython: Winpython
) -> None:
    make_image(tmp_path / "in.img", 1 << 30, data=16 * MIB)
    with (tmp_path / "in.img").open("r+b") as file:
        file.truncate(320 * MIB)  # the rest is zeros
        file.truncate(1 << 30)
    assert "verified" in winpython.pyvhdmp("copy", "in.img", "out.vhdx", "--verify")
    assert_same(tmp_path / "in.img", tmp_path / "out.vhdx")
    info = json.loads(qemu_img("info", "--output=json", tmp_path / "out.vhdx"))
    assert (info["format"], info["virtual-size"]) == ("vhdx", 1 << 30)
    assert info["actual-size"] < 64 * MIB
    assert (tmp_path / "out.vhdx").stat().st_size < 400 * MIB  # blocks of zeros are not there
    winpython.pyvhdmp("copy", "out.vhdx", "back.img")
    assert names(tmp_path) == ["back.img", "in.img", "out.vhdx"]
    subprocess.run(["cmp", "in.img", "back.img"], cwd=tmp_path, check=True, timeout=100)


@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB + 512, 100 * MIB - 512])
def test_any_number_of_sectors_is_copied(tmp_path: Path, winpython: Winpython, size: int) -> None:
    make_image(tmp_path / "in.img", size, data=2 * MIB)
    with (tmp_path / "in.img").open("r+b") as file:
        file.seek(-512, 2)
        file.write(b"\xee" * 512)
    winpython.pyvhdmp("copy", "in.img", "out.vhdx")
    assert_same(tmp_path / "in.img", tmp_path / "out.vhdx")
    info = json.loads(winpython.pyvhdmp("info", "out.vhdx", "--json"))
    assert (info["size"], info["format"], info["disk_type"]) == (size, "vhdx", "dynamic")


@pytest.mark.parametrize("options", ["subformat=dynamic", "subformat=fixed", "block_size=1048576"])
def test_a_vhdx_of_qemu_is_read(tmp_path: Path, winpython: Winpython, options: str) -> None:
    make_image(tmp_path / "in.img", 40 * MIB, data=4 * MIB)
    arguments = ["-f", "raw", "-O", "vhdx", "-o", options]
    qemu_img("convert", *arguments, tmp_path / "in.img", tmp_path / "disk.vhdx")
    assert winpython.pyvhdmp("compare", "in.img", "disk.vhdx") == "identical\n"
    winpython.pyvhdmp("copy", "disk.vhdx", "back.img")
    assert (tmp_path / "back.img").read_bytes() == (tmp_path / "in.img").read_bytes()


@pytest.mark.parametrize("options", ["subformat=dynamic,block_size=1048576", "subformat=fixed"])
def test_a_disk_that_is_made_from_a_vhdx_has_its_content(
    tmp_path: Path, winpython: Winpython, options: str
) -> None:
    make_image(tmp_path / "in.img", 40 * MIB + 512, data=4 * MIB)
    arguments = ["-f", "raw", "-O", "vhdx", "-o", options]
    qemu_img("convert", *arguments, tmp_path / "in.img", tmp_path / "disk.vhdx")
    winpython.pyvhdmp("create", "fixed.vhd", "--from", "disk.vhdx", "--type", "fixed")
    raw = (tmp_path / "fixed.vhd").read_bytes()
    assert raw[:-512] == (tmp_path / "in.img").read_bytes()
    assert raw[-512:].startswith(b"conectix")
    winpython.pyvhdmp("create", "copy.vhdx", "--from", "disk.vhdx")
    winpython.pyvhdmp("create", "back.vhdx", "--from", "fixed.vhd", "--type", "fixed")
    for name in ("disk.vhdx", "copy.vhdx", "back.vhdx"):
        assert_same(tmp_path / "in.img", tmp_path / name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("old", [None, b"old target"])
def test_a_copy_that_is_ended_leaves_no_target_and_the_next_one_works(
    tmp_path: Path,
    winpython: Winpython,
    environment: dict[str, str],
    old: bytes | None,
    number: signal.Signals,
) -> None:
    source, target = tmp_path / "in.img", tmp_path / "out.vhdx"
    source.write_bytes(random.Random(1).randbytes(16 * MIB) * 16)
    if old is not None:
        target.write_bytes(old)
    process = start_copy(tmp_path, "out.vhdx", "out.pyvhdmp-partial.vhdx", environment=environment)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {2: 130, 15: 143, 9: -9}[number], errors
    assert (target.read_bytes() if target.exists() else None) == old
    if number == signal.SIGINT:
        assert not (tmp_path / "out.pyvhdmp-partial.vhdx").exists()
    source.write_bytes(source.read_bytes()[: 8 * MIB])
    deadline = time.monotonic() + 30  # until Wine has noticed that the file is free again
    while True:
        try:
            winpython.pyvhdmp("copy", "in.img", "out.vhdx", "--force")
            break
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    assert_same(source, target)
    assert names(tmp_path) == ["in.img", "out.vhdx"]


def test_a_disk_that_no_vhdx_can_be_is_one_line_and_leaves_nothing(
    tmp_path: Path, winpython: Winpython
) -> None:
    make_image(tmp_path / "in.img", 3 * MIB - 512, data=MIB)
    error = winpython.pyvhdmp("copy", "in.img", "out.vhdx", fails=True)
    assert error == (
        "pyvhdmp: out.vhdx: size must be at least 3145728 bytes (3 MiB), not 3145216\n"
    )
    assert names(tmp_path) == ["in.img"]


# -- Disks ----------------------------------------------------------------------

SUITES = (
    "tests/disk/test_conformance.py",
    "tests/disk/test_disk.py",
    "tests/disk/test_disk_endings.py",
    "tests/test_copying.py",
)
# Not those that open thousands of disks, that want QEMU's sectors to be larger, or no VHDMP.
SELECTED = "real and (vhdmp or vhdx) and not 2000_times and not sector_size and not needs_the"


@pytest.mark.timeout(600)
def test_the_suites_of_every_disk_pass_on_genuine_ones(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = plain_winpython(
        "-m",
        "pytest",
        *["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'files'}", "-k", SELECTED],
        *SUITES,
        cwd=CHECKOUT,
        environment=environment,
        seconds=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = list(tmp_path.glob("files/*/disk.vhdx"))
    assert len(made) > 100
    for path in made[::5]:
        qemu_img("check", "-f", "vhdx", path)


WRITE = """
import random, sys, pyvhdmp

chance = random.Random(int(sys.argv[2]))
with pyvhdmp.open_disk(sys.argv[1]) as disk, open("shadow.img", "r+b") as shadow:
    for _ in range(20):
        free, futures = disk.sector_count, []
        while free > 300:
            count = chance.choice([1, 7, 8, 64, 256])
            start = free - count - chance.randrange(40000)
            if start < 0:
                break
            data = chance.choice([chance.randbytes(512), bytes(512)]) * count
            futures.append(disk.write(start, data, fua=chance.random() < 0.1))
            shadow.seek(start * 512)
            shadow.write(data)
            free = start
        for future in futures:
            future.result()
    disk.sync_cache().result()
with pyvhdmp.open_disk(sys.argv[1], read_only=True) as disk, open("shadow.img", "rb") as shadow:
    assert disk.read(0, disk.sector_count).result() == shadow.read()
"""


@pytest.mark.parametrize(
    ("options", "seed"), [("subformat=dynamic,block_size=1048576", 1), ("subformat=fixed", 2)]
)
def test_random_writes_are_what_qemu_reads_afterwards(
    tmp_path: Path, winpython: Winpython, options: str, seed: int
) -> None:
    size = 64 * MIB + 512 * 3
    qemu_img("create", "-q", "-f", "vhdx", "-o", options, tmp_path / "disk.vhdx", str(size))
    make_image(tmp_path / "shadow.img", size, data=0)
    winpython("-c", WRITE, "disk.vhdx", str(seed))
    assert_same(tmp_path / "shadow.img", tmp_path / "disk.vhdx")


MAKE = """
import dataclasses, json, sys, uuid, pyvhdmp

made = uuid.UUID(sys.argv[1])
make = pyvhdmp.VirtualDisk.create_dynamic
with make("dynamic.vhdx", 40 << 20, block_size=2 << 20, disk_id=made) as disk:
    first = disk.info
with pyvhdmp.VirtualDisk.open("dynamic.vhdx", info_only=True) as disk:
    assert disk.info == first, (disk.info, first)
with pyvhdmp.VirtualDisk.create_fixed("fixed.vhdx", 5 << 20) as disk:
    pass
with pyvhdmp.VirtualDisk.open("fixed.vhdx", read_only=True) as disk:
    assert disk.info.disk_type is pyvhdmp.VirtualDiskType.FIXED
    assert (disk.info.virtual_size, disk.info.block_size) == (5 << 20, 0)
print(first.disk_id, first.block_size, first.virtual_size, first.physical_size)
"""


def test_a_new_vhdx_says_what_was_asked_for(tmp_path: Path, winpython: Winpython) -> None:
    disk_id = uuid.uuid4()
    answer = winpython("-c", MAKE, str(disk_id)).split()
    assert answer[:3] == [str(disk_id), str(2 * MIB), str(40 * MIB)]
    assert int(answer[3]) < 10 * MIB
    info = json.loads(qemu_img("info", "--output=json", tmp_path / "dynamic.vhdx"))
    assert (info["virtual-size"], info["cluster-size"]) == (40 * MIB, 2 * MIB)
    for name in ("dynamic.vhdx", "fixed.vhdx"):
        qemu_img("check", "-f", "vhdx", tmp_path / name)
    assert images.facts(tmp_path / "dynamic.vhdx").disk_id == str(disk_id)
    assert images.facts(tmp_path / "fixed.vhdx").is_fixed


SHARE = """
import os, pyvhdmp

def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except PermissionError as error:
        assert error.winerror == 32, error
    else:
        raise AssertionError("not refused")

with pyvhdmp.open_disk("disk.vhdx"):
    refused(pyvhdmp.open_disk, "disk.vhdx", read_only=True)
    refused(os.rename, "disk.vhdx", "other.vhdx")
    refused(os.unlink, "disk.vhdx")
    with pyvhdmp.VirtualDisk.open("disk.vhdx", info_only=True) as asked:
        assert asked.info.virtual_size == 8 << 20
with pyvhdmp.open_disk("disk.vhdx", read_only=True) as disk:
    with pyvhdmp.open_disk("disk.vhdx", read_only=True) as another:
        assert disk.read(0, 8).result() == another.read(0, 8).result()
    refused(pyvhdmp.open_disk, "disk.vhdx")
os.rename("disk.vhdx", "other.vhdx")
"""


def test_windows_rules_of_sharing_hold_for_the_image(tmp_path: Path, winpython: Winpython) -> None:
    create(tmp_path / "disk.vhdx", 8 * MIB)
    winpython("-c", SHARE)
    assert names(tmp_path) == ["other.vhdx"]


def test_what_is_no_sound_vhdx_is_refused_with_windows_code(
    tmp_path: Path, winpython: Winpython
) -> None:
    (tmp_path / "empty.vhdx").write_bytes(b"")
    create(tmp_path / "metadata.vhdx", 8 * MIB)
    shutil.copy(tmp_path / "metadata.vhdx", tmp_path / "headers.vhdx")
    for name, places in (("metadata.vhdx", (192, 256)), ("headers.vhdx", (64, 128))):
        with (tmp_path / name).open("r+b") as file:
            for place in places:
                file.seek(place << 10)
                file.write(bytes(4096))
    for name in names(tmp_path):
        error = winpython.pyvhdmp("copy", name, "back.img", fails=True)
        assert error.startswith(f"pyvhdmp: {name}: ")
        assert "(Windows error 1392)" in error
    assert "Windows error 2)" in winpython.pyvhdmp("info", "missing.vhdx", fails=True)


# -- The bed --------------------------------------------------------------------


def test_an_export_is_as_large_as_the_disk(tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    exports = Exports(tmp_path / "exports")
    for number, size in enumerate((3 * MIB, 3 * MIB + 512, 5 << 40)):
        create(tmp_path / f"{number}.vhdx", size)
        assert images.facts(tmp_path / f"{number}.vhdx").size == size
        export, payload = exports.start(tmp_path / f"{number}.vhdx", writable=True)
        try:
            assert payload.stat().st_size == size
        finally:
            exports.stop(export)
    assert names(tmp_path / "exports") == ["1.log", "2.log", "3.log"]


def test_the_switch_says_in_one_line_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINPYTHON_VHDX", "1")
    monkeypatch.setattr(launcher, "FUSE", tmp_path / "fuse")
    with (
        pytest.raises(SetupError, match=r"WINPYTHON_VHDX needs .*/fuse"),
        launcher.vhdx_environment(Cache(tmp_path), {}),
    ):
        pass


@pytest.mark.parametrize("value", ["", "0"])
def test_the_switch_can_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WINPYTHON_VHDX", value)
    with launcher.vhdx_environment(Cache(tmp_path), {"A": "1"}) as environment:
        assert environment == {"A": "1"}
