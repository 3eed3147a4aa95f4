"""Disputed invoices and charged-back payments: what stands still, what is due when, in whatever order it is told.

Zettagrid 7.2 and 7.3.16. Dates are worked out by hand in Jakarta, where 10 March 2026 is a Tuesday.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from orchestrator.domain import decisions
from orchestrator.domain.calendar import DayKind, Days
from orchestrator.domain.deadlines import Action, deadlines, unpaid_since
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.policies import Chargeback, Dispute, Effect, Overdue, Policy, Suspend
from orchestrator.domain.services import DisputedInvoice, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import E, event
from tests.unit.test_deadlines import CALENDAR, DAY, DUE, HOUR, SERVICE, hold

RULE = Dispute(
    clause="7.2",
    raise_within=Days(10),
    verdict_within=Days(5, DayKind.BUSINESS),
    pay_within=Days(2, DayKind.BUSINESS),
)
OVERDUE = Overdue(suspend=Suspend(clause="4.8", after=Days(2)), chargeback=Chargeback(clause="7.3.16", effect=Effect.SUSPEND))
POLICY = Policy(name="zettagrid", provider="P", dispute=RULE, overdue=OVERDUE)
TERMS = Terms(policy=POLICY, calendar=CALENDAR)
SILENT = replace(TERMS, policy=replace(POLICY, dispute=None))
CUT_OFF = replace(SERVICE, holds=(hold(),), suspension_proven_at=DUE + 2 * DAY)


def at(kind: EventType, moment: datetime, **values: object) -> Event:
    return replace(event(kind, invoice_id="i1", plan="p", **values), sent_at=moment)


def disputed(moment: datetime = DUE - DAY, **values: object) -> Event:
    return at(E.INVOICE_DISPUTED, moment, **values)


def verdict(moment: datetime, *, upheld: bool) -> Event:
    return at(E.INVOICE_DISPUTE_SETTLED, moment, upheld=upheld)


def told(events: Sequence[Event], start: Service = SERVICE, terms: Terms = TERMS) -> tuple[Service, list[Intent], str]:
    record, intents, note = start, [], ""
    for each in events:
        received = decisions.receive(each, record, now=each.sent_at, terms=terms)
        assert received.service is not None
        record, note = received.service, received.note
        intents += [received.decision] if isinstance(received.decision, Intent) else []
    return record, intents, note


def acts(service: Service, terms: Terms = TERMS) -> dict[Action, datetime]:
    return {deadline.action: deadline.at for deadline in deadlines(service, terms, told={})}


# -- the dispute stands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [TERMS, SILENT])
def test_a_dispute_stops_the_clock_until_it_is_settled(terms: Terms) -> None:
    record, _, note = told([disputed()], terms=terms)
    found = record.hold(HoldReason.DISPUTE)
    assert found is not None
    assert (found.effect, found.since) == (HoldEffect.NONE, DUE - DAY)
    assert Action.SUSPEND not in acts(record, terms)
    assert note == "invoice i1 is disputed: the clock of nonpayment stands"


def test_people_are_told_when_the_verdict_is_due_in_business_days() -> None:
    # Raised on Monday the 9th at noon: five business days later is Monday the 16th, noon. (No holidays are declared here.)
    record, _, _ = told([disputed()])
    assert acts(record) == {Action.VERDICT_DUE: DUE + 6 * DAY}
    assert forecast(record, TERMS, now=DUE, until=DUE + 30 * DAY, told={})[0].action == Action.VERDICT_DUE
    settled, _, _ = told([verdict(DUE, upheld=True)], record)
    assert Action.VERDICT_DUE not in acts(settled)


def test_only_a_part_that_is_disputed_leaves_the_rest_due() -> None:
    record, _, note = told([disputed(part=True)])
    assert (record.holds, note) == ((), "only a part of invoice i1 is disputed: the rest stays due")
    assert acts(record) == {Action.SUSPEND: DUE + 2 * DAY, Action.VERDICT_DUE: DUE + 6 * DAY}
    for upheld in (True, False):
        assert unpaid_since(told([verdict(DUE + 9 * DAY, upheld=upheld)], record)[0]) == DUE


@pytest.mark.parametrize(("days", "late"), [(10 * DAY, False), (10 * DAY + timedelta(seconds=1), True)])
def test_a_dispute_is_heard_ten_days_after_the_issue_where_that_is_said(days: timedelta, late: bool) -> None:
    issued = DUE - 14 * DAY
    record, _, note = told([disputed(issued + days, issued_at=issued)])
    assert ("too late" in note, record.hold(HoldReason.DISPUTE) is None) == (late, late)
    assert (Action.SUSPEND in acts(record)) == late
    assert "[zettagrid: 7.2]" in note or not late
    assert told([disputed(issued + days)])[0].hold(HoldReason.DISPUTE) is not None
    assert told([disputed(issued + days, issued_at=issued)], terms=SILENT)[0].hold(HoldReason.DISPUTE) is not None


def test_a_suspension_in_force_stays_during_a_dispute_and_it_is_said() -> None:
    record, intents, note = told([disputed(DUE + 3 * DAY)], CUT_OFF)
    assert (record.stop_reasons, intents) == (["nonpayment"], [])
    assert "the suspension that is in force stays until it is paid, or an operator lifts it" in note
    assert set(acts(record)) == {Action.VERDICT_DUE}


def test_a_payment_brings_back_what_is_suspended_and_disputed() -> None:
    record, intents, _ = told([disputed(DUE + 3 * DAY), at(E.INVOICE_PAID, DUE + 4 * DAY)], CUT_OFF)
    assert ([i.kind for i in intents], record.hold(HoldReason.DISPUTE) is not None) == ([IntentKind.UNSUSPEND], True)


# -- the verdict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "settled", "wanted"),
    [
        # Settled on Tuesday the 17th: two business days are Thursday the 19th, not the due date of the 10th.
        (DUE - DAY, DUE + 7 * DAY, DUE + 9 * DAY),
        # Friday the 13th: Tuesday the 17th.
        (DUE - DAY, DUE + 3 * DAY, DUE + 7 * DAY),
        # Settled long before the due date: until that.
        (DUE - 8 * DAY, DUE - 6 * DAY, DUE),
        # Settled on Monday the 9th, a day before it: Wednesday the 11th.
        (DUE - 8 * DAY, DUE - DAY, DUE + DAY),
        # Raised when it was late already.
        (DUE + DAY, DUE + 2 * DAY, DUE + 6 * DAY),
    ],
)
def test_lost_there_are_two_business_days_from_the_verdict_or_until_the_due_date(
    raised: datetime, settled: datetime, wanted: datetime
) -> None:
    events = [disputed(raised), verdict(settled, upheld=False)]
    for order in permutations([*events, *events]):
        record, _, _ = told(order)
        assert (record.holds, unpaid_since(record)) == ((), wanted)
        assert acts(record) == {Action.SUSPEND: wanted + 2 * DAY}


def test_where_the_text_gives_no_days_only_the_time_of_the_dispute_is_not_counted() -> None:
    # Late by a day when it was raised: late by a day when it was settled.
    record, _, _ = told([disputed(DUE + DAY), verdict(DUE + 8 * DAY, upheld=False)], terms=SILENT)
    assert unpaid_since(record) == DUE + 7 * DAY


def test_two_disputes_at_a_time_stop_the_clock_once_and_until_the_last_is_settled() -> None:
    second = replace(disputed(DUE + 3 * DAY), invoice_id="i2")
    record, _, _ = told([disputed(DUE + DAY), second, verdict(DUE + 5 * DAY, upheld=False)], terms=SILENT)
    assert record.hold(HoldReason.DISPUTE) is not None
    record, _, _ = told([replace(verdict(DUE + 6 * DAY, upheld=False), invoice_id="i2")], record, SILENT)
    assert (record.hold(HoldReason.DISPUTE), unpaid_since(record)) == (None, DUE + 5 * DAY)


def test_what_a_dispute_put_off_is_not_put_off_again_for_the_next_invoice() -> None:
    record, _, _ = told([disputed(), verdict(DUE + 7 * DAY, upheld=False)])
    paid = told([at(E.INVOICE_PAID, DUE + 8 * DAY, paid_until=DUE + 31 * DAY)], record)[0]
    assert unpaid_since(paid) == DUE + 31 * DAY


def test_won_nothing_is_due_until_billing_says_so_again() -> None:
    events = [disputed(), verdict(DUE + 7 * DAY, upheld=True)]
    for order in permutations(events):
        record, _, _ = told(order)
        assert (record.holds, unpaid_since(record)) == ((), None)
    again = at(E.INVOICE_OVERDUE, DUE + 40 * DAY, due_at=DUE + 30 * DAY)
    assert unpaid_since(told([again], record)[0]) == DUE + 30 * DAY


def test_won_in_time_that_was_paid_for_it_stays_paid_until_its_end() -> None:
    paid = replace(SERVICE, paid_until=DUE + 20 * DAY)
    assert unpaid_since(told([disputed(), verdict(DUE + DAY, upheld=True)], paid)[0]) == DUE + 20 * DAY


def test_won_while_suspended_the_service_comes_back_and_what_was_decided_is_overtaken() -> None:
    record, intents, _ = told([disputed(DUE + 3 * DAY), verdict(DUE + 5 * DAY, upheld=True)], CUT_OFF)
    assert ([i.kind for i in intents], record.holds, record.payments) == ([IntentKind.UNSUSPEND], (), CUT_OFF.payments + 1)


def test_won_and_held_for_something_else_it_stays_stopped() -> None:
    held = replace(CUT_OFF, holds=(*CUT_OFF.holds, hold(HoldReason.ABUSE)))
    record, intents, _ = told([disputed(), verdict(DUE + 5 * DAY, upheld=True)], held)
    assert (record.stop_reasons, intents) == (["abuse"], [])


def test_of_two_verdicts_the_first_that_is_told_counts() -> None:
    record, _, note = told([disputed(), verdict(DUE, upheld=False), verdict(DUE + DAY, upheld=True)])
    assert (record.disputes[0].upheld, note.partition(",")[0]) == (False, "invoice i1: settled against the customer")
    assert "this verdict comes second, and the first counts" in note


def test_a_verdict_that_is_told_twice_is_no_other_one() -> None:
    *_, note = told([disputed(), verdict(DUE, upheld=False), verdict(DUE + DAY, upheld=False)])
    assert "comes second" not in note


def test_a_verdict_before_its_dispute_counts_once_the_dispute_is_told() -> None:
    record, _, note = told([verdict(DUE + 7 * DAY, upheld=False)])
    assert ("its dispute was not told yet" in note, unpaid_since(record)) == (True, DUE)
    record, _, _ = told([disputed()], record)
    assert (record.holds, unpaid_since(record)) == ((), DUE + 9 * DAY)


def test_a_dispute_that_came_too_late_puts_nothing_off_and_is_still_won_where_it_is_upheld() -> None:
    late = disputed(DUE, issued_at=DUE - 30 * DAY)
    assert unpaid_since(told([late, verdict(DUE + 7 * DAY, upheld=False)])[0]) == DUE
    assert unpaid_since(told([late, verdict(DUE + 7 * DAY, upheld=True)])[0]) is None


def test_a_hold_for_a_dispute_that_somebody_set_to_stop_the_service_is_left_to_them() -> None:
    stopped = replace(SERVICE, holds=(replace(hold(HoldReason.DISPUTE), effect=HoldEffect.STOP),))
    assert told([disputed(), verdict(DUE, upheld=True)], stopped)[0].stop_reasons == ["dispute"]


def verdict_of(invoice: str, *, upheld: bool = True) -> Event:
    return replace(verdict(DUE, upheld=upheld), invoice_id=invoice)


@pytest.mark.parametrize("upheld", [True, False])
def test_a_hold_for_a_dispute_that_a_person_set_is_lifted_by_no_settlement(upheld: bool) -> None:
    held = replace(SERVICE, holds=(replace(hold(HoldReason.DISPUTE), effect=HoldEffect.NONE),))
    assert told([verdict_of("i9", upheld=upheld)], held)[0].holds == held.holds
    assert told([disputed(), verdict_of("i1", upheld=upheld)], held)[0].holds == held.holds


@pytest.mark.parametrize("upheld", [True, False])
def test_a_hold_for_a_dispute_is_lifted_by_the_settlement_of_its_own_invoice_only(upheld: bool) -> None:
    record = told([disputed(), verdict_of("i9", upheld=upheld)])[0]
    found = record.hold(HoldReason.DISPUTE)
    assert found is not None
    assert found.invoice == "i1"
    assert told([verdict_of("i1", upheld=upheld)], record)[0].holds == ()


def test_it_is_not_lifted_by_another_settlement_either_when_its_dispute_is_so_old_that_it_is_not_known_any_more() -> None:
    forgotten = replace(told([disputed()])[0], disputes=())
    assert told([verdict_of("i9")], forgotten)[0].hold(HoldReason.DISPUTE) is not None
    assert told([verdict_of("i1")], forgotten)[0].holds == ()


@pytest.mark.parametrize("order", list(permutations(["i1", "i2", "i3"])))
def test_of_several_disputed_invoices_the_last_that_is_settled_lifts_the_hold(order: Sequence[str]) -> None:
    record = told([replace(disputed(), invoice_id=invoice) for invoice in ("i1", "i2", "i3")])[0]
    for number, invoice in enumerate(order):
        record = told([verdict_of(invoice)], record)[0]
        found = record.hold(HoldReason.DISPUTE)
        assert (found is None) == (number == 2)
        assert found is None or (found.invoice in order[number + 1 :] and found.since == DUE - DAY)


@pytest.mark.parametrize("state", [Lifecycle.ORDERED, Lifecycle.ERASED, Lifecycle.CANCELLED])
def test_a_won_dispute_is_no_payment_of_what_does_not_run(state: Lifecycle) -> None:
    record, intents, _ = told([disputed(), verdict(DUE, upheld=True)], replace(SERVICE, state=state))
    assert (record.payments, record.holds, intents) == (0, (), [])


def test_of_many_disputes_the_latest_are_known() -> None:
    many = [replace(disputed(), invoice_id=f"i{n}") for n in range(60)]
    record, _, _ = told(many)
    assert [d.invoice_id for d in record.disputes] == [f"i{n}" for n in range(10, 60)]
    assert all(isinstance(d, DisputedInvoice) for d in record.disputes)


# -- chargebacks ------------------------------------------------------------------------------------------------


def back(moment: datetime = DUE, **values: object) -> Event:
    return at(E.INVOICE_CHARGED_BACK, moment, **values)


PAID = replace(SERVICE, due_at=None, paid_until=DUE + 20 * DAY, paid_at=DUE - 10 * DAY, payments=1)


def test_a_chargeback_suspends_at_once_and_moves_back_what_was_paid() -> None:
    record, intents, _ = told([back(paid_until=DUE - 10 * DAY)], PAID)
    assert (record.paid_until, record.charged_back_at, intents) == (DUE - 10 * DAY, DUE, [])
    assert acts(record)[Action.CHARGEBACK] == DUE
    first = deadlines(record, TERMS, told={})
    (due,) = [each for each in first if each.action == Action.CHARGEBACK]
    received = decisions.fall_due(due, record, terms=TERMS, now=DUE + HOUR)
    assert isinstance(received.decision, Intent)
    assert received.decision.kind == IntentKind.SUSPEND
    assert received.service is not None
    assert received.service.stop_reasons == ["nonpayment"]
    assert "7.3.16" in received.decision.reason
    proven = replace(received.service, suspension_proven_at=DUE + 2 * HOUR)
    assert Action.CHARGEBACK not in acts(proven)


def test_the_payment_that_was_charged_back_buys_nothing_when_it_comes_again() -> None:
    events = [back(paid_until=DUE - 10 * DAY), at(E.INVOICE_PAID, DUE - 9 * DAY, paid_until=DUE + 20 * DAY)]
    record, _, _ = told(events, PAID)
    assert (record.paid_until, record.charged_back_at is not None) == (DUE - 10 * DAY, True)


def test_a_chargeback_that_is_told_again_after_a_payment_is_still_the_first_and_paid() -> None:
    paid = replace(at(E.INVOICE_PAID, DUE + DAY), invoice_id="i2")
    record, _, _ = told([back(), paid, back(DUE + 2 * DAY)], PAID)
    assert record.charged_back_at is None
    other = replace(back(DUE + 2 * DAY), invoice_id="i2")
    assert told([other], record)[0].charged_back_at == DUE + 2 * DAY


def test_a_chargeback_that_names_no_date_moves_none() -> None:
    record, _, _ = told([back()], replace(PAID, due_at=DUE - 11 * DAY))
    assert (record.paid_until, record.paid_at, unpaid_since(record)) == (PAID.paid_until, PAID.paid_at, PAID.paid_until)


@pytest.mark.parametrize("order", list(permutations([0, 1, 1])))
def test_a_later_payment_clears_it_in_whatever_order_they_are_told(order: tuple[int, ...]) -> None:
    pair = [back(), replace(at(E.INVOICE_PAID, DUE + DAY, paid_until=DUE + 50 * DAY), invoice_id="i2")]
    record, _, _ = told([pair[n] for n in order], PAID)
    assert (record.charged_back_at is not None, Action.CHARGEBACK in acts(record)) == (False, False)


def test_an_earlier_payment_that_comes_late_does_not_clear_it() -> None:
    record, _, _ = told([back(), replace(at(E.INVOICE_PAID, DUE - DAY), invoice_id="i0")], PAID)
    assert record.charged_back_at == DUE


def test_a_rule_that_terminates_does_so_by_the_path_of_terminations() -> None:
    rule = Chargeback(clause="7.3.16", effect=Effect.TERMINATE, asks=True)
    terms = replace(TERMS, policy=replace(POLICY, overdue=replace(OVERDUE, chargeback=rule)))
    record, _, _ = told([back()], PAID)
    (due, *_) = [d for d in deadlines(record, terms, told={}) if d.action == Action.CHARGEBACK_TERMINATE]
    assert (due.at, due.asks, due.action.destroys, due.waits) == (DUE, True, True, "")
    received = decisions.fall_due(due, record, terms=terms, now=DUE)
    assert isinstance(received.decision, Intent)
    assert received.decision.kind == IntentKind.TERMINATE
    legal = replace(record, holds=(hold(HoldReason.LEGAL),))
    assert [d.waits for d in deadlines(legal, terms, told={}) if d.action.destroys] == ["a hold forbids erasing"]


def test_a_chargeback_waits_while_an_invoice_is_disputed_and_comes_again_after_a_lost_one() -> None:
    record, _, _ = told([back(), disputed(DUE + HOUR)], PAID)
    assert Action.CHARGEBACK not in acts(record)
    lost, _, _ = told([verdict(DUE + 3 * DAY, upheld=False)], record)
    before = {d.occurrence for d in deadlines(told([back()], PAID)[0], TERMS, told={}) if d.action == Action.CHARGEBACK}
    after = {d.occurrence for d in deadlines(lost, TERMS, told={}) if d.action == Action.CHARGEBACK}
    assert len(before | after) == 2
    won, _, _ = told([verdict(DUE + 3 * DAY, upheld=True)], record)
    assert Action.CHARGEBACK not in acts(won)


def test_a_silent_policy_notes_a_chargeback_and_does_nothing() -> None:
    silent = replace(TERMS, policy=replace(POLICY, overdue=Overdue()))
    record, _, _ = told([back(paid_until=DUE - 10 * DAY)], PAID, silent)
    assert (record.paid_until, record.charged_back_at, acts(record, silent)) == (DUE - 10 * DAY, DUE, {})
    assert isinstance(decisions.receive(back(), PAID, now=DUE, terms=silent).decision, Nothing)
