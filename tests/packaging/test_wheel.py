"""The wheel: what is in it, and the main job with it on a bare Windows Python."""

from __future__ import annotations

import email
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pyvhdmp
from tests.support.launcher import needs_winpython, winpython

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("build") is None, reason="needs the package build"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, of the checkout; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_is_for_any_python_and_system(wheel: Path) -> None:
    assert wheel.name == f"pyvhdmp-{pyvhdmp.__version__}-py3-none-any.whl"


def test_the_wheel_holds_the_package_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "pyvhdmp").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert "pyvhdmp/py.typed" in sources
    info = f"pyvhdmp-{pyvhdmp.__version__}.dist-info"
    assert {name for name in names if not name.startswith(info)} == sources
    assert f"{info}/licenses/LICENSE" in names


def test_the_wheel_has_no_dependency_and_complete_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        scripts = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert all("; extra == " in wanted for wanted in metadata.get_all("Requires-Dist", []))
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "pyvhdmp = pyvhdmp.cli:run" in scripts


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "pyvhdmp/__init__.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".ci"))]


INSTALL_AND_COPY = """
import os, pathlib, shutil, subprocess, sys
wheel, folder, pip = sys.argv[1:]
bare = pathlib.Path(folder, "python")
shutil.copytree(sys.base_prefix, bare)
python = str(bare / "python.exe")
for name in ("PYTHONPATH", "PYTHONPYCACHEPREFIX"):
    os.environ.pop(name, None)
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
os.chdir(folder)

def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.strip()

assert "pyvhdmp" not in run(python, "-c", "import sys; print(sys.path)")
run(python, "-m", "pip", "install", "--no-index", "--no-warn-script-location", wheel,
    env=os.environ | {"PYTHONPATH": pip})
print(run(python, "-c", "import pyvhdmp; print(pyvhdmp.__file__)"))
print(run(python, "-m", "pyvhdmp", "copy", "in.img", "out.vhd", "--verify"))
print(run(str(bare / "Scripts" / "pyvhdmp.exe"), "compare", "in.img", "out.vhd"))
"""


@needs_winpython
def test_a_bare_windows_python_installs_the_wheel_and_does_the_main_job(
    wheel: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.img").write_bytes(b"\x01" * (1 << 20))
    found = winpython("-c", "import pip; print(pip.__path__[0])", cwd=tmp_path)
    pip = str(Path(found.stdout.strip().replace("\\", "/")[2:]).parent)
    # pip alone, without what else the test packages' folder has
    shutil.copytree(Path(pip, "pip"), tmp_path / "pip" / "pip")
    script = tmp_path / "install.py"
    script.write_text(INSTALL_AND_COPY, encoding="utf-8")
    done = winpython(script, str(wheel), str(tmp_path), str(tmp_path / "pip"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, copied, compared = done.stdout.splitlines()
    assert "site-packages" in where
    assert copied.endswith("verified")
    assert compared == "identical"
