"""A controller process for the crash tests: ``python -m tests.fault.controller DIRECTORY``, told what to do on stdin as JSON.

It starts on the directory (recovering what was running), submits the scenarios it is told to, and ends in one of two ways:
``kill``: as soon as every scenario has reached its point, or has come to rest before it, the process kills itself (SIGKILL);
a job that reached its point stands still there, so that one process dies at many named points at once. Otherwise it waits
until every job rests and ends by itself. Either way it leaves ``report.json`` with the points that each service passed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.config.playbooks import load_playbooks
from orchestrator.domain.adopting import Adoption, DatabaseFrom, SiteFrom
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.calendar import Days
from orchestrator.domain.errors import PermanentDriverError, Unreachable
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.policies import Archive, LatePayment, LatePaymentEffect, Policy
from orchestrator.drivers.fake import FakeHypervisor
from orchestrator.drivers.fake.hosting_strangers import settle
from orchestrator.drivers.fake.hosting_tarballs import lay
from orchestrator.engine import current_job
from orchestrator.engine.hosting import Adopting, Moving
from orchestrator.engine.settings import nothing_beside
from orchestrator.store import jobs
from orchestrator.store import nodes as node_store
from tests.backup_books import TARGET
from tests.fault import things
from tests.fault.account_ground import empty_database
from tests.fault.house import NODES, PLAN, TEMPLATE, House, Options, seeded_world
from tests.fault.machine_ground import MACHINES, RAW
from tests.hosting_ground import HOST, LARGE, SMALL
from tests.live import CRYPT, KEY
from tests.machine_words import PLAN as METAL

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
BOOKS = load_playbooks(PLAYBOOKS)  # read once, by the process that all lives are forked from
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING)
WAIT_SECONDS = 90.0
GRACE_SECONDS = 1.0
ROOMY = replace(PLAN, name="roomy", vcpus=2, memory_bytes=2 << 30, disk_bytes=20 << 30)  # needs a restart
UNPAID = "suspend-unpaid"  # a suspension that a payment lifts
KEEPING = "terminate-archived"  # a termination whose policy promises an archive
ELSEWHERE = (IntentKind.MOVE, IntentKind.RECOVER)  # there is a second node
ASIDE = "restore-aside"  # a restore that writes beside what is there
# A disk moves by a backup that both nodes can read.
FIRST, SECOND = (replace(NODES[0], name=name, backups=TARGET.name) for name in ("n1", "n2"))
ARCHIVING = Policy(
    name="default",
    provider="Example Hosting",
    archive=Archive(keep={"vps": Days(5), "hosting": Days(5), "dedicated": Days(5)}, clause="back"),
    late_payment=LatePayment(what=LatePaymentEffect.FROM_ARCHIVE, clause="late"),
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One job of a service. ``kill``: the point it dies at; ``fail``: the point where a permanent error strikes, each time;
    ``pay``: the point at which the service is paid, once; ``away``: the point at which its node cannot be reached, until the job
    has waited for it.
    """

    service: str
    intent: str
    kill: str = ""
    fail: str = ""
    pay: str = ""
    away: str = ""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What the process is to do. ``submit``: whether the scenarios' jobs are still to be submitted; ``suite``: whose steps."""

    suite: str
    scenarios: list[Scenario]
    submit: bool = True
    kill: bool = False


@dataclass
class Report:
    """``points``: by service, in the order they were passed; ``jobs``: by service, its last job's state (only at rest)."""

    points: dict[str, list[str]] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)


class Points:
    """What happens at the crash points of each service."""

    def __init__(self, orders: Orders) -> None:
        self.house: House | None = None
        self.report = Report()
        self._armed = {scenario.service: scenario for scenario in orders.scenarios}
        self._kill = orders.kill
        # Points outside of any job; the process dies there by itself.
        self._instant = {s.kill for s in orders.scenarios if orders.kill and s.kill.startswith("accept/")}
        self._paid: set[str] = set()
        self._guard = threading.Lock()

    def __call__(self, point: str) -> None:
        if point in self._instant:
            os.kill(os.getpid(), signal.SIGKILL)
        service = self._service()
        scenario = self._armed.get(service)
        if scenario is None:
            return
        with self._guard:
            self.report.points.setdefault(service, []).append(point)
        if point == scenario.pay and service not in self._paid and self.house is not None:
            self._paid.add(service)
            self.house.event("invoice.paid", service, event_id=f"paid-{service}", invoice_id="i1")
        if self._kill and point == scenario.kill:
            with self._guard:
                self.report.reached.append(service)
            threading.Event().wait()  # until the end of the process
        if point == scenario.fail:
            raise PermanentDriverError("scripted to fail here")
        if point == scenario.away and self.house is not None and self.house.job(current_job.get()).run == 1:
            raise Unreachable("scripted to be away here", retry_after=0.0)

    def _service(self) -> str:
        job_id = current_job.get()
        return self.house.job(job_id).service_id if job_id and self.house is not None else ""


