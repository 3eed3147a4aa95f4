"""What the log tells of jobs that have come to rest."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.errors import InDoubt, OrchestratorError, PermanentDriverError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.engine import resting
from tests.fault.conftest import Builder
from tests.fault.house import House, Options

FIELDS = ("job_id", "service_id", "event_id", "intent", "state", "code")
HEARD_SECONDS = 20.0


def told(caplog: pytest.LogCaptureFixture, count: int = 1) -> list[dict[str, Any]]:
    """The lines about rest, each with its level and its fields, when there are so many: a line comes after what it tells."""
    end = time.monotonic() + HEARD_SECONDS
    while (
        len(rows := [record for record in caplog.records if record.name == resting.__name__]) < count and time.monotonic() < end
    ):
        time.sleep(0.02)
    return [{"level": row.levelname, "says": row.getMessage(), **vars(row)} for row in rows]


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_job_that_went_well_is_told_once_with_what_it_was_and_how_long_it_ran(
    build: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    house = build()
    job = house.wait(house.event("order.paid", "s1", event_id="e1", client_id="c1", plan="small").job_id)
    (line,) = told(caplog)
    assert (line["level"], line["says"]) == ("INFO", f"job {job.id}: provision of s1 done")
    assert [line[name] for name in FIELDS] == [job.id, "s1", "shop/e1", "provision", "done", ""]
    assert job.started_at is not None
    assert job.finished_at is not None
    assert line["seconds"] == pytest.approx((job.finished_at - job.started_at).total_seconds(), abs=0.001)


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (PermanentDriverError("the disk is gone"), JobState.FAILED, "driver-permanent"),
        (InDoubt("who knows"), JobState.NEEDS_OPERATOR, "in-doubt"),
    ],
)
def test_a_job_that_went_wrong_is_a_warning_with_its_code(
    build: Builder, caplog: pytest.LogCaptureFixture, error: OrchestratorError, state: JobState, code: str
) -> None:
    house = build()
    house.world.fault("thing.make", nth=1, error=error)
    house.wait(house.order("s1").job_id)
    (line,) = told(caplog)
    assert (line["level"], line["state"], line["code"]) == ("WARNING", state.value, code)
    assert str(error) in line["reason"]


def test_a_job_that_waits_for_a_person_is_a_warning_and_one_that_is_cancelled_is_none(
    build: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    house.wait(house.order("s1").job_id)
    job = house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="asked", arguments={})
    house.engine.cancel(job.job_id, "anna")
    _, waits, cancelled = told(caplog, 3)
    assert (waits["level"], waits["state"], waits["event_id"], waits["seconds"]) == ("WARNING", "waiting_approval", "", None)
    assert waits["says"] == f"job {job.job_id}: suspend of s1 waiting approval: {job.waits}"
    assert (cancelled["level"], cancelled["state"]) == ("INFO", "cancelled")


def test_a_freeze_that_parks_a_job_is_told(build: Builder, caplog: pytest.LogCaptureFixture) -> None:
    house: House = build(at=lambda point: house.engine.freeze("anna", "stop") if point == "vps-terminate/no-c/before" else None)
    house.wait(house.order("s1").job_id)
    house.wait(house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="", arguments={}).job_id)
    line = told(caplog, 2)[-1]
    assert (line["level"], line["state"], line["reason"]) == ("WARNING", "waiting_approval", "frozen")
    house.engine.unfreeze("anna")
