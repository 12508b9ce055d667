"""Nothing here starts a program, and no program that a user of it starts gets its handles."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import pyvhdmp
from pyvhdmp import CompletionPort, PageBuffer, VirtualDisk, make_fixed_vhd, open_disk
from pyvhdmp._win32 import current
from pyvhdmp.testing import SimulatedWindows, substituted
from tests.support import windows
from tests.support.files import FilePath

PACKAGE: Final = Path(pyvhdmp.__file__).parent
MODULES: Final = sorted(PACKAGE.rglob("*.py"))
SIZE: Final = 1 << 20

PROGRAMS: Final = {"subprocess", "multiprocessing", "pty", "popen2", "webbrowser", "_winapi"}
STARTERS: Final = {
    "system",
    "popen",
    "startfile",
    "posix_spawn",
    "posix_spawnp",
    "fork",
    "forkpty",
    *(f"exec{how}" for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *(f"spawn{how}" for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    "create_subprocess_exec",
    "create_subprocess_shell",
    "subprocess_exec",
    "subprocess_shell",
    "ProcessPoolExecutor",
    "CreateProcessW",
    "ShellExecuteW",
    "WinExec",
}
EVALUATORS: Final = {"eval", "exec", "compile", "__import__"}
UNSAFE_LOADERS: Final = {"pickle", "marshal", "shelve", "dill"}


def names_in(source: str) -> set[str]:
    """Return what is imported, asked for of something, or called by its name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            found |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("os", "asyncio", "futures", "loop", "kernel32", "shell32"):
                found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.add(node.func.id)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_starts_a_program_or_runs_what_it_has_read(path: Path) -> None:
    found = names_in(path.read_text(encoding="utf-8"))
    assert found & (PROGRAMS | STARTERS | EVALUATORS | UNSAFE_LOADERS) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import run",
        "import os; os.system('x')",
        "from os import popen",
        "import asyncio\nasyncio.create_subprocess_exec('x')",
        "eval('1')",
        "import pickle",
    ],
)
def test_what_starts_a_program_would_be_found(source: str) -> None:
    assert names_in(source) & (PROGRAMS | STARTERS | EVALUATORS | UNSAFE_LOADERS)


def test_whoever_makes_a_handle_asks_for_one_that_is_not_inherited(
    machine: SimulatedWindows | None, tmp_path: FilePath
) -> None:
    asked: dict[str, set[int]] = {"CreateFileW": set(), "CreateEventW": set()}
    kernel32 = current().kernel32

    def create_file(*arguments: int) -> int:
        asked["CreateFileW"].add(arguments[3])
        return kernel32.CreateFileW(*arguments)  # type: ignore[arg-type]  # as they came

    def create_event(*arguments: int) -> int:
        asked["CreateEventW"].add(arguments[0])
        return kernel32.CreateEventW(*arguments)

    with (
        windows.vhdmp(),
        substituted(kernel32={"CreateFileW": create_file, "CreateEventW": create_event}),
    ):
        make_fixed_vhd(tmp_path / "a.vhd", SIZE)
        with open_disk(tmp_path / "a.vhd", backend="fixed-vhd") as disk:
            disk.read(0, 1).result()
        with pyvhdmp.BlockingDisk.open(tmp_path / "a.vhd") as file:
            file.read(512)
        VirtualDisk.create_fixed(tmp_path / "a.vhdx", 8 * SIZE).close()
    assert asked == {"CreateFileW": {0}, "CreateEventW": {0}}


@pytest.mark.windows
def test_no_handle_of_any_kind_is_inheritable(tmp_path: Path) -> None:
    events: list[int] = []
    kernel32 = current().kernel32

    def create_event(*arguments: int) -> int:
        events.append(kernel32.CreateEventW(*arguments))
        assert not windows.is_inheritable(events[-1])
        return events[-1]

    path = tmp_path / "a.vhd"
    with (
        windows.vhdmp(),
        substituted(kernel32={"CreateEventW": create_event}),
        CompletionPort() as port,
    ):
        assert not windows.is_inheritable(port._register.handle)
        make_fixed_vhd(path, SIZE)
        for backend in ("fixed-vhd", "raw"):
            with open_disk(path, backend=backend, port=port) as disk:
                assert not windows.is_inheritable(disk._file.handle)
        with VirtualDisk.create_fixed(tmp_path / "a.vhdx", 8 * SIZE) as virtual:
            assert not windows.is_inheritable(virtual.handle)
        with open_disk(tmp_path / "a.vhdx", port=port) as disk:
            assert not windows.is_inheritable(disk._file.handle)
    assert events


@pytest.mark.windows
def test_a_child_that_inherits_all_there_is_does_not_keep_a_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a.vhd"
    make_fixed_vhd(path, SIZE)
    disk = open_disk(path, backend="fixed-vhd")
    program = "import sys; sys.stdout.write('ready'); sys.stdout.flush(); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.read(5) == b"ready"
        disk.read_vectored([PageBuffer(4096)], 0).result()
        disk.close()
        # A handle that the child had would still share the file for reading, and no more.
        with open_disk(path, backend="fixed-vhd") as again:
            assert not again.is_read_only
        path.unlink()
    assert child.returncode == 0
