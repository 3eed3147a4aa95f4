"""What the metrics tell of all services is counted beside the scrapes, kept for a while, and never shown when it is old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.api.tally import BEHIND_FOR, Tally
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.store import services
from tests.integration.api.test_backup_plan import WEEKLY
from tests.live import Live

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ACTIVE = Service(
    id="late",
    client_id="c1",
    plan="small",
    state=Lifecycle.ACTIVE,
    node="n1",
    paid_until=NOW + 300 * DAY,
    activated_at=NOW - 30 * DAY,
)


class Hands:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.wall = NOW

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits {seconds} seconds here")


@pytest.fixture
def weekly(tmp_path: Path) -> Live:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").write_text(WEEKLY, encoding="utf-8")
    return Live(tmp_path)


def put(live: Live, *found: Service) -> None:
    with live.db.write() as conn:
        for service in found:
            services.put(conn, service, now=NOW)
        conn.exec_driver_sql("UPDATE services SET node = 'n1'")


def test_who_has_missed_two_slots_is_counted_and_a_count_is_good_for_a_while_only(weekly: Live) -> None:
    hands = Hands()
    tally = Tally(weekly.db, weekly.context.catalog, hands)
    held = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="billing", why="overdue", since=NOW)
    put(
        weekly,
        ACTIVE,
        replace(ACTIVE, id="caught-up", backups_seen_to=NOW - DAY),
        replace(ACTIVE, id="one-missed", activated_at=NOW - 7 * DAY),
        replace(ACTIVE, id="held", holds=(held,)),
        replace(ACTIVE, id="gone", state=Lifecycle.ERASED),
    )
    try:
        assert tally.behind() == 1
        put(weekly, replace(ACTIVE, id="later"))
        hands.wall = NOW + BEHIND_FOR - timedelta(seconds=1)
        tally.once()
        assert tally.behind() == 1
        hands.wall = NOW + BEHIND_FOR
        assert tally.behind() == 1, "a scrape leaves the counting to the turn beside it"
        tally.once()
        assert tally.behind() == 2
        put(weekly, replace(ACTIVE, id="latest"))
        hands.wall += 3 * BEHIND_FOR
        assert tally.behind() == 3, "where nobody counts any more the scrape does"
        put(weekly, replace(ACTIVE, id="last"))
        hands.wall = NOW
        assert tally.behind() == 4, "what was counted at a time that is still to come says nothing"
    finally:
        weekly.stop()


def test_the_scrape_that_alerts_are_made_of_tells_how_many_are_behind(weekly: Live) -> None:
    put(weekly, ACTIVE)
    try:
        told = weekly.controller.metrics.render().decode()
        assert "orchestrator_backups_behind_services 1.0" in told
        assert 'orchestrator_deadlines_late{action="suspend"} 0.0' in told
    finally:
        weekly.stop()
