"""Opening and closing a guest's outgoing mail, on the simulated node; undone to the very state that was there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain import specs
from orchestrator.domain.errors import TransientDriverError
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.drivers.fake.hypervisor import LIVE_MAIL
from orchestrator.ports.hypervisor import PowerAction
from orchestrator.steps.base import Done, Facts, Needed
from tests.contract.stage import PLAN, TEMPLATE, Stage, set_up

MOMENTS = ("before", "during", "after")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The service's guest runs with its mail closed, made by j1; the job that opens it is j2."""
    built = set_up(tmp_path, with_guest=True)
    yield built
    built.close()


def args(stage: Stage, *, out: bool | None = True) -> Facts:
    return {"node": "n1", "guest": {**stage.spec["guest"], "mail_out": out}}


def mail(stage: Stage) -> tuple[bool, bool, str]:
    """Now, after the next start, and whether it runs."""
    facts = FakeHypervisor(stage.world, "n1").guest("orch.s1", deadline=5)
    assert facts is not None
    return facts.mail_out, facts.mail_out_at_start, facts.power.value


@pytest.mark.parametrize("runs", [True, False])
def test_opening_can_be_repeated_and_taken_back(stage: Stage, runs: bool) -> None:
    if not runs:
        FakeHypervisor(stage.world, "n1").power("orch.s1", PowerAction.DESTROY, deadline=5)
    untouched, power = stage.snapshot(tokens=True), "running" if runs else "stopped"
    assert mail(stage) == (False, False, power)
    assert isinstance(stage.check("guest.mail", args(stage), job="j2"), Needed)
    assert stage.apply("guest.mail", args(stage), job="j2") == {"mail_out": True}
    assert mail(stage) == (True, True, power)
    made = stage.snapshot(tokens=True)
    assert stage.check("guest.mail", args(stage), job="j2") == Done({"mail_out": True}, made_by="j2")
    assert stage.check("guest.mail", args(stage), job="j9") == Done({"mail_out": True}, made_by="")
    stage.apply("guest.mail", args(stage), job="j2")
    stage.undo("guest.mail", args(stage), job="j9")
    assert stage.snapshot(tokens=True) == made
    for _ in range(2):
        stage.undo("guest.mail", args(stage), job="j2")
        assert stage.snapshot(tokens=True) == untouched


@pytest.mark.parametrize("method", ["hypervisor.mark", "hypervisor.set_mail"])
@pytest.mark.parametrize("where", MOMENTS)
@pytest.mark.parametrize("undoes", [False, True])
def test_cut_off_at_any_call_it_is_done_or_undone_and_the_guest_runs_on(
    stage: Stage, method: str, where: str, undoes: bool
) -> None:
    untouched = stage.snapshot()
    stage.fails(method, TransientDriverError("cut off"), where=where)
    with pytest.raises(TransientDriverError):
        stage.apply("guest.mail", args(stage), job="j2")
    if undoes:
        stage.undo("guest.mail", args(stage), job="j2")
        assert stage.snapshot() == untouched
    else:
        stage.run("guest.mail", args(stage), job="j2")
        assert mail(stage) == (True, True, "running")


def test_a_guest_that_was_left_halted_goes_on_and_one_that_its_operator_halted_stays_so(stage: Stage) -> None:
    def halted(*, live: bool) -> None:
        with stage.world.change() as state:
            guest = state["nodes"]["n1"]["guests"]["orch.s1"]
            guest["power"] = "paused"
            guest.update({LIVE_MAIL: False} if live else {})

    stage.apply("guest.mail", args(stage), job="j2")
    for live in (True, False):
        halted(live=live)
        assert isinstance(stage.check("guest.mail", args(stage), job="j2"), Needed)
        stage.run("guest.mail", args(stage), job="j2")
        assert mail(stage) == (True, True, "running")
    halted(live=False)
    stage.run("guest.mail", args(stage, out=False), job="j3")
    assert mail(stage) == (False, False, "paused")


def test_of_a_job_that_an_older_version_wrote_down_nothing_is_asked(stage: Stage) -> None:
    stage.run("guest.mail", args(stage), job="j2")
    assert stage.check("guest.mail", args(stage, out=None), job="j9") == Done({"mail_out": True}, made_by="")


@pytest.mark.parametrize("said", [None, True, False])
@pytest.mark.parametrize("plan", [True, False])
def test_a_word_on_the_service_counts_more_than_its_plan(stage: Stage, said: bool | None, plan: bool) -> None:
    service, sold = replace(stage.service(), mail_out=said), replace(PLAN, mail_out=plan)
    stage.put(service)
    assert stage.service().mail_out == said
    spec = specs.guest_spec(stage.service(), sold, TEMPLATE)
    assert specs.wanted(spec).mail_out == (plan if said is None else said)
