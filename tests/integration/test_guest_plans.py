"""Guests that change their plan, on the simulated node: at once what can be had at once, and nothing is restarted unasked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.errors import PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import GuestFacts, Power
from orchestrator.steps.registry import STEPS
from orchestrator.store import services
from orchestrator.store.ledger import StoreLedger
from tests.fault.house import NODES, PLAN, House, Options, prepared
from tests.store_files import engine_database

GIB = 1 << 30
SOLD, WIDER = 12_500_000, 25_000_000
SMALL = replace(PLAN, network_bytes_per_second=SOLD, vcpus_most=2)
QUICK = replace(SMALL, name="quick", vcpus=2, disk_bytes=20 * GIB, network_bytes_per_second=WIDER, disk_iops=500)
LARGE = replace(QUICK, name="large", memory_bytes=2 * GIB)
HUGE = replace(LARGE, name="huge", memory_bytes=1 << 60)
SIXES = replace(LARGE, name="sixes", ipv6=2)
PLAIN = replace(LARGE, name="plain", encrypted=False)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """With the service s1 of the small plan, which is provisioned and runs."""
    built = House(
        prepared(tmp_path / "state", engine_database),
        steps=STEPS,
        playbooks=wiring.load_all_playbooks(),
        options=Options(sweep_seconds=3600),
        plan=SMALL,
        more_plans=(QUICK, LARGE, HUGE, SIXES, PLAIN),
    )
    built.engine.start()
    assert built.wait(built.order("s1").job_id).state == JobState.DONE
    yield built
    built.close()


def guest(house: House) -> GuestFacts:
    found = FakeHypervisor(house.world, "n1").guest("orch.s1", deadline=5)
    assert found is not None
    return found


def boots(house: House) -> int:
    found: int = house.world.node("n1")["guests"]["orch.s1"]["boots"]
    return found


def plan(house: House) -> str:
    with house.db.read() as conn:
        found = services.get(conn, "s1")
    assert found is not None
    return found.plan


def promised(house: House) -> tuple[int, int, int]:
    standing = StoreLedger(house.db, NODES, house.clock).reservation("s1")
    assert standing is not None
    return (standing.vcpus, standing.memory_bytes, standing.disk_bytes)


def told(house: House, name: str, *, version: int = 1) -> Any:
    return house.event("service.change_plan", "s1", version=version, plan=name)


def asked(house: House, name: str, restart: str = "never") -> Any:
    """An operator's; the job, at rest."""
    submitted = house.engine.command(
        IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments={"plan": name, "restart": restart}
    )
    return house.wait(submitted.job_id)


def drift(house: House) -> str:
    check = house.engine.command(IntentKind.CHECK, "s1", who="anna", why="", arguments={})
    return house.wait(check.job_id).error


def facts_of(house: House, job: Any, step: str) -> dict[str, Any]:
    return next(dict(row.facts or {}) for row in house.steps(job.id) if row.id == step)


