"""What the docstrings of all that is public tell: that they are there, and what is raised.

What a function can raise is found by going through its source, and that of the functions of
this package that it calls: those of its own class, by ``self`` or ``cls``, and those that its
module knows by a name.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType

import pytest

from pyvhdmp._win32 import advapi32, kernel32, ntdll, virtdisk
from tests.support.public import members

PUBLIC = dict(members())
WINDOWS = {*advapi32.PROTOTYPES, *kernel32.PROTOTYPES, *ntdll.PROTOTYPES, *virtdisk.PROTOTYPES}


def own_function(member: object) -> FunctionType | None:
    """Return a function that this package defines, from around which all else is taken."""
    if isinstance(member, property):
        member = member.fget
    elif isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    if not inspect.isfunction(member):
        return None
    function = inspect.unwrap(member)
    assert isinstance(function, FunctionType)
    is_written = not function.__code__.co_filename.startswith("<")  # as those of a dataclass
    return function if function.__module__.startswith("pyvhdmp") and is_written else None


@functools.cache
def nodes_of(function: FunctionType) -> list[ast.AST]:
    return list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))))


def called_by(function: FunctionType, owner: type | None) -> Iterator[tuple[object, type | None]]:
    """Yield what a function calls, and whose class that is."""
    for node in nodes_of(function):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(name):
                called = function.__globals__.get(name)
                if inspect.isclass(called) and called.__module__.startswith("pyvhdmp"):
                    yield inspect.getattr_static(called, "__init__"), called
                else:
                    yield called, None
            case ast.Attribute(ast.Name("self" | "cls"), name) if owner is not None:
                yield inspect.getattr_static(owner, name, None), owner
            case ast.Attribute(ast.Name(module), name):
                yield getattr(function.__globals__.get(module), name, None), None


def reached_from(function: FunctionType, owner: type | None) -> Iterator[FunctionType]:
    """Yield a function, and all it can come to, as far as that can be told."""
    to_do, seen = [(function, owner)], {function}
    while to_do:
        function, owner = to_do.pop()
        yield function
        for member, of in called_by(function, owner):
            if (called := own_function(member)) is not None and called not in seen:
                seen.add(called)
                to_do.append((called, of))


def raises(function: FunctionType) -> str | None:
    """Return an exception that a function makes and raises by itself."""
    for node in nodes_of(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, (ast.Call, ast.Attribute)):
            return ast.unparse(node)
    return None


def documented(name: str) -> tuple[FunctionType | None, type | None, str]:
    """Return the function behind a public name, its class, and what is written about it."""
    member = PUBLIC[name]
    written = inspect.getdoc(member) or ""
    owner = member if inspect.isclass(member) else PUBLIC.get(name.rpartition(".")[0])
    if inspect.isclass(member):
        member = inspect.getattr_static(member, "__init__")
        written += inspect.getdoc(member) or ""
    return own_function(member), owner if inspect.isclass(owner) else None, written


def test_all_that_is_public_is_found() -> None:
    assert {
        "pyvhdmp",
        "pyvhdmp.open_disk",
        "pyvhdmp.Disk.slice",
        "pyvhdmp.VirtualDisk.info",
        "pyvhdmp.RawDisk.open",
        "pyvhdmp.aio.AsyncDisk.blocks",
        "pyvhdmp.testing.substituted",
    } <= PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_all_that_is_public_has_a_docstring(name: str) -> None:
    member = PUBLIC[name]
    # Its own, not one that is inherited from Python.
    assert member.__doc__, name
    assert not re.match(r"\w+\(.*\)( -> .*)?$|Built-in|A class that ", member.__doc__), name


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_public_function_can_raise_is_told(name: str) -> None:
    function, owner, written = documented(name)
    if function is not None:
        for reached in reached_from(function, owner):
            raised = raises(reached)
            assert raised is None or re.search(r"\b[Rr]aise", written), (
                f"{name} comes to {reached.__qualname__}: {raised}"
            )


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_that_asks_windows_tells_which_function_of_it(name: str) -> None:
    function, owner, written = documented(name)
    if function is not None:
        named = {
            node.attr if isinstance(node, ast.Attribute) else str(node.value)
            for node in nodes_of(function)
            if isinstance(node, (ast.Attribute, ast.Constant))
        }
        if asked := named & WINDOWS:
            text = written + (inspect.getdoc(owner) or "")
            assert any(one in text for one in asked), asked


def test_all_that_is_public_shows_what_it_is() -> None:
    classes = [member for member in PUBLIC.values() if inspect.isclass(member)]
    assert [one for one in classes if one.__repr__ is object.__repr__] == []


def can_raise_nothing() -> None:
    """Do nothing."""


class _Example:
    """For the tests of the tests."""

    def silent(self) -> int:
        """Come to nothing."""
        can_raise_nothing()
        return self._ask(1)

    def loud(self) -> None:
        """Come to an error by way of two others."""
        self._ask(2)
        _outer()

    def _ask(self, number: int) -> int:
        return number


def _outer() -> None:
    _inner()


def _inner() -> None:
    raise ValueError("found")


@pytest.mark.parametrize(
    ("function", "found"),
    [(_Example.silent, []), (_Example.loud, ["raise ValueError('found')"])],
)
def test_what_can_be_raised_is_found_by_way_of_others(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., object], found: list[str]
) -> None:
    for one in (_Example.silent, _Example.loud, _Example._ask, _outer, _inner):
        monkeypatch.setattr(one, "__module__", "pyvhdmp.example")
    assert isinstance(function, FunctionType)
    reached = reached_from(function, _Example)
    assert [raised for one in reached if (raised := raises(one)) is not None] == found
