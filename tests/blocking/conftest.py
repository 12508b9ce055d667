"""The kinds of disk, as a fixture of every test here."""

from __future__ import annotations

from tests.disk.kinds import kind

__all__ = ["kind"]
