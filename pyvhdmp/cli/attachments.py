"""``attach``, ``attached`` and ``detach``: virtual disks as disks of this machine."""

from __future__ import annotations

import argparse

from pyvhdmp._win32 import constants
from pyvhdmp.cli import argument_types as types
from pyvhdmp.cli.interrupts import Interrupted
from pyvhdmp.cli.output import print_result, print_table
from pyvhdmp.cli.parser import Commands, add_json
from pyvhdmp.disk import is_vhdmp_out_of_reach, open_virtual_disk, refuse_without_vhdmp
from pyvhdmp.errors import code_of
from pyvhdmp.virtual_disk import VirtualDisk
from pyvhdmp.virtual_disk.security import grants

__all__ = ["add_to", "attach", "attached", "detach"]


def add_to(commands: Commands) -> None:
    """Add what can be said."""
    parser = commands.add(
        "attach",
        attach,
        "attach a virtual disk to this machine",
        "Attach a virtual disk as if it had been plugged in, and print the device that it is. It "
        "stays attached until it is detached or the machine restarts.",
        "disk.vhdx --read-only",
    )
    parser.add_argument(
        "path", metavar="PATH", type=types.path, help="the virtual disk, or an .iso"
    )
    parser.add_argument("--read-only", action="store_true", help="let nobody write to it")
    parser.add_argument(
        "--no-drive-letter", action="store_true", help="give its volumes no drive letters"
    )
    parser.add_argument(
        "--sddl",
        metavar="TEXT",
        help="who may use the attached disk, such as D:P(A;;GA;;;BA) for administrators alone; it "
        "is told in words (default: who may use the file)",
    )
    add_json(parser, "print what was attached as JSON")

    parser = commands.add(
        "attached",
        attached,
        "list the virtual disks that are attached",
        "List the virtual disks that are attached to this machine, by whomever: the device, and "
        "the file where Windows tells it.",
        "--json",
    )
    add_json(parser, "print them as JSON")

    parser = commands.add(
        "detach",
        detach,
        "detach a virtual disk",
        "End the attachment of a virtual disk, whoever attached it.",
        "disk.vhdx",
    )
    parser.add_argument("path", metavar="PATH", type=types.path, help="the virtual disk")
    add_json(parser, "print what was detached as JSON")


def attach(options: argparse.Namespace) -> int:
    """``attach PATH``: until it is detached, or the machine restarts."""
    path = options.path
    try:
        with open_virtual_disk(path, read_only=options.read_only) as disk:
            device = disk.attach(
                read_only=options.read_only,
                drive_letter=not options.no_drive_letter,
                permanent=True,
                sddl=options.sddl,
            )
            read_only = disk.is_read_only
    except KeyboardInterrupt as error:
        raise Interrupted(_state(path)) from error
    facts: dict[str, object] = {"path": path, "device": device, "read_only": read_only}
    lines = [device]
    if options.sddl is not None:
        facts |= {"sddl": options.sddl, "grants": grants(options.sddl)}
        lines += grants(options.sddl)
    print_result(options, facts, "\n".join(lines))
    return 0


def attached(options: argparse.Namespace) -> int:
    """``attached``: the virtual disks that are attached to this machine."""
    disks = [{"device": device, "path": _file_of(device)} for device in _devices()]
    lines = ["  ".join(text for text in disk.values() if text) for disk in disks]
    rows = [(disk["device"] or "", disk["path"] or "") for disk in disks]
    print_table(options, {"attached": disks}, "\n".join(lines), rows, ("device", "file"))
    return 0


def detach(options: argparse.Namespace) -> int:
    """``detach PATH``, whoever attached it."""
    path = options.path
    try:
        with open_virtual_disk(path, attached=True) as disk:
            disk.detach()
    except KeyboardInterrupt as error:
        raise Interrupted(_state(path)) from error
    print_result(options, {"path": path}, f"detached {path}")
    return 0


def _devices() -> tuple[str, ...]:
    """Return what is attached. Raises `InvalidInputError` if there is no VHDMP to tell."""
    try:
        return VirtualDisk.attached_disks()
    except OSError as error:
        if not is_vhdmp_out_of_reach(error):
            raise
        refuse_without_vhdmp(None, "this needs Windows' VHDMP driver", error)


def _file_of(device: str) -> str | None:
    """Return the file that an attached disk is in, where Windows tells."""
    try:
        nearest = VirtualDisk.dependencies(device)[:1]
    except OSError:
        return None
    for dependency in nearest:
        return dependency.host_volume.rstrip("\\") + "\\" + dependency.path.lstrip("\\")
    return None


def _state(path: str) -> str:
    try:
        with VirtualDisk.open_attached(path) as disk:
            return f"{path} is attached as {disk.physical_path}"
    except OSError as error:
        if code_of(error) == constants.ERROR_NOT_READY:
            return f"{path} is not attached"
        return f"whether {path} is attached, Windows does not tell"
