"""The playbooks that ship, on the simulated node: carried out, and at each step broken off and undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain import asides, outcomes, workflow
from orchestrator.domain.backups import promised
from orchestrator.domain.errors import FenceClosed, OrchestratorError, PreconditionError, Refused, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.lost_nodes import Lost
from orchestrator.domain.plans import LIMITED_NETWORK, PlanKind
from orchestrator.domain.playbooks import OnFailure, Workflow
from orchestrator.domain.services import Hold, HoldEffect, HoldReason
from orchestrator.domain.terms import Terms
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.steps.base import Done, Facts
from orchestrator.steps.registry import STEPS, arguments
from orchestrator.store import fence, nodes, tables
from tests.contract.stage import LARGER, NOW, PLAN, Stage, set_up, spec_of
from tests.live import CRYPT, KEY

BOOKS = load_playbooks(Path(__file__).parents[2] / "playbooks", steps=arguments())
GUESTS = {name: book for name, book in BOOKS.items() if book.for_ == PlanKind.VPS}
ABOUT = {
    "reason": "asked",
    "asked_by": "event shop/e1",
    "approved_by": "",
    "client_id": "c1",
    "provider": "Example Hosting",
    "payments": 1,
    "lost": False,
}
# What a job of this kind makes of what was sold.
OTHERWISE = {IntentKind.CHANGE_PLAN: LARGER, IntentKind.SET_MAIL: replace(PLAN, mail_out=True)}
UNTIL = "2026-11-25T12:00:00+00:00"
LETTERS = "the letters of the customer"
IRREVOCABLE = {
    ("vps-terminate", "wipe"),
    ("vps-erase", "destroy"),
    ("vps-tidy", "discard"),
    ("vps-reinstall", "wipe"),
    ("vps-move", "wipe"),
    ("vps-change-plan", "disk"),
    ("vps-reset-password", "set"),
    ("vps-set-keys", "set"),
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = set_up(tmp_path)
    yield built
    built.close()


class BrokenOff(Exception):
    """The run was ended on purpose."""


class Play:
    """Carries a playbook out as the engine does, without durability: what was applied is undone in reverse."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        job: str,
        *,
        facts: Mapping[str, Any],
        holds: tuple[str, ...] = (),
        limits: tuple[str, ...] = (),
        until: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.stage, self.job = stage, job
        about = {**ABOUT, "id": job, "holds": list(holds), "limits": list(limits), "limited": bool(limits)}
        about |= asides.underway(())
        about |= {"archive": bool(until), "archive_until": until, "kept": [], **promised.for_backup(Terms()), **(more or {})}
        self.workflow: Workflow = workflow.resolve(BOOKS[name], service_id="s1", spec=stage.spec, facts=facts, job=about)
        self.given: dict[str, Facts] = {}
        self.applied: list[tuple[str, Facts]] = []

    def run(self, *, break_off_at: str = "", half: bool = False) -> dict[str, Facts]:
        """To the end, or until before ``break_off_at`` (``half``: after it acted, before its facts were noted)."""
        for call in self.workflow.calls:
            if call.skipped:
                continue
            if call.id == break_off_at and not half:
                raise BrokenOff
            args = workflow.bind(call.args, self.given)
            self.given[call.id] = self._perform(call.step, args)
            if call.id == break_off_at:
                raise BrokenOff
        return self.given

    def _perform(self, step: str, args: Facts) -> Facts:
        found = self.stage.check(step, args, job=self.job)
        if isinstance(found, Done) and found.made_by != self.job:
            return found.facts
        self.applied.append((step, args))
        return found.facts if isinstance(found, Done) else self.stage.apply(step, args, job=self.job)

    def undo(self) -> None:
        for step, args in reversed(self.applied):
            self.stage.undo(step, args, job=self.job)


