"""What billing is told of a service besides the ends of its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.intents import JobState
from orchestrator.store import certificates
from tests.fault.house import House
from tests.integration.test_due import DAY, Year, overdue


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Year]:
    made = Year(tmp_path / "state")
    yield made
    made.close()


def told(house: House, kind: str) -> list[dict[str, Any]]:
    bodies = [json.loads(body) for _, body, _ in house.notifier.deliveries()]
    return [body["data"] for body in bodies if body["type"] == kind]


def words(standing: dict[str, Any]) -> str:
    return ", ".join([standing["state"], *(["suspended"] if standing["suspended"] else []), *standing["holds"]])


def test_each_change_of_a_service_is_told_once_with_what_it_was_before(year: Year) -> None:
    house = year.open()
    due = overdue(house, year)
    year.later(3 * DAY)
    house.event("invoice.paid", "s1", invoice_id="i1", paid_until=(due + 30 * DAY).isoformat())
    year.rest()
    changes = told(house, "service.changed")
    assert [words(change["is"]) for change in changes] == [
        "active",
        "active, nonpayment",
        "active, suspended, nonpayment",
        "active",
    ]
    assert [change["was"] for change in changes[1:]] == [change["is"] for change in changes[:-1]]
    assert {(change["service_id"], change["client_id"]) for change in changes} == {("s1", "c1")}


def test_an_order_that_the_clock_cancels_is_told_although_no_job_did_it(year: Year) -> None:
    house = year.open()
    house.event("order.created", "s1", client_id="c1", plan="small", order_id="o1")
    year.later(3 * DAY)
    assert [words(change["is"]) for change in told(house, "service.changed")] == ["cancelled"]


def test_the_wipe_certificate_is_told_whole(year: Year) -> None:
    house = year.open()
    assert house.wait(house.order("s1").job_id).state == JobState.DONE
    job = house.wait(house.event("service.terminate", "s1", version=1).job_id)
    year.rest()
    (issued,) = told(house, "certificate.issued")
    with house.db.read() as conn:
        kept = certificates.of_job(conn, job.id)
    assert kept is not None
    assert issued["certificate"] == kept.certificate
