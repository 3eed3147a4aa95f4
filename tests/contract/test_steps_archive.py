"""The steps of the archive on the simulated node, and that the customer's data is always somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.errors import NotFound, OrchestratorError, PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind
from orchestrator.drivers.fake.world import Where
from orchestrator.steps.base import Done, Facts
from orchestrator.store.backup_book import Places, StoreBackupBook
from tests.contract.stage import NODES, Stage, set_up
from tests.contract.test_playbooks import UNTIL, Play, play, provisioned

LETTERS = "the customer's letters"
# What changes the world, among the calls that the playbooks make.
ACTS = (
    "repositories.create",
    "repositories.backup",
    "repositories.restore",
    "repositories.forget",
    "repositories.destroy",
    "hypervisor.define",
    "hypervisor.undefine",
    "hypervisor.power",
    "volumes.create",
    "volumes.delete",
    "agent.volume-wipe",
    "agent.secret-wipe",
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


def written(stage: Stage) -> Facts:
    """A guest whose customer wrote to its disk; the service's facts."""
    facts = provisioned(stage)
    stage.world.plant("n1", facts["disk"]["volume"]["name"], LETTERS)
    return facts


def held(stage: Stage) -> list[list[str]]:
    """What the snapshots hold that can be read, the oldest first."""
    opened = [each for each in stage.world.read().get("repositories", {}).values() if each["password"]]
    rows = [row for each in opened for row in each["snapshots"].values() if not row["damaged"]]
    return [sorted(file["text"] for file in row["files"].values()) for row in rows]


def copies(stage: Stage) -> int:
    """How often the customer's data is whole: in volumes that nobody began to wipe and whose key is there, and in snapshots."""
    node = stage.world.read()["nodes"]["n1"]
    keys = {name for name, secret in node["secrets"].items() if not secret["wiped"]}
    disks = [name for name, volume in node["volumes"].items() if volume["markers"] == [LETTERS] and name in keys]
    return len(disks) + held(stage).count([LETTERS])


def keep_args(facts: Facts) -> Facts:
    volume = facts["disk"]["volume"]
    refs = [
        {"name": volume["name"], "path": volume["path"]},
        {"name": "orch.s1.seed.j1.iso", "path": "/pool/orch.s1.seed.j1.iso"},
    ]
    return {"node": "n1", "volumes": refs, "until": UNTIL}


def stopped(stage: Stage) -> Facts:
    facts = written(stage)
    stage.job(IntentKind.TERMINATE, "j2")
    stage.run("guest.stop", {"node": "n1", "grace_seconds": 1}, job="j2")
    return facts


# -- keeping ------------------------------------------------------------------------


def test_keeping_is_a_verified_backup_of_the_disk_and_not_of_the_seed_and_again_finds_it_done(stage: Stage) -> None:
    facts = stopped(stage)
    kept = stage.apply("archive.keep", keep_args(facts), job="j2")
    assert (kept["id"], kept["node"], kept["job"], kept["until"]) == ("orch.s1.archive.j2", "n1", "j2", "2026-11-25T12:00:00Z")
    (row,) = stage.ports.book.backups("s1")
    assert (row.state, row.snapshot_id, str(row.share)) == (BackupState.VERIFIED, kept["snapshot"], "1/1")
    assert (kept["disk"], held(stage)) == (facts["disk"]["volume"]["name"], [[LETTERS]])
    found = stage.check("archive.keep", keep_args(facts), job="j2")
    assert isinstance(found, Done)
    assert (found.facts, found.made_by) == (kept, "j2")
    assert not isinstance(stage.check("archive.keep", keep_args(facts), job="j3"), Done), "another job's is not this one's"


def test_what_was_kept_before_the_guest_ran_again_is_not_what_is_kept_after_it(stage: Stage) -> None:
    facts = stopped(stage)
    stage.apply("archive.keep", keep_args(facts), job="j2")
    stage.undo("archive.keep", keep_args(facts), job="j2")
    assert [row.state for row in stage.ports.book.backups("s1")] == [BackupState.VERIFIED], "it still counts for the service"
    stage.world.plant("n1", facts["disk"]["volume"]["name"], "a new letter")
    assert not isinstance(stage.check("archive.keep", keep_args(facts), job="j2"), Done)
    stage.apply("archive.keep", keep_args(facts), job="j2")
    assert held(stage) == [["a new letter", LETTERS]]


def test_a_copy_that_is_not_what_was_on_the_disk_is_no_archive(stage: Stage) -> None:
    facts = stopped(stage)
    stage.fails("repositories.verify", PermanentDriverError("ciphertext verification failed"))
    with pytest.raises(PermanentDriverError):
        stage.apply("archive.keep", keep_args(facts), job="j2")
    assert not isinstance(stage.check("archive.keep", keep_args(facts), job="j2"), Done)


