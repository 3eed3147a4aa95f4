"""What the beginning and the end of a job do to a service, and what its end leaves to do."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import FenceClosed, Refused, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.outcomes import begin, finish, follow_up
from orchestrator.domain.services import HoldReason, Lifecycle, Service
from tests.unit.decision_words import MONTH, NOW, K, L, service

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


def test_an_erased_service_keeps_nothing_to_log_in_with_and_no_hold() -> None:
    before = service(
        L.TERMINATING, HoldReason.NONPAYMENT, ssh_keys=("ssh-ed25519 AAAA",), password_hash="$6$salt$hash", point_of_no_return=NOW
    )
    after = finish(before, K.TERMINATE, JobState.DONE, "", now=NOW)
    assert (after.ssh_keys, after.password_hash, after.holds) == ((), "", ())


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
