"""Images that were made to do harm: what cannot be right is refused in one line, in no time."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvhdmp import Disk, DiskError, InvalidInputError, open_disk
from pyvhdmp.cli import main
from pyvhdmp.disk.opening import Backend
from pyvhdmp.disk.other_formats import check_raw
from pyvhdmp.testing import SimulatedWindows
from pyvhdmp.vhd import FOOTER_SIZE, MAX_SIZE, Footer
from tests.support import windows
from tests.support.files import FilePath

CASES: Final = 200_000
SIZE: Final = 1 << 20
MIB: Final = 1 << 20
GOOD: Final = Footer(SIZE, uuid.UUID(int=7)).pack()
CHECKSUM: Final = slice(64, 68)
FIELDS: Final = {  # where each is, and how it is packed
    "features": (8, ">I"),
    "version": (12, ">I"),
    "data_offset": (16, ">Q"),
    "time_stamp": (24, ">I"),
    "creator_version": (32, ">I"),
    "original_size": (40, ">Q"),
    "current_size": (48, ">Q"),
    "geometry": (56, ">I"),
    "disk_type": (60, ">I"),
    "saved_state": (84, ">B"),
}
EDGES: Final = sorted(
    {0, 1, 511, 512, 513, MAX_SIZE, MAX_SIZE + 512}
    | {(1 << bits) + more for bits in (31, 32, 63) for more in (-512, -1, 0, 1, 512)}
    | {(1 << 64) - 1, (1 << 64) - 512, SIZE - 512, SIZE, SIZE + 512}
)
BACKENDS: Final[tuple[Backend, ...]] = ("auto", "fixed-vhd", "raw")
COOKIES: Final = (b"conectix", b"cxsparse", b"CONECTIX", b"conectiX", b"\0" * 8, b"vhdxfile")


def signed(raw: bytearray) -> bytes:
    """Return a footer whose checksum is right again."""
    raw[CHECKSUM] = bytes(4)
    raw[CHECKSUM] = struct.pack(">I", ~sum(raw) & 0xFFFFFFFF)
    return bytes(raw)


def mutated(chance: random.Random) -> tuple[bytes, int]:
    """Return a footer and the size of a file, of which some things are not as they should be."""
    raw, file_size = bytearray(GOOD), SIZE + FOOTER_SIZE
    if chance.random() < 0.1:  # a whole one, of another size
        raw = bytearray(Footer(chance.randrange(1, MAX_SIZE // 512) * 512).pack())
        file_size = struct.unpack_from(">Q", raw, 48)[0] + FOOTER_SIZE
    for _ in range(chance.randrange(4)):
        match chance.randrange(7):
            case 0:
                raw[chance.randrange(FOOTER_SIZE)] ^= 1 << chance.randrange(8)
            case 1:
                at, kind = chance.choice(list(FIELDS.values()))
                value = chance.choice([*EDGES, chance.getrandbits(64), 2, 3, 4, 5])
                struct.pack_into(kind, raw, at, value & ((1 << 8 * struct.calcsize(kind)) - 1))
            case 2:
                size = chance.choice(EDGES)
                struct.pack_into(">Q", raw, 48, size)
                file_size = size + chance.choice((0, 1, 511, 512, 513))
            case 3:
                raw[:8] = chance.choice(COOKIES)
            case 4:
                at = chance.randrange(FOOTER_SIZE)
                raw[at : at + 16] = chance.randbytes(len(raw[at : at + 16]))
            case 5:
                raw[60:64] = struct.pack(">I", chance.choice((0, 1, 2, 3, 4, 5, 6)))
            case _:
                file_size = chance.choice([*EDGES, chance.getrandbits(63)])
    is_signed = chance.random() < 0.8
    text = signed(raw) if is_signed else bytes(raw)
    if chance.random() < 0.05:
        text = text[: chance.choice((0, 1, 84, 511, chance.randrange(FOOTER_SIZE)))]
    return text, file_size


def refusal(call: Callable[[], object]) -> DiskError | None:
    """Return the error that something is refused with: one line, that names the file."""
    try:
        call()
    except DiskError as error:
        refused = error
    else:
        return None
    assert refused.filename
    assert refused.strerror
    assert "\n" not in str(refused)
    return refused


def reason_to_refuse(raw: bytes, file_size: int) -> str | None:
    """Return the reason that a footer is refused for; check the one that is not."""
    found: list[Footer] = []
    refused = refusal(
        lambda: found.append(Footer.parse(raw, file_size=file_size, filename="a.vhd"))
    )
    if refused is not None:
        return str(refused.strerror).split(":")[0].rstrip(" 0123456789.")
    (footer,) = found
    assert footer.size + FOOTER_SIZE == file_size
    assert 512 <= footer.size <= MAX_SIZE
    assert footer.size % 512 == 0
    assert raw[:8] == b"conectix"
    assert Footer.parse(footer.pack(), file_size=file_size) == footer
    return None


def test_every_footer_is_whole_or_refused_and_none_takes_memory() -> None:
    chance = random.Random(2026)
    reasons: Counter[str | None] = Counter()
    tracemalloc.start()
    try:
        for _ in range(CASES // 100):
            reasons[reason_to_refuse(*mutated(chance))] += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB
    for _ in range(CASES - CASES // 100):
        reasons[reason_to_refuse(*mutated(chance))] += 1
    assert sum(reasons.values()) == CASES
    # Each check has been reached, and something got past all of them.
    assert reasons[None] > CASES // 100
    for reason in (
        "no fixed VHD",
        "no fixed VHD, or a truncated one",
        "damaged VHD footer",
        "unknown VHD version",
        "a dynamic VHD needs Windows' VHDMP driver",
        "a differencing VHD needs Windows' VHDMP driver",
        "unknown VHD disk type",
        "truncated VHD",
        "damaged VHD",
    ):
        assert reasons[reason] > 100, reason


@given(st.binary(min_size=0, max_size=1024), st.integers(0, 1 << 64))
def test_any_bytes_are_a_footer_or_refused(raw: bytes, file_size: int) -> None:
    reason_to_refuse(raw, file_size)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(0, (1 << 8 * struct.calcsize(kind)) - 1)
            for name, (_, kind) in FIELDS.items()
        },
    ),
    st.sampled_from(EDGES) | st.integers(0, 1 << 64),
)
def test_any_fields_are_a_footer_or_refused(fields: dict[str, int], file_size: int) -> None:
    raw = bytearray(GOOD)
    for name, value in fields.items():
        at, kind = FIELDS[name]
        struct.pack_into(kind, raw, at, value)
    reason_to_refuse(signed(raw), file_size)
    reason_to_refuse(signed(raw), fields.get("current_size", SIZE) + FOOTER_SIZE)


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_any_content_is_raw_or_of_another_format(first: bytes, last: bytes) -> None:
    if refusal(lambda: check_raw(first, last, "a.img")) is None:
        assert b"conectix" not in (first[:8], last[:8])


# -- Files ---------------------------------------------------------------------


@pytest.fixture
def simulation() -> Iterator[SimulatedWindows]:
    with windows.simulated(seed=7) as simulation:
        yield simulation


def hostile_file(chance: random.Random) -> bytes:
    """Return the content of a small file that says what is not so."""
    payload = chance.choice((0, 1, 511, 512, 513, 4096, 64 << 10))
    raw, _ = mutated(chance)
    if chance.random() < 0.5:  # a footer that says how much there is, and else what it likes
        whole = bytearray(raw.ljust(FOOTER_SIZE, b"\0"))
        struct.pack_into(">Q", whole, 48, payload)
        raw = signed(whole)
    first = chance.choice((b"", b"vhdxfile", b"conectix", b"QFI\xfb", b"KDMV", raw))
    return (first.ljust(payload, b"\x55"))[:payload] + raw


@pytest.mark.parametrize("name", ["a.vhd", "a.img"])
def test_every_file_is_a_disk_of_what_is_in_it_or_refused(
    simulation: SimulatedWindows, name: str
) -> None:
    chance = random.Random(name)
    opened = refused = 0
    for _ in range(600):
        simulation.files[name] = content = hostile_file(chance)
        backend = chance.choice(BACKENDS)
        read_only = chance.random() < 0.5
        disks: list[Disk] = []
        error = refusal(
            lambda: disks.append(open_disk(name, backend=backend, read_only=read_only))  # noqa: B023
        )
        if error is not None:
            refused += 1
            assert error.filename == name
            continue
        (disk,) = disks
        with disk:
            opened += 1
            assert 0 < disk.size <= len(content)
            assert disk.size == disk.sector_count * disk.sector_size
            assert disk.read(0, disk.sector_count).result() == content[: disk.size]
    assert opened > 20
    assert refused > 100


@pytest.mark.parametrize("size", [size for size in EDGES if 0 < size < 1 << 44])
@pytest.mark.parametrize("name", ["a.vhd", "a.img"])
def test_a_file_of_any_size_is_opened_or_refused_without_reading_it(
    simulation: SimulatedWindows, name: str, size: int
) -> None:
    simulation.files.make_sparse(name, size)
    sizes: list[int] = []

    def look() -> None:
        with open_disk(name, read_only=True) as disk:
            sizes.append(disk.size)

    tracemalloc.start()
    try:
        refused = refusal(look)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert refused is not None or (sizes, size % 512) == ([size], 0)


def test_info_tells_of_every_file_in_one_line_or_what_it_is(
    simulation: SimulatedWindows, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(11)
    for _ in range(300):
        name = chance.choice(("a.vhd", "a.img", "a.vhdx", "a.iso"))
        simulation.files[name] = hostile_file(chance)
        code = main(["info", name, "--json"])
        output, errors = capsys.readouterr()
        if code == 0:
            assert json.loads(output)["path"] == name
        else:
            assert (code, output, errors.count("\n")) == (1, "", 1)
            assert errors.startswith(f"pyvhdmp: {name}: ")
        del simulation.files[name]


@pytest.mark.parametrize(
    "make",
    [
        lambda chance: GOOD,  # a footer, and nothing before it
        lambda chance: bytes(SIZE) + GOOD[:-1],
        lambda chance: bytes(SIZE - 512) + GOOD,
        lambda chance: bytes(SIZE + 512) + GOOD,
        lambda chance: chance.randbytes(4096),
    ],
)
def test_such_a_file_is_refused_on_both_machines(
    machine: SimulatedWindows | None,
    tmp_path: FilePath,
    make: Callable[[random.Random], bytes],
) -> None:
    (tmp_path / "a.vhd").write_bytes(make(random.Random(3)))
    with pytest.raises(InvalidInputError, match="VHD") as caught:
        open_disk(tmp_path / "a.vhd")
    assert caught.value.filename == str(tmp_path / "a.vhd")
