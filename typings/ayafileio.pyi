# What the benchmarks use of ayafileio, which is installed on Windows alone.

from types import TracebackType
from typing import Self

class AsyncFile:
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    async def read_at(self, offset: int, size: int = -1) -> bytes: ...

def open(path: str, mode: str) -> AsyncFile: ...
