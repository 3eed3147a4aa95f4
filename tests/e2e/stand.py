"""A controller that can be crashed, with one enrolled node, and many small services on it: what the tests on real parts share."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e import sight
from tests.e2e.billing import Billing
from tests.e2e.site import SECRET, PlanLine, Site, SiteFailed
from tests.e2e.traces import virsh
from tests.fault.crashing import Board
from tests.lab import tiny
from tests.lab.environment import Lab
from tests.lab.templates import Installed

SEALED = "sealed"  # encrypted, an overlay on its template: what is sold usually
PLAIN = "plain"  # in the clear, an overlay
SEALED_COPY = "sealed-copy"
PLAIN_COPY = "plain-copy"
ROOMY = "roomy"  # as sealed, and larger
FULL = "debian"
DISK_BYTES = 160 << 20
SMALL = PlanLine(name=SEALED, template="tiny", memory="112 MiB", disk="160 MiB")
PLANS = (
    SMALL,
    replace(SMALL, name=PLAIN, encrypted=False),
    replace(SMALL, name=SEALED_COPY, full_copy=True),
    replace(SMALL, name=PLAIN_COPY, encrypted=False, full_copy=True),
    replace(SMALL, name=ROOMY, vcpus=2, memory="144 MiB", disk="200 MiB", disk_iops=3000),
)
DEBIAN = PlanLine(name=FULL, template="debian", memory="512 MiB", disk="3 GiB")
COPIES = "copies"
OPEN = ("queued", "running", "undoing")
REST_SECONDS = 300.0
# In which state a job of the intent finds its service, and leaves it.
FINDS = {"provision": "none", "start": "stopped", "unsuspend": "suspended", "unlimit": "limited"}
LEAVES = {"stop": "stopped", "suspend": "suspended", "limit": "limited", "terminate": "none"}
RUNNING = "running"


@dataclass
class Stand:
    """``known``: services that no test is working on, with their plan and state (running, stopped, suspended or limited)."""

    site: Site
    board: Board
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- asking ---------------------------------------------

    def new(self, count: int = 1) -> list[str]:
        return [f"s{next(self._numbers):03}" for _ in range(count)]

    def order(self, service: str, *, plan: str = SEALED, **data: Any) -> str:
        """Billing says that the service was ordered and paid; the job."""
        return self.event("order.paid", service, client_id="c-1", order_id=f"o-{service}", plan=plan, hostname=service, **data)

    def event(self, kind: str, service: str, **data: Any) -> str:
        """Billing says something; the job that it made, or ''."""
        answer = self.site.send(kind, service, **data)
        if answer.status_code not in (200, 202):
            raise SiteFailed(f"{kind} {service}: {answer.status_code} {answer.text}\n{self.site.tail()}")
        return str(answer.json().get("job_id", ""))

    def pay(self, service: str) -> str:
        return self.event("invoice.paid", service, invoice_id="i-1", paid_until="2099-01-01T00:00:00Z")

    def command(self, intent: str, service: str) -> str:
        """An operator's command; the job."""
        if intent == "provision":
            return self.order(service)
        path = f"/v1/services/{service}/{intent}"
        answer = self.site.http("POST", path, json={"reason": "a test"}, key=f"{time.time_ns()}-{service}")
        if answer.status_code != 202:
            raise SiteFailed(f"{intent} {service}: {answer.status_code} {answer.text}\n{self.site.tail()}")
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> Any:
        return self.site.http("GET", f"/v1/jobs/{job_id}").json()

    # -- waiting ---------------------------------------------

    def rest(self, jobs: Iterable[str], *, seconds: float = REST_SECONDS) -> list[Any]:
        """The jobs, once each of them has come to rest."""
        until = time.monotonic() + seconds
        found = []
        for job_id in jobs:
            while (job := self.job(job_id))["state"] in OPEN:
                if time.monotonic() > until:
                    raise SiteFailed(f"job {job_id} does not end: {_short(job)}\n{self.site.tail()}")
                time.sleep(0.1)
            found.append(job)
        return found

    def done(self, jobs: Iterable[str], *, seconds: float = REST_SECONDS) -> None:
        """Wait until the jobs are done; raises SiteFailed where one ends in another way."""
        for job in self.rest(jobs, seconds=seconds):
            if job["state"] != "done":
                raise SiteFailed(f"{_short(job)}\n{self.site.tail()}")

    def until(self, what: str, holds: Callable[[], bool], *, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > until:
                raise SiteFailed(f"{what}: not within {seconds:.0f} s\n{self.site.tail()}")
            time.sleep(0.05)

    def reach(self, *services: str, number: int = 0) -> None:
        """Wait until the services' jobs stand at their points."""
        for service in services:
            self.until(f"{service} at its point", partial(self.board.reached, service, number))

    def answering(self, services: Iterable[str], *, seconds: float = 240.0) -> None:
        """Wait until the tiny guests are up: one that still boots does not see its power button."""
        for service in services:
            self.until(f"{service} answers", partial(_answers, sight.address(self.site, service)), seconds=seconds)

    # -- crashing ---------------------------------------------

    def dies(self, services: Sequence[str], *, seconds: float = 240.0) -> None:
        """Wait until the process has killed itself, which it does when all services' jobs stand at their points."""
        process = self.site.process
        assert process is not None
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            missed = {s: self.board.passed(s)[-1:] for s in services if not self.board.reached(s)}
            raise SiteFailed(f"these never came to their points: {missed}\n{self.site.tail()}") from None
        assert code == -9, f"the controller ended with {code}\n{self.site.tail()}"

    def crash(self) -> None:
        """SIGKILL from outside, and a new start."""
        self.site.kill()
        self.site.start()

    # -- services in a state ---------------------------------------------

    def take(self, state: str, count: int, *, plan: str = SEALED) -> list[str]:
        """``count`` services in the state, made or brought there where there are none; they belong to the caller."""
        if state == "none":
            return self.new(count)
        chosen = [s for s, known in self.known.items() if known == (plan, state)][:count]
        for other, way in ((RUNNING, ""), ("stopped", "start"), ("suspended", "unsuspend"), ("limited", "unlimit")):
            more = [s for s, known in self.known.items() if known == (plan, other) and s not in chosen][: count - len(chosen)]
            self._bring(more, ([way] if way else []) + _ways_to(state))
            chosen += more
        fresh = self.new(count - len(chosen))
        self.done([self.order(service, plan=plan) for service in fresh])
        self._bring(fresh, _ways_to(state))
        for service in chosen:
            self.known.pop(service, None)
        if state == RUNNING:
            self.answering([*chosen, *fresh])
        return [*chosen, *fresh]

    def give_back(self, services: Iterable[str], state: str, *, plan: str = SEALED) -> None:
        """For others to take."""
        for service in services:
            self.board.disarm(service)
            if state != "none":
                self.known[service] = (plan, state)

    def _bring(self, services: Sequence[str], intents: Sequence[str]) -> None:
        for intent in intents:
            if intent in ("stop", "suspend"):
                self.answering(services)
            self.done([self.command(intent, service) for service in services])

    def sweep(self) -> None:
        """Remove every guest, volume and key that is left, as no product would: the next module begins with an empty node."""
        self.board.clear()
        for name in virsh("list", "--all", "--name").stdout.split():
            if name.startswith("orch.s"):
                virsh("destroy", name)
                virsh("undefine", name, "--nvram", "--managed-save", "--checkpoints-metadata", "--snapshots-metadata")
        for path in self.site.lab.pool_path.glob("orch.s*"):
            path.unlink()
        for line in virsh("secret-list").stdout.splitlines():
            if "/orch.s" in line:  # a key that is left makes its volume a disk of the next service of that name
                virsh("secret-undefine", line.split()[0])
        self.known.clear()


def _answers(address: str) -> bool:
    try:
        return bool(tiny.facts(address))
    except (OSError, tiny.TinyFailed):
        return False


def _ways_to(state: str) -> list[str]:
    return {"running": [], "stopped": ["stop"], "suspended": ["suspend"], "limited": ["limit"]}[state]


def _short(job: Any) -> dict[str, Any]:
    steps = [(step["id"], step["state"], step.get("error")) for step in job.get("steps", [])]
    return {key: job.get(key) for key in ("id", "service_id", "intent", "state", "error_code", "error")} | {"steps": steps}


def patient(template: Installed) -> Installed:
    """QEMU's emulated timer is late on a busy machine, and the kernel would then take it for broken and stop (a panic)."""
    return replace(template, kernel_arguments=f"{template.kernel_arguments} no_timer_check panic=1")


@contextmanager
def standing(
    lab: Lab, directory: Path, templates: tuple[Installed, ...], plans: tuple[PlanLine, ...], **settings: Any
) -> Iterator[Stand]:
    """A served and enrolled stand; ended with everything on it. ``settings``: more of orchestrator.yaml."""
    templates = tuple(patient(template) for template in templates)
    board = Board(directory / "board")
    board.prepare()
    copies = directory / "copies"
    copies.mkdir()
    with Billing(SECRET) as billing:
        site = Site(
            lab=lab,
            directory=directory,
            templates=templates,
            plans=plans,
            billing=billing,
            main=(sys.executable, "-m", "tests.fault.crashing", str(board.directory)),
            address_count=150,
            settings={
                "jobs": {"threads": 64},
                "backups": {"targets": [{"name": COPIES, "location": str(copies)}], "drills": 0},
                **settings,
            },
            node={
                "heavy_slots": 4,
                "cpu_ratio": 100,
                "disk_ratio": 100,
                "memory_ratio": 4,
                "backups": COPIES,
                "backups_on_own_node": True,
            },
        )
        stand = Stand(site=site, board=board)
        try:
            site.prepare()
            site.start()
            report = site.enrol()
            assert report["complete"], report
            site.wait_for_node()
            yield stand
        finally:
            site.kill()
            stand.sweep()
