"""Herza (document 003) of dedicated servers: by the hour, by the month, and back out of the archive, on a simulated machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.drivers.fake.deployments import disk, plant
from orchestrator.store import charges, services
from tests.fault.house import CALENDAR
from tests.integration.test_machine_lives import Rack
from tests.integration.test_machine_lives import opened as opened
from tests.machine_words import PLAN
from tests.scenarios.story import shipped

BACK = "Kebijakan Billing, Biaya Aktivasi Kembali untuk Cloud Server, VPS, Dedicated Server, Colocation"


@pytest.fixture
def sell(opened: Callable[..., Rack]) -> Callable[..., Rack]:
    """With a customer who has a machine by herza's terms."""

    def start(**plan: Any) -> Rack:
        rack = opened(plan=replace(PLAN, policy="herza", **plan), policies=shipped())
        rack.enrol()
        rack.look_into()
        rack.done(rack.ordered())
        return rack

    return start


def owed(rack: Rack) -> list[tuple[str, int, str]]:
    with rack.db.read() as conn:
        return [(row.kind.value, row.amount, row.clause) for row in charges.list_page(conn)[0]]


def messages(rack: Rack, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(body) for _, body, status in rack.notifier.deliveries() if status < 300]
    return [body["data"] for body in told if body["type"] == kind]


def test_layanan_per_jam_a_machine_by_the_hour_costs_an_hour_at_least(sell: Callable[..., Rack]) -> None:
    rack = sell(price_per_hour=5_000)
    rack.done(rack.event("service.terminate", "s1", version=2, reason="not wanted").job_id)
    assert owed(rack) == []
    rack.engine.fall_due()
    assert owed(rack) == [("hours", 5_000, "Kebijakan Billing, Biaya Jasa Layanan Per Jam")]


def test_one_by_the_month_costs_nothing_besides_its_invoices(sell: Callable[..., Rack]) -> None:
    rack = sell()
    rack.done(rack.event("service.terminate", "s1", version=2, reason="not wanted").job_id)
    rack.engine.fall_due()
    assert owed(rack) == []


def test_aktivasi_kembali_a_machine_comes_back_with_its_disks_for_rp_150000(sell: Callable[..., Rack]) -> None:
    rack = sell()
    plant(rack.world, "m1", "A1", "the shop")
    rack.done(rack.event("service.terminate", "s1", version=2, reason="arrears").job_id)
    assert rack.state("s1") == "archived"
    rack.done(rack.event("invoice.paid", "s1", invoice_id="i1", paid_until="2100-01-01T00:00:00Z").job_id)
    assert (rack.state("s1"), disk(rack.world, "m1", "A1")["markers"]) == ("active", ["the shop"])
    assert owed(rack) == [("reactivation", 150_000, BACK)]


def test_masa_berlaku_a_machine_is_taken_for_a_month(sell: Callable[..., Rack]) -> None:
    rack = sell()
    soon = (rack.clock.now() + timedelta(days=20)).isoformat(timespec="seconds")
    rack.event("invoice.paid", "s1", invoice_id="i1", paid_until=soon)
    rack.event("service.cancel", "s1", version=2, reason="moves away")
    rack.engine.post_messages()
    (noted,) = messages(rack, "cancellation.noted")
    with rack.db.read() as conn:
        service = services.get(conn, "s1")
    assert service is not None
    assert service.activated_at is not None
    assert noted["effective_at"] == CALENDAR.add_months(service.activated_at, 1).isoformat()
    assert noted["clause"].endswith("; Masa Berlaku Perjanjian")
