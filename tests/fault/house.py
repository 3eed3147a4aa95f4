"""A whole controller on the simulated node: everything real but what lies behind the ports of the outside world."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.api import vocabulary
from orchestrator.config.policy_stored import from_store, to_store
from orchestrator.domain.backups.offer import NodeBackups
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.intents import JobState
from orchestrator.domain.jobs import Job, JobStep
from orchestrator.domain.machines import Machine
from orchestrator.domain.plans import AddressRange, GuestPlan, Node, Plan, PlanKind, Template
from orchestrator.domain.playbooks import Playbook
from orchestrator.domain.policies import Policy
from orchestrator.domain.terms import Windows
from orchestrator.drivers.fake import (
    FakeAccess,
    FakeAgent,
    FakeExports,
    FakeHostingNode,
    FakeHypervisor,
    FakeNotifier,
    FakeReach,
    FakeRepositories,
    FakeSizes,
    FakeVolumes,
    FakeWorld,
)
from orchestrator.drivers.fake.bmc import FakeBmc
from orchestrator.drivers.fake.deployments import FakeDeployments
from orchestrator.drivers.libvirt.meter import AgentGuestMeter
from orchestrator.drivers.local import tls
from orchestrator.drivers.local.clock import SystemClock
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.engine import Acceptance, Catalog, Engine, EngineSettings
from orchestrator.engine.durable import Halted
from orchestrator.engine.settings import PolicyTexts
from orchestrator.ports.clock import Clock
from orchestrator.ports.notifier import Notifier
from orchestrator.steps.base import Ports, Step
from orchestrator.store import jobs, nodes, services
from orchestrator.store.account_uids import StoreAccountUids
from orchestrator.store.address_pool import StoreAddressPool
from orchestrator.store.database import Database
from orchestrator.store.fence import StoreFence
from orchestrator.store.ledger import StoreLedger
from orchestrator.store.machines import StoreMachinePool
from orchestrator.store.site_certificates import StoreSiteCertificates
from tests.backup_books import book_of
from tests.store_files import house_database

NODES = (Node(name="n1", zone="z1", address="192.0.2.11", driver="fake", heavy_slots=2),)
TEMPLATE_SHA256 = "1" * 64
TEMPLATE = Template(name="debian", volume="debian.qcow2", sha256=TEMPLATE_SHA256, size_bytes=2 << 30, ready="running")
PLAN = GuestPlan(
    name="small",
    vcpus=1,
    memory_bytes=1 << 30,
    disk_bytes=10 << 30,
    templates=("debian",),
    default_template="debian",
)
RANGES = (
    AddressRange(
        name="v4",
        zone="z1",
        network=IPv4Network("10.9.0.0/16"),
        gateway=IPv4Address("10.9.0.1"),
        first=IPv4Address("10.9.0.10"),
        last=IPv4Address("10.9.255.250"),
    ),
    AddressRange(
        name="v6",
        zone="z1",
        network=IPv6Network("fd09::/64"),
        gateway=IPv6Address("fd09::1"),
        first=IPv6Address("fd09::10"),
        last=IPv6Address("fd09::ffff"),
    ),
)
SOURCE = "shop"
CALENDAR = Calendar(ZoneInfo("Asia/Jakarta"))
GENEROUS = BrakeLimits(suspensions_per_hour=1000, terminations_per_hour=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test wants otherwise than usual."""

    limits: BrakeLimits = GENEROUS
    workers: int = 4
    heavy_slots: Mapping[str, int] = field(default_factory=dict)
    poll_seconds: float = 0.02
    drain_seconds: float = 20.0
    sweep_seconds: float = 60.0
    lease_seconds: float = 30.0
    asks_billing: bool = True
    confirm_wait: timedelta = timedelta(days=3)
    give_up_after: timedelta = timedelta(days=3)
    notify_deadline_seconds: float = 15.0
    wait_for_nodes: timedelta = timedelta(minutes=30)
    due_seconds: float = 60.0
    backups: Mapping[str, NodeBackups] = field(default_factory=dict)
    drills: int = 0
    windows: Mapping[str, Windows] = field(default_factory=dict)


