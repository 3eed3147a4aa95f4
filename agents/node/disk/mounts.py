"""Mounts that only this process and its children see, and that end with them (mount_namespaces(7))."""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def keep_mounts_private() -> None:
    """From now on what this process mounts is seen by it and its children alone, and is gone when the last of them ends: an
    agent that is killed leaves no dead mount behind."""
    libc = _libc()
    _check(libc.unshare(_CLONE_NEWNS), "/")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/")


def unmount(directory: str) -> None:
    """At once, also where a file in it is still open."""
    _check(_libc().umount2(os.fsencode(directory), _MNT_DETACH), directory)


def die_with_parent() -> None:
    """Called in a child that was just made: the kernel ends it when its parent ends (prctl(2))."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
