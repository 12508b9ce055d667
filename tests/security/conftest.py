"""What the tests of security have in common."""

from tests.virtual_disk.conftest import driver

__all__ = ["driver"]
