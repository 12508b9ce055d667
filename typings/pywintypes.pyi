# What the benchmarks use of pywin32, which has no types.

class PyHANDLE:
    def Close(self) -> None: ...

class OVERLAPPED:
    Offset: int
    OffsetHigh: int
    object: object