def test_where_there_is_no_disk_or_more_than_one_nothing_is_called_kept(stage: Stage) -> None:
    facts = stopped(stage)
    args = keep_args(facts)
    with pytest.raises(NotFound, match="nothing to keep"):
        stage.apply("archive.keep", {**args, "volumes": args["volumes"][1:]}, job="j2")
    other = {"name": "orch.s1.disk.j0.qcow2", "path": "/pool/orch.s1.disk.j0.qcow2"}
    with pytest.raises(PermanentDriverError, match="several disks"):
        stage.apply("archive.keep", {**args, "volumes": [*args["volumes"], other]}, job="j2")


def test_on_a_node_without_a_target_the_termination_stops_with_everything_there(stage: Stage) -> None:
    facts = written(stage)
    running = play(stage, "vps-terminate", facts)
    before = stage.snapshot()
    places = Places(targets={}, nodes={node.name: node for node in NODES}, secret=str, trusted=str)
    book = StoreBackupBook(stage.db, secrets=stage.secrets, places=places, clock=stage.clock, random=bytes)
    stage.ports = replace(stage.ports, book=book)
    with pytest.raises(Refused, match="node n1 has no target for backups"):
        running.run()
    running.undo()
    assert stage.snapshot() == before


# -- bringing it back ------------------------------------------------------------------------


def archived(stage: Stage, kind: IntentKind) -> Play:
    return play(stage, f"vps-{kind}", written(stage))


def test_what_is_brought_back_is_what_was_kept_and_stays_as_the_last_backup(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    made = running.run()
    disk = stage.world.node("n1")["volumes"][made["disk"]["volume"]["name"]]
    assert (disk["markers"], disk["backing"], stage.guest()["power"]) == ([LETTERS], "", "running")
    assert [row.state for row in stage.ports.book.backups("s1")] == [BackupState.VERIFIED]


def test_a_disk_that_the_guest_has_written_to_since_is_not_restored_again(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    disk = running.run()["disk"]["volume"]["name"]
    stage.world.plant("n1", disk, "a new letter")
    running.run()
    assert stage.world.node("n1")["volumes"][disk]["markers"] == [LETTERS, "a new letter"]


def test_a_restore_that_was_broken_off_is_begun_anew_on_a_new_disk(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    stage.fails("repositories.restore", PermanentDriverError("broken off"), where="after")
    with pytest.raises(PermanentDriverError, match="broken off"):
        running.run()
    assert running.run()["disk"]["restored"] == "orch.s1.archive.j2"
    assert stage.guest()["power"] == "running"


def test_another_guest_of_the_name_keeps_its_disk(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    running.run()
    call = next(call for call in running.workflow.calls if call.step == "archive.restore")
    stage.job(IntentKind.REACTIVATE, "j9")
    before = stage.snapshot()
    with pytest.raises(PermanentDriverError, match="is defined on n1"):
        stage.apply("archive.restore", {**call.args, "node": "n1"}, job="j9")
    assert stage.snapshot() == before


def test_bringing_it_back_neither_minds_a_payment_nor_passes_a_point_of_no_return(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    stage.pay()
    running.run()
    assert stage.service().point_of_no_return is None


# -- the data is always somewhere -----------------------------------------------------


def calls(tmp_path: Path, kind: IntentKind) -> list[tuple[str, int]]:
    """The calls of the playbook that change the world, each with how often it had come before."""
    stage = set_up(tmp_path)
    running = play(stage, f"vps-{kind}", written(stage))
    begun = len(stage.world.journal())
    running.run()
    made = [call.method for call in stage.world.journal()[begun:] if call.method in ACTS]
    stage.close()
    return [(method, made[: at + 1].count(method)) for at, method in enumerate(made)]


@pytest.mark.parametrize("kind", [IntentKind.TERMINATE, IntentKind.REACTIVATE])
def test_broken_off_in_any_act_and_undone_or_carried_on_the_data_is_there(tmp_path: Path, kind: IntentKind) -> None:
    places: tuple[Where, ...] = ("before", "during", "after")
    tried = [(method, nth, where) for method, nth in calls(tmp_path / "reference", kind) for where in places]
    assert len(tried) >= 12
    lost: list[Any] = []
    for number, (method, nth, where) in enumerate(tried):
        stage = set_up(tmp_path / str(number))
        running = play(stage, f"vps-{kind}", written(stage))
        stage.world.fault(method, nth=nth, where=where, error=PermanentDriverError("broken off"))
        try:
            running.run()
        except OrchestratorError:
            lost += [] if copies(stage) else [(method, nth, where, "broken off")]
            stage.world.clear_faults()
            try:
                running.undo()
            except OrchestratorError:
                running.given.clear()
                running.run()
        lost += [] if copies(stage) else [(method, nth, where, "at rest")]
        stage.close()
    assert lost == []
