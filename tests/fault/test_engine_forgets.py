"""What lets a customer log in is kept only as long as something needs it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.domain.intents import IntentKind, JobState, StepState
from orchestrator.store import events, services
from tests.fault.conftest import Builder
from tests.fault.house import PLAN, House
from tests.fault.things import make, playbook, playbooks

HASH, KEY = "$6$saltsalt$" + "h" * 86, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
ACCESS: dict[str, Any] = {"password_hash": HASH, "ssh_keys": [KEY]}


def bodies(house: House, service_id: str) -> list[tuple[str, bool, bool]]:
    """Of each event of the service, oldest first: its outcome, and whether its body still has the password and the key."""
    with house.db.read() as conn:
        found = events.list_page(conn, service_id=service_id)[0][::-1]
    return [(each.outcome, HASH in each.body, KEY in each.body) for each in found]


def erase(house: House, service_id: str) -> None:
    job_id = house.engine.command(IntentKind.TERMINATE, service_id, who="anna", why="", arguments={}).job_id
    assert (house.wait(job_id).state, house.state(service_id)) == (JobState.DONE, "erased")


def test_the_password_and_the_keys_do_not_outlive_the_erasure_in_the_records_of_jobs(build: Builder) -> None:
    steps = (make("a", password_hash="$spec.access.password_hash", ssh_keys="$spec.access.ssh_keys"), make("b"))
    house = build(playbooks(provision=playbook("vps-provision", *steps)))
    orders = [house.event("order.paid", name, client_id="c1", plan="small", **ACCESS) for name in ("s1", "s2")]
    made = [house.wait(order.job_id).id for order in orders]
    erase(house, "s1")
    erased, living = (f"{house.job(job_id).workflow} {house.steps(job_id)}" for job_id in made)
    assert [word in living for word in ("saltsalt", "AAAA")] == [True, True]
    assert [word in erased for word in ("saltsalt", "AAAA")] == [False, False]
    assert [(step.id, step.state) for step in house.steps(made[0])] == [("a", StepState.DONE), ("b", StepState.DONE)]


def test_the_password_of_an_event_that_was_processed_stands_in_the_record_alone(build: Builder) -> None:
    house = build()
    given = {"client_id": "c1", "plan": "small", **ACCESS}
    first = house.event("order.created", "s1", event_id="e1", **given)
    house.wait(house.event("order.paid", "s1", **given).job_id)
    house.event("service.create", "s1", version=2, **given)
    house.event("service.create", "s1", event_id="stale", version=1, **given)
    assert bodies(house, "s1") == [(name, False, True) for name in ("nothing", "accepted", "nothing", "stale")]
    with house.db.read() as conn:
        service = services.get(conn, "s1")
        kept = events.by_seq(conn, 1)
    assert service is not None
    assert kept is not None
    assert (service.password_hash, first.outcome) == (HASH, "nothing")
    assert kept.body_sha256 != hashlib.sha256(kept.body.encode()).hexdigest()
    assert house.event("order.created", "s1", event_id="e1", **given).outcome == "duplicate"


def test_a_dead_order_keeps_its_password_until_its_replay_has_used_it(build: Builder) -> None:
    first = build(start=False, plan=replace(PLAN, name="other"))
    assert first.event("order.paid", "s1", client_id="c1", plan="small", **ACCESS).outcome == "dead"
    assert bodies(first, "s1") == [("dead", True, True)]
    first.close()
    house = build()
    assert house.wait(house.engine.replay(1, "anna").job_id).state == JobState.DONE
    assert bodies(house, "s1") == [("accepted", False, True)]
    with house.db.read() as conn:
        service = services.get(conn, "s1")
    assert service is not None
    assert (service.password_hash, service.ssh_keys) == (HASH, (KEY,))


@pytest.mark.parametrize("late", [False, True])
def test_nothing_of_it_is_left_in_the_events_of_an_erased_service(build: Builder, late: bool) -> None:
    house = build()
    house.wait(house.event("order.paid", "s1", client_id="c1", plan="small", **ACCESS).job_id)
    house.wait(house.event("order.paid", "s2", client_id="c1", plan="small", **ACCESS).job_id)

    def refused() -> None:
        assert house.event("service.set_account", "s1", version=3, account={"cron": []}, **ACCESS).outcome == "refused"

    if not late:
        refused()
    erase(house, "s1")
    if late:
        refused()
    assert bodies(house, "s1") == [("accepted", False, False), ("refused", False, False)]
    assert bodies(house, "s2") == [("accepted", False, True)]
