"""How full a pool is: its file system and, below that, the thin pools that it draws its blocks from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.medium import medium
from agents.node.protocol import AgentError

_SYS_BLOCK = Path("/sys/class/block")
_SECONDS = 5.0


def pool_fill(call: Call) -> dict[str, Any]:
    """Percent of the blocks that hold data, and of what the pool keeps its own books in: the fuller of the file system's and of
    any thin pool's below it. ``thin``: the names of those.
    """
    path = call.place.pool(call.arguments["path"])
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise AgentError("not-found", f"{path}: {exc.strerror}", hint="mount the pool") from None
    try:
        space, layers = os.fstatvfs(fd), medium(fd).layers
    finally:
        os.close(fd)
    used = space.f_blocks - space.f_bfree
    thin = thin_pools(_thin_status(), _mapped(layers))
    data = [_percent(used, used + space.f_bavail), *(each[0] for each in thin.values())]
    books = [_percent(space.f_files - space.f_ffree, space.f_files), *(each[1] for each in thin.values())]
    return {"data_percent": max(data), "metadata_percent": max(books), "thin": sorted(thin)}


def thin_pools(status: str, names: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Data and metadata percent of the thin pools called ``names``, as `dmsetup status` prints them.

    `NAME: START LENGTH thin-pool TRANSACTION USED/TOTAL USED/TOTAL …`, metadata first (the kernel's thin-provisioning.rst). One
    that failed says so instead, and is full: nothing may be written to it.
    """
    wanted, found = frozenset(names), {}
    for line in status.splitlines():
        name, _, rest = line.partition(": ")
        words = rest.split()
        if name not in wanted or words[2:3] != ["thin-pool"]:
            continue
        shares = [word.split("/") for word in words[4:6]]
        if any(len(share) != 2 or not all(part.isdigit() for part in share) for share in shares) or len(shares) != 2:
            found[name] = (100.0, 100.0)
            continue
        books, data = (_percent(int(used), int(total)) for used, total in shares)
        found[name] = (data, books)
    return found


def _percent(used: int, total: int) -> float:
    return round(100 * used / total, 2) if total else 0.0


def _mapped(layers: Iterable[str]) -> list[str]:
    """The device mapper's own names of those layers that are its."""
    names = []
    for layer in layers:
        try:
            names.append((_SYS_BLOCK / layer / "dm" / "name").read_text().strip())
        except OSError:
            continue
    return names


def _thin_status() -> str:
    """'' where this machine has no device mapper."""
    command = ["dmsetup", "status", "--target", "thin-pool"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout if found.returncode == 0 else ""
