"""On Windows the Windows Python is the running interpreter; only its PYTHONPATH is set."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence

from tests.support.winpython import CHECKOUT


def main(arguments: Sequence[str]) -> int:
    paths = [os.environ.get("PYTHONPATH"), str(CHECKOUT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    child = subprocess.Popen([sys.executable, *arguments], env=environment)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the child gets it too, and decides
            return child.wait()
