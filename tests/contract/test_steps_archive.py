"""The steps of the archive on the simulated node, and that the customer's data is always somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import FenceClosed, NotFound, OrchestratorError, PermanentDriverError, Refused, UndoFailed
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.fake.backup_store import digest
from orchestrator.drivers.fake.world import Where
from orchestrator.drivers.local.no_backups import NoBackups
from orchestrator.steps.base import Done, Facts
from tests.contract.stage import NOW, Stage, set_up
from tests.contract.test_playbooks import UNTIL, Play, play, provisioned

LETTERS = "the customer's letters"
# What changes the world, among the calls that the playbooks make.
ACTS = (
    "backups.keep",
    "backups.restore",
    "backups.destroy",
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


def copies(stage: Stage) -> list[str]:
    """Where the customer's data is whole: in volumes that nobody began to wipe and whose key is there, and in whole archives."""
    state = stage.world.read()
    node = state["nodes"]["n1"]
    keys = {name for name, secret in node["secrets"].items() if not secret["wiped"]}
    disks = [name for name, volume in node["volumes"].items() if volume["markers"] == [LETTERS] and name in keys]
    archives = [(key, archive) for key, archive in state.get("archives", {}).items() if archive["whole"]]
    kept = [key for key, archive in archives if [v["markers"] for v in archive["volumes"].values()] == [[LETTERS]]]
    return disks + kept


def keep_args(stage: Stage, facts: Facts) -> Facts:
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


# -- each step ------------------------------------------------------------------------


def test_keeping_copies_the_disk_and_not_the_seed_and_again_finds_it_done(stage: Stage) -> None:
    facts = stopped(stage)
    kept = stage.apply("archive.keep", keep_args(stage, facts), job="j2")
    assert (kept["id"], kept["node"], kept["job"], kept["until"]) == ("orch.s1.archive.j2", "n1", "j2", "2026-11-25T12:00:00Z")
    disk = facts["disk"]["volume"]["name"]
    assert [(v["name"], v["sha256"]) for v in kept["volumes"]] == [(disk, digest(stage.world.node("n1")["volumes"][disk]))]
    found = stage.check("archive.keep", keep_args(stage, facts), job="j2")
    assert isinstance(found, Done)
    assert (found.facts, found.made_by) == (kept, "j2")
    assert not isinstance(stage.check("archive.keep", keep_args(stage, facts), job="j3"), Done), "another job's is not this one's"


def test_undoing_it_destroys_what_this_job_kept_and_no_others(stage: Stage) -> None:
    facts = stopped(stage)
    stage.apply("archive.keep", keep_args(stage, facts), job="j2")
    stage.undo("archive.keep", keep_args(stage, facts), job="j3")
    assert len(copies(stage)) == 2
    stage.undo("archive.keep", keep_args(stage, facts), job="j2")
    assert copies(stage) == [facts["disk"]["volume"]["name"]]


def test_the_only_copy_is_not_undone(stage: Stage) -> None:
    facts = stopped(stage)
    stage.apply("archive.keep", keep_args(stage, facts), job="j2")
    with stage.world.change() as state:
        del state["nodes"]["n1"]["volumes"][facts["disk"]["volume"]["name"]]
    with pytest.raises(UndoFailed, match="only copy"):
        stage.undo("archive.keep", keep_args(stage, facts), job="j2")
    assert copies(stage) == ["orch.s1.archive.j2"]


def test_where_there_is_no_disk_nothing_is_kept_and_nothing_is_called_kept(stage: Stage) -> None:
    facts = stopped(stage)
    args = keep_args(stage, facts)
    with pytest.raises(NotFound, match="nothing to keep"):
        stage.apply("archive.keep", {**args, "volumes": args["volumes"][1:]}, job="j2")


def test_on_a_node_without_a_store_the_termination_stops_with_everything_there(stage: Stage) -> None:
    facts = written(stage)
    running = play(stage, "vps-terminate", facts)
    before = stage.snapshot()
    stage.ports = replace(stage.ports, backups=NoBackups)
    with pytest.raises(Refused, match="no backup store is configured for node n1"):
        running.run()
    running.undo()
    assert stage.snapshot() == before


def archived(stage: Stage, kind: IntentKind) -> Play:
    return play(stage, f"vps-{kind}", written(stage))


def test_what_is_brought_back_is_byte_for_byte_what_was_kept(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    (archive,) = stage.world.read()["archives"].values()
    made = running.run()
    disk = stage.world.node("n1")["volumes"][made["disk"]["volume"]["name"]]
    assert digest(disk) == next(iter(archive["volumes"].values()))["sha256"]
    assert stage.world.read()["archives"] == {}
    assert stage.guest()["power"] == "running"


def test_a_disk_that_the_guest_has_written_to_since_is_not_restored_again(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    made = running.run()
    disk = made["disk"]["volume"]["name"]
    stage.world.plant("n1", disk, "a new letter")
    running.run()
    assert stage.world.node("n1")["volumes"][disk]["markers"] == [LETTERS, "a new letter"]


def test_bringing_it_back_neither_minds_a_payment_nor_passes_a_point_of_no_return(stage: Stage) -> None:
    running = archived(stage, IntentKind.REACTIVATE)
    stage.pay()
    running.run()
    assert stage.service().point_of_no_return is None


@pytest.mark.parametrize("why", ["paid", "held"])
def test_the_last_copy_is_destroyed_past_the_fence_only(stage: Stage, why: str) -> None:
    running = archived(stage, IntentKind.ERASE)
    legal = Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, by="anna", why="a court", since=NOW)
    if why == "paid":
        stage.pay()
    else:
        stage.put(stage.service().with_hold(legal))
    with pytest.raises(FenceClosed):
        running.run()
    assert (copies(stage), stage.service().point_of_no_return) == (["orch.s1.archive.j2"], None)
    running.undo()


def test_an_erasure_notes_the_point_of_no_return_and_is_carried_to_its_end(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    stage.fails("backups.destroy", PermanentDriverError("broken off"), where="during")
    with pytest.raises(PermanentDriverError):
        running.run()
    assert (copies(stage), stage.service().point_of_no_return is None) == ([], False)
    with pytest.raises(UndoFailed):
        running.undo()
    stage.pay()
    running.run()
    assert stage.world.read()["archives"] == {}


def test_an_erasure_that_destroyed_nothing_leaves_no_point_of_no_return(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    stage.fails("backups.destroy", PermanentDriverError("no"))
    with pytest.raises(PermanentDriverError):
        running.run()
    assert (copies(stage), stage.service().point_of_no_return) == (["orch.s1.archive.j2"], None)


def test_what_is_left_of_another_archive_goes_too_and_nothing_left_is_what_is_proven(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    with stage.world.change() as state:
        torso = {**state["archives"]["orch.s1.archive.j2"], "whole": False, "job_id": "j0"}
        state["archives"]["orch.s1.archive.j0"] = torso
    archive = running.workflow.calls[0].args["archive"]
    with pytest.raises(PermanentDriverError, match=r"orch\.s1\.archive\.j0"):
        stage.run("archive.prove-gone", {"archive": archive}, job="j3")
    made = running.run()
    assert stage.world.read()["archives"] == {}
    assert [check["node"] for check in made["gone"]["checks"]] == ["n1"]


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
