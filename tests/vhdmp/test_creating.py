"""CreateVirtualDisk and OpenVirtualDisk of a real driver: formats, limits, sharing, parents."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pyvhdmp import (
    VhdmpDisk,
    VirtualDisk,
    VirtualDiskFormat,
    VirtualDiskType,
    compare_images,
    copy_image,
    make_fixed_vhd,
    open_disk,
)
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp._win32.virtdisk import PROTOTYPES, SINCE
from tests.support.files import FilePath, make_folders, make_zeros
from tests.support.windows import is_inheritable, winerror
from tests.vhdmp.helpers import (
    MIB,
    SECONDS,
    Found,
    aligned,
    code_of,
    created,
    fails,
    only_real,
    opened,
    pattern,
    read,
    write,
)

pytestmark = pytest.mark.usefixtures("machine")

BY_NAME = {
    ".vhd": VirtualDiskFormat.VHD,
    ".avhd": VirtualDiskFormat.VHD,
    ".vhdx": VirtualDiskFormat.VHDX,
    ".avhdx": VirtualDiskFormat.VHDX,
}


# -- Formats and types ------------------------------------------------------------


@pytest.mark.parametrize("suffix", BY_NAME)
@pytest.mark.parametrize("disk_type", ["fixed", "dynamic"])
def test_the_name_says_the_format_and_a_mask_of_none_will_do_for_all(
    tmp_path: FilePath, suffix: str, disk_type: str
) -> None:
    path, disk_id = tmp_path / f"disk{suffix}", uuid.uuid4()
    create = VirtualDisk.create_fixed if disk_type == "fixed" else VirtualDisk.create_dynamic
    with create(path, 8 * MIB, disk_id=disk_id) as disk:
        made = disk.info
    with VirtualDisk.open(path) as disk:
        info = disk.info
    assert info.format is BY_NAME[suffix]
    assert info.disk_type is VirtualDiskType(disk_type)
    assert (info.virtual_size, info.sector_size) == (8 * MIB, 512)
    assert (info.block_size == 0) is (disk_type == "fixed")
    assert (info.physical_size < 8 * MIB) is (disk_type == "dynamic")
    assert made == info


@pytest.mark.parametrize("suffix", [".vhd", ".vhdx"])
def test_the_identity_is_answered_as_the_format_has_it(tmp_path: FilePath, suffix: str) -> None:
    """A VHD's disk_id is asked with IDENTIFIER, a VHDX's with VIRTUAL_DISK_ID."""
    path, disk_id = tmp_path / f"disk{suffix}", uuid.uuid4()
    with VirtualDisk.create_dynamic(path, 8 * MIB, disk_id=disk_id) as disk:
        assert disk.info.disk_id == disk_id
    with VirtualDisk.open(path, info_only=True) as disk:
        assert disk.info.disk_id == disk_id


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("physical_sector_size", [0, 512, 4096])
def test_sector_sizes_of_a_vhdx_are_those_asked_for_and_physically_4096_by_default(
    tmp_path: FilePath, sector_size: int, physical_sector_size: int
) -> None:
    if 0 < physical_sector_size < sector_size:
        pytest.skip("a physical sector is no part of a sector")
    with VirtualDisk.create_dynamic(
        tmp_path / "disk.vhdx",
        8 * MIB,
        sector_size=sector_size,
        physical_sector_size=physical_sector_size,
    ) as disk:
        info = disk.info
    assert (info.sector_size, info.physical_sector_size) == (
        sector_size,
        physical_sector_size or 4096,
    )


def test_sectors_of_a_vhd_have_512_bytes_physically_too(tmp_path: FilePath) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhd", 8 * MIB) as disk:
        assert (disk.info.sector_size, disk.info.physical_sector_size) == (512, 512)


@pytest.mark.parametrize(
    ("name", "block_size"),
    [("a.vhd", 512 << 10), ("a.vhd", 2 * MIB)] + [("a.vhdx", 1 << bit) for bit in range(20, 29)],
)
def test_every_block_size_that_is_let_through_can_be_made(
    tmp_path: FilePath, name: str, block_size: int
) -> None:
    with VirtualDisk.create_dynamic(tmp_path / name, 8 * MIB, block_size=block_size) as disk:
        assert disk.info.block_size == block_size


def test_windows_own_block_sizes(tmp_path: FilePath, found: Found) -> None:
    sizes = {}
    for suffix in (".vhd", ".vhdx"):
        parent = tmp_path / f"parent{suffix}"
        with VirtualDisk.create_dynamic(parent, 8 * MIB) as disk:
            sizes[f"dynamic {suffix}"] = disk.info.block_size
        with VirtualDisk.create_differencing(tmp_path / f"child{suffix}", parent) as disk:
            sizes[f"differencing {suffix}"] = disk.info.block_size
    found(f"default block sizes {sizes}")
    assert sizes["dynamic .vhdx"] == 32 * MIB
    assert sizes["differencing .vhdx"] == 2 * MIB
    assert sizes["dynamic .vhd"] == 2 * MIB


# -- Limits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [("a.vhd", 3 * MIB), ("a.vhdx", 3 * MIB), ("a.vhd", 2040 << 30), ("a.vhdx", 64 << 40)],
)
def test_the_smallest_and_the_largest_disks_that_are_let_through_can_be_made(
    tmp_path: FilePath, name: str, size: int
) -> None:
    with VirtualDisk.create_dynamic(tmp_path / name, size) as disk:
        assert disk.info.virtual_size == size


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a.vhd", {"MaximumSize": 3 * MIB - 512}),
        ("a.vhdx", {"MaximumSize": 3 * MIB - 512}),
        ("a.vhd", {"MaximumSize": (2040 << 30) + 512}),
        ("a.vhdx", {"MaximumSize": (64 << 40) + 4096}),
        ("a.vhdx", {"MaximumSize": 8 * MIB + 1}),
        ("a.vhdx", {"MaximumSize": 8 * MIB + 512, "SectorSizeInBytes": 4096}),
        ("a.vhdx", {"MaximumSize": 8 * MIB, "SectorSizeInBytes": 1024}),
        ("a.vhd", {"MaximumSize": 8 * MIB, "SectorSizeInBytes": 4096}),
        ("a.vhdx", {"MaximumSize": 8 * MIB, "BlockSizeInBytes": 3 * MIB}),
        ("a.vhdx", {"MaximumSize": 8 * MIB, "BlockSizeInBytes": 512 << 10}),
        ("a.vhdx", {"MaximumSize": 8 * MIB, "BlockSizeInBytes": 512 * MIB}),
        ("a.vhd", {"MaximumSize": 8 * MIB, "BlockSizeInBytes": MIB}),
    ],
    ids=str,
)
def test_what_is_refused_before_windows_is_asked_windows_would_refuse_too(
    tmp_path: FilePath, found: Found, name: str, fields: dict[str, int]
) -> None:
    path = tmp_path / name
    code = created(path, **{"SectorSizeInBytes": 512} | fields)
    found(f"CreateVirtualDisk {name} {fields}: error {code}")
    assert code != 0
    assert not path.exists()


def test_nothing_is_overwritten(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.vhdx"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        VirtualDisk.create_dynamic(path, 8 * MIB)
    with pytest.raises(FileExistsError):
        VirtualDisk.create_fixed(path, 8 * MIB)
    assert path.read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_file_not_found(tmp_path: FilePath) -> None:
    with pytest.raises(FileNotFoundError):
        VirtualDisk.create_dynamic(tmp_path / "missing" / "disk.vhdx", 8 * MIB)
    with pytest.raises(FileNotFoundError):
        VirtualDisk.open(tmp_path / "missing.vhdx")


def test_a_path_of_more_than_260_characters(tmp_path: FilePath) -> None:
    folder = tmp_path / ("long" * 35) / ("path" * 35)
    make_folders(folder)
    path = folder / "disk.vhdx"
    assert len(os.fspath(path)) > 260
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    child = folder / "child.avhdx"
    with VirtualDisk.create_differencing(child, path) as disk:
        parent = disk.info.parent_path
        assert parent is not None
        assert parent.lower().endswith("disk.vhdx")
    write(child, 0, pattern(4096))
    assert read(child, 0, 4096) == pattern(4096)


def test_a_relative_path(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(tmp_path, Path):
        pytest.skip("a simulated Windows has no current folder that could be changed")
    monkeypatch.chdir(tmp_path)
    VirtualDisk.create_dynamic("disk.vhdx", 8 * MIB).close()
    VirtualDisk.create_differencing("child.avhdx", "disk.vhdx").close()
    with VirtualDisk.open("child.avhdx") as disk:
        assert os.path.samefile(disk.info.parent_path or "", "disk.vhdx")


@only_real
def test_which_functions_this_windows_has(found: Found) -> None:
    """One that it has not answers ERROR_CALL_NOT_IMPLEMENTED, and costs nothing until then."""
    if sys.platform != "win32":
        raise NotImplementedError
    virtdisk = ctypes.WinDLL("virtdisk")
    missing = [name for name in PROTOTYPES if not hasattr(virtdisk, name)]
    found(f"{sys.getwindowsversion()} has no {missing}")
    assert all(SINCE[name] not in ("Windows 7", "Windows 8") for name in missing)


@only_real
def test_the_handle_of_a_disk_is_not_for_child_processes(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.vhdx"
    with VirtualDisk.create_dynamic(path, 8 * MIB) as disk:
        assert not is_inheritable(disk.handle)
    with VirtualDisk.open(path) as disk:
        assert not is_inheritable(disk.handle)


# -- Opening ----------------------------------------------------------------------


def test_a_name_that_says_nothing_has_windows_look_into_the_file(tmp_path: FilePath) -> None:
    """A storage type of DEVICE_UNKNOWN and VENDOR_UNKNOWN is one."""
    VirtualDisk.create_dynamic(tmp_path / "disk.vhdx", 8 * MIB).close()
    path = tmp_path / "disk.bin"
    path.write_bytes((tmp_path / "disk.vhdx").read_bytes())
    with VirtualDisk.open(path) as disk:
        assert disk.info.format is VirtualDiskFormat.VHDX


def test_a_file_of_another_format_than_its_name_says_is_refused(
    tmp_path: FilePath, found: Found
) -> None:
    VirtualDisk.create_dynamic(tmp_path / "disk.vhdx", 8 * MIB).close()
    (tmp_path / "disk.vhd").write_bytes((tmp_path / "disk.vhdx").read_bytes())
    (tmp_path / "noise.vhdx").write_bytes(pattern(MIB))
    for name in ("disk.vhd", "noise.vhdx"):
        with fails() as caught:
            VirtualDisk.open(tmp_path / name)
        found(f"{name}: {caught.value.__notes__[0]}")


def test_version_2_wants_a_mask_of_none_and_version_1_another(
    tmp_path: FilePath, found: Found
) -> None:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    code, _ = opened(path, version=2, mask=int(enums.VIRTUAL_DISK_ACCESS.ALL))
    found(f"version 2 with a mask of ALL: error {code}")
    assert code == constants.ERROR_INVALID_PARAMETER


def test_a_fixed_vhd_that_was_made_without_the_driver_is_one_for_the_driver(
    tmp_path: FilePath,
) -> None:
    path = tmp_path / "disk.vhd"
    make_fixed_vhd(path, 8 * MIB)
    with open_disk(path, backend="fixed-vhd") as disk:
        disk.write(8, pattern(8192), fua=True).result(SECONDS)
        disk_id = disk.disk_id
    with VhdmpDisk.open(path) as through:
        assert (through.disk_id, through.size) == (disk_id, 8 * MIB)
        assert through.read(8, 16).result(SECONDS) == pattern(8192)
        through.write(0, pattern(512, seed=9), fua=True).result(SECONDS)
    with open_disk(path, backend="fixed-vhd") as disk:
        assert disk.read(0, 1).result(SECONDS) == pattern(512, seed=9)


def test_a_fixed_vhd_of_the_driver_is_one_for_this_package(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.vhd"
    VirtualDisk.create_fixed(path, 8 * MIB).close()
    write(path, MIB, pattern(4096))
    with open_disk(path, backend="fixed-vhd") as disk:
        assert disk.size == 8 * MIB
        assert disk.read(MIB // 512, 8).result(SECONDS) == pattern(4096)


def test_an_iso_image_is_opened_and_attached_to_be_read(tmp_path: FilePath) -> None:
    """It wants parameters of version 1, an access of READ, and a read-only attachment."""
    path = tmp_path / "disk.iso"
    descriptor = b"\x01CD001\x01\0" + b"".ljust(32) + b"NAME".ljust(32) + bytes(8)
    descriptor += (18).to_bytes(4, "little") + (18).to_bytes(4, "big")
    content = bytes(32768) + descriptor.ljust(2048, b"\0")
    content += b"\xffCD001\x01".ljust(2048, b"\0")
    path.write_bytes(content.ljust(MIB, b"\0"))
    with VirtualDisk.open(path) as disk:
        info = disk.info
        assert info.format is VirtualDiskFormat.ISO
        assert (info.virtual_size, info.sector_size) == (MIB, 2048)
        disk.attach(drive_letter=False)
        assert "CDROM" in disk.physical_path.upper()
        disk.detach()


# -- Who may open what together ---------------------------------------------------


def test_two_may_attach_a_file_to_read_it_and_a_third_may_not_write(
    tmp_path: FilePath, found: Found
) -> None:
    """Each with a ResiliencyGuid of its own, so that VHDMP does not take them for one."""
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    write(path, 0, pattern(4096))
    with VhdmpDisk.open(path, read_only=True) as one, VhdmpDisk.open(path, read_only=True) as two:
        assert one.read(0, 8).result(SECONDS) == two.read(0, 8).result(SECONDS) == pattern(4096)
        with pytest.raises(PermissionError) as caught:
            VhdmpDisk.open(path)
        found(f"a writer beside two readers: {caught.value.__notes__[0]}")
        assert winerror(caught.value) == 32


def test_who_opens_a_disk_to_write_has_it_alone_and_others_can_ask_about_it(
    tmp_path: FilePath,
) -> None:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    with VhdmpDisk.open(path):
        for read_only in (True, False):
            with fails(32):
                VhdmpDisk.open(path, read_only=read_only)
        with VirtualDisk.open(path, info_only=True) as disk:
            assert disk.info.virtual_size == 8 * MIB
            assert disk.is_loaded in (True, False)


def test_a_file_that_a_program_has_open_is_refused_with_error_32(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.vhd"
    make_fixed_vhd(path, 8 * MIB)
    with open_disk(path, backend="fixed-vhd"), fails(32):
        VirtualDisk.open(path)


@only_real
def test_the_file_is_free_as_soon_as_the_disk_is_closed(tmp_path: FilePath) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.vhdx"
        VirtualDisk.create_dynamic(path, 8 * MIB).close()
        write(path, 0, pattern(4096))
        path.unlink()


@only_real
def test_a_compressed_file_is_refused_with_the_code_that_the_hint_is_for(
    tmp_path: FilePath, found: Found
) -> None:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    done = subprocess.run(["compact", "/c", "/f", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot compress a file here: {done.stdout}")

    def attach() -> None:
        VhdmpDisk.open(path).close()

    code = code_of(attach)
    found(f"a compressed file: error {code:#x}")
    assert code == constants.ERROR_VIRTUAL_DISK_LIMITATION


@only_real
def test_a_crash_leaves_nothing_attached_and_the_file_free(tmp_path: FilePath) -> None:
    path = tmp_path / "disk.vhdx"
    program = """
