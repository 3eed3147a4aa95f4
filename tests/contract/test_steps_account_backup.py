"""Backups, restores and archives of accounts on the simulated node: a verified backup stands at every instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.backups.words import BackupState, GenerationState
from orchestrator.domain.errors import (
    FenceClosed,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    WrongState,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.fake import FakeHostingNode
from orchestrator.drivers.fake.directories import drop_file, put_file, texts
from orchestrator.drivers.fake.hosting import close_ways, stick
from orchestrator.drivers.fake.hosting_copies import add_cron, break_database, database_text, write_database
from orchestrator.drivers.fake.repositories import damage, leave_lock
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.store import nodes
from orchestrator.store.tables import service_nodes
from orchestrator.wiring.links import as_node
from tests.contract.account_stage import DIRECTORY, USER, AccountStage
from tests.contract.stage import NOW
from tests.contract.test_playbooks import UNTIL, BrokenOff, Play
from tests.contract.test_playbooks_hosting import archived, restoring, written
from tests.hosting_ground import HOST, OTHER, furnish

LETTERS, ROWS = "the customer's letters", "the customer's rows"
REPOSITORY = "s1.1"
RESTORES = "repositories.restore"
# What is done in one act has no middle.
AT_ONCE = ("hosting.load", "hosting.unpack", "hosting.show_restored", "repositories.verify")


def moments(*methods: str) -> list[tuple[str, str]]:
    """Where each of these can be cut off."""
    at = ("before", "during", "after")
    return [(method, moment) for method in methods for moment in at if moment != "during" or method not in AT_ONCE]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[AccountStage]:
    built = AccountStage(tmp_path)
    yield built
    built.close()


def held(stage: AccountStage) -> list[dict[str, str]]:
    """What the snapshots hold that can be read, the oldest first."""
    kept = stage.world.read().get("repositories", {}).get(REPOSITORY, {"password": None})
    rows = kept["snapshots"].values() if kept["password"] else ()
    return [{path: file["text"] for path, file in row["files"].items()} for row in rows]


def good(stage: AccountStage) -> list[str]:
    """The jobs whose backups the book calls verified."""
    return [each.job_id for each in stage.ports.book.backups("s1") if each.state == BackupState.VERIFIED]


def backed_up(stage: AccountStage, facts: Facts, job: str = "j2", **caps: int) -> dict[str, Facts]:
    more = {"caps": [{"what": what, "most": most, "rule": "plan hosting-small"} for what, most in caps.items()]} if caps else {}
    return Play(stage, "hosting-backup", job, facts=facts, more=more).run()


def rows(stage: AccountStage, node: str = HOST.name) -> str:
    return database_text(stage.world, node, USER, "main")


# -- backups ------------------------------------------------------------------------


def test_a_backup_has_the_home_the_databases_and_the_settings_and_leaves_nothing_beside_them(stage: AccountStage) -> None:
    facts = written(stage)
    before = stage.snapshot()
    backed_up(stage, facts)
    (found,) = held(stage)
    assert (found["home/letters"], found["backup/databases/main.sql"]) == (LETTERS, ROWS)
    assert "shop.example" in found["backup/account.json"]
    (row,) = stage.ports.book.backups("s1")
    assert (row.state, row.consistency, row.inodes > 3) == (BackupState.VERIFIED, "files", True)
    assert stage.snapshot() == before


def test_a_suspended_account_is_backed_up_as_any_other_and_stays_suspended(stage: AccountStage) -> None:
    facts = written(stage)
    stage.job(IntentKind.SUSPEND, "j9")
    Play(stage, "hosting-suspend", "j9", facts=facts).run()
    before = stage.snapshot()
    backed_up(stage, facts)
    assert (good(stage), stage.snapshot()) == (["j2"], before)


def test_a_database_that_cannot_be_dumped_makes_the_backup_red_and_the_last_one_stays(stage: AccountStage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    before = held(stage)
    write_database(stage.world, HOST.name, USER, "main", "newer rows")
    break_database(stage.world, HOST.name, USER, "main")
    running = Play(stage, "hosting-backup", "j3", facts=facts)
    with pytest.raises(PermanentDriverError, match="h100001_main cannot be dumped"):
        running.run()
    running.undo()
    assert (good(stage), held(stage), stage.packed()) == (["j2"], before, [])


@pytest.mark.parametrize(
    ("caps", "words"), [({"bytes": 30}, r"560 B \(at most 30 B\)"), ({"inodes": 6}, r"7 inodes \(at most 6\)")]
)
def test_an_account_over_its_cap_is_refused_with_the_numbers_and_the_last_backup_stays(
    stage: AccountStage, caps: dict[str, int], words: str
) -> None:
    facts = written(stage)
    backed_up(stage, facts, bytes=10_000, inodes=7)
    before = held(stage)
    running = Play(
        stage,
        "hosting-backup",
        "j3",
        facts=facts,
        more={"caps": [{"what": what, "most": most, "rule": "plan hosting-small"} for what, most in caps.items()]},
    )
    with pytest.raises(Refused, match=rf"{words}.*plan hosting-small"):
        running.run()
    running.undo()
    assert (good(stage), held(stage), stage.packed()) == (["j2"], before, [])


def test_a_file_that_cannot_be_read_makes_no_backup_that_counts(stage: AccountStage) -> None:
    facts = written(stage)
    put_file(stage.world, HOST.name, DIRECTORY, "home/secret", "x", unreadable=True)
    running = Play(stage, "hosting-backup", "j2", facts=facts)
    with pytest.raises(PermanentDriverError, match="could not be read: /home/secret"):
        running.run()
    running.undo()
    assert (good(stage), stage.packed()) == ([], [])


@pytest.mark.parametrize(
    ("method", "moment"),
    moments("hosting.pack", "repositories.backup", "repositories.verify", "repositories.forget", "hosting.unpack"),
)
def test_a_backup_that_is_cut_off_anywhere_goes_on_and_a_verified_one_stands_meanwhile(
    stage: AccountStage, method: str, moment: Any
) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    write_database(stage.world, HOST.name, USER, "main", "newer rows")
    stage.write("letters", "newer letters")
    running = Play(stage, "hosting-backup", "j3", facts=facts)
    stage.fails(method, TransientDriverError("the connection broke"), where=moment)
    with pytest.raises(TransientDriverError):
        running.run()
    whole = [(found.get("home/letters"), found.get("backup/databases/main.sql")) for found in held(stage)]
    assert good(stage)
    assert (LETTERS, ROWS) in whole or ("newer letters", "newer rows") in whole
    stage.world.clear_faults()
    running.given.clear()
    running.run()
    (found,) = held(stage)
    assert (good(stage), found["home/letters"], found["backup/databases/main.sql"]) == (["j3"], "newer letters", "newer rows")
    assert stage.packed() == []


# -- in place ------------------------------------------------------------------------


def changed(stage: AccountStage) -> tuple[Facts, dict[str, Facts]]:
    """An account that was backed up (j2), and has changed in all its parts since; a restore is under way (j3)."""
    facts = written(stage)
    stage.write("sites/main/public/index.php", "<?php")
    add_cron(stage.world, HOST.name, USER, "5 5 * * * mine")
    made = backed_up(stage, facts)
    stage.write("letters", "spoilt")
    stage.write("newer", "written since")
    drop_file(stage.world, HOST.name, DIRECTORY, "home/sites/main/public/index.php")
    write_database(stage.world, HOST.name, USER, "main", "spoilt rows")
    with stage.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["own_cron"] = []
    stage.job(IntentKind.RESTORE, "j3")
    return facts, made


def restore(stage: AccountStage, facts: Facts, made: dict[str, Facts], job: str = "j3", **named: Any) -> Play:
    return Play(stage, "hosting-restore", job, facts=facts, more=restoring(made, **named))


def test_in_place_files_databases_and_crontab_are_as_they_were_and_what_is_newer_stays(stage: AccountStage) -> None:
    facts, made = changed(stage)
    before = stage.account()
    restore(stage, facts, made).run()
    assert stage.home() == {"letters": LETTERS, "sites/main/public/index.php": "<?php", "newer": "written since"}
    assert (rows(stage), stage.account()["own_cron"], stage.packed()) == (ROWS, ["5 5 * * * mine"], [])
    assert (stage.account()["open"], stage.account()["manifest"]) == (before["open"], None), "it is open as it was"


def test_what_is_newer_goes_only_where_that_is_asked_for(stage: AccountStage) -> None:
    facts, made = changed(stage)
    found = restore(stage, facts, made, delete=True).run()
    assert stage.home() == {"letters": LETTERS, "sites/main/public/index.php": "<?php"}
    assert found["restore"]["deleted"] == 1


def test_a_single_path_is_restored_and_nothing_else(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, paths=("sites/main",)).run()
    assert stage.home() == {"letters": "spoilt", "sites/main/public/index.php": "<?php", "newer": "written since"}
    assert (rows(stage), stage.packed(), stage.account()["own_cron"]) == ("spoilt rows", [], [])


def test_a_single_database_is_restored_and_no_file(stage: AccountStage) -> None:
    facts, made = changed(stage)
    found = restore(stage, facts, made, databases=("main",)).run()
    assert (rows(stage), stage.home()["letters"], found["load"]["loaded"]) == (ROWS, "spoilt", ["main"])
    assert (stage.account()["own_cron"], stage.packed()) == ([], [])


def test_a_path_and_a_database_are_restored_together_and_no_line_of_the_crontab(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, paths=("sites",), databases=("main",)).run()
    assert (rows(stage), stage.home()["letters"], stage.account()["own_cron"]) == (ROWS, "spoilt", [])
    assert stage.home()["sites/main/public/index.php"] == "<?php"


def test_files_alone_leave_the_databases_as_they_are(stage: AccountStage) -> None:
    facts, made = changed(stage)
    found = restore(stage, facts, made, load=False).run()
    assert (rows(stage), stage.home()["letters"], "load" in found) == ("spoilt rows", LETTERS, False)
    assert stage.account()["own_cron"] == []


def test_nobody_gets_in_and_nothing_runs_while_it_is_written(stage: AccountStage) -> None:
    facts, made = changed(stage)
    running = restore(stage, facts, made)
    for step in ("restore", "load", "unpack", "reopen"):
        running.given.clear()
        with pytest.raises(BrokenOff):
            running.run(break_off_at=step)
        assert stage.account()["open"] == [], step


@pytest.mark.parametrize("lifted", [False, True])
def test_an_account_that_was_suspended_is_restored_and_stays_suspended(stage: AccountStage, lifted: bool) -> None:
    """Also where its hold is lifted already: what opens it is the job of that."""
    facts, made = changed(stage)
    close_ways(stage.world, HOST.name, USER, "ssh-key")
    stage.job(IntentKind.SUSPEND, "j8")
    Play(stage, "hosting-suspend", "j8", facts=facts).run()
    before = stage.account()
    if lifted:
        stage.put(stage.service().without_hold(HoldReason.NONPAYMENT))
    restore(stage, facts, made).run()
    after = stage.account()
    assert (after["open"], after["manifest"], rows(stage)) == (before["open"], before["manifest"], ROWS)


def test_where_something_of_it_still_runs_nothing_is_written_and_it_is_as_before(stage: AccountStage) -> None:
    facts, made = changed(stage)
    stick(stage.world, HOST.name, USER, "processes")
    before = stage.snapshot()
    running = restore(stage, facts, made)
    with pytest.raises(PermanentDriverError, match="could not be closed: 1 processes of h100001 run"):
        running.run()
    running.undo()
    assert (stage.snapshot(), stage.home()["letters"]) == (before, "spoilt")


@pytest.mark.parametrize(("step", "method"), [("restore", RESTORES), ("load", "hosting.load")])
def test_one_that_somebody_has_opened_while_its_restore_waited_is_closed_before_it_is_written_over(
    stage: AccountStage, step: str, method: str
) -> None:
    facts, made = changed(stage)
    running = restore(stage, facts, made)
    with pytest.raises(BrokenOff):
        running.run(break_off_at=step)
    stage.ports.hosting(HOST.name).unsuspend(USER, service_id="s1", job_id="j8", deadline=5)
    stage.fails(method, PermanentDriverError("no"), where="after")
    running.given.clear()
    with pytest.raises(PermanentDriverError):
        stage.apply(
            f"account.{step}", {"node": HOST.name, **({"backup": made["make"]["backup"]} if step == "restore" else {})}, job="j3"
        )
    assert stage.account()["open"] == []
    running.run()
    assert (stage.account()["manifest"], rows(stage)) == (None, ROWS)


@pytest.mark.parametrize("called_off", [False, True])
def test_one_that_was_held_while_its_restore_waited_is_not_opened_by_it(stage: AccountStage, called_off: bool) -> None:
    facts, made = changed(stage)
    running = restore(stage, facts, made)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="load")
    stage.job(IntentKind.SUSPEND, "j8")
    Play(stage, "hosting-suspend", "j8", facts=facts).run()
    running.given.clear()
    if called_off:
        running.undo()
    else:
        running.run()
    assert (stage.account()["open"], stage.account()["manifest"] is None) == ([], False)
    stage.put(stage.service().without_hold(HoldReason.NONPAYMENT))
    Play(stage, "hosting-unsuspend", "j9", facts=facts).run()
    assert (len(stage.account()["open"]), stage.account()["manifest"]) == (11, None)


def test_a_restore_that_cannot_begin_closes_nothing(stage: AccountStage) -> None:
    facts, made = changed(stage)
    before = stage.snapshot()
    args = {"node": HOST.name, "backup": made["make"]["backup"]}
    leave_lock(stage.world, f"/srv/backup/{REPOSITORY}")
    with pytest.raises(TransientDriverError, match="locked"):
        restore(stage, facts, made).run()
    with stage.world.change() as state:
        state["repositories"][REPOSITORY]["locks"] = []
        state["repositories"][REPOSITORY]["snapshots"].clear()
    with pytest.raises(NotFound, match="is not held any more"):
        restore(stage, facts, made).run()
    with pytest.raises(NotFound, match="no backup b9"):
        stage.check("account.restorable", {**args, "backup": "b9"}, job="j3")
    stage.ports.book.write(replace(stage.ports.book.backups("s1")[0], state=BackupState.FORGOTTEN))
    with pytest.raises(WrongState, match="cannot be restored from"):
        stage.check("account.restorable", args, job="j3")
    assert stage.snapshot() == before


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"paths": ("sites/main", "sites/mian")}, r"does not hold sites/mian \("),
        ({"databases": ("main", "none")}, r"does not hold the database none \("),
        ({"paths": ("sites/mian",), "beside": True}, r"does not hold sites/mian \("),
    ],
)
def test_what_the_backup_does_not_hold_is_said_before_anything_is_closed(
    stage: AccountStage, named: dict[str, Any], told: str
) -> None:
    facts, made = changed(stage)
    before = stage.snapshot()
    with pytest.raises(NotFound, match=told):
        restore(stage, facts, made, **named).run()
    assert stage.snapshot() == before


@pytest.mark.parametrize(
    ("method", "moment"), moments("hosting.suspend", RESTORES, "hosting.load", "hosting.unpack", "hosting.unsuspend")
)
def test_a_restore_that_is_cut_off_anywhere_goes_on_to_its_end(stage: AccountStage, method: str, moment: Any) -> None:
    facts, made = changed(stage)
    before = stage.account()["open"]
    running = restore(stage, facts, made)
    stage.fails(method, TransientDriverError("the connection broke"), where=moment)
    with pytest.raises(TransientDriverError):
        running.run()
    stage.world.clear_faults()
    running.given.clear()
    running.run()
    assert (stage.home()["letters"], rows(stage), stage.packed()) == (LETTERS, ROWS, [])
    assert (stage.account()["open"], stage.account()["manifest"]) == (before, None)


def test_a_restore_that_fails_half_way_is_opened_again_when_a_person_calls_it_off(stage: AccountStage) -> None:
    facts, made = changed(stage)
    before = stage.account()["open"]
    running = restore(stage, facts, made)
    stage.fails(RESTORES, PermanentDriverError("no room is left"), where="during")
    with pytest.raises(PermanentDriverError):
        running.run()
    assert stage.account()["open"] == [], "half a home is shown to nobody"
    running.undo()
    assert (stage.account()["open"], stage.account()["manifest"]) == (before, None)


def test_an_account_that_does_not_come_back_as_it_was_is_said(stage: AccountStage) -> None:
    facts, made = changed(stage)
    running = restore(stage, facts, made)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="reopen")
    with stage.world.change() as state:
        there = state["nodes"][HOST.name]["accounts"][USER]
        there["manifest"]["open"].remove("cron")
        there["open"] = ["cron"]
    running.given.clear()
    with pytest.raises(PermanentDriverError, match="not as it was: cron is not as it was"):
        stage.apply("account.reopen", {"node": HOST.name}, job="j3")


# -- aside ------------------------------------------------------------------------


def aside(stage: AccountStage, job: str, node: str = HOST.name) -> dict[str, str]:
    return texts(stage.world, node, f"{DIRECTORY}/restored/{job}")


def test_aside_the_home_stays_and_the_customer_may_read_what_was_restored(stage: AccountStage) -> None:
    facts, made = changed(stage)
    before = (stage.home(), rows(stage), stage.account()["open"])
    found = restore(stage, facts, made, beside=True).run()
    assert found["aside"]["into"] == {"name": "j3", "path": f"{DIRECTORY}/restored/j3"}
    assert (aside(stage, "j3")["home/letters"], aside(stage, "j3")["backup/databases/main.sql"]) == (LETTERS, ROWS)
    assert stage.account()["shown"] == ["j3"]
    assert (stage.home(), rows(stage), stage.account()["open"]) == before


def test_single_paths_are_restored_aside_too(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, beside=True, paths=("sites",)).run()
    assert list(aside(stage, "j3")) == ["home/sites/main/public/index.php"]


def test_what_was_restored_before_stays_beside_it_and_goes_by_itself(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, beside=True).run()
    again = Play(stage, "hosting-restore", "j4", facts=facts, more={**restoring(made, beside=True), "kept": ["j3"]})
    again.run()
    assert stage.account()["shown"] == ["j3", "j4"]
    again.undo()
    assert stage.account()["shown"] == ["j3"]
    again.given.clear()
    again.run()
    stage.job(IntentKind.TIDY, "j5")
    Play(stage, "hosting-tidy", "j5", facts=facts, more={"names": ["j3"], "kept": ["j3", "j4"]}).run()
    assert (aside(stage, "j3"), stage.account()["shown"]) == ({}, ["j4"])


@pytest.mark.parametrize(("method", "moment"), moments(RESTORES, "hosting.show_restored"))
def test_one_that_is_broken_off_is_shown_to_nobody_and_made_anew(stage: AccountStage, method: str, moment: Any) -> None:
    facts, made = changed(stage)
    running = restore(stage, facts, made, beside=True)
    stage.fails(method, TransientDriverError("the connection broke"), where=moment)
    with pytest.raises(TransientDriverError):
        running.run()
    assert stage.account()["shown"] == []
    stage.world.clear_faults()
    running.given.clear()
    running.run()
    assert (aside(stage, "j3")["home/letters"], stage.account()["shown"]) == (LETTERS, ["j3"])


def test_without_room_on_the_node_nothing_is_written_aside(stage: AccountStage) -> None:
    facts, made = changed(stage)
    row = stage.ports.book.backups("s1")[0]
    stage.ports.book.write(replace(row, size_bytes=1 << 50))
    with pytest.raises(NoCapacity, match=r"1024 TiB are needed on h1"):
        restore(stage, facts, made, beside=True).run()
    assert aside(stage, "j3") == {}


def test_what_was_restored_aside_stays_where_a_hold_forbids_to_erase(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, beside=True).run()
    legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="anna", why="a court", since=NOW)
    stage.put(stage.service().with_hold(legal))
    stage.job(IntentKind.TIDY, "j5")
    with pytest.raises(FenceClosed):
        Play(stage, "hosting-tidy", "j5", facts=facts, more={"names": ["j3"], "kept": ["j3"]}).run()
    assert stage.account()["shown"] == ["j3"]


def test_a_drill_is_shown_to_nobody_counts_the_files_and_leaves_nothing(stage: AccountStage) -> None:
    facts, made = changed(stage)
    restore(stage, facts, made, beside=True).run()
    stage.job(IntentKind.DRILL, "j4")
    before = stage.snapshot()
    running = Play(stage, "hosting-drill", "j4", facts=facts, more={**restoring(made), "role": "drill", "kept": ["j3"]})
    with pytest.raises(BrokenOff):
        running.run(break_off_at="discard")
    assert (aside(stage, "drill-j4")["home/letters"], stage.account()["shown"]) == (LETTERS, ["j3"])
    running.given.clear()
    assert running.run()["restore"]["signature"] == "4 files"
    assert (aside(stage, "drill-j4"), stage.snapshot()) == ({}, before)


# -- the archive ------------------------------------------------------------------------


def ending(stage: AccountStage, facts: Facts, job: str = "j2") -> Play:
    stage.job(IntentKind.TERMINATE, job)
    return Play(stage, "hosting-terminate", job, facts=facts, until=UNTIL)


def certificate(stage: AccountStage) -> dict[str, Any]:
    found = stage.ledger.certificate("s1")
    assert found is not None
    return dict(found)


def test_a_termination_keeps_one_archive_of_the_closed_account_and_destroys_the_rest(stage: AccountStage) -> None:
    facts = written(stage)
    backed_up(stage, facts, "j7")
    found = ending(stage, facts).run()
    assert (found["archive"]["id"], found["archive"]["disk"], found["archive"]["node"]) == ("orch.s1.archive.j2", USER, HOST.name)
    (kept,) = held(stage)
    assert (kept["home/letters"], kept["backup/databases/main.sql"]) == (LETTERS, ROWS)
    assert (stage.account(), stage.world.node(HOST.name)["directories"]) == ({}, {})
    told = certificate(stage)
    ((copy,), (volume,)) = told["copies"], told["volumes"]
    assert (copy["kind"], copy["id"], copy["until"][:10]) == ("archive", found["archive"]["id"], "2026-11-25")
    assert volume["path"] == DIRECTORY


def test_an_account_that_is_not_closed_is_not_archived(stage: AccountStage) -> None:
    facts = written(stage)
    stage.job(IntentKind.TERMINATE, "j2")
    with pytest.raises(PermanentDriverError, match="is not closed"):
        stage.apply("account.archive", {"node": facts["node"], "until": UNTIL}, job="j2")
    assert good(stage) == []


def test_what_was_kept_before_the_account_was_open_again_is_not_what_is_kept_after_it(stage: AccountStage) -> None:
    facts = written(stage)
    running = ending(stage, facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    running.undo()
    assert [row.state for row in stage.ports.book.backups("s1")] == [BackupState.VERIFIED], "it still counts for the service"
    stage.write("letters", "a new letter")
    args = {"node": HOST.name, "until": UNTIL}
    assert isinstance(stage.check("account.archive", args, job="j2"), Needed)
    again = ending(stage, facts, "j3")
    again.run()
    assert [found["home/letters"] for found in held(stage)] == ["a new letter"]


def test_its_archive_has_no_cap(stage: AccountStage) -> None:
    facts = written(stage)
    more = {"caps": [{"what": "bytes", "most": 1, "rule": "plan"}]}
    stage.job(IntentKind.TERMINATE, "j2")
    Play(stage, "hosting-terminate", "j2", facts=facts, until=UNTIL, more=more).run()
    assert len(held(stage)) == 1


def test_an_archive_that_a_person_gave_up_after_the_wipe_holds_nothing_up(stage: AccountStage) -> None:
    facts = written(stage)
    running = ending(stage, facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="backups")
    stage.ports.book.mark("s1", 1, GenerationState.GIVEN_UP, why="lost")
    row = stage.ports.book.backups("s1")[0]
    stage.ports.book.write(replace(row, state=BackupState.FORGOTTEN))
    found = stage.check("account.archive", {"node": HOST.name, "until": UNTIL}, job="j2")
    assert found == Done({})


def test_an_archived_account_comes_back_on_another_node_with_files_databases_and_crontab(stage: AccountStage) -> None:
    facts = written(stage)
    add_cron(stage.world, HOST.name, USER, "5 5 * * * mine")
    kept = archived(stage, facts)
    furnish(stage.world, stage.db, now=NOW, node=OTHER)
    stage.world.set_node(HOST.name, pool_bytes=0)
    stage.job(IntentKind.REACTIVATE, "j3")
    _look_again(stage)
    made = Play(stage, "hosting-reactivate", "j3", facts=kept).run()
    assert (made["place"]["node"], made["account"]["user"]) == (OTHER.name, USER)
    there = stage.world.node(OTHER.name)["accounts"][USER]
    assert (stage.home(OTHER.name), rows(stage, OTHER.name)) == ({"letters": LETTERS}, ROWS)
    assert (there["own_cron"], there["manifest"], stage.packed(OTHER.name)) == (["5 5 * * * mine"], None, [])
    assert len(held(stage)) == 1, "the archive is the last of its backups"


PACKED, NEWER = "*" + "A" * 40, "*" + "B" * 40


@pytest.mark.parametrize(("set_since", "has"), [("", PACKED), (NEWER, NEWER)])
def test_back_from_the_archive_its_programs_log_in_as_before_unless_another_password_was_set(
    stage: AccountStage, set_since: str, has: str
) -> None:
    facts = written(stage)
    set_hash(stage, PACKED)
    kept = archived(stage, facts)
    if set_since:
        stage.spec["account"]["databases"][0]["password_hash"] = set_since
    stage.job(IntentKind.REACTIVATE, "j3")
    made = Play(stage, "hosting-reactivate", "j3", facts=kept).run()
    (found,) = stage.account()["databases"]
    assert found["password_hash"] == has
    assert PACKED not in str(made), "no hash stands with a job"


def set_hash(stage: AccountStage, value: str) -> None:
    with stage.world.change() as state:
        state["nodes"][HOST.name]["accounts"][USER]["databases"][0]["password_hash"] = value


@pytest.mark.parametrize(("named", "has"), [(("main",), ""), ((), PACKED)])
def test_a_database_that_is_named_brings_no_login_back_and_all_of_them_do(
    stage: AccountStage, named: tuple[str, ...], has: str
) -> None:
    facts = written(stage)
    set_hash(stage, PACKED)
    made = backed_up(stage, facts)
    set_hash(stage, "")
    stage.job(IntentKind.RESTORE, "j3")
    restore(stage, facts, made, databases=named).run()
    assert stage.account()["databases"][0]["password_hash"] == has


@pytest.mark.parametrize("method", [RESTORES, "hosting.load", "hosting.unsuspend"])
def test_a_reactivation_that_fails_leaves_the_archive_and_nothing_else(stage: AccountStage, method: str) -> None:
    kept = archived(stage, written(stage))
    before, archive = stage.snapshot(), held(stage)
    stage.job(IntentKind.REACTIVATE, "j3")
    running = Play(stage, "hosting-reactivate", "j3", facts=kept)
    stage.world.fault(method, where="after", error=PermanentDriverError("no"))
    with pytest.raises(PermanentDriverError):
        running.run()
    stage.world.clear_faults()
    running.undo()
    assert (stage.snapshot(), held(stage)) == (before, archive)
    assert archive


def test_a_half_made_account_is_never_open_while_it_comes_back(stage: AccountStage) -> None:
    kept = archived(stage, written(stage))
    stage.job(IntentKind.REACTIVATE, "j3")
    for step in ("restore", "load", "unpack", "reopen"):
        running = Play(stage, "hosting-reactivate", "j3", facts=kept)
        with pytest.raises(BrokenOff):
            running.run(break_off_at=step)
        assert stage.account()["open"] == [], step


def test_erased_its_archive_and_key_are_gone_and_certified(stage: AccountStage) -> None:
    kept = archived(stage, written(stage))
    stage.job(IntentKind.ERASE, "j3")
    stage.clock.advance(timedelta(days=5))
    Play(stage, "hosting-erase", "j3", facts=kept).run()
    assert held(stage) == []
    told = certificate(stage)
    assert (told["format"], told["archive"]["id"]) == ("orchestrator/erasure-certificate", kept["archive"]["id"])


@pytest.mark.parametrize("until", ["", UNTIL])
def test_the_cache_of_its_backups_goes_from_the_node_where_it_is(stage: AccountStage, until: str) -> None:
    """And not from the one that it came to last before it came back here."""
    facts = written(stage)
    backed_up(stage, facts, "j7")
    furnish(stage.world, stage.db, now=NOW, node=OTHER)
    with stage.db.write() as conn:
        later = {"service_id": "s1", "node": OTHER.name, "since": NOW + timedelta(days=1)}
        conn.execute(sa.insert(service_nodes).values(**later))
    assert stage.world.node(HOST.name)["caches"] == [f"/srv/backup/{REPOSITORY}"]
    stage.job(IntentKind.TERMINATE, "j2")
    Play(stage, "hosting-terminate", "j2", facts=facts, until=until).run()
    assert (stage.world.node(HOST.name)["caches"], len(held(stage))) == ([], 1 if until else 0)


def test_a_damaged_archive_ends_nothing(stage: AccountStage) -> None:
    facts = written(stage)
    backed_up(stage, facts, "j7")
    damage(stage.world, f"/srv/backup/{REPOSITORY}", stage.ports.book.backups("s1")[0].snapshot_id)
    running = ending(stage, facts)
    with pytest.raises(OrchestratorError, match="damaged"):
        running.run()
    running.undo()
    assert (stage.home(), rows(stage), stage.account()["manifest"]) == ({"letters": LETTERS}, ROWS, None)


def _look_again(stage: AccountStage) -> None:
    """What the first node has is seen anew: it has no room any more."""
    facts = as_node(FakeHostingNode(stage.world, HOST.name).doctor(deadline=5))
    with stage.db.write() as conn:
        nodes.set_seen(conn, HOST.name, facts, now=NOW)
