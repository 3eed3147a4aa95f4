"""Backups of real guests by real restic: what changed is read, what is replaced goes last, whatever is killed."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.stand import RUNNING, SEALED, Stand
from tests.fault.crashing import WAIT, Order
from tests.lab import tiny
from tests.lab.daemons import wait_until

pytestmark = pytest.mark.timeout(1200)
OFFSET = 90 << 20
# Every moment of a backup, and what stands when it is killed there.
POINTS = (
    "vps-backup/make/during",
    "vps-backup/settle/during",
    "vps-backup/release/before",
    "vps-backup/repository/during",
    "vps-backup/export/during",
    "vps-backup/make/before",
    "vps-backup/settle/before",
    "vps-backup/release/during",
)
FIRST = "vps-backup/repository/during"  # only before the first backup is there anything to be done at this step


def rows(stand: Stand, service: str) -> list[Any]:
    """What is known of the service's backups, the newest first."""
    found: list[Any] = stand.site.http("GET", f"/v1/backups?service_id={service}").json()["items"]
    return found


def verified(stand: Stand, service: str) -> list[Any]:
    return [row for row in rows(stand, service) if row["state"] == "verified"]


def answers(address: str) -> bool:
    try:
        tiny.facts(address)
    except OSError:
        return False
    return True


def test_a_backup_replaces_the_last_one_and_stores_what_changed(stand: Stand) -> None:
    (service,) = stand.take(RUNNING, 1, plan=SEALED)
    address = sight.address(stand.site, service)
    tiny.plant(address, OFFSET, secrets.token_bytes(64), copies=500)
    stand.done([stand.command("backup", service)])
    (first,) = verified(stand, service)
    assert first["consistency"] == "crash"  # there is no agent inside to hold it still
    tiny.plant(address, OFFSET, secrets.token_bytes(64))
    stand.done([stand.command("backup", service)])
    (second,) = verified(stand, service)
    assert {row["id"]: row["state"] for row in rows(stand, service)} == {first["id"]: "forgotten", second["id"]: "verified"}
    assert second["stored_bytes"] < first["stored_bytes"] / 2
    assert sight.power(service) == "running"
    stand.done([stand.command("stop", service)])
    time.sleep(2)  # what was written a moment ago could be written again in the same tick: then there is doubt
    stand.done([stand.command("backup", service)])
    (stopped,) = verified(stand, service)
    assert stopped["consistency"] == "stopped"
    stand.done([stand.command("backup", service)])
    assert (verified(stand, service), rows(stand, service)[0]["state"]) == ([stopped], "skipped")
    stand.done([stand.command("start", service)])
    wait_until("the guest to answer", lambda: answers(address), seconds=120)
    tiny.plant(address, OFFSET, b"a few bytes")
    stand.done([stand.command("stop", service)])
    stand.done([stand.command("backup", service)])
    assert [row["id"] == stopped["id"] for row in verified(stand, service)] == [False]


@pytest.mark.rare
def test_killed_at_any_moment_a_verified_backup_stands_and_the_next_is_made(stand: Stand) -> None:
    services = dict(zip(stand.take(RUNNING, len(POINTS), plan=SEALED), POINTS, strict=True))
    stand.done(stand.command("backup", service) for service, point in services.items() if point != FIRST)
    standing = {service: int(point != FIRST) for service, point in services.items()}
    assert {service: len(verified(stand, service)) for service in services} == standing
    for service, point in services.items():
        stand.board.arm(service, Order(point, WAIT))
    jobs = {service: stand.command("backup", service) for service in services}
    stand.reach(*services)
    assert {service: len(verified(stand, service)) for service in services} == standing
    stand.crash()
    stand.done(jobs.values(), seconds=600)
    after = {service: verified(stand, service) for service in services}
    assert {len(found) for found in after.values()} == {1}
    assert [service for service in services if after[service][0]["job_id"] != jobs[service]] == []
    assert [service for service in services if sight.power(service) != "running"] == []
