"""``account-usage``: what accounts have used. Traffic is counted from the logs, each line once."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.node.call import Call
from agents.node.hosting import databases, facts, manifest, marks, quota, tree
from agents.node.hosting.layout import Home, Node
from agents.node.protocol import AgentError

_MONTHS_KEPT = 14
_PIECE = 1 << 20
_PATIENCE = 1.0
"""Seconds: one account that is busy shall not hold up what is asked about all."""


def account_usage(call: Call) -> dict[str, Any]:
    """For each: bytes and inodes (quota), database_bytes, traffic by month, cpu_seconds since its slice began (``boot_id``)."""
    node = Node(call.place)
    seen = facts.look(node)
    boot = (tree.read(node.under("proc/sys/kernel/random/boot_id")) or "").strip()
    rows = []
    for user in call.arguments["users"] or facts.everybody(seen):
        home = Home(node, user)
        if marks.mark(home) is None:
            continue
        used = quota.get(node.homes, home.uid)
        try:
            with marks.account_lock(node, user, wait=_PATIENCE):
                traffic = count(home)
        except AgentError:  # something long goes on with it: what was counted before; the next call counts on from there
            traffic = dict(sorted(_load(tree.read(home.records / "traffic.json")).months.items()))
        rows.append(
            {
                "user": user,
                "bytes": used.used_bytes if used else 0,
                "inodes": used.used_inodes if used else 0,
                "packed_bytes": packed_bytes(home),
                "database_bytes": sum(databases.size(seen.databases, name) for name in seen.databases.databases_of(user)),
                "traffic_bytes": traffic,
                "cpu_seconds": cpu_seconds(home),
                "processes": seen.processes[home.uid],
                "boot_id": boot,
            }
        )
    return {"accounts": rows, "unknown": [f"databases: {seen.databases.away}"] if seen.databases.away else []}


def packed_bytes(home: Home) -> int:
    """Of its dumps while they lie beside its files: root's, so its quota does not count them."""
    directories = [above / "databases" for above in (home.packed, home.packing)]
    total = 0
    for directory in directories:
        for name in tree.names(directory):
            with suppress(FileNotFoundError):  # a backup of it may end or begin meanwhile
                total += (directory / name).stat(follow_symlinks=False).st_blocks * 512
    return total


def cpu_seconds(home: Home) -> float:
    """Of its slice and of its logins."""
    total = 0
    for group in (home.cgroup, home.logins_cgroup):
        for line in (tree.read(group / "cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                total += int(value)
    return round(total / 1e6, 3)


@dataclass(slots=True)
class Counted:
    """How far each log was read (by site: inode and offset), and the bytes by month (UTC offset of the node's clock)."""

    logs: dict[str, tuple[int, int]] = field(default_factory=dict)
    months: Counter[str] = field(default_factory=Counter)


def count(home: Home) -> dict[str, int]:
    """Read on from where the last call ended; what logrotate put aside meanwhile is read to its end first."""
    path = home.records / "traffic.json"
    held = _load(tree.read(path))
    for name in tree.names(home.logs):
        if name.endswith(".access.log"):
            before = held.logs.get(name, (0, 0))
            held.logs[name] = _read_on(home.logs, name, before, held.months)
    for old in sorted(held.months)[:-_MONTHS_KEPT]:
        del held.months[old]
    manifest.directory(home)
    tree.write(path, json.dumps({"logs": held.logs, "months": held.months}) + "\n")
    return dict(sorted(held.months.items()))


def _load(text: str | None) -> Counted:
    try:
        found = json.loads(text or "{}")
        logs = {name: (int(inode), int(offset)) for name, (inode, offset) in found.get("logs", {}).items()}
        return Counted(logs, Counter({month: int(size) for month, size in found.get("months", {}).items()}))
    except (ValueError, TypeError, AttributeError):
        return Counted()


def _read_on(directory: Path, name: str, before: tuple[int, int], months: Counter[str]) -> tuple[int, int]:
    inode, offset = before
    here = (directory / name).stat().st_ino
    if inode and inode != here:
        rotated = directory / f"{name}.1"
        if rotated.exists() and rotated.stat().st_ino == inode:
            _sum(rotated, offset, months)
        offset = 0
    elif not inode:
        offset = 0
    return here, _sum(directory / name, offset, months)


def _sum(path: Path, offset: int, months: Counter[str]) -> int:
    """Add up whole lines from there on; where the next call goes on."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size < offset:
            offset = 0  # it was cut
        stream.seek(offset)
        left = b""
        while piece := stream.read(_PIECE):
            lines = (left + piece).split(b"\n")
            left = lines.pop()
            for line in lines:
                month, size = traffic(line)
                if month:
                    months[month] += size
        return stream.tell() - len(left)


def traffic(line: bytes) -> tuple[str, int]:
    """(``2026-11``, bytes in and out) of one line of our format; ('', 0) for any other."""
    fields = line.rsplit(b" ", 3)
    if len(fields) != 4 or not (fields[1].isdigit() and fields[2].isdigit()):
        return "", 0
    month = fields[3][:7].decode("ascii", "replace")
    if len(month) != 7 or month[4] != "-" or not (month[:4] + month[5:]).isdigit():
        return "", 0
    return month, int(fields[1]) + int(fields[2])
