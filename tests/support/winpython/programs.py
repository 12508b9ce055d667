"""Wine's programs, the loader and the server.

1. The host's own are used where they are new enough, or where its Debian is, and has them.
2. Elsewhere Debian 13's packages are unpacked into the cache, and the programs are patched to use
   the C library and the libraries beside them. The host stays as it is.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.winpython.cache import Cache, say
from tests.support.winpython.host import check_host, host_debian, install

OLDEST_WINE = 9  # Wine 8 lacks NtFlushBuffersFileEx
DEBIAN, DEBIAN_VERSION = "trixie", 13


def find_programs(cache: Cache) -> tuple[Path, Path]:
    return host_programs() or cached_programs(cache)


def host_programs() -> tuple[Path, Path] | None:
    debian = Path("/usr/lib/wine")  # without the packages' wrappers
    candidates = [(debian / "wine64", debian / "wineserver64")]
    if (loader := shutil.which("wine")) and (server := shutil.which("wineserver")):
        candidates.append((Path(loader), Path(server)))
    for pair in candidates:
        if pair[0].exists() and pair[1].exists():
            answer = subprocess.run([pair[0], "--version"], capture_output=True, text=True).stdout
            found = re.match(r"wine-(\d+)", answer)
            if found and int(found[1]) >= OLDEST_WINE:
                return pair
    return None


def cached_programs(cache: Cache) -> tuple[Path, Path]:
    root = cache.folder / f"wine-{DEBIAN}"
    if not root.exists():
        check_host()
        if host_debian() >= DEBIAN_VERSION:
            with cache.locked():
                say("installing Wine ...")
                install(cache, "wine", "wine64")
            if found := host_programs():
                return found
        with cache.making(root, f"installing Wine (of Debian {DEBIAN}, 1 GB)") as temporary:
            if temporary:
                unpack(cache, temporary, root)
    return root / "usr/lib/wine/wine64", root / "usr/lib/wine/wineserver64"


def unpack(cache: Cache, temporary: Path, root: Path) -> None:
    """Unpack Wine and all it depends on into `temporary`, to be run from `root`."""
    if not shutil.which("debootstrap"):
        install(cache, "debootstrap", "debian-archive-keyring")
    download = temporary / "download"
    options = ["--download-only", "--variant=minbase", "--include=wine,wine64,patchelf"]
    cache.step("debootstrap", ["debootstrap", *options, DEBIAN, download])
    for package in sorted(download.glob("var/cache/apt/archives/*.deb")):
        cache.step("dpkg-deb", ["dpkg-deb", "--extract", package, temporary])
    shutil.rmtree(download)
    patch(cache, temporary, root)

    # What the packages' scripts would do: Wine accepts a zlib that bears its mark.
    zlib = (temporary / "usr/x86_64-w64-mingw32/lib/zlib1.dll").read_bytes()
    marked = zlib[:64] + b"Wine builtin DLL".ljust(32, b"\0") + zlib[96:]
    builtin = temporary / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
    (builtin / "zlib1.dll").write_bytes(marked)

    # Wine looks for its server and its code pages at places relative to its programs, which
    # Debian keeps elsewhere.
    server = temporary / "usr/lib/wine/wineserver"
    server.unlink()
    server.symlink_to("wineserver64")
    (temporary / "usr/share/wine/wine").symlink_to(".")


def patch(cache: Cache, temporary: Path, root: Path) -> None:
    """Have the programs use the linker and the libraries beside them, see rule 2."""
    libraries = Path("usr/lib/x86_64-linux-gnu")
    linker = libraries / "ld-linux-x86-64.so.2"
    patchelf: list[str | Path] = [temporary / linker, "--library-path", temporary / libraries]
    patchelf += [temporary / "usr/bin/patchelf", "--set-interpreter", root / linker]
    patchelf += ["--force-rpath", "--set-rpath", root / libraries]
    for program in ("wine64", "wineserver64"):
        cache.step("patchelf", [*patchelf, temporary / "usr/lib/wine" / program])
