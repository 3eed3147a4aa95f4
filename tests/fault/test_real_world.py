"""The world fails, on real parts: daemons die, pools fill, templates rot, addresses run out, strangers are in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import sight
from tests.e2e.site import NODE
from tests.e2e.stand import PLAIN, RUNNING, Stand
from tests.e2e.traces import virsh
from tests.fault.crashing import KILL, WAIT, Order
from tests.lab import daemons, tiny

pytestmark = pytest.mark.timeout(900)
ROTTEN = "rotten"
MISSING = "missing"


def pid_of(service: str) -> int:
    """Of the QEMU that runs the guest."""
    return int(Path(f"/run/libvirt/qemu/{sight.guest(service)}.pid").read_text())


def failed(stand: Stand, job_id: str, code: str) -> dict[str, Any]:
    (job,) = stand.rest([job_id])
    assert (job["state"], job["error_code"]) == ("failed", code), job
    found: dict[str, Any] = job
    return found


def held_up(stand: Stand, job_id: str) -> bool:
    """An attempt at a step of the job failed, and another will follow."""
    return any(step["message"].startswith("again at ") for step in stand.job(job_id)["steps"])


# -- libvirtd ------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One moment, or in the whole matrix several."""
    if "moment" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--matrix") == "whole"
        metafunc.parametrize("moment", ["define/before", *(("disk/before", "start/before", "wait/before") if whole else ())])


def test_libvirtd_is_killed_in_the_middle_of_a_job_and_the_job_goes_on(stand: Stand, moment: str) -> None:
    (bystander,) = stand.take(RUNNING, 1, plan=PLAIN)
    qemu = pid_of(bystander)
    (service,) = stand.new()
    stand.board.arm(service, Order(f"vps-provision/{moment}", WAIT))
    job = stand.order(service, plan=PLAIN)
    stand.reach(service)
    daemons.kill_libvirtd()
    stand.board.let_go(service)
    stand.until("the job is held up and will try again", lambda: held_up(stand, job))
    daemons.start_libvirtd()
    stand.done([job])
    assert (sight.power(service), sight.boots(service)) == ("running", 1)
    assert (sight.power(bystander), pid_of(bystander), daemons.is_running(qemu)) == ("running", qemu, True)
    assert sight.difference(sight.look(stand.site, bystander), sight.look(stand.site, service)) == []
    stand.give_back([service, bystander], RUNNING, plan=PLAIN)


def test_libvirtd_restarts_while_a_guest_is_held_and_it_stays_off(stand: Stand) -> None:
    (service,) = stand.take("suspended", 1, plan=PLAIN)
    daemons.kill_libvirtd()
    daemons.start_libvirtd()
    assert sight.power(service) == "shut off"
    assert virsh("start", sight.guest(service)).returncode != 0
    stand.done([stand.command("unsuspend", service)])
    assert sight.power(service) == "running"
    stand.give_back([service], RUNNING, plan=PLAIN)


# -- space and templates ------------------------------------------------------------


@contextmanager
def full(pool: Path) -> Iterator[None]:
    """Hardly a block is free on the pool's file system."""
    filler = pool / ".filler"
    try:
        free = os.statvfs(pool)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - (64 << 20), 1))
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k", "oflag=append", "conv=notrunc"], capture_output=True)
        os.sync()
        assert os.statvfs(pool).f_bavail < 16
        yield
    finally:
        filler.unlink(missing_ok=True)


@pytest.mark.parametrize("plan", [pytest.param("sealed", marks=pytest.mark.rare), "plain-copy"])
def test_the_pool_is_full_and_the_job_fails_and_leaves_nothing(stand: Stand, plan: str) -> None:
    (service,) = stand.new()
    with full(stand.site.lab.pool_path):
        failed(stand, stand.order(service, plan=plan), "no-capacity")
        assert sight.left(stand.site, service) == {}
    # It may have been looked at while it was full; it is again in some seconds.
    daemons.wait_until("its node takes guests", lambda: not stand.site.ask("node", "show", NODE)["takes_nothing_new"])
    stand.done([stand.order(service, plan=plan)])
    assert sight.power(service) == "running"
    stand.give_back([service], RUNNING, plan=plan)


