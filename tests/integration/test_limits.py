"""Services that a hold limits, on the simulated node: their guests run on with little network, whatever else happens to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.domain.errors import InDoubt, PermanentDriverError, Refused
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import LIMITED_NETWORK
from orchestrator.domain.services import Service
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.ports.hypervisor import GuestFacts, PowerAction
from orchestrator.steps.registry import STEPS
from orchestrator.store import services
from tests.fault.house import PLAN, House, Options, prepared
from tests.store_files import engine_database

K = IntentKind
SOLD = 12_500_000
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING)


class Gate:
    """Where it is shut, a job stands still until it is opened."""

    def __init__(self) -> None:
        self.shut_at = ""
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, point: str) -> None:
        if point == self.shut_at:
            self.reached.set()
            assert self.opened.wait(20)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def empty(tmp_path: Path, gate: Gate) -> Iterator[House]:
    """A controller that nothing was ordered of yet."""
    house = House(
        prepared(tmp_path / "state", engine_database),
        steps=STEPS,
        playbooks=wiring.load_all_playbooks(),
        options=Options(sweep_seconds=3600),
        plan=replace(PLAN, network_bytes_per_second=SOLD),
        at=gate,
    )
    house.engine.start()
    yield house
    house.close()


@pytest.fixture
def house(empty: House) -> House:
    """With the service s1, which is provisioned and runs."""
    assert empty.wait(empty.order("s1").job_id).state == JobState.DONE
    return empty


def command(house: House, kind: IntentKind, **arguments: Any) -> str:
    submitted = house.engine.command(kind, "s1", who="anna", why="a copyright notice", arguments=arguments)
    return submitted.job_id


def done(house: House, kind: IntentKind, **arguments: Any) -> None:
    """The command leads to a job, and that goes well."""
    job = house.wait(command(house, kind, **arguments))
    assert job.state == JobState.DONE, job.error


def ended(house: House) -> list[tuple[IntentKind, JobState]]:
    """The jobs after the provisioning, oldest first, once none is under way."""
    until = house.clock.monotonic() + 30
    while any(job.state in OPEN for job in house.jobs("s1")):
        assert house.clock.monotonic() < until, house.jobs("s1")
        house.clock.sleep(0.02)
    return [(job.intent, job.state) for job in house.jobs("s1")][1:]


def record(house: House) -> Service:
    with house.db.read() as conn:
        found = services.get(conn, "s1")
    assert found is not None
    return found


def guest(house: House) -> GuestFacts:
    facts = FakeHypervisor(house.world, "n1").guest("orch.s1", deadline=5)
    assert facts is not None
    return facts


def seen(house: House) -> tuple[str, int, tuple[str, ...]]:
    """Whether the guest runs, what its network lets through now and after its next start, and for what it is limited."""
    facts = guest(house)
    assert facts.mark is not None
    assert facts.network_at_start == facts.network_bytes_per_second
    return facts.power.value, facts.network_bytes_per_second, facts.mark.limits


RUNS = ("running", SOLD, ())
LIMITED = ("running", LIMITED_NETWORK, ("abuse",))


def test_a_limited_service_runs_on_with_little_network_until_the_last_such_hold_is_lifted(house: House) -> None:
    done(house, K.LIMIT, reason="abuse")
    assert seen(house) == LIMITED
    assert record(house).limited_proven_at is not None
    assert not record(house).stopped
    done(house, K.CHECK)
    command(house, K.LIMIT, reason="quota")
    command(house, K.UNLIMIT, reason="abuse")
    assert ended(house) == [(K.LIMIT, JobState.DONE), (K.CHECK, JobState.DONE)]
    assert seen(house) == LIMITED
    with pytest.raises(Refused, match="not limited for manual but for quota"):
        command(house, K.UNLIMIT)
    done(house, K.UNLIMIT, reason="quota")
    assert seen(house) == RUNS
    assert (record(house).limited_proven_at, record(house).holds) == (None, ())
    done(house, K.CHECK)


def test_a_limited_service_is_switched_off_and_on_and_restarted_and_stays_limited(house: House) -> None:
    done(house, K.LIMIT, reason="abuse")
    done(house, K.REBOOT)
    assert seen(house) == LIMITED
    done(house, K.STOP)
    done(house, K.START)
    assert seen(house) == LIMITED
    house.world.reboot("n1")
    assert seen(house) == LIMITED
    done(house, K.CHECK)


def test_a_guest_that_its_owner_switched_off_is_limited_and_comes_up_so(house: House) -> None:
    FakeHypervisor(house.world, "n1").power("orch.s1", PowerAction.SHUTDOWN, deadline=5)
    done(house, K.LIMIT, reason="abuse")
    assert seen(house) == ("stopped", LIMITED_NETWORK, ("abuse",))
    done(house, K.START)
    assert seen(house) == LIMITED
    done(house, K.UNLIMIT, reason="abuse")
    assert seen(house) == RUNS


def test_a_limit_that_is_set_while_the_service_is_suspended_is_in_force_when_it_comes_back(house: House) -> None:
    done(house, K.SUSPEND)
    assert command(house, K.LIMIT, reason="abuse") == ""
    assert seen(house) == ("stopped", SOLD, ())
    done(house, K.CHECK)
    done(house, K.UNSUSPEND)
    ends = [(K.SUSPEND, JobState.DONE), (K.CHECK, JobState.DONE), (K.UNSUSPEND, JobState.DONE), (K.LIMIT, JobState.DONE)]
    assert ended(house) == ends
    assert seen(house) == LIMITED
    assert house.jobs("s1")[-1].asked_by == "orchestrator"


def test_a_limited_service_is_suspended_and_comes_back_limited_without_another_job(house: House) -> None:
    done(house, K.LIMIT, reason="abuse")
    done(house, K.SUSPEND)
    done(house, K.CHECK)
    done(house, K.UNSUSPEND)
    assert [kind for kind, _ in ended(house)] == [K.LIMIT, K.SUSPEND, K.CHECK, K.UNSUSPEND]
    assert seen(house) == LIMITED
    done(house, K.CHECK)


def test_a_limit_that_is_lifted_while_the_service_is_suspended_is_gone_when_it_comes_back(house: House) -> None:
    done(house, K.LIMIT, reason="abuse")
    done(house, K.SUSPEND)
    assert command(house, K.UNLIMIT, reason="abuse") == ""
    done(house, K.CHECK)
    done(house, K.UNSUSPEND)
    assert ended(house)[-2:] == [(K.UNSUSPEND, JobState.DONE), (K.UNLIMIT, JobState.DONE)]
    assert seen(house) == RUNS


def test_for_the_same_reason_a_limit_becomes_a_suspension_and_ends_with_it(house: House) -> None:
    done(house, K.LIMIT, reason="nonpayment")
    suspended = house.event("service.suspend", "s1", version=1, reason="overdue")
    assert house.wait(suspended.job_id).state == JobState.DONE
    house.event("invoice.paid", "s1", invoice_id="i1")
    assert ended(house)[-2:] == [(K.UNSUSPEND, JobState.DONE), (K.UNLIMIT, JobState.DONE)]
    assert seen(house) == RUNS
    assert record(house).holds == ()


def test_a_payment_lifts_the_limit_for_nonpayment_and_no_other(house: House) -> None:
    done(house, K.LIMIT, reason="nonpayment")
    house.event("invoice.paid", "s1", invoice_id="i1")
    assert ended(house)[-1] == (K.UNLIMIT, JobState.DONE)
    assert seen(house) == RUNS
    done(house, K.LIMIT, reason="abuse")
    assert house.event("invoice.paid", "s1", invoice_id="i2").job_id == ""
    assert ended(house)[-1] == (K.LIMIT, JobState.DONE)
    assert seen(house) == LIMITED


def test_a_limited_service_is_ended_like_any_other(house: House) -> None:
    done(house, K.LIMIT, reason="abuse")
    done(house, K.TERMINATE)
    assert house.state("s1") == "erased"
    assert (record(house).limited_proven_at, record(house).holds) == (None, ())
    assert house.world.node("n1")["guests"] == {}
    assert len(ended(house)) == 2


def test_a_termination_that_a_payment_stops_leaves_the_service_limited_and_no_more_if_that_was_for_the_debt(house: House) -> None:
    for reason, after in (("abuse", LIMITED), ("nonpayment", RUNS)):
        done(house, K.LIMIT, reason=reason)
        house.engine.freeze("anna", "wait")
        command(house, K.TERMINATE)
        house.event("invoice.paid", "s1", invoice_id=f"i-{reason}", event_id=f"paid-{reason}")
        house.engine.unfreeze("anna")
        ended(house)
        assert (house.state("s1"), seen(house)) == ("active", after)
        if reason == "abuse":
            done(house, K.UNLIMIT, reason=reason)


def test_a_freeze_holds_back_no_limit_and_no_end_of_one(house: House) -> None:
    house.engine.freeze("anna", "billing sends nonsense")
    done(house, K.LIMIT, reason="abuse")
    done(house, K.UNLIMIT, reason="abuse")


@pytest.mark.parametrize("lifted", [False, True])
def test_a_limit_that_came_during_the_provisioning_is_in_force_after_it_unless_it_was_lifted_before(
    empty: House, gate: Gate, lifted: bool
) -> None:
    gate.shut_at = "vps-provision/verify/before"
    empty.order("s1")
    assert gate.reached.wait(20)
    limit = command(empty, K.LIMIT, reason="abuse")
    if lifted:
        command(empty, K.UNLIMIT, reason="abuse")
    gate.opened.set()
    ends = ended(empty)
    if not lifted:
        assert (ends, seen(empty)) == ([(K.LIMIT, JobState.DONE)], LIMITED)
        return
    assert ends == [(K.LIMIT, JobState.FAILED), (K.UNLIMIT, JobState.DONE)]
    assert empty.job(limit).error_code == Refused.code
    assert seen(empty) == RUNS
    assert not [call for call in empty.world.journal() if call.method == "hypervisor.set_network_rate"], "it never was throttled"


@pytest.mark.parametrize("point", ["limit/before", "limit/during", "read-back/before", "finish/before"])
def test_a_limit_that_is_lifted_while_its_job_runs_is_taken_away_after_it(house: House, gate: Gate, point: str) -> None:
    gate.shut_at = f"vps-limit/{point}"
    command(house, K.LIMIT, reason="abuse")
    assert gate.reached.wait(20)
    command(house, K.UNLIMIT, reason="abuse")
    gate.opened.set()
    assert ended(house) == [(K.LIMIT, JobState.DONE), (K.UNLIMIT, JobState.DONE)]
    assert seen(house) == RUNS
    assert record(house).limited_proven_at is None


def test_a_suspension_that_comes_while_a_limit_is_set_wins_and_leaves_it_for_afterwards(house: House, gate: Gate) -> None:
    gate.shut_at = "vps-limit/limit/during"
    command(house, K.LIMIT, reason="abuse")
    assert gate.reached.wait(20)
    command(house, K.SUSPEND)
    gate.opened.set()
    assert ended(house) == [(K.LIMIT, JobState.DONE), (K.SUSPEND, JobState.DONE)]
    assert guest(house).power == "stopped"
    done(house, K.UNSUSPEND)
    assert seen(house) == LIMITED


def test_an_operator_who_cancels_a_limit_takes_its_hold_back_and_nothing_is_left_of_it(house: House, gate: Gate) -> None:
    gate.shut_at = "vps-limit/limit/during"
    job_id = command(house, K.LIMIT, reason="abuse")
    assert gate.reached.wait(20)
    house.engine.cancel(job_id, "anna")
    gate.opened.set()
    assert ended(house) == [(K.LIMIT, JobState.CANCELLED)]
    assert (seen(house), record(house).holds) == (RUNS, ())


def test_a_limit_that_fails_is_undone_not_tried_for_ever_and_can_be_tried_again(house: House) -> None:
    house.world.fault("hypervisor.set_network_rate", nth=1, error=PermanentDriverError("no such interface"))
    job_id = command(house, K.LIMIT, reason="abuse")
    assert house.wait(job_id).state == JobState.FAILED
    assert ended(house) == [(K.LIMIT, JobState.FAILED)]
    assert seen(house) == RUNS
    assert (record(house).limited, record(house).limited_proven_at) == (True, None)
    house.engine.retry(job_id, "anna")
    assert house.wait(job_id).state == JobState.DONE
    assert seen(house) == LIMITED


def test_a_limit_for_nonpayment_that_needs_an_operator_is_called_off_by_a_payment(house: House) -> None:
    house.world.fault("hypervisor.set_network_rate", nth=1, where="before", error=InDoubt("nobody knows"))
    job_id = command(house, K.LIMIT, reason="nonpayment")
    assert house.wait(job_id).state == JobState.NEEDS_OPERATOR
    house.event("invoice.paid", "s1", invoice_id="i1")
    house.wait(job_id, JobState.CANCELLED)
    assert ended(house)[-1] == (K.UNLIMIT, JobState.DONE)
    assert seen(house) == RUNS
    assert record(house).holds == ()
