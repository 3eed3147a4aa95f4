"""Webhooks on a controller of their own: the store away, and what is counted."""

from __future__ import annotations

import sqlite3

from tests.integration.api.answers import refused
from tests.live import PLAN, Live

STRANGER = "whsec_c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXI="
PAID = {"client_id": "c1", "plan": PLAN}


def test_while_the_store_is_away_the_answer_is_503_with_retry_after_and_nothing_is_lost(own: Live) -> None:
    path = own.config.settings.state_dir / "orchestrator.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("ALTER TABLE events RENAME TO events_away")
    raw.close()
    answer = own.send("order.paid", "later", event_id="msg-later", **PAID)
    refused(answer, 503, "store-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    with sqlite3.connect(path) as raw:
        raw.execute("ALTER TABLE events_away RENAME TO events")
    raw.close()
    assert own.send("order.paid", "later", event_id="msg-later", **PAID).status_code == 202


def test_outcomes_are_counted_by_source_and_strangers_make_no_series(own: Live) -> None:
    own.send("order.created", "counted", **PAID)
    own.send("order.created", "counted", secret=STRANGER, **PAID)
    own.send("order.created", "counted", source="made-up-name", **PAID)
    scraped = own.http.get("/metrics").text
    assert 'orchestrator_webhooks_total{outcome="nothing",source="shop"} 1.0' in scraped
    assert 'orchestrator_webhooks_total{outcome="signature-invalid",source="shop"} 1.0' in scraped
    assert 'orchestrator_webhooks_total{outcome="not-found",source="unknown"} 1.0' in scraped
    assert "made-up-name" not in scraped
