"""Backups of hosting accounts by the controller: in their slots, restored and counted, archived and brought back elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.drills import DrillState
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.parts import Parts
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import InDoubt, PermanentDriverError, Refused, RequestError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import Plan
from orchestrator.domain.policies import (
    Archive,
    Backup,
    BackupCaps,
    BackupOnRequest,
    BackupSchedule,
    LatePayment,
    LatePaymentEffect,
    Overdue,
    Policy,
    Restore,
    Suspend,
    Terminate,
    TerminateSince,
)
from orchestrator.domain.services import HoldReason
from orchestrator.drivers.fake.directories import put_file, texts
from orchestrator.drivers.fake.hosting_copies import break_database, database_text, write_database
from orchestrator.engine.settings import nothing_beside
from orchestrator.store import backups, drills
from tests.fault.house import NODES, House, Options
from tests.hosting_ground import HOST, LARGE, OTHER, SMALL, account, furnish
from tests.integration.test_due import DAY, HOUR, Year, record

USER = "h100001"
DIRECTORY = f"/srv/h/{USER}"
LETTERS, ROWS = "the customer's letters", "the customer's rows"
POLICY = Policy(
    name="default",
    provider="Example Hosting",
    overdue=Overdue(
        suspend=Suspend(clause="2", after=Days(2)),
        terminate=Terminate(clause="3", after=Days(3), since=TerminateSince.SUSPENSION),
    ),
    archive=Archive(keep={"hosting": Days(5)}, clause="kept"),
    late_payment=LatePayment(what=LatePaymentEffect.FROM_ARCHIVE, clause="late"),
    backup=Backup(
        schedule=BackupSchedule(clause="weekly", every={"hosting": Days(7)}),
        on_request=BackupOnRequest(clause="asked", at_most_every=Days(7)),
    ),
    restore=Restore(clause="restores", per_month=1, over_per_gb=100_000),
)
TARGET = NodeBackups(target="main")


class Hosted(Year):
    """Weeks of two hosting nodes with a target for backups."""

    plan: Plan = SMALL
    more_plans: tuple[Plan, ...] = (LARGE,)
    declared = (*NODES, HOST, OTHER)
    policy = POLICY
    drills = 0

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def at(self, point: str) -> None:
        """What is to be asked for at this point in the engine is asked for, once."""
        self.meanwhile.pop(point, lambda: None)()

    def begin(self) -> House:
        house = self.open(options=Options(backups={HOST.name: TARGET, OTHER.name: TARGET}, drills=self.drills))
        furnish(house.world, house.db, now=self.clock.now())
        return house


@pytest.fixture
def weeks(tmp_path: Path) -> Iterator[Hosted]:
    made = Hosted(tmp_path / "state")
    yield made
    made.close()


def bought(weeks: Hosted) -> House:
    """A paid account that its customer has filled."""
    house = weeks.begin()
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    fill(house, LETTERS, ROWS)
    return house


def fill(house: House, letters: str, rows: str, node: str = HOST.name) -> None:
    put_file(house.world, node, DIRECTORY, "home/letters", letters)
    write_database(house.world, node, USER, "main", rows)


def content(house: House, node: str = HOST.name) -> tuple[str | None, str]:
    return texts(house.world, node, DIRECTORY).get("home/letters"), database_text(house.world, node, USER, "main")


def backed_up(weeks: Hosted) -> House:
    house = bought(weeks)
    made = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={})
    job = house.wait(made.job_id)
    assert job.state == JobState.DONE, job.error
    return house


def restore(house: House, request: str = "r1", *, ends: JobState = JobState.DONE, **asked: Any) -> Any:
    wanted = Asked(request_id=request, why="a test", **asked)
    found = house.engine.restoring.restore("s1", wanted, who="anna", beside=nothing_beside)
    job = house.wait(found.submitted.job_id)
    assert job.state == ends, job.error
    return found


def acts(house: House) -> list[str]:
    return [job.intent.value for job in house.jobs("s1")]


def messages(house: House) -> list[str]:
    return [json.loads(body)["type"] for _, body, _ in house.notifier.deliveries()]


def test_an_account_is_backed_up_in_its_slot_and_the_next_one_replaces_it(weeks: Hosted) -> None:
    house = bought(weeks)
    weeks.later(8 * DAY)
    jobs = [job for job in house.jobs("s1") if job.intent == IntentKind.BACKUP]
    assert [job.state for job in jobs] == [JobState.DONE]
    assert jobs[0].reason == "a backup is made every 7 days [default: weekly]"
    weeks.later(7 * DAY)
    with house.db.read() as conn:
        states = [(row.state, row.consistency) for row in backups.of_service(conn, "s1")]
    assert states == [(BackupState.FORGOTTEN, "files"), (BackupState.VERIFIED, "files")]


def test_the_slots_of_the_week_hold_accounts_and_say_why_a_suspended_one_is_left_out(weeks: Hosted) -> None:
    house = bought(weeks)
    service = record(house)
    terms = house.catalog.terms_of(service)
    assert (terms.kind, terms.backups.node) == ("hosting", TARGET)
    assert service.activated_at is not None
    house.event("service.suspend", "s1", version=1, reason="abuse")
    weeks.later(9 * DAY)
    assert IntentKind.BACKUP.value not in acts(house)
    house.engine.conduct.lift("s1", HoldReason.ABUSE, "anna", "it is clean")
    weeks.later(2 * HOUR)
    assert IntentKind.BACKUP.value in acts(house), "what was missed is caught up"


def test_without_any_word_of_plan_or_policy_an_account_has_the_usual_caps(weeks: Hosted) -> None:
    house = bought(weeks)
    job = house.wait(house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={}).job_id)
    (make,) = [step for step in house.steps(job.id) if step.id == "make"]
    caps = [(cap["what"], cap["most"], cap["rule"]) for cap in (make.args or {})["caps"]]
    rule = "what holds for accounts by default"
    assert caps == [("bytes", 10_000_000_000, rule), ("inodes", 250_000, rule)]


def test_an_account_over_its_cap_is_told_to_billing_with_the_numbers(weeks: Hosted) -> None:
    weeks.policy = replace(
        POLICY, backup=replace(POLICY.backup, caps=BackupCaps(clause="5.4", size_bytes=10**9, inodes=3)), name="default"
    )
    house = bought(weeks)
    job = house.wait(house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={}).job_id)
    weeks.rest()
    assert (job.state, job.error_code) == (JobState.FAILED, "refused")
    assert "7 inodes (at most 3)" in job.error
    assert "backup.refused" in messages(house)
    assert texts(house.world, HOST.name, DIRECTORY) == {"home/letters": LETTERS}


def test_a_database_that_cannot_be_dumped_fails_the_job_with_its_name(weeks: Hosted) -> None:
    house = bought(weeks)
    break_database(house.world, HOST.name, USER, "main")
    job = house.wait(house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={}).job_id)
    assert (job.state, "h100001_main cannot be dumped" in job.error) == (JobState.FAILED, True)


# -- restores ------------------------------------------------------------


def test_a_restore_brings_files_and_databases_back_and_counts(weeks: Hosted) -> None:
    house = backed_up(weeks)
    before = account(house.world, USER)["open"]
    fill(house, "spoilt", "spoilt")
    restore(house)
    assert (content(house), account(house.world, USER)["open"]) == ((LETTERS, ROWS), before)
    assert record(house).kept == ()
    with pytest.raises(Refused, match=r"1 of 1 used in .* --pay .*Rp 100,000 for this one"):
        restore(house, "r2")
    paid = restore(house, "r2", pay=True, parts=Parts(paths=("letters",)))
    assert paid.granted.charge.amount == 100_000
    weeks.rest()
    assert "charge.made" in messages(house)


def test_one_that_fails_waits_closed_for_a_person_and_called_off_is_open_and_given_back(weeks: Hosted) -> None:
    house = backed_up(weeks)
    before = account(house.world, USER)["open"]
    house.world.fault("hosting.load", nth=0, error=PermanentDriverError("MariaDB is down"))
    found = restore(house, ends=JobState.NEEDS_OPERATOR)
    job_id = found.submitted.job_id
    assert "MariaDB is down" in house.job(job_id).error
    assert account(house.world, USER)["open"] == []
    house.engine.cancel(job_id, who="anna")
    assert house.wait(job_id, JobState.CANCELLED).state == JobState.CANCELLED
    weeks.rest()
    assert account(house.world, USER)["open"] == before
    with house.db.read() as conn:
        assert [each.state.value for each in backups.restores_of(conn, "s1")] == ["given-back"]


def test_one_that_fails_goes_on_where_it_stopped_when_it_is_tried_again(weeks: Hosted) -> None:
    house = backed_up(weeks)
    fill(house, "spoilt", "spoilt")
    house.world.fault("hosting.load", nth=0, error=PermanentDriverError("MariaDB is down"))
    job_id = restore(house, ends=JobState.NEEDS_OPERATOR).submitted.job_id
    house.world.clear_faults()
    house.engine.retry(job_id, who="anna")
    assert house.wait(job_id, JobState.DONE).state == JobState.DONE
    assert content(house) == (LETTERS, ROWS)


HALF = ("carried on", "called off")


def half_restored(weeks: Hosted, *, suspended_before: bool) -> tuple[House, str]:
    """An account that is suspended, and whose restore waits for a person half way; that job."""
    house = backed_up(weeks)
    fill(house, "spoilt", "spoilt")
    if suspended_before:
        house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="x", arguments={"reason": "nonpayment"})
        weeks.rest()
    house.world.fault("hosting.load", nth=0, error=PermanentDriverError("MariaDB is down"))
    job_id = restore(house, ends=JobState.NEEDS_OPERATOR).submitted.job_id
    house.world.clear_faults()
    if not suspended_before:
        house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="x", arguments={"reason": "nonpayment"})
        weeks.rest()
    assert record(house).suspension_proven_at is not None
    return house, job_id


@pytest.mark.parametrize("suspended_before", [True, False])
@pytest.mark.parametrize("how", HALF)
def test_paid_while_a_restore_waits_half_way_it_opens_when_that_is_over_and_not_before(
    weeks: Hosted, how: str, suspended_before: bool
) -> None:
    house, job_id = half_restored(weeks, suspended_before=suspended_before)
    house.event("invoice.paid", "s1", invoice_id="i1")
    weeks.rest()
    assert (account(house.world, USER)["open"], content(house)) == ([], (LETTERS, "spoilt"))
    (told,) = [job for job in house.jobs("s1") if job.intent == IntentKind.UNSUSPEND]
    assert (told.state, told.error_code) == (JobState.FAILED, "refused")
    assert f"restore {job_id} has written half of it and is needs_operator" in told.error
    heard = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    (said,) = [each["data"] for each in heard if each["type"] == "job.failed" and each["data"]["intent"] == "unsuspend"]
    assert said["error"] == told.error

    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={}).job_id
    weeks.rest()
    assert house.job(check).state.final
    assert [job.id for job in house.jobs("s1") if job.intent == IntentKind.UNSUSPEND] == [told.id], "asked for once, not for ever"
    assert account(house.world, USER)["open"] == []

    if how == "carried on":
        house.engine.retry(job_id, who="anna")
    else:
        house.engine.cancel(job_id, who="anna")
    weeks.rest()
    assert house.job(job_id).state == (JobState.DONE if how == "carried on" else JobState.CANCELLED)
    last = house.jobs("s1")[-1]
    assert (last.intent, last.state, last.asked_by) == (IntentKind.UNSUSPEND, JobState.DONE, "orchestrator")
    assert (len(account(house.world, USER)["open"]), account(house.world, USER)["manifest"]) == (11, None)
    assert (record(house).suspension_proven_at, record(house).holds) == (None, ())
    assert content(house) == (LETTERS, ROWS if how == "carried on" else "spoilt")


@pytest.mark.parametrize("how", HALF)
def test_one_that_is_still_held_when_its_restore_is_over_stays_closed_and_opens_with_the_hold(weeks: Hosted, how: str) -> None:
    house, job_id = half_restored(weeks, suspended_before=False)
    (house.engine.retry if how == "carried on" else house.engine.cancel)(job_id, who="anna")
    weeks.rest()
    assert (account(house.world, USER)["open"], acts(house)[-1]) == ([], "suspend")
    house.event("invoice.paid", "s1", invoice_id="i1")
    weeks.rest()
    assert (len(account(house.world, USER)["open"]), acts(house)[-1]) == (11, "unsuspend")


def test_the_same_request_is_the_same_restore_and_of_other_parts_it_is_refused(weeks: Hosted) -> None:
    house = backed_up(weeks)
    first = restore(house, parts=Parts(paths=("letters",)))
    assert restore(house, parts=Parts(paths=("letters",))).submitted.job_id == first.submitted.job_id
    with pytest.raises(Refused, match="r1 was asked for before, and of something else"):
        restore(house)


@pytest.mark.parametrize("path", ["", "/", "..", "a/../b", "a//b", "./a", "a\0b"])
def test_what_is_no_path_of_a_home_is_refused_before_anything_is_done(weeks: Hosted, path: str) -> None:
    house = backed_up(weeks)
    with pytest.raises(RequestError, match="is no path inside the home"):
        restore(house, parts=Parts(paths=(path,)))
    assert IntentKind.RESTORE.value not in acts(house)


def test_aside_it_is_kept_for_its_days_and_then_removed(weeks: Hosted) -> None:
    house = backed_up(weeks)
    fill(house, "newer", "newer")
    found = restore(house, beside=True)
    name = found.submitted.job_id
    (kept,) = record(house).kept
    assert (kept.name, kept.kind.value, kept.path, kept.node) == (name, "beside", f"{DIRECTORY}/restored/{name}", HOST.name)
    assert texts(house.world, HOST.name, kept.path)["home/letters"] == LETTERS
    assert content(house) == ("newer", "newer")
    weeks.later(7 * DAY - 2 * HOUR)
    assert len(record(house).kept) == 1
    weeks.later(4 * HOUR)
    assert (record(house).kept, texts(house.world, HOST.name, kept.path)) == ((), {})
    assert "restored aside was kept until then" in next(job for job in house.jobs("s1") if job.intent == IntentKind.TIDY).reason


def checked(house: House) -> str:
    """What a check of the account says; '' = nothing."""
    job = house.wait(house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={}).job_id)
    return job.error


def test_a_check_names_what_stands_beside_the_home_and_nothing_explains(weeks: Hosted) -> None:
    house = backed_up(weeks)
    assert checked(house) == ""
    kept = restore(house, beside=True).submitted.job_id
    assert checked(house) == "", "the record says why it is there"
    put_file(house.world, HOST.name, f"{DIRECTORY}/restored/drill-old", "home/letters", "x")
    put_file(house.world, HOST.name, DIRECTORY, "backup/account.json", "{}")
    said = checked(house)
    assert "restored/drill-old stands aside, and no record and no job says why" in said
    assert "a pack of it stands in its directory" in said
    assert kept not in said
    house.engine.drilling.now("s1", who="anna", why="")
    weeks.later(8 * DAY)
    assert checked(house) == "", "the next drill, or restore aside, and the next backup take them away"


@pytest.mark.parametrize("beside", [False, True])
def test_a_check_takes_what_a_waiting_restore_has_left_for_explained(weeks: Hosted, beside: bool) -> None:
    house = backed_up(weeks)
    method = "repositories.restore" if beside else "hosting.load"
    house.world.fault(method, nth=0, where="during" if beside else "before", error=InDoubt("the answer was lost"))
    job_id = restore(house, ends=JobState.NEEDS_OPERATOR, beside=beside).submitted.job_id
    found = [path for path in house.world.node(HOST.name)["directories"] if "restored" in path]
    assert found == ([f"{DIRECTORY}/restored/{job_id}"] if beside else [])
    assert any(path.startswith("backup/") for path in texts(house.world, HOST.name, DIRECTORY)) != beside
    said = checked(house)
    assert ("restored/" in said, "pack" in said) == (False, False)


def test_of_two_that_stand_aside_each_goes_at_its_own_time(weeks: Hosted) -> None:
    house = backed_up(weeks)
    first = restore(house, beside=True).submitted.job_id
    weeks.later(DAY)
    second = restore(house, "r2", beside=True, pay=True).submitted.job_id
    assert account(house.world, USER)["shown"] == sorted([first, second])
    weeks.later(6 * DAY + HOUR)
    assert (account(house.world, USER)["shown"], [each.name for each in record(house).kept]) == ([second], [second])


def test_a_dry_run_tells_the_room_beside_and_changes_nothing(weeks: Hosted) -> None:
    house = backed_up(weeks)
    would = house.engine.restoring.would("s1", Asked(request_id="?", beside=True), who="anna")
    assert would.room.startswith("h1 has room for it (")
    assert would.workflow is not None
    assert [call.step for call in would.workflow.calls if not call.skipped] == ["account.restore-aside"]
    would = house.engine.restoring.would("s1", Asked(request_id="?"), who="anna")
    assert would.workflow is not None
    assert [call.step for call in would.workflow.calls if not call.skipped] == [
        "account.restorable",
        "account.close",
        "account.restore",
        "account.load",
        "account.unpack",
        "account.reopen",
    ]
    assert IntentKind.RESTORE.value not in acts(house)


def test_accounts_are_drilled_as_guests_are_and_nothing_is_left(weeks: Hosted) -> None:
    weeks.drills = 1
    house = backed_up(weeks)
    before = texts(house.world, HOST.name, DIRECTORY)
    end = weeks.clock.ahead + 7 * DAY
    while weeks.clock.ahead < end:
        weeks.later(timedelta(hours=2))
        house.engine.drilling.once()
        weeks.rest()
    with house.db.read() as conn:
        made = drills.list_page(conn)[0]
    assert made
    assert {(each.state, each.signature, each.node) for each in made} == {(DrillState.PASSED, "3 files", HOST.name)}
    assert texts(house.world, HOST.name, DIRECTORY) == before
    assert [path for path in house.world.node(HOST.name)["directories"] if "restored" in path] == []


def begun(house: House) -> list[str]:
    """The intents of the jobs in the order in which they began to run."""
    jobs = [job for job in house.jobs("s1") if job.started_at is not None]
    return [job.intent.value for job in sorted(jobs, key=lambda job: job.started_at or job.created_at)]


@pytest.mark.parametrize("kind", [IntentKind.SUSPEND, IntentKind.TERMINATE, IntentKind.UNSUSPEND, IntentKind.RESTORE])
def test_a_running_drill_is_broken_off_in_its_step_for_what_somebody_waits_for(weeks: Hosted, kind: IntentKind) -> None:
    house = backed_up(weeks)
    if kind == IntentKind.UNSUSPEND:
        house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="x", arguments={})
        weeks.rest()

    def ask() -> None:
        if kind == IntentKind.RESTORE:
            house.engine.restoring.restore("s1", Asked(request_id="r1"), who="anna", beside=nothing_beside)
        else:
            house.engine.command(kind, "s1", who="anna", why="x", arguments={})

    weeks.meanwhile["hosting-drill/restore/before"] = ask
    drill_id = house.engine.drilling.now("s1", who="anna", why="").job_id
    weeks.rest()
    drill, wanted = house.job(drill_id), house.jobs("s1")[-1]
    assert (drill.state, drill.error.startswith("stopped for something that its customer")) == (JobState.CANCELLED, True)
    assert (wanted.intent, wanted.state, wanted.error) == (kind, JobState.DONE, "")
    restores = [call for call in house.world.journal() if call.method == "repositories.restore"]
    assert len(restores) == (1 if kind == IntentKind.RESTORE else 0), "the drill came not to its first file"
    with house.db.read() as conn:
        assert [each.state for each in drills.list_page(conn)[0]] == [DrillState.CALLED_OFF]
    assert [path for path in house.world.node(HOST.name)["directories"] if "restored" in path] == []


def test_a_drill_that_has_not_begun_ends_before_it_does_anything(weeks: Hosted) -> None:
    house = backed_up(weeks)

    def ask() -> None:
        house.engine.drilling.now("s1", who="anna", why="")
        house.engine.command(IntentKind.SUSPEND, "s1", who="anna", why="x", arguments={})

    weeks.meanwhile["hosting-check/account/before"] = ask
    house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    weeks.rest()
    check, drill, suspend = house.jobs("s1")[-3:]
    assert (check.intent, drill.intent, suspend.intent) == (IntentKind.CHECK, IntentKind.DRILL, IntentKind.SUSPEND)
    assert (check.state, drill.state, suspend.state) == (JobState.DONE, JobState.CANCELLED, JobState.DONE)
    assert [call.method for call in house.world.journal() if call.method == "repositories.restore"] == []


def test_what_nobody_waits_for_waits_for_the_end_of_a_drill(weeks: Hosted) -> None:
    house = bought(weeks)
    job_id = house.engine.command(IntentKind.BACKUP, "s1", who="anna", why="", arguments={}).job_id
    house.wait(job_id)
    weeks.meanwhile["hosting-drill/restore/before"] = lambda: house.engine.command(
        IntentKind.CHECK, "s1", who="anna", why="", arguments={}
    )
    drill = house.engine.drilling.now("s1", who="anna", why="").job_id
    weeks.rest()
    assert (house.job(drill).state, begun(house)[-2:]) == (JobState.DONE, ["drill", "check"])


# -- the whole way ------------------------------------------------------------


def test_from_the_order_to_the_archive_and_back_onto_another_node(weeks: Hosted) -> None:
    house = bought(weeks)
    weeks.later(8 * DAY)
    fill(house, "spoilt", "spoilt")
    restore(house)
    assert content(house) == (LETTERS, ROWS)
    fill(house, "the last letters", "the last rows")
    house.event("invoice.overdue", "s1", invoice_id="i1", due_at=weeks.clock.now().isoformat())
    weeks.later(2 * DAY + HOUR)
    assert record(house).suspension_proven_at is not None
    weeks.later(3 * DAY + HOUR)
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state) == (IntentKind.TERMINATE, JobState.WAITING_APPROVAL)
    house.engine.approve(job.id, "anna")
    weeks.rest()
    assert (house.state("s1"), account(house.world, USER)) == ("archived", {})
    furnish(house.world, house.db, now=weeks.clock.now(), node=OTHER)
    weeks.close()
    weeks.declared = (*NODES, replace(HOST, maintenance=True), OTHER)
    house = weeks.open(options=Options(backups={HOST.name: TARGET, OTHER.name: TARGET}))
    house.event("invoice.paid", "s1", invoice_id="i1")
    weeks.rest()
    assert (house.state("s1"), record(house).node) == ("active", OTHER.name), house.jobs("s1")[-1].error
    assert content(house, OTHER.name) == ("the last letters", "the last rows")
    there = house.world.node(OTHER.name)["accounts"][USER]
    assert (there["service_id"], there["manifest"], len(there["open"])) == ("s1", None, 11)
    weeks.later(8 * DAY)
    made = [job for job in house.jobs("s1") if job.intent == IntentKind.BACKUP]
    assert made[-1].state == JobState.DONE, made[-1].error
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    weeks.rest()
    assert house.state("s1") == "archived"
    weeks.later(5 * DAY + 2 * HOUR)
    house.engine.approve(house.jobs("s1")[-1].id, "anna")
    weeks.rest()
    assert (house.state("s1"), house.world.read()["repositories"]) == ("erased", {})
    assert "certificate.issued" in messages(house)


def test_paid_while_its_archive_is_kept_it_is_open_as_it_was(weeks: Hosted) -> None:
    house = bought(weeks)
    before = account(house.world, USER)["open"]
    house.world.fault("repositories.verify", nth=0, error=PermanentDriverError("ciphertext"))
    house.engine.command(IntentKind.TERMINATE, "s1", who="anna", why="left", arguments={})
    weeks.rest()
    job = house.jobs("s1")[-1]
    assert (job.intent, job.state, house.state("s1")) == (IntentKind.TERMINATE, JobState.FAILED, "active")
    assert (content(house), account(house.world, USER)["open"]) == ((LETTERS, ROWS), before)
    assert [path for path in texts(house.world, HOST.name, DIRECTORY) if path.startswith("backup/")] == []
