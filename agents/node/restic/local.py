"""A repository in a directory of this machine."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.node.protocol import AgentError
from agents.node.restic.backend import KINDS, NO_TARGET, Backend, Say, digest_of, no_place

_OWN = frozenset({*KINDS, "config"})


class Local(Backend):
    def __init__(self, path: Path) -> None:
        self._path = path

    def require_way_in(self) -> None:
        """A directory of this machine needs none."""

    def require_place(self) -> None:
        if not self._path.parent.is_dir():
            raise no_place(str(self._path.parent))

    def remove_lock(self, lock_id: str) -> None:
        (self._path / "locks" / lock_id).unlink(missing_ok=True)

    def remove_key(self, name: str) -> None:
        (self._path / "keys" / name).unlink(missing_ok=True)

    def sizes(self, kind: str) -> dict[str, int]:
        """Packs are told, not the directories of two digits, which are made with the repository."""
        top = self._path / kind
        return {each.name: each.stat().st_size for each in top.rglob("*") if each.is_file()} if top.is_dir() else {}

    def files_of(self, kind: str) -> list[str]:
        try:
            (self._path / "config").lstat()
            return [each.name for each in (self._path / kind).iterdir()]
        except OSError as exc:
            raise AgentError("driver-permanent", f"{exc.filename}: {exc.strerror}", reason="unknown") from None

    def digests(self, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
        for pack in packs:
            yield pack, digest_of(self._path / "data" / pack[:2] / pack)

    def destroy(self, say: Say) -> None:
        there = self._names()
        strangers = sorted(set(there) - _OWN)
        if strangers:
            told = ", ".join(strangers)[:200]
            raise AgentError("refused", f"{self._path} holds what is not restic's: {told}", hint="an operator must look at it")
        for number, kind in enumerate(KINDS):
            say(number / len(KINDS), f"destroying {self._path}: {kind}")
            if kind in there:
                shutil.rmtree(self._path / kind)
        (self._path / "config").unlink(missing_ok=True)
        if self._path.exists():
            self._path.rmdir()

    def left(self) -> list[str]:
        return [str(self._path / name) for name in self._names()] or ([str(self._path)] if self._path.exists() else [])

    def _names(self) -> list[str]:
        try:
            status = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            if not self._path.parent.is_dir():
                raise AgentError(
                    "wrong-state", f"there is no directory {self._path.parent}: is its disk mounted?", reason=NO_TARGET
                ) from None
            return []
        if not stat.S_ISDIR(status.st_mode):
            raise AgentError("refused", f"{self._path} is no directory")
        return sorted(each.name for each in self._path.iterdir())
