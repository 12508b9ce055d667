"""Disks of each kind under anything that may be done to them, in any order."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext, suppress
from functools import partial
from typing import ClassVar, Final, TypeAlias

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from pyvhdmp import Backend, CompletionPort, Disk, VirtualDisk, open_disk
from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.disk.plan import plan
from pyvhdmp.vhd import Footer
from tests.support.history import SECTOR, Version
from tests.support.states import (
    FAULTS,
    PLACES,
    IoStates,
    fill,
    has_succeeded,
    pieces,
    run_states,
    scribble,
)

_PAGE: Final = PAGE_SIZE // SECTOR

Requested: TypeAlias = tuple[int, int, list[tuple[int, int]], str]

COUNTS: Final = st.sampled_from([1, 8, 0, 1, 7, 16, 65, 300])

SHAPES: Final = st.lists(
    st.tuples(
        st.sampled_from([1 << 20, 4096, 512, 12288, 100]),
        st.sampled_from([0, 0, 1, 512]),
    ),
    min_size=1,
    max_size=3,
)
"""Of the buffers of a request: each piece's size, and where in a page it begins."""

REQUESTS: Final = st.lists(st.tuples(PLACES, COUNTS, SHAPES, FAULTS), min_size=1, max_size=6)


class DiskStates(IoStates):
    """A disk."""

    backend: ClassVar[Backend]
    zeroed_by: ClassVar[str] = "DeviceIoControl"
    """The function by which `unmap` zeroes, none if it has no effect."""
    disk: Disk

    def open(self, port: CompletionPort) -> None:
        self.disk = open_disk(self.path, port=port, backend=self.backend)
        assert self.disk.sector_count == self.sectors

    def close(self, *, cancel: bool = False) -> None:
        self.disk.close(cancel=cancel)

    def flush(self) -> Future[None]:
        return self.disk.sync_cache()

    def _place(self, place: int, count: int) -> tuple[int, int]:
        count = min(count, self.sectors)
        return place % (self.sectors - count + 1), count

    def _fault(self, fault: str, buffers: list[memoryview], shapes: list[tuple[int, int]]) -> str:
        """Return the fault if the first call of the request is made while it is asked for."""
        if not buffers or self.setup.faults.short_transfers:
            return ""  # short transfers may also have had it opened without scatter/gather
        waits = self.setup.bounce_budget < 16 << 20 and not _is_direct(buffers, shapes)
        return "" if waits else fault

    @rule(requests=REQUESTS, fua=st.booleans())
    def write(self, requests: list[Requested], fua: bool) -> None:
        for request in requests:
            self._write(*request, fua)

    def _write(
        self, place: int, count: int, shapes: list[tuple[int, int]], fault: str, fua: bool
    ) -> None:
        sector, count = self._place(place, count)
        version = self.history.begin_write(sector, count)
        buffers = pieces(count * SECTOR, shapes)
        fill(buffers, self.history.data(version, sector, count))
        self.ask(
            f"write of {count} sectors from {sector}, fua={fua}",
            lambda: self.disk.write_vectored(buffers, sector, fua=fua),
            partial(self._written, version, buffers, fua),
            function="WriteFileGather" if _is_paged(buffers) else "WriteFile",
            fault=self._fault(fault, buffers, shapes),
            calls_once=_is_direct(buffers, shapes) and len(buffers) == 1 and not count % _PAGE,
            flushes=fua,
            needs_power=count > 0,
        )

    def _written(
        self, version: Version, buffers: list[memoryview], fua: bool, future: Future[None]
    ) -> None:
        scribble(buffers)
        self.history.end_write(version, succeeded=has_succeeded(future), promised=fua)

    @rule(requests=REQUESTS)
    def read(self, requests: list[Requested]) -> None:
        for request in requests:
            self._read(*request)

    def _read(self, place: int, count: int, shapes: list[tuple[int, int]], fault: str) -> None:
        sector, count = self._place(place, count)
        buffers = pieces(count * SECTOR, shapes)
        self.ask(
            f"read of {count} sectors from {sector}",
            lambda: self.disk.read_vectored(buffers, sector),
            partial(self._was_read, self.history.step(), sector, buffers),
            function="ReadFileScatter" if _is_paged(buffers) else "ReadFile",
            fault=self._fault(fault, buffers, shapes),
            calls_once=_is_direct(buffers, shapes) and len(buffers) == 1 and not count % _PAGE,
            needs_power=count > 0,
        )

    def _was_read(
        self, begun: int, sector: int, buffers: list[memoryview], future: Future[None]
    ) -> None:
        if has_succeeded(future):
            self.problem(self.history.check_read(begun, sector, b"".join(buffers)))
        self.has_read(buffers)

    @rule(place=PLACES, count=COUNTS, fault=FAULTS)
    def unmap(self, place: int, count: int, fault: str) -> None:
        sector, count = self._place(place, count)
        if not self.zeroed_by or not count:
            with nullcontext() if self.has_power else suppress(OSError):
                self.disk.unmap(sector, count).result()
            return
        version = self.history.begin_write(sector, count, zeros=True)
        self.ask(
            f"unmap of {count} sectors from {sector}",
            lambda: self.disk.unmap(sector, count),
            lambda future: self.history.end_write(version, succeeded=has_succeeded(future)),
            function=self.zeroed_by,
            fault="" if self.zeroed_by == "RawSCSIVirtualDisk" else fault,  # it is called later
        )


def _is_direct(buffers: list[memoryview], shapes: list[tuple[int, int]]) -> bool:
    """Whether the first call of a request is into the caller's own pages."""
    return bool(buffers) and len(buffers[0]) >= PAGE_SIZE and not shapes[0][1]


def _is_paged(buffers: list[memoryview]) -> bool:
    """Whether the first call of a request takes a list of pages: those that lie apart."""
    pins = Pins(buffers, writable=False)
    first = next(plan(zip(pins.addresses, pins.lengths, strict=True), SECTOR), None)
    pins.release()
    return first is not None and first.is_paged


class RawDiskStates(DiskStates):
    """A raw image."""

    backend: ClassVar[Backend] = "raw"


class FixedVhdStates(DiskStates):
    """A fixed VHD, without VHDMP."""

    backend: ClassVar[Backend] = "fixed-vhd"
    path = "disk.vhd"

    def make(self, sectors: int) -> int:
        size = sectors * SECTOR
        self.windows.files[self.path] = bytes(size) + Footer(size).pack()
        return sectors


class VhdmpStates(FixedVhdStates):
    """A fixed VHD, behind VHDMP."""

    backend: ClassVar[Backend] = "vhdmp"
    zeroed_by = ""

    def make(self, sectors: int) -> int:
        return super().make(6144)  # VHDMP has whole MiB only


class DynamicStates(DiskStates):
    """A dynamic VHDX, which takes SCSI's UNMAP, and here reads as zeros then."""

    backend: ClassVar[Backend] = "vhdmp"
    path = "disk.vhdx"
    zeroed_by = "RawSCSIVirtualDisk"

    def make(self, sectors: int) -> int:
        VirtualDisk.create_dynamic(self.path, 6144 * SECTOR, block_size=1 << 20).close()
        return 6144


@pytest.mark.parametrize("machine", [RawDiskStates, FixedVhdStates, VhdmpStates, DynamicStates])
def test_a_disk_keeps_its_promises_whatever_is_done_to_it(machine: type[DiskStates]) -> None:
    run_states(machine)
