"""The folder of everything that is set up, and how its parts are made.

1. Each part is made under a temporary name, under a lock, and renamed into place when it is
   complete. So a part that is there is whole, and concurrent first calls wait for one another.
2. A step of the set-up writes to a log in the folder, reads nothing, and dies with this process.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NEEDED_BYTES = 2 << 30

END_WITH_US = ["setpriv", "--pdeathsig", "KILL"]  # in front of a command, see rule 2


class SetupError(Exception):
    """Something is missing that the Windows Python needs; the message is one line."""


def say(message: str) -> None:
    print(f"winpython: {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Cache:
    folder: Path

    @classmethod
    def open(cls) -> Cache:
        named = os.environ.get("PYVHDMP_CACHE")
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.path.abspath(named or Path(base, "pyvhdmp")))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot make the cache: {error}") from error
        return cls(folder)

    @contextlib.contextmanager
    def making(self, part: Path, doing: str) -> Iterator[Path | None]:
        """Yield the temporary folder that becomes `part` on success, see rule 1.

        Or yield None when another call made it meanwhile.
        """
        with self.locked():
            if part.exists():
                yield None
                return
            say(f"{doing} ...")
            if shutil.disk_usage(self.folder).free < NEEDED_BYTES:
                raise SetupError(f"needs {NEEDED_BYTES >> 30} GiB of free space in {self.folder}")
            for old in part.parent.glob(f"{part.name}.part-*"):  # of a call that was killed
                shutil.rmtree(old, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{part.name}.part-", dir=part.parent))
            temporary.chmod(0o755)
            try:
                yield temporary
                temporary.rename(part)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with open(self.folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def step(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Run one command of the set-up, see rule 2."""
        if not shutil.which(command[0]):
            raise SetupError(f"needs the program {command[0]}")
        log = self.folder / f"{name}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*END_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
            try:
                process.wait()
            except BaseException:  # we are told to end
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise SetupError(f"{name} failed, see {log}")
