"""Where the machine is looked at: in the image from its root, in tests from a directory that stands for it."""

from __future__ import annotations

from pathlib import Path


class Place:
    """Paths below the root. Everything read from them is text that the kernel wrote: stripped, and '' where there is none."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def read(self, *parts: str) -> str:
        try:
            return self.path(*parts).read_bytes().decode("utf-8", "replace").strip(" \t\r\n\0")
        except OSError:
            return ""

    def raw(self, *parts: str) -> bytes:
        try:
            return self.path(*parts).read_bytes()
        except OSError:
            return b""

    def names(self, *parts: str) -> list[str]:
        try:
            return sorted(each.name for each in self.path(*parts).iterdir())
        except OSError:
            return []
