"""Imported by every Python that starts with this folder in its PYTHONPATH."""

import atexit

from tests.support.vhdx.host import genuine_vhdx

in_force = genuine_vhdx()
in_force.__enter__()
atexit.register(in_force.__exit__, None, None, None)
