"""Arguments that are wrong whatever the disk is."""

from __future__ import annotations

from pyvhdmp.checks import whole_number
from pyvhdmp.errors import InvalidInputError

__all__ = ["positive"]


def positive(value: int, name: str) -> int:
    """Return an integer. Raises `InvalidInputError` for one that is not positive."""
    value = whole_number(value, name)
    if value < 1:
        raise InvalidInputError.because(f"{name} must be positive, not {value}")
    return value