def sizes(facts: GuestFacts) -> tuple[int, int, int, int]:
    """vCPUs and GiB of memory: now, and after its next start."""
    return (facts.vcpus, facts.memory_bytes // GIB, facts.vcpus_at_start, facts.memory_at_start // GIB)


def test_what_a_running_guest_can_have_at_once_it_has_and_goes_on(house: House) -> None:
    job = house.wait(told(house, QUICK.name).job_id)
    assert (job.state, job.error) == (JobState.DONE, "")
    facts = guest(house)
    assert (sizes(facts), facts.network_bytes_per_second, facts.network_at_start) == ((2, 1, 2, 1), WIDER, WIDER)
    assert (facts.disks[0].iops, facts.disks[0].capacity_bytes) == (500, 20 * GIB)
    assert (plan(house), promised(house), boots(house), drift(house)) == (QUICK.name, (2, GIB, 20 * GIB), 1, "")
    assert facts_of(house, job, "verify")["restart_needed"] == ""


def test_the_rest_waits_for_its_next_start_and_the_job_says_so(house: House) -> None:
    job = house.wait(told(house, LARGE.name).job_id)
    assert job.state == JobState.DONE
    says = "it runs with 2 vCPUs and 1 GiB of memory, and has 2 and 2 GiB after its next start"
    assert facts_of(house, job, "verify")["restart_needed"] == says
    assert (sizes(guest(house)), boots(house), drift(house)) == ((2, 1, 2, 2), 1, "")
    again = told(house, LARGE.name, version=2)
    assert (again.outcome, again.job_id, again.detail) == ("nothing", "", f"its plan is {LARGE.name} already")
    assert asked(house, LARGE.name, restart="now").state == JobState.DONE
    assert (sizes(guest(house)), boots(house), drift(house)) == ((2, 2, 2, 2), 2, "")
    assert asked(house, LARGE.name, restart="now").state == JobState.DONE
    assert boots(house) == 2, "it runs with what it is defined with"


def test_the_plan_that_it_has_asked_for_by_hand_sets_again_what_its_node_has_otherwise_and_restarts_nothing(
    house: House,
) -> None:
    """Somebody was at the node with virsh."""
    house.wait(told(house, QUICK.name).job_id)
    FakeHypervisor(house.world, "n1").set_network_rate("orch.s1", 125_000, deadline=5)
    assert "1 Mbit/s of network instead of" in drift(house)
    again = house.engine.command(IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments={"plan": QUICK.name})
    assert again.detail == f"its plan is {QUICK.name} already: what its node has otherwise is set again"
    job = house.wait(again.job_id)
    assert (job.state, guest(house).network_bytes_per_second, drift(house), boots(house)) == (JobState.DONE, WIDER, "", 1)


def test_a_guest_is_restarted_where_that_is_asked_for_and_needed(house: House) -> None:
    assert asked(house, QUICK.name, restart="now").state == JobState.DONE
    assert boots(house) == 1
    job = asked(house, LARGE.name, restart="now")
    assert job.state == JobState.DONE
    assert (sizes(guest(house)), boots(house), drift(house)) == ((2, 2, 2, 2), 2, "")


def test_a_smaller_disk_is_refused_with_both_sizes_before_anything_is_changed(house: House) -> None:
    house.wait(told(house, LARGE.name).job_id)
    before, calls = guest(house), len(house.world.journal())
    refused = told(house, SMALL.name, version=2)
    assert refused.outcome == "refused"
    assert "its disk has 20 GiB, and the plan's has 10 GiB" in refused.detail
    with pytest.raises(Refused, match="its disk has 20 GiB"):
        house.engine.command(IntentKind.CHANGE_PLAN, "s1", who="anna", why="x", arguments={"plan": SMALL.name})
    with pytest.raises(Refused, match="its disk has 20 GiB"):
        house.engine.dry_run(IntentKind.CHANGE_PLAN, "s1", {"plan": SMALL.name})
    assert (guest(house), plan(house), len(house.world.journal())) == (before, LARGE.name, calls + 1)


@pytest.mark.parametrize(("name", "says"), [(SIXES.name, "addresses stay"), (PLAIN.name, "was made otherwise")])
def test_what_a_guest_has_from_its_making_no_change_of_plan_moves(house: House, name: str, says: str) -> None:
    refused = told(house, name)
    assert (refused.outcome, says in refused.detail) == ("refused", True)


def test_a_plan_that_the_node_has_no_room_for_leaves_everything_as_it_is(house: House) -> None:
    before = guest(house)
    job = house.wait(told(house, HUGE.name).job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "no-capacity")
    assert (guest(house), plan(house), promised(house)) == (before, SMALL.name, (1, GIB, 10 * GIB))


def test_a_smaller_plan_takes_limits_at_once_and_memory_at_the_next_start(house: House) -> None:
    house.wait(told(house, LARGE.name).job_id)
    less = asked(house, QUICK.name)
    assert (less.state, sizes(guest(house))) == (JobState.DONE, (2, 1, 2, 1)), "it was never restarted into more"
    assert promised(house) == (2, GIB, 20 * GIB)


def test_of_a_suspended_guest_only_the_definition_changes(house: House) -> None:
    assert house.wait(house.event("service.suspend", "s1", version=1, reason="nonpayment").job_id).state == JobState.DONE
    job = asked(house, LARGE.name, restart="now")
    assert (job.state, job.error) == (JobState.DONE, "")
    assert (guest(house).power, boots(house)) == (Power.STOPPED, 1)
    assert drift(house) == ""
    house.event("invoice.paid", "s1", invoice_id="i1")
    job = [each for each in house.jobs("s1") if each.intent == IntentKind.UNSUSPEND][-1]
    assert house.wait(job.id).state == JobState.DONE
    assert (guest(house).power, sizes(guest(house))) == (Power.RUNNING, (2, 2, 2, 2))


def test_a_limited_guest_stays_limited_and_gets_back_what_it_is_sold_now(house: House) -> None:
    house.wait(house.engine.command(IntentKind.LIMIT, "s1", who="anna", why="x", arguments={"reason": "abuse"}).job_id)
    assert asked(house, QUICK.name).state == JobState.DONE
    assert (guest(house).network_bytes_per_second, drift(house)) == (125_000, "")
    house.wait(house.engine.command(IntentKind.UNLIMIT, "s1", who="anna", why="x", arguments={"reason": "abuse"}).job_id)
    assert (guest(house).network_bytes_per_second, guest(house).network_at_start) == (WIDER, WIDER)


@pytest.mark.parametrize("method", ["sizes.resize", "hypervisor.set_network_rate", "hypervisor.power.start", "sizes.grow"])
def test_a_change_that_fails_leaves_the_plan_and_the_size_that_it_had(house: House, method: str) -> None:
    before = guest(house)
    house.world.fault(method, error=PermanentDriverError("scripted"), where="before")
    job = asked(house, LARGE.name, restart="now")
    assert (job.state, plan(house), promised(house)) == (JobState.FAILED, SMALL.name, (1, GIB, 10 * GIB))
    assert guest(house) == before
    assert drift(house) == ""


def test_a_disk_that_has_grown_is_not_made_smaller_and_the_job_goes_on_when_it_is_told_to(house: House) -> None:
    house.world.fault("sizes.grow", error=PermanentDriverError("scripted"), where="after")
    job = asked(house, LARGE.name)
    assert (job.state, "is not made smaller" in job.error) == (JobState.NEEDS_OPERATOR, True)
    house.engine.retry(job.id, who="anna")
    assert house.wait(job.id).state == JobState.DONE
    assert (plan(house), drift(house)) == (LARGE.name, "")
