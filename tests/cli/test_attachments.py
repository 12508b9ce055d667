"""attach, attached and detach."""

from __future__ import annotations

import pytest

from pyvhdmp import VirtualDisk
from pyvhdmp._win32 import virtdisk_enums as enums
from pyvhdmp.testing import SimulatedWindows
from tests.cli.conftest import MIB, Run

FLAG = enums.ATTACH_VIRTUAL_DISK_FLAG


@pytest.fixture
def disks(vhdmp: SimulatedWindows) -> SimulatedWindows:
    VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
    VirtualDisk.create_dynamic("b.vhd", 8 * MIB).close()
    return vhdmp


@pytest.mark.usefixtures("disks")
def test_a_disk_stays_attached_until_it_is_detached(run: Run) -> None:
    device = run("attach", "a.vhdx").text.strip()
    assert device.startswith("\\\\.\\PhysicalDrive")
    assert run("info", "a.vhdx", "--json").json["physical_path"] == device
    second = run("attach", "b.vhd", "--read-only", "--no-drive-letter", "--json").json
    assert second == {"path": "b.vhd", "device": second["device"], "read_only": True}
    assert [line.split()[0] for line in run("attached").text.splitlines()] == [
        device,
        second["device"],
    ]
    assert [line[-6:] for line in run("attached").text.splitlines()] == ["a.vhdx", "\\b.vhd"]
    found = run("attached", "--json").json["attached"]
    assert [disk["device"] for disk in found] == [device, second["device"]]
    assert run("detach", "a.vhdx").text == "detached a.vhdx\n"
    assert run("detach", "b.vhd", "--json").json == {"path": "b.vhd"}
    assert run("attached").text == ""
    assert run("attached", "--json").json == {"attached": []}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ([], FLAG.PERMANENT_LIFETIME),
        (["--read-only"], FLAG.PERMANENT_LIFETIME | FLAG.READ_ONLY),
        (["--no-drive-letter"], FLAG.PERMANENT_LIFETIME | FLAG.NO_DRIVE_LETTER),
    ],
)
@pytest.mark.usefixtures("disks")
def test_the_options_reach_windows(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], flags: int
) -> None:
    seen: list[tuple[int, bool]] = []
    real = VirtualDisk._attach

    def attach(self: VirtualDisk, flags: int, read_only: bool, part: None, sddl: None) -> None:
        seen.append((flags, read_only))
        real(self, flags, read_only, part, sddl)

    monkeypatch.setattr(VirtualDisk, "_attach", attach)
    assert run("attach", "a.vhdx", *options).code == 0
    assert seen == [(flags & ~FLAG.READ_ONLY, bool(flags & FLAG.READ_ONLY))]
    assert run("detach", "a.vhdx").code == 0


@pytest.mark.usefixtures("disks")
def test_who_may_use_the_attached_disk_is_told_in_words(run: Run) -> None:
    sddl = "O:BAD:P(A;;GA;;;BA)(A;;GR;;;S-1-5-21-1-2-3-1001)"
    told = [
        "owner: administrators",
        "administrators may read it, write it and change who may",
        "S-1-5-21-1-2-3-1001 may read it",
    ]
    device, *lines = run("attach", "a.vhdx", "--sddl", sddl).text.splitlines()
    assert device.startswith("\\\\.\\PhysicalDrive")
    assert lines == told
    found = run("attach", "b.vhd", "--sddl", sddl, "--json").json
    assert (found["sddl"], found["grants"]) == (sddl, told)
    run("detach", "a.vhdx")
    run("detach", "b.vhd")


@pytest.mark.usefixtures("disks")
def test_an_sddl_that_is_none_is_refused_and_nothing_is_attached(run: Run) -> None:
    error = run("attach", "a.vhdx", "--sddl", "everybody").error
    assert error.startswith("sddl must be a security descriptor")
    assert "not 'everybody'" in error
    assert run("attached").text == ""


def test_a_device_whose_file_windows_does_not_tell_is_listed(
    disks: SimulatedWindows, run: Run
) -> None:
    device = run("attach", "a.vhdx").text
    disks.fail_next("GetStorageDependencyInformation", 5)
    assert run("attached").text == device
    run("detach", "a.vhdx")


@pytest.mark.usefixtures("disks")
def test_what_cannot_be_attached_or_detached_says_why(run: Run) -> None:
    assert "(Windows error 2)" in run("attach", "none.vhdx").error
    assert run("detach", "a.vhdx").error.endswith("(Windows error 21). The disk was not attached.")
    run("attach", "a.vhdx")
    assert "It is open elsewhere" in run("attach", "a.vhdx").error
    run("detach", "a.vhdx")


@pytest.mark.parametrize("command", ["attach", "detach"])
def test_without_vhdmp_they_say_so(disks: SimulatedWindows, run: Run, command: str) -> None:
    disks.vhdmp = False
    need = "this needs Windows' VHDMP driver, which does not work here: "
    assert run(command, "a.vhdx").error.startswith(f"a.vhdx: {need}")
    assert "(Windows error 2)" in run(command, "none.vhdx").error
    said = run("attached").error.strip()  # and no hint about a disk that nobody named
    assert said.startswith(need)
    assert said.endswith("(Windows error 120). A system that has none answers so, as Wine does.")


def test_without_the_right_attach_says_what_it_takes(run: Run) -> None:
    with SimulatedWindows(elevated=False):
        VirtualDisk.create_dynamic("a.vhdx", 8 * MIB).close()
        error = run("attach", "a.vhdx").error
        assert "(Windows error 1314). It needs a process that is run as administrator" in error


@pytest.mark.usefixtures("disks")
def test_ctrl_c_says_whether_the_disk_is_attached(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    real_attach, real_detach = VirtualDisk.attach, VirtualDisk.detach

    def too_late(self: VirtualDisk, **options: bool) -> None:
        real_attach(self, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(VirtualDisk, "attach", interrupted)
    assert run("attach", "a.vhdx").interruption == "a.vhdx is not attached"
    monkeypatch.setattr(VirtualDisk, "attach", too_late)
    state = run("attach", "a.vhdx").interruption
    assert state.startswith("a.vhdx is attached as \\\\.\\PhysicalDrive")
    monkeypatch.setattr(VirtualDisk, "detach", interrupted)
    assert run("detach", "a.vhdx").interruption == state
    monkeypatch.setattr(VirtualDisk, "detach", real_detach)
    assert run("detach", "a.vhdx").code == 0
