"""Disk images of other formats, which would pass for raw ones: most have a whole number of sectors.

What they begin with is from their specifications: Microsoft's of VHDX and VHD, QEMU's of
qcow2 and QED, VMware's of VMDK, and VirtualBox's source for VDI.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pyvhdmp.errors import InvalidInputError

__all__ = ["AS_IT_IS", "check_raw"]

AS_IT_IS: Final = "open_disk(path, backend='raw') takes it as it is."


class _Format(NamedTuple):
    """A format: what to call it, what to name its files, and what they have at an offset."""

    name: str
    suffix: str | None
    magic: bytes
    offset: int = 0


_AT_START: Final = (
    _Format("a VHDX", ".vhdx", b"vhdxfile"),
    _Format("a dynamic or differencing VHD", ".vhd", b"conectix"),
    _Format("a qcow2 image", None, b"QFI\xfb"),
    _Format("a QED image", None, b"QED\0"),
    _Format("a VMDK", None, b"KDMV"),
    _Format("a VMDK", None, b"COWD"),
    _Format("the description of a VMDK", None, b"# Disk DescriptorFile"),
    _Format("a VDI", None, b"\x7f\x10\xda\xbe", 64),
)
_AT_END: Final = (_Format("a fixed VHD", ".vhd", b"conectix"),)


def check_raw(first: bytes, last: bytes, path: str) -> None:
    """Raise `InvalidInputError` if the first and the last sector of a file are no raw image's."""
    for sector, formats in ((first, _AT_START), (last, _AT_END)):
        for format in formats:
            if sector.startswith(format.magic, format.offset):
                raise _refusal(format, path)


def _refusal(format: _Format, path: str) -> InvalidInputError:
    advice = "which nothing here reads"
    if format.suffix is not None:
        advice = f"and has to have a name that ends in {format.suffix}"
    error = InvalidInputError.because(f"no raw image: this is {format.name}, {advice}", path)
    error.add_note(AS_IT_IS)
    return error
