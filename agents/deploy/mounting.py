"""The customer's file systems, from outside of his system: which there are on a disk, and mounting one for a moment.

Only kinds are mounted whose content is one tree of files: what is encrypted, or made of several disks, is named and left alone.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.deploy.failure import Failed
from agents.deploy.place import Place

# mount(2)
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
UNDERSTOOD = ("ext4", "xfs")
_HEAD = 128 << 10
# Where each kind has its mark: the byte, what stands there, and the name. LUKS and LVM as in libblkid.
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"LUKS\xba\xbe", "luks"),
    (512, b"LABELONE", "lvm"),
    (4096, b"\xfc\x4e\x2b\xa9", "raid"),
    (0, b"XFSB", "xfs"),
    (0x438, b"\x53\xef", "ext4"),
    (0x10040, b"_BHRfS_M", "btrfs"),
)


def partitions(place: Place, disk: str) -> list[str]:
    """Of the disk, by the kernel's names; the disk itself where it has none."""
    here = place.path("sys/block", disk)
    found = [name for name in place.names("sys/block", disk) if name.startswith(disk) and (here / name / "partition").exists()]
    return found or [disk]


def kind(head: bytes) -> str:
    """What the first bytes of a partition say that it is; '' = nothing that is known here."""
    return next((name for at, mark, name in _MARKS if head[at : at + len(mark)] == mark), "")


def kinds(place: Place, disk: str) -> dict[str, str]:
    """Each partition of the disk that has something known on it."""
    found = {name: kind(_head(place.path("dev", name))) for name in partitions(place, disk)}
    return {name: what for name, what in found.items() if what}


@contextmanager
def mounted(place: Place, partition: str, what: str, *, write: bool) -> Iterator[int]:
    """The descriptor of its first directory. Nothing on it is run or is a device. Raises Failed."""
    subprocess.run(["modprobe", "-a", "-q", "crc32c_generic", what], capture_output=True, check=False, timeout=60)
    target = place.path("run/mounted", partition)
    target.mkdir(parents=True, exist_ok=True)
    flags = _NOSUID | _NODEV | _NOEXEC | (0 if write else _RDONLY)
    _mount(place.path("dev", partition), target, what, flags)
    try:
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        _unmount(target)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as exc:
        raise Failed(f"{path} cannot be read: {exc.strerror}") from exc


def _mount(source: Path, target: Path, what: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(str(source).encode(), str(target).encode(), what.encode(), ctypes.c_ulong(flags), b"") != 0:
        raise Failed(f"{source} cannot be mounted as {what}: {os.strerror(ctypes.get_errno())}")


def _unmount(target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(str(target).encode(), 0) != 0:
        raise Failed(f"{target} cannot be unmounted: {os.strerror(ctypes.get_errno())}")