def open_house(
    directory: Path, suite: str, points: Points, workers: int, *, archiving: bool = False, moving: bool = False
) -> House:
    """``moving``: there is a second node. Where there are several, each job still has a worker (``line.share_of``)."""
    places = {name: NodeBackups(target=TARGET.name, at_once=1000) for name in ("n1", SECOND.name, HOST.name)}
    workers = 2 * workers + 1 if moving or suite == "hosting" else workers
    options = Options(
        workers=workers, heavy_slots=dict.fromkeys(places, 1000), poll_seconds=0.02, drain_seconds=30.0, backups=places
    )
    if suite == "things":
        return House(
            directory, steps=things.steps(seeded_world(directory)), playbooks=things.playbooks(), options=options, at=points
        )
    from orchestrator.steps.registry import STEPS

    policies = {ARCHIVING.name: ARCHIVING} if archiving else {}
    if suite == "hosting":
        return House(
            directory,
            steps=STEPS,
            playbooks=BOOKS,
            options=options,
            at=points,
            plan=SMALL,
            more_plans=(LARGE,),
            declared=(*NODES, HOST),
            policies=policies,
        )
    if moving:
        house = House(directory, steps=STEPS, playbooks=BOOKS, options=options, at=points, declared=(FIRST, SECOND))
        furnish_second(house)
        return house
    if suite == "machines":
        metal: dict[str, Any] = {"plan": METAL, "machines": MACHINES, "template": RAW, "policies": policies}
        return House(directory, steps=STEPS, playbooks=BOOKS, options=options, at=points, **metal)
    return House(directory, steps=STEPS, playbooks=BOOKS, options=options, at=points, policies=policies, more_plans=(ROOMY,))


def furnish_second(house: House) -> None:
    """A node like the first one; one that is there already is kept."""
    house.world.add_node(SECOND.name, cpus=512, memory_bytes=4 << 40, pool_bytes=1 << 50)
    house.world.add_template(SECOND.name, TEMPLATE.volume, size_bytes=TEMPLATE.size_bytes, sha256=TEMPLATE.sha256)
    facts, now = FakeHypervisor(house.world, SECOND.name).node_facts(deadline=5), house.clock.now()
    with house.db.write() as conn:
        node_store.set_enrolled(conn, SECOND.name, host_key="k", agent_version="1", agent_sha256="0" * 64, now=now)
        node_store.set_seen(conn, SECOND.name, facts, now=now)


CRON = [{"schedule": "@daily", "command": "php cron.php"}]


def submit(house: House, scenario: Scenario) -> None:
    if scenario.intent == IntentKind.PROVISION:
        house.order(scenario.service)
    elif scenario.intent == IntentKind.CHANGE_PLAN and house.plan.kind == PlanKind.VPS:
        arguments: dict[str, object] = {"plan": ROOMY.name, "restart": "now"}
        house.engine.command(IntentKind.CHANGE_PLAN, scenario.service, who="anna", why="a test", arguments=arguments)
    elif scenario.intent == IntentKind.CHANGE_PLAN:
        house.event("service.change_plan", scenario.service, version=1, plan=LARGE.name)
    elif scenario.intent == IntentKind.SET_ACCOUNT:
        sites = [{"name": "main", "domains": [f"{scenario.service}.example", f"{scenario.service}-more.example"]}]
        house.event("service.set_account", scenario.service, version=1, account={"sites": sites, "cron": CRON})
    elif scenario.intent == IntentKind.IMPORT:
        empty_database(house.world, scenario.service)
        lay(house.world, HOST.name, "old.tar.gz", files={"a": "x"}, dumps={"main": "rows"}, settings={"cron": CRON})
        moving = Moving(file="old.tar.gz", request_id="r1", why="a test")
        house.engine.hosting.bring_in(scenario.service, moving, who="anna", beside=nothing_beside)
    elif scenario.intent == IntentKind.ADOPT:
        adopt(house, scenario)
    elif scenario.intent == UNPAID:
        house.event("service.suspend", scenario.service, version=1, reason="nonpayment")
    elif scenario.intent in (IntentKind.RESTORE, ASIDE):
        asked = Asked(request_id="r1", beside=scenario.intent == ASIDE, why="a test")
        house.engine.restoring.restore(scenario.service, asked, who="anna", beside=nothing_beside)
    elif scenario.intent in (IntentKind.RECOVER, IntentKind.DRILL):
        recover_or_drill(house, scenario)
    else:
        kind = IntentKind.TERMINATE if scenario.intent == KEEPING else IntentKind(scenario.intent)
        more: dict[IntentKind, dict[str, object]] = {
            IntentKind.RESET_PASSWORD: {"password_hash": CRYPT},
            IntentKind.RESCUE: {"ssh_keys": [KEY]},
            IntentKind.SET_KEYS: {"ssh_keys": [KEY]},
            IntentKind.SET_MAIL: {"mail": "open"},
        }
        given = more.get(kind, {})
        house.engine.command(kind, scenario.service, who="anna", why="a test", arguments=given)


