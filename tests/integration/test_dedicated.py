"""Orders for dedicated machines, from the event to the job, on playbooks and steps of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import ConfigError, Refused, RequestError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.playbooks import Playbook
from orchestrator.domain.services import HoldEffect, HoldReason
from orchestrator.engine.conduct import HoldAsked
from orchestrator.store import services
from tests.fault import things
from tests.fault.house import House, prepared, seeded_world
from tests.fault.things import destroy, make
from tests.live import KEY
from tests.machine_words import PLAN, machine
from tests.store_files import engine_database

Start = Callable[..., House]


def book(intent: str, *steps: object) -> Playbook:
    return Playbook(name=f"machine-{intent}", description="of the tests", for_="dedicated", steps=steps)  # type: ignore[arg-type]


BOOKS = {
    found.name: found
    for found in (
        book("provision", make("written", of="$spec.machine.machine_class")),
        book("suspend", make("off")),
        book("unsuspend", make("on")),
        book("terminate", destroy("written")),
    )
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    directory = prepared(tmp_path / "state", engine_database)
    steps = things.steps(seeded_world(directory))
    made = House(directory, steps=steps, playbooks=BOOKS, plan=PLAN, machines=(machine(),))
    made.engine.start()
    yield made
    made.close()


def order(house: House, service_id: str = "s1", **values: Any) -> str:
    given: dict[str, Any] = {"client_id": "c1", "plan": "metal", "order_id": f"o-{service_id}", "ssh_keys": [KEY], **values}
    return house.event("order.paid", service_id, **given).job_id


def test_a_paid_order_gets_a_job_of_the_machines_playbook_and_runs(house: House) -> None:
    job_id = order(house, hostname="db1.example.net")
    job = house.wait(job_id)
    assert (job.playbook, job.state) == ("machine-provision", JobState.DONE)
    assert house.state("s1") == "active"


def test_it_is_suspended_by_billing_as_every_service_is(house: House) -> None:
    house.wait(order(house))
    job = house.wait(house.event("service.suspend", "s1", version=2).job_id)
    assert (job.playbook, job.state) == ("machine-suspend", JobState.DONE)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"template": "alpine"}, "no template 'alpine'"),
        ({"zone": "moon"}, "no machine of class 'small-1' in zone 'moon'"),
    ],
)
def test_what_cannot_be_installed_by_these_files_waits_for_somebody_to_mend_them(
    house: House, values: dict[str, Any], says: str
) -> None:
    accepted = house.event("order.paid", "s1", client_id="c1", plan="metal", order_id="o-s1", **values)
    assert accepted.outcome == "dead"
    assert says in accepted.detail
    assert house.jobs("s1") == ()


@pytest.mark.parametrize(
    ("values", "says"), [({"hostname": "-"}, "no host name"), ({"ssh_keys": ["ssh-rsa nonsense"]}, "SSH key")]
)
def test_what_could_never_be_installed_is_refused(house: House, values: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        order(house, **values)
    assert house.jobs("s1") == ()


def test_what_is_not_done_to_a_machine_is_refused(house: House) -> None:
    house.wait(order(house))
    for kind in (IntentKind.BACKUP, IntentKind.LIMIT):
        with pytest.raises(Refused, match="machine"):
            house.engine.command(kind, "s1", who="a", why="w", arguments={})
    asked = HoldAsked(reason=HoldReason.QUOTA, effect=HoldEffect.LIMIT, why="w")
    with pytest.raises(Refused, match="a machine cannot be limited"):
        house.engine.conduct.hold("s1", asked, "a")
    assert len(house.jobs("s1")) == 1


def test_whose_plan_is_not_sold_any_more_is_still_a_machines_service(house: House) -> None:
    """Of the machine that it is on; so that it can be suspended and ended."""
    house.wait(order(house))
    with house.db.read() as conn:
        service = services.get(conn, "s1")
    assert service is not None
    elsewhere = replace(service, plan="gone", node="m1")
    assert house.catalog.kind_of(elsewhere).value == "dedicated"
    assert house.catalog.kind_of(replace(elsewhere, node="n1")).value == "vps"


def test_without_a_playbook_for_it_nothing_begins(house: House) -> None:
    house.wait(order(house))
    with pytest.raises(ConfigError, match="there is no playbook machine-reboot"):
        house.engine.command(IntentKind.REBOOT, "s1", who="a", why="", arguments={})
