"""A disk whose requests stay in flight until a test lets them go on."""

from __future__ import annotations

from pyvhdmp import CompletionPort, OverlappedFile, RawDisk, UnmapBehavior
from tests.disk.kinds import SIZE
from tests.support import windows

__all__ = ["PipeDisk"]

SECTOR = 512
SECONDS = 60


class PipeDisk:
    """A disk over a pipe, whose reads pend until `feed` gives them their sectors."""

    def __init__(self, port: CompletionPort) -> None:
        server, client = windows.pipe_handles()
        self._writer = OverlappedFile(client, port=port)
        self.disk = RawDisk(
            OverlappedFile(server, port=port),
            path="pipe",
            size=SIZE,
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
            self._writer.write_at(b"\x77" * size, 0).result(SECONDS)

    def close(self) -> None:
        """Close both ends; that of the disk may be gone."""
        if hasattr(self, "disk"):
            self.disk.close(cancel=True)
        self._writer.close(cancel=True)
