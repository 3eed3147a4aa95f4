"""What a caller writes beside an act holds with it or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.store import settings
from orchestrator.store.database import Connection
from tests.fault.conftest import Builder
from tests.fault.house import House, Options

SUSPEND = IntentKind.SUSPEND
Acting = Callable[[House, str, Callable[[Connection, object], None]], object]


def _command(house: House, _job: str, beside: Callable[[Connection, object], None]) -> object:
    return house.engine.command(SUSPEND, "s2", who="anna", why="asked", arguments={}, beside=beside)


ACTS: dict[str, tuple[JobState, Acting]] = {
    "command": (JobState.WAITING_APPROVAL, _command),
    "approve": (JobState.WAITING_APPROVAL, lambda house, job, beside: house.engine.approve(job, "anna", beside=beside)),
    "cancel": (JobState.WAITING_APPROVAL, lambda house, job, beside: house.engine.cancel(job, "anna", beside=beside)),
    "retry": (JobState.CANCELLED, lambda house, job, beside: house.engine.retry(job, "anna", beside=beside)),
    "replay": (JobState.WAITING_APPROVAL, lambda house, _job, beside: house.engine.replay(1, "anna", beside=beside)),
}


def ready(build: Builder, state: JobState) -> tuple[House, str]:
    """A dead event (the first), two services, and a job in the state."""
    house = build(options=Options(limits=BrakeLimits(suspensions_per_hour=0, terminations_per_hour=0)))
    house.event("order.paid", "s9", client_id="c1", plan="unknown")
    for service in ("s1", "s2"):
        house.wait(house.order(service).job_id)
    job_id = house.engine.command(SUSPEND, "s1", who="anna", why="asked", arguments={}).job_id
    if state == JobState.CANCELLED:
        house.engine.cancel(job_id, "anna")
    return house, job_id


@pytest.mark.parametrize("act", list(ACTS))
def test_an_act_beside_which_nothing_can_be_written_is_not_done(build: Builder, act: str) -> None:
    state, do = ACTS[act]
    house, job_id = ready(build, state)

    def fail(_conn: Connection, _result: object) -> None:
        raise KeyError("no room")

    with pytest.raises(KeyError):
        do(house, job_id, fail)
    assert (house.job(job_id).state, len(house.jobs("s1")), len(house.jobs("s2"))) == (state, 2, 1)
    with house.db.read() as conn:
        assert "replayed" not in str(conn.exec_driver_sql("SELECT what FROM audit").fetchall())


@pytest.mark.parametrize("act", list(ACTS))
def test_what_is_written_beside_an_act_stands_when_it_has_held(build: Builder, act: str) -> None:
    state, do = ACTS[act]
    house, job_id = ready(build, state)
    do(house, job_id, lambda conn, result: settings.put(conn, "beside", str(result), now=house.clock.now()))
    with house.db.read() as conn:
        assert settings.get(conn, "beside") is not None