def provisioned(stage: Stage) -> dict[str, Any]:
    """Make the guest by its playbook; the service's facts."""
    facts = Play(stage, "vps-provision", "j1", facts={}).run()
    return {"node": "n1", "nodes_ever": ["n1"], **facts}


def archived(stage: Stage, facts: Mapping[str, Any]) -> dict[str, Any]:
    """End the guest by its playbook, keeping its archive; the service's facts."""
    stage.job(IntentKind.TERMINATE, "j2")
    made = Play(stage, "vps-terminate", "j2", facts=facts, until=UNTIL).run()
    stage.put(outcomes.finish(stage.service(), IntentKind.TERMINATE, JobState.DONE, "", now=NOW, kept=True))
    with stage.db.write() as conn:
        fence.begin_anew(conn, "s1")
    return {"node": "", "nodes_ever": ["n1"], "archive": made["archive"]}


def play(stage: Stage, name: str, facts: Mapping[str, Any]) -> Play:
    """The playbook on a service in the state that its job finds; a termination keeps an archive."""
    kind = IntentKind(name.removeprefix("vps-"))
    if kind in (IntentKind.ERASE, IntentKind.REACTIVATE):
        facts = archived(stage, facts)
    if kind == IntentKind.UNSUSPEND:
        stage.job(IntentKind.SUSPEND, "j2")
        Play(stage, "vps-suspend", "j2", facts=facts, holds=("nonpayment",)).run()
        stage.put(stage.service().without_hold(stage.service().holds[0].reason))
    if kind == IntentKind.UNLIMIT:
        Play(stage, "vps-limit", "j2", facts=facts, limits=("abuse",)).run()
    if kind == IntentKind.START:
        Play(stage, "vps-stop", "j2", facts=facts).run()
    more: dict[str, Any] = {}
    if kind in (IntentKind.RESTORE, IntentKind.TIDY, IntentKind.DRILL, IntentKind.RECOVER):
        made = Play(stage, "vps-backup", "j2", facts=facts).run()
        more = {"backup": made["make"]["backup"], "role": "drill" if kind == IntentKind.DRILL else "disk"}
    if kind == IntentKind.TIDY:
        beside = Play(stage, "vps-restore", "j2", facts=facts, more={**more, "role": "beside"}).run()
        more = {"names": [beside["restore"]["into"]["name"]]}
    if kind in OTHERWISE:
        stage.spec, more = spec_of(stage, OTHERWISE[kind]), {"restart": "now", "not_after": ""}
    if kind in (IntentKind.RESET_PASSWORD, IntentKind.SET_KEYS):
        more = {"password_hash": CRYPT, "ssh_keys": [KEY], "old_keys": []}
    stage.job(kind, "j3")
    if kind in (IntentKind.MOVE, IntentKind.RECOVER):
        more |= {"to": ""}
        lose(stage, kind)
    until = UNTIL if kind == IntentKind.TERMINATE else ""
    holds = ("nonpayment",) if kind == IntentKind.SUSPEND else ()
    limits = ("abuse",) if kind in (IntentKind.LIMIT, IntentKind.RECOVER) else ()
    return Play(stage, name, "j3", facts=facts, holds=holds, limits=limits, until=until, more=more)


def lose(stage: Stage, kind: IntentKind) -> None:
    """The first node is lost where that is what it takes: nobody answers there, and nothing may be asked of it."""
    if kind != IntentKind.RECOVER:
        return
    with stage.db.write() as conn:
        nodes.set_lost(conn, "n1", Lost(at=NOW, by="anna", why="burnt", statement="lost-n1"))
    stage.world.set_node("n1", up=False)


def reversible() -> list[tuple[str, str]]:
    """Every step of every playbook up to the first that cannot be undone."""
    found = []
    for name, book in GUESTS.items():
        for step in book.steps:
            if step.on_failure is OnFailure.HALT:
                break
            # In place of "limit", where the plan is not sold any more; of an old copy: see below.
            if step.id != "limit-by-default" and (name == "vps-tidy") <= (step.id == "discard"):
                found.append((name, step.id))
    return found


