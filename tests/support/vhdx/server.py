"""The helper: answers what a program asks about VHDX images.

1. Its standard input is a pipe that nothing is written to, and its end is the helper's. So it
   ends with the call of tests/winpython that started it, whatever ends that, and its exports
   with it.
2. Its first and only line of output is `PORT SECRET`. Who asks tells the secret.
3. A connection is one request and its answer, each a JSON object on a line; one at a time.
4. What Windows would refuse is answered with the name of its error, anything else that goes
   wrong with a traceback.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import dataclasses
import json
import secrets
import select
import shutil
import signal
import socket
import tempfile
import traceback
from pathlib import Path
from typing import Any, Final

from tests.support.vhdx import images
from tests.support.vhdx.exports import Exports

_SECONDS: Final = 10


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="winpython-vhdx-"))
    exports = Exports(folder)
    try:
        serve(Requests(exports))
    finally:
        exports.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class Requests:
    """What can be asked, each a method."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports

    def create(self, path: str, **wanted: Any) -> dict[str, Any]:
        images.create(Path(path), **wanted)
        return {}

    def facts(self, path: str) -> dict[str, Any]:
        return dataclasses.asdict(images.facts(Path(path)))

    def allocated(self, path: str) -> dict[str, Any]:
        return {"bytes": Path(path).stat().st_blocks * 512}

    def export(self, path: str, writable: bool) -> dict[str, Any]:
        number, payload = self._exports.start(Path(path), writable=writable)
        return {"number": number, "payload": str(payload)}

    def release(self, number: int) -> dict[str, Any]:
        self._exports.stop(number)
        return {}


def serve(requests: Requests) -> None:
    secret = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], secret, flush=True)
        while sys.stdin not in (ready := select.select([server, sys.stdin], [], [])[0]):
            assert server in ready
            connection, _ = server.accept()
            with connection, connection.makefile("rw", encoding="utf-8") as lines:
                connection.settimeout(_SECONDS)
                try:
                    request = json.loads(lines.readline())
                    if secrets.compare_digest(str(request.pop("secret")), secret):
                        print(json.dumps(answer(requests, request)), file=lines, flush=True)
                except (OSError, ValueError, KeyError):
                    continue  # a stranger, or one who died


def answer(requests: Requests, request: dict[str, Any]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = getattr(requests, request.pop("do"))(**request)
    except images.Refused as refused:
        return {"error": str(refused)}
    except Exception:
        return {"failure": traceback.format_exc()}
    return result
