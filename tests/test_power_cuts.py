"""A copy whose power is cut, at each of its I/Os in turn: whole, or not there."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from pyvhdmp.cli import main
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.testing import SimulatedWindows
from pyvhdmp.testing.virtdisk import TRAILER_SIZE, Image
from pyvhdmp.vhd import FOOTER_SIZE, Footer

SECTORS = 200
CONTENT = random.Random(1).randbytes(SECTORS * 512)
BIG = random.Random(3).randbytes(2 << 20).ljust(3 << 20, b"\0")  # the least in a VHDX
OLD = random.Random(2).randbytes(512 * 7)


def vhd(content: bytes) -> bytes:
    return content + Footer(len(content)).pack()


def payload(name: str, raw: bytes) -> bytes | None:
    """Return the disk in a file, None if it is none: no footer, or one for another size."""
    if name.endswith(".vhdx"):
        assert Image.parse(raw[-TRAILER_SIZE:], len(raw)).size == len(raw) - TRAILER_SIZE
        return raw[:-TRAILER_SIZE]
    if ".vhd" not in name:
        return raw
    try:
        Footer.parse(raw[-FOOTER_SIZE:], file_size=len(raw))
    except InvalidInputError:
        return None
    return raw[:-FOOTER_SIZE]


def partial_name(target: str) -> str:
    return "out.pyvhdmp-partial.vhdx" if target == "out.vhdx" else target + ".pyvhdmp-partial"


def io_size(target: str) -> int:
    return 64 << 10 if target == "out.vhdx" else 4096


def cut_copies(
    source: str, target: str, content: bytes, old: bytes | None, options: list[str]
) -> Iterator[SimulatedWindows]:
    """Yield what each cut has left, from the first I/O to the one that comes too late."""
    vhdmp = target.endswith(".vhdx")
    for number in range(1, 10_000):
        with SimulatedWindows(seed=number, vhdmp=vhdmp, cache_size=64 * 1024) as windows:
            windows.files[source] = vhd(content) if source.endswith(".vhd") else content
            if old is not None:
                windows.files[target] = old
                windows.files[partial_name(target)] = OLD * 40  # of a copy that was killed
            windows.power_cut(after=number, restart=False)
            sizes = ["--io-size", str(io_size(target)), "--queue-depth", "4"]
            code = main(["copy", source, target, *sizes, *options])
            assert code == (1 if windows.power_cuts else 0)
            windows.restart()
            yield windows
            if not windows.power_cuts:
                return


@pytest.mark.parametrize(
    ("source", "target", "content", "old", "options"),
    [
        ("in.img", "out.vhd", CONTENT, None, []),
        ("in.img", "out.vhd", CONTENT, vhd(OLD), ["--force", "--verify"]),
        ("in.vhd", "out.img", CONTENT, OLD, ["--force"]),
        ("in.vhd", "out.img", CONTENT, None, ["--verify"]),
        ("in.img", "out.vhdx", BIG, None, []),
        ("in.img", "out.vhdx", BIG, OLD, ["--force"]),
    ],
    ids=[
        "to a new VHD",
        "over a VHD",
        "over an image",
        "to a new image",
        "to a new VHDX",
        "over a VHDX",
    ],
)
def test_a_power_cut_at_any_io_leaves_the_new_target_the_old_one_or_none(
    source: str,
    target: str,
    content: bytes,
    old: bytes | None,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = set()
    cuts = 0
    for windows in cut_copies(source, target, content, old, options):
        cuts += windows.power_cuts
        left = windows.files.get(target)
        if left is None:
            assert old is None, f"cut {cuts}: the old target is gone"
            outcomes.add("none")
        elif old is not None and left == old:
            outcomes.add("old")
        else:
            assert payload(target, left) == content, f"cut {cuts}: {target} looks finished"
            outcomes.add("new")
        partial = windows.files.get(partial_name(target))
        if partial is not None and target.endswith(".vhd"):
            found = payload(target, partial)
            assert found in (None, content), f"cut {cuts}: the partial file looks finished"
        assert windows.files[source].startswith(content)
    assert cuts > 2 * len(content.rstrip(b"\0")) // io_size(target)  # each read, each write
    assert outcomes == {"new", "none" if old is None else "old"}
    assert "Traceback" not in capsys.readouterr().err
