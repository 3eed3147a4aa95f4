"""Switching, holding and letting go, on the simulated node; each undone to the very state that was there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.errors import (
    FenceClosed,
    Frozen,
    NotFound,
    PermanentDriverError,
    TransientDriverError,
    WrongState,
)
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import Lifecycle
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, PowerAction
from orchestrator.steps import let_go
from orchestrator.steps.base import Done, Facts, Needed
from orchestrator.store import settings
from tests.contract.stage import NOW, Stage, set_up

NODE: Facts = {"node": "n1"}
HOLD: Facts = {"node": "n1", "holds": ["nonpayment"]}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The service's guest runs, made by j1; a suspending job is j2, an unsuspending one j3."""
    built = set_up(tmp_path, with_guest=True)
    built.job(IntentKind.SUSPEND, "j2")
    yield built
    built.close()


def switch(stage: Stage, action: PowerAction) -> None:
    FakeHypervisor(stage.world, "n1").power("orch.s1", action, deadline=5)


def set_autostart(stage: Stage, *, on: bool) -> None:
    facts, mark = marked(stage)
    FakeHypervisor(stage.world, "n1").mark(facts.name, mark, autostart=on, deadline=5)


def marked(stage: Stage) -> tuple[GuestFacts, GuestMark]:
    facts = FakeHypervisor(stage.world, "n1").guest("orch.s1", deadline=5)
    assert facts is not None
    assert facts.mark is not None
    return facts, facts.mark


def suspend(stage: Stage, job: str = "j2", holds: Facts = HOLD) -> None:
    stage.run("guest.hold", holds, job=job)
    stage.run("guest.stop", NODE, job=job)
    stage.run("guest.prove-suspended", NODE, job=job)


# -- the contract of each --------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("autostart", [True, False])
@pytest.mark.parametrize(
    ("name", "args", "needs"),
    [
        ("guest.start", {**NODE, "autostart": True}, False),
        ("guest.stop", {**NODE, "autostart": False}, True),
        ("guest.hold", HOLD, None),
    ],
)
def test_switching_and_holding_can_be_repeated_and_taken_back(
    stage: Stage, name: str, args: Facts, needs: bool | None, runs: bool, autostart: bool
) -> None:
    if not runs:
        switch(stage, PowerAction.DESTROY)
    set_autostart(stage, on=autostart)
    untouched = stage.snapshot(tokens=True)
    if needs is not None and needs != runs and autostart == args["autostart"]:
        assert isinstance(stage.check(name, args, job="j2"), Done)
        return
    if name == "guest.hold" or needs == runs:
        assert isinstance(stage.check(name, args, job="j2"), Needed)
    facts = stage.apply(name, args, job="j2")
    found = stage.check(name, args, job="j2")
    assert isinstance(found, Done)
    assert (found.made_by, found.facts) == ("j2", facts)
    made = stage.snapshot(tokens=True)
    stage.apply(name, args, job="j2")
    assert stage.snapshot(tokens=True) == made
    stage.undo(name, args, job="j9")
    assert stage.snapshot(tokens=True) == made
    stage.undo(name, args, job="j2")
    assert stage.snapshot(tokens=True) == untouched
    stage.undo(name, args, job="j2")
    assert stage.snapshot(tokens=True) == untouched


@pytest.mark.parametrize("name", ["guest.start", "guest.stop", "guest.reboot", "guest.prove-suspended", "guest.release-hold"])
def test_a_guest_that_is_gone_is_said_to_be_gone(stage: Stage, name: str) -> None:
    with stage.world.change() as state:
        del state["nodes"]["n1"]["guests"]["orch.s1"]
    if name == "guest.stop":
        assert stage.check(name, NODE) == Done({"absent": True})
        return
    with pytest.raises(NotFound):
        stage.check(name, NODE)


def test_a_guest_that_does_not_hear_the_question_is_switched_off(stage: Stage) -> None:
    stage.fails("hypervisor.power.shutdown", TransientDriverError("still running"))
    stage.apply("guest.stop", NODE, job="j2")
    assert stage.guest()["power"] == "stopped"
    assert [c.method for c in stage.world.journal() if "power" in c.method][-2:] == [
        "hypervisor.power.shutdown",
        "hypervisor.power.destroy",
    ]


@pytest.mark.parametrize("power", ["paused", "crashed"])
def test_a_guest_that_cannot_hear_is_not_asked(stage: Stage, power: str) -> None:
    with stage.world.change() as state:
        state["nodes"]["n1"]["guests"]["orch.s1"]["power"] = power
    stage.apply("guest.stop", NODE, job="j2")
    assert stage.guest()["power"] == "stopped"
    assert "hypervisor.power.shutdown" not in [c.method for c in stage.world.journal()]


