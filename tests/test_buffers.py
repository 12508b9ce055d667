"""Page-aligned memory, and the pool of it for bouncing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import cast

import pytest

from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE, Block, BouncePool, PageBuffer, PooledBlock
from pyvhdmp.errors import InvalidInputError
from tests.support.interrupts import every_moment


class Later:
    """Takes the place of a completion thread: calls are run when asked for."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def __call__(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def run_all(self) -> None:
        while self.calls:
            self.calls.pop(0)()


def never(block: Block) -> None:
    pytest.fail(f"{block} was not waited for")


@pytest.mark.parametrize("size", [1, 512, PAGE_SIZE, 3 * PAGE_SIZE + 5])
def test_a_page_buffer_is_zeroed_aligned_and_of_the_size_asked_for(size: int) -> None:
    buffer = PageBuffer(size)
    assert len(buffer) == len(memoryview(buffer)) == size
    assert buffer[:] == bytes(size)
    pins = Pins([buffer], writable=True)
    assert pins.addresses[0] % PAGE_SIZE == 0
    pins.release()


def test_a_page_buffer_is_a_context_manager_and_says_what_it_is() -> None:
    with PageBuffer(PAGE_SIZE) as buffer:
        buffer[:4] = b"abcd"
        assert repr(buffer) == f"<PageBuffer of {PAGE_SIZE} bytes>"
    assert repr(buffer) == "<PageBuffer closed>"


@pytest.mark.parametrize("size", [0, -1])
def test_a_page_buffer_of_no_bytes_is_refused(size: int) -> None:
    with pytest.raises(InvalidInputError, match=f"must be positive, not {size}"):
        PageBuffer(size)


@pytest.mark.parametrize("size", ["4096", 4096.0])
def test_a_page_buffer_of_no_whole_number_is_refused(size: int) -> None:
    with pytest.raises(TypeError):
        PageBuffer(size)


def test_a_block_is_aligned_and_at_least_as_long_as_asked_for() -> None:
    pool = BouncePool(64 * PAGE_SIZE, Later())
    for length in (1, PAGE_SIZE, PAGE_SIZE + 1, 5 * PAGE_SIZE):
        block = pool.take(length, never)
        assert block is not None
        assert block.size >= length
        assert block.address % PAGE_SIZE == 0


def test_blocks_are_used_again() -> None:
    pool = BouncePool(64 * PAGE_SIZE, Later())
    block = pool.take(3 * PAGE_SIZE, never)
    assert block is not None
    pool.give(block)
    assert pool.take(4 * PAGE_SIZE, never) is block


def test_the_budget_is_kept_and_idle_blocks_of_other_sizes_make_room() -> None:
    pool = BouncePool(8 * PAGE_SIZE, Later())
    small = [pool.take(PAGE_SIZE, never) for _ in range(8)]
    assert pool.allocated == 8 * PAGE_SIZE
    for block in small:
        assert block is not None
        pool.give(block)
    large = pool.take(8 * PAGE_SIZE, never)
    assert large is not None
    assert pool.allocated == 8 * PAGE_SIZE


def test_a_block_above_the_budget_is_refused_and_not_waited_for_in_vain() -> None:
    with pytest.raises(ValueError, match="above the budget"):
        BouncePool(4 * PAGE_SIZE, Later()).take(5 * PAGE_SIZE, never)


def test_rule_3_who_waits_is_served_in_order_and_later() -> None:
    later = Later()
    pool = BouncePool(4 * PAGE_SIZE, later)
    held = pool.take(4 * PAGE_SIZE, never)
    assert held is not None
    served: list[str] = []

    def first(block: PooledBlock) -> None:
        served.append("first")
        pool.give(block)

    assert pool.take(4 * PAGE_SIZE, first) is None
    assert pool.take(PAGE_SIZE, lambda block: served.append("second")) is None
    assert pool.take(PAGE_SIZE, lambda block: served.append("third")) is None
    pool.give(held)
    assert served == []  # not in the thread that gives
    later.run_all()
    assert served == ["first", "second", "third"]


def test_a_newcomer_does_not_overtake_who_waits() -> None:
    pool = BouncePool(4 * PAGE_SIZE, Later())
    held = pool.take(2 * PAGE_SIZE, never)
    assert held is not None
    assert pool.take(4 * PAGE_SIZE, never) is None
    assert pool.take(PAGE_SIZE, never) is None


