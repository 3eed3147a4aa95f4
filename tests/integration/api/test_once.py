"""A request that is sent again under its key after the controller ended between act and answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.domain.intents import IntentKind
from orchestrator.store import audit
from tests.integration.api.answers import refused
from tests.live import Live

KEY = {"Idempotency-Key": "k"}
ACTS = ("command", "job approved", "job cancelled", "job retried", "event replayed")


class Struck:
    """The engine, or one of its desks, but nobody hears any more that an act was done."""

    def __init__(self, engine: object) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name in ("accept", "answering"):
            return found
        if not callable(found):
            return Struck(found)

        def act(*args: Any, **given: Any) -> None:
            found(*args, **given)
            raise StoreUnavailable("struck")

        return act


def suspending(live: Live) -> str:
    """A job that waits for approval."""
    live.provisioned("s1")
    return live.controller.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="asked", arguments={}).job_id


def cancelled(live: Live) -> str:
    job_id = suspending(live)
    live.controller.engine.cancel(job_id, "anna")
    return job_id


def checked(live: Live) -> str:
    live.provisioned("s1")
    return "s1"


def dead(live: Live) -> str:
    live.send("order.paid", "s1", client_id="c1", plan="no-such-plan")
    return "1"


@pytest.fixture
def live(tmp_path: Path) -> Any:
    def strike(context: Any) -> Any:
        return dataclasses.replace(context, engine=Struck(context.engine))

    live = Live(tmp_path / "c", change=strike, brakes="{suspensions_per_hour: 0, terminations_per_hour: 0}")
    live.start()
    yield live
    live.stop()


@pytest.mark.parametrize(
    ("prepare", "path"),
    [
        (checked, "/v1/services/{}/check"),
        (suspending, "/v1/jobs/{}/approve"),
        (suspending, "/v1/jobs/{}/cancel"),
        (cancelled, "/v1/jobs/{}/retry"),
        (dead, "/v1/events/{}/replay"),
    ],
)
def test_an_act_whose_answer_was_lost_is_not_done_again_under_its_key(
    live: Live, prepare: Callable[[Live], str], path: str
) -> None:
    where = path.format(prepare(live))
    with live.db.read() as conn:
        before = {row.seq for row in audit.list_page(conn, limit=500)[0]}
    refused(live.http.post(where, headers=KEY), 503, "store-unavailable")
    again = live.http.post(where, headers=KEY)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["outcome" if "jobs" not in path else "state"]
    with live.db.read() as conn:
        rows = [row for row in audit.list_page(conn, limit=500)[0] if row.seq not in before]
    assert len([row for row in rows if row.what in ACTS and row.who != "orchestrator"]) == 1


def test_a_reconciliation_whose_answer_was_lost_is_not_done_again_under_its_key(live: Live) -> None:
    live.provisioned("s1")
    body = '[{"service": "s1", "paid_until": "2030-01-01T00:00:00Z", "state": "active"}]'
    refused(live.http.post("/v1/reconciliation", headers=KEY, content=body), 503, "store-unavailable")
    again = live.http.post("/v1/reconciliation", headers=KEY, content=body)
    assert again.headers["idempotent-replayed"] == "true"
    assert [one["outcome"] for one in again.json()["differences"]] == ["nothing"]
    with live.db.read() as conn:
        rows = [row.what for row in audit.list_page(conn, limit=500)[0]]
    assert (rows.count("reconciliation"), rows.count("reconciled")) == (1, 1)
