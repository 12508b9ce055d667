"""The disks in images, each as a file that qemu-storage-daemon has mounted.

1. An export is a process. It ends when it is told to, by its id, and closes its image first; it
   is told so too if this process dies. So it must be started by the main thread.
2. A file that is an export has another device than its folder.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import json
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.support.vhdx.images import Refused

NEEDED: Final = ("qemu-storage-daemon", "qemu-img")  # the programs
FUSE: Final = Path("/dev/fuse")
_SECONDS: Final = 60


class ExportError(Exception):
    """QEMU cannot export here; the message is what it says."""


class Exports:
    """Disks as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._last = 0

    def start(self, image: Path, *, writable: bool) -> tuple[int, Path]:
        """Export the disk in an image; return a number to stop it by, and the file."""
        self._last += 1
        path, log = self._payload(self._last), self._folder / f"{self._last}.log"
        path.touch()
        node = {
            "driver": "vhdx",
            "node-name": "disk",
            "read-only": not writable,
            "file": {"driver": "file", "filename": str(image)},
        }
        export = {
            "type": "fuse",
            "id": "export",
            "node-name": "disk",
            "mountpoint": str(path),
            "writable": writable,
        }
        command = ["qemu-storage-daemon", "--blockdev", json.dumps(node)]
        command += ["--export", json.dumps(export)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes[self._last] = process
        try:
            self._wait(path, log, process)
        except BaseException:
            self.stop(self._last)
            raise
        return self._last, path

    def stop(self, number: int) -> None:
        """End an export, if there is one, and return when its image is closed."""
        process = self._processes.pop(number, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        path = self._payload(number)
        if process.returncode:  # it may have left its mount behind
            command = ["umount", "--lazy", str(path)]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        path.unlink()

    def stop_all(self) -> None:
        """End all exports."""
        for process in self._processes.values():
            process.terminate()
        for number in list(self._processes):
            self.stop(number)

    def _payload(self, number: int) -> Path:
        return self._folder / str(number)

    def _wait(self, path: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
        """Return when the disk is there."""
        device = self._folder.stat().st_dev
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip()
                if " lock" in said:
                    raise Refused("ERROR_SHARING_VIOLATION")
                if ": --blockdev " in said:
                    raise Refused("ERROR_FILE_CORRUPT")
                raise ExportError(said)
            try:
                if path.stat().st_dev != device:
                    return
            except OSError:
                pass  # it has died between mounting and serving
            time.sleep(0.002)
        raise ExportError(f"no export after {_SECONDS} s")
