"""What a user has in the kernel's shared memory, semaphores and queues (proc(5), sysvipc)."""

from __future__ import annotations

from agents.node.hosting import tree
from agents.node.hosting.layout import Node

_IDS = {"shm": "shmid", "sem": "semid", "msg": "msqid"}
OPTIONS = {"shm": "-m", "sem": "-s", "msg": "-q"}


def of(node: Node, uid: int) -> list[tuple[str, int]]:
    """(kind, id) of each that the user made: its owner is whom its maker names, be it a neighbour (shmctl(2))."""
    found = []
    for kind in OPTIONS:
        lines = (tree.read(node.under(f"proc/sysvipc/{kind}")) or "").splitlines()
        if not lines:
            continue
        names = lines[0].split()
        for line in lines[1:]:
            row = dict(zip(names, line.split(), strict=False))
            if row.get("cuid") == str(uid):
                found.append((kind, int(row[_IDS[kind]])))
    return found
