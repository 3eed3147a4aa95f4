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
from orchestrator.domain.machines.testing import HardwareTest
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.drivers.fake.bmc import add_machine, boots
from orchestrator.drivers.fake.deployments import FakeDeployments, disk, plant
from orchestrator.drivers.fake.outside import FakeClock
from orchestrator.drivers.fake.reach import FakeReach
from orchestrator.engine.conduct import HoldAsked
from orchestrator.engine.testing import BEGINS, HardwareTests
from orchestrator.ports.bmc import BootFrom, MachinePower
from orchestrator.ports.deployment import Task
from orchestrator.steps.base import Done, StepContext
from orchestrator.steps.common import OnNode
from orchestrator.steps.machine_end import MachineErase
from orchestrator.store import audit, services
from orchestrator.store import machines as machine_store
from tests.integration.test_machine_lives import MAC, RAW, SECONDS, Rack, bench
from tests.integration.test_machine_lives import opened as opened
from tests.integration.test_machine_lives import rack as rack
from tests.live import CRYPT, KEY
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
    sold.engine.conduct.hold("s1", HoldAsked(reason=HoldReason.LEGAL, effect=HoldEffect.NO_ERASE, why="a court"), "bert")
    job = sold.wait(job_id, seconds=SECONDS)
    assert (job.state, job.error_code) == (JobState.FAILED, "fence-closed")
    assert on_disks(sold)[0] == (RAW.sha256, ["the shop"])
    assert runs_from_its_disk(sold)


def test_asked_to_stop_before_it_is_written_over_it_is_as_it_was(sold: Rack) -> None:
    sold.world.fault("bmc.insert_media", delay=2.0)
    job_id = asked(sold, IntentKind.REINSTALL)
    sold.wait(job_id, JobState.RUNNING)
    sold.engine.cancel(job_id, "anna")
    assert sold.wait(job_id, seconds=SECONDS).state == JobState.CANCELLED
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
    job_id = sold.engine.conduct.hold("s1", HoldAsked(reason=held[0], effect=held[1], why="said so"), "bert").job_id
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


# -- the password of root ----------------------------------------------------------------------------------------------------


def test_the_password_is_set_in_the_system_on_the_disk_and_is_on_the_record_then(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.RESET_PASSWORD, password_hash=CRYPT))
    assert disk(sold.world, "m1", "A1")["passwords"] == {"root": CRYPT}
    assert (on_disks(sold)[0], record(sold).password_hash) == ((RAW.sha256, ["the shop"]), CRYPT)
    assert facts(sold)["set"] == {"user": "root", "system": "Simulated Linux", "partition": "nvme0n1p1"}
    assert runs_from_its_disk(sold)
    sold.done(asked(sold, IntentKind.REINSTALL))
    assert CRYPT in disk(sold.world, "m1", "A1")["seed"]["user-data"], "it is the one of the new system too"


def test_where_no_system_is_found_that_is_understood_nothing_changes_and_the_machine_runs_on(sold: Rack) -> None:
    none = PermanentDriverError("no Linux system that is understood is on sda; left alone: sda2 (luks)")
    sold.world.fault("deploy.password", error=none)
    job = sold.wait(asked(sold, IntentKind.RESET_PASSWORD, password_hash=CRYPT), seconds=SECONDS)
    assert (job.state, "left alone: sda2 (luks)" in job.error) == (JobState.FAILED, True)
    assert (record(sold).password_hash, runs_from_its_disk(sold)) == ("", True)


@pytest.mark.parametrize("given", ["", "clear-password", "$1$md5$hash"])
def test_only_the_hash_of_a_password_is_taken(sold: Rack, given: str) -> None:
    with pytest.raises(RequestError):
        asked(sold, IntentKind.RESET_PASSWORD, password_hash=given)


def test_the_hash_stands_in_no_audit_and_goes_with_the_service(sold: Rack) -> None:
    job_id = asked(sold, IntentKind.RESET_PASSWORD, password_hash=CRYPT)
    sold.done(job_id)
    with sold.db.read() as conn:
        entries, _ = audit.list_page(conn, limit=1000)
    assert CRYPT not in json.dumps([entry.facts for entry in entries])
    sold.done(sold.event("service.terminate", "s1", version=2, reason="he left").job_id)
    kept = sold.job(job_id)
    assert CRYPT not in json.dumps([kept.arguments, kept.workflow, [step.args for step in sold.steps(job_id)]])


def test_billing_resets_it_by_the_hash(sold: Rack) -> None:
    sold.done(sold.event("service.reset_password", "s1", version=2, password_hash=CRYPT).job_id)
    assert disk(sold.world, "m1", "A1")["passwords"] == {"root": CRYPT}


