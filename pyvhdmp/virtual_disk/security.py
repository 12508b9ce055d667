"""Who may use an attached disk: security descriptors, as SDDL tells them.

Rules:

1. Windows alone reads SDDL for what is done. What is told of it here is for people, and where it
   has what is not known here, the SDDL itself is what is told.
2. The memory of a descriptor is given back when the call that wants it has returned.

Source: "Security Descriptor String Format" and "ACE Strings" of Microsoft's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pyvhdmp._win32 import Windows
from pyvhdmp._win32.memory import address_of
from pyvhdmp._win32.virtdisk_structures import HANDLE_CELL
from pyvhdmp.checks import instance
from pyvhdmp.errors import InvalidInputError, last_error, reason_of

__all__ = ["grants", "security_descriptor"]

_REVISION: Final = 1

_SID: Final = r"S-1(?:-[0-9]+)+|[A-Z]{2}"
_SDDL: Final = re.compile(
    rf"(?:O:(?P<owner>{_SID}))?(?:G:(?:{_SID}))?"
    r"(?:D:P?(?:AI|AR)*(?P<null>NO_ACCESS_CONTROL)?(?P<aces>(?:\([^()]*\))*))?"
)
_ACE: Final = re.compile(rf"\((A|D);;([^;]*);;;({_SID})\)")
_WHO: Final = {
    "AN": "anonymous users",
    "AU": "all users who have signed in",
    "BA": "administrators",
    "BG": "guests",
    "BO": "backup operators",
    "BU": "users",
    "CO": "the creator",
    "IU": "whoever is signed in at this machine",
    "LS": "local services",
    "NS": "network services",
    "NU": "whoever comes over the network",
    "OW": "the owner",
    "PU": "power users",
    "SU": "services",
    "SY": "the system",
    "WD": "everybody",
}
_READ, _WRITE, _RUN = "read it", "write it", "execute it"
_ALL: Final = (_READ, _WRITE, "change who may")
_RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "GA": _ALL,
    "FA": _ALL,
    "GR": (_READ,),
    "FR": (_READ,),
    "GW": (_WRITE,),
    "FW": (_WRITE,),
    "GX": (_RUN,),
    "FX": (_RUN,),
}
_MASKS: Final = {
    0x10000000: "GA",
    0x1F01FF: "FA",
    0x80000000: "GR",
    0x120089: "FR",
    0x40000000: "GW",
    0x120116: "FW",
    0x20000000: "GX",
    0x1200A0: "FX",
}


@contextmanager
def security_descriptor(windows: Windows, sddl: str | None) -> Iterator[int]:
    """Hold the SECURITY_DESCRIPTOR that a text stands for; the address is 0 for None.

    Raises `TypeError` for no text, and `InvalidInputError` for one that is no SDDL.
    """
    if sddl is None:
        yield 0
        return
    cell = HANDLE_CELL()
    if not instance(sddl, str, "sddl") or "\0" in sddl:
        raise _refusal(sddl, "it is empty or has a NUL in it")
    function = windows.advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
    if not function(sddl, _REVISION, address_of(cell), 0):
        error = last_error(windows, "ConvertStringSecurityDescriptorToSecurityDescriptorW")
        raise _refusal(sddl, reason_of(error)) from error
    try:
        yield cell.Value
    finally:  # rule 2
        windows.kernel32.LocalFree(cell.Value)


def _refusal(sddl: str, reason: str) -> InvalidInputError:
    return InvalidInputError.because(
        f"sddl must be a security descriptor, such as 'D:P(A;;GA;;;BA)', not {sddl!r}: {reason}"
    )


def grants(sddl: str) -> list[str]:
    """Return what a security descriptor says of a disk, a sentence each."""
    found = _SDDL.fullmatch(sddl)
    if found is None:  # rule 1
        return [sddl]
    told = []
    if found["owner"] is not None:
        told.append(f"owner: {_who(found['owner'])}")
    if found["aces"] is None or found["null"]:
        return [*told, "everybody may do everything"]
    if not found["aces"]:
        return [*told, "nobody may do anything"]
    return told + [_entry(ace) for ace in re.findall(r"\([^()]*\)", found["aces"])]


def _who(sid: str) -> str:
    return _WHO.get(sid, sid)


def _entry(ace: str) -> str:
    found = _ACE.fullmatch(ace)
    rights = None if found is None else _rights(found[2])
    if found is None or rights is None:
        return ace
    verb = "may" if found[1] == "A" else "may not"
    return f"{_who(found[3])} {verb} {_joined(rights, 'and' if found[1] == 'A' else 'or')}"


def _rights(text: str) -> tuple[str, ...] | None:
    """Return what rights are for, None if one of them is not known here."""
    if text.startswith("0x"):
        try:
            text = _MASKS.get(int(text, 16), "?")
        except ValueError:
            return None
    names = [text[at : at + 2] for at in range(0, len(text), 2)]
    if not names or not all(name in _RIGHTS for name in names):
        return None
    return tuple(dict.fromkeys(right for name in names for right in _RIGHTS[name]))


def _joined(words: tuple[str, ...], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
