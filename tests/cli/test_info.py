"""info: what a virtual disk is, with its chain, as far as Windows tells."""

from __future__ import annotations

import pytest

from pyvhdmp import VirtualDisk, make_fixed_vhd, open_disk
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run
from tests.support.files import FilePath


@pytest.fixture
def chain(vhdmp: SimulatedWindows) -> SimulatedWindows:
    VirtualDisk.create_dynamic("base.vhdx", 8 * MIB).close()
    VirtualDisk.create_differencing("child.avhdx", "base.vhdx").close()
    VirtualDisk.create_differencing("grandchild.avhdx", "child.avhdx").close()
    return vhdmp


def lines(text: str) -> dict[str, str]:
    return {
        name: value.strip() for name, value in (line.split(":", 1) for line in text.splitlines())
    }


@pytest.mark.usefixtures("chain")
def test_info_tells_everything_about_a_disk(run: Run) -> None:
    facts = run("info", "base.vhdx", "--json").json
    with VirtualDisk.open("base.vhdx") as disk:
        info = disk.info
        disk.metadata[info.disk_id or disk.identifier] = b"x"
    assert facts == {
        "path": "base.vhdx",
        "format": "vhdx",
        "disk_type": "dynamic",
        "size": 8 * MIB,
        "file_size": info.physical_size,
        "disk_id": str(info.disk_id),
        "sector_size": 512,
        "physical_sector_size": 4096,
        "sector_count": 8 * MIB // 512,
        "block_size": info.block_size,
        "identifier": str(info.disk_id),
        "is_loaded": False,
        "smallest_safe_size": 3 * MIB,
        "fragmentation": 0,
        "is_4k_aligned": True,
        "metadata_items": 0,
        "change_tracking": {"enabled": False, "newer_changes": False, "most_recent_id": ""},
        "chain": [
            {
                "path": "base.vhdx",
                "format": "vhdx",
                "disk_type": "dynamic",
                "size": 8 * MIB,
                "file_size": info.physical_size,
                "disk_id": str(info.disk_id),
            }
        ],
    }
    assert run("info", "base.vhdx", "--json").json["metadata_items"] == 1


@pytest.mark.usefixtures("vhdmp")
def test_info_as_text(run: Run) -> None:
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
    facts = lines(run("info", "a.vhdx").text)
    assert facts["size"] == "8.0 MiB (8388608 bytes)"
    assert facts["disk type"] == "dynamic"
    assert facts["smallest safe size"] == "3.0 MiB (3145728 bytes)"
    assert facts["is 4k aligned"] == "yes"
    assert facts["change tracking"] == "off"
    assert "physical path" not in facts
    assert "chain" not in facts
    with VirtualDisk.open("a.vhdx") as disk:
        disk.set_change_tracking(True)
        latest = disk.change_tracking.most_recent_id
    assert lines(run("info", "a.vhdx").text)["change tracking"].startswith(
        f"on, latest id {latest}" if latest else "on"
    )


@pytest.mark.usefixtures("chain")
def test_the_chain_goes_down_to_the_disk_without_a_parent(run: Run) -> None:
    facts = run("info", "grandchild.avhdx", "--json").json
    paths = [disk["path"] for disk in facts["chain"]]
    assert paths == ["grandchild.avhdx", "C:\\child.avhdx", "C:\\base.vhdx"]
    types = [disk["disk_type"] for disk in facts["chain"]]
    assert types == ["differencing", "differencing", "dynamic"]
    with VirtualDisk.open("child.avhdx", info_only=True) as disk:
        assert facts["parent_id"] == str(disk.identifier)
    assert "problem" not in facts
    text = run("info", "grandchild.avhdx").text
    assert "\n" + " " * 22 + "C:\\child.avhdx (differencing, " in text


