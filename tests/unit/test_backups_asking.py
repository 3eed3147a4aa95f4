"""Backups that fall due and that are asked for, and what their end does to the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain.backups.asking import RULE_TARGETS, requested
from orchestrator.domain.backups.schedule import WEEK
from orchestrator.domain.calendar import Days
from orchestrator.domain.deadlines import Action, Deadline, deadlines
from orchestrator.domain.decisions import command, fall_due
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.forecast import forecast
from orchestrator.domain.intents import Intent, IntentKind, JobState, Refusal
from orchestrator.domain.outcomes import begin, finish
from orchestrator.domain.policies import SILENT, Backup, BackupOnRequest
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms
from tests.unit.test_backups_schedule import ACTIVE, DAY, NOW, first, held, terms

ON_REQUEST = replace(SILENT, name="tnet", backup=Backup(on_request=BackupOnRequest(clause="Backup Data", at_most_every=Days(7))))


def due(service: Service, by: Terms) -> list[Deadline]:
    return [each for each in deadlines(service, by, told={}) if each.action == Action.BACKUP]


def ended(service: Service, state: JobState, code: str = "", *, after: timedelta = DAY, on_request: bool = False) -> Service:
    return finish(service, IntentKind.BACKUP, state, code, now=NOW + after, on_request=on_request)


def test_the_next_slot_falls_due_and_is_told_by_its_clause() -> None:
    (deadline,) = due(ACTIVE, terms())
    slot = first("s1", terms())[0]
    assert (deadline.at, deadline.occurrence) == (slot, slot.isoformat())
    assert (deadline.reason, deadline.clause) == ("a backup is made every 7 days", "VPS 5")
    assert due(ACTIVE, terms(bought=True))[0].reason == "a backup is made every day"


def test_who_is_left_out_has_no_deadline_and_catches_up_when_nothing_is_in_the_way_any_more() -> None:
    suspended = held(HoldReason.NONPAYMENT, HoldEffect.STOP)
    assert due(suspended, terms()) == []
    assert due(ACTIVE, terms(node=None)) == []
    assert due(replace(ACTIVE, state=Lifecycle.TERMINATING), terms()) == []
    resumed = suspended.without_hold(HoldReason.NONPAYMENT)
    assert due(resumed, terms()) == due(ACTIVE, terms())


def test_a_slot_that_has_come_makes_a_job_that_carries_it() -> None:
    (deadline,) = due(ACTIVE, terms())
    intent = fall_due(deadline, ACTIVE, terms=terms(), now=deadline.at).decision
    assert isinstance(intent, Intent)
    assert (intent.kind, intent.arguments) == (IntentKind.BACKUP, {"slot": deadline.occurrence})
    assert intent.reason == "a backup is made every 7 days [herza: VPS 5]"


@pytest.mark.parametrize(
    ("state", "code", "seen"),
    [
        (JobState.DONE, "", True),
        (JobState.FAILED, Refused.code, True),
        (JobState.CANCELLED, "", True),
        (JobState.FAILED, PermanentDriverError.code, False),
        (JobState.NEEDS_OPERATOR, "", False),
    ],
)
def test_the_end_of_a_run_sees_to_what_has_passed_unless_it_failed(state: JobState, code: str, seen: bool) -> None:
    late = 30 * DAY
    after = ended(ACTIVE, state, code, after=late)
    assert after.backups_seen_to == (NOW + late if seen else None)
    (deadline,) = due(after, terms())
    slots = first("s1", terms(), 6)
    assert deadline.at == (next(slot for slot in slots if slot > NOW + late) if seen else slots[0])
    assert after.backup_asked_at is None


def test_what_is_seen_to_never_goes_back() -> None:
    after = replace(ACTIVE, backups_seen_to=NOW + WEEK)
    assert ended(after, JobState.DONE).backups_seen_to == NOW + WEEK


def test_a_backup_that_was_asked_for_sees_to_no_slot_and_counts_only_where_it_was_made() -> None:
    made = ended(ACTIVE, JobState.DONE, on_request=True)
    assert (made.backups_seen_to, made.backup_asked_at) == (None, NOW + DAY)
    for state, code in ((JobState.FAILED, Refused.code), (JobState.CANCELLED, ""), (JobState.FAILED, "")):
        assert ended(ACTIVE, state, code, on_request=True) == ACTIVE


def test_a_backup_may_be_asked_for_once_in_so_many_days() -> None:
    by = terms(policy=ON_REQUEST)
    last = replace(ACTIVE, backup_asked_at=NOW)
    first_one = requested(ACTIVE, who="anna", why="", terms=by, now=NOW)
    assert isinstance(first_one.decision, Intent)
    assert first_one.decision.arguments == {"on_request": True}
    too_soon = requested(last, who="anna", why="", terms=by, now=NOW + 7 * DAY - timedelta(seconds=1)).decision
    assert too_soon == Refusal(
        reason="backup refused: one that was asked for was made 2026-11-20 03:00:00Z, at most one in 7 days; "
        "the next one may be asked for 2026-11-27 03:00:00Z",
        rule="tnet: Backup Data",
    )
    assert isinstance(requested(last, who="anna", why="", terms=by, now=NOW + 7 * DAY).decision, Intent)
    assert isinstance(requested(last, who="anna", why="", terms=terms(), now=NOW).decision, Intent)


def test_where_no_target_is_nobody_is_promised_one() -> None:
    refusal = command(IntentKind.BACKUP, ACTIVE, who="anna", why="", now=NOW, arguments={}, terms=terms(node=None)).decision
    assert isinstance(refusal, Refusal)
    assert refusal.rule == RULE_TARGETS
    made = command(IntentKind.BACKUP, ACTIVE, who="anna", why="", now=NOW, arguments={}, terms=terms()).decision
    assert isinstance(made, Intent)


def test_what_lasts_is_told_before_what_passes_by_itself() -> None:
    last = replace(ACTIVE, backup_asked_at=NOW)
    refusal = requested(last, who="anna", why="", terms=terms(node=None, policy=ON_REQUEST), now=NOW).decision
    assert isinstance(refusal, Refusal)
    assert refusal.rule == RULE_TARGETS


def test_the_forecast_leaves_backups_to_their_own_plan() -> None:
    assert forecast(ACTIVE, terms(), now=NOW, until=NOW + 60 * DAY, told={}) == ()


@pytest.mark.parametrize("kind", [IntentKind.BACKUP, IntentKind.RESTORE])
def test_nothing_is_backed_up_or_restored_of_a_service_that_has_left_meanwhile(kind: IntentKind) -> None:
    assert begin(ACTIVE, kind) == ACTIVE
    with pytest.raises(Exception, match="needs an active one"):
        begin(replace(ACTIVE, state=Lifecycle.TERMINATING), kind)
