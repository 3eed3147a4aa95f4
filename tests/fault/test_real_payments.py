"""A service is paid at the last instant before a destructive act on a real guest: the fence decides, across a crash too."""

from __future__ import annotations

import secrets

import pytest

from tests.e2e import sight
from tests.e2e.stand import PLAIN, RUNNING, Stand
from tests.fault.crashing import WAIT, Order
from tests.lab import tiny

pytestmark = pytest.mark.timeout(900)
OFFSET = 90 << 20
# Every moment at which nothing is destroyed yet, and some after it. The first of each are those of the sample.
IN_TIME = (
    "vps-terminate/hold/during",
    "vps-terminate/undefine/before",
    "vps-terminate/wipe/before",
    "vps-terminate/hold/before",
    "vps-terminate/stop/during",
    "vps-terminate/undefine/during",
)
TOO_LATE = ("vps-terminate/wipe/during", "vps-terminate/residue/before", "vps-terminate/addresses/before")
CRASHED = (
    "vps-terminate/undefine/during",
    "vps-terminate/wipe/before",
    "vps-terminate/wipe/during",
    "vps-terminate/hold/during",
    "vps-terminate/undefine/before",
)


def told(stand: Stand, service: str) -> list[str]:
    return sorted(
        message["type"] for message in stand.site.billing.messages.values() if message["data"].get("service_id") == service
    )


@pytest.mark.rare
def test_paid_before_a_destructive_act_the_guest_runs_again_with_its_data_and_after_it_the_wipe_is_completed(
    stand: Stand,
    whole_matrix: bool,
) -> None:
    undisturbed = (*IN_TIME, *TOO_LATE) if whole_matrix else (*IN_TIME[:3], TOO_LATE[0])
    points = (*undisturbed, *(CRASHED if whole_matrix else CRASHED[:3]))
    services = stand.take(RUNNING, len(points), plan=PLAIN)
    number = len(undisturbed)
    calm, crashed = dict(zip(services[:number], points, strict=False)), dict(zip(services[number:], points[number:], strict=True))
    markers = {service: secrets.token_bytes(32) for service in services}
    for service in services:
        tiny.plant(sight.address(stand.site, service), OFFSET, markers[service])
    before = {service: sight.look(stand.site, service) for service in services}
    for service, point in (calm | crashed).items():
        stand.board.arm(service, Order(point, WAIT))
    jobs = {service: stand.event("service.terminate", service, version=2, reason="unpaid") for service in services}
    stand.reach(*services)
    for service in services:
        stand.pay(service)
    for service in calm:
        stand.board.let_go(service)
    ended = dict(zip(calm, stand.rest(jobs[s] for s in calm), strict=True))
    stand.crash()
    ended |= dict(zip(crashed, stand.rest(jobs[s] for s in crashed), strict=True))
    spared = [service for service, point in (calm | crashed).items() if point not in TOO_LATE]
    assert {service: (ended[service]["state"], ended[service]["error_code"]) for service in spared} == dict.fromkeys(
        spared, ("failed", "fence-closed")
    )
    stand.until("the spared guests run", lambda: all(sight.power(service) == "running" for service in spared))
    for service in spared:
        address = sight.address(stand.site, service)
        stand.answering([service])
        assert tiny.show(address, OFFSET, 32) == markers[service], (calm | crashed)[service]
        assert sight.rows(stand.site, service)["state"] == ["active"]
        assert sight.difference(before[service], sight.look(stand.site, service)) == [], (calm | crashed)[service]
    lost = [service for service in services if service not in spared]
    assert {ended[service]["state"] for service in lost} == {"done"}
    assert [sight.left(stand.site, service) for service in lost] == [{} for _ in lost]
    stand.until("billing is told", lambda: all("payment.too_late" in told(stand, service) for service in lost))
    assert not any("payment.too_late" in told(stand, service) for service in spared)