@pytest.mark.parametrize(
    ("missing", "found"),
    [("child.avhdx", ["grandchild.avhdx"]), ("base.vhdx", ["grandchild.avhdx", "C:\\child.avhdx"])],
)
def test_a_parent_that_is_missing_is_told_with_the_places_where_it_was_looked_for(
    chain: SimulatedWindows, run: Run, missing: str, found: list[str]
) -> None:
    del chain.files[missing]
    facts = run("info", "grandchild.avhdx", "--json").json
    assert [disk["path"] for disk in facts["chain"]] == found
    assert facts["parent_looked_for"] == [f"C:\\{missing}", f".\\{missing}"]
    assert "(Windows error 0xC03A000D)" in facts["problem"]
    assert facts["size"] == 8 * MIB
    assert f"C:\\{missing}, .\\{missing}" in run("info", "grandchild.avhdx").text


def test_a_parent_that_is_another_disk_is_told(chain: SimulatedWindows, run: Run) -> None:
    del chain.files["base.vhdx"]
    VirtualDisk.create_dynamic("base.vhdx", 8 * MIB).close()
    facts = run("info", "child.avhdx", "--json").json
    assert "(Windows error 0xC03A000E)" in facts["problem"]
    assert [disk["path"] for disk in facts["chain"]] == ["child.avhdx", "C:\\base.vhdx"]


def test_what_windows_will_not_tell_is_left_out(vhdmp: SimulatedWindows, run: Run) -> None:
    VirtualDisk.create_dynamic("a.vhd", 8 * MIB).close()
    facts = run("info", "a.vhd", "--json").json
    assert not {"metadata_items", "change_tracking", "physical_path", "parent_id"} & facts.keys()
    vhdmp.fail_next("EnumerateVirtualDiskMetadata", 1)
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
    assert "metadata_items" not in run("info", "a.vhdx", "--json").json


