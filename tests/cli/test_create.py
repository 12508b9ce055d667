"""create: every kind of disk, from nothing, on top of another, and from another."""

from __future__ import annotations

import pytest

from pyvhdmp import VirtualDisk, open_disk
from pyvhdmp.cli.progress import ProgressLine
from pyvhdmp.testing import SimulatedWindows
from pyvhdmp.vhd import Footer
from tests.cli.conftest import MIB, Run

ID = "01234567-89ab-cdef-0123-456789abcdef"


def names(windows: SimulatedWindows) -> list[str]:
    return sorted(path.removeprefix("C:\\") for path in windows.files)


def write(path: str, sector: int, content: bytes) -> None:
    with open_disk(path) as disk:
        disk.write(sector, content).result()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a.vhdx", "10G"], "dynamic VHDX, 10.0 GiB, takes "),
        (["a.vhdx", "--type", "fixed", "8MiB"], "fixed VHDX, 8.0 MiB, takes 8.0 MiB"),
        (["a.vhd", "10G", "--type", "dynamic"], "dynamic VHD, 10.0 GiB, takes "),
        (["--type", "fixed", "a.vhd", "8388608"], "fixed VHD, 8.0 MiB, takes 8.0 MiB"),
        (["a.avhdx", "--parent", "base.vhdx"], "differencing VHDX, 12.0 MiB, takes "),
        (["a.vhdx", "--from", "base.vhdx"], "dynamic VHDX, 12.0 MiB, takes "),
        (["a.vhd", "20M", "--from", "base.vhdx", "--type", "fixed"], "fixed VHD, 20.0 MiB, takes "),
        (["a.vhd", "--from", "base.vhdx", "20M"], "dynamic VHD, 20.0 MiB, takes "),
    ],
)
def test_create_says_what_it_made(
    vhdmp: SimulatedWindows, run: Run, arguments: list[str], text: str
) -> None:
    VirtualDisk.create_dynamic("base.vhdx", 12 * MIB).close()
    path = next(name for name in arguments if name.startswith("a."))
    assert run("create", *arguments).text.startswith(f"created {path}: {text}")
    assert names(vhdmp) == sorted([path, "base.vhdx"])


@pytest.mark.usefixtures("vhdmp")
def test_every_option_reaches_the_disk(run: Run) -> None:
    sizes = ["--block-size", "1M", "--sector-size", "4K", "--physical-sector-size", "4096"]
    facts = run("create", "a.vhdx", "64M", *sizes, "--id", ID, "--json").json
    expected = {
        "path": "a.vhdx",
        "format": "vhdx",
        "disk_type": "dynamic",
        "size": 64 * MIB,
        "block_size": MIB,
        "sector_size": 4096,
        "physical_sector_size": 4096,
        "disk_id": ID,
    }
    assert expected.items() <= facts.items()
    facts = run("create", "b.vhd", "64M", "--block-size", "512K", "--id", ID, "--json").json
    assert (facts["block_size"], facts["disk_id"]) == (512 << 10, ID)


@pytest.mark.usefixtures("vhdmp")
def test_a_copy_has_the_content_of_the_whole_chain(run: Run) -> None:
    run("create", "base.vhdx", "8M")
    write("base.vhdx", 0, b"\x01" * 512)
    run("create", "child.avhdx", "--parent", "base.vhdx")
    write("child.avhdx", 100, b"\x02" * 512)
    assert run("create", "copy.vhd", "--from", "child.avhdx").code == 0
    assert run("compare", "child.avhdx", "copy.vhd").text == "identical\n"


