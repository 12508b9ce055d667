"""Slots: room for one call each, at addresses that stay."""

from __future__ import annotations

import ctypes
import threading

from pyvhdmp._win32.structures import OVERLAPPED, SEGMENT_SIZE
from pyvhdmp.slots import MAX_SEGMENTS, Slot, SlotPool, pack_segments


def test_slots_do_not_overlap_and_have_room_for_every_segment_and_the_null() -> None:
    pool = SlotPool()
    slots = sorted((pool.take() for _ in range(100)), key=lambda slot: slot.address)
    end = 0
    for slot in slots:
        assert slot.address >= end
        assert slot.address % 64 == 0
        assert slot.segments_address % SEGMENT_SIZE == 0
        assert slot.segments_address >= slot.address + ctypes.sizeof(OVERLAPPED)
        end = slot.segments_address + (MAX_SEGMENTS + 1) * SEGMENT_SIZE


def test_segments_are_64_bit_addresses_that_end_with_null() -> None:
    slot = SlotPool().take()
    pages = [0x7FFF_0000_0000 + page * 4096 for page in range(MAX_SEGMENTS)]
    pack_segments(slot.memory, slot.segments_offset, pages)
    array = (ctypes.c_uint64 * (MAX_SEGMENTS + 1)).from_address(slot.segments_address)
    assert list(array) == [*pages, 0]
    pack_segments(slot.memory, slot.segments_offset, pages[:1])
    assert list(array)[:2] == [pages[0], 0]


def test_slots_are_reused_oldest_first_and_the_pool_stops_growing() -> None:
    pool = SlotPool()
    first = pool.take()
    pool.give(first)
    total = pool.total
    taken = [pool.take() for _ in range(total)]
    assert taken[-1] is first
    assert pool.free == 0
    for slot in taken:
        pool.give(slot)
    for _ in range(10 * total):
        pool.give(pool.take())
    assert (pool.total, pool.free) == (total, total)


def test_no_two_threads_get_the_same_slot() -> None:
    pool = SlotPool()
    taken: list[list[Slot]] = [[] for _ in range(8)]

    def take(mine: list[Slot]) -> None:
        mine.extend(pool.take() for _ in range(200))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    addresses = [slot.address for mine in taken for slot in mine]
    assert len(addresses) == len(set(addresses)) == 1600
