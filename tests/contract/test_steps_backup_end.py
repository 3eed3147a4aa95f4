"""The end of a service's backups on the simulated node: what is destroyed, what is told of it, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.targets import Target, Way
from orchestrator.domain.backups.words import GenerationState
from orchestrator.domain.errors import (
    FenceClosed,
    NotFound,
    OrchestratorError,
    PermanentDriverError,
    TransientDriverError,
    UndoFailed,
    WrongState,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.fake import FakeRepositories
from orchestrator.steps.base import Done, Facts
from orchestrator.store import audit
from orchestrator.store.backup_book import EXPORTED
from tests.backup_books import book_of
from tests.contract.stage import NODES, NOW, Stage, set_up
from tests.contract.test_playbooks import BrokenOff, Play, play, provisioned
from tests.contract.test_steps_archive import LETTERS, archived, held, written

LONG = 60.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


def backed_up(stage: Stage, job: str = "b1") -> Facts:
    """A guest with a verified backup; the service's facts."""
    facts = written(stage)
    again(stage, facts, job)
    return facts


def again(stage: Stage, facts: Facts, job: str) -> None:
    stage.job(IntentKind.BACKUP, job)
    Play(stage, "vps-backup", job, facts=facts).run()


def ending(stage: Stage, facts: Facts, job: str = "j8") -> Play:
    """A termination without an archive."""
    stage.job(IntentKind.TERMINATE, job)
    return Play(stage, "vps-terminate", job, facts=facts)


def certificate(stage: Stage) -> dict[str, Any]:
    found = stage.ledger.certificate("s1")
    assert found is not None
    return found


def repositories(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.world.read().get("repositories", {})
    return found


def test_a_termination_destroys_repository_cache_and_key_and_its_certificate_says_so(stage: Stage) -> None:
    facts = backed_up(stage)
    (row,), (generation,) = stage.ports.book.backups("s1"), stage.ports.book.generations("s1")
    access = stage.ports.book.access(generation)
    assert stage.world.node("n1")["caches"] == [access.location]
    ending(stage, facts).run()
    assert (repositories(stage), stage.world.node("n1")["caches"]) == ({}, [])
    with pytest.raises(NotFound):
        stage.ports.repositories("n1").snapshots(access, deadline=LONG)
    with pytest.raises(WrongState, match="was destroyed"):
        stage.ports.book.access(generation)
    told = certificate(stage)
    (gone,) = told["backups"]
    assert (gone["generation"], gone["target"], gone["state"]) == (1, "main", "destroyed")
    assert (gone["snapshots"], gone["key_destroyed_at"]) == ([row.snapshot_id], "2026-11-20T12:00:00Z")
    assert "found no repository" in gone["seen"][0]
    assert told["copies"] == []


def test_every_generation_goes_also_one_that_is_damaged(stage: Stage) -> None:
    facts = backed_up(stage)
    stage.ports.book.mark("s1", 1, GenerationState.DAMAGED, why="a flipped bit")
    again(stage, facts, "b2")
    stage.ports.book.begin("s1", node="n1")  # its repository was never made
    ending(stage, facts).run()
    assert repositories(stage) == {}
    assert [each["state"] for each in certificate(stage)["backups"]] == ["destroyed", "destroyed", "given-up"]


def test_a_repository_that_is_not_found_is_not_called_destroyed_and_its_key_goes(stage: Stage) -> None:
    facts = backed_up(stage)
    with stage.world.change() as state:
        away = state.pop("repositories")
    ending(stage, facts).run()
    (gone,) = certificate(stage)["backups"]
    assert (gone["state"], "It was not found" in gone["seen"][0]) == ("given-up", True)
    with stage.world.change() as state:
        state["repositories"] = away
    (generation,) = stage.ports.book.generations("s1")
    assert (generation.state, generation.wrapped_key) == (GenerationState.GIVEN_UP, b"")


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("repositories.snapshots", TransientDriverError("no route to host")),
        ("repositories.destroy", WrongState("there is no directory /srv/backup: is its disk mounted?")),
    ],
)
def test_while_its_place_cannot_be_reached_nothing_is_certified(stage: Stage, method: str, error: OrchestratorError) -> None:
    facts = backed_up(stage)
    running = ending(stage, facts)
    stage.fails(method, error, nth=0)
    with pytest.raises(type(error)):
        running.run()
    assert (stage.ledger.certificate("s1"), stage.addresses.lease("s1") is not None) == (None, True)
    stage.world.clear_faults()
    running.given.clear()
    running.run()
    assert [each["state"] for each in certificate(stage)["backups"]] == ["destroyed"]


