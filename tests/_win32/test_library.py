"""A DLL is loaded, and a function bound, when it is first used, and not before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyvhdmp._win32 import kernel32, library, virtdisk
from pyvhdmp._win32.constants import ERROR_CALL_NOT_IMPLEMENTED
from pyvhdmp._win32.library import DWORD, PCWSTR, POINTER, DynamicLibrary, Prototype
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import ULONG_CELL


class Exported:
    """A function of a DLL, which answers with its arguments' number."""

    restype: object = None
    argtypes: object = None

    def __call__(self, *arguments: int | str) -> int:
        return len(arguments)


class Dlls:
    """Windows' DLLs in their place: `events` is what was asked of them."""

    def __init__(self, **exports: list[str]) -> None:
        self.exports = exports
        self.events: list[str] = []

    def load(self, name: str) -> Dll:
        self.events.append(f"load {name}")
        if name not in self.exports:
            raise FileNotFoundError(name)
        return Dll(self, name)


class Dll:
    def __init__(self, dlls: Dlls, name: str) -> None:
        self._dlls = dlls
        self._name = name

    def __getitem__(self, function: str) -> Exported:
        self._dlls.events.append(f"find {function}")
        if function not in self._dlls.exports[self._name]:
            raise AttributeError(function)
        return Exported()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dlls]:
    """Put other DLLs in the place of Windows'."""

    def put(**exports: list[str]) -> Dlls:
        dlls = Dlls(**exports)
        monkeypatch.setattr(library, "load", dlls.load)
        return dlls

    return put


def test_importing_loads_no_dll() -> None:
    code = """
import ctypes

def load(self, name, *_, **__):
    raise AssertionError(f"{name} is loaded")

ctypes.CDLL.__init__ = load
import pyvhdmp, pyvhdmp.cli
from pyvhdmp import _win32
_win32.load_kernel32(), _win32.load_ntdll(), _win32.load_virtdisk()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_function_is_bound_at_its_first_use_and_only_then(install: Callable[..., Dlls]) -> None:
    dlls = install(virtdisk=["OpenVirtualDisk", "DetachVirtualDisk"])
    functions = virtdisk.load_virtdisk()
    assert dlls.events == []
    assert functions.DetachVirtualDisk(1, 0, 0) == 3
    assert dlls.events == ["load virtdisk", "find DetachVirtualDisk"]
    assert functions.DetachVirtualDisk(1, 0, 0) == 3
    assert len(dlls.events) == 2


def test_a_bound_function_has_its_prototype(install: Callable[..., Dlls]) -> None:
    install(some=["Open"])
    bound = DynamicLibrary("some", {"Open": (DWORD, POINTER, PCWSTR)}).Open
    assert isinstance(bound, Exported)
    assert (bound.restype, bound.argtypes) == (DWORD, [POINTER, PCWSTR])


def test_what_an_older_windows_lacks_costs_nothing_until_it_is_called(
    install: Callable[..., Dlls],
) -> None:
    dlls = install(virtdisk=["OpenVirtualDisk", "DetachVirtualDisk"])
    functions = virtdisk.load_virtdisk()
    functions.DetachVirtualDisk(1, 0, 0)
    assert "find ForkVirtualDisk" not in dlls.events
    assert functions.ForkVirtualDisk(1, 0, 0, 0) == ERROR_CALL_NOT_IMPLEMENTED == 120
    assert functions.ForkVirtualDisk(1, 0, 0, 0) == 120
    assert dlls.events.count("find ForkVirtualDisk") == 1
    assert functions.DetachVirtualDisk(1, 0, 0) == 3


@pytest.mark.parametrize("name", sorted(virtdisk.PROTOTYPES))
def test_each_function_answers_so_on_a_windows_without_virtdisk(
    install: Callable[..., Dlls], name: str
) -> None:
    install()
    _, *parameters = virtdisk.PROTOTYPES[name]
    assert getattr(virtdisk.load_virtdisk(), name)(*[0] * len(parameters)) == 120


@pytest.mark.parametrize("name", ["CreateVirtualDisk", "GetAllAttachedVirtualDiskPhysicalPaths"])
@pytest.mark.parametrize(("code", "is_there"), [(2, True), (3, True), (87, False), (120, False)])
def test_what_is_only_exported_is_not_called(
    monkeypatch: pytest.MonkeyPatch, name: str, code: int, is_there: bool
) -> None:
    """Wine ends the process that calls one of these. Its OpenVirtualDisk does no harm."""
    called: list[str] = []

    class Half:
        def __getitem__(self, function: str) -> Callable[..., int]:
            def answer(*_: int | str) -> int:
                called.append(function)
                return code if function == "OpenVirtualDisk" else 0

            return answer

    monkeypatch.setattr(library, "load", lambda _: Half())
    _, *parameters = virtdisk.PROTOTYPES[name]
    function = getattr(virtdisk.load_virtdisk(), name)
    for _ in range(2):  # and it is found out once
        assert function(*[0] * len(parameters)) == (0 if is_there else 120)
    assert called == ["OpenVirtualDisk", *[name, name] * is_there]


def test_a_function_that_every_windows_has_must_be_there(install: Callable[..., Dlls]) -> None:
    install(kernel32=[])
    with pytest.raises(AttributeError, match="CloseHandle"):
        kernel32.load_kernel32().CloseHandle(1)
    install()
    with pytest.raises(FileNotFoundError, match="kernel32"):
        kernel32.load_kernel32().CloseHandle(1)


def test_an_unknown_function_is_an_attribute_error_that_names_it() -> None:
    functions = DynamicLibrary("kernel32", kernel32.PROTOTYPES)
    with pytest.raises(AttributeError, match="kernel32 has no prototype for OpenFile"):
        functions.OpenFile  # noqa: B018


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is what it needs")
def test_elsewhere_a_dll_is_missed_by_its_name() -> None:
    with pytest.raises(OSError, match=r"kernel32\.dll is a part of Windows"):
        kernel32.load_kernel32().CloseHandle(1)


@pytest.mark.windows
@pytest.mark.parametrize(("dll", "function"), [("virtdisk", "NoSuch"), ("no-such-dll", "Open")])
def test_what_this_windows_has_not_answers_so_or_is_an_error(dll: str, function: str) -> None:
    prototypes: dict[str, Prototype] = {function: (DWORD, PCWSTR)}
    assert getattr(DynamicLibrary(dll, prototypes, absent=120), function)("path") == 120
    with pytest.raises((AttributeError, OSError)):
        getattr(DynamicLibrary(dll, prototypes), function)


@pytest.mark.windows
def test_a_function_of_this_windows_is_bound_with_its_prototype() -> None:
    bound: Any = kernel32.load_kernel32().CloseHandle
    assert (bound.restype, *bound.argtypes) == kernel32.PROTOTYPES["CloseHandle"]


@pytest.mark.windows
def test_a_windows_without_disks_says_so_and_goes_on() -> None:
    functions = virtdisk.load_virtdisk()
    assert functions.CreateVirtualDisk(0, "", 0, 0, 0, 0, 0, 0, 0) in (87, 120)
    room = ULONG_CELL()
    code = functions.GetAllAttachedVirtualDiskPhysicalPaths(address_of(room), address_of(room))
    assert code in (0, 122, 120)
