"""Accounts on a real hosting node: how long one takes to be made, against the same by hand, and what one holds."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from agents.node.hosting.layout import Home, Node
from agents.node.place import Place
from tests.benchmarks.accounts import KEY, LIMITS, PHP, furnish
from tests.benchmarks.book import Pair, Row, megabytes, pairs, timed, write
from tests.hosting_server import HostingServer

BY_HAND = Path(__file__).with_name("by_hand.sh")
ROUNDS = 5
VHOSTS = 1000
FIRST_UID = 200_001
IDLE_SECONDS = 15

pytestmark = pytest.mark.timeout(3600)


def spec(uid: int) -> dict[str, Any]:
    return {
        "service_id": f"bench-{uid}",
        "user": f"h{uid}",
        "uid": uid,
        "limits": {
            "disk_bytes": LIMITS.disk_bytes,
            "inodes": LIMITS.inodes,
            "cpu_percent": LIMITS.cpu_percent,
            "memory_bytes": LIMITS.memory_bytes,
            "tasks": LIMITS.tasks,
        },
        "access": {
            "password_hash": "$y$j9T$lcVeNDJqcUvMzMyOx0oLb0$nRkHQhjcDPWwIDHzv5HwQXdVSYqvZuGaDO0u3WiIWx9",
            "ssh_keys": [KEY],
        },
        "sites": [{"name": "main", "domains": [f"bench{uid}.example"], "php": PHP}],
        "databases": [{"name": "main"}],
        "cron": [{"schedule": "*/5 * * * *", "command": "true"}],
    }


def make(node: HostingServer, uid: int) -> None:
    done = node.call("account-apply", {"account": spec(uid), "job_id": "bench"}, deadline=600)
    assert done["facts"]["fpm"] == "active"


def by_hand(node: HostingServer, uid: int) -> None:
    node.server.run("sh", "/root/by_hand.sh", str(uid), f"hand{uid}.example", seconds=600)


def reloads(node: HostingServer) -> int:
    """How often nginx was told to read its configuration again, as the system's log has it."""
    return node.run("journalctl", "--unit=nginx.service", "--output=cat", "--quiet").count("Reloaded ")


def send_vhosts(node: HostingServer, directory: Path) -> None:
    """The vhosts, certificates and log directories of many accounts, as if they had been made."""
    furnish(directory, VHOSTS, first_uid=300_001)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("etc/nginx/orchestrator", "etc/orchestrator/tls"):
            archive.add(directory / name, name)
    node.server.write("/root/many.tar.gz", buffer.getvalue())
    node.run("tar", "--extract", "--no-same-owner", "--directory=/", "--file=/root/many.tar.gz")
    homes = [Home(Node(Place(Path("/"))), f"h{300_001 + number}") for number in range(VHOSTS)]
    node.server.shell("mkdir -p " + " ".join(str(home.logs) for home in homes))
    node.server.shell("ulimit -n 65536; nginx -t -q")  # each vhost has two logs
    node.run("systemctl", "reload", "nginx.service")


def held(node: HostingServer, uid: int) -> float:
    """Bytes that an account's processes hold when nothing is asked of them."""
    return float(node.run("cat", f"/sys/fs/cgroup/orch.slice/orch-h{uid}.slice/memory.current"))


def test_accounts_on_a_hosting_node(hosting_node: HostingServer, tmp_path: Path) -> None:
    node, uid = hosting_node, iter(range(FIRST_UID, FIRST_UID + 100))
    node.server.write("/root/by_hand.sh", BY_HAND.read_bytes())
    made = pairs(lambda: timed(lambda: make(node, next(uid))), lambda: timed(lambda: by_hand(node, next(uid))), rounds=ROUNDS)
    idle = next(uid)
    make(node, idle)
    time.sleep(IDLE_SECONDS)
    memory = held(node, idle)
    send_vhosts(node, tmp_path)
    before, one_more = reloads(node), next(uid)
    ours = timed(lambda: make(node, one_more))
    again = reloads(node) - before
    assert again == 1
    bare = timed(lambda: by_hand(node, next(uid)))
    among = Pair(ours=ours, bare=bare, ratio=ours / bare)
    write(
        "Accounts on a hosting node",
        "In a guest of the lab (software emulation: read the ratio, not the seconds). Ours: one call of `account-apply` over SSH,"
        " the facts of the account read back; with a site, PHP, a certificate, a database, a key, a crontab, its limits. Bare:"
        " over SSH a shell script of the commands by which an administrator would do the same (tests/benchmarks/by_hand.sh).",
        [
            made.row("one account"),
            among.row(f"one more beside {VHOSTS:,} vhosts, by {again} reload of nginx"),
            Row("memory of an account that does nothing", megabytes(memory)),
        ],
    )
