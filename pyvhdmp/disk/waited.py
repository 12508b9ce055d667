"""A short request that the calling thread carries out by itself, call by call.

Rules:

1. It needs no other thread, so none has to be woken, and it can be used on any.
2. What is copied is what `plan` says. Memory to bounce is taken from the pool if there is some
   to have at once, as a thread that waits in a queue would be what this is not.
3. It returns, or raises, when the kernel has let go of all memory: see `synchronous`.
"""

from __future__ import annotations

from pyvhdmp._win32.memory import Pins
from pyvhdmp.buffers import Block
from pyvhdmp.disk.direction import Direction
from pyvhdmp.disk.plan import Part, plan
from pyvhdmp.synchronous import call_and_wait

__all__ = ["transfer_and_wait"]


def transfer_and_wait(direction: Direction, pins: Pins, offset: int, sector_size: int) -> None:
    """Read or write all of `pins` from byte `offset` of the file on.

    Raises what the future of such a request would.
    """
    done = bounced = 0
    try:
        parts = plan(zip(pins.addresses, pins.lengths, strict=True), sector_size, scatter=False)
        for part in parts:
            done += _do_part(direction, part, offset)
            bounced += 0 if part.is_direct else part.length
    finally:
        direction.count_waited_for(done, bounced)


def _do_part(direction: Direction, part: Part, offset: int) -> int:
    if part.is_direct:
        ((address, _),) = part.runs
        return _call(direction, address, part.length, offset + part.start)
    bounce = direction.file.port.bounce
    taken = bounce.take_now(part.length)
    block = taken or Block(part.length)
    try:
        if direction.is_write:
            part.copy_to(block.address)
        transferred = _call(direction, block.address, part.length, offset + part.start)
        if not direction.is_write:
            part.copy_from(block.address)
        return transferred
    finally:
        if taken is not None:
            bounce.give(taken)


def _call(direction: Direction, address: int, length: int, offset: int) -> int:
    code, transferred, cancel_wanted = call_and_wait(
        direction.file, direction.plain, address, length, offset
    )
    if code or transferred != length:
        error = direction.error(
            code, transferred, length, offset, paged=False, cancel_wanted=cancel_wanted
        )
        if error is not None:
            raise error
    return transferred
