"""The quota of a user on a file system, asked of the kernel itself (quotactl(2)); Linux 5.14 or newer."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agents.node.protocol import AgentError

_QUOTACTL_FD = 443
_GETSTATE, _GETQUOTA, _SETQUOTA, _GETNEXTQUOTA = 0x5805, 0x800007, 0x800008, 0x800009
_USER = 0
# struct fs_quota_stat and its flags (linux/dqblk_xfs.h); the kernel answers by it for ext4, too.
_STATE_BYTES, _COUNTED, _ENFORCED = 128, 1, 2
_BLOCK = 1024
_LIMITS = 1 | 4  # QIF_BLIMITS and QIF_ILIMITS
_ROW = struct.Struct("=8QI")
_NEXT = struct.Struct("=8QII")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Hard limits (0 = none) and what is used, in bytes and inodes."""

    disk_bytes: int
    inodes: int
    used_bytes: int
    used_inodes: int


def is_on(path: Path) -> bool:
    """Whether the file system counts and refuses by user: ext4 with the feature counts, and without ``usrquota`` among its
    mount's options takes limits that it does not keep."""
    buffer = ctypes.create_string_buffer(_STATE_BYTES)
    try:
        _call(path, _GETSTATE, 0, buffer)
    except OSError:
        return False
    (flags,) = struct.unpack_from("=H", buffer.raw, 2)
    return bool(flags & _COUNTED and flags & _ENFORCED)


def get(path: Path, uid: int) -> Quota | None:
    """None where the file system has no quotas."""
    buffer = ctypes.create_string_buffer(_ROW.size + 8)
    try:
        _call(path, _GETQUOTA, uid, buffer)
    except OSError as exc:
        if exc.errno in (errno.ESRCH, errno.ENOSYS, errno.ENOENT, errno.ENOTSUP, errno.ENOTBLK, errno.EINVAL):
            return None
        raise
    return _quota(_ROW.unpack_from(buffer.raw))


def put(path: Path, uid: int, *, disk_bytes: int, inodes: int) -> Quota:
    """Set the hard limits, and read them back. Raises AgentError where they did not take."""
    blocks = disk_bytes // _BLOCK
    buffer = ctypes.create_string_buffer(_ROW.pack(blocks, blocks, 0, inodes, inodes, 0, 0, 0, _LIMITS), _ROW.size + 8)
    try:
        _call(path, _SETQUOTA, uid, buffer)
    except OSError as exc:
        hint = "mount the file system with user quotas: see docs/install.md"
        raise AgentError("wrong-state", f"no quota can be set on {path}: {exc.strerror}", hint=hint) from None
    found = get(path, uid)
    if found is None or (found.disk_bytes, found.inodes) != (blocks * _BLOCK, inodes):
        raise AgentError("driver-permanent", f"the quota of {uid} on {path} reads back as {found}")
    return found


def systems(paths: Iterable[Path]) -> list[Path]:
    """Of those that are there, the first on each file system that counts."""
    by_device = {path.stat().st_dev: path for path in reversed([path for path in paths if path.is_dir()])}
    return [path for path in reversed(by_device.values()) if is_on(path)]


def put_elsewhere(homes: Path, others: Iterable[Path], uid: int, *, disk_bytes: int, inodes: int) -> None:
    """Set limits wherever else the user may leave something; nothing where all lies on the file system of the homes."""
    for path in systems((homes, *others)):
        if path != homes and path.stat().st_dev != homes.stat().st_dev:
            put(path, uid, disk_bytes=disk_bytes, inodes=inodes)


def owners(path: Path) -> list[int]:
    """Every user that has something there, or a limit."""
    found: list[int] = []
    wanted = 0
    while True:
        buffer = ctypes.create_string_buffer(_NEXT.size + 8)
        try:
            _call(path, _GETNEXTQUOTA, wanted, buffer)
        except OSError:
            return found
        row = _NEXT.unpack_from(buffer.raw)
        if any(row[:6]):
            found.append(row[9])
        wanted = row[9] + 1


def _quota(row: tuple[int, ...]) -> Quota:
    return Quota(disk_bytes=row[0] * _BLOCK, used_bytes=row[2], inodes=row[3], used_inodes=row[5])


def _call(path: Path, command: int, uid: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = _libc.syscall(_QUOTACTL_FD, fd, ctypes.c_uint((command << 8) | _USER), ctypes.c_uint(uid), buffer)
    finally:
        os.close(fd)
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