def test_an_image_that_is_none_is_an_error(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files["a.vhdx"] = bytes(4096)
    assert run("info", "a.vhdx").error.startswith("a.vhdx: ")
    assert "(Windows error 2)" in run("info", "none.vhdx").error


@pytest.mark.parametrize("command", [["info", "a.img"], ["copy", "a.img", "b.vhd"]])
def test_an_image_of_another_format_than_its_name_says_is_not_taken_for_a_raw_one(
    vhdmp: SimulatedWindows, run: Run, command: list[str]
) -> None:
    vhdmp.files["a.img"] = b"vhdxfile".ljust(MIB)
    said = "a.img: no raw image: this is a VHDX, and has to have a name that ends in .vhdx"
    assert run(*command).error == said
    assert list(vhdmp.files) == ["C:\\a.img"]


@pytest.mark.parametrize("has_vhdmp", [True, False])
def test_an_iso_is_one_with_a_driver_or_without(
    vhdmp: SimulatedWindows, run: Run, has_vhdmp: bool
) -> None:
    vhdmp.files["a.iso"] = bytes(MIB)
    vhdmp.vhdmp = has_vhdmp
    facts = run("info", "a.iso", "--json").json
    assert (facts["format"], facts["size"]) == ("iso", MIB)


# -- A folder -------------------------------------------------------------------------------


@pytest.fixture
def folder(chain: SimulatedWindows) -> SimulatedWindows:
    chain.files["a.img"] = bytes(MIB)
    chain.files["B.RAW"] = bytes(2 * MIB)
    chain.files["broken.img"] = b"vhdxfile".ljust(MIB)
    chain.files["broken.vhdx"] = bytes(MIB)
    chain.files["cd.iso"] = bytes(MIB)
    chain.files["notes.txt"] = bytes(MIB)
    chain.files.make_folder("folder.vhdx")
    chain.files["folder.vhdx\\inner.img"] = bytes(3 * MIB)
    del chain.files["base.vhdx"]
    return chain


@pytest.mark.usefixtures("folder")
def test_info_on_a_folder_lists_its_disks(run: Run) -> None:
    facts = run("info", "C:\\", "--json").json
    disks = {disk["name"]: disk for disk in facts["disks"]}
    assert facts["path"] == "C:\\"
    assert list(disks) == [
        "a.img",
        "B.RAW",
        "broken.img",
        "broken.vhdx",
        "cd.iso",
        "child.avhdx",
        "grandchild.avhdx",
    ]
    assert disks["a.img"] == {
        "name": "a.img",
        "path": "C:\\a.img",
        "format": "raw",
        "disk_type": "raw",
        "size": MIB,
        "file_size": MIB,
        "parent": None,
        "problem": None,
    }
    assert disks["grandchild.avhdx"]["parent"] == "C:\\child.avhdx"
    assert disks["child.avhdx"]["parent"] == "C:\\base.vhdx"  # where it was looked for
    assert "(Windows error 0xC03A000D)" in disks["child.avhdx"]["problem"]
    assert disks["child.avhdx"]["size"] == 8 * MIB
    assert disks["cd.iso"]["format"] == "iso"
    for name, reason in (("broken.img", "no raw image: this is a VHDX"), ("broken.vhdx", "")):
        assert disks[name]["problem"].startswith(reason)
        assert disks[name]["problem"]
        assert (disks[name]["size"], disks[name]["file_size"]) == (None, MIB)


@pytest.mark.usefixtures("folder")
def test_a_folder_as_text_has_a_line_for_each_disk(run: Run) -> None:
    head, *rows = run("info", ".").text.splitlines()
    assert head.split() == "name format type size file parent or problem".split()  # noqa: SIM905
    assert [row.split()[0] for row in rows][:3] == ["a.img", "B.RAW", "broken.img"]
    columns = [head.index(word) for word in head.split()[:6]]
    cells = [
        [row[start:end].strip() for start, end in zip(columns, [*columns[1:], None], strict=True)]
        for row in rows
    ]
    assert cells[0] == ["a.img", "raw", "raw", "1.0 MiB", "1.0 MiB", ""]
    assert cells[2][:5] == ["broken.img", "", "", "", "1.0 MiB"]
    assert cells[2][5].startswith("no raw image: this is a VHDX")
    assert cells[-1][5].startswith("C:\\child.avhdx; ")


@pytest.mark.parametrize("spelling", ["folder.vhdx", "folder.vhdx\\", "C:/folder.vhdx"])
@pytest.mark.usefixtures("folder")
def test_a_folder_is_one_whatever_its_name(run: Run, spelling: str) -> None:
    (disk,) = run("info", spelling, "--json").json["disks"]
    assert (disk["name"], disk["size"]) == ("inner.img", 3 * MIB)


def test_a_folder_without_disks_says_so(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files.make_folder("empty")
    assert run("info", "empty").text == "no disks in empty\n"
    assert run("info", "empty", "--json").json == {"path": "empty", "disks": []}


def test_a_folder_that_cannot_be_listed_is_an_error(vhdmp: SimulatedWindows, run: Run) -> None:
    vhdmp.files["folder\\a.img"] = bytes(MIB)
    vhdmp.fail_next("FindFirstFileW", 5)
    assert run("info", "folder").error.startswith("folder: ")
    vhdmp.fail_next("FindNextFileW", 1117)
    assert run("info", "folder").error.endswith("(Windows error 1117)")


def test_a_disk_that_is_in_use_says_so_in_its_row(
    machine: SimulatedWindows | None, tmp_path: FilePath, run: Run
) -> None:
    (tmp_path / "a.img").write_bytes(bytes(MIB))
    (tmp_path / "b.img").write_bytes(bytes(512))
    make_fixed_vhd(tmp_path / "c.vhd", MIB)
    with open_disk(tmp_path / "a.img"):
        disks = run("info", str(tmp_path), "--json").json["disks"]
    assert [disk["name"] for disk in disks] == ["a.img", "b.img", "c.vhd"]
    assert "(Windows error 32)" in disks[0]["problem"]
    assert [disk["problem"] for disk in disks[1:]] == [None, None]
    assert [disk["file_size"] for disk in disks] == [MIB, 512, MIB + 512]
    assert (disks[2]["format"], disks[2]["disk_type"]) == ("vhd", "fixed")
