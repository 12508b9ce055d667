"""Partition tables, made on a disk by gpt-image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from unittest import mock

import gpt_image.disk
import gpt_image.partition
from gpt_image.partition import Partition, PartitionType

from pyvhdmp import BlockingDisk, Disk

__all__ = ["BASIC_DATA", "make_partitions"]

BASIC_DATA: Final = PartitionType.BASIC_DATA_PARTITION.value


def make_partitions(disk: Disk, partitions: Mapping[str, int], folder: Path) -> None:
    """Make a GPT with partitions of these sizes, in bytes, from 1 MiB on. `folder`: is empty."""

    def opened(path: Path, mode: str) -> BlockingDisk:
        return BlockingDisk(disk, close_disk=False)

    with (  # they take paths only
        mock.patch.object(gpt_image.disk, "open", opened, create=True),
        mock.patch.object(gpt_image.partition, "open", opened, create=True),
    ):
        table = gpt_image.disk.Disk(os.fspath(folder / "disk"))
        table.create(disk.size)
        for name, size in partitions.items():
            partition = Partition(name, size, BASIC_DATA, alignment=2048)
            table.table.partitions.add(partition)
            partition.commit(table)
        table.commit()
