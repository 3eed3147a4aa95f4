"""The steps of a restore on the simulated node: at every instant the guest's definition names one whole disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.backups.words import BackupState
from orchestrator.domain.errors import (
    FenceClosed,
    Frozen,
    NoCapacity,
    NotFound,
    PermanentDriverError,
    TransientDriverError,
    UndoFailed,
    WrongState,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.drivers.fake.repositories import leave_lock
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.store import settings
from tests.contract.stage import NOW, Stage, hold_by_hand, set_up
from tests.contract.test_playbooks import BrokenOff, Play, provisioned
from tests.contract.test_steps_backup import backed_up, checkpoints, good

LETTERS, SINCE = "the customer's letters", "what was written since"
NEW, OLD = "orch.s1.disk.j3.qcow2", "orch.s1.disk.j1.qcow2"
BESIDE = "orch.s1.beside.j3.qcow2"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


def written(stage: Stage, kind: IntentKind = IntentKind.RESTORE) -> Facts:
    """A running guest with a verified backup (job j2), on whose disk something was written since; the service's facts."""
    facts = provisioned(stage)
    stage.world.plant("n1", OLD, LETTERS)
    facts |= backed_up(stage, facts)
    stage.world.plant("n1", OLD, SINCE)
    stage.job(kind, "j3")
    return facts


def restoring(stage: Stage, facts: Mapping[str, Any], *, role: str = "disk", job: str = "j3") -> Play:
    return Play(stage, "vps-restore", job, facts=facts, more={"backup": good(stage)[-1].id, "role": role})


def disk(stage: Stage) -> str:
    """The volume that the guest's definition names."""
    return str(stage.guest()["definition"]["disks"][0]["path"]).rpartition("/")[2]


def content(stage: Stage, volume: str) -> list[str] | None:
    found = stage.world.node("n1")["volumes"].get(volume)
    return None if found is None else list(found["markers"])


def volumes(stage: Stage) -> set[str]:
    return {name for name in stage.world.node("n1")["volumes"] if name.startswith("orch.s1.") and ".seed." not in name}


# -- in place ------------------------------------------------------------


def test_the_guest_runs_on_the_restored_disk_and_the_old_one_stands_with_what_was_written_since(stage: Stage) -> None:
    facts = written(stage)
    made = restoring(stage, facts).run()
    assert (disk(stage), content(stage, NEW), content(stage, OLD)) == (NEW, [LETTERS], [LETTERS, SINCE])
    assert (stage.guest()["power"], stage.guest()["autostart"]) == ("running", True)
    assert (made["disk"]["volume"]["name"], made["disk"]["safety"]["name"]) == (NEW, OLD)
    node = stage.world.node("n1")
    assert node["secrets"][NEW]["uuid"] == stage.guest()["definition"]["disks"][0]["secret_uuid"] != node["secrets"][OLD]["uuid"]
    assert (node["volumes"][NEW]["backing"], node["volumes"][NEW]["capacity_bytes"]) == ("", 10 << 30)


def test_it_is_what_was_sold_afterwards_and_its_safety_copy_is_no_stray(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    Play(stage, "vps-check", "j4", facts=facts, more={"kept": [OLD]}).run()
    with pytest.raises(WrongState, match=f"volume {OLD} belongs to no guest"):
        Play(stage, "vps-check", "j5", facts=facts).run()
    with pytest.raises(WrongState, match="is gone, and was to be kept"):
        Play(stage, "vps-check", "j6", facts=facts, more={"kept": [OLD, "orch.s1.beside.j9.qcow2"]}).run()


def test_a_guest_that_was_off_stays_off(stage: Stage) -> None:
    facts = written(stage)
    FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.SHUTDOWN, deadline=5)
    restoring(stage, facts).run()
    assert (disk(stage), stage.guest()["power"], stage.guest()["autostart"]) == (NEW, "stopped", True)


def test_a_held_guest_stays_held_and_off(stage: Stage) -> None:
    facts = written(stage)
    hold_by_hand(stage)
    restoring(stage, facts).run()
    guest = stage.guest()
    assert (disk(stage), guest["power"], guest["autostart"], guest["mark"]["holds"]) == (NEW, "stopped", False, ["abuse"])
    assert (guest["mark"]["power_before"], guest["mark"]["autostart_before"]) == ("running", True)


