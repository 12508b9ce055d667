"""Started by its path, so it makes the checkout importable, behind the standard library."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from tests.support.vhdx.server import main

sys.exit(main())
