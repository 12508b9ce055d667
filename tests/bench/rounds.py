"""Taking turns, and keeping requests in flight: what the measuring programs share."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

__all__ = ["Begin", "Keeper", "interleaved", "report"]

Measure: TypeAlias = Callable[[], float]
"""Does it once; returns its cost, in any unit."""

Begin: TypeAlias = Callable[[int, int], "Future[int] | Future[None]"]
"""Begins the request of a given number with the buffers of a given slot."""


def interleaved(ours: Measure, other: Measure, rounds: int) -> list[tuple[float, float]]:
    """Return the cost of both in each round; a first round, which is slower, is left out."""
    pairs = []
    for number in range(rounds + 1):
        # Whoever comes second finds caches and kernel as the first has left them.
        if number % 2:
            mine, others = ours(), other()
        else:
            others, mine = other(), ours()
        pairs.append((mine, others))
    return pairs[1:]


def report(unit: str, measured: dict[str, list[tuple[float, float]]]) -> None:
    """Print what was measured, for the program that collects it."""
    sys.stdout.write(json.dumps({"unit": unit, "measured": measured}) + "\n")


class Keeper:
    """Keeps `depth` requests in flight until `count` are finished.

    Each request is begun by the callback of the one before it in its slot, so on the thread
    that finishes them: that costs no change of threads.
    """

    def __init__(self, begin: Begin, depth: int, count: int) -> None:
        self._begin = begin
        self._depth = depth
        self._count = count
        self._begun = self._finished = 0
        self._over = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin as many as may be in flight. On the thread that finishes them."""
        for slot in range(self._depth):
            self._chain(slot)

    def wait(self) -> None:
        """Wait for the last request; raise the first error."""
        assert self._over.wait(120), "the requests do not come to an end"
        if self._error is not None:
            raise self._error

    def _chain(self, slot: int) -> None:
        """Begin the first of the requests that take turns in a slot."""
        begin, count = self._begin, self._count

        def done(future: Future[int] | Future[None]) -> None:
            self._finished += 1
            try:
                future.result()
                if self._begun < count:
                    following()
                elif self._finished == self._begun:
                    self._over.set()
            except BaseException as error:
                self._error = error
                self._over.set()

        def following() -> None:
            number = self._begun
            self._begun += 1
            begin(slot, number).add_done_callback(done)

        following()
