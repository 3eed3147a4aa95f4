"""A real guest moves to a larger plan: it goes on until it is restarted, and finds what it had written on a larger disk."""

from __future__ import annotations

import secrets
import time

import pytest

from tests.e2e import sight
from tests.e2e.stand import ROOMY, RUNNING, SEALED, Stand
from tests.e2e.traces import virsh
from tests.fault.crashing import KILL, Order
from tests.lab import tiny

pytestmark = pytest.mark.timeout(600)
MIB = 1 << 20


def test_a_running_guest_is_moved_restarted_when_that_is_asked_for_and_keeps_what_it_wrote(stand: Stand) -> None:
    (service,) = stand.take(RUNNING, 1, plan=SEALED)
    name, address, mark = sight.guest(service), sight.address(stand.site, service), secrets.token_bytes(32)
    tiny.plant(address, 70 * MIB, mark)
    boots = sight.boots(service)
    stand.board.arm(service, Order("vps-change-plan/size/during", KILL))
    moved = stand.event("service.change_plan", service, version=time.time_ns() // 1000, plan=ROOMY)
    stand.dies([service])
    stand.board.disarm(service)
    stand.site.start()
    stand.done([moved])
    assert (sight.boots(service), sight.power(service)) == (boots, "running")
    assert virsh("domblkinfo", name, "vda").stdout.split()[1] == str(200 * MIB)
    assert "total_iops_sec : 3000" in " ".join(virsh("blkdeviotune", name, "vda").stdout.split())
    assert virsh("vcpucount", name, "--live", "--current").stdout.strip() == "1"
    assert virsh("vcpucount", name, "--config", "--current").stdout.strip() == "2"
    stand.done([stand.command("check", service)])
    body = {"reason": "a test", "plan": ROOMY, "restart": "now"}
    answer = stand.site.http("POST", f"/v1/services/{service}/change-plan", json=body, key=f"{time.time_ns()}")
    stand.done([str(answer.json()["job_id"])])
    stand.answering([service])
    seen = tiny.facts(address)
    assert (sight.boots(service), seen["processors"], seen["disk_bytes"]) == (boots + 1, "2", str(200 * MIB))
    assert tiny.show(address, 70 * MIB, 32) == mark
    stand.done([stand.command("check", service)])
    smaller = stand.site.send("service.change_plan", service, version=time.time_ns() // 1000, plan=SEALED).json()
    says = "its disk has 200 MiB, and the plan's has 160 MiB"
    assert (smaller["outcome"], says in smaller["detail"]) == ("refused", True)
    stand.give_back([service], RUNNING, plan=ROOMY)