# -- the rescue system -------------------------------------------------------------------------------------------------------


def answers(rack: Rack) -> bool:
    address = facts(rack)["addresses"]["addresses"][0]
    return bool(FakeReach(rack.world).banner(address, 22, deadline=5))


def in_rescue(rack: Rack) -> bool:
    machine = rack.world.node("m1")["machine"]
    return bool(machine["power"] == "on" and machine.get("rescue", {}).get("boot") == len(machine["boots"]))


def test_in_rescue_it_answers_to_the_given_keys_and_nothing_on_its_disks_has_changed(sold: Rack) -> None:
    before = [disk(sold.world, "m1", serial) for serial in ("A1", "B2")]
    sold.done(asked(sold, IntentKind.RESCUE, ssh_keys=[KEY]))
    assert (in_rescue(sold), answers(sold)) == (True, True)
    assert sold.world.node("m1")["machine"]["rescue"]["keys"] == [KEY]
    told = facts(sold)["rescue"]
    assert (told["fingerprint"][:7], told["login"][0].startswith("root@10.9.")) == ("SHA256:", True)
    found = sold.bmc().facts(deadline=5)
    assert (found.power, found.media, found.boot_once) == (MachinePower.ON, "", None), "a reboot leaves it"
    assert sold.world.node("m1")["machine"]["deployment"]["closed"], "who is root there has nothing of the controller's"
    assert sold.state("s1") == "active"
    sold.watch().once()
    sold.done(asked(sold, IntentKind.CHECK))
    assert in_rescue(sold)
    sold.done(asked(sold, IntentKind.LEAVE_RESCUE))
    assert (runs_from_its_disk(sold), "rescue" in facts(sold)) == (True, False)
    assert [disk(sold.world, "m1", serial) for serial in ("A1", "B2")] == before


def test_without_a_key_of_its_own_the_services_keys_are_taken_and_without_any_it_is_refused(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.RESCUE))
    assert sold.world.node("m1")["machine"]["rescue"]["keys"] == [KEY]
    with sold.db.write() as conn:
        services.put(conn, replace(record(sold), ssh_keys=()), now=sold.clock.now())
    with pytest.raises(Refused, match="nobody could log in"):
        asked(sold, IntentKind.RESCUE)
    with pytest.raises(RequestError, match="SSH key"):
        asked(sold, IntentKind.RESCUE, ssh_keys=["command=/bin/sh ssh-ed25519 AAAA"])


@pytest.mark.parametrize("fault", ["bmc.insert_media", "deploy.rescue"])
def test_a_rescue_that_does_not_come_up_leaves_the_machine_running_as_it_was(sold: Rack, fault: str) -> None:
    sold.world.fault(fault, error=PermanentDriverError("it says no"))
    job = sold.wait(asked(sold, IntentKind.RESCUE), seconds=SECONDS)
    assert (job.state, runs_from_its_disk(sold), "rescue" in facts(sold)) == (JobState.FAILED, True, False)


def test_what_is_in_no_rescue_has_none_to_leave(sold: Rack) -> None:
    left = sold.engine.command(IntentKind.LEAVE_RESCUE, "s1", who="anna", why="", arguments={})
    assert (left.job_id, left.detail) == ("", "it is in no rescue system")


def test_a_second_rescue_that_fails_has_ended_the_first(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.RESCUE))
    sold.world.fault("deploy.rescue", error=PermanentDriverError("it says no"))
    sold.wait(asked(sold, IntentKind.RESCUE, ssh_keys=[KEY]), seconds=SECONDS)
    assert (runs_from_its_disk(sold), "rescue" in facts(sold)) == (True, False)


@pytest.mark.parametrize("kind", [IntentKind.REBOOT, IntentKind.STOP, IntentKind.REINSTALL])
def test_whatever_switches_the_machine_has_ended_its_rescue(sold: Rack, kind: IntentKind) -> None:
    sold.done(asked(sold, IntentKind.RESCUE))
    sold.done(asked(sold, kind))
    assert ("rescue" in facts(sold), in_rescue(sold)) == (False, False)


def test_a_suspension_ends_a_rescue_and_whoever_is_suspended_gets_none(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.RESCUE))
    sold.done(sold.event("service.suspend", "s1", version=2).job_id)
    assert (sold.bmc().facts(deadline=5).power, answers(sold)) == (MachinePower.OFF, False)
    for kind in (IntentKind.RESCUE, IntentKind.LEAVE_RESCUE, IntentKind.RESET_PASSWORD):
        with pytest.raises(Refused, match="held for nonpayment"):
            asked(sold, kind, password_hash=CRYPT)
    sold.done(sold.event("service.unsuspend", "s1", version=3).job_id)
    assert (runs_from_its_disk(sold), "rescue" in facts(sold)) == (True, False)


