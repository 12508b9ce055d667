"""Every flag, enumeration and constant of virtdisk.h, by the name that it has there."""

from __future__ import annotations

import enum
import re
import uuid

import pytest

from pyvhdmp._win32 import virtdisk_enums as enums
from tests.support.virtdisk_h import DEFINES, ENUMERATIONS, GUIDS

CLASSES = {
    name: value
    for name, value in vars(enums).items()
    if isinstance(value, type)
    and issubclass(value, enum.IntEnum | enum.IntFlag)
    and value.__module__ == enums.__name__
}

# Whose constants do not begin with the whole name of their enumeration, in the header.
PREFIXES = {
    "GET_VIRTUAL_DISK_INFO_VERSION": "GET_VIRTUAL_DISK_INFO",
    "SET_VIRTUAL_DISK_INFO_VERSION": "SET_VIRTUAL_DISK_INFO",
    "MODIFY_VHDSET_VERSION": "MODIFY_VHDSET",
}


def class_of(enumeration: str) -> type[enum.IntEnum | enum.IntFlag]:
    """Return the class for an enumeration of the header."""
    return CLASSES[enumeration.removesuffix("_MASK")]


def name_in_the_header(class_name: str, member: str) -> str:
    """Return the header's name of a constant: that of its enumeration, then that of the member.

    VERSION_1 stands for 1, which Python does not take for a name.
    """
    if re.fullmatch(r"VERSION_\d", member):
        return f"{class_name.removesuffix('_VERSION')}_{member}"
    return f"{PREFIXES.get(class_name, class_name)}_{member}"


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_an_enumeration_has_the_names_and_values_of_the_header_and_no_others(
    enumeration: str,
) -> None:
    members = class_of(enumeration)
    assert {
        name_in_the_header(members.__name__, name): int(member)
        for name, member in members.__members__.items()
    } == ENUMERATIONS[enumeration]


def test_there_are_no_other_enumerations() -> None:
    assert set(CLASSES.values()) == set(map(class_of, ENUMERATIONS))


@pytest.mark.parametrize("name", CLASSES)
def test_a_version_is_one_of_a_list_and_flags_can_be_combined(name: str) -> None:
    kind = enum.IntEnum if name.endswith("_VERSION") else enum.IntFlag
    assert issubclass(CLASSES[name], kind)


def test_flags_stay_flags_when_they_are_combined() -> None:
    both = enums.ATTACH_VIRTUAL_DISK_FLAG.READ_ONLY | enums.ATTACH_VIRTUAL_DISK_FLAG.NO_LOCAL_HOST
    assert isinstance(both, enums.ATTACH_VIRTUAL_DISK_FLAG)
    assert both == 9


def test_the_other_constants_are_those_of_the_header_and_no_others() -> None:
    numbers = {name: value for name, value in vars(enums).items() if type(value) is int}
    without_names = {name for name in numbers if name.startswith("PROVIDER_SUBTYPE_")}
    assert {name: numbers[name] for name in numbers.keys() - without_names} == DEFINES
    guids = {name: value for name, value in vars(enums).items() if isinstance(value, uuid.UUID)}
    assert {name: str(value) for name, value in guids.items()} == GUIDS
