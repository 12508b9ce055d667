"""The package's log: the logger "pyvhdmp", silent until a program wants to hear it.

INFO tells what became of what was asked for: which way a disk was opened, and why not
another; DEBUG tells which handles were opened and closed. No single request is logged.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["logger"]

logger: Final = logging.getLogger("pyvhdmp")
logger.addHandler(logging.NullHandler())
