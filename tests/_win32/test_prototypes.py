"""The typed Protocol of a DLL and the table that binds it say the same."""

from __future__ import annotations

import ctypes
import inspect

import pytest

from pyvhdmp._win32 import advapi32, kernel32, ntdll, virtdisk
from pyvhdmp._win32.library import DWORD, PCWSTR, POINTER, CType, Prototype
from tests.support.virtdisk_h import ENUMERATIONS, FUNCTIONS, LAYOUTS


@pytest.mark.parametrize(
    ("protocol", "prototypes"),
    [
        (advapi32.Advapi32, advapi32.PROTOTYPES),
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


@pytest.mark.parametrize(
    "protocol", [advapi32.Advapi32, kernel32.Kernel32, ntdll.Ntdll, virtdisk.Virtdisk]
)
def test_functions_take_positional_arguments_only(protocol: type) -> None:
    for name, method in vars(protocol).items():
        if name[0].isupper():
            kinds = {parameter.kind for parameter in inspect.signature(method).parameters.values()}
            assert kinds == {inspect.Parameter.POSITIONAL_ONLY}, name


# How wide the types are that virtdisk.h has for parameters. All others are pointers or handles.
WIDTHS: dict[str, CType] = {
    "PCWSTR": PCWSTR,
    "ULONG": DWORD,
    "ULONG64": ctypes.c_uint64,
    **dict.fromkeys(ENUMERATIONS, DWORD),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_virtdisk_has_the_parameters_of_the_header(name: str) -> None:
    result, *parameters = virtdisk.PROTOTYPES[name]
    assert result is DWORD
    assert parameters == [WIDTHS.get(kind, POINTER) for kind in FUNCTIONS[name]]


def test_what_is_taken_for_a_pointer_or_handle_is_one() -> None:
    others = {kind for kinds in FUNCTIONS.values() for kind in kinds} - WIDTHS.keys()
    structures = {row.structure for row in LAYOUTS}
    pointers = {"HANDLE", "PHANDLE", "PULONG", "PULONG64", "PWSTR", "PVOID", "LPOVERLAPPED"}
    pointers |= {"PSECURITY_DESCRIPTOR"} | {f"P{name}" for name in structures}
    assert {kind for kind in others if not kind.endswith("*")} <= pointers


def test_virtdisk_has_the_29_functions_of_the_header_and_no_others() -> None:
    assert len(FUNCTIONS) == 29
    assert virtdisk.PROTOTYPES.keys() == FUNCTIONS.keys()
    assert virtdisk.SINCE.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("OpenVirtualDisk", "Windows 7"),
        ("ExpandVirtualDisk", "Windows 7"),
        ("ResizeVirtualDisk", "Windows 8"),
        ("AddVirtualDiskParent", "Windows 8"),
        ("QueryChangesVirtualDisk", "Windows 10"),
        ("RawSCSIVirtualDisk", "Windows 10"),
        ("ForkVirtualDisk", "Windows 10, version 1809"),
        ("CompleteForkVirtualDisk", "Windows 10, version 1809"),
    ],
)
def test_a_function_is_said_to_be_as_old_as_the_header_says(name: str, windows: str) -> None:
    assert virtdisk.SINCE[name] == windows


@pytest.mark.windows
@pytest.mark.parametrize("name", sorted(kernel32.PROTOTYPES))
def test_kernel32_exports_every_function_of_the_table(name: str) -> None:
    assert callable(getattr(kernel32.load_kernel32(), name))


@pytest.mark.windows
@pytest.mark.parametrize("name", sorted(ntdll.PROTOTYPES))
def test_ntdll_exports_every_function_of_the_table(name: str) -> None:
    assert callable(getattr(ntdll.load_ntdll(), name))


@pytest.mark.windows
@pytest.mark.parametrize("name", sorted(advapi32.PROTOTYPES))
def test_advapi32_exports_every_function_of_the_table(name: str) -> None:
    assert callable(getattr(advapi32.load_advapi32(), name))
