"""What the host must be and have.

Nothing of it is mounted, unmounted or reconfigured. At most Debian packages are installed.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("not for Windows")

import os
import platform
import shutil

from tests.support.winpython.cache import Cache, SetupError


def check_host() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise SetupError(f"needs Linux on amd64 (this is {sys.platform} on {platform.machine()})")
    if os.getuid() != 0:
        raise SetupError("its first call must be made as root")
    for path in ("/dev/null", "/proc/self/exe"):
        if not os.path.exists(path):
            raise SetupError(f"needs {path}")


def host_debian() -> int:
    """The host's version of Debian; 0 where it is another system."""
    release = platform.freedesktop_os_release()
    return int(release.get("VERSION_ID", "13")) if release.get("ID") == "debian" else 0


def install(cache: Cache, *packages: str) -> None:
    """Install Debian packages on the host."""
    wanted = f"needs {' '.join(packages)}, and can install that only"
    if not shutil.which("apt-get"):
        raise SetupError(f"{wanted} with apt-get")
    if os.getuid() != 0:
        raise SetupError(f"{wanted} as root")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["-y", "--no-install-recommends"]
    cache.step("apt-get-update", ["apt-get", "update"], environment)
    cache.step("apt-get-install", ["apt-get", "install", *options, *packages], environment)
