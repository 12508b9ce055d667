"""What is built: what is in it, and the main job with it on bare Windows Pythons."""

from __future__ import annotations

import email
import email.message
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import pyvhdmp
from tests.support.launcher import needs_winpython, winpython

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = pyvhdmp.__version__

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


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"pyvhdmp-{VERSION}.dist-info/METADATA")
    return email.message_from_bytes(content)


def files_of(*folders: str) -> set[str]:
    """Return the checkout's files in some folders, without what Python and tools leave there."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_for_any_python_and_system(wheel: Path) -> None:
    assert wheel.name == f"pyvhdmp-{VERSION}-py3-none-any.whl"


def test_the_wheel_holds_the_package_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources, info = files_of("pyvhdmp"), f"pyvhdmp-{VERSION}.dist-info"
    assert "pyvhdmp/py.typed" in sources
    assert {name for name in names if not name.startswith(f"{info}/")} == sources
    assert {name.removeprefix(f"{info}/") for name in names - sources} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_metadata_is_complete(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "pyvhdmp"
    assert metadata["Version"] == VERSION
    assert metadata["Summary"]
    assert metadata["Author"]
    assert metadata["Keywords"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description == (ROOT / "README.md").read_text(encoding="utf-8").encode()


def test_the_classifiers_are_known_ones(metadata: email.message.Message) -> None:
    known = pytest.importorskip("trove_classifiers").classifiers
    classifiers = metadata.get_all("Classifier", [])
    assert "Programming Language :: Python :: 3.11" in classifiers
    assert set(classifiers) <= known
    assert len(classifiers) == len(set(classifiers))


def test_nothing_is_required_unless_an_extra_is_asked_for(
    metadata: email.message.Message,
) -> None:
    assert metadata.get_all("Provides-Extra") == ["cli", "plot"]
    assert metadata.get_all("Requires-Dist") == [
        "rich>=13; extra == 'cli'",
        "matplotlib>=3.9; extra == 'plot'",
    ]


def test_the_command_is_the_only_entry_point(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"pyvhdmp-{VERSION}.dist-info/entry_points.txt").decode()
    assert text.split() == ["[console_scripts]", "pyvhdmp", "=", "pyvhdmp.cli:run"]


def test_the_version_is_said_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    paths = [ROOT / name for name in files_of("pyvhdmp")]
    paths += [ROOT / "pyproject.toml", ROOT / "README.md"]
    saying = [path for path in paths if VERSION in path.read_text(encoding="utf-8")]
    assert saying == [ROOT / "pyvhdmp" / "__init__.py"]


def test_a_packager_finds_everything_in_the_sdist(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        top = {name.split("/")[1] for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / path.name.removesuffix(".tar.gz")
    folders = [".github", "pyvhdmp", "tests", "typings"]
    files = [".gitattributes", ".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"]
    assert top == {*folders, *files}
    missing = {name for name in files_of(*folders) if not (folder / name).is_file()}
    assert not missing
    assert os.access(folder / "tests" / "run", os.X_OK)

    tests = ["tests/test_readme.py", "tests/_win32/test_prototypes.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


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
print(run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
print(run(python, "-c", "import pyvhdmp; print(pyvhdmp.__file__)"))
print(run(python, "-m", "pyvhdmp", "copy", "in.img", "out.vhd", "--verify"))
print(run(str(bare / "Scripts" / "pyvhdmp.exe"), "compare", "in.img", "out.vhd"))
"""


@needs_winpython
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_bare_windows_python_installs_the_wheel_and_does_the_main_job(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    chosen = {"WINPYTHON": version}
    (tmp_path / "in.img").write_bytes(b"\x01" * (1 << 20))
    found = winpython("-c", "import pip; print(pip.__path__[0])", cwd=tmp_path, environment=chosen)
    pip = str(Path(found.stdout.strip().replace("\\", "/")[2:]).parent)
    # pip alone, without what else the test packages' folder has
    shutil.copytree(Path(pip, "pip"), tmp_path / "pip" / "pip")
    script = tmp_path / "install.py"
    script.write_text(INSTALL_AND_COPY, encoding="utf-8")
    arguments = [script, wheel, tmp_path, tmp_path / "pip"]
    done = winpython(*arguments, cwd=tmp_path, environment=chosen)
    assert done.returncode == 0, done.stderr
    running, where, copied, compared = done.stdout.splitlines()
    assert running == version
    assert "site-packages" in where
    assert copied.endswith("verified")
    assert compared == "identical"
