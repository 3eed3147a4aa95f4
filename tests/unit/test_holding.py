"""Setting and lifting holds by hand: effects, refusals, and what a job has to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain import fence, holding, personal
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.errors import RequestError
from orchestrator.domain.evidence import MOST_BYTES, Evidence
from orchestrator.domain.intents import Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.received import Received
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import NO_TERMS
from tests.unit.decision_words import NOW, L, service

HOUR = timedelta(hours=1)


def asked(reason: HoldReason = HoldReason.MANUAL, effect: HoldEffect = HoldEffect.STOP, **values: object) -> Hold:
    return Hold(reason=reason, effect=effect, by="anna", why="because", since=NOW, **values)  # type: ignore[arg-type]


def job(received: Received) -> IntentKind | None:
    return received.decision.kind if isinstance(received.decision, Intent) else None


def reason(received: Received) -> str:
    assert isinstance(received.decision, Refusal)
    return received.decision.reason


def suspended(*reasons: HoldReason) -> Service:
    return service(L.ACTIVE, *reasons, suspension_proven_at=NOW)


@pytest.mark.parametrize(
    ("effect", "wanted"),
    [
        (HoldEffect.STOP, IntentKind.SUSPEND),
        (HoldEffect.LIMIT, IntentKind.LIMIT),
        (HoldEffect.NO_ERASE, None),
        (HoldEffect.NONE, None),
    ],
)
def test_a_hold_that_stops_or_limits_makes_a_job_and_no_other(effect: HoldEffect, wanted: IntentKind | None) -> None:
    received = holding.set_hold(service(L.ACTIVE), asked(effect=effect))
    assert job(received) == wanted
    assert received.service is not None
    assert received.service.hold(HoldReason.MANUAL) == asked(effect=effect)


def test_read_only_is_refused_for_a_vps() -> None:
    assert "cannot be made read-only" in reason(holding.set_hold(service(L.ACTIVE), asked(effect=HoldEffect.READ_ONLY)))


def test_there_is_one_hold_of_each_reason() -> None:
    assert "lift it first" in reason(holding.set_hold(service(L.ACTIVE, HoldReason.MANUAL), asked(effect=HoldEffect.NONE)))


@pytest.mark.parametrize("state", [L.ERASED, L.CANCELLED])
def test_what_is_over_cannot_be_held(state: Lifecycle) -> None:
    assert "nothing left to hold" in reason(holding.set_hold(service(state), asked(effect=HoldEffect.NO_ERASE)))


@pytest.mark.parametrize("state", [L.ERASED, L.CANCELLED])
def test_a_legal_hold_keeps_what_is_known_of_a_customer_when_the_service_is_over(state: Lifecycle) -> None:
    kept = holding.set_hold(service(state), asked(HoldReason.LEGAL, HoldEffect.NO_ERASE)).service
    assert kept is not None
    assert personal.kept_by(kept) == "a legal hold forbids deleting personal data"
    assert "only a provisioned service" in reason(holding.set_hold(service(state), asked(HoldReason.LEGAL)))


def test_a_legal_hold_with_an_end_ends_for_what_is_over_too() -> None:
    held = replace(service(L.ERASED), holds=(asked(HoldReason.LEGAL, HoldEffect.NO_ERASE, until=NOW + HOUR),))
    assert [(d.action, d.at) for d in deadlines(held, NO_TERMS, told={})] == [(Action.LIFT_HOLD, NOW + HOUR)]


@pytest.mark.parametrize("state", [L.ORDERED, L.TERMINATING, L.ARCHIVED, L.FAILED])
def test_only_a_guest_can_be_stopped_and_whatever_has_data_can_be_kept(state: Lifecycle) -> None:
    assert "only a provisioned service" in reason(holding.set_hold(service(state), asked()))
    kept = holding.set_hold(service(state), asked(HoldReason.LEGAL, HoldEffect.NO_ERASE))
    assert isinstance(kept.decision, Nothing)
    assert kept.service is not None
    assert not kept.service.erasable


def test_a_hold_that_is_over_before_it_begins_is_refused() -> None:
    assert "has passed" in reason(holding.set_hold(service(L.ACTIVE), asked(until=NOW)))


def test_a_legal_hold_closes_the_fence_of_a_termination_that_is_under_way() -> None:
    under_way = service(L.TERMINATING)
    assert fence.closed(under_way, kind=IntentKind.TERMINATE, payments=under_way.payments) == ""
    held = holding.set_hold(under_way, asked(HoldReason.LEGAL, HoldEffect.NO_ERASE)).service
    assert held is not None
    assert "forbids erasing" in fence.closed(held, kind=IntentKind.TERMINATE, payments=held.payments)


def test_after_the_point_of_no_return_it_is_said_that_some_is_gone() -> None:
    gone = service(L.TERMINATING, point_of_no_return=NOW - HOUR)
    assert "what is left" in holding.set_hold(gone, asked(HoldReason.LEGAL, HoldEffect.NO_ERASE)).note


def test_the_last_hold_that_stops_brings_the_guest_back() -> None:
    both = suspended(HoldReason.MANUAL, HoldReason.ABUSE)
    first = holding.lift_hold(both, HoldReason.MANUAL, who="anna", why="over")
    assert isinstance(first.decision, Nothing)
    assert "held for abuse" in first.decision.reason
    assert first.service is not None
    assert job(holding.lift_hold(first.service, HoldReason.ABUSE, who="anna", why="over")) == IntentKind.UNSUSPEND


def test_lifting_what_does_not_stop_makes_no_job_and_what_is_not_there_is_refused() -> None:
    kept = replace(service(L.ACTIVE), holds=(asked(HoldReason.LEGAL, HoldEffect.NO_ERASE),))
    lifted = holding.lift_hold(kept, HoldReason.LEGAL, who="anna", why="the court")
    assert (job(lifted), lifted.service) == (None, replace(kept, holds=()))
    assert "held for legal" in reason(holding.lift_hold(kept, HoldReason.ABUSE, who="anna", why="x"))


def test_a_hold_with_an_end_falls_due_then_and_one_without_never() -> None:
    held = replace(service(L.ACTIVE), holds=(asked(until=NOW + HOUR), asked(HoldReason.NONPAYMENT)))
    found = deadlines(held, NO_TERMS, told={})
    assert [(d.action, d.at, d.occurrence) for d in found] == [
        (Action.LIFT_HOLD, NOW + HOUR, f"manual {NOW.isoformat()}"),
    ]


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"x" * (MOST_BYTES + 1), "at most")])
def test_evidence_that_is_empty_or_too_large_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Evidence.of("a", content)
    assert Evidence.of("a", b"x" * MOST_BYTES).intact
