"""The kinds of disk, as fixtures of every test here."""

from __future__ import annotations

from tests.disk.kinds import kind, kind_or_slice

__all__ = ["kind", "kind_or_slice"]
