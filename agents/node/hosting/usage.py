"""``account-usage``: what accounts have used. Traffic is counted from the logs, each line once."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from agents.node.call import Call
from agents.node.hosting import databases, facts, manifest, marks, quota, tree
from agents.node.hosting.layout import Home, Node
from agents.node.protocol import AgentError

_MONTHS_KEPT = 14
_PIECE = 1 << 20
_FIRST = 1 << 10
_KNOWN = 100
"""Logs of one site whose reading is remembered: more than logrotate keeps."""
_PATIENCE = 1.0
"""Seconds: one account that is busy shall not hold up what is asked about all."""


def account_usage(call: Call) -> dict[str, Any]:
    """For each: bytes and inodes (quota), database_bytes, traffic by month, cpu_seconds since its slice began (``boot_id``)."""
    node = Node(call.place)
    seen = facts.look(node)
    boot = (tree.read(node.under("proc/sys/kernel/random/boot_id")) or "").strip()
    users = [user for user in call.arguments["users"] or facts.everybody(seen) if marks.mark(Home(node, user)) is not None]
    with _not_rotated(node):
        traffic = {user: _counted(node, user) for user in users}
    rows = []
    for user in users:
        home = Home(node, user)
        used = quota.get(node.homes, home.uid)
        rows.append(
            {
                "user": user,
                "bytes": used.used_bytes if used else 0,
                "inodes": used.used_inodes if used else 0,
                "packed_bytes": packed_bytes(home),
                "database_bytes": sum(databases.size(seen.databases, name) for name in seen.databases.databases_of(user)),
                "traffic_bytes": traffic[user],
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


@contextmanager
def _not_rotated(node: Node) -> Iterator[None]:
    """While logrotate is not at work: its unit holds the same lock, on the file that tells it what to do."""
    try:
        stream = node.rotation.open("rb")
    except FileNotFoundError:  # of a node that is not prepared, or not anew since this file is its own
        yield
        return
    with stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


def _counted(node: Node, user: str) -> dict[str, int]:
    home = Home(node, user)
    try:
        with marks.account_lock(node, user, wait=_PATIENCE):
            return count(home)
    except AgentError:  # something long goes on with it: what was counted before; the next call counts on from there
        return dict(sorted(_load(tree.read(home.records / "traffic.json")).months.items()))


@dataclass(slots=True)
class Counted:
    """How far each log was read (by site, and its first line, whatever the file is called by now), newest first; and the bytes by
    month (UTC offset of the node's clock)."""

    logs: dict[str, dict[str, int]] = field(default_factory=dict)
    months: Counter[str] = field(default_factory=Counter)


def count(home: Home) -> dict[str, int]:
    """Read on from where the last call ended, in whatever logrotate made of it meanwhile."""
    path = home.records / "traffic.json"
    held = _load(tree.read(path))
    names = tree.names(home.logs)
    for name in names:
        if name.endswith(".access.log"):
            held.logs[name] = _read_on(home.logs, _generations(name, names), held.logs.get(name, {}), held.months)
    for old in sorted(held.months)[:-_MONTHS_KEPT]:
        del held.months[old]
    manifest.directory(home)
    tree.write(path, json.dumps({"logs": held.logs, "months": held.months}) + "\n")
    return dict(sorted(held.months.items()))


def _load(text: str | None) -> Counted:
    try:
        found = json.loads(text or "{}")
        logs = {name: {first: int(end) for first, end in read.items()} for name, read in found.get("logs", {}).items()}
        return Counted(logs, Counter({month: int(size) for month, size in found.get("months", {}).items()}))
    except (ValueError, TypeError, AttributeError):
        return Counted()


def _generations(name: str, names: list[str]) -> list[str]:
    """The log and those that logrotate put aside, the newest first."""
    pattern = re.compile(re.escape(name) + r"\.([0-9]{1,6})(\.gz)?")
    aside = {int(found[1]): each for each in names if (found := pattern.fullmatch(each))}
    return [name, *(aside[number] for number in sorted(aside))]


def _read_on(directory: Path, generations: list[str], before: dict[str, int], months: Counter[str]) -> dict[str, int]:
    """Back to the newest that was read before, of which the rest is: whatever is older was read to its end by then."""
    now: dict[str, int] = {}
    for name in generations:
        with _opened(directory / name) as stream:
            first = _first(stream)
            if not first:  # nothing was written since it was begun
                continue
            now[first] = _sum(stream, before.get(first, 0), months)
        if first in before:
            break
    return dict([*now.items(), *((first, end) for first, end in before.items() if first not in now)][:_KNOWN])


def _opened(path: Path) -> IO[bytes]:
    if path.suffix != ".gz":
        return path.open("rb")
    import gzip  # what was put aside twice is seldom read

    return cast("IO[bytes]", gzip.open(path, "rb"))


def _first(stream: IO[bytes]) -> str:
    """What tells a log from all others of its site: its first line says when it was begun, and for whom. '' = it has none yet."""
    line = stream.readline(_FIRST)
    if not line.endswith(b"\n") and len(line) < _FIRST:
        return ""
    import hashlib

    return hashlib.sha256(line).hexdigest()[:32]


def _sum(stream: IO[bytes], offset: int, months: Counter[str]) -> int:
    """Add up whole lines from there on; where the next call goes on."""
    if stream.seek(0, os.SEEK_END) < offset:
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
