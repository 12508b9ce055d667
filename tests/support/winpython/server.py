"""The Wine server, which lives between calls and makes their starts fast.

1. A server, and the services that its first program starts, keep the descriptors they were
   started with for as long as they live. So a server is always started here, without the
   caller's; else who reads our output to its end would wait for the server's.
2. A server ends by itself when it had no program for SERVER_IDLE_SECONDS. So it will not end on
   us when another call is running, or when the last one was recent.
3. Every call holds the prefix's file `use` locked, shared, and its time is that of the last
   call's start or end. Who gets hold of it alone, and finds it old or no server alive, starts
   the server anew.
4. The server inherits the lock of the prefix's file `life`, and so holds it until its end.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tests.support.winpython.cache import SetupError, say
from tests.support.winpython.wine import Wine

SERVER_IDLE_SECONDS = 300


@contextlib.contextmanager
def join_server(wine: Wine) -> Iterator[None]:
    """Have a server for the prefix from before the caller's program starts until it has ended."""
    with open(wine.prefix / ".winpython-use", "a") as use:
        while True:
            if lock_alone(use) and not (recent(use) and server_lives(wine)):
                start_server(wine)
            fcntl.flock(use, fcntl.LOCK_SH)
            if server_lives(wine):
                break
            time.sleep(0.1)  # it has died, and the programs of other calls are dying with it
        os.utime(use.fileno())
        try:
            yield
        finally:
            os.utime(use.fileno())


def lock_alone(use: IO[str]) -> bool:
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def recent(use: IO[str]) -> bool:
    return 0 <= time.time() - os.fstat(use.fileno()).st_mtime < SERVER_IDLE_SECONDS / 2


def server_lives(wine: Wine) -> bool:
    with open(wine.prefix / ".winpython-life", "a") as life:
        try:
            fcntl.flock(life, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def start_server(wine: Wine) -> None:
    """Start the server and, with a trivial program, the services, see rule 1."""
    if server_lives(wine):
        call(wine, wine.server, "--kill")
    with open(wine.prefix / ".winpython-life", "a") as life:
        fcntl.flock(life, fcntl.LOCK_EX)
        idle = f"--persistent={SERVER_IDLE_SECONDS}"
        call(wine, wine.server, idle, inherit=[life.fileno()])
    if not (wine.prefix / "system.reg").exists():
        say(f"booting Wine in {wine.prefix} ...")
    if not server_lives(wine):
        raise SetupError(f"cannot start a Wine server for {wine.prefix}; does another one run?")
    call(wine, wine.loader, "wineboot")


def call(wine: Wine, *command: str | Path, inherit: Sequence[int] = ()) -> None:
    """Run a program of Wine that inherits none of the caller's descriptors."""
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=inherit,
        env=wine.environment(),
        cwd="/",
    )
