"""The program's run, with the caller's standard descriptors and signals.

1. A Python on Wine dies when a standard handle is a terminal. So a terminal is replaced by a pipe
   that is relayed to it; other descriptors are handed on untouched.
2. SIGINT becomes the program's Ctrl+C, once, and the program decides. SIGTERM and SIGHUP end it.
3. The program dies with this process, whatever ends it.
4. The exit code is the one a shell would give, so also for a program that ends of its Ctrl+C.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from tests.support.winpython.cache import END_WITH_US

CONTROL_C_EXIT = 0xC000013A & 0xFF  # what Linux passes on of it


def open_standard_descriptors() -> None:
    """Open those of the descriptors 0 to 2 that are closed, lest another file gets their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    child = subprocess.Popen(
        [*END_WITH_US, *command],
        stdin=subprocess.DEVNULL if os.isatty(0) else None,
        stdout=subprocess.PIPE if os.isatty(1) else None,
        stderr=subprocess.PIPE if os.isatty(2) else None,
        env=environment,
        start_new_session=True,  # so that a terminal's Ctrl+C reaches it by us alone
    )
    forwarded = forward_signals(child)
    ended = threading.Event()
    relays = [
        threading.Thread(target=relay, args=(source, target, ended))
        for source, target in ((child.stdout, 1), (child.stderr, 2))
        if source
    ]
    for thread in relays:
        thread.start()
    code = child.wait()
    ended.set()
    for thread in relays:
        thread.join()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if number in forwarded:
            return 128 + number
    if signal.SIGINT in forwarded and code == CONTROL_C_EXIT:
        return 128 + signal.SIGINT
    return code if code >= 0 else 128 - code


def forward_signals(child: subprocess.Popen[bytes]) -> set[int]:
    """Forward signals as rule 2 says; return the set of those that came, which grows."""
    forwarded: set[int] = set()

    def forward(number: int, _frame: object) -> None:
        forwarded.add(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT if number == signal.SIGINT else signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    return forwarded


def relay(source: IO[bytes], target: int, ended: threading.Event) -> None:
    """Copy what the program writes, until it has ended and nothing is left."""
    descriptor = source.fileno()
    with contextlib.suppress(OSError):  # the terminal is gone
        while True:
            if select.select([descriptor], [], [], 0.1)[0]:
                data = os.read(descriptor, 1 << 16)
                if not data:
                    return
                while data:
                    data = data[os.write(target, data) :]
            elif ended.is_set():
                return