def test_without_vhdmp_a_fixed_vhd_is_made_all_the_same(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.vhdmp = False
    facts = run("create", "a.vhd", "8M", "--type", "fixed", "--id", ID, "--json").json
    assert (facts["format"], facts["disk_type"], facts["disk_id"]) == ("vhd", "fixed", ID)
    raw = vhdmp.files["a.vhd"]
    assert Footer.parse(raw[-512:], file_size=len(raw)).size == 8 * MIB
    assert run("create", "b.vhd", "1M", "--type", "fixed").error.startswith("b.vhd: size must be")


def test_without_vhdmp_a_dynamic_vhd_names_the_one_that_can_be_had(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.vhdmp = False
    assert run("create", "a.vhd", "8M").error.endswith(
        "(Windows error 120). A system that has none answers so, as Wine does. "
        "--type fixed makes one that needs no driver."
    )
    vhdmp.files["base.vhd"] = b""
    for arguments in (["a.vhdx", "8M"], ["a.vhd", "--parent", "base.vhd"]):
        assert "--type fixed" not in run("create", *arguments).error


@pytest.mark.parametrize("options", [[], ["--type", "fixed"]])
def test_without_vhdmp_a_copy_of_a_vhd_names_the_command_that_makes_one(
    vhdmp: SimulatedWindows, run: Run, options: list[str]
) -> None:
    vhdmp.vhdmp = False
    assert run("create", "x.vhd", "8M", "--type", "fixed").code == 0
    assert run("create", "c.vhd", "--from", "x.vhd", *options).error.endswith(
        " If x.vhd is a fixed one, `pyvhdmp copy` makes another without the driver."
    )
    assert run("copy", "x.vhd", "c.vhd").code == 0
    assert run("compare", "x.vhd", "c.vhd").code == 0
    vhdmp.files["x.vhdx"] = b""
    for arguments in (["d.vhdx", "--from", "x.vhd"], ["d.vhd", "--from", "x.vhdx"]):
        assert "pyvhdmp copy" not in run("create", *arguments).error


@pytest.mark.parametrize("has_vhdmp", [True, False])
def test_a_name_of_no_format_is_not_for_want_of_a_driver(
    vhdmp: SimulatedWindows, run: Run, has_vhdmp: bool
) -> None:
    vhdmp.vhdmp = has_vhdmp
    vhdmp.files["in.img"] = bytes(MIB)
    said = "a.img: the name of a new virtual disk must end in .vhd, "
    assert run("create", "a.img", "8M").error.startswith(said)
    error = run("create", "a.vhd", "--from", "in.img").error
    assert error.startswith("in.img: --from takes a virtual disk")


def test_without_vhdmp_no_option_is_ignored(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.vhdmp = False
    arguments = ["create", "a.vhd", "8M", "--type", "fixed", "--physical-sector-size"]
    assert run(*arguments, "4K").error == (
        "a.vhd: --physical-sector-size must be 512 in a VHD, not 4096"
    )
    assert names(vhdmp) == []
    assert run(*arguments, "512", "--sector-size", "512").code == 0


@pytest.mark.parametrize("code", [5, 1314])
def test_without_the_right_a_fixed_vhd_is_made_all_the_same(
    vhdmp: SimulatedWindows, run: Run, code: int
) -> None:
    vhdmp.fail_next("CreateVirtualDisk", code)
    assert run("create", "a.vhd", "8M", "--type", "fixed").code == 0
    assert len(vhdmp.files["a.vhd"]) == 8 * MIB + 512


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["a.vhdx", "8M"], ".vhdx"),
        (["a.vhdx", "8M", "--type", "fixed"], ".vhdx"),
        (["a.vhd", "8M"], "dynamic .vhd"),
        (["a.avhdx", "--parent", "base.vhdx"], ".avhdx"),
        (["a.vhd", "--parent", "base.vhdx"], "differencing .vhd"),
        (["a.vhd", "--from", "base.vhdx", "--type", "fixed"], "fixed .vhd"),
    ],
)
def test_all_others_say_that_they_need_vhdmp(
    vhdmp: SimulatedWindows, run: Run, arguments: list[str], kind: str
) -> None:
    vhdmp.files["base.vhdx"] = bytes(4096)
    vhdmp.vhdmp = False
    need = f"{arguments[0]}: a {kind} needs Windows' VHDMP driver, which does not work here: "
    assert run("create", *arguments).error.startswith(need)
    assert names(vhdmp) == ["base.vhdx"]


