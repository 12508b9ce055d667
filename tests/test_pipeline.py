"""Copying and comparing disks."""

from __future__ import annotations

import pytest

from pyvhdmp.pipeline import is_zero


@pytest.mark.parametrize("length", [1, 511, 512, 513, 65536, 65537, 300_000])
def test_zeros_are_zeros_and_one_byte_anywhere_is_not(length: int) -> None:
    data = bytearray(length)
    assert is_zero(memoryview(data))
    for place in {0, length // 2, length - 1}:
        data[place] = 1
        assert not is_zero(memoryview(data))
        data[place] = 0


def test_nothing_is_zeros() -> None:
    assert is_zero(memoryview(b""))