def test_a_template_that_rots_or_is_missing_is_found_before_anything_is_made_of_it(stand: Stand) -> None:
    site = stand.site
    (tiny_template,) = (template for template in site.templates if template.name == "tiny")
    rotten = replace(tiny_template, name=ROTTEN, volume="rotten.qcow2", path=site.lab.pool_path / "rotten.qcow2")
    missing = replace(tiny_template, name=MISSING, volume="missing.qcow2", path=site.lab.pool_path / "missing.qcow2")
    shutil.copyfile(tiny_template.path, rotten.path)
    small = next(plan for plan in site.plans if plan.name == PLAIN)
    before = site.templates, site.plans
    site.stop()
    site.templates = (*site.templates, rotten, missing)
    site.plans = (*site.plans, replace(small, name=ROTTEN, template=ROTTEN), replace(small, name=MISSING, template=MISSING))
    site.configure()
    site.start()
    whole, spoilt, none = stand.new(3)
    stand.done([stand.order(whole, plan=ROTTEN)])
    stand.done([stand.event("service.terminate", whole, version=1, reason="tried")])
    with rotten.path.open("r+b") as file:
        file.seek(rotten.path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    job = failed(stand, stand.order(spoilt, plan=ROTTEN), "driver-permanent")
    assert "SHA-256" in job["error"], job["error"]
    failed(stand, stand.order(none, plan=MISSING), "not-found")
    assert (sight.left(site, spoilt), sight.left(site, none)) == ({}, {})
    assert sight.boots(spoilt) == 0
    site.stop()
    site.templates, site.plans = before
    (site.config / "plans" / f"{ROTTEN}.yaml").unlink()
    (site.config / "plans" / f"{MISSING}.yaml").unlink()
    site.configure()
    rotten.path.unlink()


@pytest.mark.rare
def test_no_address_is_left_and_the_job_fails_and_leaves_nothing(stand: Stand) -> None:
    site = stand.site
    (holder, service) = (*stand.take(RUNNING, 1, plan=PLAIN), *stand.new())
    many = site.address_count
    highest = max(int(a.rpartition(".")[2]) for a in sight.leases(site) if "." in a)
    taken = {int(a.rpartition(".")[2]) for a in sight.leases(site) if "." in a}
    site.stop()
    site.address_count = min(taken) - 9
    site.configure()
    site.start()
    try:
        failed(stand, stand.order(service, plan=PLAIN), "no-capacity")
        assert sight.left(site, service) == {}
        assert sight.power(holder) == "running"
    finally:
        site.stop()
        site.address_count = many
        site.configure()
        site.start()
    assert highest < 10 + many
    stand.done([stand.order(service, plan=PLAIN)])
    stand.give_back([holder, service], RUNNING, plan=PLAIN)


@pytest.mark.rare
def test_a_guest_that_dies_while_it_is_waited_for_is_undone_also_when_the_controller_is_killed(stand: Stand) -> None:
    wait = "vps-provision/wait/before"
    undoing = ("start/undo-before", "define/undo-during", "addresses/undo-after")
    services = stand.new(len(undoing) + 1)
    for service, point in zip(services, undoing, strict=False):
        stand.board.arm(service, Order(wait, WAIT), Order(f"vps-provision/{point}", KILL))
    stand.board.arm(services[-1], Order(wait, WAIT))
    jobs = [stand.order(service, plan=PLAIN) for service in services]
    stand.reach(*services)
    for service in services:
        assert virsh("destroy", sight.guest(service)).returncode == 0
        stand.board.let_go(service)
    stand.dies(services[:-1])
    stand.site.start()
    assert {job["state"] for job in stand.rest(jobs)} == {"failed"}
    assert [sight.left(stand.site, service) for service in services] == [{} for _ in services]
    assert {tuple(sight.rows(stand.site, service)["state"]) for service in services} == {("failed",)}


# -- others ------------------------------------------------------------


def test_twenty_deliveries_of_one_order_at_once_make_one_guest(stand: Stand) -> None:
    (service,) = stand.new()

    def deliver(_number: int) -> tuple[int, str]:
        answer = stand.site.send("order.paid", service, event_id=f"msg_{service}", plan=PLAIN, client_id="c-1", hostname="one")
        return answer.status_code, str(answer.json()["job_id"])

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(deliver, range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    (job,) = {job for _, job in answers}
    stand.done([job])
    seen = sight.look(stand.site, service)
    assert (len(seen["guests"]), len(seen["volumes"]), len(seen["secrets"])) == (1, 2, 0)
    assert (seen["rows"]["addresses"], seen["rows"]["macs"], sight.boots(service)) == ([4, 6], 1, 1)
    stand.give_back([service], RUNNING, plan=PLAIN)


@pytest.mark.rare
def test_two_services_at_once_get_what_is_theirs_and_not_each_others(stand: Stand) -> None:
    one, two = stand.new(2)
    stand.done([stand.order(service, plan=PLAIN) for service in (one, two)])
    addresses = {service: sight.address(stand.site, service) for service in (one, two)}
    assert addresses[one] != addresses[two]
    for service, address in addresses.items():
        stand.answering([service])
        assert tiny.facts(address)["hostname"] == service
    assert sight.disk(stand.site, one) != sight.disk(stand.site, two)
    stand.give_back([one, two], RUNNING, plan=PLAIN)


def test_a_strangers_guest_of_the_same_name_is_left_alone(stand: Stand) -> None:
    (service,) = stand.new()
    name = sight.guest(service)
    xml = f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    subprocess.run(["virsh", "-q", "define", "/dev/stdin"], input=xml.encode(), check=True, timeout=60)
    before = virsh("dumpxml", name).stdout
    job = failed(stand, stand.order(service, plan=PLAIN), "already-exists")
    assert name in job["error"]
    assert virsh("dumpxml", name).stdout == before
    assert sight.left(stand.site, service) == {"guests": [name]}
    virsh("undefine", name)


# -- behind our back ------------------------------------------------------------


METADATA = "https://orchestrator.example/xmlns/guest/1"


def _guest_gone(_stand: Stand, service: str) -> None:
    virsh("destroy", sight.guest(service))
    virsh("undefine", sight.guest(service))


def _disk_gone(stand: Stand, service: str) -> None:
    sight.disk(stand.site, service).unlink()


def _seed_gone(stand: Stand, service: str) -> None:
    (seed,) = stand.site.lab.pool_path.glob(f"{sight.guest(service)}.seed.*")
    seed.unlink()


def _autostart_off(_stand: Stand, service: str) -> None:
    virsh("autostart", "--disable", sight.guest(service))


def _faster_disk(_stand: Stand, service: str) -> None:
    virsh("blkdeviotune", sight.guest(service), "vda", "--total-iops-sec", "9999", "--live", "--config")


def _mark_gone(_stand: Stand, service: str) -> None:
    virsh("metadata", sight.guest(service), "--uri", METADATA, "--remove", "--live", "--config")


def _held(_stand: Stand, service: str) -> None:
    mark = virsh("metadata", sight.guest(service), METADATA).stdout
    held = mark.replace("</guest>", '<hold reason="abuse"/></guest>')
    assert held != mark
    virsh("metadata", sight.guest(service), "--uri", METADATA, "--key", "orch", "--set", held, "--live", "--config")


# What somebody does on the node, and what is said of it.
CHANGES = {
    _guest_gone: "the guest is not on hv1",
    _disk_gone: "is gone",
    _seed_gone: "is gone",
    _autostart_off: "would not start with its host",
    _faster_disk: "9999 disk operations per second instead of 5000",
    _mark_gone: "is not one of this service",
    _held: "held on its node for abuse, and not in our records",
}


def test_what_was_changed_behind_our_back_is_said_and_nothing_is_touched(stand: Stand) -> None:
    services = dict(zip(stand.take(RUNNING, len(CHANGES), plan=PLAIN), CHANGES.items(), strict=True))
    for service, (change, _) in services.items():
        change(stand, service)
    before = {service: sight.look(stand.site, service) for service in services}
    jobs = dict(zip(services, stand.rest([stand.command("check", service) for service in services]), strict=True))
    assert {job["state"] for job in jobs.values()} == {"failed"}
    assert [(said, jobs[s]["error"]) for s, (_, said) in services.items() if said not in jobs[s]["error"]] == []
    assert {s: sight.difference(seen, sight.look(stand.site, s)) for s, seen in before.items()} == {s: [] for s in services}
