"""Blocks of memory, and what they hold."""

from __future__ import annotations

import pytest

from pyvhdmp._win32.memory import Pins
from pyvhdmp.blocks import GRANULE, BlockBuffer, BlockPool, Run, differing_runs, nonzero_runs
from pyvhdmp.buffers import PAGE_SIZE

LENGTHS = [1, 511, 512, 513, GRANULE, GRANULE + 1, 300_000]


@pytest.mark.parametrize("length", LENGTHS)
def test_zeros_are_zeros_and_one_byte_anywhere_is_not(length: int) -> None:
    data = bytearray(length)
    assert nonzero_runs(memoryview(data)) == []
    for place in {0, length // 2, length - 1}:
        data[place] = 1
        ((start, end),) = nonzero_runs(memoryview(data))
        assert start <= place < end
        assert end - start <= GRANULE
        data[place] = 0


def test_nothing_is_zeros() -> None:
    assert nonzero_runs(memoryview(b"")) == []


@pytest.mark.parametrize(
    ("granules", "runs"),
    [
        ("1", [(0, 1)]),
        ("111", [(0, 3)]),
        ("1001", [(0, 1), (3, 4)]),
        ("01100", [(1, 3)]),
        ("0101", [(1, 2), (3, 4)]),
    ],
)
@pytest.mark.parametrize("cut", [0, 512])
def test_what_is_not_left_out_is_told_in_runs(granules: str, runs: list[Run], cut: int) -> None:
    data = memoryview(b"".join(bytes([int(each)]) * GRANULE for each in granules))
    length = len(data) - cut
    expected = [(start * GRANULE, min(end * GRANULE, length)) for start, end in runs]
    assert nonzero_runs(data[:length]) == expected
    held = BlockBuffer(len(data))
    assert differing_runs(data[:length], held) == expected
    held.view[:] = data
    assert differing_runs(data[:length], held) == []


@pytest.mark.parametrize("length", LENGTHS)
def test_one_byte_that_differs_is_found_wherever_it_is(length: int) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    held = BlockBuffer(length + 1)
    held.view[:length] = data[:length]
    view = memoryview(data)[:length]
    assert differing_runs(view, held) == []
    for place in {0, length // 2, length - 1}:
        held.view[place] ^= 1
        ((start, end),) = differing_runs(view, held)
        assert start <= place < end
        held.view[place] ^= 1


@pytest.mark.parametrize("size", [1, 512, PAGE_SIZE, PAGE_SIZE + 512, 1 << 20])
def test_a_block_is_page_aligned_zeroed_and_of_the_size_asked_for(size: int) -> None:
    block = BlockBuffer(size)
    assert bytes(block.view) == bytes(size)
    pins = Pins([block.view], writable=True)
    assert pins.addresses[0] % PAGE_SIZE == 0
    assert pins.length == size
    pins.release()


def test_a_pool_has_so_many_blocks_and_gives_the_one_used_last() -> None:
    pool = BlockPool(512, 3)
    first, second = pool.take(), pool.take()
    assert pool.free == 1
    pool.give(second)
    pool.give(first)
    assert pool.free == 3
    assert pool.take() is first
    assert pool.take() is second
    assert pool.take() not in (first, second)
    assert pool.free == 0
