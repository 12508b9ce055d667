"""What importing the package does, and what its names are."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyvhdmp

PACKAGE = Path(pyvhdmp.__file__).parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "pyvhdmp.")
    if info.name != "pyvhdmp.__main__"
)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_on_every_system(name: str) -> None:
    importlib.import_module(name)


def test_importing_starts_no_thread_binds_no_function_and_imports_little() -> None:
    code = (
        "import threading, pyvhdmp, pyvhdmp.cli; from pyvhdmp import _win32; "
        "assert threading.active_count() == 1; assert _win32._installed is None; "
        "import sys; assert not {'matplotlib', 'asyncio', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is what it needs")
@pytest.mark.parametrize(
    "use",
    [
        pyvhdmp.CompletionPort,
        pyvhdmp.CompletionPort.default,
        lambda: pyvhdmp.open_disk("disk.vhd"),
        lambda: pyvhdmp.make_fixed_vhd("disk.vhd", 512),
        lambda: pyvhdmp.OverlappedFile(4),
        lambda: pyvhdmp.VhdmpDisk.open("disk.vhdx"),
        lambda: pyvhdmp.VirtualDisk.open("disk.vhdx"),
        lambda: pyvhdmp.VirtualDisk.create_fixed("disk.vhdx", 1 << 30),
    ],
)
def test_the_first_real_use_elsewhere_names_what_can_stand_in(use: object) -> None:
    assert callable(use)
    with pytest.raises(RuntimeError, match=r"pyvhdmp\.testing"):
        use()
