"""The contract of HostingNode, on the simulated node and on a real server with the real agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.domain.accounts import AccountSpec
from orchestrator.drivers.fake import FakeHostingNode, FakeWorld
from orchestrator.drivers.fake.hosting import PHP
from orchestrator.drivers.hosting import AgentHostingNode
from orchestrator.ports.hosting_node import HostingNode
from tests.contract.hosting import JOB, LONG, Ground, HostingContract, seen, spec_of
from tests.hosting_server import HostingServer

NODE = "h1"


@dataclass(frozen=True)
class Simulated:
    world: FakeWorld
    hosting: HostingNode
    php: str = PHP[0]

    def write_log(self, user: str) -> None:
        with self.world.change() as state:
            state["nodes"][NODE]["files"].append(f"/var/log/orchestrator/{user}/main.access.log")


class TestSimulatedHostingNode(HostingContract):
    """The simulated node."""

    @pytest.fixture
    def ground(self, tmp_path: Path) -> Simulated:
        world = FakeWorld(tmp_path / "world.json")
        world.add_node(NODE)
        return Simulated(world, FakeHostingNode(world, NODE))


@dataclass(frozen=True)
class Real:
    server: HostingServer
    hosting: HostingNode
    php: str

    def write_log(self, user: str) -> None:
        logs = f"/var/log/orchestrator/{user}"
        self.server.server.shell(f"mkdir -p {logs}; echo a line >>{logs}/main.access.log")


@pytest.fixture(scope="module")
def real(hosting_node: HostingServer) -> Iterator[Real]:
    transport = hosting_node.transport()
    hosting = AgentHostingNode(transport, name=hosting_node.node.name)
    yield Real(hosting_node, hosting, hosting.doctor(deadline=LONG).php[0])
    transport.close()


@pytest.fixture(scope="module")
def standing(real: Real) -> Iterator[AccountSpec]:
    """The account that all tests on the real node have: its processor is emulated, and a new one takes its time."""
    spec = spec_of(real)
    yield spec
    if seen(real, spec.user).service_id == spec.service_id:
        real.hosting.wipe(spec.user, service_id=spec.service_id, job_id="job-end", deadline=LONG)
    real.hosting.residue(spec.user, service_id=spec.service_id, uid=spec.uid, clean=True, deadline=LONG)


@pytest.mark.guest
@pytest.mark.timeout(900)
class TestRealHostingNode(HostingContract):
    """A Debian server of the lab."""

    @pytest.fixture
    def ground(self, real: Real) -> Real:
        return real

    @pytest.fixture
    def made(self, ground: Ground, standing: AccountSpec) -> AccountSpec:
        """As it is sold, whatever the test before did to it."""
        if ground.hosting.apply(standing, job_id=JOB, deadline=LONG).facts.suspended_by:
            self.unsuspend(ground, standing)
        return standing
