"""Genuine VHDX images on the Windows Python of Linux: `WINPYTHON_VHDX=1 tests/winpython ARGS...`.

What is simulated is virtdisk.dll, and nothing else: an image is a VHDX that QEMU makes, and its
disk is a file, by way of FUSE, behind which QEMU reads and writes that VHDX. The program opens
that file with the kernel32 it has.

1. A helper on Linux, one for each call of tests/winpython, makes images, tells what they are and
   exports them. The program asks it over TCP, as one on Wine cannot start programs of Linux.
2. A disk is exported from the open of its image until the close, by a process of its own. When
   the close returns, that process has ended, and everything is in the image.
3. The program has the image itself open meanwhile, without reading or writing it. So Windows'
   own rules say who else may open, rename or delete it.
4. What a disk is stands in its image, where VHDX has a place for it. Nothing follows the payload.

QEMU knows dynamic and fixed VHDX with sectors of 512 bytes, and no differencing ones. A fixed .vhd
is what it is with `pyvhdmp.testing.simulated_virtdisk`; what else that makes is refused here.

Structure, the Linux side first:

- `images`: make an image, and read what it is.
- `exports`: a disk as a file.
- `server`: the helper, started by its path, `__main__`.
- `host`: the images as the simulated virtdisk.dll sees them, on the Windows side.
- `startup/sitecustomize.py`: puts it in force, in every Python that the call starts.
"""

from pathlib import Path
from typing import Final

HELPER: Final = "WINPYTHON_VHDX_HELPER"
"""The environment variable that tells a program where its helper listens, and a secret."""

FOLDER: Final = Path(__file__).parent
