"""The kinds of disk, as a fixture."""

from __future__ import annotations

from tests.disk.kinds import kind

__all__ = ["kind"]
