"""`tests/winpython ARGS...`: the Windows Python, here.

On Windows this is the running interpreter. On Linux it is the genuine Windows CPython (3.13, or
what WINPYTHON says) on Wine, with the checkout and the packages of pyproject.toml's dependency
group `windows-test` (or what WINPYTHON_GROUP says) importable. Host paths work as they are, for
the current drive is Z:, which is the host's root. Everything lives in one cache folder, which is
PYVHDMP_CACHE or XDG_CACHE_HOME/pyvhdmp; a WINEPREFIX and a WINEDEBUG of the caller's are used.
On Linux, WINPYTHON_VHDX=1 makes every .vhdx a genuine one, see `tests.support.vhdx`. What keeps
it from working is told in one line on standard error, with exit code 2.

Structure, each module after those it uses; `__main__` chooses one of the first two:

- `on_windows`: the whole of it there.
- `on_linux`: what happens in one call, in order.
- `cache`: the folder of everything that is set up, and how its parts are made.
- `host`: what the host must be and have.
- `programs`: Wine's loader and server, the host's or unpacked into the cache.
- `wine`: Wine with its prefix and its environment.
- `server`: the Wine server that lives between calls.
- `python`: the Windows Python and its packages.
- `vhdx`: the helper for genuine VHDX images, where it is asked for.
- `run`: the program's descriptors, signals and exit code.

Known limits: pip picks the packages' wheels for Windows but evaluates their markers for the host,
so the group must name a Windows-only dependency itself. Of an exit code, Linux passes on the
lowest eight bits. There is no interactive input: the prompt of a Python without arguments ends at
once. A terminal gets what is written as UTF-8, where a pipe gets it in Windows' code page.
"""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
