"""All that is public: what can be reached from an `__all__` by names that users may use."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from types import ModuleType

import pyvhdmp
import pyvhdmp.aio
import pyvhdmp.testing

__all__ = ["members", "modules"]


def modules() -> list[ModuleType]:
    """Return the modules that users import from."""
    return [pyvhdmp, pyvhdmp.aio, pyvhdmp.testing]


def members() -> Iterator[tuple[str, object]]:
    """Yield each module, class and function, and what this package defines in a class.

    Properties as such, and functions without the class or static method around them.
    """
    for module in modules():
        yield module.__name__, module
        for name in module.__all__:
            public = getattr(module, name)
            full_name = f"{module.__name__}.{name}"
            if inspect.isclass(public):
                yield full_name, public
                yield from _of_class(full_name, public)
            elif inspect.isfunction(public):
                yield full_name, public


def _of_class(full_name: str, public: type) -> Iterator[tuple[str, object]]:
    for name in dir(public):
        if name.startswith("_") or (issubclass(public, enum.Enum) and name in ("name", "value")):
            continue
        member = inspect.getattr_static(public, name)
        if isinstance(member, (classmethod, staticmethod)):
            member = member.__func__
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and function.__module__.startswith("pyvhdmp"):
            yield f"{full_name}.{name}", member
