"""Images for QEMU to make and to judge."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path


def qemu_img(*arguments: str | Path) -> str:
    """Run qemu-img; return its output. One that fails is a failed assertion."""
    done = subprocess.run(
        ["qemu-img", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_image(path: Path, size: int, *, data: int) -> None:
    """Make a sparse image of `size` bytes with `data` bytes of content here and there."""
    chance = random.Random(size)
    with path.open("wb") as file:
        file.truncate(size)
        for _ in range(data // (64 << 10)):
            file.seek(chance.randrange(0, max(1, size - (64 << 10))) // 512 * 512)
            file.write(chance.randbytes(min(64 << 10, size)))
