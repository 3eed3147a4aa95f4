"""A controller on the simulated node, ended with its test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.playbooks import Playbook
from tests.fault import things
from tests.fault.hosting_ground import Ground, standing
from tests.fault.house import House, Options, prepared, seeded_world
from tests.hosting_server import HostingServer
from tests.store_files import engine_database


class Builder:
    """Builds controllers of test-only steps over one directory, one at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = prepared(directory, engine_database)
        self.world = seeded_world(directory)
        self._built: list[House] = []

    def __call__(self, books: Mapping[str, Playbook] | None = None, *, options: Options | None = None, **given: Any) -> House:
        on_apply = given.pop("on_apply", None)
        start = given.pop("start", True)
        steps = things.steps(self.world, on_apply)
        house = House(self.directory, steps=steps, playbooks=books or things.playbooks(), options=options, **given)
        self._built.append(house)
        if start:
            house.engine.start()
        return house

    def close(self) -> None:
        for house in self._built:
            house.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Builder]:
    builder = Builder(tmp_path / "state")
    yield builder
    builder.close()


@pytest.fixture(scope="module")
def hosting_ground(hosting_node: HostingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A controller of the module's own over the hosting node that all share; nothing of it is left there afterwards."""
    with standing(hosting_node, tmp_path_factory.mktemp("struck")) as ground:
        yield ground
        ground.clear()