def is_whole(pool: BouncePool, budget: int) -> bool:
    """Whether nothing of the budget is lost."""
    whole = pool.take_now(budget)
    if whole is not None:
        pool.give(whole)
    return whole is not None


def make_idle(pool: BouncePool, sizes: list[int]) -> None:
    for block in list(map(pool.take_now, sizes)):
        assert block is not None
        pool.give(block)


@pytest.mark.parametrize("idle", [[PAGE_SIZE] * 8, [2 * PAGE_SIZE] * 4, []])
def test_rule_4_ctrl_c_at_any_moment_of_a_take_loses_no_memory(idle: list[int]) -> None:
    pool, blocks = BouncePool(8 * PAGE_SIZE, Later()), list[PooledBlock | None]()
    for ctrl_c in every_moment("pyvhdmp.buffers"):
        make_idle(pool, idle)
        with ctrl_c:
            blocks.extend(map(pool.take, [2 * PAGE_SIZE], [never]))
        for block in blocks:
            assert block is not None
            pool.give(block)
        assert is_whole(pool, 8 * PAGE_SIZE), ctrl_c
        assert pool.allocated == 8 * PAGE_SIZE
    assert blocks
    assert ctrl_c.number > 3


def test_rule_4_ctrl_c_at_any_moment_of_a_give_leaves_nobody_waiting() -> None:
    for ctrl_c in every_moment("pyvhdmp.buffers"):
        later, served = Later(), list[Block]()
        pool = BouncePool(4 * PAGE_SIZE, later)
        blocks = [pool.take(4 * PAGE_SIZE, never)]
        for _ in range(4):
            assert pool.take(PAGE_SIZE, served.append) is None
        with ctrl_c:
            pool.give(cast("PooledBlock", blocks.pop()))
        later.run_all()
        assert len(served) == 4, ctrl_c
    assert ctrl_c.number > 3


def test_rule_4_memory_that_is_lost_is_had_by_who_waits() -> None:
    later, served = Later(), list[Block]()
    pool = BouncePool(4 * PAGE_SIZE, later)
    block = pool.take(4 * PAGE_SIZE, never)
    assert pool.take(3 * PAGE_SIZE, served.append) is None
    del block
    gc.collect()
    later.run_all()
    assert len(served) == 1
    assert pool.allocated == 4 * PAGE_SIZE


def test_rule_4_memory_that_is_lost_while_it_is_looked_for_is_had_by_who_then_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later, served = Later(), list[Block]()
    pool = BouncePool(4 * PAGE_SIZE, later)
    blocks = [pool.take(4 * PAGE_SIZE, never)]
    find = pool._find

    def find_and_be_overtaken(size: int) -> PooledBlock | None:
        found = find(size)
        blocks.clear()  # as another thread does
        gc.collect()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_find", find_and_be_overtaken)
        assert pool.take(PAGE_SIZE, served.append) is None
    later.run_all()
    assert len(served) == 1


def test_rule_3_who_waits_is_served_though_there_was_no_memory_when_it_was_his_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later, served, failures = Later(), list[Block](), 2
    pool = BouncePool(4 * PAGE_SIZE, later)
    held = pool.take(4 * PAGE_SIZE, never)
    assert held is not None
    assert pool.take(PAGE_SIZE, served.append) is None

    def fail(size: int) -> PooledBlock:
        nonlocal failures
        failures -= 1
        if not failures:
            monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr("pyvhdmp.buffers.PooledBlock", fail)
    pool.give(held)  # for which another one makes room, and then none is out any more
    del held
    later.run_all()
    assert not failures
    assert len(served) == 1


def test_a_waiter_can_leave_and_the_queue_moves_up() -> None:
    later = Later()
    pool = BouncePool(4 * PAGE_SIZE, later)
    held = pool.take(2 * PAGE_SIZE, never)
    assert held is not None
    served: list[Block] = []
    assert pool.take(4 * PAGE_SIZE, never) is None
    assert pool.take(PAGE_SIZE, served.append) is None
    assert pool.forget(never)
    assert not pool.forget(never)
    later.run_all()
    assert len(served) == 1
