"""A small disk of a test's own: a file system on a loop device, whose raw content can be searched past every cache."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.node.place import Place

_CHUNK = 4 * 1024 * 1024


def tool(*command: str | Path, stdin: bytes = b"") -> str:
    """Run a program; its output. A failure shows what it said."""
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Disk:
    """``pool`` is the mounted directory, ``device`` what lies below it, ``place`` a node whose only pool it is."""

    pool: Path
    device: Path
    place: Place

    def raw(self) -> bytes:
        """The whole device as the medium has it: what is in memory is written first, then it is read with O_DIRECT."""
        os.sync()
        fd = os.open(self.device, os.O_RDONLY | os.O_DIRECT)
        try:
            found = bytearray()
            with mmap.mmap(-1, _CHUNK) as buffer:
                while length := os.preadv(fd, [buffer], len(found)):
                    found += buffer[:length]
            return bytes(found)
        finally:
            os.close(fd)

    def count(self, marker: bytes) -> int:
        return self.raw().count(marker)


@contextmanager
def disk(directory: Path, *, megabytes: int = 72, block: int = 4096) -> Iterator[Disk]:
    """Make the disk and mount it; root only. Everything is gone afterwards."""
    image, pool, root = directory / "disk.img", directory / "pool", directory / "node"
    pool.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes * 1024 * 1024)
    tool("mkfs.ext4", "-q", "-b", str(block), "-E", "lazy_itable_init=0,nodiscard", "-m", "0", image)
    device = Path(tool("losetup", "--find", "--show", image).strip())
    try:
        tool("mount", "-t", "ext4", device, pool)
        try:
            place = Place(root)
            place.config.parent.mkdir(parents=True)
            place.config.write_text(json.dumps({"pool_paths": [str(pool)]}))
            yield Disk(pool=pool, device=device, place=place)
        finally:
            tool("umount", pool)
    finally:
        tool("losetup", "--detach", device)
