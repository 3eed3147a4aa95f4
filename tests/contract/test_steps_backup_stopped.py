"""The backup of a guest that is off: nothing is done where its disk is provably as it was, and in any doubt it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.domain.backups.words import BackupState, GenerationState
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.steps.base import Facts
from tests.contract.stage import Stage
from tests.contract.test_playbooks import BrokenOff, Play
from tests.contract.test_steps_backup import backed_up, good, journal, resume, rows, stage, written

__all__ = ["stage"]  # a fixture


def switched_off(stage: Stage) -> Facts:
    """A guest that is off and was backed up then; the service's facts."""
    facts = written(stage)
    stage.ports.hypervisor("n1").power("orch.s1", PowerAction.DESTROY, deadline=5)
    backed_up(stage, facts)
    stage.clock.advance(timedelta(days=1))
    return facts


def test_a_guest_that_was_off_all_the_time_is_left_alone_and_its_backup_stays_verified(stage: Stage) -> None:
    facts = switched_off(stage)
    before, runs = good(stage), journal(stage, "repositories.backup")
    made = backed_up(stage, facts, "j3")
    assert (good(stage), journal(stage, "repositories.backup")) == (before, runs)
    assert rows(stage) == [("j2", "verified"), ("j3", "skipped")]
    skipped = stage.ports.book.backups("s1")[-1]
    assert (skipped.consistency, skipped.snapshot_id) == ("stopped", "")
    assert "its disk as it was when backup j2-1 was made" in skipped.problem
    assert made["settle"]["verified"] == before[0].id


def begin_and_end(stage: Stage) -> None:
    for action in (PowerAction.START, PowerAction.DESTROY):
        stage.ports.hypervisor("n1").power("orch.s1", action, deadline=5)


def own_volume(stage: Stage) -> str:
    """Of the guest's own disk, the first that it has."""
    path: str = stage.guest()["definition"]["disks"][0]["path"]
    return path.rpartition("/")[2]


def write_behind(stage: Stage) -> None:
    stage.world.plant("n1", own_volume(stage), "by somebody else")


def lose_mark(stage: Stage) -> None:
    backup = good(stage)[0]
    stage.ports.book.write(replace(backup, mark=""))


def was_running(stage: Stage) -> None:
    backup = good(stage)[0]
    stage.ports.book.write(replace(backup, consistency="crash"))


def damaged_since(stage: Stage) -> None:
    stage.ports.book.mark("s1", 1, GenerationState.DAMAGED, why="a pack is broken")


@pytest.mark.parametrize("doubt", [begin_and_end, write_behind, lose_mark, was_running, damaged_since])
def test_in_any_doubt_the_disk_of_a_guest_that_is_off_is_read(stage: Stage, doubt: Callable[[Stage], None]) -> None:
    facts = switched_off(stage)
    doubt(stage)
    backed_up(stage, facts, "j3")
    assert [each.job_id for each in good(stage)] == ["j3"]


def test_a_backup_that_went_before_it_could_be_relied_on_is_made_anew(stage: Stage) -> None:
    facts = switched_off(stage)
    running = Play(stage, "vps-backup", "j3", facts=facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="make")
    stage.ports.book.write(replace(good(stage)[0], state=BackupState.FAILED))
    resume(running)
    assert [each.job_id for each in good(stage)] == ["j3"]


def test_a_disk_that_nobody_uses_is_read_whole_at_least_every_eight_weeks(stage: Stage) -> None:
    facts = switched_off(stage)
    for week in range(17):
        backed_up(stage, facts, f"w{week:02}")
        stage.clock.advance(timedelta(weeks=1))
    read = [number for number, (_, state) in enumerate(rows(stage)) if state in ("forgotten", "verified")]
    assert all(later - earlier <= 8 for earlier, later in zip(read, [*read[1:], 17], strict=True))
    assert 2 < len(read) < 6
