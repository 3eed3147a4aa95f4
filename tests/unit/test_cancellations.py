"""Cancelling, confirming, taking back: what is noted, refused and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.config.policies import load_policies
from orchestrator.domain import personal
from orchestrator.domain.calendar import Calendar, Days
from orchestrator.domain.cancellations import Asked, cancel, keep
from orchestrator.domain.complaints import Complaint, ComplaintKind
from orchestrator.domain.deadlines import Action, deadlines, next_due
from orchestrator.domain.decisions import Received, fall_due, receive
from orchestrator.domain.events import EventType
from orchestrator.domain.fence import closed
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import CANCELLATION, Intent, IntentKind, Nothing, Refusal
from orchestrator.domain.policies import Effect, KeepPersonal, MinimumTerm, Overdue, PersonalData, Policy, Rule, Suspend
from orchestrator.domain.services import CancellationKind, Chargeback, DisputedInvoice, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import NOW, E, L, event, hold, service

CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
POLICIES = load_policies(Path(__file__).parents[2] / "configs" / "policies")
DAY = timedelta(days=1)
PAID = NOW + 20 * DAY
MONEY_BACK = CancellationKind.MONEY_BACK
DUE, BACK = "refund.due", "refund.taken_back"


def terms(policy: str | Policy = "zettagrid", kind: str = "vps") -> Terms:
    return Terms(policy=POLICIES[policy] if isinstance(policy, str) else policy, calendar=CALENDAR, kind=kind)


def active(**values: object) -> Service:
    known = {"paid_until": PAID, "activated_at": NOW - 3 * DAY, "purchased_at": NOW - 3 * DAY}
    return service(L.ACTIVE, **{**known, **values})


def asked(kind: CancellationKind = CancellationKind.CUSTOMER, **values: object) -> Asked:
    return Asked(**{"asked_at": NOW, "by": "anna", "why": "moves away", "kind": kind, **values})  # type: ignore[arg-type]


def noted(received: Received) -> Service:
    assert isinstance(received.decision, Nothing), received.decision
    assert received.service is not None
    return received.service


def told(received: Received) -> list[tuple[str, object]]:
    return [(tell.kind, tell.data.get("what") or tell.data.get("reason")) for tell in received.tells]


def data(received: Received, kind: str) -> Mapping[str, object]:
    (found,) = (tell.data for tell in received.tells if tell.kind == kind)
    return found


def end_of(cancelled: Service, by: Terms) -> datetime | None:
    return next((d.at for d in deadlines(cancelled, by, told={}) if d.action == Action.END), None)


# -- asking ---------------------------------------------------------------------


def test_a_cancellation_by_billing_is_noted_with_its_end_and_billing_is_told() -> None:
    received = receive(event(E.SERVICE_CANCEL, reason="too dear"), active(), now=NOW, terms=terms())
    cancelled = noted(received)
    assert cancelled.cancellation is not None
    assert (cancelled.cancellation.why, cancelled.cancellation.asked_at, cancelled.version) == ("too dear", NOW, 10)
    assert end_of(cancelled, terms()) == PAID
    said = data(received, "cancellation.noted")
    assert (said["what"], said["effective_at"], said["clause"]) == ("asked", PAID.isoformat(), "4.7.2, 4.7.3")


def test_it_counts_from_when_it_was_said_and_not_from_when_it_was_heard() -> None:
    received = receive(event(E.SERVICE_CANCEL), active(), now=NOW + DAY, terms=terms())
    cancelled = noted(received).cancellation
    assert cancelled is not None
    assert cancelled.asked_at == NOW


def test_asked_for_again_changes_nothing_and_tells_nothing() -> None:
    first = noted(cancel(active(), asked(), terms(), now=NOW))
    again = cancel(first, asked(asked_at=NOW + DAY), terms(), now=NOW + DAY)
    assert (again.service, again.tells) == (first, ())


def test_a_confirmation_lets_it_end_and_is_told() -> None:
    first = noted(cancel(active(), asked(), terms("default"), now=NOW))
    assert end_of(first, terms("default")) is None
    confirmed = cancel(first, asked(confirmed=True, asked_at=NOW + DAY), terms("default"), now=NOW + DAY)
    assert end_of(noted(confirmed), terms("default")) == PAID
    assert told(confirmed) == [("cancellation.noted", "confirmed")]
    assert data(confirmed, "cancellation.noted")["effective_at"] == PAID.isoformat()


def test_an_operators_day_is_told_and_one_that_has_passed_is_refused() -> None:
    dated = cancel(active(), asked(on=NOW + DAY), terms("masternet"), now=NOW)
    assert end_of(noted(dated), terms("masternet")) == NOW + DAY
    another = cancel(noted(dated), asked(on=NOW + 2 * DAY), terms("masternet"), now=NOW)
    assert told(another) == [("cancellation.noted", "dated")]
    assert isinstance(cancel(active(), asked(on=NOW - DAY), terms("masternet"), now=NOW).decision, Refusal)


@pytest.mark.parametrize("state", [L.ARCHIVED, L.ERASED, L.CANCELLED])
def test_what_has_ended_is_not_cancelled(state: Lifecycle) -> None:
    ended = service(state)
    assert noted(cancel(ended, asked(), terms(), now=NOW)) == ended


def test_one_kind_does_not_take_the_place_of_another_unseen() -> None:
    first = noted(cancel(active(), asked(), terms(), now=NOW))
    other = cancel(first, asked(CancellationKind.WITHOUT_CAUSE), terms(), now=NOW)
    assert isinstance(other.decision, Refusal)
    assert other.service == first


# -- taking it back ----------------------------------------------------------------


def test_it_is_taken_back_while_nothing_was_destroyed() -> None:
    cancelled = noted(cancel(active(), asked(), terms(), now=NOW))
    kept = keep(cancelled, terms(), now=NOW)
    assert noted(kept).cancellation is None
    assert told(kept) == [("cancellation.noted", "withdrawn")]
    assert isinstance(keep(replace(cancelled, state=L.TERMINATING), terms(), now=NOW).decision, Nothing)
    gone = replace(cancelled, state=L.TERMINATING, point_of_no_return=NOW)
    assert isinstance(keep(gone, terms(), now=NOW).decision, Refusal)


# -- the end -------------------------------------------------------------------------


def test_nothing_falls_due_before_the_end_and_then_a_termination_that_knows_its_cancellation() -> None:
    cancelled = noted(cancel(active(), asked(), terms(), now=NOW))
    (end,) = (d for d in deadlines(cancelled, terms(), told={}) if not d.action.marks)
    assert (end.action, end.at, end.action.destroys) == (Action.END, PAID, True)
    received = fall_due(end, cancelled, terms=terms(), now=PAID)
    assert isinstance(received.decision, Intent)
    assert cancelled.cancellation is not None
    assert received.decision.kind == IntentKind.TERMINATE
    assert received.decision.arguments == {CANCELLATION: cancelled.cancellation.token}
    assert received.decision.reason == "cancelled: at the end of the period [zettagrid: 4.7.2, 4.7.3]"


def test_a_hold_that_forbids_erasing_stands_in_the_way() -> None:
    cancelled = noted(cancel(replace(active(), holds=(hold(HoldReason.LEGAL),)), asked(), terms(), now=NOW))
    (end,) = (d for d in deadlines(cancelled, terms(), told={}) if d.action == Action.END)
    assert end.waits == "a hold forbids erasing"


def test_the_fence_is_closed_once_it_was_taken_back_or_given_another_day() -> None:
    cancelled = noted(cancel(active(), asked(), terms(), now=NOW))
    going = replace(cancelled, state=L.TERMINATING)
    assert cancelled.cancellation is not None
    token = cancelled.cancellation.token

    def why(now: Service) -> str:
        return closed(now, kind=IntentKind.TERMINATE, payments=going.payments, cancellation=token)

    assert why(going) == ""
    assert "taken back" in why(replace(going, cancellation=None))
    assert "another day" in why(replace(going, cancellation=replace(cancelled.cancellation, at=PAID + DAY)))


def test_a_payment_asks_for_the_end_anew() -> None:
    cancelled = noted(cancel(active(), asked(), terms(), now=NOW))
    paid = replace(cancelled, payments=2, paid_until=PAID + 30 * DAY)
    ends = [d for s in (cancelled, paid) for d in deadlines(s, terms(), told={}) if d.action == Action.END]
    assert [d.at for d in ends] == [PAID, PAID + 30 * DAY]
    assert ends[0].occurrence != ends[1].occurrence


NONPAYMENT = replace(POLICIES["zettagrid"], overdue=Overdue(suspend=Suspend(clause="s", after=Days(2))))


@pytest.mark.parametrize(("due", "suspended"), [(PAID - 7 * DAY, False), (PAID, False), (PAID + DAY, False)])
def test_what_lies_after_the_end_is_no_debt(due: datetime, suspended: bool) -> None:
    """The renewal's invoice comes all the same."""
    cancelled = noted(cancel(active(), asked(), terms(NONPAYMENT), now=NOW))
    found = {d.action for d in deadlines(replace(cancelled, due_at=due, overdue_at=due), terms(NONPAYMENT), told={})}
    assert (Action.SUSPEND in found) == suspended
    uncancelled = replace(cancelled, cancellation=None, due_at=due, overdue_at=due)
    assert Action.SUSPEND in {d.action for d in deadlines(uncancelled, terms(NONPAYMENT), told={})}


