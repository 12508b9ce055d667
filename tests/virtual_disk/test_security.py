"""Who may use an attached disk."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

import pytest

from pyvhdmp import InvalidInputError, VirtualDisk
from pyvhdmp._win32 import current
from pyvhdmp.testing import SimulatedWindows, substituted
from pyvhdmp.virtual_disk.security import grants
from tests.support import windows
from tests.support.files import FilePath

SDDL = "O:BAG:SYD:P(A;;GA;;;BA)(A;;GR;;;BU)"
SIZE = 8 << 20


def text_of(descriptor: int) -> str:
    """Return the SDDL of a security descriptor."""
    if sys.platform != "win32" or windows.is_simulated():
        return ctypes.string_at(descriptor, len(SDDL) * 2).decode("utf-16-le")
    advapi32, text = ctypes.WinDLL("advapi32"), ctypes.c_wchar_p()
    assert advapi32.IsValidSecurityDescriptor(ctypes.c_size_t(descriptor))
    convert = advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW
    assert convert(ctypes.c_size_t(descriptor), 1, 7, ctypes.byref(text), None)
    assert text.value is not None
    return text.value


class Seen:
    """What AttachVirtualDisk was given, and which memory was given back."""

    def __init__(self) -> None:
        self.texts: list[str | None] = []
        self.descriptors: list[int] = []
        self.freed: list[int] = []
        self.code = 0


@pytest.fixture
def seen(machine: SimulatedWindows | None) -> Iterator[Seen]:
    seen = Seen()
    with windows.vhdmp():
        free = current().kernel32.LocalFree
        attach_it = current().virtdisk.AttachVirtualDisk

        def attach(disk: int, descriptor: int, *rest: int) -> int:
            seen.texts.append(text_of(descriptor) if descriptor else None)
            seen.descriptors.append(descriptor)
            return seen.code or attach_it(disk, descriptor, *rest)

        def local_free(address: int) -> int:
            seen.freed.append(address)
            return free(address)

        with substituted(
            kernel32={"LocalFree": local_free}, virtdisk={"AttachVirtualDisk": attach}
        ):
            yield seen


@pytest.fixture
def disk(seen: Seen, tmp_path: FilePath) -> Iterator[VirtualDisk]:
    with VirtualDisk.create_dynamic(tmp_path / "a.vhdx", SIZE) as disk:
        yield disk


def attach(disk: VirtualDisk, sddl: str | None) -> None:
    try:
        disk.attach(sddl=sddl)
    except OSError as error:
        if windows.winerror(error) != 120:  # on real files there are no drives
            raise


def test_windows_is_given_the_descriptor_and_its_memory_is_given_back(
    seen: Seen, disk: VirtualDisk
) -> None:
    attach(disk, SDDL)
    assert seen.texts == [SDDL]
    assert seen.freed == seen.descriptors


def test_the_memory_is_given_back_where_the_disk_cannot_be_attached(
    seen: Seen, disk: VirtualDisk
) -> None:
    seen.code = 1314
    with pytest.raises(OSError, match=r"a\.vhdx"):
        disk.attach(sddl=SDDL)
    assert seen.freed == seen.descriptors
    assert len(seen.freed) == 1


def test_without_one_the_file_decides(seen: Seen, disk: VirtualDisk) -> None:
    attach(disk, None)
    assert seen.texts == [None]
    assert seen.freed == []


@pytest.mark.parametrize(
    "sddl",
    ["", "everybody", "D:(A;;GA;;;", "D:(A;;GA)", "D:P(A;;GA;;;BA)\0", "X:BA", "D:(((("],
)
def test_what_is_no_sddl_is_refused_by_name_and_nothing_is_attached(
    seen: Seen, disk: VirtualDisk, sddl: str
) -> None:
    with pytest.raises(InvalidInputError, match="sddl must be a security descriptor") as caught:
        disk.attach(sddl=sddl)
    assert repr(sddl) in str(caught.value.strerror)
    assert "\n" not in str(caught.value)
    assert seen.texts == []
    assert seen.freed == []
    assert not disk.is_attached


@pytest.mark.parametrize("sddl", [7, b"D:"])
@pytest.mark.usefixtures("seen")
def test_what_is_no_text_is_a_type_error(disk: VirtualDisk, sddl: str) -> None:
    with pytest.raises(TypeError, match="sddl must be a str"):
        disk.attach(sddl=sddl)


@pytest.mark.parametrize(
    ("sddl", "told"),
    [
        ("D:P(A;;GA;;;BA)", ["administrators may read it, write it and change who may"]),
        ("D:PAI(A;;FA;;;SY)", ["the system may read it, write it and change who may"]),
        ("O:SYG:SYD:(A;;GRGW;;;BU)", ["owner: the system", "users may read it and write it"]),
        ("D:(D;;GRGW;;;AN)", ["anonymous users may not read it or write it"]),
        ("D:(A;;0x80000000;;;WD)", ["everybody may read it"]),
        ("D:(A;;0x1f01ff;;;OW)", ["the owner may read it, write it and change who may"]),
        ("O:S-1-5-18", ["owner: S-1-5-18", "everybody may do everything"]),
        ("D:NO_ACCESS_CONTROL", ["everybody may do everything"]),
        ("D:", ["nobody may do anything"]),
        ("D:P", ["nobody may do anything"]),
        ("D:(A;OICI;GA;;;BA)", ["(A;OICI;GA;;;BA)"]),
        ("D:(A;;0x12345;;;BA)", ["(A;;0x12345;;;BA)"]),
        ("D:(A;;0xzz;;;BA)", ["(A;;0xzz;;;BA)"]),
        ("D:(A;;RPWP;;;BA)(A;;GR;;;XX)", ["(A;;RPWP;;;BA)", "XX may read it"]),
        ("D:(XA;;GA;;;BA;(a == 1))", ["D:(XA;;GA;;;BA;(a == 1))"]),
        ("D:(A;;GA;;;BA)S:(AU;SA;GA;;;WD)", ["D:(A;;GA;;;BA)S:(AU;SA;GA;;;WD)"]),
    ],
)
def test_what_a_descriptor_grants_is_told_in_words_or_as_it_is(sddl: str, told: list[str]) -> None:
    assert grants(sddl) == told