def test_a_restart_is_made_once_for_each_job(stage: Stage) -> None:
    boots = stage.guest()["boots"]
    stage.run("guest.reboot", NODE, job="j2")
    stage.run("guest.reboot", NODE, job="j2")
    assert stage.guest()["boots"] == boots + 1
    stage.run("guest.reboot", NODE, job="j3")
    assert stage.guest()["boots"] == boots + 2


def test_a_guest_that_does_not_react_is_reset_and_one_that_is_off_is_not_restarted(stage: Stage) -> None:
    stage.fails("hypervisor.power.reboot", TransientDriverError("no reaction"))
    stage.apply("guest.reboot", NODE, job="j2")
    assert stage.world.journal()[-2].method == "hypervisor.power.reset"
    switch(stage, PowerAction.DESTROY)
    with pytest.raises(WrongState):
        stage.apply("guest.reboot", NODE, job="j3")


# -- suspended, and back ------------------------------------------------------------------------------------


def test_a_suspended_guest_is_off_held_and_stays_off_when_its_host_restarts(stage: Stage) -> None:
    suspend(stage)
    facts, mark = marked(stage)
    assert (facts.power, facts.autostart, mark.holds) == ("stopped", False, ("nonpayment",))
    stage.world.reboot("n1")
    assert stage.guest()["power"] == "stopped"
    found = stage.check("guest.prove-suspended", NODE, job="j2")
    assert isinstance(found, Done)
    assert "held for nonpayment" in found.facts["start_refused"]


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("autostart", [True, False])
def test_letting_go_brings_back_exactly_what_was(stage: Stage, runs: bool, autostart: bool) -> None:
    if not runs:
        switch(stage, PowerAction.DESTROY)
    set_autostart(stage, on=autostart)
    untouched = stage.snapshot()
    suspend(stage)
    stage.run("guest.release-hold", NODE, job="j3")
    stage.run("guest.restore-power", NODE, job="j3")
    assert stage.snapshot() == untouched
    for name in ("guest.release-hold", "guest.restore-power"):
        assert isinstance(stage.check(name, NODE, job="j3"), Done)


def test_letting_go_can_be_taken_back_at_any_point(stage: Stage) -> None:
    suspend(stage)
    held = stage.snapshot()
    for applied in (1, 2):
        names = ["guest.release-hold", "guest.restore-power"][:applied]
        for name in names:
            stage.run(name, NODE, job="j3")
        for name in reversed(names):
            stage.undo(name, NODE, job="j3")
            stage.undo(name, NODE, job="j3")
        assert stage.snapshot() == held


