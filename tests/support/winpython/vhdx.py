"""What WINPYTHON_VHDX asks for: the helper for genuine VHDX, for as long as the program runs."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from tests.support.vhdx import FOLDER, HELPER
from tests.support.vhdx.exports import FUSE, NEEDED
from tests.support.winpython.cache import Cache, SetupError
from tests.support.winpython.host import install
from tests.support.winpython.python import windows_path

HELPER_SECONDS = 60  # for its end, with all of its exports


@contextlib.contextmanager
def vhdx_environment(cache: Cache, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the program's environment, with a helper if it is wanted."""
    if os.environ.get("WINPYTHON_VHDX", "0") in ("", "0"):
        yield dict(environment)
        return
    if not FUSE.exists():
        raise SetupError(f"WINPYTHON_VHDX needs {FUSE}")
    if not all(map(shutil.which, NEEDED)):
        with cache.locked():
            install(cache, "qemu-system-common", "qemu-utils", "fuse3")
    process = subprocess.Popen(
        [sys.executable, "-IS", str(FOLDER / "__main__.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a terminal's Ctrl+C is the program's alone
    )
    assert process.stdin
    assert process.stdout
    try:
        where = process.stdout.readline().strip()
        if not where:
            raise SetupError("the helper for VHDX images does not start")
        yield {
            **environment,
            HELPER: where,
            "PYTHONPATH": f"{windows_path(str(FOLDER / 'startup'))};{environment['PYTHONPATH']}",
        }
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(HELPER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
