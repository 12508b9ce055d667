"""Reads with many in flight, against pywin32: ReadFile, a thread on the port, a Future each."""

from __future__ import annotations

import site
import sys
import threading
import time
from concurrent.futures import Future
from typing import cast

import pyvhdmp
from tests.bench.floor import ours
from tests.bench.rounds import Keeper, interleaved, report
from tests.bench.windows import FLAGS, PAGE

for folder in list(sys.path):
    site.addsitedir(folder)  # pywin32.pth tells where the rest of it is

import pywintypes  # noqa: E402
import win32file  # noqa: E402

IO, START, STOP = 1, 2, 3


def pywin32(path: str, size: int, depth: int, count: int) -> float:
    """Return microseconds for each read."""
    handle = win32file.CreateFile(path, 0x80000000, 7, None, 3, FLAGS, None)
    port = win32file.CreateIoCompletionPort(win32file.INVALID_HANDLE_VALUE, None, 0, 1)
    win32file.CreateIoCompletionPort(handle, port, IO, 0)
    buffers = [pyvhdmp.PageBuffer(PAGE) for _ in range(depth)]
    overlappeds = [pywintypes.OVERLAPPED() for _ in range(depth)]
    blocks = size // PAGE

    def begin(slot: int, number: int) -> Future[int]:
        overlapped = overlappeds[slot]
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        offset = number % blocks * PAGE
        overlapped.Offset, overlapped.OffsetHigh = offset & 0xFFFFFFFF, offset >> 32
        overlapped.object = future
        code, _ = win32file.ReadFile(handle, buffers[slot], overlapped)
        if code not in (0, 997):
            raise OSError(code)
        return future

    keeper = Keeper(begin, depth, count)

    def run() -> None:
        dequeue = win32file.GetQueuedCompletionStatus
        while True:
            code, transferred, key, overlapped = dequeue(port, -1)
            if key == IO:
                future = cast("Future[int]", overlapped.object)
                if code:
                    future.set_exception(OSError(code))
                else:
                    future.set_result(transferred)
            elif key == START:
                keeper.start()
            else:
                return

    thread = threading.Thread(target=run)
    thread.start()
    began = time.perf_counter()
    win32file.PostQueuedCompletionStatus(port, 0, START, None)
    keeper.wait()
    seconds = time.perf_counter() - began
    win32file.PostQueuedCompletionStatus(port, 0, STOP, None)
    thread.join()
    handle.Close()
    port.Close()
    return seconds / count * 1e6


def main(path: str, size: int, depth: int, count: int, rounds: int) -> None:
    """Measure, and report."""
    pairs = interleaved(
        lambda: ours(path, size, depth, 1, count),
        lambda: pywin32(path, size, depth, count),
        rounds,
    )
    report("us per read", {"": pairs})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
