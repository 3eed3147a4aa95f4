"""Events and services for the tests of decisions, in few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
CRYPT = "$6$abcdefgh$" + "0123456789" * 8 + "abcdef"
_ids = count()

E, L, K = EventType, Lifecycle, IntentKind


def event(kind: EventType, **values: object) -> Event:
    version = 10 if kind.is_command else None
    if kind == EventType.USAGE_TRAFFIC:
        values = {"period": "2026-11", "bytes": 1, **values}
    if kind == EventType.SERVICE_RESET_PASSWORD:
        values = {"password_hash": CRYPT, **values}
    given = {"version": version, "client_id": "c1", "plan": "small", **values}
    return Event(source="shop", id=f"e{next(_ids)}", type=kind, service_id="s1", sent_at=NOW, **given)  # type: ignore[arg-type]


def hold(reason: HoldReason, effect: HoldEffect = HoldEffect.STOP) -> Hold:
    return Hold(reason=reason, effect=effect, by="test", why="test", since=NOW)


def service(state: Lifecycle, *reasons: HoldReason, **values: object) -> Service:
    known = {
        "holds": tuple(hold(r) for r in reasons),
        "client_id": "c1",
        "plan": "small",
        "version": 9,
        "payments": 1,
        "created_at": NOW,
    }
    return Service(id="s1", state=state, **{**known, **values})  # type: ignore[arg-type]