def test_force_replaces_what_is_there_and_only_a_whole_disk_does(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.files["a.vhdx"] = b"old"
    vhdmp.files["a.pyvhdmp-partial.vhdx"] = b"of one that was killed"
    assert run("create", "a.vhdx", "8M").error.endswith(
        "(Windows error 80). With --force it would be replaced."
    )
    vhdmp.fail_next("CreateVirtualDisk", 112)
    error = run("create", "a.vhdx", "8M", "--force").error
    assert error.startswith("a.vhdx: ")
    assert "(Windows error 112)" in error
    assert vhdmp.files["a.vhdx"] == b"old"
    assert run("create", "a.vhdx", "8M", "--force").code == 0
    assert names(vhdmp) == ["a.vhdx"]
    assert run("info", "a.vhdx", "--json").json["size"] == 8 * MIB


@pytest.mark.parametrize("options", [[], ["--json"], ["--force"]])
def test_a_disk_about_which_nothing_can_be_told_is_made_all_the_same(
    vhdmp: SimulatedWindows, run: Run, options: list[str]
) -> None:
    if "--force" in options:
        vhdmp.files["a.vhdx"] = b"old"
    vhdmp.fail_next("OpenVirtualDisk", 32, after=1)  # the first asks for the driver
    done = run("create", "a.vhdx", "8M", *options)
    assert done.code == 0
    assert done.output == ('{"path": "a.vhdx"}\n' if "--json" in options else "created a.vhdx\n")
    assert done.errors.startswith("pyvhdmp: a.vhdx is whole, but what it is cannot be read: ")
    assert "(Windows error 32)" in done.errors
    assert done.errors.count("\n") == 1
    assert names(vhdmp) == ["a.vhdx"]
    assert run("info", "a.vhdx", "--json").json["size"] == 8 * MIB


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.img", "8M"], "a.img: the name of a new virtual disk must end in .vhd, "),
        (["a.vhds", "8M"], "a.vhds: a VHD set is several files, and not made here"),
        (["a.vhdx", "1M"], "a.vhdx: size must be at least 3145728 bytes"),
        (["a.vhd", "3T"], "a.vhd: size must be at most "),
        (["a.vhdx", "8M", "--block-size", "3M"], "a.vhdx: --block-size must be 0 or, in a VHDX, "),
        (["a.vhd", "8M", "--sector-size", "4K"], "a.vhd: --sector-size must be 512 in a VHD"),
        (["a.vhdx", "--parent", "none.vhdx"], "none.vhdx: File not found (Windows error 2)"),
        (["a.vhdx", "--from", "none.vhdx"], "none.vhdx: File not found (Windows error 2)"),
        (["a.vhdx", "--from", "in.img"], "in.img: --from takes a virtual disk"),
        (["a.vhdx", "--parent", "in.img"], "in.img: "),
        (["a.vhdx", "--parent", "A.VHDX"], "A.VHDX: "),
        (["none\\a.vhdx", "8M"], "none\\a.vhdx: Path not found (Windows error 3)"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(
    vhdmp: SimulatedWindows, run: Run, arguments: list[str], complaint: str
) -> None:
    vhdmp.files["in.img"] = bytes(MIB)
    assert run("create", *arguments).error.startswith(complaint)
    assert names(vhdmp) == ["in.img"]


def test_a_parent_of_no_known_kind_is_not_for_want_of_a_driver(
    vhdmp: SimulatedWindows, run: Run
) -> None:
    vhdmp.files["in.img"] = bytes(MIB)
    vhdmp.fail_next("CreateVirtualDisk", 0xC03A0014)
    vhdmp.fail_next("OpenVirtualDisk", 0xC03A0014, after=1)  # the first is the driver's proof
    error = run("create", "a.vhdx", "--parent", "in.img").error
    assert error.startswith("in.img: ")
    assert "(Windows error 0xC03A0014)" in error
    assert "VHDMP" not in error


def test_a_disk_is_not_made_over_what_it_is_made_from(vhdmp: SimulatedWindows, run: Run) -> None:
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
    for option in ("--parent", "--from"):
        assert "same file" in run("create", "a.vhdx", option, "A.vhdx", "--force").error
    assert names(vhdmp) == ["a.vhdx"]


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(
    "arguments", [["a.vhdx", "8M", "--type", "fixed"], ["a.vhdx", "--from", "base.vhdx"]]
)
def test_ctrl_c_leaves_no_file_and_an_old_one_as_it_was(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], old: bytes | None
) -> None:
    def interrupted(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "share", lambda *_: interrupted)
    interruptions = 0
    for seed in range(12):  # whether Windows cancels it in time, or has made it by then
        with SimulatedWindows(seed) as windows:
            VirtualDisk.create_dynamic("base.vhdx", 8 * MIB).close()
            if old is not None:
                windows.files["a.vhdx"] = old
            state = "no file is left" if old is None else "a.vhdx is as it was"
            done = run("create", *arguments, "--force")
            if not done.code:
                continue  # it was over before Ctrl+C came
            interruptions += 1
            assert done.interruption == f"create was cancelled; {state}"
            assert windows.files.get("a.vhdx") == old
            assert "C:\\a.pyvhdmp-partial.vhdx" not in list(windows.files)
    assert interruptions > 4


def test_ctrl_c_when_the_disk_has_its_name_is_too_late(
    vhdmp: SimulatedWindows, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyvhdmp import files

    real = files.move_file

    def interrupted(*arguments: object, replace: bool) -> None:
        real(*arguments, replace=replace)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "move_file", interrupted)
    done = run("create", "a.vhdx", "8M")
    assert done.interruption == "create was already done; a.vhdx is whole"
    assert names(vhdmp) == ["a.vhdx"]


def test_ctrl_c_while_it_is_asked_what_it_is_comes_too_late(
    vhdmp: SimulatedWindows, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pyvhdmp.cli.create.facts_of", interrupted)
    assert run("create", "a.vhdx", "8M").interruption == (
        "create was already done; a.vhdx is whole"
    )
    assert names(vhdmp) == ["a.vhdx"]
