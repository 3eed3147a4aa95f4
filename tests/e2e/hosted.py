"""An installation whose nodes are hosting servers of the lab, and its customers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.site import Site
from tests.e2e.tenant import Tenant
from tests.lab.hosting import HostingNode

SMALL = {
    "name": "web-small",
    "kind": "hosting",
    "disk": "24 MiB",
    "inodes": 300,
    "cpu_percent": 50,
    "memory": "160 MiB",
    "tasks": 24,
    "sites": 1,
    "databases": 1,
    "php": ["8.2"],
    "policy": "enterpage",
}


@dataclass
class Hosting:
    """The installation, its one node, and the report of the node's enrolment."""

    site: Site
    node: HostingNode
    directory: Path
    report: dict[str, Any] = field(default_factory=dict)

    def job(self, answer: Any, *, seconds: float = 400.0) -> dict[str, Any]:
        """The job that billing's word made, once it is done."""
        assert answer.status_code in (200, 202), answer.text
        return self.done(str(answer.json()["job_id"]), seconds=seconds)

    def done(self, job_id: str, *, seconds: float = 400.0) -> dict[str, Any]:
        job: dict[str, Any] = self.site.wait_for_job(job_id, seconds=seconds)
        assert job["state"] == "done", f"{job['intent']} of {job['service_id']}: {job['state']}, {job['error']}"
        return job

    def ordered(self, *services: str) -> list[Tenant]:
        """Paid for at the same moment; each with his scripts in place."""
        tenants = [Tenant(service, self.node, self.directory / service) for service in services]
        answers = [self.site.send("order.paid", each.service, **each.order("web-small")) for each in tenants]
        for tenant, answer in zip(tenants, answers, strict=True):
            self.job(answer)
            tenant.user = self.service(tenant)["facts"]["identity"]["user"]
            tenant.publish()
        return tenants

    def service(self, tenant: Tenant) -> dict[str, Any]:
        return dict(self.site.ask("service", "show", tenant.service))

    def until(self, what: str, holds: Callable[[], bool], *, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s\n{self.site.tail()}"
            time.sleep(0.5)

    def deadline_job(self, tenant: Tenant, intent: str) -> dict[str, Any]:
        """The job that the clock makes, once it is done; the clock looks every minute."""
        found: list[str] = []

        def there() -> bool:
            jobs = self.site.ask("job", "list", "--service", tenant.service)["items"]
            found[:] = [job["id"] for job in jobs if job["intent"] == intent]
            return bool(found)

        self.until(f"a job to {intent} {tenant.service}", there)
        return self.done(found[-1])