def _nowhere(_point: str) -> None:
    """No crash point is armed."""


class Broken:
    """Ends the run at a point, as if the process had been: the first time that one is passed there."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.off = threading.Event()

    def __call__(self, point: str) -> None:
        if point == self._point and not self.off.is_set():
            self.off.set()
            raise Halted


class House:
    """One controller over a directory; another House over the same directory is the same controller started again."""

    def __init__(
        self,
        directory: Path,
        *,
        steps: Mapping[str, Step[Any]],
        playbooks: Mapping[str, Playbook],
        options: Options | None = None,
        at: Callable[[str], None] = _nowhere,
        clock: Clock | None = None,
        plan: Plan = PLAN,
        more_plans: tuple[Plan, ...] = (),
        declared: tuple[Node, ...] = NODES,
        policies: Mapping[str, Policy] | None = None,
        posts_to: Notifier | None = None,
        tells: bool = True,
        machines: tuple[Machine, ...] = (),
        template: Template = TEMPLATE,
        more_templates: tuple[Template, ...] = (),
    ) -> None:
        options = options or Options()
        self.clock = clock or SystemClock()
        self.plan = plan
        self.db = house_database(directory)
        self.world = seeded_world(directory)
        self.notifier = FakeNotifier(self.world)
        self._beside = tuple(node for node in declared if node.name not in {each.name for each in NODES})
        self.catalog = Catalog(
            plans={each.name: each for each in (plan, *more_plans)},
            templates={each.name: each for each in (template, *more_templates)},
            nodes=declared,
            provider="Example Hosting",
            policies=policies or {},
            calendar=CALENDAR,
            asks_billing=options.asks_billing,
            backups=options.backups,
            drills=options.drills,
            windows=options.windows,
            machines=machines,
        )
        self.ports = self._ports(directory)
        self.engine = Engine(
            db=self.db,
            steps=steps,
            ports=self.ports,
            playbooks=playbooks,
            catalog=self.catalog,
            settings=EngineSettings(
                state_dir=directory,
                limits=options.limits,
                workers=options.workers,
                poll_seconds=options.poll_seconds,
                heavy_slots=options.heavy_slots,
                drain_seconds=options.drain_seconds,
                sweep_seconds=options.sweep_seconds,
                lease_seconds=options.lease_seconds,
                confirm_wait=options.confirm_wait,
                due_seconds=options.due_seconds,
                wait_for_nodes=options.wait_for_nodes,
                outbox_seconds=options.poll_seconds,
                notify_deadline_seconds=options.notify_deadline_seconds,
                give_up_after=options.give_up_after,
            ),
            parse=vocabulary.parse,
            policy_texts=PolicyTexts(to_store, from_store),
            notifier=(posts_to or self.notifier) if tells else None,
            at=at,
        )

    def _ports(self, directory: Path) -> Ports:
        world = self.world
        return Ports(
            hypervisor=lambda node: FakeHypervisor(world, node),
            sizes=lambda node: FakeSizes(world, node),
            access=lambda node: FakeAccess(world, node),
            volumes=lambda node: FakeVolumes(world, node),
            agent=lambda node: FakeAgent(world, node, clock=self.clock),
            meter=lambda node: AgentGuestMeter(FakeAgent(world, node, clock=self.clock), name=node),
            repositories=lambda node: FakeRepositories(world, node, clock=self.clock),
            keeper=FakeRepositories(world, NODES[0].name, clock=self.clock),
            book=book_of(self.db, LocalSecrets(directory, {}), (*NODES, *self._beside), self.clock),
            exports=lambda node: FakeExports(world, node),
            hosting=lambda node: FakeHostingNode(world, node, clock=self.clock),
            bmc=lambda machine: FakeBmc(world, machine),
            machines=StoreMachinePool(self.db, self.catalog.machines, self.clock),
            deployments=FakeDeployments(world, self.clock),
            uids=StoreAccountUids(self.db, self.clock),
            certificates=StoreSiteCertificates(self.db, secrets=LocalSecrets(directory, {}), inspect=tls.inspect),
            reach=FakeReach(world),
            addresses=StoreAddressPool(self.db, RANGES, self.clock, timedelta(hours=1)),
            ledger=StoreLedger(self.db, (*NODES, *self._beside), self.clock),
            fence=StoreFence(self.db, self.clock),
            secrets=LocalSecrets(directory, {}),
            clock=self.clock,
        )

    # -- what billing and operators say ------------------------------------------------------------

    def event(self, kind: str, service_id: str, *, event_id: str = "", **data: Any) -> Acceptance:
        """Deliver one event to the engine, as the webhook's rim would."""
        body = json.dumps({"type": kind, "data": {"service_id": service_id, **data}}, sort_keys=True).encode()
        digest = hashlib.sha256(body).hexdigest()
        message_id = event_id or f"evt-{kind}-{service_id}-{digest[:8]}"
        event = vocabulary.parse(body, source=SOURCE, message_id=message_id, sent_at=self.clock.now())
        return self.engine.accept(event, body=body, body_sha256=digest)

    def order(self, service_id: str) -> Acceptance:
        """A paid order of the house's plan; of an account with a domain."""
        of_account = {"domain": f"{service_id}.example"} if self.plan.kind == PlanKind.HOSTING else {}
        return self.event("order.paid", service_id, client_id="c1", plan=self.plan.name, order_id=f"o-{service_id}", **of_account)

    # -- what has become of it ---------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        with self.db.read() as conn:
            return jobs.get(conn, job_id)

    def steps(self, job_id: str) -> tuple[JobStep, ...]:
        with self.db.read() as conn:
            return jobs.steps(conn, job_id)

    def jobs(self, service_id: str) -> tuple[Job, ...]:
        """Oldest first."""
        with self.db.read() as conn:
            return jobs.list_page(conn, limit=500, service_id=service_id)[0][::-1]

    def state(self, service_id: str) -> str:
        with self.db.read() as conn:
            service = services.get(conn, service_id)
        return "" if service is None else service.state.value

    def wait(self, job_id: str, *states: JobState, seconds: float = 60.0) -> Job:
        """The job once it is in one of the states (any it rests in by default); fails the test when that takes too long."""
        wanted = states or (
            JobState.DONE,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.NEEDS_OPERATOR,
            JobState.WAITING_APPROVAL,
        )
        until = self.clock.monotonic() + seconds
        while (job := self.job(job_id)).state not in wanted:
            if self.clock.monotonic() > until:
                raise AssertionError(f"job {job_id} is still {job.state}: {self.steps(job_id)}")
            SystemClock().sleep(0.01)
        return job

    def close(self) -> None:
        self.engine.stop()
        self.db.close()


def seeded_world(directory: Path) -> FakeWorld:
    """The simulated node with its template; one that is there already is kept."""
    world = FakeWorld(directory / "world.json")
    if "n1" not in world.read()["nodes"]:
        world.add_node("n1", cpus=512, memory_bytes=4 << 40, pool_bytes=1 << 50)
        world.add_template("n1", TEMPLATE.volume, size_bytes=TEMPLATE.size_bytes, sha256=TEMPLATE_SHA256)
    return world


def prepared(directory: Path, database: Callable[[Path, str], Database]) -> Path:
    """A state directory with keys and tables, as ``init`` and ``migrate`` leave it."""
    directory.mkdir(parents=True, exist_ok=True)
    database(directory, "orchestrator.sqlite").close()
    init_keys(directory)
    _enrol(directory)
    return directory


def _enrol(directory: Path) -> None:
    db = house_database(directory)
    now = SystemClock().now()
    facts = FakeHypervisor(seeded_world(directory), "n1").node_facts(deadline=5)
    with db.write() as conn:
        nodes.set_enrolled(conn, "n1", host_key="ssh-ed25519 simulated-n1", agent_version="fake", agent_sha256="0" * 64, now=now)
        nodes.set_seen(conn, "n1", facts, now=now)
    db.close()
