"""What a customer has done to the system of his machine, on simulated ones: what is on their disks is what counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.domain.errors import NotFound, PermanentDriverError, Refused, RequestError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.machines import MachineState
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.drivers.fake.bmc import boots
from orchestrator.drivers.fake.deployments import disk, plant
from orchestrator.engine.conduct import HoldAsked
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.store import services
from tests.integration.test_machine_lives import MAC, RAW, SECONDS, Rack
from tests.integration.test_machine_lives import opened as opened
from tests.integration.test_machine_lives import rack as rack
from tests.live import KEY
from tests.machine_words import PLAN

OTHER = replace(RAW, name="alpine", volume="alpine.raw", sha256="2" * 64)


@pytest.fixture
def sold(rack: Rack) -> Rack:
    """With a customer who has written to both disks."""
    rack.done(rack.ordered())
    for serial in ("A1", "B2"):
        plant(rack.world, "m1", serial, "the shop")
    return rack


def asked(rack: Rack, kind: IntentKind, **arguments: object) -> str:
    return str(rack.engine.command(kind, "s1", who="anna", why="he asked", arguments=arguments).job_id)


def on_disks(rack: Rack) -> list[tuple[str, list[str]]]:
    return [(disk(rack.world, "m1", serial)["image"], disk(rack.world, "m1", serial)["markers"]) for serial in ("A1", "B2")]


def record(rack: Rack) -> Any:
    with rack.db.read() as conn:
        return services.get(conn, "s1")


def facts(rack: Rack) -> Any:
    with rack.db.read() as conn:
        return services.facts(conn, "s1").values


def installed_by(rack: Rack) -> str:
    """The job that wrote the seed."""
    meta = json.loads(disk(rack.world, "m1", "A1")["seed"]["meta-data"])
    return str(meta["instance-id"]).removeprefix("s1-")


def runs_from_its_disk(rack: Rack) -> bool:
    found = rack.bmc().facts(deadline=5)
    return (found.power, found.media, boots(rack.world, "m1")[-1]) == (MachinePower.ON, "", BootFrom.DISK.value)


# -- installed anew ----------------------------------------------------------------------------------------------------------


def test_installed_anew_the_disk_of_the_system_has_the_template_and_the_others_are_as_they_were(sold: Rack) -> None:
    """An image does not reach to the end of the disk: what is there stays, and it is the same customer's."""
    before = disk(sold.world, "m1", "A1")["seed"]
    job = sold.done(asked(sold, IntentKind.REINSTALL))
    assert on_disks(sold) == [(RAW.sha256, ["the shop"]), ("", ["the shop"])]
    after = disk(sold.world, "m1", "A1")["seed"]
    assert KEY.split()[1] in after["user-data"]
    assert (MAC in after["network-config"], after["network-config"]) == (True, before["network-config"])
    assert installed_by(sold) == job.id, "or cloud-init would take it for a system that it has set up before"
    assert runs_from_its_disk(sold)
    assert (sold.machine().state, sold.machine().service_id, sold.state("s1")) == (MachineState.ALLOCATED, "s1", "active")
    assert record(sold).point_of_no_return is None


def test_all_its_disks_are_erased_first_where_that_is_said(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.REINSTALL, all_disks=True))
    assert on_disks(sold) == [(RAW.sha256, []), ("", [])]
    assert [(row["serial"], row["problem"]) for row in facts(sold)["clear"]["cleared"]] == [("A1", ""), ("B2", "")]


def test_another_template_is_on_the_record_once_it_is_on_the_disk(opened: Callable[..., Rack]) -> None:
    rack = opened(plan=replace(PLAN, templates=()), more_templates=(OTHER,))
    rack.enrol()
    rack.look_into()
    rack.done(rack.ordered())
    rack.world.fault("deploy.inspect", error=PermanentDriverError("a cable is out"))
    job = rack.wait(asked(rack, IntentKind.REINSTALL, template="alpine"), seconds=SECONDS)
    assert (job.state, record(rack).template) == (JobState.FAILED, "")
    rack.engine.retry(job.id, "anna")
    rack.done(job.id)
    assert (on_disks(rack)[0][0], record(rack).template) == (OTHER.sha256, "alpine")
    rack.done(asked(rack, IntentKind.REINSTALL))
    assert on_disks(rack)[0][0] == OTHER.sha256, "the one it has from now on"


@pytest.mark.parametrize("fault", ["bmc.insert_media", "deploy.inspect"])
def test_what_fails_before_anything_is_written_over_leaves_the_machine_running_as_it_was(sold: Rack, fault: str) -> None:
    sold.world.fault(fault, error=PermanentDriverError("it says no"))
    job = sold.wait(asked(sold, IntentKind.REINSTALL), seconds=SECONDS)
    assert (job.state, "it says no" in job.error) == (JobState.FAILED, True)
    assert on_disks(sold) == [(RAW.sha256, ["the shop"]), ("", ["the shop"])]
    assert runs_from_its_disk(sold)


