"""Pins: addresses that stay valid, and objects that are let go."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import sys
import weakref
from collections.abc import Callable

import pytest

from pyvhdmp._win32.memory import Pins, copy_memory
from pyvhdmp.buffers import PAGE_SIZE, PageBuffer


def _read_only_mmap() -> mmap.mmap:
    return mmap.mmap(-1, 4, access=mmap.ACCESS_READ)


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (lambda: b"abcd", b"abcd"),
        (lambda: bytearray(b"abcd"), b"abcd"),
        (lambda: memoryview(b"xabcdx")[1:5], b"abcd"),
        (lambda: memoryview(bytearray(b"abcd")), b"abcd"),
        (lambda: array.array("H", [0x6261, 0x6463]), b"abcd"),
        (_read_only_mmap, bytes(4)),
        (lambda: PageBuffer(4), bytes(4)),
    ],
)
def test_a_pin_has_the_address_and_length_of_any_exporter(
    make: Callable[[], object], content: bytes
) -> None:
    # Together with others, some of which can be written.
    beside: list[list[bytes | bytearray | PageBuffer]] = [
        [],
        [bytearray(3)],
        [b"def"],
        [bytearray(1), PageBuffer(7), b"", bytearray()],
    ]
    for others in beside:
        pins = Pins([make(), *others], writable=False)
        assert ctypes.string_at(pins.addresses[0], pins.lengths[0]) == content
        assert pins.lengths == [len(content), *(len(other) for other in others)]
        assert pins.length == sum(pins.lengths)
        assert len(pins.addresses) == 1 + len(others)
        pins.release()


def test_a_pinned_bytearray_cannot_be_resized_until_it_is_released() -> None:
    data = bytearray(8)
    pin = Pins([data], writable=True)
    with pytest.raises(BufferError):
        data.append(1)
    pin.release()
    data.append(1)


def test_a_pinned_page_buffer_cannot_be_closed_until_it_is_released() -> None:
    buffer = PageBuffer(PAGE_SIZE)
    pin = Pins([buffer], writable=True)
    with pytest.raises(BufferError):
        buffer.close()
    pin.release()
    buffer.close()


def test_releasing_twice_releases_once() -> None:
    data = bytearray(8)
    first, second = Pins([data], writable=True), Pins([data], writable=True)
    first.release()
    first.release()
    with pytest.raises(BufferError):
        data.append(1)
    second.release()
    data.append(1)


def test_a_pin_keeps_its_object_alive_and_release_lets_it_go() -> None:
    class Exporter(bytearray):
        pass

    data = Exporter(8)
    alive = weakref.ref(data)
    pin = Pins([data], writable=True)
    del data
    gc.collect()
    assert alive() is not None
    pin.release()
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="needs reference counts")
def test_pinning_leaks_no_reference() -> None:
    data = bytearray(8)
    before = sys.getrefcount(data)
    for _ in range(100):
        Pins([data], writable=True).release()
    assert sys.getrefcount(data) == before


def test_what_cannot_be_a_buffer_is_refused() -> None:
    with pytest.raises(TypeError):
        Pins(["text"], writable=False)
    for beside in ([], [bytearray(4)]):
        with pytest.raises(BufferError):
            Pins([*beside, memoryview(b"abcd")[::2]], writable=False)
        with pytest.raises(BufferError):
            Pins([*beside, b"abcd"], writable=True)


def test_copy_memory_copies_between_addresses() -> None:
    source, target = bytearray(b"abcdef"), bytearray(6)
    pins = [Pins([source], writable=False), Pins([target], writable=True)]
    copy_memory(pins[1].addresses[0] + 1, pins[0].addresses[0] + 2, 3)
    for pin in pins:
        pin.release()
    assert target == b"\0cde\0\0"


@pytest.mark.parametrize("size", [PAGE_SIZE // 2, 5000 * PAGE_SIZE])
def test_memory_that_knows_its_address_knows_it_when_it_was_resized(size: int) -> None:
    buffer = PageBuffer(PAGE_SIZE)
    buffer[:4] = b"abcd"
    try:
        buffer.resize(size)
    except SystemError:
        pytest.skip("this Python resizes no such memory")
    pins = Pins([buffer], writable=True)
    assert ctypes.string_at(pins.addresses[0], 4) == b"abcd"
    assert pins.length == size
    with pytest.raises(BufferError):
        buffer.resize(PAGE_SIZE)
    assert buffer.address == pins.addresses[0]
    pins.release()
