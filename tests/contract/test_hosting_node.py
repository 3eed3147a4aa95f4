"""The contract of HostingNode, on the simulated node. A real one is another class here with a fixture ``ground`` of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.drivers.fake import FakeHostingNode, FakeWorld
from orchestrator.drivers.fake.hosting import PHP
from orchestrator.ports.hosting_node import HostingNode
from tests.contract.hosting import HostingContract

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
