"""Bytes by offset, and which sectors of them were ever written."""

from __future__ import annotations

from pyvhdmp.testing.store import Store

CHUNK = 64 << 10


def test_what_was_written_is_told_as_ranges() -> None:
    store = Store()
    for offset, length in ((512, 512), (1024, 512), (CHUNK - 512, 1024), (5 * CHUNK, 100)):
        store.write(offset, b"\x01" * length)
    ranges = [(512, 1024), (CHUNK - 512, 1024), (5 * CHUNK, 512)]
    assert store.written(8 * CHUNK) == ranges
    assert store.written(CHUNK) == [(512, 1024), (CHUNK - 512, 512)]
    assert store.written(512) == []


def test_what_is_forgotten_was_never_written_and_zeros_were() -> None:
    store = Store()
    store.write(0, b"\x01" * 2 * CHUNK)
    store.zero(0, 512)
    store.forget(512, CHUNK)
    assert store.written(4 * CHUNK) == [(0, 512), (512 + CHUNK, CHUNK - 512)]
    assert store.read(0, CHUNK + 1024) == bytes(CHUNK + 512) + b"\x01" * 512


def test_chunks_of_zeros_are_let_go_where_it_is_asked_for() -> None:
    store = Store()
    store.write(0, bytes(2 * CHUNK) + b"\x01")
    assert store.allocated == 3 * CHUNK
    store.compact(0, CHUNK + 512)
    assert store.allocated == 2 * CHUNK
    store.compact(0, 3 * CHUNK)
    assert store.allocated == CHUNK
    assert store.is_written(0)


def test_what_is_put_in_was_written_where_it_is_no_zeros() -> None:
    store = Store()
    store.put(bytes(1024) + b"\x01" + bytes(CHUNK))
    assert store.written(4 * CHUNK) == [(1024, 512)]
    assert store.read(1024, 2) == b"\x01\x00"