@pytest.mark.parametrize("where", ["before", "after"])
def test_letting_go_that_was_cut_off_while_starting_is_taken_back(stage: Stage, where: str) -> None:
    suspend(stage)
    held = stage.snapshot()
    stage.run("guest.release-hold", NODE, job="j3")
    stage.fails("hypervisor.power.start", TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.apply("guest.restore-power", NODE, job="j3")
    stage.undo("guest.restore-power", NODE, job="j3")
    stage.undo("guest.release-hold", NODE, job="j3")
    assert stage.snapshot() == held


@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize("runs", [True, False])
def test_suspending_can_be_taken_back_at_any_point(stage: Stage, done: int, runs: bool) -> None:
    if not runs:
        switch(stage, PowerAction.DESTROY)
    untouched = stage.snapshot()
    every: list[tuple[str, Facts]] = [("guest.hold", HOLD), ("guest.stop", NODE), ("guest.prove-suspended", NODE)]
    steps = every[:done]
    for name, args in steps:
        stage.run(name, args, job="j2")
    for name, args in reversed(steps):
        stage.undo(name, args, job="j2")
        stage.undo(name, args, job="j2")
    assert stage.snapshot() == untouched


def test_holding_that_was_cut_off_half_way_still_knows_how_the_guest_was(stage: Stage) -> None:
    stage.fails("hypervisor.mark", TransientDriverError("cut off"), where="during")
    with pytest.raises(TransientDriverError):
        stage.apply("guest.hold", HOLD, job="j2")
    assert isinstance(stage.check("guest.hold", HOLD, job="j2"), Needed)
    stage.run("guest.hold", HOLD, job="j2")
    _, mark = marked(stage)
    assert (mark.power_before, mark.autostart_before) == ("running", True)


def test_a_second_reason_is_added_and_taken_back_without_letting_go(stage: Stage) -> None:
    suspend(stage)
    held = stage.snapshot()
    stage.job(IntentKind.SUSPEND, "j3")
    stage.run("guest.hold", {**NODE, "holds": ["abuse", "nonpayment"]}, job="j3")
    assert marked(stage)[1].holds == ("abuse", "nonpayment")
    stage.undo("guest.hold", {**NODE, "holds": ["abuse", "nonpayment"]}, job="j3")
    assert stage.snapshot() == held


def test_a_host_that_lets_a_held_guest_start_is_found_out(stage: Stage) -> None:
    """The suspension is not proven, and the guest does not stay up."""
    stage.run("guest.hold", HOLD, job="j2")
    stage.run("guest.stop", NODE, job="j2")
    hypervisor = FakeHypervisor(stage.world, "n1")

    class NoHook:
        def __getattr__(self, name: str) -> object:
            return getattr(hypervisor, name)

        def power(self, name: str, action: PowerAction, *, deadline: float) -> GuestFacts:
            if action is not PowerAction.START:
                return hypervisor.power(name, action, deadline=deadline)
            with stage.world.change() as state:
                state["nodes"]["n1"]["guests"][name]["power"] = "running"
            return marked(stage)[0]

    stage.ports = replace(stage.ports, hypervisor=lambda _node: NoHook())  # type: ignore[arg-type,return-value]
    with pytest.raises(PermanentDriverError, match="let the held guest"):
        stage.apply("guest.prove-suspended", NODE, job="j2")
    assert stage.guest()["power"] == "stopped"
    assert isinstance(stage.check("guest.prove-suspended", NODE, job="j2"), Needed)


def test_a_start_that_fails_for_another_reason_proves_nothing(stage: Stage) -> None:
    stage.run("guest.hold", HOLD, job="j2")
    stage.run("guest.stop", NODE, job="j2")
    stage.fails("hypervisor.power.start", PermanentDriverError("no such disk"))
    with pytest.raises(PermanentDriverError, match="no such disk"):
        stage.apply("guest.prove-suspended", NODE, job="j2")


@pytest.mark.parametrize("stopped", [True, False])
def test_only_a_held_guest_that_is_off_can_be_proven_suspended(stage: Stage, stopped: bool) -> None:
    if stopped:
        switch(stage, PowerAction.DESTROY)
    else:
        stage.run("guest.hold", HOLD, job="j2")
    with pytest.raises(WrongState):
        stage.apply("guest.prove-suspended", NODE, job="j2")


# -- the fence before a suspension ----------------------------------------------------------------------------


def test_a_customer_who_paid_at_the_last_instant_is_not_held(stage: Stage) -> None:
    untouched = stage.snapshot(tokens=True)
    stage.pay()
    with pytest.raises(FenceClosed):
        stage.apply("guest.hold", HOLD, job="j2")
    assert stage.snapshot(tokens=True) == untouched


def test_a_payment_after_holding_was_cut_off_half_way_lets_go_again(stage: Stage) -> None:
    untouched = stage.snapshot(tokens=True)
    stage.fails("hypervisor.mark", TransientDriverError("cut off"), where="during")
    with pytest.raises(TransientDriverError):
        stage.apply("guest.hold", HOLD, job="j2")
    stage.pay()
    with pytest.raises(FenceClosed):
        stage.apply("guest.hold", HOLD, job="j2")
    assert stage.snapshot(tokens=True) == untouched


def test_a_freeze_holds_back_a_suspension(stage: Stage) -> None:
    with stage.db.write() as conn:
        settings.set_freeze(conn, by="anna", why="wrong invoices", now=NOW)
    with pytest.raises(Frozen):
        stage.apply("guest.hold", HOLD, job="j2")
    assert stage.guest()["mark"]["holds"] == []


def test_holding_for_a_termination_leaves_no_point_of_no_return(stage: Stage) -> None:
    stage.job(IntentKind.TERMINATE, "j4")
    stage.apply("guest.hold", {**NODE, "holds": ["terminating"]}, job="j4")
    assert stage.service().point_of_no_return is None
    assert stage.service().state == Lifecycle.TERMINATING


@pytest.mark.parametrize("runs", [True, False])
def test_a_guest_that_is_kept_off_beside_its_service_is_let_go_as_it_was_wherever_that_was_cut_off(
    stage: Stage, *, runs: bool
) -> None:
    hypervisor = FakeHypervisor(stage.world, "n1")
    switch(stage, PowerAction.START if runs else PowerAction.DESTROY)
    set_autostart(stage, on=runs)
    before = stage.snapshot()
    for _ in range(2):
        let_go.keep_off(hypervisor, *marked(stage), "elsewhere", seconds=5)
        assert (marked(stage)[0].power, marked(stage)[0].autostart, marked(stage)[1].holds) == ("stopped", False, ("elsewhere",))
    stage.world.fault("hypervisor.power.start" if runs else "hypervisor.mark", nth=0, error=TransientDriverError("lost"))
    with pytest.raises(TransientDriverError):
        let_go.let_go(hypervisor, *marked(stage), (), seconds=5)
    stage.world.clear_faults()
    assert let_go.let_go(hypervisor, *marked(stage), (), seconds=5)
    assert stage.snapshot() == before
    assert not let_go.let_go(hypervisor, *marked(stage), (), seconds=5)
