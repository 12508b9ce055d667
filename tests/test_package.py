"""What importing the package does, and which way its modules may import."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyvhdmp

PACKAGE = Path(pyvhdmp.__file__).parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "pyvhdmp.")
    if info.name != "pyvhdmp.__main__"
)

# Each layer may import what stands below it, and itself.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["streaming"],
    ["copying", "benchmark", "aio", "blocking"],
    ["pipeline", "replacing"],
    ["disk"],
    ["synchronous"],
    ["overlapped", "virtual_disk"],
    ["completion"],
    ["futures", "vhd", "files"],
    ["slots", "blocks"],
    ["buffers"],
    ["errors"],
    ["checks", "hints", "logs"],
    ["_win32"],
    ["_startup"],
]
LEVEL = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Return what a file imports, and whether only a type checker sees it."""
    found = []
    for node in ast.walk(tree := ast.parse(path.read_text(encoding="utf-8"))):
        typing_only = any(
            isinstance(block, ast.If)
            and isinstance(block.test, ast.Name)
            and block.test.id == "TYPE_CHECKING"
            and node in ast.walk(block)
            for block in tree.body
        )
        if isinstance(node, ast.Import):
            found += [(alias.name, typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "pyvhdmp":
                names = [f"pyvhdmp.{alias.name}" for alias in node.names]
            found += [(name, typing_only) for name in names]
    return found


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


# What an extra brings, and which module alone imports it: not when it is imported, see below.
EXTRAS = {Path("cli/plot.py"): {"matplotlib"}, Path("cli/rich_output.py"): {"rich"}}

SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_on_every_system(name: str) -> None:
    importlib.import_module(name)


def test_every_module_has_its_place_in_the_layers() -> None:
    assert {layer_of(name) for name in MODULES} - {"testing"} <= LEVEL.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_upward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "testing"):
        return
    for name, typing_only in imports_of(path):
        if not name.startswith("pyvhdmp") or typing_only:
            continue
        imported = layer_of(name)
        assert not imported or LEVEL[imported] <= LEVEL[own], f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ctypes_is_imported_at_the_bottom_and_in_testing_only(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in ("_win32", "testing"):
        return
    assert not [name for name, _ in imports_of(path) if name.split(".")[0] == "ctypes"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_outside_the_standard_library_is_imported(path: Path) -> None:
    known = sys.stdlib_module_names | {"pyvhdmp"} | EXTRAS.get(path.relative_to(PACKAGE), set())
    for name, typing_only in imports_of(path):
        if not typing_only:
            assert name.split(".")[0] in known


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] == "cli":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
    ]


def test_importing_starts_no_thread_binds_no_function_and_imports_little() -> None:
    code = (
        "import threading, pyvhdmp, pyvhdmp.cli; from pyvhdmp import _win32; "
        "assert threading.active_count() == 1; assert _win32._installed is None; "
        "import sys; assert not {'matplotlib', 'asyncio', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is what it needs")
@pytest.mark.parametrize(
    "use",
    [
        pyvhdmp.CompletionPort,
        pyvhdmp.CompletionPort.default,
        lambda: pyvhdmp.open_disk("disk.vhd"),
        lambda: pyvhdmp.make_fixed_vhd("disk.vhd", 512),
        lambda: pyvhdmp.OverlappedFile(4),
        lambda: pyvhdmp.VhdmpDisk.open("disk.vhdx"),
        lambda: pyvhdmp.VirtualDisk.open("disk.vhdx"),
        lambda: pyvhdmp.VirtualDisk.create_fixed("disk.vhdx", 1 << 30),
    ],
)
def test_the_first_real_use_elsewhere_names_what_can_stand_in(use: object) -> None:
    assert callable(use)
    with pytest.raises(RuntimeError, match=r"pyvhdmp\.testing"):
        use()
