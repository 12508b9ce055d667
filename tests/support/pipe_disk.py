"""A disk over a pipe: its reads pend until they are fed, which those of files do not on Wine."""

from __future__ import annotations

from typing import Final

from pyvhdmp import CompletionPort, OverlappedFile, UnmapBehavior
from pyvhdmp.disk import RawDisk
from tests.support import windows

SECTOR: Final = 512
SECTORS: Final = 6144

_SECONDS: Final = 60


class PipeDisk:
    """A disk over a pipe, whose reads pend until `feed` gives them their sectors."""

    def __init__(self, port: CompletionPort) -> None:
        server, client = windows.pipe_handles()
        self._writer = OverlappedFile(client, port=port)
        self.disk = RawDisk(
            OverlappedFile(server, port=port),
            path="pipe",
            size=SECTORS * SECTOR,
            sector_size=SECTOR,
            physical_sector_size=SECTOR,
            disk_id=None,
            read_only=False,
            scatter=False,
            unmap_behavior=UnmapBehavior.IGNORED,
        )

    def feed(self, reads: int = 1, *, size: int = SECTOR) -> None:
        """Let as many reads of that size be done."""
        for _ in range(reads):
            self._writer.write_at(b"\x77" * size, 0).result(_SECONDS)

    def close(self) -> None:
        """Close both ends; that of the disk may be gone."""
        if hasattr(self, "disk"):
            self.disk.close(cancel=True)
        self._writer.close(cancel=True)
