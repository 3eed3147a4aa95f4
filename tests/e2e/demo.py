"""The main job on real parts: from a paid order to the wipe certificate. Run it with ``make demo``.

A Debian guest is ordered by a signed webhook, boots under a real libvirt, is logged in to, suspended, paid for, and at last
terminated and wiped. Every claim is looked at from outside (virsh, SSH, the raw device).
Each becomes a line of the table at the end. Up to there the controller is ``orchestrator serve`` itself. Then the same
installation goes on under a clock that the demonstration puts forward (tests/e2e/wound.py), for what days have to pass for.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import overdue
from tests.e2e.billing import Billing
from tests.e2e.showing import Checks, certified, console, guest, left, refuses, title, watch
from tests.e2e.site import NODE, SECRET, PlanLine, Site, SiteFailed
from tests.e2e.stand import patient
from tests.e2e.traces import virsh
from tests.e2e.wound import Dial
from tests.lab import environment, templates

SERVICE = "demo-1"
GUEST = guest(SERVICE)
MEMORY_BYTES = 512 << 20
DISK_BYTES = 3 << 30
PLAN = PlanLine(name="vps-demo", memory="512 MiB", disk="3 GiB", vcpus=1)
SSH_SECONDS = 120.0


@dataclass
class Customer:
    """Somebody with an SSH key."""

    directory: Path

    @property
    def key(self) -> Path:
        return self.directory / "customer"

    def make_key(self) -> str:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "customer", "-f", str(self.key)]
        subprocess.run(command, check=True, timeout=30)
        return self.key.with_suffix(".pub").read_text(encoding="ascii").strip()

    def login(self, address: str, command: str, *, seconds: float = SSH_SECONDS) -> str:
        """What the command printed in the guest; '' where nobody could log in within the time."""
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=10",
        ]
        words = ["ssh", "-F", "none", "-i", str(self.key), *(part for option in options for part in ("-o", option))]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done = subprocess.run([*words, f"root@{address}", command], capture_output=True, text=True, timeout=120)
            if done.returncode == 0:
                return done.stdout.strip()
            time.sleep(2)
        return ""


def order(site: Site, customer: Customer, checks: Checks) -> tuple[str, str]:
    title("Billing says: the order is paid (a signed webhook)")
    key = customer.make_key()
    data: dict[str, Any] = {"client_id": "c-100", "order_id": "o-100", "plan": PLAN.name, "hostname": "shop", "ssh_keys": [key]}
    answer = site.send("order.paid", SERVICE, event_id="msg_order_100", **data)
    console.print(f"   {answer.status_code} {answer.text}")
    again = site.send("order.paid", SERVICE, event_id="msg_order_100", **data)
    checks.note("the same delivery a second time makes nothing", again.status_code == 200, f"{again.status_code} {again.text}")
    watch(site, answer)
    lease = site.ask("service", "show", SERVICE)["facts"]["addresses"]["lease"]
    ipv4, ipv6 = (lease[family][0].partition("/")[0] for family in ("ipv4", "ipv6"))
    console.print(site.cli("service", "explain", SERVICE))
    return ipv4, ipv6


def look_inside(customer: Customer, ipv4: str, ipv6: str, checks: Checks) -> None:
    title("The customer logs in by SSH and looks around")
    script = (
        "nproc; awk '/MemTotal/{print $2*1024}' /proc/meminfo; blockdev --getsize64 /dev/vda; df -B1 --output=size / | tail -1"
    )
    seen = customer.login(ipv4, script).split()
    checks.note("SSH to the guest's IPv4 address", len(seen) == 4, ipv4)
    if len(seen) != 4:
        return
    vcpus, memory, disk, root = (int(value) for value in seen)
    checks.note("vCPUs of the plan", vcpus == PLAN.vcpus, vcpus)
    checks.note("memory of the plan (less the kernel's own)", 0.75 * MEMORY_BYTES < memory <= MEMORY_BYTES, f"{memory >> 20} MiB")
    checks.note("disk of the plan", disk == DISK_BYTES, f"{disk >> 20} MiB")
    checks.note("its file system fills the disk", root > 0.85 * DISK_BYTES, f"{root >> 20} MiB")
    addresses = customer.login(ipv4, "hostname; ip -o addr show scope global")
    checks.note("its own addresses and name", all(word in addresses for word in (ipv4, ipv6, "shop")), f"{ipv4}, {ipv6}, shop")
    checks.note("SSH to its IPv6 address", customer.login(ipv6, "echo here", seconds=30) == "here", ipv6)


def suspend(site: Site, customer: Customer, ipv4: str, checks: Checks) -> None:
    title("Billing says: suspend, it was not paid")
    watch(site, site.send("service.suspend", SERVICE, version=2, reason="nonpayment"))
    checks.note(
        "the guest is off", virsh("domstate", GUEST).stdout.strip() == "shut off", virsh("domstate", GUEST).stdout.strip()
    )
    refuses(SERVICE, checks)
    listed = virsh("list", "--autostart", "--all", "--name").stdout.split()
    checks.note("autostart is off", GUEST not in listed, listed or "no guest starts with the host")
    title("Billing says: the invoice was paid")
    watch(site, site.send("invoice.paid", SERVICE, invoice_id="i-7", paid_until="2099-01-01T00:00:00Z"))
    checks.note("the customer is back in", customer.login(ipv4, "hostname") == "shop", virsh("domstate", GUEST).stdout.strip())
    listed = virsh("list", "--autostart", "--all", "--name").stdout.split()
    checks.note("autostart is on again", GUEST in listed, listed)


def terminate(site: Site, customer: Customer, ipv4: str, checks: Checks) -> None:
    title("Billing says: terminate; first the customer leaves something behind")
    marker = f"secret-of-the-customer-{secrets.token_hex(16)}"
    customer.login(ipv4, f"for i in $(seq 200); do echo {marker} >> /root/shop.sql; done; sync", seconds=30)
    watch(site, site.send("service.terminate", SERVICE, version=3, reason="cancelled"))
    certified(site, SERVICE, checks, show=True)
    left(site, SERVICE, marker, checks)
    until = time.monotonic() + 20
    while not any(m["type"] == "job.done" and "terminate" in json.dumps(m) for m in site.billing.messages.values()):
        if time.monotonic() > until:
            break
        time.sleep(0.2)
    told = sorted({str(message["type"]) for message in site.billing.messages.values()})
    checks.note(
        "billing was told, signed", bool(told) and not site.billing.refused, f"{len(site.billing.messages)} messages: {told}"
    )


def run(directory: Path, checks: Checks) -> None:
    lab = environment.current()
    dial = Dial(directory / "dial")
    dial.prepare()
    with Billing(SECRET, now=dial.now) as billing:
        installed = (templates.install(lab, "debian"), patient(templates.install(lab, "tiny")))
        site = Site(lab=lab, directory=directory, templates=installed, plans=(PLAN,), billing=billing, now=dial.now)
        customer = Customer(directory)
        try:
            title("A controller on SQLite, and a hypervisor that is enrolled over SSH")
            site.prepare()
            site.start()
            report = site.enrol()
            console.print("   " + "\n   ".join(report["said"]))
            checks.note("enrolled; the host hook was seen to refuse", report["complete"], f"agent {report['agent_version']}")
            site.wait_for_node()
            console.print(site.cli("node", "show", NODE))
            ipv4, ipv6 = order(site, customer, checks)
            look_inside(customer, ipv4, ipv6, checks)
            suspend(site, customer, ipv4, checks)
            terminate(site, customer, ipv4, checks)
            checks.note("the controller ends when asked", site.stop() == 0, "SIGTERM, exit code 0")
            overdue.run(site, dial, checks)
        finally:
            site.kill()


def main() -> int:
    """Run it; 0 where every check held, 1 where one did not."""
    checks = Checks()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        try:
            run(Path(directory), checks)
        except (SiteFailed, subprocess.SubprocessError, OSError) as exc:
            checks.note("the demonstration came to its end", False, exc)
    console.print()
    console.print(checks.table())
    console.print(f"{len(checks.rows) - checks.failed} of {len(checks.rows)} checks hold, {time.monotonic() - began:.0f} s")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