def recover_or_drill(house: House, scenario: Scenario) -> None:
    if scenario.intent == IntentKind.DRILL:
        house.engine.drilling.now(scenario.service, who="anna", why="a test")
        return
    lose(house)
    house.engine.losing.restore(scenario.service, to="", backup="", who="anna", why="a test")


def lose(house: House) -> None:
    """The first node burns down, once."""
    with house.db.read() as conn:
        record = node_store.get(conn, FIRST.name)
    if record is not None and record.lost is None:
        house.world.set_node(FIRST.name, up=False)
        house.engine.losing.lose(FIRST.name, who="anna", why="a test", said="it burnt down")


def adopt(house: House, scenario: Scenario) -> None:
    """A user of the node of the service's own."""
    empty_database(house.world, scenario.service)
    name = scenario.service.replace("-", "")
    settle(house.world, HOST.name, name, databases={name: "rows"}, crontab=CRON)
    adoption = Adoption(
        stranger=name,
        sites=(SiteFrom(name="main", root=f"/home/{name}/public_html"),),
        databases=(DatabaseFrom(name="main", source=name),),
    )
    house.engine.hosting.adopt(
        scenario.service, Adopting(adoption=adoption, request_id="r1", why="a test"), who="anna", beside=nothing_beside
    )


def resting(house: House) -> dict[str, str]:
    """The services whose jobs all rest, with the state of the last."""
    found: dict[str, str] = {}
    busy: set[str] = set()
    with house.db.read() as conn:
        rows, _ = jobs.list_page(conn, limit=1000)
    for job in rows[::-1]:
        found[job.service_id] = job.state.value
        if job.state in OPEN:
            busy.add(job.service_id)
    return {service: state for service, state in found.items() if service not in busy}


def main() -> None:
    told = json.loads(sys.stdin.read())
    live(Path(sys.argv[1]), Orders(**told | {"scenarios": [Scenario(**item) for item in told["scenarios"]]}))


def forked(directory: Path, orders: Orders, said: Path) -> None:
    """The life of a process that was forked for it; what it says on its standard error goes into a file."""
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    live(directory, orders)


def live(directory: Path, orders: Orders) -> NoReturn:
    """Start, do as told, and end this process."""
    points = Points(orders)
    archiving = any(scenario.intent in (KEEPING, IntentKind.ERASE, IntentKind.REACTIVATE) for scenario in orders.scenarios)
    moving = any(scenario.intent in ELSEWHERE for scenario in orders.scenarios)
    workers = len(orders.scenarios) + 2
    house = open_house(directory, orders.suite, points, workers=workers, archiving=archiving, moving=moving)
    points.house = house
    house.engine.start()
    if orders.submit:
        for scenario in orders.scenarios:
            submit(house, scenario)
    wanted = {scenario.service for scenario in orders.scenarios}
    until = house.clock.monotonic() + WAIT_SECONDS
    # A job rests in the store a moment before it passes its last point.
    patience = GRACE_SECONDS if orders.kill else 0.0
    settled = 0.0
    while True:
        rest = resting(house)
        if wanted <= set(points.report.reached):
            break
        if wanted <= set(rest) | set(points.report.reached):
            settled = settled or house.clock.monotonic()
            if house.clock.monotonic() >= settled + patience:
                break
        if house.clock.monotonic() > until:
            print(f"still busy: {sorted(wanted - set(rest))}", file=sys.stderr)
            os._exit(1)
        house.clock.sleep(0.02)
    points.report.jobs = {service: state for service, state in rest.items() if service in wanted}
    (directory / "report.json").write_text(json.dumps(asdict(points.report)))
    if orders.kill:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)  # everything rests, and a clean stop is another test's matter


if __name__ == "__main__":
    main()
