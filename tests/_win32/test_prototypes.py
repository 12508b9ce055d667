"""The typed Protocol of a DLL and the table that binds it say the same."""

from __future__ import annotations

import inspect

import pytest

from pyvhdmp._win32 import kernel32, ntdll, virtdisk
from pyvhdmp._win32.library import DWORD, PCWSTR, DynamicLibrary, Prototype


@pytest.mark.parametrize(
    ("protocol", "prototypes"),
    [
        (kernel32.Kernel32, kernel32.PROTOTYPES),
        (ntdll.Ntdll, ntdll.PROTOTYPES),
        (virtdisk.Virtdisk, virtdisk.PROTOTYPES),
    ],
)
def test_protocol_and_table_name_the_same_functions_with_as_many_arguments(
    protocol: type, prototypes: dict[str, Prototype]
) -> None:
    methods = {
        name: len(inspect.signature(method).parameters) - 1  # without self
        for name, method in vars(protocol).items()
        if name[0].isupper()
    }
    assert methods == {name: len(prototype) - 1 for name, prototype in prototypes.items()}


@pytest.mark.parametrize("protocol", [kernel32.Kernel32, ntdll.Ntdll, virtdisk.Virtdisk])
def test_functions_take_positional_arguments_only(protocol: type) -> None:
    for name, method in vars(protocol).items():
        if name[0].isupper():
            kinds = {parameter.kind for parameter in inspect.signature(method).parameters.values()}
            assert kinds == {inspect.Parameter.POSITIONAL_ONLY}, name


def test_an_unknown_function_is_an_attribute_error_that_names_it() -> None:
    library = DynamicLibrary("kernel32", kernel32.PROTOTYPES)
    with pytest.raises(AttributeError, match="kernel32 has no prototype for OpenFile"):
        library.OpenFile  # noqa: B018


@pytest.mark.windows
@pytest.mark.parametrize(("dll", "function"), [("virtdisk", "NoSuch"), ("no-such-dll", "Open")])
def test_what_this_windows_has_not_answers_so_or_is_an_error(dll: str, function: str) -> None:
    prototypes: dict[str, Prototype] = {function: (DWORD, PCWSTR)}
    assert getattr(DynamicLibrary(dll, prototypes, absent=120), function)("path") == 120
    with pytest.raises((AttributeError, OSError)):
        getattr(DynamicLibrary(dll, prototypes), function)


@pytest.mark.windows
@pytest.mark.parametrize("name", sorted(kernel32.PROTOTYPES))
def test_kernel32_exports_every_function_of_the_table(name: str) -> None:
    assert callable(getattr(kernel32.load_kernel32(), name))


@pytest.mark.windows
@pytest.mark.parametrize("name", sorted(ntdll.PROTOTYPES))
def test_ntdll_exports_every_function_of_the_table(name: str) -> None:
    assert callable(getattr(ntdll.load_ntdll(), name))
