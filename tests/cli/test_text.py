"""Sizes, rates and times as text."""

from __future__ import annotations

import re

import pytest

from pyvhdmp.cli.text import format_rate, format_seconds, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("256K", 256 << 10),
        ("256k", 256 << 10),
        ("1M", 1 << 20),
        ("10G", 10 << 30),
        ("10GB", 10 << 30),
        ("10GiB", 10 << 30),
        ("10g", 10 << 30),
        ("512K", 512 << 10),
        ("1.5G", 3 << 29),
        ("1.5gib", 3 << 29),
        ("0.25K", 256),
        (" 2T ", 2 << 40),
    ],
)
def test_sizes_are_read_in_units_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "K", "-1", "1.5", "1.5B", ".5G", "1.G", "1,5G", "10X", "0x10", "1 G", "1GiBs", "²"]
)
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    said = f"{text!r} is no size, such as 4096, 512K, 1.5G or 10GiB"
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_size(text)


@pytest.mark.parametrize("text", ["1.1K", "0.0001K", "1.3333G"])
def test_what_is_no_whole_number_of_bytes_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text!r} is no whole number of bytes, such as 512K"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 << 20, "1.5 GiB"),
        (1 << 62, "4096.0 PiB"),
    ],
)
def test_sizes_are_written_with_one_decimal(size: int, text: str) -> None:
    assert format_size(size) == text


def test_rates_and_times() -> None:
    assert format_rate(10 << 20, 2) == "5.0 MiB/s"
    assert format_rate(10, 0) == "0 B/s"
    assert [format_seconds(s) for s in (0, 59.4, 61, 3600, 36061)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]
