"""What each event and command means in each state, as tables, and what holds for all of them, as properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.decisions import begin, command, finish, hold_reason, receive
from orchestrator.domain.errors import FenceClosed, Refused, WrongState
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import Intent, IntentKind, JobState, Nothing, Refusal
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
_ids = count()

E, L, K = EventType, Lifecycle, IntentKind


def event(kind: EventType, **values: object) -> Event:
    version = 10 if kind.is_command else None
    given = {"version": version, "client_id": "c1", "plan": "small", **values}
    return Event(source="shop", id=f"e{next(_ids)}", type=kind, service_id="s1", sent_at=NOW, **given)  # type: ignore[arg-type]


def hold(reason: HoldReason, effect: HoldEffect = HoldEffect.STOP) -> Hold:
    return Hold(reason=reason, effect=effect, by="test", why="test", since=NOW)


def service(state: Lifecycle, *reasons: HoldReason, **values: object) -> Service:
    holds = tuple(hold(r) for r in reasons)
    known = {"client_id": "c1", "plan": "small", "version": 9, "payments": 1, "created_at": NOW}
    return Service(id="s1", state=state, holds=holds, **{**known, **values})  # type: ignore[arg-type]


def outcome(kind: EventType, before: Service | None) -> str:
    """``state after: what is decided``, in words that fit a table."""
    received = receive(event(kind), before, now=NOW)
    state = received.service.state.value if received.service is not None else "-"
    decision = received.decision
    what = decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"
    return f"{state}: {what}"


# Rows: events. Columns: no record yet, then each state; a service that is active is not suspended here.
STATES = (None, L.ORDERED, L.PROVISIONING, L.ACTIVE, L.TERMINATING, L.ARCHIVED, L.ERASED, L.CANCELLED, L.FAILED)
SAME = "same: nothing"
REFUSED = "same: refused"
TABLE: dict[EventType, tuple[str, ...]] = {
    E.ORDER_CREATED: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.ORDER_PAID: (
        *("provisioning: provision", "provisioning: provision", SAME, SAME, SAME, SAME, SAME, SAME),
        "provisioning: provision",
    ),
    E.ORDER_CANCELLED: ("cancelled: nothing", "cancelled: nothing", SAME, SAME, SAME, SAME, SAME, SAME, "cancelled: nothing"),
    E.INVOICE_OVERDUE: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.INVOICE_PAID: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.INVOICE_REFUNDED: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.SERVICE_CREATE: (
        *("provisioning: provision", "provisioning: provision", SAME, SAME, SAME, SAME, SAME, SAME),
        "provisioning: provision",
    ),
    E.SERVICE_SUSPEND: (*("-: refused", REFUSED, "same: suspend", "same: suspend", REFUSED, REFUSED, REFUSED, REFUSED, REFUSED),),
    E.SERVICE_UNSUSPEND: ("-: refused", REFUSED, SAME, SAME, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED),
    E.SERVICE_RENEW: ("ordered: nothing", SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME),
    E.SERVICE_CHANGE_PLAN: ("-: refused", *[REFUSED] * 8),
    E.SERVICE_RESET_PASSWORD: ("-: refused", *[REFUSED] * 8),
    E.SERVICE_TERMINATE: (
        *("-: refused", "cancelled: nothing", "same: terminate", "terminating: terminate", SAME, REFUSED, SAME, SAME),
        "terminating: terminate",
    ),
}


def test_the_table_has_every_event_and_every_state() -> None:
    assert set(TABLE) == set(EventType)
    assert {s for s in STATES if s is not None} == set(Lifecycle)
    assert all(len(row) == len(STATES) for row in TABLE.values())


@pytest.mark.parametrize(
    ("kind", "state", "expected"), [(k, s, x) for k, row in TABLE.items() for s, x in zip(STATES, row, strict=True)]
)
def test_every_event_in_every_state(kind: EventType, state: Lifecycle | None, expected: str) -> None:
    before = service(state) if state is not None else None
    assert outcome(kind, before) == expected.replace("same", state.value if state is not None else "-")


def test_a_paid_order_is_provisioned_once_however_often_it_is_told() -> None:
    first = receive(event(E.ORDER_PAID), None, now=NOW)
    again = receive(event(E.ORDER_PAID), first.service, now=NOW)
    assert isinstance(first.decision, Intent)
    assert first.decision.payments == 1
    assert isinstance(again.decision, Nothing)
    assert again.service is not None
    assert again.service.payments == 2


def test_a_payment_before_anybody_named_the_plan_waits_for_the_order() -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    assert isinstance(paid.decision, Nothing)
    assert paid.service is not None
    assert paid.service.state == L.ORDERED
    created = receive(event(E.ORDER_CREATED), paid.service, now=NOW)
    assert isinstance(created.decision, Intent)
    assert created.decision.kind == K.PROVISION


@pytest.mark.parametrize("kind", [E.INVOICE_PAID, E.INVOICE_OVERDUE, E.SERVICE_RENEW])
def test_whoever_names_the_plan_of_a_paid_order_first_sets_it_going(kind: EventType) -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    named = receive(event(kind), paid.service, now=NOW)
    assert isinstance(named.decision, Intent)
    assert named.decision.kind == K.PROVISION
    assert isinstance(receive(event(E.ORDER_CREATED), named.service, now=NOW).decision, Nothing)


def test_a_cancelled_order_is_not_set_going_by_naming_its_plan() -> None:
    paid = receive(event(E.ORDER_PAID, plan=""), None, now=NOW)
    cancelled = receive(event(E.ORDER_CANCELLED), paid.service, now=NOW)
    assert cancelled.service is not None
    assert cancelled.service.state == L.CANCELLED


def test_an_order_that_is_told_again_is_not_provisioned_by_it() -> None:
    ordered = service(L.ORDERED, payments=1)
    assert isinstance(receive(event(E.ORDER_CREATED), ordered, now=NOW).decision, Nothing)


# -- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 8, 9])
@pytest.mark.parametrize("kind", [k for k in EventType if k.is_command and k != E.SERVICE_RENEW])
def test_a_stale_command_changes_nothing(kind: EventType, version: int) -> None:
    before = service(L.ACTIVE)
    received = receive(event(kind, version=version), before, now=NOW)
    assert received.service == before
    assert received.stale
    assert isinstance(received.decision, Nothing)


def test_a_command_that_was_carried_out_moves_the_version_and_a_refused_one_does_not() -> None:
    active = service(L.ACTIVE)
    suspended = receive(event(E.SERVICE_SUSPEND), active, now=NOW)
    refused = receive(event(E.SERVICE_CHANGE_PLAN), active, now=NOW)
    assert suspended.service is not None
    assert suspended.service.version == 10
    assert refused.service == active


def test_a_command_without_a_version_is_refused() -> None:
    assert isinstance(receive(event(E.SERVICE_TERMINATE, version=None), service(L.ACTIVE), now=NOW).decision, Refusal)


def test_the_payment_in_a_stale_renewal_counts_and_lifts_nothing() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, suspension_proven_at=NOW)
    received = receive(event(E.SERVICE_RENEW, version=3, paid_until=NOW + MONTH), held, now=NOW)
    assert received.stale
    assert received.service == replace(held, payments=2, paid_until=NOW + MONTH)


# -- payments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW])
@pytest.mark.parametrize(
    ("reasons", "left", "resumes"),
    [
        ((HoldReason.NONPAYMENT,), (), True),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), (HoldReason.ABUSE,), False),
        ((HoldReason.ABUSE,), (HoldReason.ABUSE,), False),
        ((HoldReason.MANUAL,), (HoldReason.MANUAL,), False),
        ((HoldReason.NONPAYMENT, HoldReason.LEGAL), (HoldReason.LEGAL,), False),
    ],
)
def test_paying_lifts_nonpayment_and_nothing_else(
    kind: EventType, reasons: tuple[HoldReason, ...], left: tuple[HoldReason, ...], resumes: bool
) -> None:
    received = receive(event(kind), service(L.ACTIVE, *reasons, suspension_proven_at=NOW), now=NOW)
    assert received.service is not None
    assert tuple(h.reason for h in received.service.holds) == left
    assert isinstance(received.decision, Intent) is resumes


def test_a_payment_while_the_suspension_still_runs_resumes_after_it() -> None:
    received = receive(event(E.INVOICE_PAID), service(L.ACTIVE, HoldReason.NONPAYMENT), now=NOW)
    assert isinstance(received.decision, Intent)
    assert received.decision.kind == K.UNSUSPEND


def test_a_payment_while_terminating_counts_for_the_fence_and_resumes_a_suspended_guest() -> None:
    quiet = receive(event(E.INVOICE_PAID), service(L.TERMINATING), now=NOW)
    assert quiet.service is not None
    assert quiet.service.payments == 2
    assert "stops the termination" in quiet.note
    held = receive(event(E.INVOICE_PAID), service(L.TERMINATING, HoldReason.NONPAYMENT, suspension_proven_at=NOW), now=NOW)
    assert isinstance(held.decision, Intent)
    assert held.decision.kind == K.UNSUSPEND


@pytest.mark.parametrize("kind", [E.ORDER_PAID, E.INVOICE_PAID, E.SERVICE_RENEW])
@pytest.mark.parametrize(
    "gone",
    [
        service(L.TERMINATING, point_of_no_return=NOW),
        service(L.TERMINATING, HoldReason.NONPAYMENT, point_of_no_return=NOW),
        service(L.ARCHIVED),
        service(L.ERASED),
        service(L.CANCELLED),
    ],
)
def test_a_payment_past_the_point_of_no_return_is_counted_and_called_too_late(kind: EventType, gone: Service) -> None:
    received = receive(event(kind), gone, now=NOW)
    assert received.service is not None
    assert received.service.payments == gone.payments + 1
    assert received.service.state == gone.state
    assert received.note.startswith("too late")
    assert isinstance(received.decision, Nothing)


def test_paid_until_moves_back_only_by_a_refund() -> None:
    paid = service(L.ACTIVE, paid_until=NOW + MONTH)
    earlier = receive(event(E.INVOICE_PAID, paid_until=NOW), paid, now=NOW).service
    refunded = receive(event(E.INVOICE_REFUNDED, paid_until=NOW), paid, now=NOW).service
    unsaid = receive(event(E.INVOICE_REFUNDED), paid, now=NOW).service
    assert earlier is not None
    assert refunded is not None
    assert earlier.paid_until == NOW + MONTH
    assert refunded.paid_until == NOW
    assert unsaid == paid


def test_what_may_log_in_is_not_noted_of_an_erased_service() -> None:
    received = receive(event(E.ORDER_CREATED, ssh_keys=("ssh-ed25519 AAAA",)), service(L.ERASED), now=NOW)
    assert received.service is not None
    assert received.service.ssh_keys == ()


# -- suspending and terminating -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", HoldReason.NONPAYMENT),
        ("Overdue on Payment", HoldReason.NONPAYMENT),
        ("non-payment", HoldReason.NONPAYMENT),
        ("abuse", HoldReason.ABUSE),
        ("LEGAL", HoldReason.LEGAL),
        ("the neighbour complained", HoldReason.MANUAL),
    ],
)
def test_the_reason_of_a_suspension_names_its_hold(word: str, reason: HoldReason) -> None:
    received = receive(event(E.SERVICE_SUSPEND, reason=word), service(L.ACTIVE), now=NOW)
    assert received.service is not None
    assert [h.reason for h in received.service.holds] == [reason]
    assert isinstance(received.decision, Intent)
    assert received.decision.arguments == {"reason": reason.value, "holds": [reason.value]}
    assert hold_reason(word, default=HoldReason.NONPAYMENT) == reason


def test_a_second_hold_on_a_proven_suspension_is_noted_and_starts_no_job() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, suspension_proven_at=NOW)
    received = receive(event(E.SERVICE_SUSPEND, reason="abuse"), held, now=NOW)
    assert received.service is not None
    assert {h.reason for h in received.service.holds} == {HoldReason.NONPAYMENT, HoldReason.ABUSE}
    assert isinstance(received.decision, Nothing)


def test_a_suspension_that_never_took_effect_is_tried_again() -> None:
    received = receive(event(E.SERVICE_SUSPEND), service(L.ACTIVE, HoldReason.NONPAYMENT), now=NOW)
    assert isinstance(received.decision, Intent)


@pytest.mark.parametrize(
    ("reasons", "word", "expected"),
    [
        ((HoldReason.NONPAYMENT,), "", "unsuspend"),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), "", "nothing"),
        ((HoldReason.NONPAYMENT, HoldReason.ABUSE), "abuse", "nothing"),
        ((HoldReason.ABUSE,), "", "refused"),
        ((HoldReason.ABUSE,), "abuse", "unsuspend"),
        ((), "", "nothing"),
    ],
)
def test_unsuspending_lifts_the_hold_it_names_and_resumes_when_nothing_else_stops(
    reasons: tuple[HoldReason, ...], word: str, expected: str
) -> None:
    proven = NOW if reasons else None
    received = receive(event(E.SERVICE_UNSUSPEND, reason=word), service(L.ACTIVE, *reasons, suspension_proven_at=proven), now=NOW)
    decision = received.decision
    found = decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"
    assert found == expected


def test_an_unsuspension_that_failed_is_tried_again() -> None:
    left_behind = service(L.ACTIVE, suspension_proven_at=NOW)
    assert isinstance(receive(event(E.SERVICE_UNSUSPEND), left_behind, now=NOW).decision, Intent)


@pytest.mark.parametrize(
    "protection", [hold(HoldReason.LEGAL), hold(HoldReason.LEGAL, HoldEffect.NONE), hold(HoldReason.DISPUTE, HoldEffect.NO_ERASE)]
)
@pytest.mark.parametrize("state", [L.ORDERED, L.PROVISIONING, L.ACTIVE, L.FAILED])
def test_nothing_is_terminated_against_a_hold_that_forbids_erasing(state: Lifecycle, protection: Hold) -> None:
    before = replace(service(state), holds=(protection,))
    received = receive(event(E.SERVICE_TERMINATE), before, now=NOW)
    assert isinstance(received.decision, Refusal)
    assert received.service == before
    with pytest.raises((Refused, WrongState)):
        begin(before, K.TERMINATE)


# -- commands of an operator -------------------------------------------------------------------------


def commanded(kind: IntentKind, before: Service, **arguments: object) -> str:
    decision = command(kind, before, who="anna", why="asked", now=NOW, arguments=arguments).decision
    return decision.kind.value if isinstance(decision, Intent) else "nothing" if isinstance(decision, Nothing) else "refused"


@pytest.mark.parametrize("state", list(Lifecycle))
def test_power_and_checks_need_an_active_service(state: Lifecycle) -> None:
    for kind in (K.START, K.STOP, K.REBOOT, K.CHECK):
        assert commanded(kind, service(state)) == (kind.value if state == L.ACTIVE else "refused")


def test_a_suspended_service_can_be_checked_and_not_switched() -> None:
    held = service(L.ACTIVE, HoldReason.ABUSE)
    assert [commanded(k, held) for k in (K.START, K.STOP, K.REBOOT)] == ["refused"] * 3
    assert commanded(K.CHECK, held) == "check"


def test_an_operator_suspends_by_hand_unless_he_says_otherwise() -> None:
    received = command(K.SUSPEND, service(L.ACTIVE), who="anna", why="", now=NOW, arguments={})
    assert received.service is not None
    assert received.service.holds[0].reason == HoldReason.MANUAL
    assert commanded(K.UNSUSPEND, service(L.ACTIVE, HoldReason.ABUSE)) == "refused"
    assert commanded(K.UNSUSPEND, service(L.ACTIVE, HoldReason.ABUSE), reason="abuse") == "unsuspend"


@pytest.mark.parametrize("kind", [K.CHANGE_PLAN, K.RESET_PASSWORD])
def test_what_is_not_carried_out_yet_is_refused_with_a_sentence(kind: IntentKind) -> None:
    assert commanded(kind, service(L.ACTIVE)) == "refused"


def test_a_job_can_be_decided_again_from_its_own_arguments() -> None:
    suspended = receive(event(E.SERVICE_SUSPEND, reason="abuse"), service(L.ACTIVE), now=NOW)
    assert isinstance(suspended.decision, Intent)
    assert suspended.service is not None
    again = command(K.SUSPEND, suspended.service, who="anna", why="retry", now=NOW, arguments=suspended.decision.arguments)
    assert again.service is not None
    assert [h.reason for h in again.service.holds] == [HoldReason.ABUSE]
    assert isinstance(again.decision, Intent)


# -- the beginning and the end of jobs ------------------------------------------------------------------


def test_a_suspension_whose_hold_was_lifted_while_it_waited_does_not_begin() -> None:
    with pytest.raises(Refused):
        begin(service(L.ACTIVE), K.SUSPEND)


@pytest.mark.parametrize("kind", [K.UNSUSPEND, K.START, K.REBOOT])
def test_nothing_that_runs_a_guest_begins_while_a_hold_stops_it(kind: IntentKind) -> None:
    with pytest.raises(Refused):
        begin(service(L.ACTIVE, HoldReason.ABUSE), kind)


@pytest.mark.parametrize("kind", [K.SUSPEND, K.UNSUSPEND, K.START, K.STOP, K.REBOOT, K.CHECK])
@pytest.mark.parametrize("state", [s for s in Lifecycle if s != L.ACTIVE])
def test_only_an_active_service_is_worked_on(kind: IntentKind, state: Lifecycle) -> None:
    with pytest.raises(WrongState):
        begin(service(state, HoldReason.NONPAYMENT), kind)


def test_beginning_again_is_the_same() -> None:
    for kind, state in ((K.PROVISION, L.FAILED), (K.TERMINATE, L.ACTIVE)):
        once = begin(service(state), kind)
        assert begin(once, kind) == once


FINISHES: list[tuple[IntentKind, Lifecycle, JobState, str, Lifecycle]] = [
    (K.PROVISION, L.PROVISIONING, JobState.DONE, "", L.ACTIVE),
    (K.PROVISION, L.PROVISIONING, JobState.FAILED, "no-capacity", L.FAILED),
    (K.PROVISION, L.PROVISIONING, JobState.CANCELLED, "", L.FAILED),
    (K.PROVISION, L.PROVISIONING, JobState.NEEDS_OPERATOR, "in-doubt", L.PROVISIONING),
    (K.TERMINATE, L.TERMINATING, JobState.DONE, "", L.ERASED),
    (K.TERMINATE, L.TERMINATING, JobState.FAILED, FenceClosed.code, L.ACTIVE),
    (K.TERMINATE, L.TERMINATING, JobState.CANCELLED, "", L.ACTIVE),
    (K.TERMINATE, L.TERMINATING, JobState.NEEDS_OPERATOR, "in-doubt", L.TERMINATING),
    (K.SUSPEND, L.ACTIVE, JobState.FAILED, "driver-failed", L.ACTIVE),
    (K.CHECK, L.ACTIVE, JobState.FAILED, "wrong-state", L.ACTIVE),
]


@pytest.mark.parametrize(("kind", "state", "job", "code", "expected"), FINISHES)
def test_the_end_of_a_job_moves_the_service_and_again_changes_nothing(
    kind: IntentKind, state: Lifecycle, job: JobState, code: str, expected: Lifecycle
) -> None:
    once = finish(service(state), kind, job, code, now=NOW)
    assert once.state == expected
    assert finish(once, kind, job, code, now=NOW + MONTH) == once


def test_past_the_point_of_no_return_a_failed_termination_stays_one() -> None:
    gone = service(L.TERMINATING, point_of_no_return=NOW)
    assert finish(gone, K.TERMINATE, JobState.FAILED, "driver-failed", now=NOW).state == L.TERMINATING


def test_a_stopped_termination_of_what_never_was_made_is_failed_again() -> None:
    after = finish(service(L.TERMINATING), K.TERMINATE, JobState.CANCELLED, "", now=NOW, provisioned=False)
    assert after.state == L.FAILED


def test_a_suspension_is_proven_from_its_first_proof_until_it_is_lifted() -> None:
    held = finish(service(L.ACTIVE, HoldReason.ABUSE), K.SUSPEND, JobState.DONE, "", now=NOW)
    again = finish(held, K.SUSPEND, JobState.DONE, "", now=NOW + MONTH)
    lifted = finish(again, K.UNSUSPEND, JobState.DONE, "", now=NOW + MONTH)
    assert again.suspension_proven_at == NOW
    assert lifted.suspension_proven_at is None


def test_an_erased_service_keeps_nothing_to_log_in_with() -> None:
    before = service(L.TERMINATING, ssh_keys=("ssh-ed25519 AAAA",), password_hash="$6$salt$hash", point_of_no_return=NOW)
    after = finish(before, K.TERMINATE, JobState.DONE, "", now=NOW)
    assert (after.ssh_keys, after.password_hash) == ((), "")


# -- properties -----------------------------------------------------------------------------------

times = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
descriptions = st.fixed_dictionaries(
    {},
    optional={"plan": st.just("small"), "order_id": st.just("o1"), "hostname": st.just("a.example"), "client_id": st.just("c1")},
)


@st.composite
def facts(draw: st.DrawFn) -> Event:
    """A fact that says the same wherever it says anything. No refund: money given back after a payment is the later word."""
    kind = draw(st.sampled_from([E.ORDER_CREATED, E.ORDER_PAID, E.INVOICE_PAID, E.INVOICE_OVERDUE]))
    known = {"plan": "", "client_id": "", **draw(descriptions)}
    return event(kind, **known, due_at=draw(st.none() | times), paid_until=draw(st.none() | times))


def told(events: list[Event]) -> tuple[Service | None, list[Intent]]:
    record: Service | None = None
    intents = []
    for each in events:
        received = receive(each, record, now=NOW)
        record = received.service
        if isinstance(received.decision, Intent):
            intents.append(received.decision)
    return record, intents


@given(st.lists(facts(), min_size=1, max_size=8).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_facts_in_any_order_make_the_same_record(orders: tuple[list[Event], list[Event]]) -> None:
    (one, _), (other, _) = told(orders[0]), told(orders[1])
    assert one is not None
    assert other is not None
    assert replace(one, state=L.ORDERED) == replace(other, state=L.ORDERED)


@given(st.lists(facts(), min_size=1, max_size=8), st.data())
def test_a_fact_told_twice_changes_nothing_but_the_count_of_payments(events: list[Event], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(events))
    (once, _), (twice, _) = told(events), told([*events, again])
    assert once is not None
    assert twice is not None
    assert twice.payments >= once.payments
    assert replace(twice, payments=0, state=L.ORDERED) == replace(once, payments=0, state=L.ORDERED)


@settings(max_examples=400)
@given(st.lists(facts(), max_size=6), st.permutations([0, 1]))
def test_a_paid_and_named_order_is_provisioned_exactly_once_in_any_order(others: list[Event], order: list[int]) -> None:
    pair = [event(E.ORDER_CREATED), event(E.ORDER_PAID, plan="")]
    record, intents = told([pair[order[0]], *others, pair[order[1]]])
    assert record is not None
    assert record.state == L.PROVISIONING
    assert [i.kind for i in intents] == [K.PROVISION]


@given(
    st.lists(facts() | st.builds(lambda t: event(E.INVOICE_REFUNDED, paid_until=t), st.none() | times), max_size=8),
    st.sampled_from(list(L)),
)
def test_facts_alone_never_suspend_or_terminate(events: list[Event], state: Lifecycle) -> None:
    record: Service | None = service(state, HoldReason.NONPAYMENT)
    for each in events:
        received = receive(each, record, now=NOW)
        record = received.service
        assert not (isinstance(received.decision, Intent) and received.decision.kind.destructive)


@given(st.lists(st.sampled_from(list(EventType)), max_size=12), st.lists(st.integers(1, 12), min_size=12, max_size=12))
def test_payments_and_versions_only_grow(kinds: list[EventType], versions: list[int]) -> None:
    record: Service | None = service(L.ACTIVE, version=0)
    for kind, version in zip(kinds, versions, strict=False):
        before = record
        values = {"version": version} if kind.is_command else {}
        record = receive(event(kind, **values), before, now=NOW).service
        assert before is not None
        assert record is not None
        assert record.payments >= before.payments
        assert record.version >= before.version
