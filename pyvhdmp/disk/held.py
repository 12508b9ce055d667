"""Buffers that many requests use, held in place and looked up once.

Rules:

1. They are held until they are closed and no request uses them any more, whichever is later.
   This takes no lock: a request changes the dict of users, and then looks whether they are
   closed; who closes says so, and then looks at the dict. So one of the two sees the other.
2. What a request has to know of them (where they lie, which call takes them) is found out when
   they are first held, so it costs a request nothing, however many they are. Nor does the
   array of their pages: it never changes, and any number of calls can read it.
3. Ctrl+C may come between any two steps. So who uses them is noted, and not how many do:
   each step can be repeated, and what was never begun can be ended.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyvhdmp._win32.memory import Pins
from pyvhdmp._win32.structures import SEGMENT_SIZE
from pyvhdmp.buffers import Block
from pyvhdmp.disk.direct import Memory, direct_memory
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.slots import pack_segments
from pyvhdmp.transfers import as_list, pin_buffers

if TYPE_CHECKING:
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["HeldBuffers", "SharedPins"]


class SharedPins(Pins):
    """Pins that any number of requests share: see rule 1.

    `scattered` and `contiguous` are what `direct_memory` returns with and without `scatter`.
    """

    __slots__ = ("_first_read_only", "_lock", "_users", "closed", "contiguous", "scattered")

    def __init__(self, buffers: list[Buffer]) -> None:
        super().__init__(buffers, writable=False)
        self._lock = threading.RLock()  # a finalizer may come back in
        self._users: dict[object, None] = {}
        self.closed: bool = False
        # All that a request will ask: rule 2.
        read_only = (index for index, view in enumerate(self._views) if view.readonly)
        self._first_read_only = next(read_only, None)
        memory = direct_memory(self, scatter=True)
        self.contiguous: Memory | None = None
        self.scattered: Memory | None = memory
        if isinstance(memory, list):
            array = Block((len(memory) + 1) * SEGMENT_SIZE)
            pack_segments(array.memory, 0, memory)
            self.scattered = array
        else:
            self.contiguous = memory

    def check(self, *, writable: bool) -> None:
        """Raise `InvalidInputError` for a buffer that has to be `writable` and is not."""
        if writable and self._first_read_only is not None:
            raise InvalidInputError.because(
                f"buffers[{self._first_read_only}] cannot be used: it is read-only"
            )

    def use(self, user: object) -> None:
        """Hold them for a request. Raises `ValueError` if they are closed."""
        self._users[user] = None
        if self.closed:
            self.release(user)
            raise ValueError("the buffers are closed")

    def release(self, user: object = None) -> None:
        """A request is over, or was not begun."""
        self._users.pop(user, None)
        if self.closed:
            self._let_go_if_idle()

    def close(self) -> None:
        """No more requests: the last one lets the buffers go, or this, if there is none: rule 1."""
        self.closed = True
        self._let_go_if_idle()

    def _let_go_if_idle(self) -> None:
        with self._lock:
            if not self._users:
                super().release()


class HeldBuffers:
    """Buffers for any number of requests, which take this in the place of a list of buffers.

        with pyvhdmp.HeldBuffers(pages) as held:
            for sector in sectors:
                disk.read_vectored(held, sector).result()

    Worth it where many small buffers are used again and again: each one of a list is held,
    looked at and let go for every request. `length`: their bytes in all. As long as this is
    open the buffers can be neither resized nor freed.

    Raises `InvalidInputError` for a buffer that is not contiguous, `TypeError` for what is none.
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        given = as_list(buffers)
        pin_buffers(given, writable=False).release()  # says which one cannot be used
        self.pins: SharedPins = SharedPins(given)
        self.length: int = self.pins.length

    def __repr__(self) -> str:
        return f"<HeldBuffers of {self.length} bytes{', closed' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "pins"):
            self.pins.close()

    @property
    def closed(self) -> bool:
        """Whether requests are refused."""
        return self.pins.closed

    def close(self) -> None:
        """Let the buffers go as soon as no request uses them. Idempotent, and does not wait."""
        self.pins.close()
