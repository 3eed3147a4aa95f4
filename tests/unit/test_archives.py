"""The archive of a terminated service: how long it is kept, what erases it, and what brings it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.archives import archive_until, erase_by, kept_for, paid_meanwhile, settled
from orchestrator.domain.calendar import Calendar, Days
from orchestrator.domain.deadlines import Action, Deadline, deadlines
from orchestrator.domain.decisions import Received, command, fall_due, receive
from orchestrator.domain.errors import Refused, WrongState
from orchestrator.domain.events import EventType
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import Intent, JobState, Nothing, Refusal
from orchestrator.domain.outcomes import begin, finish
from orchestrator.domain.policies import (
    SILENT,
    Archive,
    Erase,
    EraseSince,
    LatePayment,
    LatePaymentEffect,
    Overdue,
    Policy,
    Suspend,
    Terminate,
    TerminateSince,
)
from orchestrator.domain.services import Cancellation, Chargeback, DisputedInvoice, HoldEffect, HoldReason, Service
from orchestrator.domain.terms import Terms
from tests.unit.decision_words import NOW, E, K, L, event, hold, service

DAY = timedelta(days=1)
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
POLICY = Policy(
    name="herza",
    provider="H",
    archive=Archive(keep={"vps": Days(5), "dedicated": Days(5)}, clause="back"),
    late_payment=LatePayment(what=LatePaymentEffect.FROM_ARCHIVE, clause="late"),
)
END = NOW + 5 * DAY


def terms(kind: str = "vps", **rules: object) -> Terms:
    return Terms(policy=replace(POLICY, **rules), calendar=CALENDAR, kind=kind)  # type: ignore[arg-type]


TERMS = terms()
KEPT = service(L.ARCHIVED, archived_at=NOW)


def erase(days: int, since: EraseSince = EraseSince.TERMINATION) -> Erase:
    return Erase(within=Days(days), since=since, clause="5.3.3")


def intent(received: Received) -> Intent:
    assert isinstance(received.decision, Intent)
    return received.decision


def due(record: Service, by: Terms = TERMS) -> Deadline | None:
    return next((d for d in deadlines(record, by, told={}) if d.action == Action.ERASE), None)


# -- ending it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "kept"),
    [
        (TERMS, Days(5)),
        (terms("hosting"), None),
        (terms(archive=None), None),
        (terms(erase=erase(90)), Days(5)),
        (terms(erase=erase(0)), None),
        (Terms(policy=SILENT), None),
    ],
)
def test_an_archive_is_kept_where_the_policy_promises_one_for_the_kind(by: Terms, kept: Days | None) -> None:
    assert kept_for(by) == kept
    ending = receive(event(E.SERVICE_TERMINATE), service(L.ACTIVE), now=NOW, terms=by)
    assert intent(ending).arguments == ({} if kept is None else {"archive": True})


def test_an_operators_termination_and_a_deadlines_keep_it_too() -> None:
    asked = command(K.TERMINATE, service(L.ACTIVE), who="anna", why="asked", now=NOW, arguments={}, terms=TERMS)
    debt = Deadline(action=Action.TERMINATE, at=NOW, reason="unpaid", clause="1", occurrence="x")
    fallen = fall_due(debt, service(L.ACTIVE), terms=TERMS, now=NOW)
    assert [intent(one).arguments for one in (asked, fallen)] == [{"archive": True}] * 2


def test_of_what_was_never_made_none_is_kept() -> None:
    ended = receive(event(E.SERVICE_TERMINATE), service(L.FAILED), now=NOW, terms=TERMS)
    assert intent(ended).arguments == {}
    assert isinstance(receive(event(E.SERVICE_TERMINATE), service(L.ORDERED), now=NOW, terms=TERMS).decision, Nothing)


def test_a_termination_that_kept_an_archive_leaves_the_service_archived_and_able_to_come_back() -> None:
    ending = service(L.TERMINATING, HoldReason.NONPAYMENT, point_of_no_return=NOW, suspension_proven_at=NOW, ssh_keys=("k",))
    done = finish(ending, K.TERMINATE, JobState.DONE, "", now=END, kept=True)
    assert (done.state, done.archived_at, done.point_of_no_return) == (L.ARCHIVED, END, None)
    assert (done.suspension_proven_at, done.ssh_keys, done.stop_reasons) == (None, ("k",), ["nonpayment"])
    assert finish(done, K.TERMINATE, JobState.DONE, "", now=END + DAY, kept=True) == done


def cancelled(record: Service, at: datetime) -> Service:
    """With a cancellation that takes effect at that moment."""
    return replace(record, cancellation=Cancellation(asked_at=at, by="anna", why="", at=at))


# -- how long -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "cancelled_at", "end"),
    [
        (TERMS, None, END),
        (terms(erase=erase(90)), None, END),
        (terms(erase=erase(3)), None, NOW + 3 * DAY),
        (terms(erase=erase(6, EraseSince.CANCELLATION)), NOW - 2 * DAY, NOW + 4 * DAY),
        (terms(erase=erase(6, EraseSince.TERMINATION)), NOW - 2 * DAY, END),
        (terms(archive=None, erase=erase(90)), None, NOW + 90 * DAY),
        (terms(archive=None), None, None),
    ],
)
def test_it_ends_when_its_days_are_over_or_when_all_is_to_be_erased(
    by: Terms, cancelled_at: datetime | None, end: datetime | None
) -> None:
    record = KEPT if cancelled_at is None else cancelled(KEPT, cancelled_at)
    assert archive_until(record, by) == end


def test_the_latest_moment_of_erasing_is_reckoned_from_the_end_or_from_the_cancellation() -> None:
    by = terms(erase=erase(90, EraseSince.CANCELLATION))
    assert erase_by(KEPT, by) == NOW + 90 * DAY
    assert erase_by(cancelled(KEPT, NOW - 10 * DAY), by) == NOW + 80 * DAY
    assert erase_by(cancelled(KEPT, NOW + 10 * DAY), by) == NOW + 90 * DAY
    assert erase_by(cancelled(service(L.ACTIVE), NOW), by) == NOW + 90 * DAY
    assert erase_by(service(L.ACTIVE), by) is None
    assert erase_by(KEPT, TERMS) is None


def test_the_erasure_falls_due_at_the_end_by_its_clause_and_is_that_ends_own() -> None:
    found = due(KEPT)
    assert found is not None
    assert (found.at, found.clause, found.occurrence, found.waits) == (END, "back", NOW.isoformat(), "")
    assert found.action.destroys
    cut = due(KEPT, terms(erase=erase(3)))
    assert cut is not None
    assert (cut.at, cut.clause) == (NOW + 3 * DAY, "5.3.3")
    assert [due(service(state, archived_at=NOW)) for state in L if state != L.ARCHIVED] == [None] * (len(L) - 1)


@pytest.mark.parametrize(
    ("record", "by", "waits"),
    [
        (replace(KEPT, holds=(hold(HoldReason.LEGAL),)), TERMS, "a hold forbids erasing"),
        (replace(KEPT, holds=(hold(HoldReason.ABUSE, HoldEffect.NO_ERASE),)), TERMS, "a hold forbids erasing"),
        (replace(KEPT, holds=(hold(HoldReason.NONPAYMENT),)), TERMS, ""),
        (replace(KEPT, paid_at=NOW + DAY), TERMS, "it was paid for since, and is to be brought back"),
        (replace(KEPT, paid_at=NOW + DAY, chargebacks=(Chargeback("i1", NOW + 2 * DAY),)), TERMS, ""),
        (replace(KEPT, paid_at=NOW - DAY), TERMS, ""),
        (replace(KEPT, paid_at=NOW + DAY), terms(late_payment=None), ""),
    ],
)
def test_what_is_held_or_paid_for_is_not_erased(record: Service, by: Terms, waits: str) -> None:
    found = due(record, by)
    assert found is not None
    assert found.waits == waits


def test_the_forecast_tells_the_erasure_that_follows_a_termination() -> None:
    overdue = Overdue(
        suspend=Suspend(clause="1", after=Days(2)),
        terminate=Terminate(clause="2", after=Days(7), since=TerminateSince.SUSPENSION),
    )
    owing = service(L.ACTIVE, due_at=NOW)
    told = forecast(owing, terms(overdue=overdue), now=NOW, until=NOW + 60 * DAY, told={})
    assert [d.action for d in told] == [Action.SUSPEND, Action.TERMINATE, Action.ERASE]
    assert told[2].at - told[1].at == 5 * DAY


# -- erasing it -----------------------------------------------------------------------


def test_an_erasure_ends_the_service_as_a_termination_without_archive_does() -> None:
    fallen = fall_due(
        Deadline(action=Action.ERASE, at=END, reason="over", clause="back", occurrence="x"), KEPT, terms=TERMS, now=END
    )
    assert (intent(fallen).kind, intent(fallen).payments) == (K.ERASE, KEPT.payments)
    record = replace(begin(KEPT, K.ERASE), ssh_keys=("k",), password_hash="h", holds=(hold(HoldReason.NONPAYMENT),))
    erased = finish(record, K.ERASE, JobState.DONE, "", now=END)
    assert (erased.state, erased.ssh_keys, erased.password_hash, erased.holds) == (L.ERASED, (), "", ())
    assert finish(record, K.ERASE, JobState.FAILED, "fence-closed", now=END) == record


def test_an_erasure_does_not_begin_where_a_hold_forbids_it_nor_without_an_archive() -> None:
    with pytest.raises(Refused):
        begin(replace(KEPT, holds=(hold(HoldReason.LEGAL),)), K.ERASE)
    with pytest.raises(WrongState):
        begin(service(L.ACTIVE), K.ERASE)


def test_terminating_an_archived_service_is_refused_with_the_day_of_its_erasure() -> None:
    refused = receive(event(E.SERVICE_TERMINATE), KEPT, now=NOW, terms=TERMS)
    assert isinstance(refused.decision, Refusal)
    assert "2026-11-25T" in refused.note
    silent = receive(event(E.SERVICE_TERMINATE), KEPT, now=NOW, terms=Terms(policy=SILENT))
    assert "sets it no end" in silent.note


# -- bringing it back -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [E.INVOICE_PAID, E.ORDER_PAID, E.SERVICE_RENEW])
def test_a_payment_while_the_archive_is_kept_brings_the_service_back_and_asks_nobody(kind: EventType) -> None:
    owing = replace(KEPT, holds=(hold(HoldReason.NONPAYMENT),))
    paid = receive(event(kind), owing, now=NOW, terms=TERMS)
    assert (intent(paid).kind, paid.asks) == (K.REACTIVATE, "")
    assert paid.service is not None
    assert (paid.service.state, paid.service.holds, paid.service.payments) == (L.ARCHIVED, (), 2)
    assert intent(paid).payments == 2


def test_what_something_else_stops_comes_back_only_when_an_operator_agrees() -> None:
    held = replace(KEPT, holds=(hold(HoldReason.NONPAYMENT), hold(HoldReason.ABUSE)))
    assert "abuse" in receive(event(E.INVOICE_PAID), held, now=NOW, terms=TERMS).asks


@pytest.mark.parametrize(
    ("record", "by"),
    [
        (KEPT, terms(late_payment=LatePayment(what=LatePaymentEffect.REFUSED, clause="late"))),
        (KEPT, terms(late_payment=None)),
        (replace(KEPT, point_of_no_return=NOW), TERMS),
        (service(L.ERASED), TERMS),
    ],
)
def test_a_payment_that_buys_nothing_back_is_called_too_late(record: Service, by: Terms) -> None:
    paid = receive(event(E.INVOICE_PAID), record, now=NOW, terms=by)
    assert isinstance(paid.decision, Nothing)
    assert paid.note.startswith("too late: the service is")


def test_a_payment_past_the_wipe_of_a_termination_that_keeps_an_archive_is_not_lost() -> None:
    ending = service(L.TERMINATING, HoldReason.NONPAYMENT, point_of_no_return=NOW)
    paid = receive(event(E.INVOICE_PAID), ending, now=NOW, terms=TERMS)
    assert isinstance(paid.decision, Nothing)
    assert "brought back out of its archive" in paid.note
    assert paid.service is not None
    done = finish(paid.service, K.TERMINATE, JobState.DONE, "", now=NOW, kept=True)
    left = paid_meanwhile(done, TERMS, payments=1)
    assert left is not None
    assert left.kind == K.REACTIVATE
    assert paid_meanwhile(done, TERMS, payments=2) is None
    assert paid_meanwhile(done, terms(late_payment=None), payments=1) is None


def test_an_operator_brings_back_what_is_archived_and_nothing_else() -> None:
    def asked(record: Service) -> Received:
        return command(K.REACTIVATE, record, who="anna", why="paid in cash", now=NOW, arguments={}, terms=TERMS)

    assert intent(asked(KEPT)).kind == K.REACTIVATE
    others = [service(state) for state in L if state != L.ARCHIVED]
    assert all(isinstance(asked(record).decision, Refusal) for record in (*others, replace(KEPT, point_of_no_return=NOW)))


def test_it_stays_archived_until_it_runs_again() -> None:
    assert begin(KEPT, K.REACTIVATE) == KEPT
    back = finish(KEPT, K.REACTIVATE, JobState.DONE, "", now=NOW + DAY)
    assert (back.state, back.archived_at) == (L.ACTIVE, None)
    for state in (JobState.FAILED, JobState.CANCELLED, JobState.NEEDS_OPERATOR):
        assert finish(KEPT, K.REACTIVATE, state, "x", now=NOW) == KEPT
    with pytest.raises(WrongState):
        begin(replace(KEPT, point_of_no_return=NOW), K.REACTIVATE)


def test_what_was_taken_back_is_no_payment_that_keeps_an_archive_and_a_dispute_that_was_won_since_is_one() -> None:
    won = DisputedInvoice(invoice_id="i1", raised_at=NOW, settled_at=NOW + DAY, upheld=True)
    assert settled(replace(KEPT, paid_at=NOW - DAY), since=NOW), "said late: it stands all the same"
    assert not settled(KEPT, since=NOW)
    assert not settled(replace(KEPT, paid_at=NOW, chargebacks=(Chargeback("i1", NOW + DAY),)), since=NOW)
    assert settled(replace(KEPT, disputes=(won,)), since=NOW)
    assert not settled(replace(KEPT, disputes=(won,)), since=NOW + 2 * DAY)
