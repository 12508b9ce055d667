"""Buffers that many requests use, held in place and looked up once.

Rules:

1. They are held until they are closed and no request uses them any more, whichever is later.
2. What a request has to know of them (where they lie, which call takes them) is found out when
   they are first held, so it costs a request nothing, however many they are.
3. Ctrl+C may come between any two steps. So who uses them is noted, and not how many do:
   each step can be repeated, and what was never begun can be ended.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyvhdmp._win32.memory import Pins
from pyvhdmp.disk.direct import direct_memory
from pyvhdmp.errors import InvalidInputError
from pyvhdmp.transfers import pin_buffers

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pyvhdmp.buffers import Buffer

__all__ = ["HeldBuffers", "Use"]


class SharedPins(Pins):
    """Pins that any number of requests share, each of which has a `use` of them."""

    __slots__ = ("_first_read_only", "_lock", "_users", "_with_list", "_without_list", "closed")

    def __init__(self, buffers: list[Buffer]) -> None:
        super().__init__(buffers, writable=False)
        self._lock = threading.RLock()  # a finalizer may come back in
        self._users: set[int] = set()  # by their ids: what is in here is not kept alive by it
        self.closed: bool = False
        read_only = (index for index, view in enumerate(self._views) if view.readonly)
        self._first_read_only = next(read_only, None)
        self._with_list = direct_memory(self, scatter=True)
        self._without_list = direct_memory(self, scatter=False)

    def use(self, *, writable: bool) -> Use:
        """Have them held for one request.

        Raises `InvalidInputError` for a buffer that has to be `writable` and is not, and
        `ValueError` if they are closed.
        """
        if writable and self._first_read_only is not None:
            raise InvalidInputError.because(
                f"buffers[{self._first_read_only}] cannot be used: it is read-only"
            )
        return Use(self)

    def enter(self, use: Use) -> None:
        """One use more. Raises `ValueError` if they are closed."""
        with self._lock:
            if self.closed:
                raise ValueError("the buffers are closed")
            self._users.add(id(use))

    def leave(self, use: Use) -> None:
        """A use is over, if it was one."""
        self._users.discard(id(use))
        self._release_if_idle()

    def close(self) -> None:
        """No more requests: the last one lets the buffers go, or this, if there is none."""
        self.closed = True
        self._release_if_idle()

    def _release_if_idle(self) -> None:
        with self._lock:
            if self.closed and not self._users:
                self.release()

    def memory(self, *, scatter: bool) -> int | list[int] | None:
        """Return what `direct_memory` does."""
        return self._with_list if scatter else self._without_list


class Use(Pins):
    """The use that one request makes of shared pins: over when it is released, or nobody's."""

    __slots__ = ("_shared",)

    def __init__(self, shared: SharedPins) -> None:
        self._shared: SharedPins | None = shared
        shared.enter(self)
        self.addresses: list[int] = shared.addresses
        self.lengths: list[int] = shared.lengths
        self.length: int = shared.length

    def __del__(self) -> None:
        if hasattr(self, "_shared"):
            self.release()

    def release(self) -> None:
        """The request is over. Can be repeated."""
        shared = self._shared
        if shared is not None:
            shared.leave(self)
            self._shared = None

    def memory(self, *, scatter: bool) -> int | list[int] | None:
        """Return what `direct_memory` does."""
        assert self._shared is not None, "it is in use"
        return self._shared.memory(scatter=scatter)


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
        given = list(buffers)
        pin_buffers(given, writable=False).release()  # says which one cannot be used
        self.pins: SharedPins = SharedPins(given)
        self.length: int = self.pins.length

    def __repr__(self) -> str:
        return f"<HeldBuffers of {self.length} bytes{', closed' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