@pytest.mark.parametrize("every", [False, True])
def test_what_fails_once_the_disk_is_being_written_over_needs_an_operator_and_goes_on(sold: Rack, every: bool) -> None:
    sold.world.fault("deploy.erase" if every else "deploy.write", error=PermanentDriverError("the drive says no"))
    job = sold.wait(asked(sold, IntentKind.REINSTALL, all_disks=every), seconds=SECONDS)
    assert (job.state, "past the point of no return" in job.error) == (JobState.NEEDS_OPERATOR, True)
    assert record(sold).point_of_no_return is None, "a payment is not too late for it"
    with pytest.raises(WrongState, match="it can only go on"):
        sold.engine.cancel(job.id, "anna")
    sold.engine.retry(job.id, "anna")
    sold.done(job.id)
    assert installed_by(sold) == job.id
    assert runs_from_its_disk(sold)


def test_a_hold_that_comes_before_it_is_written_over_keeps_what_is_there(sold: Rack) -> None:
    sold.world.fault("bmc.insert_media", delay=2.0)
    job_id = asked(sold, IntentKind.REINSTALL)
    sold.wait(job_id, JobState.RUNNING)
    sold.engine.hold("s1", HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court"), "bert")
    job = sold.wait(job_id, seconds=SECONDS)
    assert (job.state, job.error_code) == (JobState.FAILED, "fence-closed")
    assert on_disks(sold)[0] == (RAW.sha256, ["the shop"])
    assert runs_from_its_disk(sold)


def test_asked_to_stop_before_it_is_written_over_it_is_as_it_was(sold: Rack) -> None:
    sold.world.fault("bmc.insert_media", delay=2.0)
    job_id = asked(sold, IntentKind.REINSTALL)
    sold.wait(job_id, JobState.RUNNING)
    sold.engine.cancel(job_id, "anna")
    assert sold.wait(job_id, seconds=SECONDS).state in (JobState.CANCELLED, JobState.FAILED)
    assert on_disks(sold)[0] == (RAW.sha256, ["the shop"])
    assert runs_from_its_disk(sold)


def test_a_termination_after_one_that_got_stuck_can_still_be_paid_for(sold: Rack) -> None:
    """What the one destroyed says nothing of what the other does."""
    sold.world.fault("deploy.write", error=PermanentDriverError("the drive says no"))
    stuck = sold.wait(asked(sold, IntentKind.REINSTALL), seconds=SECONDS)
    assert stuck.state == JobState.NEEDS_OPERATOR
    sold.world.fault("bmc.insert_media", delay=2.0)
    ending = sold.event("service.terminate", "s1", version=2, reason="he left").job_id
    sold.wait(ending, JobState.RUNNING)
    sold.event("invoice.paid", "s1", invoice_id="i1", paid_until="2100-01-01T00:00:00Z")
    assert sold.wait(ending, seconds=SECONDS).error_code == "fence-closed"
    assert (record(sold).point_of_no_return, disk(sold.world, "m1", "B2")["markers"]) == (None, ["the shop"])


def test_a_second_one_while_the_first_is_under_way_is_none(sold: Rack) -> None:
    sold.world.fault("bmc.insert_media", delay=1.0)
    first = asked(sold, IntentKind.REINSTALL)
    again = sold.engine.command(IntentKind.REINSTALL, "s1", who="anna", why="he asked twice", arguments={})
    assert (again.job_id, first in again.detail) == ("", True)
    sold.done(first)


def test_a_frozen_controller_installs_nothing_anew(sold: Rack) -> None:
    sold.engine.freeze("anna", "a storm")
    job = sold.wait(asked(sold, IntentKind.REINSTALL))
    assert (job.state, on_disks(sold)[0]) == (JobState.WAITING_APPROVAL, (RAW.sha256, ["the shop"]))
    sold.engine.unfreeze("anna")
    sold.done(job.id)


@pytest.mark.parametrize("held", [(HoldReason.ABUSE, HoldEffect.STOP), (HoldReason.LEGAL, HoldEffect.NO_ERASE)])
def test_whoever_is_suspended_or_kept_for_a_court_is_not_installed_anew(sold: Rack, held: tuple[HoldReason, HoldEffect]) -> None:
    job_id = sold.engine.hold("s1", HoldAsked(reason=held[0], effect=held[1], why="said so"), "bert").job_id
    if job_id:
        sold.done(job_id)
    with pytest.raises(Refused, match=f"held for {held[0]}"):
        asked(sold, IntentKind.REINSTALL)


def test_a_template_that_is_not_there_or_not_sold_with_the_plan_is_refused(opened: Callable[..., Rack]) -> None:
    qcow, other = replace(OTHER, name="qcow", format="qcow2"), replace(OTHER, name="other")
    rack = opened(plan=replace(PLAN, templates=("debian", "qcow")), more_templates=(qcow, other))
    rack.enrol()
    rack.look_into()
    rack.done(rack.ordered())
    for name, error, says in (
        ("none", NotFound, "no template 'none'"),
        ("other", RequestError, "not sold with template other"),
        ("qcow", RequestError, "written from a raw image"),
    ):
        with pytest.raises(error, match=says):
            asked(rack, IntentKind.REINSTALL, template=name)
    assert len(rack.jobs("s1")) == 1


def test_billing_asks_for_it_by_a_command_that_counts_once(sold: Rack) -> None:
    job = sold.done(sold.event("service.reinstall", "s1", version=2).job_id)
    assert installed_by(sold) == job.id
    assert sold.event("service.reinstall", "s1", version=2).outcome == "duplicate"
    dead = sold.event("service.reinstall", "s1", version=3, template="none")
    assert (dead.outcome, "no template 'none'" in dead.detail) == ("dead", True)
