"""An `OverlappedFile` under anything that may be done to it, in any order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pyvhdmp import CompletionPort
from pyvhdmp._win32 import constants
from pyvhdmp._win32.structures import FILE_ZERO_DATA_STRUCT
from pyvhdmp.buffers import PAGE_SIZE
from pyvhdmp.overlapped import OverlappedFile
from tests.support import windows
from tests.support.history import SECTOR
from tests.support.states import (
    FAULTS,
    PLACES,
    IoStates,
    aligned,
    fill,
    has_succeeded,
    pieces,
    run_states,
    scribble,
)

COUNTS: Final = st.sampled_from([1, 8, 2, 7, 64, 300])
PAGES: Final = st.sampled_from([1, 2, 7, 300])  # 300: more than a slot has room for
SHIFTS: Final = st.sampled_from([0, 512, 3584])
SHAPES: Final = st.lists(
    st.tuples(st.sampled_from([PAGE_SIZE, 2 * PAGE_SIZE, 5 * PAGE_SIZE]), st.just(0)),
    min_size=1,
    max_size=2,
)

REQUESTS: Final = st.lists(st.tuples(PLACES, COUNTS, SHIFTS, FAULTS), min_size=1, max_size=6)
PAGE_REQUESTS: Final = st.lists(st.tuples(PLACES, PAGES, SHAPES, FAULTS), min_size=1, max_size=6)

Requested: TypeAlias = tuple[int, int, int, str]
PagesRequested: TypeAlias = tuple[int, int, list[tuple[int, int]], str]


class FileStates(IoStates):
    """An unbuffered file."""

    file: OverlappedFile

    def open(self, port: CompletionPort) -> None:
        handle = windows.create_file(self.path, unbuffered=True)
        self.file = OverlappedFile(handle, port=port)

    def close(self, *, cancel: bool = False) -> None:
        self.file.close(cancel=cancel)

    def flush(self) -> Future[None]:
        return self.file.flush()

    def _place(self, place: int, count: int) -> tuple[int, int]:
        count = min(count, self.sectors)
        return place % (self.sectors - count + 1), count

    @rule(requests=REQUESTS)
    def read_at(self, requests: list[Requested]) -> None:
        for place, count, shift, fault in requests:
            sector = place % (self.sectors + 8)  # also across the end of the file, and beyond it
            buffer = aligned(count * SECTOR, shift)
            begin = partial(self.file.read_at, buffer, sector * SECTOR)
            self._ask_to_read("ReadFile", begin, sector, [buffer], fault)

    @rule(requests=PAGE_REQUESTS)
    def read_scatter_at(self, requests: list[PagesRequested]) -> None:
        for place, pages, shapes, fault in requests:
            sector = place % (self.sectors + 8)
            buffers = pieces(pages * PAGE_SIZE, shapes)
            begin = partial(self.file.read_scatter_at, buffers, sector * SECTOR)
            self._ask_to_read("ReadFileScatter", begin, sector, buffers, fault)

    def _ask_to_read(
        self,
        function: str,
        begin: Callable[[], Future[int]],
        sector: int,
        buffers: list[memoryview],
        fault: str,
    ) -> None:
        begun, wanted = self.history.step(), sum(map(len, buffers))
        there_is = max(0, min(wanted, (self.sectors - sector) * SECTOR))

        def ended(future: Future[int]) -> None:
            self.has_read(buffers)
            if has_succeeded(future):
                data = b"".join(buffers)[: future.result()]
                self._check_length(what, len(data), there_is)
                self.problem(self.history.check_read(begun, sector, data))

        what = f"{function} of {wanted} bytes from sector {sector}"
        self.ask(what, begin, ended, function=function, fault=fault)

    @rule(requests=REQUESTS)
    def write_at(self, requests: list[Requested]) -> None:
        for place, wanted, shift, fault in requests:
            sector, count = self._place(place, wanted)
            buffer = aligned(count * SECTOR, shift)
            begin = partial(self.file.write_at, buffer, sector * SECTOR)
            self._ask_to_write("WriteFile", begin, sector, [buffer], fault)

    @rule(requests=PAGE_REQUESTS)
    def write_gather_at(self, requests: list[PagesRequested]) -> None:
        for place, pages, shapes, fault in requests:
            sector, count = self._place(place, pages * PAGE_SIZE // SECTOR)
            buffers = pieces(count * SECTOR, shapes)
            begin = partial(self.file.write_gather_at, buffers, sector * SECTOR)
            self._ask_to_write("WriteFileGather", begin, sector, buffers, fault)

    def _ask_to_write(
        self,
        function: str,
        begin: Callable[[], Future[int]],
        sector: int,
        buffers: list[memoryview],
        fault: str,
    ) -> None:
        count = sum(map(len, buffers)) // SECTOR
        version = self.history.begin_write(sector, count)
        fill(buffers, self.history.data(version, sector, count))

        def ended(future: Future[int]) -> None:
            scribble(buffers)
            written = future.result() if has_succeeded(future) else 0
            if has_succeeded(future):
                self._check_length(what, written, count * SECTOR)
            self.history.end_write(version, succeeded=written == count * SECTOR)

        what = f"{function} of {count} sectors from {sector}"
        self.ask(what, begin, ended, function=function, fault=fault)

    @rule(place=PLACES, count=COUNTS, fault=FAULTS)
    def zero(self, place: int, count: int, fault: str) -> None:
        sector, count = self._place(place, count)
        version = self.history.begin_write(sector, count, zeros=True)
        named = FILE_ZERO_DATA_STRUCT.pack(sector * SECTOR, (sector + count) * SECTOR)
        control = aligned(len(named))
        fill([control], named)

        def ended(future: Future[int]) -> None:
            scribble([control])
            self.history.end_write(version, succeeded=has_succeeded(future))
            if has_succeeded(future):
                self._check_length("zeroing", future.result(), 0)

        self.ask(
            f"zeroing of {count} sectors from {sector}",
            lambda: self.file.device_io_control(constants.FSCTL_SET_ZERO_DATA, control),
            ended,
            function="DeviceIoControl",
            fault=fault,
        )

    @rule()
    def cancel_the_file(self) -> None:
        self.cancel_all(self.file.cancel)

    def check_at_rest(self) -> None:
        super().check_at_rest()
        confirmed = sum("-> 0xc0000120," in line for line in self.windows.trace)
        assert self.times_cancelled == confirmed, "whether it was cancelled Windows decides"

    def _check_length(self, what: str, transferred: int, expected: int) -> None:
        is_short = transferred < expected and self.setup.faults.short_transfers
        if transferred != expected and not is_short:
            self.problem(f"{what} transferred {transferred} bytes, and not {expected}")


def test_a_file_keeps_its_promises_whatever_is_done_to_it() -> None:
    run_states(FileStates)