def test_what_lies_before_the_end_stays_a_debt() -> None:
    """Asked for too late, so that one more period is to be paid for."""
    policy = replace(POLICIES["herza"], overdue=NONPAYMENT.overdue)
    cancelled = noted(cancel(active(paid_until=NOW + 5 * DAY), asked(), terms(policy), now=NOW))
    owing = replace(cancelled, due_at=NOW + 5 * DAY)
    assert Action.SUSPEND in {d.action for d in deadlines(owing, terms(policy), told={})}
    assert end_of(owing, terms(policy)) is not None


# -- money back -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kind", "bought", "setup_fees"), [("zettagrid", "vps", 7, False), ("herza", "hosting", 30, True)]
)
def test_inside_the_window_it_ends_at_once_and_billing_refunds(policy: str, kind: str, bought: int, setup_fees: bool) -> None:
    new = active(purchased_at=NOW - bought * DAY, activated_at=NOW - bought * DAY)
    by = terms(policy, kind)
    received = cancel(new, asked(MONEY_BACK), by, now=NOW)
    assert end_of(noted(received), by) == NOW
    due = data(received, "refund.due")
    assert (due["reason"], due["setup_fees"], due["until"]) == ("money-back", setup_fees, NOW.isoformat())
    late = cancel(new, asked(MONEY_BACK, asked_at=NOW + timedelta(seconds=1)), by, now=NOW + timedelta(seconds=1))
    assert isinstance(late.decision, Refusal)
    assert late.service == new
    assert f"{bought} days" in late.decision.reason
    assert late.decision.rule.startswith(f"{policy}: ")


