"""Which backup is restored, whether it may be, and what becomes of the volumes that a restore leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.domain.backups.restoring import Asked, decide, pick
from orchestrator.domain.backups.words import Backup, BackupState, Generation, GenerationState
from orchestrator.domain.deadlines import Action, deadlines
from orchestrator.domain.decisions import command, fall_due
from orchestrator.domain.errors import NotFound
from orchestrator.domain.fence import closed
from orchestrator.domain.intents import Intent, IntentKind, JobState, Nothing, Refusal, StepState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.kept import after_job
from orchestrator.domain.kept_volumes import KeptKind, KeptVolume
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import NO_TERMS
from tests.unit.test_conduct import terms as policy_terms

NOW = datetime(2026, 11, 27, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
ACTIVE = Service(id="s1", client_id="c1", plan="small", state=Lifecycle.ACTIVE, node="n1")
ASKED = Asked(request_id="r1", why="it was hacked")


def backup(number: int, state: BackupState = BackupState.VERIFIED, *, generation: int = 1) -> Backup:
    at = NOW + number * timedelta(hours=1)
    return Backup(
        id=f"b{number}",
        service_id="s1",
        job_id=f"j{number}",
        generation=generation,
        begun_at=at,
        made_at=at,
        state=state,
        snapshot_id=f"{number}" * 8,
        size_bytes=5 * 10**9,
    )


def generation(number: int, state: GenerationState = GenerationState.MADE) -> Generation:
    return Generation(service_id="s1", number=number, target="main", wrapped_key=b"k", made_at=NOW, state=state)


def hold(reason: HoldReason, effect: HoldEffect = HoldEffect.STOP) -> Service:
    return ACTIVE.with_hold(Hold(reason=reason, effect=effect, by="billing", why="so", since=NOW))


# -- which backup ------------------------------------------------------------


def test_the_newest_verified_backup_is_restored_unless_one_is_named() -> None:
    known = [backup(1), backup(2), backup(3, BackupState.MADE), backup(4, BackupState.PARTIAL)]
    assert pick(known, [generation(1)], "") == known[1]
    assert pick(known, [generation(1)], "b1") == known[0]


def test_the_newest_is_the_one_that_was_begun_last_whatever_the_clock_said() -> None:
    ahead, after = replace(backup(9), number=1), replace(backup(2), number=2)
    assert pick([ahead, after], [generation(1)], "") == after


@pytest.mark.parametrize("state", [state for state in BackupState if state != BackupState.VERIFIED])
def test_what_is_not_verified_is_not_restored_even_if_it_is_named(state: BackupState) -> None:
    found = pick([backup(1, state)], [generation(1)], "b1")
    assert isinstance(found, Refusal)
    assert state.value in found.reason
    assert isinstance(pick([backup(1, state)], [generation(1)], ""), Refusal)


def test_a_backup_of_a_sound_repository_goes_before_a_newer_one_of_a_damaged_one() -> None:
    known = [backup(1, generation=2), backup(2, generation=1)]
    states = [generation(1, GenerationState.DAMAGED), generation(2)]
    assert pick(known, states, "") == known[0]
    assert pick(known[1:], states, "") == known[1]
    gone = [generation(1, GenerationState.DOOMED)]
    assert isinstance(pick([backup(2)], gone, ""), Refusal)
    assert isinstance(pick([backup(2)], gone, "b2"), Refusal)


def test_a_backup_that_nobody_knows_is_not_found() -> None:
    with pytest.raises(NotFound, match="b9"):
        pick([backup(1)], [generation(1)], "b9")


# -- whether it may be ------------------------------------------------------------


def test_a_restore_makes_a_job_that_names_backup_and_place() -> None:
    for beside, role in ((False, "disk"), (True, "beside")):
        made = decide(ACTIVE, replace(ASKED, beside=beside), backup(1), who="anna", terms=NO_TERMS).decision
        assert isinstance(made, Intent)
        assert (made.kind, made.arguments) == (IntentKind.RESTORE, {"backup": "b1", "role": role, "request": "r1"})


def test_a_held_service_is_restored_unless_its_policy_forbids_it_while_it_is_not_paid() -> None:
    forbids = policy_terms("tnet")
    owes = decide(hold(HoldReason.NONPAYMENT), ASKED, backup(1), who="anna", terms=forbids).decision
    assert isinstance(owes, Refusal)
    assert owes.rule.startswith("tnet: ")
    assert isinstance(decide(hold(HoldReason.ABUSE), ASKED, backup(1), who="anna", terms=forbids).decision, Intent)


@pytest.mark.parametrize("state", [state for state in Lifecycle if state != Lifecycle.ACTIVE])
def test_only_an_active_service_is_restored(state: Lifecycle) -> None:
    assert isinstance(decide(replace(ACTIVE, state=state), ASKED, backup(1), who="anna", terms=NO_TERMS).decision, Refusal)


def test_a_job_that_is_tried_again_restores_the_same_backup() -> None:
    arguments = {"backup": "b1", "role": "beside", "request": "r1"}
    again = command(IntentKind.RESTORE, ACTIVE, who="anna", why="again", now=NOW, arguments=arguments).decision
    assert isinstance(again, Intent)
    assert again.arguments == arguments
    bare = command(IntentKind.RESTORE, ACTIVE, who="anna", why="", now=NOW, arguments={}).decision
    assert isinstance(bare, Refusal)


# -- what it leaves ------------------------------------------------------------


def job(kind: IntentKind, **arguments: object) -> Job:
    return Job(
        id="j7",
        service_id="s1",
        intent=kind,
        playbook=f"vps-{kind}",
        state=JobState.RUNNING,
        reason="",
        asked_by="anna",
        payments=0,
        created_at=NOW,
        arguments=arguments,
    )


def step(name: str, state: StepState = StepState.DONE, **facts: Any) -> JobStep:
    return JobStep(job_id="j7", position=0, id=name, step=name, state=state, facts=facts)


def volume(name: str) -> dict[str, str]:
    return {"name": name, "path": f"/pool/{name}"}


def restored(*steps: JobStep, role: str = "disk", well: bool = True, service: Service = ACTIVE) -> tuple[KeptVolume, ...]:
    return after_job(service, job(IntentKind.RESTORE, role=role), steps, ended_well=well, now=NOW, keep=WEEK).kept


IN_PLACE = (step("restore.write", into=volume("new")), step("disk.switch", volume=volume("new"), safety=volume("old")))
SAFE = KeptVolume(name="old", kind=KeptKind.SAFETY_COPY, node="n1", path="/pool/old", job_id="j7", kept_at=NOW, until=NOW + WEEK)


def test_a_restore_in_place_leaves_the_old_disk_as_a_safety_copy_for_its_days() -> None:
    assert restored(*IN_PLACE) == (SAFE,)
    assert restored(*IN_PLACE, service=replace(ACTIVE, kept=(SAFE,))) == (SAFE,)


def test_a_restore_beside_leaves_its_new_volume() -> None:
    (kept,) = restored(IN_PLACE[0], role="beside")
    assert (kept.kind, kept.name, kept.until) == (KeptKind.BESIDE, "new", NOW + WEEK)


def test_a_restore_that_failed_or_was_undone_leaves_nothing() -> None:
    assert restored(*IN_PLACE, well=False) == ()
    assert restored(replace(IN_PLACE[0], state=StepState.UNDONE), role="beside") == ()


def test_what_was_wiped_is_not_kept_any_more_and_the_end_of_the_service_takes_all() -> None:
    other = replace(SAFE, name="other")
    keeps = replace(ACTIVE, kept=(SAFE, other))
    done = step("volume.discard", discarded=["old"])
    left = after_job(keeps, job(IntentKind.TIDY), [done], ended_well=False, now=NOW, keep=WEEK)
    assert left.kept == (other,)
    undone = after_job(keeps, job(IntentKind.TIDY), [replace(done, state=StepState.FAILED)], ended_well=False, now=NOW, keep=WEEK)
    assert undone == keeps
    ended = after_job(replace(keeps, state=Lifecycle.ERASED), job(IntentKind.TERMINATE), [], ended_well=True, now=NOW, keep=WEEK)
    assert ended.kept == ()


def test_each_kept_volume_falls_due_at_its_end_and_a_job_wipes_that_one() -> None:
    keeps = replace(ACTIVE, kept=(SAFE, replace(SAFE, name="later", until=NOW + 2 * WEEK)))
    due = [each for each in deadlines(keeps, NO_TERMS, told={}) if each.action == Action.TIDY]
    assert [(each.at, each.occurrence, each.waits) for each in due] == [(NOW + WEEK, "old", ""), (NOW + 2 * WEEK, "later", "")]
    made = fall_due(due[0], keeps, terms=NO_TERMS, now=NOW + WEEK).decision
    assert isinstance(made, Intent)
    assert (made.kind, made.arguments) == (IntentKind.TIDY, {"names": ["old"]})
    assert isinstance(fall_due(due[0], ACTIVE, terms=NO_TERMS, now=NOW + WEEK).decision, Nothing)


def test_what_is_kept_can_be_wiped_at_once_all_of_it() -> None:
    keeps = replace(ACTIVE, kept=(SAFE, replace(SAFE, name="later")))
    made = command(IntentKind.TIDY, keeps, who="anna", why="room", now=NOW, arguments={}).decision
    assert isinstance(made, Intent)
    assert made.arguments == {"names": ["old", "later"]}


@pytest.mark.parametrize(("reason", "effect"), [(HoldReason.LEGAL, HoldEffect.NONE), (HoldReason.ABUSE, HoldEffect.NO_ERASE)])
def test_a_hold_that_forbids_to_erase_keeps_a_copy_beyond_its_time(reason: HoldReason, effect: HoldEffect) -> None:
    keeps = replace(hold(reason, effect), kept=(SAFE,))
    (due,) = [each for each in deadlines(keeps, NO_TERMS, told={}) if each.action == Action.TIDY]
    assert due.waits == "a hold forbids erasing"
    assert isinstance(command(IntentKind.TIDY, keeps, who="anna", why="", now=NOW, arguments={}).decision, Refusal)
    assert "forbids erasing" in closed(keeps, kind=IntentKind.TIDY, payments=0)


def test_no_payment_keeps_a_copy_and_none_is_wiped_of_a_service_that_ends() -> None:
    assert closed(replace(ACTIVE, payments=3), kind=IntentKind.TIDY, payments=2) == ""
    ending = replace(ACTIVE, state=Lifecycle.TERMINATING, kept=(SAFE,))
    assert closed(ending, kind=IntentKind.TIDY, payments=0) != ""
    assert [each for each in deadlines(ending, NO_TERMS, told={}) if each.action == Action.TIDY] == []
