# What the benchmarks use of pywin32, which has no types.

from pywintypes import OVERLAPPED, PyHANDLE
from typing_extensions import Buffer

INVALID_HANDLE_VALUE: int

def CreateFile(
    name: str, access: int, share: int, security: None, creation: int, flags: int, template: None, /
) -> PyHANDLE: ...
def CreateIoCompletionPort(
    file: PyHANDLE | int, port: PyHANDLE | None, key: int, threads: int, /
) -> PyHANDLE: ...
def GetQueuedCompletionStatus(
    port: PyHANDLE, milliseconds: int, /
) -> tuple[int, int, int, OVERLAPPED]: ...
def PostQueuedCompletionStatus(
    port: PyHANDLE, transferred: int, key: int, overlapped: OVERLAPPED | None, /
) -> None: ...
def ReadFile(file: PyHANDLE, buffer: Buffer, overlapped: OVERLAPPED, /) -> tuple[int, object]: ...