@pytest.mark.parametrize(
    ("policy", "kind", "words"), [("herza", "vps", "for hosting only"), ("tnet", "vps", "policy tnet gives no money back")]
)
def test_money_back_that_is_not_promised_is_refused_by_name(policy: str, kind: str, words: str) -> None:
    refused = cancel(active(), asked(MONEY_BACK), terms(policy, kind), now=NOW)
    assert isinstance(refused.decision, Refusal)
    assert words in refused.decision.reason


def test_money_back_is_not_given_where_nobody_knows_since_when() -> None:
    refused = cancel(active(purchased_at=None), asked(MONEY_BACK), terms(), now=NOW)
    assert isinstance(refused.decision, Refusal)
    assert "not known" in refused.decision.reason


def test_money_back_overtakes_an_end_that_is_to_come() -> None:
    first = noted(cancel(active(), asked(), terms(), now=NOW))
    received = receive(event(E.SERVICE_CANCEL, money_back=True), first, now=NOW, terms=terms())
    assert end_of(noted(received), terms()) == NOW
    assert told(received) == [("cancellation.noted", "asked"), ("refund.due", "money-back")]


def test_a_renewal_of_a_service_whose_first_payment_nobody_kept_is_no_purchase() -> None:
    renewed = receive(event(E.INVOICE_PAID), service(L.ACTIVE, payments=3), now=NOW).service
    first = receive(event(E.ORDER_PAID), None, now=NOW).service
    assert renewed is not None
    assert first is not None
    assert (renewed.purchased_at, first.purchased_at) == (None, NOW)


