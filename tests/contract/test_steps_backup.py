"""The steps of a backup on the simulated node: what is made, what is refused, and that a verified one stands at every instant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain import workflow
from orchestrator.domain.backups.words import Backup, BackupState, GenerationState
from orchestrator.domain.errors import (
    NoCapacity,
    PermanentDriverError,
    Refused,
    TransientDriverError,
    WrongState,
)
from orchestrator.drivers.fake.directories import put_file
from orchestrator.drivers.fake.repositories import FakeRepositories, damage, falsify, leave_lock
from orchestrator.drivers.fake.repository_state import name_of
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.ports.repositories import RepositoryAccess
from orchestrator.steps.base import Done, Facts
from orchestrator.store import backups
from tests.contract.stage import Stage, set_up
from tests.contract.test_playbooks import BrokenOff, Play, provisioned

LETTERS = "the customer's letters"
LOCATION = "/srv/backup/s1.{}"
DIRECTORY = "/home/s1"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


def written(stage: Stage) -> Facts:
    """A running guest whose customer wrote to its disk; the service's facts."""
    facts = provisioned(stage)
    stage.world.plant("n1", facts["disk"]["volume"]["name"], LETTERS)
    return facts


def backed_up(stage: Stage, facts: Facts, job: str = "j2") -> dict[str, Facts]:
    return Play(stage, "vps-backup", job, facts=facts).run()


def rows(stage: Stage) -> list[tuple[str, str]]:
    return [(each.job_id, each.state.value) for each in stage.ports.book.backups("s1")]


def held(stage: Stage, number: int = 1) -> dict[str, Any]:
    """The snapshots of a generation's repository, by id."""
    kept = stage.world.read().get("repositories", {}).get(name_of(LOCATION.format(number)))
    return {} if kept is None else dict(kept["snapshots"])


def good(stage: Stage) -> list[Backup]:
    """The backups that the book calls verified, and that are held as they were made."""
    found = []
    with stage.db.read() as conn:
        known = backups.of_service(conn, "s1")
    for each in known:
        snapshot = held(stage, each.generation).get(each.snapshot_id)
        if each.state == BackupState.VERIFIED and snapshot is not None and not snapshot["damaged"]:
            found.append(each)
    return found


def checkpoints(stage: Stage) -> list[str]:
    return list(stage.world.node("n1").get("checkpoints", {}).get("orch.s1", []))


def journal(stage: Stage, method: str) -> int:
    return sum(call.method == method for call in stage.world.journal())


# -- what is made ------------------------------------------------------------------------


def test_a_running_guest_is_frozen_exported_backed_up_and_verified(stage: Stage) -> None:
    made = backed_up(stage, written(stage))
    (backup,) = good(stage)
    assert (backup.job_id, backup.consistency, str(backup.share)) == ("j2", "frozen", "1/13")
    assert [file["text"] for file in held(stage)[backup.snapshot_id]["files"].values()] == [LETTERS]
    assert (made["settle"]["verified"], made["release"]["checkpoint"]) == (backup.id, "orch.s1.j2")
    assert (checkpoints(stage), stage.world.node("n1")["exports"], stage.world.node("n1")["frozen"]) == (["orch.s1.j2"], {}, [])