def test_a_machine_in_rescue_is_erased_as_any_other_when_its_service_ends(sold: Rack) -> None:
    sold.done(asked(sold, IntentKind.RESCUE))
    assert sold.ends().state == JobState.DONE
    assert (on_disks(sold), sold.machine().state) == ([("", []), ("", [])], MachineState.AVAILABLE)


# -- memory and disks --------------------------------------------------------------------------------------------------------


def test_a_customers_machine_is_tested_and_runs_on(sold: Rack) -> None:
    before = on_disks(sold)
    sold.done(asked(sold, IntentKind.TEST_HARDWARE, disks=True, seconds=60))
    tested = facts(sold)["test"]["tested"]
    assert (tested["memory"], [each["serial"] for each in tested["disks"]]) == ({}, ["A1", "B2"])
    assert (on_disks(sold), runs_from_its_disk(sold)) == (before, True)


def test_what_is_wrong_with_it_makes_the_job_fail_and_the_machine_is_its_customers_still(sold: Rack) -> None:
    sold.world.fault("deploy.test", error=PermanentDriverError("memory: block 7 of 8388608 bytes kept another pattern"))
    job = sold.wait(asked(sold, IntentKind.TEST_HARDWARE), seconds=SECONDS)
    assert (job.state, "block 7" in job.error) == (JobState.FAILED, True)
    assert (sold.machine().state, runs_from_its_disk(sold)) == (MachineState.ALLOCATED, True)


@pytest.mark.parametrize("seconds", [0, 29, 604801, "60"])
def test_so_short_or_long_a_test_is_none(sold: Rack, seconds: object) -> None:
    with pytest.raises(RequestError, match="30 to 604800 seconds"):
        asked(sold, IntentKind.TEST_HARDWARE, seconds=seconds)


def trials(rack: Rack, clock: FakeClock | None = None) -> HardwareTests:
    ours = clock or rack.clock
    bmc, deployments = rack.bmc(), FakeDeployments(rack.world, ours)
    return HardwareTests(rack.db, rack.pool(), lambda _name: bmc, deployments, ours)


BOTH = HardwareTest()


def test_a_free_machine_is_tested_and_free_again(rack: Rack) -> None:
    tests = trials(rack)
    assert tests.begin("m1", BOTH, who="anna", why="before it is sold", dry=True).state == MachineState.TESTING
    assert rack.machine().state == MachineState.AVAILABLE
    tests.begin("m1", BOTH, who="anna", why="before it is sold")
    assert (rack.machine().state, "memory and disks, 600 s" in rack.machine().reason) == (MachineState.TESTING, True)
    refused = rack.wait(rack.ordered(), seconds=SECONDS)
    assert refused.error_code == "no-capacity", "nobody is placed on it meanwhile"
    with pytest.raises(WrongState, match="only an available one"):
        tests.begin("m1", BOTH, who="anna", why="twice")
    for _ in range(6):
        trials(rack).once()
    assert (rack.machine().state, rack.machine().reason) == (MachineState.AVAILABLE, "it passed its test")
    found = rack.bmc().facts(deadline=5)
    assert (found.power, found.media, found.boot_once) == (MachinePower.OFF, "", None)


def test_one_that_fails_is_broken_and_the_reason_says_why(rack: Rack) -> None:
    rack.world.fault("deploy.test", error=PermanentDriverError("B2: byte 4096 cannot be read"))
    tests = trials(rack)
    tests.begin("m1", BOTH, who="anna", why="it makes noise")
    for _ in range(6):
        tests.once()
    assert rack.machine().state == MachineState.BROKEN
    assert rack.machine().reason == "it failed its test: B2: byte 4096 cannot be read"
    with rack.db.read() as conn:
        entries, _ = audit.list_page(conn, limit=1000)
    (noted,) = [entry for entry in entries if entry.what == "machine tested"]
    assert "cannot be read" in noted.facts["result"]


def test_one_whose_image_goes_silent_in_the_middle_is_broken(rack: Rack) -> None:
    clock = FakeClock(rack.clock.now())
    tests = trials(rack, clock)
    tests.begin("m1", BOTH, who="anna", why="x")
    tests.once()
    rack.bmc().turn_off(deadline=5)
    clock.sleep(601)
    tests.once()
    assert (rack.machine().state, "went silent" in rack.machine().reason) == (MachineState.BROKEN, True)


