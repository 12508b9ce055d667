"""Disks for asyncio: the view of a `Disk` whose requests are awaited.

    async with await AsyncDisk.open("data.vhd") as disk:
        await disk.write(0, b"\\x55" * 512, fua=True)
        async with asyncio.TaskGroup() as group:
            for sector in range(0, disk.sector_count, 2048):
                group.create_task(copy(await disk.read(sector, 2048)))

The way of one request, and the module of each step:

    task's thread                         completion thread

    disk     a method is called
    gate     begin it, or queue it
    request  wait for it (a future
             of asyncio's own)            request  the kernel is done
                                          mailbox  put it in
                                          gate     begin the next of the queue
                                          mailbox  then ring the loop
    mailbox  empty it            <--------
    request  wake the task
    disk     return the result

Read `disk` first, then these; `blocks` reads ahead with them, and `arguments` checks some.
"""

from __future__ import annotations

from pyvhdmp.aio.disk import AsyncDisk

__all__ = ["AsyncDisk"]
