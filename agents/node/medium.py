"""What lies under a file: its device, file system and kind of medium, and what therefore no overwriting can reach."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_SYS_BLOCK = Path("/sys/dev/block")
_FOLIO = 4 * 1024 * 1024
COPY_ON_WRITE = frozenset({"btrfs", "zfs", "bcachefs", "overlay", "nilfs2", "f2fs"})
"""File systems that write anew elsewhere, as their way of working."""


@dataclass(frozen=True, slots=True)
class Medium:
    """``device`` '' where the file system lies on no single block device; ``rotational`` None where the kernel does not say."""

    device: str
    file_system: str
    options: frozenset[str]
    rotational: bool | None
    model: str
    layers: tuple[str, ...] = field(default=())
    """The kernel's names of the device and of all below it."""

    def facts(self) -> dict[str, object]:
        return {
            "device": self.device,
            "filesystem": self.file_system,
            "rotational": self.rotational,
            "model": self.model,
        }


def medium(fd: int) -> Medium:
    """The medium under the open file."""
    file_system, options = _mount(fd)
    number = os.fstat(fd).st_dev
    node = _SYS_BLOCK / f"{os.major(number)}:{os.minor(number)}"
    if not node.exists():
        return Medium("", file_system, options, None, "")
    node = node.resolve()
    layers = _layers(node)
    disks = [d for d in (_disk(Path("/sys/class/block") / name) for name in layers) if d is not None]
    lowest = disks[-1] if disks else node
    flags = {text for d in disks if (text := _read(d / "queue/rotational"))}
    return Medium(
        device=f"/dev/{_uevent(node).get('DEVNAME', node.name)}",
        file_system=file_system,
        options=options,
        rotational=(flags == {"1"}) if flags else None,
        model=_read(lowest / "device/model"),
        layers=layers,
    )


def limits(found: Medium) -> list[str]:
    """What the overwriting cannot reach or does not know, as sentences for the certificate."""
    said: list[str] = []
    if found.rotational is False:
        said.append(
            "The medium reports itself as not rotating: a solid-state device may keep old copies of blocks"
            " (wear levelling, remapped blocks) that no command of the host reaches."
        )
    elif found.rotational:
        said.append("Sectors that the drive has remapped by itself are out of the host's reach.")
    else:
        said.append("The kind of the medium is not known to the host.")
    if any(name.startswith("dm-") for name in found.layers):
        said.append("The device is mapped (device-mapper): a thin pool, cache or snapshot below it may hold older copies.")
    if any(name.startswith(("loop", "vd", "xvd", "nbd", "rbd")) for name in found.layers):
        said.append(
            "The device is itself a file or a remote device of another system: what that one keeps is not seen from here."
        )
    if "data=journal" in found.options:
        said.append("The file system journals data: copies in its journal are overwritten only as the journal turns over.")
    return said


def read_device(device: str, offset: int, length: int) -> bytes:
    """Bytes as the device has them, past the page cache (O_DIRECT). Raises OSError, also where fewer could be read."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, length) as buffer:
            if os.preadv(fd, [buffer], offset) != length:
                raise OSError(f"{device} ends before byte {offset + length}")
            return buffer[:]
    finally:
        os.close(fd)


def forget_cached(device: str, places: Iterable[tuple[int, int]]) -> None:
    """Drop what the host's memory still holds of (offset, length) on the device; a reader of the device may have filled it.

    Advice only (posix_fadvise(2)): the medium itself holds the new content already.
    """
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for offset, length in places:
            # Widened, because memory is kept in pieces (folios) and one that is only touched by the range would stay.
            first, end = offset // _FOLIO * _FOLIO, -(-(offset + length) // _FOLIO) * _FOLIO
            os.posix_fadvise(fd, first, end - first, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _mount(fd: int) -> tuple[str, frozenset[str]]:
    """File system and options of the mount that the descriptor was opened through (proc_pid_mountinfo(5))."""
    fdinfo = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if ":" in line)
    wanted = fdinfo.get("mnt_id", "").strip()
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ", 1)[0] == wanted:
            kind, _, options = after.split(" ")[:3]
            return kind, frozenset(options.split(",")) | frozenset(before.split(" ")[5].split(","))
    return "", frozenset()


def _layers(node: Path) -> tuple[str, ...]:
    """The device's name, then those of every device under it (bounded: a device has few layers)."""
    names: list[str] = []
    waiting = [node]
    while waiting and len(names) < 64:
        current = waiting.pop(0)
        names.append(current.name)
        slaves = current / "slaves"
        if slaves.is_dir():
            waiting.extend(s.resolve() for s in sorted(slaves.iterdir()))
    return tuple(names)


def _disk(node: Path) -> Path | None:
    """The whole disk of a device: a partition's own directory lies in its disk's."""
    if not node.exists():
        return None
    node = node.resolve()
    return node.parent if (node / "partition").exists() else node


def _uevent(node: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in _read(node / "uevent").splitlines() if "=" in line)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