def test_every_intent_that_is_carried_out_has_a_playbook() -> None:
    later = {IntentKind.SET_ACCOUNT, IntentKind.IMPORT, IntentKind.ADOPT}
    later |= {IntentKind.RESCUE, IntentKind.LEAVE_RESCUE, IntentKind.TEST_HARDWARE}
    assert set(GUESTS) == {f"vps-{kind}" for kind in IntentKind if kind not in later}
    assert all(workflow.problems(book, arguments()) == [] for book in BOOKS.values())


def test_every_step_of_the_registry_is_used() -> None:
    assert {step.step for book in BOOKS.values() for step in book.steps} == set(STEPS)


@pytest.mark.parametrize("name", sorted(set(GUESTS) - {"vps-provision"}))
def test_each_playbook_runs_to_its_end_and_again_finds_nothing_to_do(stage: Stage, name: str) -> None:
    running = play(stage, name, provisioned(stage))
    running.run()
    settled = stage.snapshot(tokens=True)
    running.applied.clear()
    running.run()
    assert stage.snapshot(tokens=True) == settled


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "step_id"), [(n, s) for n, s in reversible() if n != "vps-check" and (n, s) not in IRREVOCABLE])
def test_a_run_broken_off_at_any_step_leaves_things_as_they_were(stage: Stage, name: str, step_id: str, half: bool) -> None:
    making = name == "vps-provision"
    running = Play(stage, name, "j1", facts={}) if making else play(stage, name, provisioned(stage))
    untouched = stage.snapshot()
    with pytest.raises(BrokenOff):
        running.run(break_off_at=step_id, half=half)
    running.undo()
    assert stage.snapshot() == untouched


def restored_elsewhere(stage: Stage) -> Play:
    """The wiping of the old copy on a node that was lost and found."""
    facts = provisioned(stage)
    running = play(stage, "vps-recover", facts)
    after = {**facts, **running.run(), "node": "n2", "nodes_ever": ["n1", "n2"]}
    stage.world.set_node("n1", up=True)
    FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.DESTROY, deadline=5)  # as it is held there
    with stage.db.write() as conn:
        nodes.set_found(conn, "n1")
        conn.execute(sa.update(tables.jobs).where(tables.jobs.c.id == "j3").values(state="done"))
    stage.job(IntentKind.TIDY, "j4")
    more = {"left": "n1", "names": [], "known": {"define": after["define"]}}
    return Play(stage, "vps-tidy", "j4", facts=after, more=more)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("step_id", ["left", "record", "undefine"])
def test_the_wiping_of_an_old_copy_can_be_broken_off_until_it_begins(stage: Stage, step_id: str, half: bool) -> None:
    running = restored_elsewhere(stage)
    untouched = stage.snapshot()
    with pytest.raises(BrokenOff):
        running.run(break_off_at=step_id, half=half)
    running.undo()
    assert stage.snapshot() == untouched


def test_of_an_old_copy_nothing_is_left_and_what_the_service_runs_on_is_not_touched(stage: Stage) -> None:
    running = restored_elsewhere(stage)
    before = stage.snapshot()
    given = running.run()
    wiped = given["wipe"]["wiped"]
    again = stage.check("volume.wipe", {"node": "n1", "volumes": given["record"]["volumes"]}, job="j4")
    assert isinstance(again, Done)
    assert again.facts == given["wipe"], "after a crash its reports are found again"
    after = stage.snapshot()
    assert [each["report"]["method"] for each in wiped] == ["crypto-erase", "overwrite"]
    assert (after["n2"], after["lease"], after["reservation"]) == (before["n2"], before["lease"], before["reservation"])
    assert (after["n1"]["guests"], after["n1"]["secrets"]) == ({}, [])
    assert not [name for name in after["n1"]["volumes"] if name.startswith("orch.s1.")]