import os, sys, pyvhdmp
pyvhdmp.VirtualDisk.create_dynamic(sys.argv[1], 8 << 20).close()
disk = pyvhdmp.open_disk(sys.argv[1])
disk.write(0, b"\\x11" * 4096, fua=True).result()
for sector in range(8, 4096, 8):
    disk.write(sector, b"\\x22" * 4096)
os._exit(9)
"""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program, path], env=environment, timeout=SECONDS)
    assert done.returncode == 9
    assert read(path, 0, 4096) == b"\x11" * 4096
    write(path, 0, pattern(4096))


# -- Parents ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["vhd", "vhdx"])
def test_a_chain_of_three(tmp_path: FilePath, suffix: str) -> None:
    paths = [tmp_path / f"{name}.{suffix}" for name in ("base", "middle", "top")]
    VirtualDisk.create_dynamic(paths[0], 8 * MIB).close()
    write(paths[0], 0, b"\x01" * 4096)
    for number in (1, 2):
        VirtualDisk.create_differencing(paths[number], paths[number - 1]).close()
        write(paths[number], 512 * number, bytes([number + 1]) * 512)
    assert read(paths[2], 0, 2048) == b"".join(bytes([n]) * 512 for n in (1, 2, 3, 1))
    assert read(paths[0], 0, 4096) == b"\x01" * 4096
    with VirtualDisk.open(paths[2], info_only=True) as disk:
        chain = disk.chain
        assert disk.parent is not None
        assert disk.parent.lower().endswith(f"middle.{suffix}")
    names = [os.path.basename(info.path.replace("\\", "/")).lower() for info in chain]
    assert names == [path.name for path in reversed(paths)]
    assert [info.disk_type for info in chain] == [
        VirtualDiskType.DIFFERENCING,
        VirtualDiskType.DIFFERENCING,
        VirtualDiskType.DYNAMIC,
    ]
    assert chain[2].parent_candidates == ()


def test_a_disk_whose_parent_is_gone_says_where_it_was_looked_for(
    tmp_path: FilePath, found: Found
) -> None:
    parent, child = tmp_path / "parent.vhdx", tmp_path / "child.avhdx"
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    VirtualDisk.create_differencing(child, parent).close()
    content = parent.read_bytes()
    parent.unlink()
    with fails(constants.ERROR_VHD_PARENT_VHD_NOT_FOUND) as caught:
        VirtualDisk.open(child)
    assert any("parent.vhdx" in note for note in caught.value.__notes__)
    with VirtualDisk.open(child, info_only=True, no_parents=True) as disk:
        found(f"candidates: {disk.info.parent_candidates}")
        assert disk.info.parent_path is None
        assert any("parent.vhdx" in place for place in disk.info.parent_candidates)
        with pytest.raises(FileNotFoundError):
            print(disk.parent)
    moved = tmp_path / "moved.vhdx"
    moved.write_bytes(content)
    with VirtualDisk.open(child, no_parents=True) as disk:
        disk.set_parent(moved)
    with VirtualDisk.open(child) as disk:
        assert disk.info.parent_path is not None
        assert disk.info.parent_path.lower().endswith("moved.vhdx")


def test_another_disk_in_the_place_of_the_parent_is_noticed(
    tmp_path: FilePath, found: Found
) -> None:
    parent, child = tmp_path / "parent.vhdx", tmp_path / "child.avhdx"
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    VirtualDisk.create_differencing(child, parent).close()
    parent.unlink()
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    with fails() as caught:
        VirtualDisk.open(child)
    found(f"another parent: {caught.value.__notes__[0]}")
    assert winerror(caught.value) == constants.ERROR_VHD_CHILD_PARENT_ID_MISMATCH


def test_a_chain_of_the_callers_own_is_put_together_disk_by_disk(
    tmp_path: FilePath, found: Found
) -> None:
    """CUSTOM_DIFF_CHAIN opens a disk alone, and AddVirtualDiskParent names its parent."""
    parent, child = tmp_path / "parent.vhdx", tmp_path / "child.avhdx"
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    write(parent, 0, pattern(4096))
    VirtualDisk.create_differencing(child, parent).close()
    elsewhere = tmp_path / "elsewhere.vhdx"
    elsewhere.write_bytes(parent.read_bytes())
    parent.unlink()
    with VirtualDisk.open(child, custom_chain=True) as disk:
        found(f"attached without its parent: error {code_of(disk.attach_raw):#x}")
    with VirtualDisk.open(child, custom_chain=True) as disk:
        disk.add_parent(elsewhere)
        disk.attach_raw()
        taken = VhdmpDisk.take_over(disk, read_only=False)
    with taken as opened_disk:
        assert opened_disk.read(0, 8).result(SECONDS) == pattern(4096)


def test_the_parent_of_an_ancestor_is_set_by_its_depth(tmp_path: FilePath) -> None:
    base, middle, top = (tmp_path / name for name in ("base.vhdx", "middle.avhdx", "top.avhdx"))
    VirtualDisk.create_dynamic(base, 8 * MIB).close()
    write(base, 0, pattern(4096))
    VirtualDisk.create_differencing(middle, base).close()
    VirtualDisk.create_differencing(top, middle).close()
    moved = tmp_path / "moved.vhdx"
    moved.write_bytes(base.read_bytes())
    base.unlink()
    with VirtualDisk.open(top, custom_chain=True) as disk:
        disk.add_parent(middle)
        disk.set_parent(moved, depth=2)
    assert read(top, 0, 4096) == pattern(4096)


def test_a_parent_can_be_written_into_a_child_unchecked(tmp_path: FilePath) -> None:
    parent, child = tmp_path / "parent.vhdx", tmp_path / "child.avhdx"
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    with VirtualDisk.create_differencing(child, parent) as disk:
        wanted = disk.parent_id
    with VirtualDisk.open(parent) as disk:
        assert disk.identifier == wanted
    moved = tmp_path / "moved.vhdx"
    moved.write_bytes(parent.read_bytes())
    parent.unlink()
    with VirtualDisk.open(child, no_parents=True) as disk:
        disk.set_parent_locator(moved, wanted)
    with VirtualDisk.open(child) as disk:
        assert (disk.info.parent_path or "").lower().endswith("moved.vhdx")


# -- Copies -------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["source.vhd", "source.vhdx"])
@pytest.mark.parametrize("target", ["target.vhd", "target.vhdx"])
@pytest.mark.parametrize("disk_type", [VirtualDiskType.FIXED, VirtualDiskType.DYNAMIC])
def test_a_disk_is_made_from_another_of_any_format_and_type(
    tmp_path: FilePath, source: str, target: str, disk_type: VirtualDiskType
) -> None:
    VirtualDisk.create_dynamic(tmp_path / source, 8 * MIB).close()
    write(tmp_path / source, MIB, pattern(MIB))
    with VirtualDisk.create_from(tmp_path / target, tmp_path / source, disk_type=disk_type) as disk:
        assert (disk.info.disk_type, disk.info.virtual_size) == (disk_type, 8 * MIB)
    assert read(tmp_path / target, MIB, MIB) == pattern(MIB)


def test_a_copy_of_a_differencing_disk_has_its_parents_content_and_may_be_larger(
    tmp_path: FilePath,
) -> None:
    parent, child, copy = (tmp_path / name for name in ("a.vhdx", "b.avhdx", "c.vhdx"))
    VirtualDisk.create_dynamic(parent, 8 * MIB).close()
    write(parent, 0, pattern(MIB))
    VirtualDisk.create_differencing(child, parent).close()
    write(child, 4096, pattern(4096, seed=77))
    with VirtualDisk.create_from(copy, child, size=16 * MIB) as disk:
        assert disk.info.virtual_size == 16 * MIB
    expected = bytearray(pattern(MIB))
    expected[4096:8192] = pattern(4096, seed=77)
    assert read(copy, 0, MIB) == expected


def test_what_a_copy_takes_over_of_its_source(tmp_path: FilePath, found: Found) -> None:
    """Whether the identity is its own, and the sector size the source's, nobody says."""
    source, copy = tmp_path / "a.vhdx", tmp_path / "b.vhdx"
    with VirtualDisk.create_dynamic(source, 8 * MIB, sector_size=4096) as disk:
        disk.metadata[uuid.UUID(int=1)] = b"one"
        old = disk.info
    with VirtualDisk.create_from(copy, source) as disk:
        new, metadata = disk.info, dict(disk.metadata)
    found(f"the same identity: {old.disk_id == new.disk_id}, metadata {metadata}, {new}")
    assert new.sector_size == 4096


def test_an_image_is_copied_into_a_vhdx_and_back(tmp_path: FilePath) -> None:
    """The whole way of the copy command, over the real driver."""
    source = tmp_path / "in.img"
    make_zeros(source, 32 * MIB)
    with open_disk(source) as disk:
        for sector in (0, 2048, 40000):
            disk.write_vectored([aligned(pattern(MIB, seed=sector + 1))], sector).result(SECONDS)
    names = [os.fspath(tmp_path / name) for name in ("in.img", "disk.vhdx", "out.img")]
    copy_image(names[0], names[1], verify=True)
    copy_image(names[1], names[2], verify=True)
    assert compare_images(names[0], names[2]).identical
    with VirtualDisk.open(names[1], info_only=True) as made:
        assert made.info.disk_type is VirtualDiskType.DYNAMIC
        assert made.info.virtual_size == 32 * MIB
    assert not (tmp_path / "disk.pyvhdmp-partial.vhdx").exists()
