"""Shared hosting from the order to the wipe certificate, on a real server.

A plain Debian is enrolled through the CLI, accounts are ordered by signed webhooks, and all is looked at from outside: over HTTP,
SFTP, and in the node's kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest

from tests.e2e.billing import Billing, machine_time
from tests.e2e.hosted import SMALL, Hosting
from tests.e2e.site import SECRET, Site
from tests.e2e.tenant import Tenant, Watcher
from tests.lab import hosting
from tests.lab.environment import Lab

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

NODE = "web1"
NUMBER = 2  # among the lab's hosting nodes: the first two are enrolled by the controller of other tests
LARGE = SMALL | {
    "name": "web-large",
    "disk": "48 MiB",
    "inodes": 600,
    "cpu_percent": 80,
    "memory": "192 MiB",
    "tasks": 32,
    "io_rate": "32 MiB/s",
    "iops": 2000,
}
DUE = timedelta(days=3)  # ago: the policy suspends two days after the due date
CRON = "* * * * * date +\\%s >>ticks\n"
BOMB = "fork while 1"
HOG = "my @all; push @all, 'x' x (8 << 20) while 1"


@pytest.fixture(scope="module")
def ground(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    directory = tmp_path_factory.mktemp("hosted")
    with hosting.running(lab, NUMBER) as node, Billing(SECRET) as billing:
        entry = {"name": NODE, "zone": "lab", "kind": "hosting", "address": node.address, "memory_ratio": 4}
        site = Site(lab=lab, directory=directory, templates=(), plans=(), billing=billing, nodes=(entry,), hosting=(SMALL, LARGE))
        made = Hosting(site, node, directory)
        try:
            site.prepare()
            site.start()
            made.report = site.enrol(NODE)
            assert made.report["complete"], made.report
            site.wait_for_node(NODE)
            yield made
        finally:
            site.kill()


@pytest.fixture(scope="module")
def both(ground: Hosting) -> list[Tenant]:
    """The first has a line of cron from the beginning, so that no test waits for the minute at which it runs."""
    tenants = ground.ordered("anna", "budi")
    ground.node.run("crontab", "-u", tenants[0].user, "-", stdin=CRON.encode())
    return tenants


@pytest.fixture
def anna(both: list[Tenant]) -> Tenant:
    return both[0]


@pytest.fixture
def budi(both: list[Tenant]) -> Tenant:
    return both[1]


def test_a_plain_server_is_enrolled_and_its_doctor_misses_nothing(ground: Hosting) -> None:
    assert ground.report["hook_refuses"] is None
    assert any(line.startswith("prepared: ") for line in ground.report["said"])
    told = ground.site.ask("node", "doctor", NODE)
    assert (told["ok"], told["accelerated"]) == (True, None)
    assert {"quota", "cgroup v2", "php-fpm", "MariaDB answers"} <= {row["name"] for row in told["requirements"]}
    shown = ground.site.ask("node", "show", NODE)
    assert (shown["kind"], shown["facts"]["details"]["lacks"]) == ("hosting", [])


def test_accounts_that_were_ordered_serve_pages_that_write_to_databases_of_their_own(anna: Tenant, budi: Tenant) -> None:
    assert [anna.visit(), anna.visit()] == [1, 2]
    assert budi.visit() == 1
    assert anna.uid != budi.uid
    assert anna.gets_in(by_password=True)
    stolen = anna.database(f"SELECT * FROM {budi.user}_main.visits")
    assert (stolen.returncode != 0, b"denied" in stolen.stderr) == (True, True)


def test_another_plan_moves_every_limit_of_the_kernel(ground: Hosting, anna: Tenant) -> None:
    assert limits(anna) == (24 << 10, 300, "50000 100000", 160 << 20, 24)
    visits = anna.visit()
    ground.job(ground.site.send("service.change_plan", anna.service, version=1, plan="web-large"))
    assert limits(anna) == (48 << 10, 600, "80000 100000", 192 << 20, 32)
    assert {"rbps=33554432", "wbps=33554432", "riops=2000", "wiops=2000"} <= set(anna.kernel("io.max").split())
    assert ground.service(anna)["plan"] == "web-large"
    assert anna.visit() == visits + 1


def limits(tenant: Tenant) -> tuple[int, int, str, int, int]:
    """As the kernel has them: blocks of 1 KiB, inodes, processor, memory, processes."""
    row = next(line.split() for line in tenant.node.run("repquota", "-u", "/").splitlines() if line.startswith(tenant.user))
    blocks, inodes = int(row[4]), int(row[7])
    return blocks, inodes, tenant.kernel("cpu.max"), int(tenant.kernel("memory.max")), int(tenant.kernel("pids.max"))


def test_at_its_quota_the_kernel_refuses_the_write_and_the_neighbour_goes_on(anna: Tenant, budi: Tenant) -> None:
    with Watcher(anna) as watcher:
        filled = budi.ask(f"/bytes.php?most={64 << 20}")
        assert "errno=122 Disk quota exceeded" in filled["error"]
        assert 20 << 20 < filled["written"] <= 24 << 20
        # SFTP has no word for a quota.
        with budi.sftp() as files, files.open("/home/more", "wb") as file, pytest.raises(OSError, match="Failure"):
            file.write(bytes(1 << 20))
        budi.node.run("rm", f"{budi.home}/sites/main/filling")
        many = budi.ask("/inodes.php?most=1000")
        assert "Disk quota exceeded" in many["error"]
        assert 250 < many["made"] < 300
    assert watcher.only_served(), watcher.answers
    budi.node.run("rm", "-r", f"{budi.home}/sites/main/many")
    assert budi.ask("/inodes.php?most=5") == {"made": 5, "error": ""}


def test_who_does_not_pay_is_shut_out_of_everything_and_who_pays_has_all_as_before(
    ground: Hosting, anna: Tenant, budi: Tenant
) -> None:
    node, site = ground.node, ground.site
    visits = anna.visit()
    ground.until("his line of cron is run", lambda: ticks(anna) != [])
    anna.begin("sleep", "4000")
    anna.begin("mariadb", "--no-defaults", f"--user={anna.user}", "-e", "'SELECT SLEEP(4000)'")
    ground.until("his programs run", lambda: {"sleep 4000"} <= set(anna.processes()))
    assert anna.database().stdout.split() == [b"42"]
    with Watcher(budi) as neighbour:
        due = (machine_time() - DUE).isoformat()
        assert site.send("invoice.overdue", anna.service, invoice_id="i-1", due_at=due).status_code == 200
        job = ground.deadline_job(anna, "suspend")
    assert neighbour.only_served(), neighbour.answers

    for path in ("/", "/index.php", "/nothing"):
        shut = anna.get(path)
        assert (shut.status, shut.headers["retry-after"]) == (503, "3600")
    assert not anna.gets_in()
    assert not anna.gets_in(by_password=True)
    refused = anna.database()
    assert (refused.returncode != 0, b"locked" in refused.stderr) == (True, True)
    assert anna.processes() == []
    assert anna.user not in node.run("mariadb", "-N", "-e", "SELECT user FROM information_schema.processlist")
    # The job itself has waited for a full minute, of which nothing of his came.
    now = int(node.run("date", "+%s"))
    assert max(ticks(anna)) < now - now % 60
    assert ground.service(anna)["suspension_proven_at"], job
    assert budi.visit() > 1

    ground.job(site.send("invoice.paid", anna.service, invoice_id="i-1", paid_until="2099-01-01T00:00:00Z"))
    # The probe asked for the page while it was shut: none of that was counted.
    assert anna.visit() == visits + 1
    assert (anna.gets_in(), anna.gets_in(by_password=True), anna.database().returncode) == (True, True, 0)
    assert node.run("crontab", "-u", anna.user, "-l") == CRON


def ticks(tenant: Tenant) -> list[int]:
    done = tenant.node.attempt("cat", f"{tenant.home}/ticks")
    return [int(line) for line in done.stdout.split()]


def test_a_fork_bomb_and_a_memory_hog_stay_in_their_slice(ground: Hosting, anna: Tenant, budi: Tenant) -> None:
    with Watcher(anna) as neighbour:
        run(budi, HOG)
        ground.until("the hog is ended", lambda: budi.counted("memory.events", "oom_kill") > 0)
        run(budi, BOMB)
        ground.until("the bomb is refused processes", lambda: budi.refused_processes() > 100)
        assert 20 < int(budi.kernel("pids.current")) <= 24
        assert int(budi.kernel("memory.peak")) <= 160 << 20
        time.sleep(5)
    assert neighbour.only_served(), neighbour.answers
    assert max(seconds for _, seconds in neighbour.answers) < 30
    assert anna.counted("memory.events", "oom_kill") == 0


def test_terminated_nothing_of_an_account_is_left_whatever_it_runs_and_its_certificate_says_so(
    ground: Hosting, anna: Tenant, budi: Tenant
) -> None:
    began = max(ticks(anna), default=0)
    budi.begin("sleep", "4000")
    ground.job(ground.site.send("service.terminate", budi.service, version=1, reason="cancelled"), seconds=600)
    assert budi.processes() == []
    assert "visits" not in budi.get("/").body  # the node's own default page
    file = ground.directory / "certificate.json"
    file.write_text(ground.site.cli("certificate", "show", budi.service, "--json"))
    assert ground.site.run("certificate", "verify", str(file)).returncode == 0
    certificate = ground.site.ask("certificate", "show", budi.service)
    assert certificate["residue"]["clean"] is True
    assert [check["found"] for check in certificate["residue"]["checks"]] == [[]]
    named = ("(", "-uid", str(budi.uid), "-o", "-gid", str(budi.uid), "-o", "-name", f"*{budi.user}*", ")")
    assert ground.node.run("find", "/", "-xdev", *named) == ""
    assert budi.user not in ground.node.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow")
    assert budi.user not in ground.node.run("mariadb", "-N", "-e", "SHOW DATABASES; SELECT user FROM mysql.global_priv")
    assert ground.site.ask("node", "residue", NODE) == {"clean": True, "accounts": [], "orphans": [], "unknown": []}
    assert anna.visit() > 1
    # Meanwhile a minute has passed, also since he paid.
    ground.until("his line of cron is run again", lambda: max(ticks(anna), default=0) > began)


def run(tenant: Tenant, perl: str) -> None:
    tenant.ask(f"/run.php?perl={quote(perl)}")