def test_while_another_node_has_an_old_copy_nothing_is_ended_but_one_that_does_not_answer_hinders_nobody(stage: Stage) -> None:
    restored_elsewhere(stage)
    with pytest.raises(WrongState, match=r"an old copy of s1 is on n1: guest orch\.s1, volume orch\.s1\.disk"):
        stage.check("node.none-left", {"node": "n2"}, job="j4")
    with pytest.raises(WrongState, match="is on n2"):
        stage.check("node.none-left", {"node": "n1"}, job="j4")
    stage.world.set_node("n1", up=False)
    assert stage.check("node.none-left", {"node": "n2"}, job="j4") == Done({"looked_at": ["n1"]})
    lose(stage, IntentKind.RECOVER)
    assert stage.check("node.none-left", {"node": "n2"}, job="j4") == Done({"looked_at": []})


def test_of_a_node_that_was_found_meanwhile_nothing_is_restored_elsewhere(stage: Stage) -> None:
    running = play(stage, "vps-recover", provisioned(stage))
    with stage.db.write() as conn:
        nodes.set_found(conn, "n1")
    untouched = stage.snapshot()
    with pytest.raises(WrongState, match="n1 is not lost"):
        running.run()
    assert stage.snapshot() == untouched


def test_where_the_service_is_nothing_is_taken_for_an_old_copy(stage: Stage) -> None:
    facts = provisioned(stage)
    stage.job(IntentKind.TIDY, "j3")
    with pytest.raises(WrongState, match="s1 is on n1"):
        Play(stage, "vps-tidy", "j3", facts=facts, more={"left": "n1", "names": [], "known": {}}).run()


