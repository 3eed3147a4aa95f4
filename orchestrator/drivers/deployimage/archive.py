"""An initial file system as the kernel unpacks it: cpio of the kind "newc" (the kernel's early-userspace/buffer-format).

Written here, because it needs no root for the device nodes then, and has the same bytes wherever it is made.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field


@dataclass(slots=True)
class Archive:
    """What goes in, by its path without a leading slash. Directories above are made by themselves."""

    members: dict[str, tuple[int, bytes, tuple[int, int]]] = field(default_factory=dict)

    def file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        self._put(path, stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, path: str) -> None:
        self._put(path, stat.S_IFDIR | 0o755, b"")

    def device(self, path: str, major: int, minor: int) -> None:
        """A character device."""
        self._put(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def packed(self, *, time: int) -> bytes:
        """Sorted by path, so that a directory comes before what is in it; all of it root's, and of that time."""
        parts = []
        for number, (path, (mode, content, device)) in enumerate(sorted(self.members.items()), start=1):
            parts.append(_member(path, mode, content, device, number=number, time=time))
        parts.append(_member("TRAILER!!!", 0, b"", (0, 0), number=0, time=0))
        return b"".join(parts)

    def _put(self, path: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        above = path.rpartition("/")[0]
        if above and above not in self.members:
            self.directory(above)
        self.members[path] = (mode, content, device)


def _member(path: str, mode: int, content: bytes, device: tuple[int, int], *, number: int, time: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, time, len(content), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % each for each in fields)
    return _padded(header + name) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
