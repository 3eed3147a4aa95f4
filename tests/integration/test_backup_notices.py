"""Who has more than is backed up is told so: billing gets a message for each backup that was refused, and for no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.policies import SILENT
from orchestrator.store import outbox
from orchestrator.store.outbox import Filters
from tests.fault.house import PLAN, House, Options
from tests.integration.test_due import Year


class Capped(Year):
    """Plans with a cap that every guest is over, or none is."""

    policy = replace(SILENT, name="default")

    def begin(self, cap: int) -> House:
        self.plan = replace(PLAN, backup_cap_bytes=cap)
        return self.open(options=Options(backups={"n1": NodeBackups(target="main")}))


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Capped]:
    made = Capped(tmp_path / "state")
    yield made
    made.close()


def told(house: House) -> list[dict[str, Any]]:
    """What billing is to be told of refused backups."""
    with house.db.read() as conn:
        found, _ = outbox.list_page(conn, Filters(service_id="s1", kind="backup.refused"), limit=10)
    return [json.loads(message.body)["data"] for message in found]


def back_up(house: House) -> JobState:
    asked = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={})
    return house.wait(asked.job_id).state


def test_billing_is_told_the_numbers_and_the_plan_of_a_backup_that_was_refused(year: Capped) -> None:
    house = year.begin(cap=1)
    house.wait(house.order("s1").job_id)
    assert back_up(house) == JobState.FAILED
    (data,) = told(house)
    assert data["size_bytes"] > 1
    assert data["slot"] is None
    assert "at most 1" in data["reason"]
    assert "plan small" in data["reason"]
    assert back_up(house) == JobState.FAILED
    assert len(told(house)) == 2


def test_of_one_that_was_made_nothing_is_told(year: Capped) -> None:
    house = year.begin(cap=1 << 50)
    house.wait(house.order("s1").job_id)
    assert back_up(house) == JobState.DONE
    assert told(house) == []
