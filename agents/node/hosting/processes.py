"""What runs for an account: found by uid, ended by its cgroups and by uid."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from agents.node.hosting import tree
from agents.node.hosting.layout import Home, Node
from agents.node.protocol import AgentError

_PATIENCE = 10.0


def by_uid(node: Node) -> Counter[int]:
    """How many processes each user has; zombies are none."""
    found: Counter[int] = Counter()
    for pid in _pids(node):
        with suppress(OSError):
            found[(node.under("proc") / pid).stat().st_uid] += 1
    return found


def of(node: Node, uid: int) -> list[int]:
    """A process that changed its uid for a while still has it as real or saved one; one whose first thread has ended shows the
    state of a zombie and may run on in its others (proc(5), status)."""
    found = []
    wanted = str(uid)
    for pid in _pids(node):
        with suppress(OSError, ValueError):
            status = (node.under("proc") / pid / "status").read_text(errors="replace")
            rows = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            over = rows["State"].startswith(("Z", "X")) and int(rows["Threads"]) <= 1
            if wanted in rows["Uid"].split("\t") and not over:
                found.append(int(pid))
    return found


def _pids(node: Node) -> list[str]:
    return [name for name in tree.names(node.under("proc")) if name.isdigit()]


def end_all(home: Home) -> int:
    """Kill everything of the account until nothing is left; how many were seen. Raises AgentError where something stays.

    The cgroups go in one act of the kernel's (cgroup.kill), so that a fork bomb cannot run ahead; what is not in them, by uid.
    """
    ended: set[int] = set()
    end = time.monotonic() + _PATIENCE
    while True:
        for group in (home.cgroup, home.logins_cgroup):
            _kill_group(group)
        left = of(home.node, home.uid)
        if not left:
            return len(ended)
        ended.update(left)
        if time.monotonic() > end:
            raise AgentError(
                "driver-transient", f"{len(left)} processes of {home.user} do not end: {', '.join(map(str, left[:10]))}"
            )
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _kill_group(group: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        (group / "cgroup.kill").write_text("1")
