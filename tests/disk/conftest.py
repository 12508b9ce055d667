"""The kinds of disk, and disks of them, as fixtures of every test here."""

from __future__ import annotations

from tests.disk.kinds import disk, kind, kind_or_slice

__all__ = ["disk", "kind", "kind_or_slice"]
