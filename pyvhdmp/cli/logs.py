"""``--verbose``: what the package logs, on standard error. Its warnings are shown without, too."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Final

from pyvhdmp.cli import rich_output
from pyvhdmp.cli.output import print_error
from pyvhdmp.cli.text import printable
from pyvhdmp.logs import logger

__all__ = ["shown"]

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_LINE: Final = 79


@contextlib.contextmanager
def shown(verbosity: int) -> Iterator[None]:
    """Show warnings in the block; with a `verbosity` of 1 what is done, with 2 details."""
    handler, level = _Handler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbosity, 2)])
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Writes to what standard error is at the time, over a line of progress."""

    _times: Final = logging.Formatter("%(asctime)s.%(msecs)03d  %(message)s", "%H:%M:%S")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.levelno >= logging.WARNING:
                print_error(self.format(record))
                return
            text, stream = printable(self._times.format(record)), sys.stderr
            if stream.isatty() and rich_output.console_for(stream) is None:
                text = "\r" + text.ljust(_LINE)
            print(text, file=stream)
        except Exception:
            self.handleError(record)
