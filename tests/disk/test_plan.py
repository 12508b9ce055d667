"""Buffers become parts: every byte once, in order, and no page bounced without need."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.disk.plan import MAX_PART, Part, Run, plan

PAGE = PAGE_SIZE
BASE = 1 << 40


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[Run], int]:
    """Buffers anywhere in memory, a whole number of sectors in total."""
    sector_size = draw(st.sampled_from([512, 4096]))
    lengths = draw(
        st.lists(
            st.one_of(
                st.integers(0, 3 * PAGE),
                st.sampled_from([sector_size, PAGE, 2 * PAGE, 64 * PAGE, MAX_PART + PAGE]),
            ),
            max_size=8,
        )
    )
    if missing := -sum(lengths) % sector_size:
        lengths.append(missing)
    buffers: list[Run] = []
    address = BASE
    for length in lengths:
        address += draw(st.one_of(st.just(0), st.sampled_from([32, 512, PAGE])))
        if draw(st.booleans()):
            address += -address % PAGE
        buffers.append((address, length))
        address += length
    return buffers, sector_size


def as_bytes(runs: list[Run]) -> list[Run]:
    """Return runs with neighbours joined: the same memory in the same order."""
    joined: list[Run] = []
    for address, length in runs:
        if not length:
            continue
        if joined and sum(joined[-1]) == address:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((address, length))
    return joined


@given(request=requests(), scatter=st.booleans())
def test_parts_cover_every_byte_once_and_in_order(
    request: tuple[list[Run], int], scatter: bool
) -> None:
    buffers, sector_size = request
    parts = list(plan(buffers, sector_size, scatter=scatter))
    position = 0
    for part in parts:
        assert part.start == position
        assert part.length == sum(length for _, length in part.runs)
        position += part.length
    assert as_bytes([run for part in parts for run in part.runs]) == as_bytes(buffers)


@given(request=requests(), scatter=st.booleans())
def test_parts_start_and_end_on_a_sector_and_are_not_too_long(
    request: tuple[list[Run], int], scatter: bool
) -> None:
    buffers, sector_size = request
    for part in plan(buffers, sector_size, scatter=scatter):
        assert part.start % sector_size == 0
        assert part.length % sector_size == 0
        assert 0 < part.length <= MAX_PART


@given(request=requests(), scatter=st.booleans())
def test_rule_3_every_whole_aligned_page_is_direct_and_only_those(
    request: tuple[list[Run], int], scatter: bool
) -> None:
    buffers, sector_size = request
    eligible = set()
    position = 0
    for address, length in buffers:
        for page in range(address + -address % PAGE, address + length - PAGE + 1, PAGE):
            if (position + page - address) % sector_size == 0:
                eligible.add(page)
        position += length
    direct = [part for part in plan(buffers, sector_size, scatter=scatter) if part.is_direct]
    assert {page for part in direct for page in part.pages()} == eligible
    assert all(page % PAGE == 0 for part in direct for page in part.pages())


@given(request=requests())
def test_without_scatter_a_direct_part_is_contiguous(request: tuple[list[Run], int]) -> None:
    buffers, sector_size = request
    for part in plan(buffers, sector_size, scatter=False):
        assert not part.is_direct or len(part.runs) == 1


def test_an_aligned_buffer_is_one_direct_part() -> None:
    assert list(plan([(BASE, 16 * PAGE)], 512)) == [
        Part(0, 16 * PAGE, [(BASE, 16 * PAGE)], is_direct=True)
    ]


def test_pages_from_many_buffers_go_in_one_part() -> None:
    buffers = [(BASE + 2 * page * PAGE, PAGE) for page in range(16)]
    (part,) = plan(buffers, 512)
    assert part.is_direct
    assert part.pages() == [address for address, _ in buffers]


def test_a_header_does_not_cost_the_pages_behind_it() -> None:
    header, pages = plan([(BASE + 32, 512), (BASE + PAGE, 4 * PAGE)], 512)
    assert (header.is_direct, header.length) == (False, 512)
    assert (pages.is_direct, pages.length) == (True, 4 * PAGE)


def test_a_page_at_a_place_that_is_no_sector_is_bounced() -> None:
    parts = list(plan([(BASE + 32, 100), (BASE + PAGE, PAGE), (BASE + 8 * PAGE, 412)], 512))
    assert [part.is_direct for part in parts] == [False]


@pytest.mark.parametrize("length", [4 << 30, 1 << 50])
def test_rule_4_the_plan_of_a_huge_request_is_made_part_by_part(length: int) -> None:
    parts = list(itertools.islice(plan([(0, length)], 512), 3))
    assert [part.start for part in parts] == [0, MAX_PART, 2 * MAX_PART]


def test_no_buffers_are_no_parts() -> None:
    assert list(plan([], 512)) == []
    assert list(plan([(BASE, 0)], 512)) == []
