"""Throttling a guest's network and giving it back, on the simulated node; each undone to the very state that was there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import NotFound, PermanentDriverError, TransientDriverError
from orchestrator.domain.sizes import rate_words
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.steps.base import Done, Facts, Needed
from tests.contract.stage import Stage, set_up

NODE: Facts = {"node": "n1"}
ABUSE: Facts = {"node": "n1", "reasons": ["abuse"], "bytes_per_second": 125_000}
SOLD = 12_500_000
MOMENTS = ("before", "during", "after")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The service's guest runs, made by j1; a limiting job is j2, an unlimiting one j3."""
    built = set_up(tmp_path, with_guest=True)
    yield built
    built.close()


def rate(stage: Stage) -> int:
    found: int = stage.guest()["definition"]["network_bytes_per_second"]
    return found


def set_rate(stage: Stage, wanted: int) -> None:
    FakeHypervisor(stage.world, "n1").set_network_rate("orch.s1", wanted, deadline=5)


def limits(stage: Stage) -> tuple[str, ...]:
    return tuple(stage.guest()["mark"]["limits"])


def verify(stage: Stage, *, limited: bool, **more: object) -> Done | Needed:
    return stage.check("guest.verify-network", {**NODE, "limited": limited, **more})


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("before", [SOLD, 0, 50_000])
def test_limiting_can_be_repeated_and_taken_back(stage: Stage, runs: bool, before: int) -> None:
    if not runs:
        FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.DESTROY, deadline=5)
    set_rate(stage, before)
    untouched = stage.snapshot(tokens=True)
    assert isinstance(stage.check("guest.limit", ABUSE, job="j2"), Needed)
    facts = stage.apply("guest.limit", ABUSE, job="j2")
    throttled = 50_000 if before == 50_000 else 125_000
    assert facts == {"limits": ["abuse"], "bytes_per_second": throttled, "bytes_per_second_before": before}
    assert rate(stage) == throttled
    assert stage.guest()["power"] == ("running" if runs else "stopped")
    made = stage.snapshot(tokens=True)
    assert stage.check("guest.limit", ABUSE, job="j2") == Done(facts, made_by="j2")
    assert stage.check("guest.limit", ABUSE, job="j9") == Done(facts, made_by="")
    stage.apply("guest.limit", ABUSE, job="j2")
    assert stage.snapshot(tokens=True) == made
    stage.undo("guest.limit", ABUSE, job="j9")
    assert stage.snapshot(tokens=True) == made
    for _ in range(2):
        stage.undo("guest.limit", ABUSE, job="j2")
        assert stage.snapshot(tokens=True) == untouched


@pytest.mark.parametrize("before", [SOLD, 0, 50_000])
def test_unlimiting_gives_back_exactly_what_was_and_can_be_taken_back(stage: Stage, before: int) -> None:
    set_rate(stage, before)
    untouched = stage.snapshot()
    stage.run("guest.limit", ABUSE, job="j2")
    limited = stage.snapshot()
    for _ in range(2):
        assert stage.run("guest.unlimit", NODE, job="j3") == {"unlimited": ["abuse"], "bytes_per_second": before}
        assert stage.snapshot() == untouched
    assert stage.apply("guest.unlimit", NODE, job="j3") == {"unlimited": ["abuse"], "bytes_per_second": before}
    assert stage.snapshot() == untouched
    stage.undo("guest.unlimit", NODE, job="j9")
    assert stage.snapshot() == untouched
    for _ in range(2):
        stage.undo("guest.unlimit", NODE, job="j3")
        assert stage.snapshot() == limited


def test_what_is_not_limited_needs_no_unlimiting(stage: Stage) -> None:
    assert stage.check("guest.unlimit", NODE, job="j3") == Done({"unlimited": [], "bytes_per_second": SOLD})