# -- what could not be delivered -----------------------------------------------------------


@pytest.mark.parametrize("kind", [E.ORDER_CANCELLED, E.SERVICE_CANCEL])
def test_a_paid_order_that_failed_and_is_given_up_is_refunded_in_three_business_days(kind: EventType) -> None:
    # Friday, 20 November 2026, 19:00 in Jakarta: three business days later it is Wednesday.
    received = receive(event(kind), service(L.FAILED), now=NOW, terms=terms("herza"))
    assert noted(received).state == L.CANCELLED
    assert noted(received).ended_at == NOW
    due = data(received, "refund.due")
    assert (due["reason"], due["by"]) == ("undeliverable", datetime(2026, 11, 25, 12, tzinfo=UTC).isoformat())


@pytest.mark.parametrize(("policy", "payments"), [("herza", 0), ("tnet", 1), ("default", 1)])
def test_nothing_is_refunded_that_was_not_paid_or_is_not_promised(policy: str, payments: int) -> None:
    failed = service(L.FAILED, payments=payments)
    assert receive(event(E.ORDER_CANCELLED), failed, now=NOW, terms=terms(policy)).tells == ()


def test_the_order_of_an_unmade_service_is_cancelled_only_once_its_customer_confirmed_it() -> None:
    failed = service(L.FAILED)
    assert isinstance(cancel(failed, asked(), terms("tnet"), now=NOW).decision, Refusal)
    assert noted(cancel(failed, asked(confirmed=True), terms("tnet"), now=NOW)).state == L.CANCELLED


def test_money_back_for_what_was_never_made_is_told_too() -> None:
    failed = service(L.FAILED, purchased_at=NOW - 2 * DAY)
    assert told(cancel(failed, asked(MONEY_BACK), terms(), now=NOW)) == [("refund.due", "money-back")]
    assert isinstance(cancel(failed, asked(MONEY_BACK), terms("tnet"), now=NOW).decision, Refusal)


def test_money_back_is_told_once_for_each_cancellation_and_taken_back_when_it_is_kept() -> None:
    first = cancel(active(), asked(MONEY_BACK), terms(), now=NOW)
    again = cancel(noted(first), asked(MONEY_BACK, asked_at=NOW + DAY), terms(), now=NOW + DAY)
    dated = cancel(noted(first), asked(MONEY_BACK, on=NOW + 9 * DAY), terms(), now=NOW + DAY)
    kept = keep(noted(again), terms(), now=NOW + 2 * DAY)
    # In the very second of the first, as billing's clock may have it.
    anew = cancel(noted(kept), asked(MONEY_BACK), terms(), now=NOW + 3 * DAY)
    ids = [data(received, kind)["refund_id"] for received, kind in ((first, DUE), (kept, BACK), (anew, DUE))]
    assert (ids[0], ids[0] == ids[1], ids[1] == ids[2]) == ("s1.money-back.20261120T120000.000000Z", True, False)
    assert [DUE in dict(told(received)) for received in (again, dated)] == [False, False]
    assert told(kept) == [("cancellation.noted", "withdrawn"), (BACK, "money-back")]
    assert len({tell.key for received in (first, anew) for tell in received.tells if tell.kind == DUE}) == 2


def test_what_was_never_told_is_not_taken_back() -> None:
    rule = POLICIES["herza"].cancellation
    assert rule is not None
    unconfirmed = replace(POLICIES["zettagrid"], cancellation=replace(rule, needs_confirmation=True))
    waiting = cancel(active(), asked(MONEY_BACK), terms(unconfirmed), now=NOW)
    assert told(waiting) == [("cancellation.noted", "asked")]
    assert told(keep(noted(waiting), terms(unconfirmed), now=NOW)) == [("cancellation.noted", "withdrawn")]
    assert told(keep(noted(cancel(active(), asked(), terms(), now=NOW)), terms(), now=NOW)) == [
        ("cancellation.noted", "withdrawn")
    ]
    confirmed = cancel(noted(waiting), asked(MONEY_BACK, confirmed=True), terms(unconfirmed), now=NOW + DAY)
    assert told(confirmed) == [("cancellation.noted", "confirmed"), (DUE, "money-back")]


