"""Calls of the kernel that Python has no words for: mounts of a process alone, and children that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal

RDONLY, NOSUID, NODEV, REMOUNT, NOSYMFOLLOW, NOATIME, BIND = 1, 2, 4, 32, 256, 1024, 4096
"""Flags of mount(2). NOSYMFOLLOW: Linux 5.10."""

_REC, _PRIVATE = 16384, 1 << 18
_CLONE_NEWNS = 0x00020000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1

# Loaded at once: a child that was just made does no more than it must.
_libc = ctypes.CDLL(None, use_errno=True)


def keep_mounts_private() -> None:
    """From now on what this process mounts is seen by it and its children alone, and is gone when the last of them ends
    (mount_namespaces(7)): an agent that is killed leaves no dead mount behind. Raises OSError, as all of these."""
    _require(_libc.unshare(_CLONE_NEWNS), "unshare")
    mount(None, "/", _REC | _PRIVATE)


def mount(source: str | None, target: str, flags: int) -> None:
    text = None if source is None else os.fsencode(source)
    _require(_libc.mount(text, os.fsencode(target), None, ctypes.c_ulong(flags), None), f"mounting {target}")


def unmount(directory: str) -> None:
    """At once, also where a file in it is still open."""
    _require(_libc.umount2(os.fsencode(directory), _MNT_DETACH), directory)


def die_with_parent() -> None:
    """Called in a child that was just made: the kernel ends it when its parent ends (prctl(2))."""
    _require(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def _require(answer: int, doing: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), doing)
