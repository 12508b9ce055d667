"""Arguments of the wrong type: a `TypeError` that names the parameter.

Python's own, and ctypes', name at best the type; some come from deep inside, and some
values are taken for something else (`bytes(3)` is three zeros).
"""

from __future__ import annotations

import operator
import uuid
from typing import TYPE_CHECKING, SupportsIndex, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["identity", "instance", "octets", "whole_number"]

T = TypeVar("T")


def whole_number(value: SupportsIndex, name: str) -> int:
    """Return an integer, of whatever type."""
    try:
        return operator.index(value)
    except TypeError:
        raise _refused(name, "an int", value) from None


def instance(value: T, kind: type[T], name: str) -> T:
    """Return what is of a type, and is not made of anything else."""
    if not isinstance(value, kind):
        raise _refused(name, f"a {kind.__name__}", value)
    return value


def identity(value: uuid.UUID, name: str) -> uuid.UUID:
    """Return a UUID."""
    if not isinstance(value, uuid.UUID):
        raise _refused(name, "a uuid.UUID", value)
    return value


def octets(value: Buffer, name: str) -> bytes:
    """Return the bytes of anything that has the buffer protocol."""
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise _refused(name, "bytes or another buffer", value) from None


def _refused(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