def test_one_that_still_opens_is_not_called_destroyed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = backed_up(stage)
    monkeypatch.setattr(FakeRepositories, "destroy", lambda *_args, **_more: None)
    with pytest.raises(PermanentDriverError, match="still opens"):
        ending(stage, facts).run()
    (generation,) = stage.ports.book.generations("s1")
    assert (generation.state, bool(generation.wrapped_key)) == (GenerationState.DOOMED, True)


def test_what_the_node_may_not_delete_its_keeper_does_and_both_find_nothing(stage: Stage) -> None:
    ways = (Way(location="/srv/append-only"), Way(location="/srv/keeper"))
    target = Target(name="main", way=ways[0], keeper=ways[1])
    stage.ports = replace(stage.ports, book=book_of(stage.db, stage.secrets, NODES, stage.clock, target=target))
    facts = backed_up(stage)
    ending(stage, facts).run()
    assert (repositories(stage), stage.world.node("n1")["caches"]) == ({}, [])


def test_a_cache_on_a_node_that_the_service_has_left_goes_too(stage: Stage) -> None:
    facts = backed_up(stage)
    with stage.world.change() as state:
        state["nodes"]["n1"]["caches"].append("/srv/backup/s2.1")
    running = ending(stage, facts)
    running.run()
    with stage.world.change() as state:
        state["nodes"]["n1"]["caches"].append("/srv/backup/s1.1")
    found = stage.apply("residue.prove", {}, job="j8")
    assert found["checks"][0]["removed"] == ["cache of /srv/backup/s1.1"]
    assert stage.world.node("n1")["caches"] == ["/srv/backup/s2.1"], "another service's stays"


def test_exported_keys_are_told_once_with_the_last_time(stage: Stage) -> None:
    facts = backed_up(stage)
    with stage.db.write() as conn:
        for days in (-1, 0, 3):
            audit.append(conn, at=NOW + timedelta(days=days), who="anna", what=EXPORTED, facts={})
    ending(stage, facts).run()
    (copy,) = certificate(stage)["copies"]
    assert (copy["kind"], copy["kept_at"], copy["until"]) == ("exported-keys", "2026-11-23T12:00:00Z", "")
    assert "2 times" in copy["says"]
    assert "open nothing that is there any more" in copy["says"]


def test_a_service_without_backups_is_certified_with_none(stage: Stage) -> None:
    ending(stage, provisioned(stage)).run()
    assert (certificate(stage)["backups"], certificate(stage)["copies"]) == ([], [])


# -- beside an archive ------------------------------------------------------------------------


def test_beside_the_archive_every_other_snapshot_and_generation_goes(stage: Stage) -> None:
    facts = backed_up(stage)
    stage.ports.book.mark("s1", 1, GenerationState.DAMAGED, why="a flipped bit")
    with stage.world.change() as state:
        snapshots = state["repositories"]["s1.1"]["snapshots"]
        (row,) = snapshots.values()
        snapshots["f" * 64] = {**row, "id": "f" * 64, "service_id": "", "job_id": ""}  # a stranger's: no backup replaces it
    again(stage, facts, "b2")
    running = play(stage, "vps-terminate", facts)
    made = running.run()
    assert list(repositories(stage)) == ["s1.2"]
    assert list(repositories(stage)["s1.2"]["snapshots"]) == [made["archive"]["snapshot"]]
    told = certificate(stage)
    assert [(each["generation"], each["state"]) for each in told["backups"]] == [(1, "destroyed")]
    (copy,) = told["copies"]
    assert (copy["kind"], copy["id"], copy["until"]) == ("archive", "orch.s1.archive.j3", "2026-11-25T12:00:00Z")
    assert made["archive"]["snapshot"] in copy["says"]
    assert stage.world.node("n1")["caches"] == []


def test_an_archive_that_is_lost_after_the_wipe_can_be_given_up_and_the_job_comes_to_its_end(stage: Stage) -> None:
    facts = backed_up(stage)
    running = play(stage, "vps-terminate", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="backups")
    with stage.world.change() as state:
        del state["repositories"]
    with pytest.raises(NotFound, match="there is no volume"):
        running.run()
    stage.ports.book.mark("s1", 1, GenerationState.GIVEN_UP, why="the disk of the target burnt down")
    running.given.clear()
    made = running.run()
    assert (made["archive"], certificate(stage)["copies"]) == ({}, [])
    first, *_ = certificate(stage)["backups"]
    assert (first["generation"], first["state"]) == (1, "given-up")
    assert stage.addresses.lease("s1") is None