def test_the_guest_goes_on_while_its_new_disk_is_written(stage: Stage) -> None:
    running = restoring(stage, written(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="stop")
    assert (stage.guest()["power"], disk(stage), content(stage, NEW)) == ("running", OLD, [LETTERS])


def test_the_next_backup_reads_the_whole_disk(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    assert checkpoints(stage) == []
    made = backed_up(stage, facts, "j4")
    assert (made["export"]["disk"]["bitmap"], made["export"]["disk"]["parent"], checkpoints(stage)) == ("", "", ["orch.s1.j4"])
    assert made["settle"]["verified"]


def test_a_volume_that_was_written_half_is_wiped_and_made_anew(stage: Stage) -> None:
    running = restoring(stage, written(stage))
    stage.fails("repositories.restore", TransientDriverError("gone"), where="during")
    with pytest.raises(TransientDriverError):
        running.run()
    assert (disk(stage), content(stage, NEW)) == (OLD, [])
    running.given.clear()
    running.run()
    assert (disk(stage), content(stage, NEW), content(stage, OLD)) == (NEW, [LETTERS], [LETTERS, SINCE])
    assert [call.subject.rpartition("/")[2] for call in stage.world.journal() if call.method == "agent.volume-wipe"] == [NEW]


def test_a_failure_after_the_switch_brings_the_old_disk_back(stage: Stage) -> None:
    facts = written(stage)
    before = stage.snapshot()
    running = restoring(stage, facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="power", half=True)
    running.undo()
    assert (disk(stage), stage.guest()["power"], volumes(stage)) == (OLD, "running", {OLD})
    assert stage.snapshot() == before


def test_it_is_not_undone_where_the_old_disk_is_gone(stage: Stage) -> None:
    running = restoring(stage, written(stage))
    running.run()
    with stage.world.change() as state:
        del state["nodes"]["n1"]["volumes"][OLD]
    with pytest.raises(UndoFailed, match=OLD):
        running.undo()
    assert (disk(stage), content(stage, NEW)) == (NEW, [LETTERS])


def test_what_the_guest_runs_on_is_never_written_over_or_taken_away(stage: Stage) -> None:
    facts = written(stage)
    made = restoring(stage, facts)
    made.run()
    stage.world.plant("n1", NEW, "the customer goes on")
    call = made.workflow.calls[0]
    assert isinstance(stage.check(call.step, call.args, job="j3"), Done)
    with pytest.raises(PermanentDriverError, match="not written over"):
        stage.apply(call.step, call.args, job="j3")
    with pytest.raises(UndoFailed):
        stage.undo(call.step, call.args, job="j3")
    with pytest.raises(PermanentDriverError, match="in use"):
        stage.apply("volume.discard", {"node": "n1", "names": [NEW]}, job="j3")
    assert content(stage, NEW) == [LETTERS, "the customer goes on"]


def test_a_guest_that_was_started_by_somebody_or_saved_to_disk_is_not_given_another_disk(stage: Stage) -> None:
    running = restoring(stage, written(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="disk")
    FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.START, deadline=5)
    running.given.pop("stop")
    args: Facts = {
        "node": "n1",
        "old": running.workflow.calls[0].args["disk"],
        "new": running.given["restore"]["into"],
        "known": {},
    }
    with pytest.raises(WrongState, match="still runs"):
        stage.apply("disk.switch", args, job="j3")
    FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.DESTROY, deadline=5)
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["managed_save"] = True
    with pytest.raises(WrongState, match="saved"):
        stage.apply("disk.switch", args, job="j3")
    assert disk(stage) == OLD


def test_a_restore_without_room_or_without_its_backup_touches_nothing(stage: Stage) -> None:
    facts = written(stage)
    running = restoring(stage, facts)
    before = stage.snapshot()
    stage.world.set_node("n1", pool_bytes=10 << 30)
    with pytest.raises(NoCapacity, match="10 GiB are needed"):
        running.run()
    stage.world.set_node("n1", pool_bytes=1 << 40)
    row = good(stage)[-1]
    stage.ports.book.write(replace(row, state=BackupState.FORGOTTEN))
    with pytest.raises(WrongState, match="is forgotten"):
        running.run()
    with pytest.raises(NotFound, match="no backup b9"):
        Play(stage, "vps-restore", "j3", facts=facts, more={"backup": "b9", "role": "disk"}).run()
    assert stage.snapshot() == before


def test_a_lock_of_a_dead_run_is_taken_away_and_one_of_others_is_waited_for(stage: Stage) -> None:
    running = restoring(stage, written(stage))
    leave_lock(stage.world, "/srv/backup/s1.1", node="n1")
    leave_lock(stage.world, "/srv/backup/s1.1", node="")
    with pytest.raises(TransientDriverError, match="locked by process 4711 on elsewhere"):
        running.run()
    assert (disk(stage), stage.guest()["power"]) == (OLD, "running")


# -- beside ------------------------------------------------------------


def test_beside_a_volume_is_made_and_nothing_else_changes(stage: Stage) -> None:
    facts = written(stage)
    guest = {key: value for key, value in stage.guest().items() if key != "mark"}
    made = restoring(stage, facts, role="beside").run()
    assert list(made) == ["restore"]
    assert {key: value for key, value in stage.guest().items() if key != "mark"} == guest
    assert (content(stage, BESIDE), content(stage, OLD), disk(stage)) == ([LETTERS], [LETTERS, SINCE], OLD)
    assert checkpoints(stage) == ["orch.s1.j2"]
    Play(stage, "vps-check", "j4", facts=facts | made, more={"kept": [BESIDE]}).run()


# -- the end of what is kept ------------------------------------------------------------


def tidying(stage: Stage, facts: Facts, *names: str) -> Play:
    stage.job(IntentKind.TIDY, "j4")
    return Play(stage, "vps-tidy", "j4", facts=facts, more={"names": list(names)})


def test_a_safety_copy_is_wiped_with_its_key_and_the_guest_goes_on(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    tidying(stage, facts, OLD).run()
    assert volumes(stage) == {NEW}
    assert OLD not in stage.world.node("n1")["secrets"]
    assert stage.guest()["power"] == "running"
    assert stage.service().point_of_no_return is None
    assert not stage.world.on_medium("n1", SINCE)


def test_a_hold_or_a_freeze_keeps_it(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    running = tidying(stage, facts, OLD)
    with stage.db.write() as conn:
        settings.set_freeze(conn, by="anna", why="an incident", now=NOW)
    with pytest.raises(Frozen):
        running.run()
    with stage.db.write() as conn:
        settings.lift_freeze(conn)
    stage.put(stage.service().with_hold(Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NONE, by="court", why="so", since=NOW)))
    with pytest.raises(FenceClosed, match="forbids erasing"):
        running.run()
    assert volumes(stage) == {OLD, NEW}


def test_a_wipe_of_it_that_was_broken_off_goes_on(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    running = tidying(stage, facts, OLD)
    stage.fails("agent.volume-wipe", TransientDriverError("gone"), where="during")
    with pytest.raises(TransientDriverError):
        running.run()
    assert isinstance(stage.check("volume.discard", {"node": "n1", "names": [OLD]}, job="j4"), Needed)
    running.run()
    assert volumes(stage) == {NEW}


def test_a_termination_wipes_and_certifies_the_disk_and_all_that_is_kept_beside_it(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    facts |= restoring(stage, facts, role="beside", job="j4").run()
    stage.clock.advance(timedelta(hours=1))
    stage.job(IntentKind.TERMINATE, "j5")
    made = Play(stage, "vps-terminate", "j5", facts=facts, more={"kept": [OLD, "orch.s1.beside.j4.qcow2"]}).run()
    assert volumes(stage) == set()
    assert [name for name in stage.world.node("n1")["secrets"] if name.startswith("orch.s1.")] == []
    certificate = stage.ledger.certificate("s1")
    assert certificate is not None
    named = [each["name"] for each in certificate["volumes"]]
    assert set(named) == {OLD, NEW, "orch.s1.beside.j4.qcow2", "orch.s1.seed.j1.iso"}
    assert len(named) == 4
    assert made["residue"]["proof"]


def test_an_archive_is_of_the_disk_alone(stage: Stage) -> None:
    facts = written(stage)
    facts |= restoring(stage, facts).run()
    stage.job(IntentKind.TERMINATE, "j5")
    made = Play(stage, "vps-terminate", "j5", facts=facts, until="2026-12-25T12:00:00+00:00", more={"kept": [OLD]}).run()
    assert made["archive"]["disk"] == NEW
    (held,) = [each for kept in stage.world.read()["repositories"].values() for each in kept["snapshots"].values()]
    assert [file["text"] for file in held["files"].values()] == [LETTERS]
    assert volumes(stage) == set()


# -- drills ------------------------------------------------------------


def drilling(stage: Stage, facts: Facts, job: str = "j3") -> Play:
    return Play(stage, "vps-drill", job, facts=facts, more={"backup": good(stage)[-1].id, "role": "drill"})


def test_a_drill_restores_aside_and_throws_away_and_touches_nothing_of_the_guest(stage: Stage) -> None:
    facts = written(stage, IntentKind.DRILL)
    before = stage.snapshot(tokens=True)
    running = drilling(stage, facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="discard")
    assert content(stage, "orch.s1.drill.j3.qcow2") == [LETTERS]
    assert stage.world.node("n1")["secrets"]["orch.s1.drill.j3.qcow2"]["uuid"] != facts["disk"]["volume"]["secret_uuid"]
    running.run()
    assert stage.snapshot(tokens=True) == before
    assert checkpoints(stage) == ["orch.s1.j2"]
    methods = {call.method for call in stage.world.journal() if call.method.startswith("hypervisor.")}
    assert not {method for method in methods if method.startswith(("hypervisor.power", "hypervisor.set"))} - {
        "hypervisor.power.start"  # of its making
    }


def test_a_drill_of_what_cannot_be_restored_fails_and_leaves_nothing(stage: Stage) -> None:
    facts = written(stage, IntentKind.DRILL)
    before = stage.snapshot(tokens=True)
    running = drilling(stage, facts)
    stage.fails("repositories.restore", PermanentDriverError("what was read back is not what was written"), where="during")
    with pytest.raises(PermanentDriverError, match="read back"):
        running.run()
    running.undo()
    assert stage.snapshot(tokens=True) == before


def test_a_hold_that_forbids_to_erase_lets_a_drill_throw_its_own_copy_away(stage: Stage) -> None:
    facts = written(stage, IntentKind.DRILL)
    stage.put(stage.service().with_hold(Hold(reason=HoldReason.LEGAL, effect=HoldEffect.NONE, by="court", why="so", since=NOW)))
    drilling(stage, facts).run()
    assert volumes(stage) == {OLD}
