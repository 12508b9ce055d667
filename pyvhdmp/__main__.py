"""``python -m pyvhdmp COMMAND``."""

from __future__ import annotations

import sys

from pyvhdmp.cli import run

if __name__ == "__main__":
    sys.exit(run())
