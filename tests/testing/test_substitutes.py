"""Substitutes, and the port that the process shares."""

from __future__ import annotations

from pyvhdmp import CompletionPort
from pyvhdmp.testing import SimulatedWindows, substituted


def test_the_default_port_is_that_of_before_when_a_block_is_left() -> None:
    with SimulatedWindows():
        outer = CompletionPort.default()
        with substituted():
            assert CompletionPort.default() is not outer
        assert CompletionPort.default() is outer
        assert not outer.closed


def test_a_default_port_that_nobody_uses_any_more_is_not_left_open() -> None:
    with SimulatedWindows():
        with substituted():
            CompletionPort.default()
        CompletionPort.default()
