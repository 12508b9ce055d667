"""A simulated Windows: kernel32, ntdll and virtdisk, their kernel, and a volume.

    with SimulatedWindows(seed=7, faults=Faults.of_every_kind(0.01)) as windows:
        windows.files["disk.img"] = bytes(1 << 20)
        with pyvhdmp.open_disk("disk.img") as disk:
            disk.write(0, b"\\x55" * 512, fua=True).result()
        windows.power_cut()
        assert windows.files["disk.img"][:512] == b"\\x55" * 512

Rules:

1. The seed decides everything. A program that calls from one thread sees the same
   order twice; one with many threads sees orders that Windows might show it.
2. Time is simulated (`clock`), and nothing waits longer than it takes to compute.
3. Only addresses, numbers and names come in, through the C calling convention.
4. What a caller does that Windows would punish silently fails the with block, with a
   `SimulationError` that lists it. So does what is left open at its end.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, cast

from pyvhdmp import _win32
from pyvhdmp._win32 import constants
from pyvhdmp._win32 import memory as _memory
from pyvhdmp.checks import instance, octets, whole_number
from pyvhdmp.completion import CompletionPort
from pyvhdmp.testing import statuses
from pyvhdmp.testing.advapi32 import SimulatedAdvapi32
from pyvhdmp.testing.devices import PipeEnd
from pyvhdmp.testing.draws import NO_FAULTS, Draws, Faults
from pyvhdmp.testing.entry import SimulatedDll, SwitchBoard
from pyvhdmp.testing.io_manager import Action, IoManager, StorageDevice
from pyvhdmp.testing.kernel import CallFailed, FileObject, Kernel
from pyvhdmp.testing.kernel32 import SimulatedKernel32
from pyvhdmp.testing.memory import copy_in
from pyvhdmp.testing.ntdll import SimulatedNtdll
from pyvhdmp.testing.virtdisk import SimulatedVirtdisk
from pyvhdmp.testing.volume import Volume, full_path
from pyvhdmp.testing.volume_host import VolumeHost

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["SimulatedFiles", "SimulatedWindows", "SimulationError"]


class SimulationError(AssertionError):
    """What the code under test did to a simulated Windows that it must not do to any."""


class SimulatedFiles(MutableMapping[str, bytes]):
    """The files of a simulated Windows, put in and taken out as bytes, by path.

    A file that is put in is on the medium at once, with the folders above it. What is
    taken out is what programs would read, flushed or not. Names are as on Windows:
    case does not matter, and they are relative to ``C:\\``.
    """

    def __init__(self, kernel: Kernel, volume: Volume) -> None:
        self._kernel = kernel
        self._volume = volume

    def __repr__(self) -> str:
        return f"<SimulatedFiles {list(self)}>"

    def __getitem__(self, path: str) -> bytes:
        path = os.fspath(path)
        with self._kernel.entered():
            file = self._volume.find(path)
            if file is None:
                raise KeyError(path)
            return file.read(0, file.size)

    def __setitem__(self, path: str, content: bytes) -> None:
        path, raw = os.fspath(path), octets(content, "the content of a file")
        with self._kernel.entered():
            self._check_closed(path)
            self._volume.put(path, raw)

    def __delitem__(self, path: str) -> None:
        path = os.fspath(path)
        with self._kernel.entered():
            if self._volume.find(path) is None:
                raise KeyError(path)
            self._check_closed(path)
            self._volume.remove_from_outside(path)

    def __iter__(self) -> Iterator[str]:
        with self._kernel.entered():
            return iter(list(self._volume.paths()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def make_sparse(self, path: str, size: int) -> None:
        """Put in a file of `size` bytes of zeros, which takes no memory.

        Raises `ValueError` if there is one of that path, and it is open.
        """
        size = whole_number(size, "size")
        with self._kernel.entered():
            self._check_closed(path)
            self._volume.put(path, b"")
            file = self._volume.find(path)
            assert file is not None
            file.size = file.medium_size = size

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it."""
        with self._kernel.entered():
            self._volume.make_folder(path)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of this name."""
        return self._volume.is_folder(path)

    def set_read_only(self, path: str, read_only: bool = True) -> None:
        """Set the attribute that keeps a file from being written.

        Raises `KeyError` if there is no such file.
        """
        with self._kernel.entered():
            file = self._volume.find(path)
            if file is None:
                raise KeyError(path)
            file.is_read_only = read_only

    def _check_closed(self, path: str) -> None:
        file = self._volume.find(path)
        if any(file in other.uses for other in self._kernel.files()):
            raise ValueError(f"{full_path(path)} is open: it has to be closed first")


class SimulatedWindows:
    """A Windows that the whole package runs on for the length of a with block.

    `seed` decides everything that is left to chance. `latency`: the least and the most
    time that the medium takes for a request, in seconds of simulated time. `faults`:
    what goes wrong, and how often. `depth`: requests that the device works on at a time.
    `sector_size`: of the volume. `cache_size`: bytes that the device's cache holds until
    they are flushed or make room. `vhdmp`: whether there is a driver for virtual disks, and
    `elevated`: whether the process may attach them. `trace_length`: lines of `trace` that
    are kept.

    Raises `SimulationError` at the end of the block for what the code under test did
    that it must not have, and the exceptions that came up inside the simulation.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: tuple[float, float] = (50e-6, 2e-3),
        faults: Faults | None = None,
        depth: int = 32,
        sector_size: int = 512,
        cache_size: int = 16 * 1024 * 1024,
        vhdmp: bool = True,
        elevated: bool = True,
        trace_length: int = 100_000,
    ) -> None:
        self.seed: int = whole_number(seed, "seed")
        low, high = _nanoseconds(latency)
        if faults is not None:
            instance(faults, Faults, "faults")
        if whole_number(depth, "depth") < 1:
            raise ValueError(f"depth must be at least 1, not {depth!r}")
        self._draws = Draws(seed, (low, high), faults or NO_FAULTS)
        self._kernel = Kernel(self._draws, trace_length=whole_number(trace_length, "trace_length"))
        self._io = IoManager(self._kernel, depth=depth)
        self._volume = Volume(
            whole_number(cache_size, "cache_size"), whole_number(sector_size, "sector_size")
        )
        self._board = SwitchBoard(self._kernel, self._io)
        self._stack = ExitStack()
        self.vhdmp = vhdmp
        self.files: SimulatedFiles = SimulatedFiles(self._kernel, self._volume)
        self.power_cuts: int = 0
        host = VolumeHost(self._kernel, self._io, self._volume)
        functions = {
            "kernel32": SimulatedKernel32(
                self._kernel, self._io, self._volume, sector_size, host.open_drive
            ),
            "ntdll": SimulatedNtdll(self._kernel, self._io),
            "virtdisk": SimulatedVirtdisk(
                host,
                random.Random(f"{seed} identities"),
                elevated=elevated,
            ),
            "advapi32": SimulatedAdvapi32(self._kernel),
        }
        dlls = {dll: SimulatedDll(self._board, dll, of) for dll, of in functions.items()}
        self._windows = _win32.Windows(
            cast("_win32.Kernel32", dlls["kernel32"]),
            cast("_win32.Ntdll", dlls["ntdll"]),
            cast("_win32.Virtdisk", dlls["virtdisk"]),
            cast("_win32.Advapi32", dlls["advapi32"]),
        )

    def __repr__(self) -> str:
        return f"<SimulatedWindows of seed {self.seed}, {self.operations} operations>"

    def __enter__(self) -> Self:
        self._stack.enter_context(_win32.installed(self._windows))
        self._stack.enter_context(_memory.watched(self._pinned, self._released))
        self._default_before = CompletionPort._default
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left_open: list[str] = []
        with self._stack:
            default = CompletionPort._default
            if error is None:
                self.run_until_idle()
                left_open = self._open_files()  # before the end of the default port closes them
            if default is not None and default.windows is self._windows:
                default.close(cancel=error is not None)
            CompletionPort._default = self._default_before
            if error is None and self._kernel.ports:
                gc.collect()  # a port that nobody uses any more closes itself
                self.run_until_idle()
        for address in self._kernel.allocations:
            self._kernel.violation(f"memory at {address:#x} was not given back to LocalFree")
        for file in left_open:
            self._kernel.violation(f"handle {file} was left open")
        if error is None:
            self.check()

    @property
    def vhdmp(self) -> bool:
        """Whether there is a driver for virtual disks. It can be set."""
        return "virtdisk" not in self._board.absent

    @vhdmp.setter
    def vhdmp(self, present: bool) -> None:
        if present:
            self._board.absent.discard("virtdisk")
        else:
            self._board.absent.add("virtdisk")

    # -- What there is to see -----------------------------------------------------

    @property
    def trace(self) -> list[str]:
        """What has happened, a line each, with the simulated time."""
        return list(self._kernel.trace)

    @property
    def now(self) -> float:
        """The simulated time in seconds."""
        return self._kernel.clock.now / 1e9

    @property
    def operations(self) -> int:
        """Reads, writes and controls begun so far."""
        return self._io.operations

    @property
    def faults_injected(self) -> int:
        """What has gone wrong so far because the seed or a test wanted it."""
        return self._io.faults_injected

    @property
    def violations(self) -> list[str]:
        """What the code under test has done that it must not."""
        return list(self._kernel.violations)

    @property
    def open_handles(self) -> list[str]:
        """What is open: a line for each handle."""
        with self._kernel.entered():
            return [f"{handle:#x} {target}" for handle, target in self._kernel.objects.items()]

    @property
    def in_flight(self) -> int:
        """Requests that the kernel works on."""
        with self._kernel.entered():
            return sum(len(file.requests) for file in self._kernel.files())

    def check(self, *, leaks: bool = True) -> None:
        """Raise `SimulationError` if there is a violation; with `leaks`, if something is open."""
        if self._board.raised:
            raise self._board.raised[0]
        problems = self.violations
        if leaks:
            left_open = [f"handle {handle} was left open" for handle in self.open_handles]
            problems += [problem for problem in left_open if problem not in problems]
            if self._kernel.owners.pins:
                problems.append(f"{self._kernel.owners.pins} buffers were never let go")
        if problems:
            raise SimulationError(
                "\n".join([f"with seed {self.seed}, {len(problems)} in all:", *problems])
            )

    # -- What a test can do -------------------------------------------------------

    def fail_next(
        self,
        function: str,
        code: int,
        *,
        after: int = 0,
        calls: int = 1,
        pending: bool = False,
    ) -> None:
        """Have the next call of a function fail with a Win32 code.

        `after`: so many calls later. `calls`: so many calls in a row. `pending`: an I/O call
        is pending first, and the request fails afterwards. Raises `ValueError` for a
        function that this package does not use.
        """
        code = whole_number(code, "code")
        after, calls = whole_number(after, "after"), whole_number(calls, "calls")
        if after < 0 or calls < 1 or code < 1:
            raise ValueError(f"after={after}, calls={calls} and code={code} cannot be planned")
        with self._kernel.entered():
            self._board.fail_next(function, code, after=after, calls=calls, pending=pending)

    def advance(self, seconds: float) -> None:
        """Let simulated time pass, and what is due in it happen."""
        self._kernel.advance(round(seconds * 1e9))

    def run_until_idle(self) -> None:
        """Let simulated time pass until the device has nothing left to do."""
        self._kernel.run_until_idle()

    def pipe(self) -> tuple[int, int]:
        """Return the handles of the two ends of a pipe, open for overlapped I/O.

        What is written to one is read from the other; a read pends until then.
        """
        with self._kernel.entered():
            ends = PipeEnd(self._io), PipeEnd(self._io)
            ends[0].other, ends[1].other = ends[1], ends[0]
            first, second = (
                self._kernel.new_handle(
                    FileObject(
                        end,
                        "a pipe",
                        access=constants.GENERIC_READ | constants.GENERIC_WRITE,
                        share_mode=0,
                        flags=constants.FILE_FLAG_OVERLAPPED,
                    )
                )
                for end in ends
            )
            return first, second

    def power_cut(self, *, restart: bool = True, after: int = 0) -> None:
        """Cut the power: a random part of what was not flushed is lost.

        What is in flight fails, and what is open can only be closed. With `restart` the
        files can be opened anew at once; without it nothing works until `restart()`.
        `after`: not now, but at the so-manieth call from now on that opens, creates, reads,
        writes, flushes, resizes, renames or deletes. Raises `ValueError` if it is negative.
        """
        if whole_number(after, "after") < 0:
            raise ValueError(f"after must not be negative, and is {after}")
        with self._kernel.entered():
            if after:
                self._board.after(after, lambda: self._cut(restart))
            else:
                self._kernel.settle()
                self._cut(restart)

    def restart(self) -> None:
        """Switch the power on again."""
        with self._kernel.entered():
            self._io.is_off = False

    # -- Inside -------------------------------------------------------------------

    def _open_files(self) -> list[str]:
        with self._kernel.entered():
            return [
                f"{handle:#x} {target}"
                for handle, target in self._kernel.objects.items()
                if isinstance(target, FileObject)
            ]

    def _cut(self, restart: bool) -> None:
        chance = self._draws.power_cuts
        self.power_cuts += 1
        self._kernel.note("POWER CUT")
        for file in self._kernel.files():
            device = file.device
            if not isinstance(device, StorageDevice):
                continue
            for request in file.requests:
                # What was on its way may have arrived, in part.
                arrives = request.action is Action.WRITE and chance.random() < 0.5
                if arrives and request.owned.problem() is None:
                    with suppress(CallFailed):
                        device.write(request.offset, copy_in(request.owned.inputs))
            self._io.abandon(file, statuses.STATUS_DEVICE_NOT_CONNECTED)
            file.is_dead = True
        self._kernel.held.clear()
        self._volume.power_cut(chance)
        self._io.is_off = not restart

    def _pinned(self, address: int, length: int) -> None:
        if length:
            with self._kernel.entered():
                self._kernel.owners.pinned((address, length))

    def _released(self, address: int, length: int) -> None:
        if not length:
            return
        with self._kernel.entered():
            owner = self._kernel.owners.released((address, length))
            if owner is not None:
                self._kernel.violation(f"a buffer of {owner} was let go while the kernel owned it")


def _nanoseconds(latency: tuple[float, float]) -> tuple[int, int]:
    """Return the least and the most time that a request takes. Raises for what is no such pair."""
    wrong = f"latency must be a pair of seconds (least, most), from 0 on, not {latency!r}"
    try:
        low, high = (round(seconds * 1e9) for seconds in latency)
    except (TypeError, ValueError):
        raise TypeError(wrong) from None
    if not 0 <= low <= high:
        raise ValueError(wrong)
    return low, high
