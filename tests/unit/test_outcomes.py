"""What the beginning and the end of a job do to a service, and what its end leaves to do."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import FenceClosed, Refused, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.outcomes import begin, finish, follow_up, never
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from tests.unit.decision_words import MONTH, NOW, K, L, hold, service

LIMITED = hold(HoldReason.QUOTA, HoldEffect.LIMIT)

# -- the beginning and the end of jobs ------------------------------------------------------------------


def test_a_suspension_whose_hold_was_lifted_while_it_waited_does_not_begin() -> None:
    with pytest.raises(Refused):
        begin(service(L.ACTIVE), K.SUSPEND)


@pytest.mark.parametrize("kind", [K.UNSUSPEND, K.START, K.REBOOT])
def test_nothing_that_runs_a_guest_begins_while_a_hold_stops_it(kind: IntentKind) -> None:
    with pytest.raises(Refused):
        begin(service(L.ACTIVE, HoldReason.ABUSE), kind)


def test_a_limit_whose_hold_was_lifted_while_it_waited_does_not_begin_and_neither_does_its_end_while_one_stands() -> None:
    limited = service(L.ACTIVE, holds=(LIMITED,))
    for record, kind in ((service(L.ACTIVE), K.LIMIT), (service(L.ACTIVE, HoldReason.ABUSE), K.LIMIT), (limited, K.UNLIMIT)):
        with pytest.raises(Refused):
            begin(record, kind)
    assert begin(limited, K.LIMIT) == limited


@pytest.mark.parametrize("kind", [K.START, K.REBOOT, K.STOP, K.UNSUSPEND])
def test_a_limited_service_runs_on_and_is_worked_on(kind: IntentKind) -> None:
    limited = service(L.ACTIVE, holds=(LIMITED,), limited_proven_at=NOW)
    assert begin(limited, kind) == limited


@pytest.mark.parametrize("kind", [K.SUSPEND, K.UNSUSPEND, K.LIMIT, K.UNLIMIT, K.START, K.STOP, K.REBOOT, K.CHECK])
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


def test_a_limit_is_proven_from_its_first_proof_until_it_is_lifted() -> None:
    limited = finish(service(L.ACTIVE, holds=(LIMITED,)), K.LIMIT, JobState.DONE, "", now=NOW)
    again = finish(limited, K.LIMIT, JobState.DONE, "", now=NOW + MONTH)
    assert again.limited_proven_at == NOW
    assert finish(again, K.UNLIMIT, JobState.FAILED, "driver-failed", now=NOW).limited_proven_at == NOW
    assert finish(again, K.UNLIMIT, JobState.DONE, "", now=NOW).limited_proven_at is None
    assert finish(service(L.ACTIVE, holds=(LIMITED,)), K.LIMIT, JobState.FAILED, "x", now=NOW).limited_proven_at is None


def test_an_erased_service_keeps_nothing_to_log_in_with_and_no_hold() -> None:
    before = service(
        L.TERMINATING,
        HoldReason.NONPAYMENT,
        ssh_keys=("ssh-ed25519 AAAA",),
        password_hash="$6$salt$hash",
        point_of_no_return=NOW,
        limited_proven_at=NOW,
    )
    after = finish(before, K.TERMINATE, JobState.DONE, "", now=NOW)
    assert after.limited_proven_at is None
    assert (after.ssh_keys, after.password_hash, after.holds) == ((), "", ())


def test_a_legal_hold_outlives_what_it_came_too_late_to_keep() -> None:
    """It was set when the wipe had begun: what is known of the customer is still to be kept."""
    before = service(L.TERMINATING, HoldReason.NONPAYMENT, point_of_no_return=NOW)
    legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="anna", why="a court", since=NOW)
    assert finish(before.with_hold(legal), K.TERMINATE, JobState.DONE, "", now=NOW).holds == (legal,)


# -- what the end of a job leaves to do ------------------------------------------------------------------

ABUSE = HoldReason.ABUSE
FOLLOWED: list[tuple[Service, IntentKind, IntentKind | None]] = [
    (service(L.ACTIVE, ABUSE), K.TERMINATE, K.SUSPEND),
    (service(L.ACTIVE, ABUSE), K.PROVISION, K.SUSPEND),
    (service(L.ACTIVE, ABUSE), K.UNSUSPEND, K.SUSPEND),
    (service(L.ACTIVE, ABUSE), K.SUSPEND, None),
    (service(L.ACTIVE, ABUSE, suspension_proven_at=NOW), K.TERMINATE, None),
    (service(L.ACTIVE, suspension_proven_at=NOW), K.TERMINATE, K.UNSUSPEND),
    (service(L.ACTIVE, suspension_proven_at=NOW), K.SUSPEND, K.UNSUSPEND),
    (service(L.ACTIVE, suspension_proven_at=NOW), K.UNSUSPEND, None),
    (service(L.ACTIVE), K.TERMINATE, None),
    (service(L.TERMINATING, ABUSE), K.SUSPEND, None),
    (service(L.FAILED, ABUSE), K.PROVISION, None),
    (service(L.ACTIVE, holds=(LIMITED,)), K.PROVISION, K.LIMIT),
    (service(L.ACTIVE, holds=(LIMITED,)), K.UNSUSPEND, K.LIMIT),
    (service(L.ACTIVE, holds=(LIMITED,)), K.LIMIT, None),
    (service(L.ACTIVE, holds=(LIMITED,), limited_proven_at=NOW), K.START, None),
    (service(L.ACTIVE, limited_proven_at=NOW), K.UNSUSPEND, K.UNLIMIT),
    (service(L.ACTIVE, limited_proven_at=NOW), K.LIMIT, K.UNLIMIT),
    (service(L.ACTIVE, limited_proven_at=NOW), K.UNLIMIT, None),
    # Stopping wins, and what is off needs no limit: it comes back first.
    (service(L.ACTIVE, holds=(LIMITED, hold(ABUSE))), K.LIMIT, K.SUSPEND),
    (service(L.ACTIVE, holds=(LIMITED, hold(ABUSE)), suspension_proven_at=NOW), K.SUSPEND, None),
    (service(L.ACTIVE, holds=(hold(ABUSE),), suspension_proven_at=NOW, limited_proven_at=NOW), K.SUSPEND, None),
    (service(L.ACTIVE, holds=(LIMITED,), suspension_proven_at=NOW), K.TERMINATE, K.UNSUSPEND),
    (service(L.TERMINATING, holds=(LIMITED,)), K.LIMIT, None),
]


@pytest.mark.parametrize(("after", "ended", "expected"), FOLLOWED)
def test_a_guest_that_is_not_as_its_holds_say_is_brought_there_and_never_by_trying_the_same_for_ever(
    after: Service, ended: IntentKind, expected: IntentKind | None
) -> None:
    left = follow_up(after, ended=ended)
    assert (left.kind if left is not None else None) == expected


def test_a_suspension_that_follows_is_as_an_event_would_have_asked_for_it() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, ABUSE)
    left = follow_up(held, ended=K.PROVISION)
    assert left is not None
    assert (left.arguments, left.payments) == ({"reason": "abuse", "holds": ["abuse", "nonpayment"]}, held.payments)


def test_who_cancels_a_suspension_takes_back_the_hold_that_it_was_to_put_in_force_and_no_other() -> None:
    held = service(L.ACTIVE, HoldReason.NONPAYMENT, HoldReason.ABUSE)
    after = finish(held, K.SUSPEND, JobState.CANCELLED, "", now=NOW, adds="nonpayment")
    assert [hold.reason for hold in after.holds] == [HoldReason.ABUSE]
    failed = finish(held, K.SUSPEND, JobState.FAILED, "driver-failed", now=NOW, adds="nonpayment")
    assert failed.holds == held.holds
    assert finish(held, K.SUSPEND, JobState.CANCELLED, "", now=NOW).holds == held.holds, "its decision found the hold there"


def test_who_cancels_a_limit_takes_back_its_hold_and_not_the_one_that_stops_for_the_same_reason_since() -> None:
    limited = service(L.ACTIVE, holds=(LIMITED,))
    assert finish(limited, K.LIMIT, JobState.CANCELLED, "", now=NOW, adds="quota").holds == ()
    stopped = limited.with_hold(hold(HoldReason.QUOTA))
    assert [h.effect for h in stopped.holds] == [HoldEffect.STOP]
    assert finish(stopped, K.LIMIT, JobState.CANCELLED, "", now=NOW, adds="quota") == stopped


def test_a_limit_that_follows_is_as_a_command_would_have_asked_for_it() -> None:
    left = follow_up(service(L.ACTIVE, holds=(LIMITED, hold(ABUSE, HoldEffect.LIMIT))), ended=K.UNSUSPEND)
    assert left is not None
    assert left.arguments == {"reason": "abuse", "limits": ["abuse", "quota"]}


@given(
    st.lists(st.builds(hold, st.sampled_from(HoldReason), st.sampled_from(HoldEffect)), max_size=4, unique_by=lambda h: h.reason),
    st.none() | st.just(NOW),
    st.none() | st.just(NOW),
    st.sampled_from(IntentKind),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_jobs_follow_each_other_to_where_the_holds_say_and_then_end(
    holds: list[Hold], suspended: datetime | None, limited: datetime | None, ended: IntentKind, lucky: list[bool]
) -> None:
    """Whatever fails on the way: a suspension's end and then a limit is the most; without failures it is as its holds say."""
    record = service(L.ACTIVE, holds=tuple(holds), suspension_proven_at=suspended, limited_proven_at=limited)
    ran = []
    for well in lucky:
        left = follow_up(record, ended=ended)
        if left is None:
            break
        record = begin(record, left.kind)
        record = finish(record, left.kind, JobState.DONE if well else JobState.FAILED, "" if well else "driver-failed", now=NOW)
        ran.append((left.kind, well))
        ended = left.kind
    kinds = [kind for kind, _ in ran]
    assert kinds in ([], [K.SUSPEND], [K.UNSUSPEND], [K.LIMIT], [K.UNLIMIT], [K.UNSUSPEND, K.LIMIT], [K.UNSUSPEND, K.UNLIMIT])
    if ran and all(well for _, well in ran):
        assert record.stopped == (record.suspension_proven_at is not None)
        assert record.stopped or record.limited == (record.limited_proven_at is not None)
        assert record.holds == tuple(holds)


def test_what_waits_can_be_done_no_more_once_the_service_has_ended() -> None:
    assert [kind.value for kind in K if not never(service(L.ARCHIVED), kind)] == ["erase", "reactivate"]
    assert [kind for kind in K if not never(service(L.ERASED), kind) or not never(service(L.CANCELLED), kind)] == []
    assert [kind for kind in K if never(service(L.ACTIVE), kind) or never(service(L.PROVISIONING), kind)] == []


def test_the_end_of_a_termination_moves_nothing_where_another_one_has_begun() -> None:
    begun = service(L.TERMINATING)
    assert finish(begun, K.TERMINATE, JobState.CANCELLED, "", now=NOW, elsewhere=True) == begun
    assert finish(service(L.ACTIVE), K.TERMINATE, JobState.CANCELLED, "", now=NOW).state == L.ACTIVE, "it had not begun"
