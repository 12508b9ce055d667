"""What a `VirtualDisk` owns: one handle, and what still uses it.

Rules:

1. The handle is owned from a successful `open` or `create` until `close` or `release`.
2. A call holds the lock, so the handle is not closed under it. A long operation is noted
   before it begins, and `close` waits for those that are.
3. Ctrl+C in that wait cancels them, and comes through when the handle is closed: whoever
   leaves a with block by it has left nothing open.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

from pyvhdmp import files
from pyvhdmp._win32 import Handle, Windows
from pyvhdmp.logs import logger
from pyvhdmp.virtual_disk.operation import Operation

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DiskHandle"]


class DiskHandle:
    """The handle of an open virtual disk file. For what can be done with it see `VirtualDisk`."""

    def __init__(
        self,
        windows: Windows,
        handle: Handle,
        path: str,
        *,
        read_only: bool = False,
        info_only: bool = False,
    ) -> None:
        """Take over a handle. For the class methods."""
        self._handle: Handle | None = handle
        self._windows = windows
        self._path = path
        self._read_only = read_only
        self._info_only = info_only
        self._attached = False
        self._closing = False
        self._lock = threading.RLock()  # a finalizer may come back in
        self._operations: set[Operation[None]] = set()
        logger.debug("opened %s as a virtual disk, handle %#x", path, handle)

    def __repr__(self) -> str:
        handle = self._handle
        state = "closed" if handle is None else f"handle {handle:#x}"
        return f"<{type(self).__name__} {self._path!r}, {state}>"

    def __enter__(self) -> Self:
        if self.closed:
            raise ValueError("operation on a closed virtual disk")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            text = f"unclosed {self!r}"
            self.close()  # first, as a warning may be an error
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    @property
    def path(self) -> str:
        """The path that the disk was opened or created by."""
        return self._path

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened read-only, as an ISO image always is."""
        return self._read_only

    @property
    def windows(self) -> Windows:
        """The Windows that it was opened on."""
        return self._windows

    @property
    def handle(self) -> int:
        """The handle, still owned by this object. Raises `ValueError` if it is closed."""
        handle = self._handle
        if handle is None or self._closing:
            raise ValueError("operation on a closed virtual disk")
        return handle

    @property
    def closed(self) -> bool:
        """Whether the handle is closed, or has been released."""
        return self._handle is None or self._closing

    def release(self) -> int:
        """Hand the handle over to the caller, open and, if it was, attached.

        This object is closed from here on. Raises `ValueError` if it is already, or if a long
        operation is running.
        """
        with self._lock:
            handle = self.handle
            if self._operations:
                raise ValueError(f"{next(iter(self._operations))!r} uses the handle")
            self._handle = None
            return handle

    def close(self, *, cancel: bool = False) -> None:
        """Wait for long operations that are running, then close the handle. Idempotent.

        With it ends an attachment that it is the last handle of. `cancel`: cancel the
        operations first; a mirror or a fork, which would never end, is cancelled in any case,
        and so is everything by Ctrl+C, which is raised when the handle is closed.
        """
        with self._lock:
            self._closing = True
            operations = list(self._operations)
        for operation in operations:
            if cancel or operation.is_endless:
                operation.cancel()
        interrupted = _wait_for_all(operations)
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            files.close_handle(self._windows, handle)
            logger.debug("closed %s, handle %#x", self._path, handle)
        if interrupted is not None:
            raise interrupted


def _wait_for_all(operations: list[Operation[None]]) -> KeyboardInterrupt | None:
    """Wait until all are over: rules 2 and 3. Ctrl+C cancels them, each time, and is returned."""
    interrupted = None
    while running := [operation for operation in operations if not operation.is_over]:
        try:
            running[0].wait_until_over()
        except KeyboardInterrupt as error:
            interrupted = error
            for operation in running:
                operation.cancel()
    return interrupted
