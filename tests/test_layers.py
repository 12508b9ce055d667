"""Which way the modules import, as README's table of Structure tells it, and what each may use."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import pyvhdmp

PACKAGE: Final = Path(pyvhdmp.__file__).parent
README: Final = Path(__file__).parents[1] / "README.md"
BESIDE: Final = "testing"
"""Beside the stack: it may use all of it, and nothing in it uses this."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def rows_of_structure() -> list[list[str]]:
    """Return the names in each row of README's table, from top to bottom."""
    section = README.read_text(encoding="utf-8").split("\n## Structure\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [re.findall(r"`(\w+)`", cell) for cell in cells]


TREES: Final = {
    name_of(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
ROWS: Final = rows_of_structure()
LEVELS: Final = {
    name: level
    for level, names in enumerate(reversed([names for names in ROWS if names != [BESIDE]]))
    for name in names
}

every_module: Final = pytest.mark.parametrize("module", TREES)


class Import(NamedTuple):
    """`module`: what is imported, a module of this package where the name is one."""

    module: str
    line: int
    typing_only: bool


def imports_of(module: str) -> list[Import]:
    """Return what a module imports, at its top and in its functions."""
    return list(_imports_in(TREES[module], typing_only=False))


def _imports_in(node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import():
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing_only)
        case ast.ImportFrom():
            assert node.module, "imports tell whole names here"
            assert not node.level, "imports tell whole names here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if inner in TREES else node.module, node.lineno, typing_only)
        case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for statement in node.body:
                yield from _imports_in(statement, typing_only=True)
            for statement in node.orelse:
                yield from _imports_in(statement, typing_only=typing_only)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imports_in(child, typing_only=typing_only)


def own_imports_of(module: str) -> list[Import]:
    """Return what it imports of this package when it runs."""
    return [
        found
        for found in imports_of(module)
        if found.module.split(".")[0] == "pyvhdmp" and not found.typing_only
    ]


def part_of(module: str) -> str:
    """Return the name that stands for a module in the table."""
    return ".".join(module.split(".")[1:2])


def level_of(module: str) -> int:
    """Return how high a module stands. The package itself gives names of every part but `cli`."""
    part = part_of(module) or "cli"
    assert part in LEVELS, f"module {part} is in no row of README's table of Structure"
    return LEVELS[part]


def test_the_table_has_a_row_for_every_module_and_no_other() -> None:
    named = [name for names in ROWS for name in names]
    for part in filter(None, map(part_of, TREES)):
        assert part in named, f"module {part} is in no row of README's table of Structure"
    for name in named:
        assert f"pyvhdmp.{name}" in TREES, f"README's table of Structure has {name}: no such module"
    assert len(named) == len(set(named)), "a module is in README's table of Structure twice"


@every_module
def test_no_module_imports_upward(module: str) -> None:
    if part_of(module) in ("", BESIDE):  # the package itself loads each part when it is asked for
        return
    for imported, line, _ in own_imports_of(module):
        assert part_of(imported) != BESIDE, f"{module}:{line} imports {imported}"
        assert level_of(imported) <= level_of(module), f"{module}:{line} imports {imported}, above"


def test_importing_the_package_loads_no_part_of_it_but_the_first() -> None:
    assert [found.module for found in own_imports_of("pyvhdmp")] == ["pyvhdmp._startup"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module in TREES:
        graph[module] = set()
        for imported, _, _ in own_imports_of(module):
            # Whatever a module is in is loaded before it, unless the importer is in there too.
            whole = imported.split(".")
            packages = [".".join(whole[:count]) for count in range(1, len(whole))]
            outer = [name for name in packages if not f"{module}.".startswith(f"{name}.")]
            graph[module] |= {imported, *outer}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


@every_module
def test_ctypes_is_imported_at_the_bottom_and_in_testing_only(module: str) -> None:
    if part_of(module) in ("_win32", BESIDE):
        return
    for imported, line, _ in imports_of(module):
        assert imported.split(".")[0] not in ("ctypes", "_ctypes"), f"{module}:{line}"


EXTRAS: Final = {"pyvhdmp.cli.plot": {"matplotlib"}, "pyvhdmp.cli.rich_output": {"rich"}}
"""What an extra brings, and which module alone imports it, when it is asked for."""


@every_module
def test_nothing_outside_the_standard_library_is_imported(module: str) -> None:
    known = sys.stdlib_module_names | {"pyvhdmp"} | EXTRAS.get(module, set())
    for imported, line, typing_only in imports_of(module):
        assert typing_only or imported.split(".")[0] in known, f"{module}:{line} needs {imported}"


WAYS_OUT: Final = {"print", "sys.stdout", "sys.__stdout__", "sys.stderr", "sys.__stderr__"}


@every_module
def test_only_the_command_line_prints(module: str) -> None:
    if part_of(module) == "cli":
        return
    allowed = {"sys.stderr"} if module == "pyvhdmp._startup" else set()  # `cli` is not there yet
    used = {
        ast.unparse(node)
        for node in ast.walk(TREES[module])
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    assert used & WAYS_OUT <= allowed
    assert not [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.module == "sys"
    ], "say sys.NAME, so that this sees it"
