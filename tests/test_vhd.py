"""The footer of a fixed VHD: bytes, geometry, and every reason to refuse one."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvhdmp.errors import InvalidInputError
from pyvhdmp.vhd import FOOTER_SIZE, MAX_SIZE, Footer, Geometry

SIZE = 8 << 20
DISK_ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
FOOTER = Footer(SIZE, DISK_ID, datetime(2000, 1, 1, 0, 1, tzinfo=UTC))

sizes = st.integers(1, MAX_SIZE // 512).map(lambda sectors: sectors * 512)


def parse(raw: bytes, *, file_size: int = SIZE + FOOTER_SIZE) -> Footer:
    return Footer.parse(raw, file_size=file_size, filename="disk.vhd")


def changed(offset: int, form: str, value: object) -> bytes:
    """Return the footer with one field changed and its checksum right again."""
    raw = bytearray(FOOTER.pack())
    struct.pack_into(form, raw, offset, value)
    struct.pack_into(">I", raw, 64, 0)
    struct.pack_into(">I", raw, 64, ~sum(raw) & 0xFFFFFFFF)
    return bytes(raw)


def test_the_footer_is_laid_out_as_the_specification_has_it() -> None:
    raw = FOOTER.pack()
    assert len(raw) == 512
    assert raw[:8] == b"conectix"
    assert raw[8:12] == bytes([0, 0, 0, 2])  # features: reserved, always set
    assert raw[12:16] == bytes([0, 1, 0, 0])  # version 1.0
    assert raw[16:24] == b"\xff" * 8  # data offset: none
    assert raw[24:28] == bytes([0, 0, 0, 60])  # seconds since 2000
    assert raw[36:40] == b"Wi2k"
    assert raw[40:48] == raw[48:56] == SIZE.to_bytes(8, "big")
    assert raw[56:60] == bytes([0, 240, 4, 17])  # 240 cylinders, 4 heads, 17 sectors
    assert raw[60:64] == bytes([0, 0, 0, 2])  # fixed
    assert int.from_bytes(raw[64:68], "big") == ~(sum(raw) - sum(raw[64:68])) & 0xFFFFFFFF
    assert raw[68:84] == DISK_ID.bytes
    assert not any(raw[84:])


@pytest.mark.parametrize(
    ("size", "geometry"),
    [
        (512, (0, 4, 17)),
        (8 << 20, (240, 4, 17)),
        (1 << 30, (2080, 16, 63)),
        (504 << 20, (1024, 16, 63)),
        (127 << 30, (65278, 16, 255)),
        (MAX_SIZE, (65535, 16, 255)),
    ],
)
def test_geometry_follows_the_appendix_of_the_specification(
    size: int, geometry: tuple[int, int, int]
) -> None:
    assert Geometry.of(size) == geometry


@given(size=sizes)
def test_geometry_fits_its_fields_and_never_addresses_more_than_the_disk(size: int) -> None:
    cylinders, heads, sectors = Geometry.of(size)
    assert 0 <= cylinders <= 0xFFFF
    assert 1 <= heads <= 16
    assert sectors in (17, 31, 63, 255)
    assert cylinders * heads * sectors * 512 <= size


@given(size=sizes, disk_id=st.uuids())
def test_what_is_written_is_read_back(size: int, disk_id: uuid.UUID) -> None:
    footer = Footer(size, disk_id)
    assert parse(footer.pack(), file_size=size + FOOTER_SIZE) == footer


@given(offset=st.integers(0, FOOTER_SIZE - 1), change=st.integers(1, 255))
def test_a_change_of_any_byte_is_noticed(offset: int, change: int) -> None:
    raw = bytearray(FOOTER.pack())
    raw[offset] ^= change
    with pytest.raises(InvalidInputError, match=r"damaged VHD footer|no fixed VHD"):
        parse(bytes(raw))


@given(raw=st.binary(min_size=FOOTER_SIZE, max_size=FOOTER_SIZE), size=st.integers(0, 2**64))
def test_random_bytes_are_refused_cleanly(raw: bytes, size: int) -> None:
    with pytest.raises(InvalidInputError):
        parse(raw, file_size=size)


@pytest.mark.parametrize(
    ("raw", "file_size", "reason"),
    [
        (b"", 0, "shorter than a footer"),
        (bytes(100), 100, "shorter than a footer"),
        (bytes(512), SIZE, "do not begin with 'conectix'"),
        (FOOTER.pack()[:-1] + b"\1", SIZE + 512, "damaged VHD footer: its checksum"),
        (changed(12, ">I", 0x00020000), SIZE + 512, "unknown VHD version 2.0"),
        (changed(60, ">I", 3), SIZE + 512, "a dynamic VHD needs Windows' VHDMP driver"),
        (changed(60, ">I", 4), SIZE + 512, "a differencing VHD needs Windows' VHDMP driver"),
        (changed(60, ">I", 7), SIZE + 512, "unknown VHD disk type 7"),
        (FOOTER.pack(), SIZE, "truncated VHD: its footer says 8388608 bytes"),
        (FOOTER.pack(), SIZE + 1024, "damaged VHD: its footer says 8388608 bytes"),
        (changed(48, ">Q", 0), 512, "damaged VHD footer: the size of a fixed VHD must be"),
        (changed(48, ">Q", 2**63), 2**63 + 512, "the size of a fixed VHD must be at most"),
    ],
)
def test_each_reason_to_refuse_a_footer_is_named(raw: bytes, file_size: int, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        parse(raw, file_size=file_size)
    assert caught.value.filename == "disk.vhd"


@pytest.mark.parametrize("size", [0, -512, 513, MAX_SIZE + 512])
def test_a_size_that_no_vhd_can_have_is_refused(size: int) -> None:
    with pytest.raises(InvalidInputError, match="VHD"):
        Footer(size)
