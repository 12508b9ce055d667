"""Ctrl+C while the command line starts: one line, as at any other time.

To run `pyvhdmp`, Python imports this package before it comes to anything that could catch
`KeyboardInterrupt`. So this is imported first, and changes nothing in any other program.
"""

from __future__ import annotations

import ntpath
import signal
import sys

TYPE_CHECKING = False  # typing would be most of what the package's import costs
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final

__all__ = ["is_program", "over"]

_NAME: Final = "pyvhdmp"


def is_program(arguments: list[str], original: list[str]) -> bool:
    """Whether ``python -m pyvhdmp`` or the script is starting: `sys.argv`, `sys.orig_argv`."""
    if arguments[:1] == ["-m"]:  # as long as the module is looked for
        return "-m" in original and original[original.index("-m") + 1 :][:1] == [_NAME]
    name = ntpath.basename("".join(arguments[:1])).lower()
    return name in (_NAME, f"{_NAME}.exe", f"{_NAME}-script.py")


def over() -> None:
    """From here on there is somebody who catches `KeyboardInterrupt`."""
    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write(f"{_NAME}: interrupted\n")
    sys.exit(130)


if (
    is_program(getattr(sys, "argv", []), sys.orig_argv)
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _interrupted)