@pytest.mark.parametrize("method", ["hypervisor.mark", "hypervisor.set_network_rate"])
@pytest.mark.parametrize("where", MOMENTS)
@pytest.mark.parametrize("step", ["guest.limit", "guest.unlimit"])
@pytest.mark.parametrize("undoes", [False, True])
def test_cut_off_at_any_call_it_is_done_or_undone_as_if_nothing_had_happened(
    stage: Stage, step: str, method: str, where: str, undoes: bool
) -> None:
    """Above all the throttled rate is never taken for the one that was sold."""
    untouched = stage.snapshot()
    stage.run("guest.limit", ABUSE, job="j2")
    limited = stage.snapshot()
    args, job = (NODE, "j3") if step == "guest.unlimit" else (ABUSE, "j2")
    if step == "guest.limit":
        stage.undo("guest.limit", ABUSE, job="j2")
    stage.fails(method, TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.apply(step, args, job=job)
    if undoes:
        stage.undo(step, args, job=job)
    else:
        stage.run(step, args, job=job)
    assert stage.snapshot() == (limited if (step == "guest.limit") != undoes else untouched)


@pytest.mark.parametrize("method", ["hypervisor.mark", "hypervisor.set_network_rate"])
@pytest.mark.parametrize("where", MOMENTS)
@pytest.mark.parametrize("step", ["guest.limit", "guest.unlimit"])
def test_undoing_that_is_cut_off_is_undone_again(stage: Stage, step: str, method: str, where: str) -> None:
    untouched = stage.snapshot()
    stage.run("guest.limit", ABUSE, job="j2")
    wanted = stage.snapshot() if step == "guest.unlimit" else untouched
    if step == "guest.unlimit":
        stage.run("guest.unlimit", NODE, job="j3")
    args, job = (NODE, "j3") if step == "guest.unlimit" else (ABUSE, "j2")
    stage.fails(method, TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.undo(step, args, job=job)
    stage.undo(step, args, job=job)
    assert stage.snapshot() == wanted


def test_a_second_reason_is_added_and_taken_back_without_unlimiting(stage: Stage) -> None:
    stage.run("guest.limit", ABUSE, job="j2")
    limited = stage.snapshot()
    both = {**NODE, "reasons": ["abuse", "quota"], "bytes_per_second": 60_000}
    stage.run("guest.limit", both, job="j4")
    assert (limits(stage), rate(stage), stage.guest()["mark"]["network_before"]) == (("abuse", "quota"), 60_000, SOLD)
    stage.undo("guest.limit", both, job="j4")
    assert stage.snapshot() == limited


def test_the_first_reason_is_taken_back_while_a_second_still_limits(stage: Stage) -> None:
    stage.run("guest.limit", ABUSE, job="j2")
    stage.run("guest.limit", {**ABUSE, "reasons": ["abuse", "quota"]}, job="j4")
    stage.undo("guest.limit", ABUSE, job="j2")
    assert (limits(stage), rate(stage), stage.guest()["mark"]["limited_rate"]) == (("quota",), 125_000, 125_000)


def test_a_limit_that_somebody_loosened_is_needed_again(stage: Stage) -> None:
    stage.run("guest.limit", ABUSE, job="j2")
    set_rate(stage, 0)
    assert isinstance(stage.check("guest.limit", ABUSE, job="j4"), Needed)
    stage.run("guest.limit", ABUSE, job="j4")
    assert (rate(stage), stage.guest()["mark"]["network_before"]) == (125_000, SOLD)


def test_a_limited_guest_stays_so_through_restarts_of_it_and_of_its_host(stage: Stage) -> None:
    stage.run("guest.limit", ABUSE, job="j2")
    hypervisor = FakeHypervisor(stage.world, "n1")
    for action in (PowerAction.REBOOT, PowerAction.DESTROY, PowerAction.START):
        hypervisor.power("orch.s1", action, deadline=5)
    stage.world.reboot("n1")
    assert (stage.guest()["power"], rate(stage), limits(stage)) == ("running", 125_000, ("abuse",))


@pytest.mark.parametrize("name", ["guest.limit", "guest.unlimit", "guest.verify-network"])
def test_a_guest_that_is_gone_is_said_to_be_gone(stage: Stage, name: str) -> None:
    with stage.world.change() as state:
        del state["nodes"]["n1"]["guests"]["orch.s1"]
    args = {"guest.limit": ABUSE, "guest.unlimit": NODE, "guest.verify-network": {**NODE, "limited": True}}[name]
    with pytest.raises(NotFound):
        stage.check(name, args)


def test_reading_back_sees_a_limit_that_is_in_force_and_only_that(stage: Stage) -> None:
    assert isinstance(verify(stage, limited=True), Needed)
    assert isinstance(verify(stage, limited=False, bytes_per_second=SOLD), Done)
    stage.run("guest.limit", ABUSE, job="j2")
    assert verify(stage, limited=True) == Done({"network_bytes_per_second": 125_000})
    assert isinstance(verify(stage, limited=False, bytes_per_second=125_000), Needed)
    for loosened in (SOLD, 0):
        set_rate(stage, loosened)
        assert isinstance(verify(stage, limited=True), Needed)
        with pytest.raises(PermanentDriverError, match=rate_words(loosened)):
            stage.apply("guest.verify-network", {**NODE, "limited": True})


def test_undoing_after_another_job_was_faster_leaves_what_that_one_made(stage: Stage) -> None:
    """A job that waits for an operator is undone long after others worked on the guest."""
    untouched = stage.snapshot()
    stage.run("guest.limit", ABUSE, job="j2")
    stage.run("guest.unlimit", NODE, job="j3")
    stage.undo("guest.limit", ABUSE, job="j2")
    assert stage.snapshot() == untouched
    stage.run("guest.limit", ABUSE, job="j4")
    limited = stage.snapshot()
    stage.undo("guest.unlimit", NODE, job="j3")
    stage.undo("guest.limit", ABUSE, job="j2")
    assert stage.snapshot() == limited