def test_a_test_that_could_not_begin_or_whose_beginning_was_cut_off_leaves_the_machine_free(rack: Rack) -> None:
    rack.world.fault("bmc.insert_media", error=PermanentDriverError("no licence"))
    with pytest.raises(PermanentDriverError, match="no licence"):
        trials(rack).begin("m1", BOTH, who="anna", why="x")
    assert (rack.machine().state, "no licence" in rack.machine().reason) == (MachineState.AVAILABLE, True)
    with rack.db.write() as conn:
        machine_store.move(conn, rack.machine(), MachineState.TESTING, reason="x", who="anna", now=rack.clock.now())
    clock = FakeClock(rack.clock.now())
    tests = trials(rack, clock)
    tests.once()
    assert rack.machine().state == MachineState.TESTING, "whoever begins it may be at it just now"
    clock.sleep(BEGINS.total_seconds() + 1)
    tests.once()
    assert (rack.machine().state, "never began" in rack.machine().reason) == (MachineState.AVAILABLE, True)


# -- what is remembered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["off", "on"])
def test_a_machine_that_its_customer_had_switched_off_stays_off_when_its_suspension_ends(sold: Rack, told: str) -> None:
    """By what its BMC had told before; of one that was on then, and is off by now, it is not known who switched it off."""
    if told == "on":
        sold.watch().once()
    sold.bmc().turn_off(deadline=5)
    if told == "off":
        sold.watch().once()
    sold.done(sold.event("service.suspend", "s1", version=2).job_id)
    assert facts(sold)["stop"]["before"] == told
    sold.done(sold.event("service.unsuspend", "s1", version=3).job_id)
    assert sold.bmc().facts(deadline=5).power == told
    assert record(sold).suspension_proven_at is None
    sold.done(asked(sold, IntentKind.START))
    assert sold.bmc().facts(deadline=5).power == MachinePower.ON


@pytest.mark.parametrize("again", ["retried", "another"])
def test_a_suspension_that_is_tried_again_does_not_take_its_own_work_for_the_customers(sold: Rack, again: str) -> None:
    sold.watch().once()
    add_machine(sold.world, "m2", uuid="00000000-0000-4000-8000-000000000002", macs=())
    with sold.world.change() as state:  # somebody else answers at its addresses
        there = state["nodes"]["m2"]["machine"]
        there |= {"power": "on", "boots": ["disk"], "rescue": {"boot": 1, "addresses": facts(sold)["addresses"]["addresses"]}}
    job = sold.wait(sold.event("service.suspend", "s1", version=2).job_id, seconds=SECONDS)
    assert (job.state, sold.bmc().facts(deadline=5).power) == (JobState.NEEDS_OPERATOR, MachinePower.OFF)
    with sold.world.change() as state:
        state["nodes"]["m2"]["machine"]["power"] = "off"
    sold.watch().once()
    if again == "retried":
        sold.engine.retry(job.id, "anna")
        sold.done(job.id)
    else:
        sold.done(sold.event("service.suspend", "s1", version=3, reason="abuse").job_id)
    assert facts(sold)["stop"]["before"] == "on"
    if again == "another":
        sold.event("service.unsuspend", "s1", version=4, reason="abuse")
    sold.done(sold.event("service.unsuspend", "s1", version=5).job_id)
    assert runs_from_its_disk(sold)


def test_the_certificate_names_when_the_drives_were_erased_and_not_when_that_was_read(rack: Rack) -> None:
    erasing, clock = bench(rack), FakeClock(rack.clock.now())
    erasing.run(Task(key="erase", kind="erase", arguments={"disks": ["A1"]}))
    with rack.world.change() as state:
        result = state["nodes"]["m1"]["machine"]["deployment"]["tasks"][0]["result"]
        result["reported_at"] = "2026-11-20T12:00:00+00:00"
        result["drives"][0] |= {"seconds": 60.0, "ended_before": 30.0}
    late = StepContext(
        job_id="j1",
        service_id="s1",
        ports=replace(rack.ports, clock=clock, deployments=FakeDeployments(rack.world, clock)),
        deadline=60.0,
        progress=lambda _fraction, _says: None,
        stopping=lambda: False,
    )
    found = MachineErase().check(late, OnNode(node="m1"))
    assert isinstance(found, Done)
    (wiped,) = found.facts["wiped"]
    assert (wiped["report"]["started_at"], wiped["report"]["finished_at"]) == (
        "2026-11-20T11:58:30+00:00",
        "2026-11-20T11:59:30+00:00",
    )
    assert "2026-11-20T12:00:00" in found.facts["proof"]