def test_the_second_replaces_the_first_once_it_is_verified_and_reads_only_what_changed_since(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    first = good(stage)[0]
    stage.clock.advance(timedelta(minutes=1))
    stage.world.plant("n1", facts["disk"]["volume"]["name"], "more letters")
    made = backed_up(stage, facts, "j3")
    assert (made["export"]["disk"]["bitmap"], made["export"]["disk"]["parent"]) == ("changed", first.snapshot_id)
    assert rows(stage) == [("j2", "forgotten"), ("j3", "verified")]
    assert list(held(stage)) == [good(stage)[0].snapshot_id]
    assert (str(good(stage)[0].share), checkpoints(stage)) == ("2/13", ["orch.s1.j3"])
    assert stage.ports.book.backups("s1")[0].pruned_at is not None


def test_a_disk_is_read_whole_at_least_every_eight_weeks(stage: Stage) -> None:
    facts = written(stage)
    whole = []
    for week in range(17):
        made = backed_up(stage, facts, f"w{week:02}")
        whole.append(not made["export"]["disk"]["bitmap"])
        stage.clock.advance(timedelta(weeks=1))
    gaps = [number for number, read in enumerate(whole) if read]
    assert gaps[0] == 0
    assert all(later - earlier <= 8 for earlier, later in zip(gaps, [*gaps[1:], 17], strict=True))
    assert whole.count(True) < 6


def test_a_guest_that_is_off_is_backed_up_from_its_volume(stage: Stage) -> None:
    facts = written(stage)
    stage.ports.hypervisor("n1").power("orch.s1", PowerAction.DESTROY, deadline=5)
    made = backed_up(stage, facts)
    assert (good(stage)[0].consistency, made["export"]["checkpoint"], checkpoints(stage)) == ("stopped", "", [])


@pytest.mark.parametrize("method", ["agent.guest-freeze", "agent.guest-thaw"])
def test_a_guest_that_cannot_be_held_still_is_backed_up_as_after_a_power_cut_and_labelled_so(stage: Stage, method: str) -> None:
    stage.fails(method, TransientDriverError("its agent does not answer"))
    backed_up(stage, written(stage))
    assert good(stage)[0].consistency == "crash"


def test_a_guest_is_thawed_also_where_its_disk_could_not_be_exported(stage: Stage) -> None:
    facts = written(stage)
    stage.fails("exports.begin", WrongState("another job works on it"))
    with pytest.raises(WrongState):
        backed_up(stage, facts)
    assert stage.world.node("n1")["frozen"] == []


def test_what_a_guest_writes_while_it_is_read_is_not_in_the_backup(stage: Stage) -> None:
    facts = written(stage)
    running = Play(stage, "vps-backup", "j2", facts=facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="make")
    stage.world.plant("n1", facts["disk"]["volume"]["name"], "written later")
    resume(running)
    assert [file["text"] for file in held(stage)[good(stage)[0].snapshot_id]["files"].values()] == [LETTERS]


# -- what is refused, and what does not count ------------------------------------------------------------------------


def directory_args(stage: Stage, facts: Facts, **more: object) -> Facts:
    prepared = stage.run("backup.prepare", {"node": "n1"}, job="j2")
    return {"node": "n1", "generation": prepared["generation"], "directory": DIRECTORY, **more}


def test_what_was_read_of_the_source_and_stored_of_that_is_written_down(stage: Stage) -> None:
    facts = written(stage)
    system = facts["disk"]["volume"]["capacity_bytes"] // 16  # what a simulated disk holds beside what is written
    backed_up(stage, facts)
    (made,) = stage.ports.book.backups("s1")
    assert made.size_bytes == made.read_bytes == made.stored_bytes == system + len(LETTERS)
    stage.world.plant("n1", facts["disk"]["volume"]["name"], "more")
    backed_up(stage, facts, "j3")
    (made,) = good(stage)
    assert (made.size_bytes, made.read_bytes, made.stored_bytes) == (system + len(LETTERS) + 4, 4, 4)


def test_a_source_over_its_cap_is_refused_with_the_numbers_before_a_byte_is_written(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    put_file(stage.world, "n1", DIRECTORY, "mail/large", "x" * 500)
    caps = [{"what": "bytes", "most": 100, "rule": "tnet: 5.1"}]
    before = held(stage)
    with pytest.raises(Refused, match=r"500 B \(at most 100 B\).*largest: mail.*tnet: 5.1"):
        stage.apply("backup.make", directory_args(stage, facts, caps=caps), job="j3")
    assert rows(stage) == [("j2", "verified"), ("j3", "refused")]
    refused = stage.ports.book.backups("s1")[-1]
    assert (refused.size_bytes, refused.inodes, refused.snapshot_id) == (500, 3, "")
    assert (held(stage), len(good(stage))) == (before, 1)


def test_a_source_that_grows_over_its_cap_while_it_is_read_does_not_count(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    put_file(stage.world, "n1", DIRECTORY, "a", "x" * 50)
    args = directory_args(stage, facts, caps=[{"what": "bytes", "most": 100, "rule": "tnet: 5.1"}])
    grow_at(stage, "backup", lambda: put_file(stage.world, "n1", DIRECTORY, "b", "x" * 60))
    with pytest.raises(Refused, match="110 B"):
        stage.apply("backup.make", args, job="j3")
    assert rows(stage)[-1] == ("j3", "refused")
    assert len(good(stage)) == 1


def test_a_guest_has_a_cap_only_where_its_plan_sets_one_and_it_is_of_allocated_bytes(stage: Stage) -> None:
    facts = written(stage)
    running = Play(stage, "vps-backup", "j2", facts=facts)
    caps = [{"what": "bytes", "most": 1000, "rule": "plan small"}]
    calls = [replace(call, args={**call.args, "caps": caps}) if call.id == "make" else call for call in running.workflow.calls]
    running.workflow = replace(running.workflow, calls=tuple(calls))
    with pytest.raises(Refused, match=r"205 kB \(at most 1 kB\)"):
        running.run()
    running.undo()
    assert (rows(stage), checkpoints(stage)) == ([("j2", "refused")], [])


def test_a_partial_backup_fails_the_job_names_what_it_lacks_and_never_counts(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    put_file(stage.world, "n1", DIRECTORY, "secret", "x", unreadable=True)
    with pytest.raises(PermanentDriverError, match="1 of its files could not be read: /secret"):
        stage.apply("backup.make", directory_args(stage, facts), job="j3")
    assert (rows(stage)[-1], stage.ports.book.backups("s1")[-1].left_out) == (("j3", "partial"), ("/secret",))
    assert not isinstance(stage.check("backup.make", directory_args(stage, facts), job="j3"), Done)
    backed_up(stage, facts, "j4")
    assert len(held(stage)) == len(good(stage)) == 1


def test_what_a_run_left_whose_end_nobody_saw_is_never_taken_for_a_backup(stage: Stage) -> None:
    facts = written(stage)
    running = Play(stage, "vps-backup", "j2", facts=facts)
    stage.fails("repositories.backup", TransientDriverError("the answer was lost"), where="after")
    with pytest.raises(TransientDriverError):
        running.run()
    ((lost, _),) = held(stage).items()
    resume(running)
    assert rows(stage) == [("j2", "failed"), ("j2", "verified"), ("j2", "partial")]
    assert stage.ports.book.backups("s1")[-1].pruned_at is not None
    assert lost not in held(stage)


# -- what is not sound ------------------------------------------------------------------------


def test_a_flipped_byte_in_the_new_snapshot_fails_its_verification_with_the_old_backup_standing(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    old = good(stage)
    stage.clock.advance(timedelta(minutes=1))
    running = Play(stage, "vps-backup", "j3", facts=facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="settle")
    falsify(stage.world, LOCATION.format(1), running.given["make"]["snapshot"], "segment.000000")
    with pytest.raises(PermanentDriverError, match="differs from its source"):
        resume(running)
    running.undo()
    assert (good(stage), rows(stage), checkpoints(stage)) == (old, [("j2", "verified"), ("j3", "failed")], ["orch.s1.j2"])
    backed_up(stage, facts, "j4")
    assert [each.job_id for each in good(stage)] == ["j4"]


def test_damage_begins_a_new_generation_and_the_old_one_goes_when_the_new_one_is_verified(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    damage(stage.world, LOCATION.format(1), good(stage)[0].snapshot_id)
    with pytest.raises(PermanentDriverError, match="its repository is damaged"):
        backed_up(stage, facts, "j3")
    (damaged,) = stage.ports.book.generations("s1")
    assert (damaged.state, rows(stage)) == (GenerationState.DAMAGED, [("j2", "verified"), ("j3", "failed")])
    assert len(held(stage, 1)) == 2, "nothing is taken away from it"
    made = backed_up(stage, facts, "j4")
    assert (made["repository"]["generation"], made["repository"]["target"]) == (2, "main")
    first, second = (LOCATION.format(number) for number in (1, 2))
    assert str(made["repository"]["begun"]).startswith(f"repository {first} is damaged: ")
    assert str(made["repository"]["begun"]).endswith(f"; began {second}")
    assert [each.state.value for each in stage.ports.book.generations("s1")] == ["destroyed", "made"]
    assert list(stage.world.read()["repositories"]) == [name_of(LOCATION.format(2))]
    assert made["export"]["disk"]["parent"] == "", "what changed since a snapshot of another repository is of no use"


def test_a_snapshot_that_went_missing_is_damage(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    with stage.world.change() as state:
        state["repositories"][name_of(LOCATION.format(1))]["snapshots"].clear()
    backed_up(stage, facts, "j3")
    first, second = stage.ports.book.generations("s1")
    assert ("is not there any more" in first.why or first.state == GenerationState.DESTROYED, second.number) == (True, 2)
    assert [each.job_id for each in good(stage)] == ["j3"]


def test_locks_of_our_dead_are_taken_away_and_those_of_others_never(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    leave_lock(stage.world, LOCATION.format(1), node="n1")
    backed_up(stage, facts, "j3")
    leave_lock(stage.world, LOCATION.format(1))
    made = len(held(stage))
    with pytest.raises(TransientDriverError, match=r"locked by .* elsewhere"):
        backed_up(stage, facts, "j4")
    assert (len(good(stage)), len(held(stage))) == (1, made), "nothing is added that could not be verified"
    assert "locked by process 4711 on elsewhere" in stage.ports.book.backups("s1")[-1].problem


@pytest.mark.parametrize("method", ["snapshots", "backup", "verify", "forget"])
def test_damage_that_any_run_meets_with_begins_a_new_generation(stage: Stage, method: str) -> None:
    """And not only damage that a check finds: a run that fails each time for it would never come to the check."""
    facts = written(stage)
    backed_up(stage, facts)
    stage.clock.advance(timedelta(minutes=1))
    stage.fails(f"repositories.{method}", PermanentDriverError("ciphertext verification failed", reason="damaged"))
    if method == "snapshots":  # it is met with before anything was made, and the same job goes on in the next generation
        made = backed_up(stage, facts, "j3")
    else:
        running = Play(stage, "vps-backup", "j3", facts=facts)
        with pytest.raises(PermanentDriverError, match="ciphertext"):
            running.run()
        running.undo()
        (damaged,) = stage.ports.book.generations("s1")
        assert (damaged.state, damaged.why) == (GenerationState.DAMAGED, "ciphertext verification failed")
        assert len(good(stage)) == 1
        made = backed_up(stage, facts, "j4")
    assert made["repository"]["generation"] == 2
    assert [each.state.value for each in stage.ports.book.generations("s1")] == ["destroyed", "made"]


def test_where_the_room_is_used_up_the_last_backup_stays(stage: Stage) -> None:
    facts = written(stage)
    backed_up(stage, facts)
    stage.fails("repositories.backup", NoCapacity("no room is left"), where="during")
    running = Play(stage, "vps-backup", "j3", facts=facts)
    with pytest.raises(NoCapacity):
        running.run()
    running.undo()
    assert stage.ports.book.backups("s1")[-1].problem == "no room is left"
    assert ([each.job_id for each in good(stage)], rows(stage)[-1], checkpoints(stage)) == (
        ["j2"],
        ("j3", "failed"),
        ["orch.s1.j2"],
    )


# -- broken off at any call ------------------------------------------------------------------------


# What changes something: a run that is broken off elsewhere is as one that is broken off after the last of these.
ACTS = ("begin", "write", "mark_", "create", "unlock", "backup", "verify", "forget", "destroy", "end", "drop", "call")


@dataclass
class Tearing:
    """Breaks the run off after its n-th act (0: never), and looks at the world after each."""

    at: int
    looks: Callable[[], None]
    acts: list[str] = field(default_factory=list)

    def over(self, port: Any, name: str) -> Any:
        return _Torn(port, name, self)

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        if not name.rpartition(".")[2].startswith(ACTS) or name == "book.backups":
            return act()
        self.acts.append(name)
        found = act()
        self.looks()
        if len(self.acts) == self.at:
            raise BrokenOff
        return found


@dataclass
class _Torn:
    port: Any
    name: str
    tearing: Tearing

    def __getattr__(self, method: str) -> Callable[..., Any]:
        act = getattr(self.port, method)
        return lambda *args, **options: self.tearing.call(f"{self.name}.{method}", lambda: act(*args, **options))


def torn(stage: Stage, tearing: Tearing) -> None:
    whole = stage.ports
    stage.ports = replace(
        whole,
        repositories=lambda node: tearing.over(whole.repositories(node), "repositories"),
        exports=lambda node: tearing.over(whole.exports(node), "exports"),
        agent=lambda node: tearing.over(whole.agent(node), "agent"),
        keeper=tearing.over(whole.keeper, "keeper"),
        book=tearing.over(whole.book, "book"),
    )


def resume(running: Play) -> None:
    """As the engine does after a crash: what was recorded as done is done, the rest is looked at and done."""
    for call in running.workflow.calls:
        if call.id not in running.given and not call.skipped:
            running.given[call.id] = running._perform(call.step, workflow.bind(call.args, running.given))


def grow_at(stage: Stage, method: str, grow: Callable[[], None]) -> None:
    """Something happens while the next call of the repositories' ``method`` is under way."""
    whole = stage.ports

    class Growing:
        def __getattr__(self, name: str) -> Any:
            act = getattr(whole.repositories("n1"), name)
            if name != method:
                return act

            def grown(*args: Any, **options: Any) -> Any:
                grow()
                return act(*args, **options)

            return grown

    stage.ports = replace(whole, repositories=lambda _node: Growing())


def replacing(stage: Stage, *, damaged: bool) -> Facts:
    """A service with a verified backup that is about to be replaced; ``damaged``: in a new generation."""
    facts = written(stage)
    backed_up(stage, facts)
    stage.clock.advance(timedelta(minutes=1))
    if damaged:
        stage.ports.book.mark("s1", 1, GenerationState.DAMAGED, why="a pack is broken")
    return facts


def test_a_repository_whose_disk_is_not_mounted_keeps_its_key(tmp_path: Path) -> None:
    """The next backup begins a new one; when the disk is there again, so is what it held."""
    stage = set_up(tmp_path)
    facts = replacing(stage, damaged=False)
    with stage.world.change() as state:
        away = state["repositories"].pop("s1.1")
    made = backed_up(stage, facts, "j3")
    lost, new = (LOCATION.format(number) for number in (1, 2))
    assert made["repository"]["begun"] == f"repository {lost} was not found; began {new}"
    first, second = stage.ports.book.generations("s1")
    assert first.why == "its repository was not found"
    assert (first.state, bool(first.wrapped_key), second.state) == (GenerationState.DAMAGED, True, GenerationState.MADE)
    with stage.world.change() as state:
        state["repositories"]["s1.1"] = away
    assert stage.ports.repositories("n1").snapshots(stage.ports.book.access(first), deadline=10) != ()
    stage.close()


def test_while_the_target_is_not_there_nothing_is_begun_or_called_damaged(tmp_path: Path) -> None:
    stage = set_up(tmp_path)
    facts = replacing(stage, damaged=False)

    def missing(*_args: Any, **_asked: Any) -> None:
        raise TransientDriverError("the target /srv/backup is not there: is it mounted?", reason="no-target")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeRepositories, "snapshots", missing)
        with pytest.raises(TransientDriverError, match="mounted"):
            backed_up(stage, facts, "j3")
    (only,) = stage.ports.book.generations("s1")
    assert only.state == GenerationState.MADE
    assert backed_up(stage, facts, "j4")["repository"] == {"generation": 1, "target": "main"}
    stage.close()


def test_the_target_of_a_damaged_repository_may_be_gone_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = set_up(tmp_path)
    facts, whole = replacing(stage, damaged=True), FakeRepositories.snapshots

    def snapshots(self: FakeRepositories, access: RepositoryAccess, **asked: Any) -> Any:
        if access.location == LOCATION.format(1):
            raise TransientDriverError("the target /srv/old is not there: is it mounted?", reason="no-target")
        return whole(self, access, **asked)

    monkeypatch.setattr(FakeRepositories, "snapshots", snapshots)
    assert backed_up(stage, facts, "j3")["repository"]["generation"] == 2
    first, _ = stage.ports.book.generations("s1")
    assert (first.state, bool(first.wrapped_key)) == (GenerationState.DAMAGED, True), "a person decides"
    stage.close()


def acts_of_a_backup(tmp_path: Path, *, damaged: bool) -> list[str]:
    stage = set_up(tmp_path / "recon")
    facts = replacing(stage, damaged=damaged)
    tearing = Tearing(at=0, looks=lambda: None)
    torn(stage, tearing)
    backed_up(stage, facts, "j3")
    stage.close()
    return tearing.acts


@pytest.mark.parametrize("damaged", [False, True], ids=["same-generation", "new-generation"])
def test_broken_off_at_any_act_a_verified_backup_stands_at_every_instant(tmp_path: Path, damaged: bool) -> None:
    """Every second run is taken up again where it was, the others are undone and followed by another job."""
    for number, name in enumerate(acts_of_a_backup(tmp_path, damaged=damaged), start=1):
        stage = set_up(tmp_path / f"{number}")
        facts = replacing(stage, damaged=damaged)

        def looks(stage: Stage = stage, where: str = f"{number} {name}") -> None:
            assert good(stage), f"no verified backup stands: {where}"

        whole = stage.ports
        torn(stage, Tearing(at=number, looks=looks))
        running = Play(stage, "vps-backup", "j3", facts=facts)
        with pytest.raises(BrokenOff):
            running.run()
        looks()
        stage.ports = whole
        torn(stage, Tearing(at=0, looks=looks))
        if number % 2:
            running.undo()
            stage.clock.advance(timedelta(minutes=1))
            backed_up(stage, facts, "j4")
        else:
            resume(running)
        assert len(good(stage)) == 1
        assert sum(len(held(stage, generation)) for generation in (1, 2)) == 1, name
        assert (stage.world.node("n1")["exports"], stage.world.node("n1")["frozen"]) == ({}, [])
        assert len(checkpoints(stage)) == 1
        stage.close()
