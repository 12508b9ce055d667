"""What a simulated Windows may do to a request: how long it takes, and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyvhdmp._win32 import constants

__all__ = ["NO_FAULTS", "Draw", "Draws", "Faults"]

_AT_ONCE: Final = 0.15
_EARLY: Final = 0.15


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong: chances from 0 to 1, of each request.

    `immediate_errors`: the call fails, and no packet comes. `errors`: it is pending,
    and then fails. `short_transfers`: fewer bytes than asked for, without an error.
    `warnings`: a status that is neither success nor error, and comes with a packet.
    `flush_errors`: a flush fails, and promises nothing. `stray_packets`: a packet that
    belongs to no request, or to one that is not over. `codes`: the Win32 codes to
    fail with.

    What Windows does on a good day (requests that are over before their call returns,
    that overtake each other, that can no longer be cancelled) needs no faults.
    """

    immediate_errors: float = 0.0
    errors: float = 0.0
    short_transfers: float = 0.0
    warnings: float = 0.0
    flush_errors: float = 0.0
    stray_packets: float = 0.0
    codes: Sequence[int] = (
        constants.ERROR_CRC,
        constants.ERROR_IO_DEVICE,
        constants.ERROR_GEN_FAILURE,
        constants.ERROR_NO_SYSTEM_RESOURCES,
    )

    def __post_init__(self) -> None:
        """Raise `ValueError` for what is no chance."""
        for name, chance in vars(self).items():
            if name != "codes" and not 0 <= chance <= 1:
                raise ValueError(f"{name} must be a chance from 0 to 1, not {chance!r}")

    @classmethod
    def of_every_kind(cls, chance: float = 0.01) -> Faults:
        """Return faults of every kind, each as likely."""
        return cls(chance, chance, chance, chance, chance, chance)


NO_FAULTS: Final = Faults()


@dataclass(frozen=True)
class Draw:
    """What has been drawn for one request. `share`: of its length that is transferred."""

    latency: int
    at_once: bool
    early: bool
    immediate_error: int
    error: int
    warning: bool
    share: float
    stray: bool
    stray_is_own: bool
    cancel_wins: bool
    pattern: int
    pause: int
    hands_over: bool


class Draws:
    """The draws of one seed, request by request.

    Requests, flushes and dequeues draw from a stream each, so the number of the one
    does not change the luck of the other.
    """

    def __init__(self, seed: int, latency: tuple[int, int], faults: Faults) -> None:
        self.faults = faults
        self.latency = latency
        self._requests = random.Random(f"{seed} requests")
        self._flushes = random.Random(f"{seed} flushes")
        self.power_cuts: random.Random = random.Random(f"{seed} power cuts")
        self.operations: random.Random = random.Random(f"{seed} operations")
        self._clock = random.Random(f"{seed} clock")

    def request(self) -> Draw:
        """Draw for a read, write or control."""
        chance, faults = self._requests, self.faults
        luck = chance.random
        style = luck()
        return Draw(
            latency=chance.randint(*self.latency),
            at_once=style < _AT_ONCE,
            early=_AT_ONCE <= style < _AT_ONCE + _EARLY,
            immediate_error=self._code(chance, faults.immediate_errors),
            error=self._code(chance, faults.errors),
            warning=luck() < faults.warnings,
            share=luck() if luck() < faults.short_transfers else 1.0,
            stray=luck() < faults.stray_packets,
            stray_is_own=luck() < 0.5,
            cancel_wins=luck() < 0.6,
            pattern=chance.randint(1, 255),
            pause=chance.randint(0, max(1, self.latency[0] // 16)),
            hands_over=luck() < 0.3,
        )

    def flush(self) -> tuple[int, int]:
        """Draw for a flush: how long it takes, and the code it fails with or 0."""
        chance = self._flushes
        return chance.randint(*self.latency), self._code(chance, self.faults.flush_errors)

    def slack(self) -> int:
        """Draw how much further than to the next event the clock moves."""
        return self._clock.choice((0, 0, self.latency[1] // 32, self.latency[1] // 8))

    def _code(self, chance: random.Random, likelihood: float) -> int:
        failed, code = chance.random() < likelihood, chance.choice(self.faults.codes)
        return code if failed else constants.ERROR_SUCCESS
