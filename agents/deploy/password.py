"""The task ``password``: one user's password in the system that is on a disk, without that system's help.

It is given as a hash (crypt(5)), and written where the system keeps it: etc/shadow. The file is made anew beside the old one,
with the same owner, mode and attributes, and renamed into its place.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from agents.deploy import drives, mounting
from agents.deploy.failure import Failed
from agents.deploy.place import Place

_HASH = re.compile(r"\$(6|y)\$[./A-Za-z0-9$=]{8,500}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MOST = 1 << 20  # bytes of etc/shadow
_NEW = "shadow.orchestrator"
_NO_LINK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # and no pipe that nobody writes to is waited for


def set_password(place: Place, arguments: Mapping[str, Any], told: Callable[[float, str], None]) -> dict[str, Any]:
    """``serial`` of the disk with the system, ``user``, ``hash``. Raises Failed where not exactly one system is found on it that
    is understood, or it has no such user; nothing is changed then."""
    user, hashed = str(arguments.get("user", "")), str(arguments.get("hash", ""))
    if not _USER.fullmatch(user) or not _HASH.fullmatch(hashed):
        raise Failed("a user and the hash of a password ($6$… or $y$…) are needed")
    disk = drives.find(place, str(arguments.get("serial", "")))["name"]
    told(0.1, "looking for the system")
    partition, what, system = _system(place, disk)
    told(0.5, f"{system} is on {partition}")
    with mounting.mounted(place, partition, what, write=True) as root:
        _replace(root, user, hashed)
    return {"partition": partition, "filesystem": what, "system": system, "user": user}


def _system(place: Place, disk: str) -> tuple[str, str, str]:
    """The one partition with a Linux system on it, its kind, and what the system calls itself."""
    there = mounting.kinds(place, disk)
    found = []
    for partition, what in there.items():
        if what in mounting.UNDERSTOOD:
            with mounting.mounted(place, partition, what, write=False) as root:
                name = _named(root)
            if name:
                found.append((partition, what, name))
    if len(found) == 1:
        return found[0]
    apart = ", ".join(f"{name} ({what})" for name, what in there.items() if what not in mounting.UNDERSTOOD)
    left = f"; left alone: {apart}" if apart else ""
    if not found:
        raise Failed(f"no Linux system that is understood is on {disk}{left}")
    raise Failed(f"more than one Linux system is on {disk}: {', '.join(each[0] for each in found)}{left}")


def _named(root: int) -> str:
    """What the system below calls itself; '' where none is there. Its etc may be a link to anywhere: none is followed."""
    try:
        etc = os.open("etc", os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=root)
    except OSError:
        return ""
    try:
        if not all(stat.S_ISREG(os.stat(name, dir_fd=etc, follow_symlinks=False).st_mode) for name in ("passwd", "shadow")):
            return ""
        return _pretty(root, etc)
    except OSError:
        return ""
    finally:
        os.close(etc)


def _pretty(root: int, etc: int) -> str:
    """Out of os-release(5), which is a link to usr/lib in most systems."""
    for at, path in ((etc, "os-release"), (root, "usr/lib/os-release")):
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | _NO_LINK, dir_fd=at)
            try:
                lines = os.read(fd, 1 << 16).decode("utf-8", "replace").splitlines()
            finally:
                os.close(fd)
            names = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")]
            return (names or ["a system without a name"])[0][:100]
    return "a system without a name"


def _replace(root: int, user: str, hashed: str) -> None:
    etc = os.open("etc", os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=root)
    try:
        old = os.open("shadow", os.O_RDONLY | _NO_LINK, dir_fd=etc)
        try:
            now = os.fstat(old)
            if not stat.S_ISREG(now.st_mode) or now.st_size > _MOST:
                raise Failed("its etc/shadow is no file of passwords")
            content = changed(os.read(old, _MOST + 1), user, hashed)
            with suppress(FileNotFoundError):
                os.unlink(_NEW, dir_fd=etc)
            _write(etc, content, like=old, now=now)
        finally:
            os.close(old)
        os.rename(_NEW, "shadow", src_dir_fd=etc, dst_dir_fd=etc)
        os.fsync(etc)
    finally:
        os.close(etc)


def _write(etc: int, content: bytes, *, like: int, now: os.stat_result) -> None:
    new = os.open(_NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600, dir_fd=etc)
    try:
        os.write(new, content)
        os.fchown(new, now.st_uid, now.st_gid)
        os.fchmod(new, stat.S_IMODE(now.st_mode))
        for name in os.listxattr(like):  # SELinux' label above all, without which nobody could log in
            os.setxattr(new, name, os.getxattr(like, name))
        os.fsync(new)
    finally:
        os.close(new)


def changed(shadow: bytes, user: str, hashed: str) -> bytes:
    """The file (shadow(5)) with that user's hash replaced, and nothing else. Raises Failed where he is not in it once."""
    lines = shadow.split(b"\n")
    mine = [number for number, line in enumerate(lines) if line.split(b":")[0] == user.encode()]
    if len(mine) != 1:
        raise Failed(f"its etc/shadow names {user} {len(mine)} times")
    fields = lines[mine[0]].split(b":")
    if len(fields) != 9:
        raise Failed(f"the line of {user} in its etc/shadow has {len(fields)} fields, not 9")
    lines[mine[0]] = b":".join([fields[0], hashed.encode("ascii"), *fields[2:]])
    return b"\n".join(lines)