def test_in_the_archives_own_repository_what_else_the_policy_kept_goes_too(stage: Stage) -> None:
    facts = backed_up(stage)
    stage.fails("repositories.backup", TransientDriverError("the answer was lost"), where="after")
    with pytest.raises(TransientDriverError):
        again(stage, facts, "b2")
    stage.job(IntentKind.TERMINATE, "j3")
    stage.run("guest.stop", {"node": "n1", "grace_seconds": 1}, job="j3")
    volume = facts["disk"]["volume"]
    keep = {"node": "n1", "volumes": [{"name": volume["name"], "path": volume["path"]}], "until": "", "keep": 2}
    kept = stage.apply("archive.keep", keep, job="j3")
    assert len(held(stage)) == 2
    made = stage.apply("backup.destroy", {"archive": True, "wiped": [{"name": volume["name"]}]}, job="j3")
    assert list(repositories(stage)["s1.1"]["snapshots"]) == [kept["snapshot"]]
    assert (made["destroyed"], [copy["id"] for copy in made["copies"]]) == ([], ["orch.s1.archive.j3"])
    found = stage.check("backup.destroy", {"archive": True, "wiped": []}, job="j3")
    assert isinstance(found, Done)
    gone = {row.state.value for row in stage.ports.book.backups("s1") if row.snapshot_id and row.pruned_at is not None}
    assert gone == {"forgotten", "partial"}


def test_without_the_promised_archive_no_backup_is_destroyed(stage: Stage) -> None:
    facts = backed_up(stage)
    stage.job(IntentKind.TERMINATE, "j8")
    args = {"archive": True, "until": "", "wiped": [{"name": facts["disk"]["volume"]["name"]}]}
    with pytest.raises(PermanentDriverError, match="has kept none"):
        stage.apply("backup.destroy", args, job="j8")
    assert held(stage) == [[LETTERS]]


def test_where_the_archive_is_not_held_any_more_no_other_copy_goes(stage: Stage) -> None:
    facts = backed_up(stage)
    stage.job(IntentKind.TERMINATE, "j3")
    stage.run("guest.stop", {"node": "n1", "grace_seconds": 1}, job="j3")
    volume = facts["disk"]["volume"]
    keep = {"node": "n1", "volumes": [{"name": volume["name"], "path": volume["path"]}], "until": "", "keep": 2}
    kept = stage.apply("archive.keep", keep, job="j3")
    with stage.world.change() as state:
        del state["repositories"]["s1.1"]["snapshots"][kept["snapshot"]]
    with pytest.raises(PermanentDriverError, match="is not held any more"):
        stage.apply("backup.destroy", {"archive": True, "wiped": [{"name": volume["name"]}]}, job="j3")
    assert held(stage) == [[LETTERS]]


# -- the last copy ------------------------------------------------------------------------


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
    assert (held(stage), stage.service().point_of_no_return) == ([[LETTERS]], None)
    running.undo()


def test_an_erasure_notes_the_point_of_no_return_and_is_carried_to_its_end(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    stage.fails("repositories.destroy", PermanentDriverError("broken off"), where="during")
    with pytest.raises(PermanentDriverError):
        running.run()
    assert (held(stage), stage.service().point_of_no_return is None) == ([], False)
    with pytest.raises(UndoFailed):
        running.undo()
    stage.pay()
    stage.clock.sleep(60)
    running.run()
    assert repositories(stage) == {}
    told = certificate(stage)
    assert (told["archive"]["id"], [each["state"] for each in told["backups"]]) == ("orch.s1.archive.j2", ["destroyed"])


def test_an_erasure_whose_target_is_not_reached_leaves_no_point_of_no_return(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    stage.fails("repositories.snapshots", TransientDriverError("no route to host"), nth=0)
    with pytest.raises(TransientDriverError):
        running.run()
    assert (held(stage), stage.service().point_of_no_return) == ([[LETTERS]], None)


def test_done_once_it_is_done_again_with_the_same_facts(stage: Stage) -> None:
    running = archived(stage, IntentKind.ERASE)
    made = running.run()["destroy"]
    found = stage.check("backup.destroy", {}, job="j3")
    assert isinstance(found, Done)
    assert found.facts == made
