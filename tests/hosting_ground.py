"""A simulated hosting node for tests, with two plans that are sold on it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.domain.plans import HostingPlan, Node, NodeKind
from orchestrator.drivers.fake import FakeHostingNode, FakeWorld
from orchestrator.store import nodes
from orchestrator.store.database import Database
from orchestrator.wiring.links import as_node

HOST = Node(name="h1", zone="z1", address="192.0.2.21", kind=NodeKind.HOSTING, driver="fake")
# A second one, which takes what the first has no room for.
OTHER = Node(name="h2", zone="z1", address="192.0.2.22", kind=NodeKind.HOSTING, driver="fake")
SMALL = HostingPlan(
    name="hosting-small",
    disk_bytes=5 << 30,
    inodes=100_000,
    cpu_percent=50,
    limited_cpu_percent=5,
    memory_bytes=512 << 20,
    tasks=100,
    databases=1,
    php=("8.2",),
)
LARGE = HostingPlan(
    name="hosting-large",
    disk_bytes=20 << 30,
    inodes=400_000,
    cpu_percent=200,
    memory_bytes=2 << 30,
    tasks=200,
    io_bytes_per_second=50_000_000,
    iops=1000,
    databases=1,
    php=("8.2",),
)


def furnish(world: FakeWorld, db: Database, *, now: datetime, node: Node = HOST) -> None:
    """Seed the node and enrol it."""
    world.add_node(node.name, cpus=8, memory_bytes=64 << 30, pool_bytes=1 << 40)
    facts = as_node(FakeHostingNode(world, node.name).doctor(deadline=5))
    with db.write() as conn:
        nodes.set_enrolled(
            conn, node.name, host_key="ssh-ed25519 simulated", agent_version="fake", agent_sha256="0" * 64, now=now
        )
        nodes.set_seen(conn, node.name, facts, now=now)


def account(world: FakeWorld, user: str, node: str = HOST.name) -> dict[str, Any]:
    """The account as it stands in the simulated world; {} where there is none."""
    found: dict[str, Any] = world.node(node).get("accounts", {}).get(user, {})
    return found
