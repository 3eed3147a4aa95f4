"""Complaints by the policies that ship: what follows at once, what falls due, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.domain import conduct, decisions
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.complaints import Closed, ComplaintKind
from orchestrator.domain.conduct import Answer, Report
from orchestrator.domain.deadlines import Action, Deadline, deadlines
from orchestrator.domain.events import EventType
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.policies import Abuse, Conduct, Effect, Policy
from orchestrator.domain.received import Received
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import NOW, E, L, event, hold, service

POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FILE = Evidence.of("log.txt", b"\x00\xff evidence\n")


def terms(policy: str | Policy, kind: str = "vps") -> Terms:
    return Terms(policy=POLICIES[policy] if isinstance(policy, str) else policy, calendar=CALENDAR, kind=kind)


def said(kind: ComplaintKind, *, received: datetime = NOW, effect: Effect | None = None, what: str = "") -> Report:
    return Report(
        kind=kind,
        by="anna",
        why="it was seen",
        received_at=received,
        effect=effect,
        what=what,
        evidence=FILE,
        forbids=("mining",),
    )


def reported(
    policy: str | Policy, kind: ComplaintKind, before: Service | None = None, *, now: datetime = NOW, **values: object
) -> Received:
    report = said(kind, **values)  # type: ignore[arg-type] # the report's own parts
    return conduct.report(before or service(L.ACTIVE), report, terms(policy), now=now)


def after(received: Received) -> Service:
    assert received.service is not None
    assert not isinstance(received.decision, Refusal), received.decision
    return received.service


def refusal(received: Received) -> str:
    assert isinstance(received.decision, Refusal), received.decision
    return f"{received.decision.reason} [{received.decision.rule}]"


def answered(
    record: Service, complaint: str, how: Closed, *, file: Evidence | None = None, policy: str = "zettagrid", now: datetime = NOW
) -> Received:
    given = Answer(how=how, by="bert", why="they said so", evidence=file)
    return conduct.answer(record, complaint, given, terms(policy), now=now)


def due(record: Service, policy: str | Policy = "zettagrid") -> list[Deadline]:
    return list(deadlines(record, terms(policy), told={}))


def notices(*days: float) -> Service:
    record = service(L.ACTIVE)
    for day in days:
        record = after(reported("zettagrid", ComplaintKind.COPYRIGHT, record, received=NOW - 60 * DAY + day * DAY))
    return record


# -- at once ------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kind", "reason", "effect", "job"),
    [
        ("masternet", ComplaintKind.ABUSE, "abuse", HoldEffect.STOP, IntentKind.SUSPEND),
        ("zettagrid", ComplaintKind.LICENCE, "abuse", HoldEffect.STOP, IntentKind.SUSPEND),
        ("zettagrid", ComplaintKind.HARM, "abuse", HoldEffect.LIMIT, IntentKind.LIMIT),
        # its mildest effect, read-only, is beyond a VPS
        ("enterpage", ComplaintKind.QUOTA, "quota", HoldEffect.STOP, IntentKind.SUSPEND),
    ],
)
def test_the_mildest_effect_that_a_vps_can_have_is_a_hold_at_once(
    policy: str, kind: ComplaintKind, reason: str, effect: HoldEffect, job: IntentKind | None
) -> None:
    received = reported(policy, kind)
    record = after(received)
    assert [(h.reason.value, h.effect, h.evidence, h.complaint) for h in record.holds] == [(reason, effect, FILE.sha256, "c1")]
    assert (received.decision.kind if isinstance(received.decision, Intent) else None) == job
    assert record.complaints[0].held_at == NOW


def test_a_silent_policy_refuses_a_complaint_and_points_to_the_operators_own_act() -> None:
    words = refusal(reported("enterpage", ComplaintKind.ABUSE))
    assert "enterpage says nothing of abuse" in words
    assert "orchestrator service hold" in words


def test_an_effect_that_the_policy_does_not_have_is_refused_with_rule_and_policy() -> None:
    words = refusal(reported("zettagrid", ComplaintKind.LICENCE, effect=Effect.TERMINATE))
    assert "its rule has suspend" in words
    assert "[zettagrid: 5.8.2]" in words


def test_what_the_plan_allows_is_no_abuse() -> None:
    assert "plan small does not forbid vpn" in refusal(reported("herza", ComplaintKind.ABUSE, what="vpn"))
    assert after(reported("herza", ComplaintKind.ABUSE, what="mining")).complaints[0].what == "mining"


@pytest.mark.parametrize("state", [L.ARCHIVED, L.ERASED, L.CANCELLED])
def test_a_complaint_on_a_service_that_is_over_is_refused(state: Lifecycle) -> None:
    assert "too late" in refusal(reported("zettagrid", ComplaintKind.COPYRIGHT, service(state)))


def test_a_notice_that_is_still_to_come_is_refused() -> None:
    assert "still to come" in refusal(reported("zettagrid", ComplaintKind.COPYRIGHT, received=NOW + HOUR))


def test_the_evidence_goes_to_the_customer_where_the_policy_says_so() -> None:
    told = [reported(policy, ComplaintKind.ABUSE).tells[0].data["evidence"] for policy in ("masternet", "herza")]
    assert told == [[FILE.told()], []]
    assert FILE.told()["content"] == "AP8gZXZpZGVuY2UK"


def test_a_large_file_is_named_and_not_sent() -> None:
    told = Evidence.of("big", b"x" * (128 * 1024 + 1)).told()
    assert (told["size"], told["content"]) == (128 * 1024 + 1, None)


# -- what ends it ------------------------------------------------------------


def test_the_last_complaint_lifts_the_hold_and_a_milder_one_that_is_left_eases_it() -> None:
    record = after(reported("zettagrid", ComplaintKind.HARM))
    record = after(reported("zettagrid", ComplaintKind.LICENCE, record))
    assert [h.effect for h in record.holds] == [HoldEffect.STOP]
    record = replace(record, suspension_proven_at=NOW)
    eased = answered(record, "c2", Closed.RESOLVED)
    assert [(h.effect, h.complaint) for h in after(eased).holds] == [(HoldEffect.LIMIT, "c1")]
    assert isinstance(eased.decision, Intent)
    assert eased.decision.kind == IntentKind.UNSUSPEND
    done = answered(after(eased), "c1", Closed.CEASED)
    assert after(done).holds == ()
    assert [tell.kind for tell in done.tells] == ["complaint.answered"]


def test_a_hold_that_a_person_set_is_not_lifted_by_a_complaint() -> None:
    by_hand = Hold(reason=HoldReason.ABUSE, effect=HoldEffect.LIMIT, by="carl", why="mine", since=NOW - DAY)
    record = after(reported("masternet", ComplaintKind.ABUSE, replace(service(L.ACTIVE), holds=(by_hand,))))
    assert [(h.by, h.effect, h.since) for h in record.holds] == [("carl", HoldEffect.STOP, NOW - DAY)]
    assert len(after(answered(record, "c1", Closed.RESOLVED, policy="masternet")).holds) == 1


def test_the_end_of_a_persons_hold_falls_away_with_an_open_complaint() -> None:
    by_hand = replace(hold(HoldReason.ABUSE), until=NOW + HOUR)
    record = after(reported("masternet", ComplaintKind.ABUSE, replace(service(L.ACTIVE), holds=(by_hand,))))
    assert [(h.by, h.until) for h in record.holds] == [("test", None)]


def test_a_closed_or_unknown_complaint_cannot_be_answered() -> None:
    record = after(answered(notices(1), "c1", Closed.CEASED))
    assert "closed already" in refusal(answered(record, "c1", Closed.CEASED))
    assert "no complaint c7" in refusal(answered(record, "c7", Closed.CEASED))


def test_a_payment_lifts_none_of_it() -> None:
    record = replace(after(reported("masternet", ComplaintKind.ABUSE)), suspension_proven_at=NOW)
    paid = decisions.receive(event(E.INVOICE_PAID, paid_until=NOW + 30 * DAY), record, now=NOW, terms=terms("masternet"))
    assert isinstance(paid.decision, Nothing)
    assert [h.reason for h in after(paid).holds] == [HoldReason.ABUSE]


# -- copyright ------------------------------------------------------------


def test_a_notice_limits_after_its_hours_and_not_before() -> None:
    record = after(reported("zettagrid", ComplaintKind.COPYRIGHT, received=NOW - HOUR))
    assert record.holds == ()
    (deadline,) = due(record)
    assert (deadline.action, deadline.at) == (Action.LIMIT_CONDUCT, NOW - HOUR + 72 * HOUR)
    held = after(decisions.fall_due(deadline, record, terms=terms("zettagrid"), now=deadline.at))
    assert [(h.reason, h.effect, h.complaint) for h in held.holds] == [(HoldReason.ABUSE, HoldEffect.LIMIT, "c1")]
    assert [deadline.action for deadline in due(held)] == [Action.LIMIT_CONDUCT], "until it is in force"
    assert due(replace(held, limited_proven_at=deadline.at)) == []
    assert after(answered(held, "c1", Closed.CEASED)).holds == ()


@pytest.mark.parametrize("how", [Closed.CEASED, Closed.WAIVED])
def test_a_notice_that_ceased_or_was_waived_has_no_effect(how: Closed) -> None:
    assert due(after(answered(notices(1), "c1", how, file=FILE))) == []


def test_a_notice_is_waived_on_evidence_only_and_nothing_else_is_waived() -> None:
    assert "on evidence only" in refusal(answered(notices(1), "c1", Closed.WAIVED))
    record = after(reported("zettagrid", ComplaintKind.HARM))
    assert "not waived but resolved" in refusal(answered(record, "c1", Closed.WAIVED, file=FILE))


def test_a_policy_that_has_no_notice_waived_refuses_that() -> None:
    known = POLICIES["zettagrid"]
    assert known.conduct.copyright is not None
    strict = replace(known, conduct=replace(known.conduct, copyright=replace(known.conduct.copyright, waivable=False)))
    given = Answer(how=Closed.WAIVED, by="bert", why="because", evidence=FILE)
    words = refusal(conduct.answer(notices(1), "c1", given, terms(strict), now=NOW))
    assert "[zettagrid: 4.5.1 to 4.5.3]" in words


@pytest.mark.parametrize(
    ("days", "repeats"),
    [((0, 1, 2), False), ((0, 1, 2, 3), True), ((0, 10, 20, 30), True), ((0, 10, 20, 31), False), ((0, 0, 0, 0), True)],
)
def test_more_than_three_notices_within_thirty_days_ask_for_the_end(days: tuple[float, ...], repeats: bool) -> None:
    found = [d for d in due(notices(*days)) if d.action == Action.TERMINATE_CONDUCT]
    assert [d.asks for d in found] == [True] * repeats
    assert [d.waits for d in found] == ["no notice of it has been taken by billing"] * repeats


@pytest.mark.parametrize(("how", "counts"), [(Closed.WAIVED, False), (Closed.CEASED, True), (Closed.RESOLVED, True)])
def test_a_waived_notice_does_not_count_for_repetition(how: Closed, counts: bool) -> None:
    record = after(answered(notices(0, 1, 2, 3), "c2", how, file=FILE))
    assert any(d.action == Action.TERMINATE_CONDUCT for d in due(record)) == counts


def test_each_notice_more_asks_anew() -> None:
    occurrences = [[d.occurrence for d in due(notices(*range(many))) if d.action == Action.TERMINATE_CONDUCT] for many in (4, 5)]
    assert occurrences == [["repeat c4/1"], ["repeat c5/1"]]


def test_the_forecast_shows_the_coming_limit_and_the_end_of_a_hold() -> None:
    ends = replace(hold(HoldReason.MAINTENANCE), until=NOW + 10 * HOUR)
    record = replace(after(reported("zettagrid", ComplaintKind.COPYRIGHT)), holds=(ends,), suspension_proven_at=NOW)
    found = forecast(record, terms("zettagrid"), now=NOW, until=NOW + 30 * DAY, told={})
    assert [(d.action, d.at - NOW) for d in found] == [(Action.LIFT_HOLD, 10 * HOUR), (Action.LIMIT_CONDUCT, 72 * HOUR)]


# -- terminations ------------------------------------------------------------


def test_a_termination_asks_a_person_and_waits_for_its_notice_where_the_policy_wants_one() -> None:
    for policy, wanted in (("default", [Action.NOTICE_CONDUCT, Action.TERMINATE_CONDUCT]), ("herza", [Action.TERMINATE_CONDUCT])):
        received = reported(policy, ComplaintKind.ABUSE, effect=Effect.TERMINATE)
        record = after(received)
        assert (record.holds, isinstance(received.decision, Nothing)) == ((), True)
        found = due(record, policy)
        assert [d.action for d in found] == wanted
        assert found[-1].asks
        assert bool(found[-1].waits) == (policy == "default")
        assert found[0].evidence == ((FILE.sha256,) if policy == "default" else ())


def test_a_termination_for_conduct_is_decided_as_any_and_a_legal_hold_is_in_its_way() -> None:
    record = after(reported("herza", ComplaintKind.ABUSE, effect=Effect.TERMINATE))
    (deadline,) = due(record, "herza")
    received = decisions.fall_due(deadline, record, terms=terms("herza"), now=NOW)
    assert isinstance(received.decision, Intent)
    assert (received.decision.kind, after(received).state) == (IntentKind.TERMINATE, L.ACTIVE)
    legal = replace(record, holds=(hold(HoldReason.LEGAL, HoldEffect.NONE),))
    assert [d.waits for d in due(legal, "herza")] == ["a hold forbids erasing"]


def test_after_a_payment_it_is_asked_for_anew() -> None:
    record = after(reported("herza", ComplaintKind.ABUSE, effect=Effect.TERMINATE))
    paid = replace(record, payments=record.payments + 1)
    assert due(record, "herza")[0].occurrence != due(paid, "herza")[0].occurrence


# -- an expired domain ------------------------------------------------------------


def tell(
    kind: EventType, before: Service, *, at: datetime = NOW, kind_of_service: str = "hosting", domain: str = "a.example"
) -> Received:
    told = replace(event(kind, domain=domain), sent_at=at)
    return decisions.receive(told, before, now=NOW, terms=terms("herza", kind_of_service))


HOSTING = replace(service(L.ACTIVE), domain="a.example")


def test_an_expired_domain_holds_an_account_until_it_is_renewed_and_nothing_else_lifts_that() -> None:
    held = after(tell(E.DOMAIN_EXPIRED, HOSTING, at=NOW - DAY))
    assert [(h.reason, h.effect) for h in held.holds] == [(HoldReason.ABUSE, HoldEffect.STOP)]
    assert after(tell(E.DOMAIN_EXPIRED, held, at=NOW - HOUR)).holds == held.holds
    given = Answer(how=Closed.RESOLVED, by="bert", why="because")
    assert "renewal" in refusal(conduct.answer(held, "c1", given, terms("herza", "hosting"), now=NOW))
    lifting = conduct.standing_domain(held, HoldReason.ABUSE)
    assert lifting is not None
    assert "renewal" in refusal(lifting)
    asked = decisions.command(IntentKind.UNSUSPEND, held, who="bert", why="", now=NOW, arguments={"reason": "abuse"})
    assert "renewal" in refusal(asked)
    renewed = after(tell(E.DOMAIN_RENEWED, held, at=NOW))
    assert (renewed.holds, renewed.complaints[0].closed) == ((), Closed.RESOLVED)


def test_the_later_word_on_a_domain_counts_whatever_comes_first() -> None:
    record = after(tell(E.DOMAIN_RENEWED, HOSTING, at=NOW))
    assert after(tell(E.DOMAIN_EXPIRED, record, at=NOW - HOUR)).holds == ()


@pytest.mark.parametrize(("kind", "domain"), [("vps", "a.example"), ("hosting", "b.example")])
def test_a_vps_and_another_domain_are_left_alone(kind: str, domain: str) -> None:
    assert after(tell(E.DOMAIN_EXPIRED, HOSTING, kind_of_service=kind, domain=domain)).holds == ()


def test_many_complaints_keep_the_open_ones_and_the_latest_closed() -> None:
    one = after(answered(notices(1), "c1", Closed.CEASED)).complaints[0]
    closed = tuple(replace(one, id=f"c{number}") for number in range(2, 260))
    opened = replace(one, id="c1", closed=None)
    record = replace(service(L.ACTIVE), complaints=(opened, *closed))
    kept = after(reported("zettagrid", ComplaintKind.COPYRIGHT, record)).complaints
    assert (kept[0].id, kept[-1].id, len(kept)) == ("c1", "c260", conduct.CLOSED_KEPT + 2)


def test_a_policy_without_an_effect_for_the_kind_refuses() -> None:
    only = Policy(name="x", provider="X", conduct=Conduct(abuse=Abuse(clause="1", effects=(Effect.READ_ONLY,))))
    assert "nothing that the policy names can be done to a vps" in refusal(reported(only, ComplaintKind.ABUSE))


def test_the_hours_of_a_notice_are_counted_through_the_nights() -> None:
    record = after(reported("zettagrid", ComplaintKind.COPYRIGHT, received=datetime(2026, 11, 1, 23, 30, tzinfo=UTC)))
    assert due(record)[0].at == datetime(2026, 11, 4, 23, 30, tzinfo=UTC)
