"""Build a data disk for a VM from the files of a folder.

In the current folder it makes data.vhdx, a dynamic disk with one FAT32 partition, and on it
vm1.avhdx, a differencing disk with one file more, and reads that file back. Nothing is mounted.
Run it as administrator.
"""

import argparse
import os
import random
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pyvhdmp

DISK_SIZE = 512 << 20  # bytes, of which data.vhdx takes what is used
SECTOR, CLUSTER, PER_CLUSTER = 512, 4096, 8
START, RESERVED = 2048, 32  # sectors before the partition, and in it before the first of two FATs
SECTORS = DISK_SIZE // SECTOR - START
FAT_SIZE = -(-SECTORS // PER_CLUSTER // 128)  # in sectors, of 128 numbers each
CLUSTERS = (SECTORS - RESERVED - 2 * FAT_SIZE) // PER_CLUSTER  # fewer than 65525 are no FAT32
FIRST = START + RESERVED + 2 * FAT_SIZE - 2 * PER_CLUSTER  # clusters are numbered from 2
LAST = 0x0FFFFFFF  # follows the last cluster of a file
DATE = 0x5821  # 2024-01-01


def main(folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    volume_id = random.getrandbits(32)
    base = fat32(files, volume_id)
    pyvhdmp.VirtualDisk.create_dynamic("data.vhdx", DISK_SIZE).close()
    write("data.vhdx", base)

    mine = fat32(files | {"hostname": b"vm1\n"}, volume_id)
    pyvhdmp.VirtualDisk.create_differencing("vm1.avhdx", "data.vhdx").close()
    write("vm1.avhdx", {at: data for at, data in mine.items() if base.get(at) != data})

    print("made data.vhdx and vm1.avhdx in the current folder")
    with open_when_free("vm1.avhdx") as disk:
        print("hostname:", read_file(disk, "hostname").decode().strip())


def write(path: str | os.PathLike[str], content: Mapping[int, bytes]) -> None:
    """Write bytes, by sector, to a disk: all in flight at once, and safe on return."""
    with pyvhdmp.open_disk(path) as disk:
        for future in [disk.write(sector, data) for sector, data in content.items()]:
            future.result()
        disk.sync_cache().result()


def open_when_free(path: str | os.PathLike[str], *, seconds: float = 60) -> pyvhdmp.Disk:
    """Open a disk to read it, as soon as nobody has it open for writing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return pyvhdmp.open_disk(path, read_only=True)
        except OSError as error:  # 32: it is open elsewhere
            if getattr(error, "winerror", 0) != 32 or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def fat32(files: Mapping[str, bytes], volume_id: int) -> dict[int, bytes]:
    """Return what a disk with these files holds, by sector; the rest is zeros."""
    starts = dict.fromkeys(files, 0)  # the first cluster of each; an empty file has none
    root = padded(directory(files, starts), CLUSTER)
    fat = [0x0FFFFFF8, LAST, *range(3, 2 + len(root) // CLUSTER), LAST]
    for name, data in files.items():
        if data:
            starts[name] = len(fat)
            fat += [*range(len(fat) + 1, len(fat) - (-len(data) // CLUSTER)), LAST]
    table = padded(struct.pack(f"<{len(fat)}I", *fat), SECTOR)
    mbr = struct.pack("<440xIHIIII", volume_id, 0, 0xFFFFFE00, 0xFFFFFE0C, START, SECTORS)
    boot = b"\xeb\x58\x90MSWIN4.1" + struct.pack("<HBHBHHB", 512, 8, RESERVED, 2, 0, 0, 0xF8)
    boot += struct.pack("<HHHIIIHHIHH", 0, 63, 255, START, SECTORS, FAT_SIZE, 0, 0, 2, 1, 6)
    boot += struct.pack("<12xHBI", 0x80, 0x29, volume_id) + b"DATA       FAT32   "
    info = b"RRaA" + bytes(480) + b"rrAa" + struct.pack("<II", CLUSTERS + 2 - len(fat), len(fat))
    heads, fats = signed(boot) + signed(info), START + RESERVED
    content = {0: signed(mbr), START: heads, START + 6: heads, fats: table, fats + FAT_SIZE: table}
    content[FIRST + 2 * PER_CLUSTER] = padded(directory(files, starts), CLUSTER)
    for name, start in starts.items():
        if start:
            content[FIRST + start * PER_CLUSTER] = padded(files[name], SECTOR)
    return content


def directory(files: Mapping[str, bytes], starts: Mapping[str, int]) -> bytes:
    """Return the root folder: a label, then each file's name, and its short name, a number."""
    entries = [struct.pack("<11sB12xH6x", b"DATA       ", 8, DATE)]
    for number, (name, data) in enumerate(files.items()):
        short, checksum, text = b"%08d   " % number, 0, name.encode("utf-16-le")
        for byte in short:
            checksum = (checksum << 7 | checksum >> 1) + byte & 0xFF
        parts = [(text + b"\0\0")[at : at + 26] for at in range(0, len(text), 26)]
        for index in range(len(parts), 0, -1):  # the last part comes first
            order, part = index | 0x40 * (index == len(parts)), parts[index - 1].ljust(26, b"\xff")
            head = struct.pack("<B10sHB", order, part, 15, checksum)
            entries.append(head + part[10:22] + b"\0\0" + part[22:])
        high, low = divmod(starts[name], 1 << 16)
        entries.append(struct.pack("<11sB8xHHHHI", short, 32, high, 0, DATE, low, len(data)))
    return b"".join(entries)


def read_file(disk: pyvhdmp.Disk, name: str) -> bytes:
    """Return a file with a long name from the root folder of a FAT32 disk."""
    (start,) = struct.unpack_from("<I", disk.read(0, 1).result(), 454)
    per, reserved, size, root = struct.unpack_from("<BH20xI4xI", disk.read(start, 1).result(), 13)
    fat = struct.unpack(f"<{size * 128}I", disk.read(start + reserved, size).result())

    def content(cluster: int) -> bytes:
        reads = []
        while 2 <= cluster < LAST - 7:
            reads.append(disk.read(start + reserved + 2 * size + (cluster - 2) * per, per))
            cluster = fat[cluster] & LAST
        return b"".join(read.result() for read in reads)

    text = b""
    for (entry,) in struct.iter_unpack("32s", content(root)):
        if entry[11] == 15 and entry[0] != 0xE5:  # a part of a name
            text = entry[1:11] + entry[14:26] + entry[28:] + text
        elif text.decode("utf-16-le").rstrip("\uffff").rstrip("\0") == name:
            high, low, length = struct.unpack_from("<H4xHI", entry, 20)
            return content(high << 16 | low)[:length]
        else:
            text = b""
    raise FileNotFoundError(name)


def signed(sector: bytes) -> bytes:
    return sector.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="whose files the disk gets")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is no folder")
    try:
        main(options.folder)
    except (OSError, RuntimeError) as error:
        notes = getattr(error, "__notes__", [])  # what else is known of it, and what helps
        print(f"{parser.prog}: {error}", *notes, sep="\n  ", file=sys.stderr)
        sys.exit(1)
