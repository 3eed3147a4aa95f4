"""A controller on the simulated node, ended with its test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.playbooks import Playbook
from tests.fault import things
from tests.fault.hosting_ground import Ground, standing
from tests.fault.house import House, Options, prepared, seeded_world
from tests.hosting_server import HostingServer
from tests.store_files import POSTGRESQL, SQLITE, drop_house, engine_database

ON_BOTH = ("test_engine_recovery", "test_engine_undoing", "test_engine_runs", "test_engine_line")
ONCE_MORE = ("test_engine_runs",)  # on the second database in the whole matrix only


def queue_of(house: House) -> str:
    """The library's own table."""
    return "workflow_status" if house.db.is_sqlite else "dbos.workflow_status"


class Builder:
    """Builds controllers of test-only steps over one directory, one at a time."""

    def __init__(self, directory: Path, kind: str = SQLITE) -> None:
        self.directory = prepared(directory, partial(engine_database, kind=kind))
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What the engine does after a crash, and while the store is away, it does on either database."""
    if "build" in metafunc.fixturenames and metafunc.module.__name__.endswith(ON_BOTH):
        again = (pytest.mark.rare,) if metafunc.module.__name__.endswith(ONCE_MORE) else ()
        metafunc.parametrize("store_kind", [SQLITE, pytest.param(POSTGRESQL, marks=again)], indirect=True)


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    """Of database: ``sqlite`` or ``postgresql``."""
    return str(getattr(request, "param", SQLITE))


@pytest.fixture
def build(tmp_path: Path, store_kind: str) -> Iterator[Builder]:
    builder = Builder(tmp_path / "state", store_kind)
    yield builder
    builder.close()
    drop_house(builder.directory)


@pytest.fixture(scope="module")
def hosting_ground(hosting_node: HostingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A controller of the module's own over the hosting node that all share; nothing of it is left there afterwards."""
    with standing(hosting_node, tmp_path_factory.mktemp("struck")) as ground:
        yield ground
        ground.clear()
