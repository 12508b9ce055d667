"""Started by its path, so it makes the checkout importable, behind the standard library."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

if sys.platform == "win32":
    from tests.support.winpython.on_windows import main
else:
    from tests.support.winpython.on_linux import main

sys.exit(main(sys.argv[1:]))
