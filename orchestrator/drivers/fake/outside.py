"""The simulated rest: enrolment, the billing system's ear, and a clock that moves when told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.errors import PermanentDriverError
from orchestrator.domain.plans import Node, NodeKind
from orchestrator.drivers.fake.agent import FakeAgent
from orchestrator.drivers.fake.hosting import FakeHostingNode
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.ports.enrolment import EnrolmentReport, HostKey, Requirement
from orchestrator.ports.notifier import Delivery


class FakeClock:
    """A clock that stands still until somebody sleeps or moves it. Safe for several threads."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Return at once, so much later."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move on; raises ValueError where ``by`` is negative (use ``set`` to turn the wall clock back)."""
        if by < timedelta(0):
            raise ValueError("a monotonic clock does not go back")
        with self._lock:
            self._now += by
            self._monotonic += by.total_seconds()

    def set(self, now: datetime) -> None:
        """Set the wall clock, backwards too; the monotonic one is left alone."""
        with self._lock:
            self._now = now


class FakeNotifier:
    """Keeps what was posted in the world. ``answer(503, …)`` scripts the next answers; without a script all is taken."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def answer(self, *statuses: int) -> None:
        """The statuses of the next posts, in this order; 0 = no answer."""
        with self._world.change() as state:
            state["answers"].extend(statuses)

    def post(self, *, message_id: str, body: bytes, deadline: float) -> Delivery:
        with self._world.change() as state:
            status = int(state["answers"].pop(0)) if state["answers"] else 200
            state["deliveries"].append({"id": message_id, "body": body.decode(), "status": status})
        return Delivery(status=status)

    def deliveries(self) -> tuple[tuple[str, str, int], ...]:
        """Everything posted so far: (message id, body, status answered)."""
        return tuple((d["id"], d["body"], d["status"]) for d in self._world.read()["deliveries"])


class FakeEnrolment:
    """Enrols simulated nodes; the host key is made from the node's name, so that it stays the same."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def host_keys(self, node: Node, *, deadline: float) -> tuple[HostKey, ...]:
        self._world.act("enrolment.host_keys", node=node.name, subject=node.name, deadline=deadline, stages=[lambda _: None])
        return (_host_key(node),)

    def enrol(
        self,
        node: Node,
        *,
        host_key: HostKey,
        identity: str,
        say: Callable[[str], None],
        deadline: float,
        install: bool = False,
    ) -> EnrolmentReport:
        """See the port. What the world's node has ``missing`` is there once it is installed."""
        if host_key != _host_key(node):
            raise PermanentDriverError(f"{node.name} presents another host key than the one to be pinned")

        def stage(there: dict[str, Any]) -> None:
            there["enrolled"] = True
            if install and there["missing"]:
                say(f"installing {' '.join(there['missing'])}")
                there["missing"] = []

        self._world.act("enrolment.enrol", node=node.name, subject=node.name, deadline=deadline, stages=[stage])
        agent = FakeAgent(self._world, node.name)
        hello = agent.call("hello", {}, deadline=deadline)
        say(f"the agent of {node.name} answers")
        hosting = node.kind == NodeKind.HOSTING
        asked = {"pool_path": "/", "bridge": node.bridge, "backups": bool(node.backups)}
        rows = () if hosting else agent.call("doctor", asked, deadline=deadline)["requirements"]
        needs = FakeHostingNode(self._world, node.name).doctor(deadline=deadline).needs if hosting else ()
        return EnrolmentReport(
            host_key=host_key,
            agent_version=hello["version"],
            agent_sha256=hello["sha256"],
            requirements=(
                *(Requirement(**row) for row in rows),
                *(Requirement(name=need.name, ok=need.ok, found=need.says, mend=need.hint) for need in needs),
            ),
            hook_refuses=None if hosting else True,
        )


def _host_key(node: Node) -> HostKey:
    return HostKey(kind="ssh-ed25519", fingerprint=f"SHA256:simulated-{node.name}", line=f"ssh-ed25519 simulated-{node.name}")
