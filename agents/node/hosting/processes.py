"""What runs for an account: found by uid, ended by its cgroups and by uid."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agents.node.hosting import tree
from agents.node.hosting.layout import Home, Node
from agents.node.protocol import AgentError

_PATIENCE = 10.0
_STATUS = re.compile(r"^State:\t(.).*?^Uid:\t([0-9\t]+)$.*?^Threads:\t([0-9]+)$", re.MULTILINE | re.DOTALL)


def by_uid(node: Node) -> Counter[int]:
    """How many processes each user has; zombies are none."""
    return Counter(uid for _, uids in _running(node) for uid in set(uids))


def of(node: Node, uid: int) -> list[int]:
    """A process that changed its uid for a while still has it as real or saved one; one whose first thread has ended shows the
    state of a zombie and may run on in its others (proc(5), status)."""
    return [pid for pid, uids in _running(node) if uid in uids]


def _running(node: Node) -> Iterator[tuple[int, list[int]]]:
    """Each process with its uids. The directory of one says nothing of them: it is root's where the process gives nobody a look
    at its memory (proc(5)), as PHP's workers and whoever asks for that (prctl(2))."""
    for name in tree.names(node.under("proc")):
        if not name.isdigit():
            continue
        with suppress(OSError):
            status = (node.under("proc") / name / "status").read_text(errors="replace")
            found = _STATUS.search(status)
            if found and not (found[1] in "ZX" and int(found[3]) <= 1):
                yield int(name), [int(each) for each in found[2].split("\t")]


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
