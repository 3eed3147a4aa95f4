"""Puts files in place on a machine that becomes a node: all of them or none.

Run there as ``python3 -I -c SOURCE`` over the operator's own access, with a JSON object on stdin:
``{"files": [{"path", "mode", "content" (base64)}], "links": {path: target},
"key": {"line", "home" (else the own)}, "prune": {"directory", "prefix", "keep"}}``.
Every file is written beside its place first, and only when all are there they are renamed into it; what was there before
is put back if one of the renamings fails. Prints ``{"changed": [paths]}``, or ``{"error": sentence}`` with exit code 1.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pwd
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

TEMPORARY = ".orchestrator-new"


def authorized_keys(present: str, line: str) -> str:
    """The file's new text: ``line`` in place of every older line of the same key; all others as they were."""
    blob = _key_blob(line)
    kept = [old for old in present.splitlines() if _key_blob(old) != blob]
    return "\n".join([*kept, line]) + "\n"


def _key_blob(line: str) -> str:
    """The base64 of the key in the line: the word after the key's type (sshd(8), AUTHORIZED_KEYS FILE FORMAT)."""
    words = line.split()
    kinds = ("ssh-", "ecdsa-", "sk-")
    return next((b for a, b in pairwise(words) if a.startswith(kinds)), line)


def stage(path: Path, content: bytes, mode: int) -> Path:
    """Write beside the place; directories that are missing are made for root alone to write."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(content)
        os.fchmod(fd, mode)
        stream.flush()
        os.fsync(fd)
    return temporary


def stage_link(path: Path, target: str) -> Path:
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    return temporary


def commit(staged: Sequence[tuple[Path, Path]]) -> None:
    """Rename all into place, in order; on a failure put back what was there and raise."""
    done: list[tuple[Path, Path | None]] = []
    try:
        for temporary, path in staged:
            before = path.with_name(path.name + ".orchestrator-old")
            before.unlink(missing_ok=True)
            had = path.is_symlink() or path.exists()
            if had:
                # A second name for what is there now, so that the place itself is never empty.
                os.link(path, before, follow_symlinks=False)
            done.append((path, before if had else None))
            temporary.replace(path)
    except OSError:
        for path, old in reversed(done):
            if old is not None:
                old.replace(path)
            else:
                path.unlink(missing_ok=True)
        raise
    for _, old in done:
        if old is not None:
            old.unlink(missing_ok=True)


def install(request: Mapping[str, Any]) -> list[str]:
    """Put in place what differs from what is there; returns the paths that changed. The key is last: nobody may call before."""
    keys = Path(request["key"].get("home") or pwd.getpwuid(os.geteuid()).pw_dir) / ".ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_at_a_time(keys.parent):
        return _install(request, keys)


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: two enrolments of one machine come one after the other."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _install(request: Mapping[str, Any], keys: Path) -> list[str]:
    staged: list[tuple[Path, Path]] = []
    try:
        for file in request["files"]:
            _stage_if_new(staged, Path(file["path"]), base64.b64decode(file["content"]), int(file["mode"]))
        for name, target in request["links"].items():
            link = Path(name)
            if not link.is_symlink() or str(link.readlink()) != target:
                staged.append((stage_link(link, target), link))
        present = keys.read_text() if keys.exists() else ""
        _stage_if_new(staged, keys, authorized_keys(present, request["key"]["line"]).encode(), 0o600)
        commit(staged)
        prune(**request["prune"])
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return [str(path) for _, path in staged]


def prune(*, directory: str, prefix: str, keep: str) -> None:
    """Remove older directories of the agent; one that runs does so from memory."""
    for old in Path(directory).glob(f"{prefix}*"):
        if old.name != keep and old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)


def _stage_if_new(staged: list[tuple[Path, Path]], path: Path, content: bytes, mode: int) -> None:
    same = not path.is_symlink() and path.is_file() and path.read_bytes() == content
    if not same or path.stat().st_mode & 0o7777 != mode:
        staged.append((stage(path, content, mode), path))


def main() -> int:
    os.umask(0o022)
    try:
        changed = install(json.load(sys.stdin))
    except OSError as exc:
        json.dump({"error": f"{exc.strerror}: {exc.filename}"}, sys.stdout)
        return 1
    json.dump({"changed": changed}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
