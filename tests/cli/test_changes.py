"""resize, compact and merge: sizes before and after, and what an interrupted one leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from pyvhdmp import VirtualDisk, files, open_disk
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Done, Run


def write(path: str, offset: int, content: bytes) -> None:
    with open_disk(path) as disk:
        disk.write(offset // 512, content).result()


def read(path: str, offset: int, length: int) -> bytes:
    with open_disk(path, read_only=True) as disk:
        return disk.read(offset // 512, length // 512).result()


def file_size(path: str) -> int:
    with VirtualDisk.open(path, info_only=True) as disk:
        return disk.info.physical_size


@pytest.fixture
def disk(vhdmp: SimulatedWindows) -> SimulatedWindows:
    """A dynamic disk of 8 MiB, with 2 MiB of content and then 2 MiB of zeros."""
    make_disk()
    return vhdmp


def make_disk() -> None:
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB, block_size=MIB).close()
    write("a.vhdx", 0, b"\x01" * 4 * MIB)
    write("a.vhdx", 2 * MIB, bytes(2 * MIB))


def make_chain() -> None:
    """base.vhdx has 1 at 0, child.avhdx 2 at 1 MiB, and leaf.avhdx 3 at 2 MiB."""
    VirtualDisk.create_dynamic("base.vhdx", 8 * MIB).close()
    write("base.vhdx", 0, b"\x01" * 512)
    VirtualDisk.create_differencing("child.avhdx", "base.vhdx").close()
    write("child.avhdx", MIB, b"\x02" * 512)
    VirtualDisk.create_differencing("leaf.avhdx", "child.avhdx").close()
    write("leaf.avhdx", 2 * MIB, b"\x03" * 512)


@pytest.fixture
def chain(vhdmp: SimulatedWindows) -> SimulatedWindows:
    make_chain()
    return vhdmp


def make_chain_again(windows: SimulatedWindows) -> None:
    for path in list(windows.files):
        del windows.files[path]
    make_chain()


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl+C come as soon as there is progress."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "share", lambda *_: interrupt)


def interruptions(
    run: Run, make: Callable[[], None], *command: str
) -> Iterator[tuple[str, str, SimulatedWindows]]:
    """Yield what Windows that are in time to cancel, and some that are not, come to."""
    for seed in range(30):
        with SimulatedWindows(seed) as windows:
            make()
            done = run(*command)
            if done.code:  # else it was over before Ctrl+C came
                outcome, state = done.interruption.split("; ")
                yield outcome, state, windows


# -- resize -----------------------------------------------------------------------


@pytest.mark.usefixtures("disk")
def test_resize_tells_the_sizes_before_and_after(run: Run) -> None:
    assert run("resize", "a.vhdx", "16M").text == "resized a.vhdx: 16.0 MiB (before: 8.0 MiB)\n"
    sizes = run("resize", "a.vhdx", "8M", "--json").json
    assert (sizes["path"], sizes["old_size"], sizes["new_size"]) == ("a.vhdx", 16 * MIB, 8 * MIB)
    assert sizes["old_file_size"] > 0
    assert sizes["new_file_size"] == file_size("a.vhdx")


@pytest.mark.usefixtures("vhdmp")
def test_a_vhd_is_made_no_smaller_and_the_error_says_so(run: Run) -> None:
    VirtualDisk.create_dynamic("a.vhd", 8 * MIB).close()
    error = run("resize", "a.vhd", "4M", "--allow-unsafe").error
    assert "(Windows error 87)" in error
    assert "a disk that cannot shrink (a VHD)" in error
    assert run("resize", "a.vhd", "9M").code == 0


@pytest.mark.usefixtures("disk")
def test_resize_cuts_nothing_off_unless_it_is_told_to(run: Run) -> None:
    error = run("resize", "a.vhdx", "3M").error
    assert error.startswith("a.vhdx: ")
    assert error.endswith(
        "(Windows error 0xC03A0025). A partition lies there: `pyvhdmp info PATH` tells what is "
        "needed, and --allow-unsafe cuts it off all the same."
    )
    assert run("resize", "a.vhdx", "--smallest").text.endswith(": 4.0 MiB (before: 8.0 MiB)\n")
    assert "(Windows error 0xC03A0027)" in run("resize", "a.vhdx", "--smallest").error
    assert run("resize", "--allow-unsafe", "a.vhdx", "3M", "--json").json["new_size"] == 3 * MIB


def test_a_size_that_cannot_be_and_a_disk_that_is_not_there(
    disk: SimulatedWindows, run: Run
) -> None:
    assert run("resize", "a.vhdx", "1M").error.startswith("a.vhdx: size must be at least 3145728")
    assert "(Windows error 2)" in run("resize", "none.vhdx", "8M").error
    with open_disk("a.vhdx"):
        assert "It is open elsewhere" in run("resize", "a.vhdx", "16M").error
    disk.fail_next("ResizeVirtualDisk", 120)
    assert run("resize", "a.vhdx", "16M").error.endswith(
        "(Windows error 120). This Windows has no ResizeVirtualDisk: it came with Windows 8."
    )


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_in_a_resize_tells_the_size_that_the_disk_has(run: Run) -> None:
    outcomes = set()
    for outcome, state, _ in interruptions(run, make_disk, "resize", "a.vhdx", "16M"):
        with VirtualDisk.open("a.vhdx", info_only=True) as disk:
            size = disk.info.virtual_size
        assert state == f"a.vhdx is whole, its size is {size // MIB}.0 MiB"
        assert (outcome, size) in (
            ("resize was cancelled", 8 * MIB),
            ("resize was already done", 16 * MIB),
        )
        outcomes.add(outcome)
    assert len(outcomes) == 2


# -- compact ----------------------------------------------------------------------


@pytest.mark.usefixtures("disk")
def test_compact_gives_back_what_zeros_take(run: Run) -> None:
    before = file_size("a.vhdx")
    sizes = run("compact", "a.vhdx", "--json").json
    assert sizes == {
        "path": "a.vhdx",
        "old_size": 8 * MIB,
        "new_size": 8 * MIB,
        "old_file_size": before,
        "new_file_size": file_size("a.vhdx"),
    }
    assert sizes["new_file_size"] < before
    assert read("a.vhdx", 0, 2 * MIB) == b"\x01" * 2 * MIB
    assert run("compact", "a.vhdx").text.startswith("compacted a.vhdx: takes 2.")


@pytest.mark.usefixtures("disk")
def test_compact_passes_its_options_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bool]] = []
    real = VirtualDisk.compact

    def compact(self: VirtualDisk, **options: bool) -> object:
        seen.append(options)
        return real(self, **options)

    monkeypatch.setattr(VirtualDisk, "compact", compact)
    assert run("compact", "a.vhdx", "--no-zero-scan").code == 0
    assert run("compact", "a.vhdx", "--no-block-moves").code == 0
    assert seen == [
        {"zero_scan": False, "block_moves": True},
        {"zero_scan": True, "block_moves": False},
    ]


@pytest.mark.usefixtures("vhdmp")
def test_what_cannot_be_compacted_says_why(run: Run) -> None:
    VirtualDisk.create_fixed("a.vhdx", 8 * MIB).close()
    error = run("compact", "a.vhdx").error
    assert error.startswith("a.vhdx: ")
    assert "(Windows error 0xC03A001B). A disk of this type" in error
    assert "(Windows error 2)" in run("compact", "none.vhdx").error


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_in_a_compaction_leaves_the_disk_whole_and_tells_its_size(run: Run) -> None:
    outcomes = set()
    for outcome, state, _ in interruptions(run, make_disk, "compact", "a.vhdx"):
        assert state.startswith("a.vhdx is whole, and takes ")
        assert state.endswith(" MiB)")
        assert read("a.vhdx", 0, 4 * MIB) == b"\x01" * 2 * MIB + bytes(2 * MIB)
        outcomes.add(outcome)
    assert outcomes == {"compact was cancelled", "compact was already done"}


# -- merge ------------------------------------------------------------------------


@pytest.mark.usefixtures("chain")
def test_merge_says_which_file_holds_the_content(run: Run) -> None:
    text = run("merge", "leaf.avhdx").text
    assert text.startswith("merged into C:\\child.avhdx, which holds the content and takes ")
    assert text.endswith("; not needed any more: leaf.avhdx\n")
    assert read("child.avhdx", 2 * MIB, 512) == b"\x03" * 512
    assert read("leaf.avhdx", 2 * MIB, 512) == b"\x03" * 512


def test_merge_goes_down_the_chain_and_deletes_what_is_merged(
    chain: SimulatedWindows, run: Run
) -> None:
    before = file_size("base.vhdx")
    result = run("merge", "leaf.avhdx", "--depth", "2", "--delete", "--json").json
    assert result == {
        "path": "leaf.avhdx",
        "merged": ["leaf.avhdx", "C:\\child.avhdx"],
        "content": "C:\\base.vhdx",
        "deleted": ["leaf.avhdx", "C:\\child.avhdx"],
        "old_size": 8 * MIB,
        "new_size": 8 * MIB,
        "old_file_size": before,
        "new_file_size": file_size("base.vhdx"),
    }
    assert list(chain.files) == ["C:\\base.vhdx"]
    for number in range(3):
        assert read("base.vhdx", number * MIB, 512) == bytes([number + 1]) * 512


@pytest.mark.usefixtures("chain")
def test_what_cannot_be_merged_says_why(run: Run) -> None:
    error = run("merge", "base.vhdx").error
    assert error == "base.vhdx: has no parent to be merged into"
    error = run("merge", "leaf.avhdx", "--depth", "3").error
    assert error == "leaf.avhdx: has only 2 above it to be merged into"
    with open_disk("child.avhdx", read_only=True):
        assert "(Windows error 32)" in run("merge", "leaf.avhdx").error


def test_a_merge_that_fails_says_which_files_to_keep(chain: SimulatedWindows, run: Run) -> None:
    chain.fail_next("MergeVirtualDisk", 112, pending=True)
    error = run("merge", "leaf.avhdx", "--depth", "2", "--delete").error
    assert error.startswith("leaf.avhdx: ")
    assert error.endswith(
        "As for what there is: keep leaf.avhdx, C:\\child.avhdx and C:\\base.vhdx, "
        "as only all of them together hold the content."
    )
    assert len(chain.files) == 3


def test_a_file_that_cannot_be_deleted_is_an_error_after_the_merge(
    chain: SimulatedWindows, run: Run
) -> None:
    chain.fail_next("DeleteFileW", 5)
    error = run("merge", "leaf.avhdx", "--delete").error
    assert error.startswith("leaf.avhdx: ")
    assert error.endswith(" The merge itself is done: C:\\child.avhdx holds the content.")
    assert read("child.avhdx", 2 * MIB, 512) == b"\x03" * 512


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_in_a_merge_says_which_files_must_not_be_thrown_away(run: Run) -> None:
    outcomes = set()
    merge = ("merge", "leaf.avhdx", "--delete")
    for outcome, state, windows in interruptions(run, make_chain, *merge):
        if outcome == "merge was cancelled":
            assert state == (
                "keep leaf.avhdx and C:\\child.avhdx, as only all of them together hold the content"
            )
        else:
            assert state == "C:\\child.avhdx holds the content"
            assert read("child.avhdx", 2 * MIB, 512) == b"\x03" * 512
        assert len(windows.files) == 3
        assert read("leaf.avhdx", 2 * MIB, 512) == b"\x03" * 512
        outcomes.add(outcome)
    assert outcomes == {"merge was cancelled", "merge was already done"}


@pytest.mark.usefixtures("chain")
def test_ctrl_c_after_a_merge_is_too_late_and_says_where_the_content_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "delete_file", interrupted)
    done = run("merge", "leaf.avhdx", "--delete")
    assert done.interruption == "merge was already done; C:\\child.avhdx holds the content"


@pytest.mark.parametrize(
    ("arguments", "opens", "output", "note"),
    [
        (["resize", "base.vhdx", "9M"], 1, "resized base.vhdx (before: 8.0 MiB)", "resized"),
        (["compact", "base.vhdx"], 1, "compacted base.vhdx (before: ", "compacted"),
        (["merge", "leaf.avhdx"], 3, "which holds the content (before: ", "merged into"),
    ],
)
def test_what_is_done_is_no_failure_even_if_the_new_sizes_cannot_be_read(
    chain: SimulatedWindows, run: Run, arguments: list[str], opens: int, output: str, note: str
) -> None:
    def done_blindly(*options: str) -> Done:
        chain.fail_next("OpenVirtualDisk", 32, after=opens)
        done = run(*arguments, *options)
        assert done.code == 0
        assert done.errors.startswith(f"pyvhdmp: {note} ")
        assert "but its new sizes cannot be read: " in done.errors
        return done

    assert output in done_blindly().output
    make_chain_again(chain)
    sizes = json.loads(done_blindly("--json").output)
    assert sizes["old_size"] == 8 * MIB
    assert (sizes["new_size"], sizes["new_file_size"]) == (None, None)


@pytest.mark.parametrize("command", [["resize", "8M"], ["compact"], ["merge"]])
def test_without_vhdmp_they_say_so(disk: SimulatedWindows, run: Run, command: list[str]) -> None:
    disk.vhdmp = False
    name, *rest = command
    need = "a.vhdx: this needs Windows' VHDMP driver, which does not work here: "
    assert run(name, "a.vhdx", *rest).error.startswith(need)
    assert "(Windows error 2)" in run(name, "none.vhdx", *rest).error


@pytest.mark.parametrize("command", [["resize", "8M"], ["compact"], ["merge"]])
def test_ctrl_c_before_anything_was_begun_leaves_all_as_it_was(
    vhdmp: SimulatedWindows, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VirtualDisk, "open", interrupted)
    name, *rest = command
    done = run(name, "a.vhdx", *rest)
    assert done.interruption == f"{name} was cancelled; a.vhdx is as it was"
    assert not vhdmp.files


@pytest.mark.parametrize("command", ["resize", "compact", "merge", "attach", "detach"])
def test_a_raw_image_is_told_what_is_wanted_with_a_driver_or_without(
    vhdmp: SimulatedWindows, run: Run, command: str
) -> None:
    vhdmp.files["raw.img"] = bytes(4 * MIB)
    arguments = [command, "raw.img", *(["8M"] if command == "resize" else [])]
    kinds = "a .vhd, .avhd, .vhdx, .avhdx, .vhds or .iso"
    error = run(*arguments).error
    assert error.startswith("raw.img: ")
    assert "(Windows error 1392). " in error
    assert error.endswith(f". A virtual disk is {kinds} by its name.")
    vhdmp.vhdmp = False
    assert run(*arguments).error == f"raw.img: this wants a virtual disk: {kinds}"
    assert "(Windows error 2)" in run(*(name.replace("raw", "none") for name in arguments)).error


def test_a_damaged_disk_is_told_so_and_not_what_a_disk_is(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.files["a.vhdx"] = bytes(4 * MIB)
    assert run("resize", "a.vhdx", "8M").error.endswith(
        "(Windows error 1392). It is damaged, or no virtual disk of the format that its name says."
    )