def test_money_that_was_told_to_be_due_back_is_not_told_again_when_the_service_cannot_be_made() -> None:
    by = terms(replace(POLICIES["herza"], money_back=POLICIES["zettagrid"].money_back))
    making = service(L.PROVISIONING, purchased_at=NOW - DAY)
    wanted = cancel(making, asked(MONEY_BACK, confirmed=True), by, now=NOW)
    assert (DUE, "money-back") in told(wanted)
    failed = replace(noted(wanted), state=L.FAILED)
    (due,) = (d for d in deadlines(failed, by, told={}) if d.action == Action.CANCEL_ORDER)
    assert told(fall_due(due, failed, terms=by, now=NOW)) == []


def test_cancelled_while_it_is_made_it_ends_as_an_order_where_that_fails() -> None:
    making = noted(cancel(service(L.PROVISIONING), asked(), terms("herza"), now=NOW))
    assert making.state == L.PROVISIONING
    failed = replace(making, state=L.FAILED)
    (due,) = deadlines(failed, terms("herza"), told={})
    assert due.action == Action.CANCEL_ORDER
    given_up = fall_due(due, failed, terms=terms("herza"), now=NOW)
    assert noted(given_up).state == L.CANCELLED
    assert told(given_up) == [("refund.due", "undeliverable")]


# -- what is foretold -----------------------------------------------------------------------


def test_the_end_of_the_minimum_term_is_foretold_and_nothing_is_done() -> None:
    by = terms(replace(POLICIES["zettagrid"], minimum_term=MinimumTerm(clause="m", months={"vps": 1})))
    new = active(activated_at=NOW, paid_until=None)
    foretold = forecast(new, by, now=NOW, until=NOW + 60 * DAY, told={})
    assert [(d.action, d.at) for d in foretold] == [(Action.MINIMUM_TERM_ENDS, NOW + 30 * DAY)]
    assert next_due(foretold, now=NOW, again=DAY) is None
    assert forecast(new, by, now=NOW + 31 * DAY, until=NOW + 60 * DAY, told={}) == ()


def test_the_end_of_the_time_to_come_back_is_foretold() -> None:
    by = terms("herza", "hosting")
    held = replace(active(activated_at=None), holds=(hold(HoldReason.NONPAYMENT),), suspension_proven_at=NOW)
    (mark,) = (d for d in deadlines(held, by, told={}) if d.action == Action.REACTIVATION_ENDS)
    assert mark.at == datetime(2027, 1, 1, 12, tzinfo=UTC)  # 30 business days after Friday, 20 November
    assert mark.action.marks


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"paid_at": NOW + DAY, "suspension_proven_at": NOW}, True),
        ({"paid_at": NOW + DAY, "suspension_proven_at": None}, False),  # it runs
        ({"paid_at": NOW - DAY, "suspension_proven_at": NOW}, False),  # held for something else
        ({"paid_at": None, "suspension_proven_at": NOW}, False),
        ({"paid_at": NOW + DAY, "suspension_proven_at": NOW, "held": HoldReason.ABUSE}, False),
    ],
)
def test_who_paid_and_does_not_run_again_in_time_is_told_of(values: dict[str, object], wanted: bool) -> None:
    reason = values.pop("held", None)
    found = replace(active(**values), holds=(hold(reason),) if isinstance(reason, HoldReason) else ())
    late = [d for d in deadlines(found, terms("herza"), told={}) if d.action == Action.LATE_REACTIVATION]
    assert bool(late) == wanted
    if wanted:  # Saturday, 21 November: two business days are Monday and Tuesday
        assert (late[0].at, late[0].action.tells) == (datetime(2026, 11, 24, 17, tzinfo=UTC), True)


def test_the_end_and_what_is_forgotten_after_it_are_foretold() -> None:
    by = terms(replace(POLICIES["zettagrid"], personal_data=PersonalData(keep=KeepPersonal(clause="k", years=1))))
    cancelled = noted(cancel(active(), asked(), by, now=NOW))
    found = forecast(cancelled, by, now=NOW, until=NOW + 600 * DAY, told={})
    assert [(d.action, d.at.date().isoformat()) for d in found] == [(Action.END, "2026-12-10"), (Action.FORGET, "2027-12-10")]


# -- personal data ----------------------------------------------------------------------------


