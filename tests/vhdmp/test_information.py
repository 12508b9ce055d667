"""GetVirtualDiskInformation, SetVirtualDiskInformation and the metadata of a real driver."""

from __future__ import annotations

import uuid

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import virtdisk_structures as structures
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_enums import GET_VIRTUAL_DISK_INFO_VERSION as QUESTION
from pyvhdmp.buffers import PAGE_SIZE, Block
from tests.support.files import FilePath
from tests.vhdmp.helpers import MIB, Found, asked, code_of, fails, pattern, write

pytestmark = pytest.mark.usefixtures("machine")

ITEM, OTHER = uuid.UUID(int=0x1234), uuid.UUID(int=0x5678)


@pytest.fixture(params=["disk.vhd", "disk.vhdx"])
def disk_path(request: pytest.FixtureRequest, tmp_path: FilePath) -> FilePath:
    path: FilePath = tmp_path / request.param
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    return path


@pytest.fixture
def path(tmp_path: FilePath) -> FilePath:
    path = tmp_path / "disk.vhdx"
    VirtualDisk.create_dynamic(path, 8 * MIB).close()
    return path


# -- Questions --------------------------------------------------------------------


@pytest.mark.parametrize("info_only", [False, True])
def test_which_questions_have_an_answer(disk_path: FilePath, found: Found, info_only: bool) -> None:
    with VirtualDisk.open(disk_path, info_only=info_only) as disk:
        codes = {
            question.name: code
            for question in QUESTION
            if question and (code := asked(disk, question, PAGE_SIZE // 8)[0])
        }
        found(f"{disk_path.name}, info_only={info_only}: without an answer: {codes}")
        disk.info  # noqa: B018  # all that it asks has one


def test_a_disk_without_a_parent_says_so_with_the_code_that_is_expected(
    disk_path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(disk_path) as disk:
        code, _ = asked(disk, QUESTION.PARENT_LOCATION, 512)
        found(f"PARENT_LOCATION of {disk_path.name}: error {code:#x}")
        assert code == constants.ERROR_VHD_INVALID_TYPE
        assert disk.parent is None
        assert [info.path for info in disk.chain] == [disk.path]


def test_an_answer_that_is_too_long_for_its_room_is_one_of_two_codes(
    path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    with VirtualDisk.create_differencing(tmp_path / "child.avhdx", path) as disk:
        code, size = asked(disk, QUESTION.PARENT_LOCATION, structures.INFO_SIZE)
        found(f"32 bytes for PARENT_LOCATION: error {code}, and {size} are wanted")
        assert code in (constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA)
        assert disk.parent is not None


def test_a_childs_link_to_its_parent_can_be_asked(
    disk_path: FilePath, tmp_path: FilePath, found: Found
) -> None:
    suffix = disk_path.name.rpartition(".")[2]
    with VirtualDisk.create_differencing(tmp_path / f"child.{suffix}", disk_path) as child:
        wanted, timestamp = child.parent_id, child.parent_timestamp
    with VirtualDisk.open(disk_path) as parent:
        found(f"identifier == parent_id: {parent.identifier == wanted}, timestamp {timestamp}")
        assert parent.identifier == wanted
        if suffix == "vhd":
            assert wanted == parent.info.disk_id


def test_what_is_asked_of_a_disk_as_it_is_used(disk_path: FilePath, found: Found) -> None:
    with VirtualDisk.open(disk_path) as disk:
        codes = {
            name: code_of(lambda name=name: getattr(disk, name))  # type: ignore[misc]  # its default
            for name in ("is_4k_aligned", "fragmentation", "smallest_safe_size", "is_loaded")
        }
        found(f"{disk_path.name}: {codes}")
        if codes["fragmentation"] == 0:
            assert 0 <= disk.fragmentation <= 100
        if codes["smallest_safe_size"] == 0:
            found(f"the smallest safe size of an empty disk: {disk.smallest_safe_size}")
            assert 0 < disk.smallest_safe_size <= 8 * MIB


def test_a_disk_in_use_is_loaded_and_one_at_rest_is_not(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path, info_only=True) as disk:
        at_rest = disk.is_loaded
        with VirtualDisk.open(path) as user:
            opened = disk.is_loaded
            user.attach_raw()
            attached = disk.is_loaded
    found(f"loaded: at rest {at_rest}, open {opened}, attached {attached}")
    assert (at_rest, attached) == (False, True)


def test_the_physical_size_grows_with_what_is_written(disk_path: FilePath) -> None:
    with VirtualDisk.open(disk_path, info_only=True) as disk:
        before = disk.info.physical_size
    write(disk_path, MIB, pattern(4 * MIB))
    with VirtualDisk.open(disk_path, info_only=True) as disk:
        assert disk.info.physical_size >= before + 2 * MIB


# -- Settings ---------------------------------------------------------------------


def test_a_disk_can_be_given_another_identity(disk_path: FilePath) -> None:
    disk_id = uuid.uuid4()
    with VirtualDisk.open(disk_path) as disk:
        disk.set_disk_id(disk_id)
    with VirtualDisk.open(disk_path, info_only=True) as disk:
        assert disk.info.disk_id == disk_id


def test_which_settings_can_be_changed_while_a_disk_is_attached(
    path: FilePath, found: Found
) -> None:
    with VirtualDisk.open(path) as disk:
        disk.attach_raw()
        codes = {
            "disk_id": code_of(lambda: disk.set_disk_id(uuid.uuid4())),
            "physical_sector_size": code_of(lambda: disk.set_physical_sector_size(512)),
            "metadata": code_of(lambda: disk.metadata.__setitem__(ITEM, b"1")),
        }
    found(f"errors {codes}")


def test_the_physical_disk_of_one_that_is_not_attached(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        found(f"not attached: error {code_of(lambda: disk.physical_disk)}")
        disk.attach_raw()
        found(f"attached raw: error {code_of(lambda: disk.physical_disk)}")


@pytest.mark.parametrize("size", [512, 4096])
def test_the_physical_sector_size_of_a_vhdx_can_be_set(path: FilePath, size: int) -> None:
    with VirtualDisk.open(path) as disk:
        disk.set_physical_sector_size(size)
    with VirtualDisk.open(path) as disk:
        assert (disk.info.physical_sector_size, disk.info.sector_size) == (size, 512)


def test_whether_the_physical_sector_size_of_a_vhd_can_be_set(
    tmp_path: FilePath, found: Found
) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhd", 8 * MIB) as disk:
        code = code_of(lambda: disk.set_physical_sector_size(4096))
        found(f"error {code:#x}, and it is {disk.info.physical_sector_size} then")


# -- Metadata -----------------------------------------------------------------------


def test_metadata_is_a_mapping_that_outlives_the_handle(path: FilePath) -> None:
    values = {ITEM: b"one", OTHER: pattern(8192)}
    with VirtualDisk.open(path) as disk:
        disk.metadata.update(values)
        assert dict(disk.metadata) == values
    with VirtualDisk.open(path) as disk:
        assert set(disk.metadata) == {ITEM, OTHER}
        disk.metadata[ITEM] = b"another"
        assert disk.metadata[ITEM] == b"another"
        del disk.metadata[ITEM]
        assert dict(disk.metadata) == {OTHER: values[OTHER]}


def test_an_item_that_is_not_there_is_a_key_error(path: FilePath, found: Found) -> None:
    """Which code Windows has for that, nobody says: 1168 and 2 are taken for it."""
    with VirtualDisk.open(path) as disk:
        item, cell, block = structures.GUID.of(ITEM), structures.ULONG_CELL(PAGE_SIZE), Block(4096)
        get = disk.windows.virtdisk.GetVirtualDiskMetadata
        code = get(disk.handle, address_of(item), address_of(cell), block.address)
        delete = disk.windows.virtdisk.DeleteVirtualDiskMetadata
        found(f"get: error {code:#x}, delete: error {delete(disk.handle, address_of(item)):#x}")
        with pytest.raises(KeyError):
            disk.metadata[ITEM]
        with pytest.raises(KeyError):
            del disk.metadata[ITEM]
        assert ITEM not in disk.metadata


def test_an_item_too_long_for_its_room_is_one_of_two_codes(path: FilePath, found: Found) -> None:
    with VirtualDisk.open(path) as disk:
        disk.metadata[ITEM] = pattern(2048)
        item, cell, block = structures.GUID.of(ITEM), structures.ULONG_CELL(16), Block(PAGE_SIZE)
        get = disk.windows.virtdisk.GetVirtualDiskMetadata
        code = get(disk.handle, address_of(item), address_of(cell), block.address)
        found(f"16 bytes for 2048: error {code}, and {cell.Value} are wanted")
        assert code in (constants.ERROR_INSUFFICIENT_BUFFER, constants.ERROR_MORE_DATA)


@pytest.mark.parametrize("length", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 1 << 20])
def test_items_of_any_length(path: FilePath, found: Found, length: int) -> None:
    value = bytes(range(256)) * (length // 256) + bytes(length % 256)
    with VirtualDisk.open(path) as disk:
        code = code_of(lambda: disk.metadata.__setitem__(ITEM, value))
        found(f"an item of {length} bytes: error {code:#x}")
        if code == 0:
            assert disk.metadata[ITEM] == value
        else:
            assert length in (0, 1 << 20)


def test_many_items_are_enumerated(path: FilePath) -> None:
    items = {uuid.UUID(int=number): b"%d" % number for number in range(1, 400)}  # over a page
    with VirtualDisk.open(path) as disk:
        disk.metadata.update(items)
        assert dict(disk.metadata) == items
        assert len(disk.metadata) == len(items)


def test_a_disk_without_metadata_has_an_empty_mapping(path: FilePath) -> None:
    with VirtualDisk.open(path) as disk:
        assert dict(disk.metadata) == {}


def test_a_vhd_has_no_metadata(tmp_path: FilePath, found: Found) -> None:
    with VirtualDisk.create_dynamic(tmp_path / "disk.vhd", 8 * MIB) as disk, fails() as caught:
        disk.metadata[ITEM] = b"1"
    found(caught.value.__notes__[0])
