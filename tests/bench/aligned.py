"""The bytes that Python copies when buffers are page-aligned: counted, wherever it could."""

from __future__ import annotations

import sys
from unittest import mock

import pyvhdmp
from pyvhdmp._win32.memory import copy_memory
from pyvhdmp.buffers import BouncePool
from pyvhdmp.disk import plan
from tests.bench.rounds import report
from tests.bench.windows import PAGE


def main(path: str) -> None:
    """Write and read 64 MiB in several shapes, and report what was copied."""
    copied = 0

    def counting(target: int, source: int, length: int) -> None:
        nonlocal copied
        copied += length
        copy_memory(target, source, length)

    size = 64 << 20
    pyvhdmp.make_fixed_vhd(path, size)
    with (
        mock.patch.object(plan, "copy_memory", counting),
        mock.patch.object(BouncePool, "take", side_effect=AssertionError("memory to bounce")),
        pyvhdmp.open_disk(path, backend="fixed-vhd") as disk,
    ):
        buffer = memoryview(pyvhdmp.PageBuffer(size))
        pages = [buffer[at:][:PAGE] for at in range(0, size, 2 * PAGE)]
        for buffers in ([buffer], pages):
            disk.write_vectored(buffers, 0).result()
            disk.read_vectored(buffers, 0).result()
        moved = disk.counters.bytes_read + disk.counters.bytes_written
        assert moved == 3 * size, "bytes read and written"
        copied += disk.counters.bytes_bounced
    report("bytes copied", {"": [(copied, 1)]})


if __name__ == "__main__":
    main(sys.argv[1])