def ended(state: Lifecycle = L.ERASED, **values: object) -> Service:
    known = {"order_id": "o1", "domain": "d.example", "hostname": "h.example", "ended_at": NOW}
    return service(state, **{**known, **values})


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2031, 11, 20, 12, tzinfo=UTC)),
        (datetime(2028, 2, 29, 5, tzinfo=UTC), datetime(2033, 2, 28, 5, tzinfo=UTC)),
        (datetime(2028, 2, 28, 18, tzinfo=UTC), datetime(2033, 2, 27, 18, tzinfo=UTC)),  # the 29th in Jakarta
        (datetime(2027, 2, 28, 5, tzinfo=UTC), datetime(2032, 2, 28, 5, tzinfo=UTC)),
    ],
)
def test_personal_data_is_kept_five_calendar_years_after_the_end(end: datetime, wanted: datetime) -> None:
    (forget,) = deadlines(ended(ended_at=end), terms("enterpage"), told={})
    assert (forget.action, forget.at) == (Action.FORGET, wanted)
    left = noted(fall_due(forget, ended(ended_at=end), terms=terms("enterpage"), now=wanted))
    assert (left.client_id, left.order_id, left.domain, left.hostname, left.forgotten_at) == ("", "", "", "", wanted)
    assert deadlines(left, terms("enterpage"), told={}) == ()


def test_what_came_again_after_it_was_forgotten_is_forgotten_again() -> None:
    again = ended(forgotten_at=NOW, client_id="c2")
    assert [d.action for d in deadlines(again, terms("enterpage"), told={})] == [Action.FORGET]


def test_an_archive_or_a_legal_hold_keeps_it() -> None:
    for kept in (ended(state=L.ARCHIVED), replace(ended(), holds=(hold(HoldReason.LEGAL),))):
        (forget,) = (d for d in deadlines(kept, terms("enterpage"), told={}) if d.action == Action.FORGET)
        assert forget.waits


def test_on_request_it_goes_at_once_also_before_the_years_are_over() -> None:
    received = personal.on_request(ended(), terms("enterpage"), now=NOW)
    assert noted(received).client_id == ""
    assert {"client_id", "hostname", "ssh_keys", "evidence"} <= set(received.forgets)
    assert "Kebijakan Privasi E" in received.decision.reason
    again = personal.on_request(noted(received), terms("enterpage"), now=NOW)
    assert (again.service, again.forgets) == (received.service, {})


def test_invoices_and_what_people_complained_of_are_forgotten_too() -> None:
    complaint = Complaint(id="c1", kind=ComplaintKind.ABUSE, received_at=NOW, by="anna", why="of Mr X", effect=Effect.SUSPEND)
    full = ended(
        disputes=(DisputedInvoice(invoice_id="i1", raised_at=NOW),), chargebacks=(Chargeback("i2", NOW),), complaints=(complaint,)
    )
    left = noted(personal.on_request(full, terms("enterpage"), now=NOW))
    assert (left.disputes, left.chargebacks, left.complaints) == ((), (), ())


def test_metadata_of_the_account_stays_where_the_policy_keeps_it() -> None:
    keeping = PersonalData(delete_on_request=Rule(clause="d"), metadata_kept=Rule(clause="m"))
    by = terms(replace(POLICIES["tnet"], personal_data=keeping))
    received = personal.on_request(ended(), by, now=NOW)
    left = noted(received)
    assert (left.client_id, left.order_id, left.hostname) == ("c1", "o1", "")
    assert not {"client_id", "order_id"} & set(received.forgets)


@pytest.mark.parametrize(
    ("policy", "found", "words"),
    [
        ("tnet", active(), "only what has ended is forgotten"),
        ("tnet", ended(state=L.ARCHIVED), "archive"),
        ("zettagrid", ended(), "policy zettagrid has no rule"),
        ("zettagrid", replace(ended(), holds=(hold(HoldReason.LEGAL),)), "legal hold"),
    ],
)
def test_a_request_that_may_not_be_met_is_refused(policy: str, found: Service, words: str) -> None:
    refused = personal.on_request(found, terms(policy), now=NOW)
    assert isinstance(refused.decision, Refusal)
    assert words in refused.decision.reason
    assert refused.service == found
