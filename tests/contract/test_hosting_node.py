"""The contract of HostingNode, on the simulated node. A real one is another class here with a fixture ``ground`` of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.drivers.fake import FakeHostingNode, FakeWorld
from orchestrator.drivers.fake.hosting import PHP
from orchestrator.drivers.fake.hosting_copies import add_cron, aside, break_database, database_text, write_database
from orchestrator.drivers.fake.repositories import put_file, texts
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

    def write_database(self, user: str, database: str, text: str) -> None:
        write_database(self.world, NODE, user, database, text)

    def database_text(self, user: str, database: str) -> str:
        return database_text(self.world, NODE, user, database)

    def break_database(self, user: str, database: str) -> None:
        break_database(self.world, NODE, user, database)

    def add_cron(self, user: str, line: str) -> None:
        add_cron(self.world, NODE, user, line)

    def take_cron(self, user: str) -> None:
        with self.world.change() as state:
            state["nodes"][NODE]["accounts"][user]["own_cron"] = []

    def files(self, directory: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for top in self.world.node(NODE).get("directories", {}):
            for path, text in texts(self.world, NODE, top).items():
                if f"{top}/{path}".startswith(f"{directory}/"):
                    found[f"{top}/{path}".removeprefix(f"{directory}/")] = text
        return found

    def put_aside(self, user: str, backup: str, path: str, text: str) -> None:
        put_file(self.world, NODE, aside(user, backup), path, text)


class TestSimulatedHostingNode(HostingContract):
    """The simulated node."""

    @pytest.fixture
    def ground(self, tmp_path: Path) -> Simulated:
        world = FakeWorld(tmp_path / "world.json")
        world.add_node(NODE)
        return Simulated(world, FakeHostingNode(world, NODE))
