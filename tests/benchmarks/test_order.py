"""From a paid order to the customer's login, against a script that does the same by hand; and what it costs the controller."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.benchmarks.book import Row, seconds, write
from tests.e2e.billing import Billing
from tests.e2e.site import SECRET, PlanLine, Site
from tests.lab import guests
from tests.lab.environment import Lab
from tests.lab.templates import Installed

ROUNDS = 5
MEMORY_MIB = 512
PLAN = PlanLine(name="plain", memory=f"{MEMORY_MIB} MiB", disk="3 GiB", encrypted=False)
TO_LOG_IN = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def site(lab: Lab, debian_template: Installed, tmp_path: Path) -> Iterator[Site]:
    with Billing(SECRET) as billing:
        made = Site(lab=lab, directory=tmp_path, templates=(debian_template,), plans=(PLAN,), billing=billing)
        made.prepare()
        made.start()
        try:
            made.enrol()
            made.wait_for_node()
            yield made
        finally:
            made.kill()


def logged_in(lab: Lab, address: str) -> None:
    """Somebody with the key is in."""
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=5", "LogLevel=ERROR")
    words = ["ssh", "-F", "none", "-i", str(lab.ssh_identity), *(part for option in options for part in ("-o", option))]
    until = time.monotonic() + TO_LOG_IN
    while subprocess.run([*words, f"root@{address}", "true"], check=False, timeout=60, capture_output=True).returncode:
        assert time.monotonic() < until, f"nobody can log in at {address}"
        time.sleep(0.2)


def cpu_of(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU that it and its children have spent (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


@pytest.mark.timeout(1800)  # ten Debian guests, one after the other
def test_an_order_until_the_login(site: Site, lab: Lab, debian_template: Installed) -> None:
    numbers = count(1)
    key = lab.ssh_identity.with_suffix(".pub").read_text().strip()
    spent: list[float] = []
    controller = site.process
    assert controller is not None

    def ours() -> float:
        service = f"o-{next(numbers)}"
        before, began = cpu_of(controller), time.monotonic()
        answer = site.send("order.paid", service, client_id="c1", plan=PLAN.name, hostname=service, ssh_keys=[key])
        job: dict[str, Any] = site.wait_for_job(answer.json()["job_id"])
        assert job["state"] == "done", job
        lease = site.http("GET", f"/v1/services/{service}").json()["facts"]["addresses"]["lease"]
        logged_in(lab, str(lease["ipv4"][0]).partition("/")[0])
        taken = time.monotonic() - began
        spent.append(cpu_of(controller) - before)
        site.wait_for_job(site.send("service.terminate", service, version=1, reason="cancelled").json()["job_id"])
        return taken

    def by_hand() -> float:
        name, address = f"bare-{next(numbers)}", f"10.77.0.{200 + next(numbers) % 40}"
        began = time.monotonic()
        made = guests.start(lab, debian_template, name, addresses=(f"{address}/24",), memory_mib=MEMORY_MIB, disk_bytes=3 << 30)
        logged_in(lab, address)
        taken = time.monotonic() - began
        guests.remove(made)
        return taken

    by_hand()  # the template is in the machine's memory for both
    found = [(by_hand(), ours()) for _ in range(ROUNDS)]
    added = median(mine - theirs for theirs, mine in found)
    mine, theirs = median(m for _, m in found), median(t for t, _ in found)
    ratio = median(mine / theirs for theirs, mine in found)
    write(
        "From a paid order to the login",
        "A Debian guest of 512 MiB, cloud-init and all. Ours: from the signed webhook until the customer's key logs in. By hand: "
        "a script that clones the disk, writes the seed, defines, starts and waits, until the same key logs in. Median of "
        f"{ROUNDS}.",
        [
            Row("until the login", seconds(mine), seconds(theirs), f"{ratio:.2f} ×"),
            Row("added", seconds(added)),
            Row("CPU of the controller for it", seconds(median(spent))),
        ],
    )
