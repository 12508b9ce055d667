"""Wine with its prefix, the folder that is its Windows.

1. The prefix is the caller's WINEPREFIX, or the cache's.
2. The programs' environment is the caller's, without what would make Wine behave differently
   elsewhere.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import os
from dataclasses import dataclass
from pathlib import Path

from tests.support.winpython.cache import Cache, SetupError
from tests.support.winpython.programs import find_programs

NO_FONTS = "fonts.conf"  # an empty one: a host without any makes every program complain

# Debian's Wine crashes when there is a TMPDIR.
UNWANTED = {"WINEARCH", "WINEDLLPATH", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONHOME", "TMPDIR"}


@dataclass(frozen=True)
class Wine:
    loader: Path
    server: Path
    prefix: Path
    runtime: Path

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in UNWANTED} | {
            "WINELOADER": str(self.loader),
            "WINESERVER": str(self.server),
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "FONTCONFIG_FILE": str(self.runtime / NO_FONTS),
            "LC_ALL": "C.UTF-8",
        }


def find_wine(cache: Cache) -> Wine:
    """Wine with its prefix booted."""
    loader, server = find_programs(cache)
    runtime = cache.folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    (runtime / NO_FONTS).write_text("<fontconfig/>\n", encoding="utf-8")
    named = os.environ.get("WINEPREFIX")
    prefix = Path(os.path.abspath(named)) if named else cache.folder / "prefix"
    wine = Wine(loader, server, prefix, runtime)
    if not prefix.exists():  # one that exists is completed by start_server, if need be
        boot_prefix(cache, wine)
    return wine


def boot_prefix(cache: Cache, wine: Wine) -> None:
    with cache.making(wine.prefix, "booting Wine") as temporary:
        if temporary:
            new = Wine(wine.loader, wine.server, temporary, wine.runtime)
            cache.step("wineboot", [wine.loader, "wineboot", "--init"], new.environment())
            cache.step("wineserver", [wine.server, "--wait"], new.environment())
            if not (temporary / "system.reg").exists():
                raise SetupError(f"wineboot failed, see {cache.folder / 'wineboot.log'}")
