"""What the demonstration says while it runs, and what it looks at more than once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.e2e.site import Site, SiteFailed
from tests.e2e.traces import virsh
from tests.lab.guests import occurrences

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 130)


@dataclass
class Checks:
    """What was claimed and what was seen."""

    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def note(self, claim: str, holds: bool, seen: object) -> None:
        self.rows.append((claim, holds, str(seen)))
        console.print(f"   {'[green]ok[/]' if holds else '[red]NO[/]'}  {claim}: {seen}")

    @property
    def failed(self) -> int:
        return sum(not holds for _, holds, _ in self.rows)

    def table(self) -> Table:
        table = Table(title="What was checked")
        for heading in ("", "claim", "seen"):
            table.add_column(heading, overflow="fold")
        for claim, holds, seen in self.rows:
            table.add_row("[green]ok[/]" if holds else "[red]NO[/]", claim, seen)
        return table


def title(text: str) -> None:
    console.print(f"\n[bold]== {text}[/]")


def guest(service: str) -> str:
    """Its name on the node."""
    return f"orch.{service}"


def watch(site: Site, answer: Any) -> str:
    """Follow the job that the webhook made, on the terminal; its final state."""
    job_id = answer.json()["job_id"]
    command = [sys.executable, "-m", "orchestrator.cli.main", "--socket", str(site.socket), "job", "watch", job_id]
    subprocess.run(command, check=False, timeout=600)
    job = site.job(job_id)
    if job["state"] != "done":
        raise SiteFailed(f"job {job_id} ended as {job['state']}: {job.get('error')}\n{site.tail()}")
    return str(job["state"])


def refuses(service: str, checks: Checks) -> None:
    start = virsh("start", guest(service))
    refusal = (start.stderr or start.stdout).strip().splitlines()[-1]
    said = refusal.rpartition("exit status 1: ")[2]  # before it libvirt says how it called the hook
    checks.note("`virsh start` is refused by the host", start.returncode != 0 and "held" in said, said)


def certified(site: Site, service: str, checks: Checks, *, show: bool) -> None:
    """``show``: print the certificate itself, too."""
    file = site.directory / f"certificate-{service}.json"
    file.write_text(site.cli("certificate", "show", service), encoding="utf-8")
    if show:
        title("The wipe certificate")
        console.print_json(file.read_text(encoding="utf-8"))
    verdict = site.run("certificate", "verify", str(file))
    checks.note(
        "`certificate verify` holds, offline", verdict.returncode == 0, verdict.stdout.splitlines()[0] if verdict.stdout else ""
    )


def left(site: Site, service: str, marker: str, checks: Checks) -> None:
    title(f"What is left of {service} on the node")
    for claim, found in (
        ("no guest", [name for name in virsh("list", "--all", "--name").stdout.split() if service in name]),
        ("no volume", [path.name for path in site.lab.pool_path.iterdir() if service in path.name]),
        ("no key", [line for line in virsh("secret-list").stdout.splitlines() if service in line]),
        ("no address in use", [row for row in site.ask("ip", "list")["items"] if row.get("service_id") == service]),
    ):
        checks.note(f"{claim} of the service is left", not found, found or "none")
    times = found_on_device(site, marker)
    checks.note("what the customer wrote cannot be found on the raw device", times == 0, f"found {times} times")


def found_on_device(site: Site, marker: str) -> int:
    """How often it is on the device below the pool, past every cache."""
    return occurrences(site.lab.pool_device, marker.encode())[marker.encode()]