@pytest.mark.parametrize("suspended", [False, True])
def test_a_termination_paid_for_before_the_wipe_brings_the_guest_back_as_it_was(stage: Stage, suspended: bool) -> None:
    facts = provisioned(stage)
    if suspended:
        stage.job(IntentKind.SUSPEND, "j2")
        Play(stage, "vps-suspend", "j2", facts=facts, holds=("nonpayment",)).run()
    untouched = stage.snapshot()
    running = play(stage, "vps-terminate", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    stage.pay()
    running.given.clear()
    with pytest.raises(FenceClosed):
        running.run()
    running.undo()
    assert stage.snapshot() == untouched
    assert stage.service().point_of_no_return is None


def test_a_guest_that_is_being_ended_cannot_be_started_meanwhile(stage: Stage) -> None:
    running = play(stage, "vps-terminate", provisioned(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="undefine")
    with pytest.raises(Refused, match="terminating"):
        FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.START, deadline=5)
    stage.world.reboot("n1")
    assert stage.guest()["power"] == "stopped"


def test_past_the_point_of_no_return_nothing_is_undone_and_the_run_goes_on(stage: Stage) -> None:
    running = play(stage, "vps-terminate", provisioned(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe", half=True)
    with pytest.raises(OrchestratorError):
        running.undo()
    assert stage.world.node("n1")["guests"] == {}
    stage.pay()
    running.given.clear()
    running.run()
    kept = stage.ledger.certificate("s1")
    assert kept is not None
    assert [v["method"] for v in kept["volumes"]] == ["crypto-erase", "overwrite"]
    assert stage.addresses.lease("s1") is None


def test_a_service_that_never_was_made_is_ended_without_a_wipe(stage: Stage) -> None:
    stage.job(IntentKind.TERMINATE, "j3")
    running = Play(stage, "vps-terminate", "j3", facts={"node": "", "nodes_ever": []})
    assert [c.id for c in running.workflow.calls if not c.skipped] == ["residue", "capacity", "addresses"]
    assert "never was on one" in running.run()["residue"]["proof"]


def test_a_service_whose_plan_is_sold_no_more_can_still_be_suspended_and_ended(stage: Stage) -> None:
    facts = provisioned(stage)
    stage.spec = {}
    for name in (
        "vps-suspend",
        "vps-unsuspend",
        "vps-limit",
        "vps-unlimit",
        "vps-terminate",
        "vps-stop",
        "vps-start",
        "vps-reboot",
    ):
        Play(stage, name, "j9", facts=facts)
    with pytest.raises(PreconditionError):
        Play(stage, "vps-check", "j9", facts=facts)


def test_a_service_whose_plan_is_sold_no_more_is_limited_to_what_plans_say_by_default_and_given_back_what_it_had(
    stage: Stage,
) -> None:
    facts = provisioned(stage)
    untouched = stage.snapshot()
    stage.spec = {}
    limited = Play(stage, "vps-limit", "j8", facts=facts, limits=("abuse",))
    assert [c.id for c in limited.workflow.calls if not c.skipped] == ["limit-by-default", "read-back"]
    assert limited.run()["read-back"] == {"network_bytes_per_second": LIMITED_NETWORK}
    Play(stage, "vps-unlimit", "j9", facts=facts).run()
    assert stage.snapshot() == untouched


def test_a_limited_guest_is_as_it_was_sold_and_as_limited_as_before_after_a_suspension_and_a_termination_that_stopped(
    stage: Stage,
) -> None:
    facts = provisioned(stage)
    Play(stage, "vps-limit", "j5", facts=facts, limits=("abuse",)).run()
    limited = stage.snapshot()
    assert stage.guest()["definition"]["network_bytes_per_second"] == LIMITED_NETWORK
    stage.job(IntentKind.SUSPEND, "j6")
    Play(stage, "vps-suspend", "j6", facts=facts, holds=("nonpayment",)).run()
    stage.put(stage.service().without_hold(stage.service().holds[0].reason))
    Play(stage, "vps-unsuspend", "j7", facts=facts).run()
    assert stage.snapshot() == limited
    Play(stage, "vps-check", "j8", facts=facts, limits=("abuse",)).run()
    running = play(stage, "vps-terminate", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    running.undo()
    assert stage.snapshot() == limited


def test_a_guest_that_is_installed_anew_has_nothing_of_the_old_disk_and_the_same_addresses(stage: Stage) -> None:
    facts = provisioned(stage)
    stage.world.plant("n1", facts["disk"]["volume"]["name"], LETTERS)
    before = stage.guest()["definition"]
    made = play(stage, "vps-reinstall", facts).run()
    after, volumes = stage.guest()["definition"], stage.world.node("n1")["volumes"]
    old, new = ([each["path"].rpartition("/")[2] for each in one["disks"]] for one in (before, after))
    assert (len(new), set(old) & set(new), set(old) & set(volumes)) == (2, set(), set())
    assert volumes[new[0]]["backing"].rpartition("/")[2] == "debian.qcow2"
    assert not any(LETTERS in volume["markers"] for volume in volumes.values())
    assert ([wiped["name"] for wiped in made["wipe"]["wiped"]], made["wipe"]["keys_destroyed"]) == (old, old[:1])
    kept = ("lease", "uuid", "vcpus", "memory_bytes", "network_bytes_per_second")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert (stage.guest()["power"], stage.guest()["autostart"]) == ("running", True)
    assert stage.service().point_of_no_return is None
    Play(stage, "vps-check", "j4", facts={**facts, **made}).run()


@pytest.mark.parametrize("reason", [HoldReason.NONPAYMENT, HoldReason.LEGAL])
def test_a_hold_that_comes_before_the_old_disk_goes_brings_it_back(stage: Stage, reason: HoldReason) -> None:
    facts = provisioned(stage)
    untouched = stage.snapshot()
    running = play(stage, "vps-reinstall", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    effect = HoldEffect.STOP if reason == HoldReason.NONPAYMENT else HoldEffect.NO_ERASE
    stage.put(stage.service().with_hold(Hold(reason=reason, effect=effect, by="anna", why="said so", since=NOW)))
    running.given.clear()
    with pytest.raises(FenceClosed):
        running.run()
    running.undo()
    assert stage.snapshot() == untouched


def test_from_another_template_it_is_signed_anew_and_as_before_again_when_it_is_undone(stage: Stage) -> None:
    facts = provisioned(stage)
    untouched, digest = stage.snapshot(), stage.spec["digest"]
    template = {**stage.spec["template"], "name": "other", "kernel": "", "initrd": "", "kernel_arguments": ""}
    stage.spec = {**stage.spec, "template": template, "digest": "f" * 64}
    running = play(stage, "vps-reinstall", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe")
    mark, definition = stage.guest()["mark"], stage.guest()["definition"]
    assert (mark["spec_digest"], mark["job_id"], definition["kernel"]) == ("f" * 64, "j3", "")
    running.undo()
    assert stage.snapshot() == untouched
    assert (stage.guest()["mark"]["spec_digest"], stage.guest()["mark"]["job_id"]) == (digest, "j1")


def test_once_the_old_disk_is_being_wiped_the_guest_stays_on_the_new_one(stage: Stage) -> None:
    running = play(stage, "vps-reinstall", provisioned(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="wipe", half=True)
    with pytest.raises(OrchestratorError, match="cannot be brought back"):
        running.undo()
    assert stage.guest()["power"] == "running"


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_guest_moves_with_what_is_on_its_disk_and_leaves_nothing_behind(stage: Stage, encrypted: bool) -> None:
    stage.spec = {**stage.spec, "guest": {**stage.spec["guest"], "encrypted": encrypted}}
    facts = provisioned(stage)
    (disk,) = (name for name in stage.world.node("n1")["volumes"] if ".disk." in name)
    stage.world.plant("n1", disk, LETTERS)
    play(stage, "vps-move", facts).run()
    left, there = stage.world.node("n1"), stage.world.node("n2")
    assert (left["guests"], [name for name in left["volumes"] if "s1" in name], stage.world.on_medium("n1", LETTERS)) == (
        {},
        [],
        False,
    )
    (new,) = (volume for name, volume in there["volumes"].items() if ".disk." in name)
    assert (new["markers"], bool(new["secret_uuid"]), there["guests"]["orch.s1"]["power"]) == ([LETTERS], encrypted, "running")


def test_a_guest_on_its_way_cannot_be_started_where_it_was(stage: Stage) -> None:
    running = play(stage, "vps-move", provisioned(stage))
    with pytest.raises(BrokenOff):
        running.run(break_off_at="undefine")
    with pytest.raises(Refused, match="moving"):
        FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.START, deadline=5)
    stage.world.reboot("n1")
    assert stage.guest()["power"] == "stopped"


@pytest.mark.parametrize("reason", [HoldReason.LEGAL, HoldReason.DISPUTE])
def test_a_hold_that_keeps_the_data_keeps_the_disk_that_a_guest_would_leave_behind(stage: Stage, reason: HoldReason) -> None:
    facts = provisioned(stage)
    untouched = stage.snapshot()
    running = play(stage, "vps-move", facts)
    with pytest.raises(BrokenOff):
        running.run(break_off_at="undefine")
    stage.put(stage.service().with_hold(Hold(reason=reason, effect=HoldEffect.NO_ERASE, by="anna", why="said so", since=NOW)))
    running.given.clear()
    with pytest.raises(FenceClosed):
        running.run()
    running.undo()
    assert stage.snapshot() == untouched


def test_a_guest_that_is_limited_is_installed_anew_as_limited(stage: Stage) -> None:
    facts = provisioned(stage)
    Play(stage, "vps-limit", "j5", facts=facts, limits=("abuse",)).run()
    stage.job(IntentKind.REINSTALL, "j6")
    Play(stage, "vps-reinstall", "j6", facts=facts, limits=("abuse",)).run()
    assert stage.guest()["definition"]["network_bytes_per_second"] == LIMITED_NETWORK
