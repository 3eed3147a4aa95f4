"""A controller that can be crashed, over the hosting node that the tests of a session share, and its accounts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.billing import Billing
from tests.e2e.hosted import SMALL, Hosting
from tests.e2e.site import SECRET, Site
from tests.e2e.tenant import Tenant
from tests.fault.crashing import Board
from tests.fault.strikes import Strikes
from tests.hosting_server import HostingServer

LARGE = SMALL | {"name": "web-large", "disk": "48 MiB", "inodes": 600, "cpu_percent": 80, "memory": "192 MiB", "tasks": 32}
OPEN = ("queued", "running", "undoing")
CRON = "0 4 * * * echo mine\n"


@dataclass
class Ground:
    """``strikes``: what happens to the agent at its next calls."""

    hosting: Hosting
    board: Board
    server: HostingServer
    strikes: Strikes
    tenants: dict[str, Tenant] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.hosting.site

    # -- asking for jobs ---------------------------------------------

    def ask(self, intent: str, tenant: Tenant) -> str:
        """The job that provisions, suspends, unsuspends, changes the plan of or ends the account."""
        service = tenant.service
        if intent == "provision":
            answer = self.site.send("order.paid", service, **tenant.order("web-small"))
        elif intent == "change-plan":
            record = self.hosting.service(tenant)
            plan = "web-large" if record["plan"] == "web-small" else "web-small"
            answer = self.site.send("service.change_plan", service, version=time.time_ns() // 1000, plan=plan)
        else:
            path = f"/v1/services/{service}/{intent}"
            answer = self.site.http("POST", path, json={"reason": "a test"}, key=f"{time.time_ns()}-{service}")
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["job_id"])

    def retry(self, job_id: str) -> None:
        self.site.cli("job", "retry", job_id)

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.site.http("GET", f"/v1/jobs/{job_id}").json())

    def rest(self, job_id: str, *, seconds: float = 500.0) -> dict[str, Any]:
        """The job, once it has come to rest."""
        self.hosting.until(f"the end of {job_id}", lambda: self.job(job_id)["state"] not in OPEN, seconds=seconds)
        return self.job(job_id)

    def done(self, *jobs: str, seconds: float = 500.0) -> list[dict[str, Any]]:
        found = [self.rest(job_id, seconds=seconds) for job_id in jobs]
        assert [(job["state"], job["error"]) for job in found] == [("done", "")] * len(found)
        return found

    # -- accounts ---------------------------------------------

    def new(self, *services: str) -> list[Tenant]:
        """Nobody's yet: their directories must not be there."""
        found = [Tenant(service, self.server.server, self.hosting.directory / service) for service in services]
        self.tenants |= {each.service: each for each in found}
        return found

    def settled(self, tenant: Tenant) -> Tenant:
        """Provisioned: who it is; his scripts are put in place, and a line of cron of his own."""
        tenant.user = str(self.hosting.service(tenant)["facts"]["identity"]["user"])
        tenant.publish()
        tenant.node.run("crontab", "-u", tenant.user, "-", stdin=CRON.encode())
        return tenant

    def made(self, *services: str) -> list[Tenant]:
        tenants = self.new(*services)
        self.done(*[self.ask("provision", each) for each in tenants])
        return [self.settled(each) for each in tenants]

    def facts(self, tenant: Tenant) -> dict[str, Any]:
        """As its node has it, without what changes by itself."""
        return still(self.server.call("account-facts", {"users": [tenant.user]})["accounts"][0])

    def ways(self, tenant: Tenant) -> dict[str, bool]:
        """Those that are open, tried for real; cron is looked at only."""
        asked = {"user": tenant.user, "service_id": tenant.service, "cron_seconds": 0}
        return {str(way["way"]): bool(way["open"]) for way in self.server.call("account-probe", asked)["ways"]}

    def left(self, tenant: Tenant) -> list[str]:
        """What is left of one that was wiped."""
        asked = {"user": tenant.user, "uid": tenant.uid, "service_id": tenant.service, "clean": False}
        found = self.server.call("account-residue", asked)
        return [*found["found"], *found["kept"], *found["unknown"]]

    def strays(self) -> list[Any]:
        """Accounts that are on the node and in no book, half there or half gone."""
        return list(self.server.call("node-residue", {})["accounts"])

    # -- crashing ---------------------------------------------

    def dies(self, services: Sequence[str], *, seconds: float = 400.0) -> None:
        """Wait until the process has killed itself, which it does when all services' jobs stand at their points."""
        process = self.site.process
        assert process is not None
        try:
            assert process.wait(timeout=seconds) == -9, self.site.tail()
        except subprocess.TimeoutExpired as exc:
            where = {service: self.board.passed(service)[-1:] for service in services}
            jobs = [self.site.ask("job", "list", "--service", service)["items"][0] for service in services]
            raise AssertionError(f"it lives: {where}, {[(job['state'], job['error']) for job in jobs]}") from exc
        assert [service for service in services if not self.board.reached(service)] == []

    def clear(self) -> None:
        """Remove what the node has of the accounts, past the controller."""
        for each in self.server.call("account-facts", {"users": []})["accounts"]:
            who = {"user": each["user"], "service_id": each["service_id"]}
            if each["service_id"] in self.tenants:
                self.server.call("account-wipe", {**who, "job_id": "clear"}, deadline=300)
                self.server.call("account-residue", {**who, "uid": each["uid"], "clean": True})
        assert self.strays() == []


@contextmanager
def standing(server: HostingServer, directory: Path) -> Iterator[Ground]:
    """A controller with the keys of the one that enrolled the node: so nothing of its enrolment is changed by this one's."""
    board = Board(directory / "board")
    board.prepare()
    node = server.node
    entry = {"name": node.name, "zone": "lab", "kind": "hosting", "address": node.address, "memory_ratio": 4, "heavy_slots": 4}
    with Billing(SECRET) as billing:
        site = Site(
            lab=server.server.lab,
            directory=directory,
            templates=(),
            plans=(),
            billing=billing,
            nodes=(entry,),
            hosting=(SMALL, LARGE),
            main=(sys.executable, "-m", "tests.fault.crashing", str(board.directory)),
            settings={"jobs": {"threads": 16}},
        )
        _same_keys(server, site.state)
        ground = Ground(Hosting(site, server.server, directory), board, server, Strikes(server.server))
        try:
            site.prepare()
            site.start()
            report = site.enrol(node.name)
            assert report["complete"], report
            assert "everything was in place already" in report["said"], report["said"]
            site.wait_for_node(node.name)
            ground.strikes.prepare()
            yield ground
        finally:
            site.kill()
            ground.strikes.remove()


def _same_keys(server: HostingServer, state: Path) -> None:
    """The signing key that the node's launcher trusts, and the SSH key that it lets in."""
    had = server.controller.identity
    state.mkdir(mode=0o700)
    shutil.copytree(had.parent.parent / "keys", state / "keys")
    (state / "keys" / "ssh").mkdir(mode=0o700)
    shutil.copy(had, state / "keys" / "ssh" / "id_ed25519")


def still(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of an account without what changes by itself."""
    databases = [{key: value for key, value in each.items() if key != "bytes"} for each in facts["databases"]]
    return {key: value for key, value in facts.items() if key not in ("usage", "processes")} | {"databases": databases}
