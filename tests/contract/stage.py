"""Where single steps are tried: the simulated node, and the store's own pools, ledger and fence."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.domain import specs
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.plans import GuestPlan, Node, Template
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.drivers.fake import (
    FakeAccess,
    FakeAgent,
    FakeClock,
    FakeExports,
    FakeHostingNode,
    FakeHypervisor,
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
from orchestrator.drivers.local.keys import LocalSecrets, init_keys
from orchestrator.steps.arguments import parse
from orchestrator.steps.base import Done, Facts, Needed, Ports, Step, StepContext
from orchestrator.steps.registry import STEPS
from orchestrator.store import jobs, nodes, services
from orchestrator.store.account_uids import StoreAccountUids
from orchestrator.store.address_pool import StoreAddressPool
from orchestrator.store.database import Database, sqlite_url
from orchestrator.store.fence import StoreFence
from orchestrator.store.ledger import StoreLedger
from orchestrator.store.machines import StoreMachinePool
from orchestrator.store.site_certificates import StoreSiteCertificates
from tests.backup_books import book_of
from tests.fault.house import RANGES
from tests.store_files import fresh_database

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SHA256 = "1" * 64
NODES = tuple(Node(name=name, zone="z1", address=f"192.0.2.{n}", driver="fake") for n, name in enumerate(("n1", "n2"), 1))
TEMPLATE = Template(
    name="debian",
    volume="debian.qcow2",
    sha256=SHA256,
    size_bytes=2 << 30,
    kernel="debian.vmlinuz",
    initrd="debian.initrd",
    kernel_arguments="root=LABEL=root",
)
PLAN = GuestPlan(
    name="small",
    vcpus=2,
    memory_bytes=1 << 30,
    disk_bytes=10 << 30,
    cpu_percent=50,
    disk_bytes_per_second=50_000_000,
    disk_iops=500,
    network_bytes_per_second=12_500_000,
)
LARGER = GuestPlan(
    name="large",
    vcpus=3,
    memory_bytes=2 << 30,
    disk_bytes=20 << 30,
    cpu_percent=100,
    disk_bytes_per_second=80_000_000,
    network_bytes_per_second=25_000_000,
    vcpus_most=4,
)
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"
JOB = "j1"


class Stage:
    """One service, ``s1``, and the jobs that work on it."""

    def __init__(self, directory: Path, *, plan: GuestPlan = PLAN, template: Template = TEMPLATE) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        fresh = not (directory / "world.json").exists()
        if fresh:
            init_keys(directory)
        self.clock = FakeClock(NOW)
        self.world = FakeWorld(directory / "world.json")
        self.db = fresh_database(directory) if fresh else Database(sqlite_url(directory / "store.sqlite"))
        self.secrets = LocalSecrets(directory, {})
        self.ledger = StoreLedger(self.db, NODES, self.clock)
        self.addresses = StoreAddressPool(self.db, RANGES, self.clock, timedelta(hours=1))
        world = self.world
        self.ports = Ports(
            hypervisor=lambda node: FakeHypervisor(world, node),
            sizes=lambda node: FakeSizes(world, node),
            access=lambda node: FakeAccess(world, node),
            volumes=lambda node: FakeVolumes(world, node),
            agent=lambda node: FakeAgent(world, node, clock=self.clock),
            meter=lambda node: AgentGuestMeter(FakeAgent(world, node, clock=self.clock), name=node),
            repositories=lambda node: FakeRepositories(world, node, clock=self.clock),
            keeper=FakeRepositories(world, NODES[0].name, clock=self.clock),
            book=book_of(self.db, self.secrets, NODES, self.clock),
            exports=lambda node: FakeExports(world, node),
            hosting=lambda node: FakeHostingNode(world, node, clock=self.clock),
            bmc=lambda machine: FakeBmc(world, machine),
            machines=StoreMachinePool(self.db, (), self.clock),
            deployments=FakeDeployments(world, self.clock),
            uids=StoreAccountUids(self.db, self.clock),
            certificates=StoreSiteCertificates(self.db, secrets=self.secrets, inspect=tls.inspect),
            reach=FakeReach(world),
            addresses=self.addresses,
            ledger=self.ledger,
            fence=StoreFence(self.db, self.clock),
            secrets=self.secrets,
            clock=self.clock,
        )
        self.stop_asked = False
        self.made: dict[str, Facts] = {}
        if fresh:
            self.put(Service(id="s1", client_id="c1", plan=plan.name, state=Lifecycle.ACTIVE, payments=1, ssh_keys=(SSH_KEY,)))
            for node in NODES:
                self._furnish(node.name, template)
        self.spec = specs.to_json(specs.guest_spec(self.service(), plan, template))

    def _furnish(self, node: str, template: Template) -> None:
        self.world.add_node(node)
        self.world.add_template(node, template.volume, sha256=SHA256)
        for name in filter(None, (template.kernel, template.initrd)):
            self.world.add_template(node, name, format="raw", size_bytes=8 << 20)
        facts = FakeHypervisor(self.world, node).node_facts(deadline=5)
        with self.db.write() as conn:
            nodes.set_enrolled(conn, node, host_key="ssh-ed25519 simulated", agent_version="fake", agent_sha256="0" * 64, now=NOW)
            nodes.set_seen(conn, node, facts, now=NOW)

    def close(self) -> None:
        self.db.close()

    # -- the record ------------------------------------------------------------------------------

    def put(self, service: Service) -> None:
        with self.db.write() as conn:
            services.put(conn, service, now=NOW)

    def service(self) -> Service:
        with self.db.read() as conn:
            found = services.get(conn, "s1")
        assert found is not None
        return found

    def job(self, kind: IntentKind, job_id: str, *, payments: int = 1) -> None:
        """A running job of the service, and the state that its beginning gives the service."""
        hold = Hold(reason=HoldReason.NONPAYMENT, effect=HoldEffect.STOP, by="billing", why="overdue", since=NOW)
        if kind == IntentKind.TERMINATE:
            self.put(replace(self.service(), state=Lifecycle.TERMINATING))
        elif kind == IntentKind.SUSPEND:
            self.put(self.service().with_hold(hold))
        job = Job(
            id=job_id,
            service_id="s1",
            intent=kind,
            playbook=f"vps-{kind}",
            state=JobState.RUNNING,
            reason="asked",
            asked_by="event shop/e1",
            payments=payments,
            created_at=NOW,
            arguments={},
        )
        with self.db.write() as conn:
            jobs.add(conn, job)

    def pay(self) -> None:
        """A payment, as accepting its event records it."""
        self.put(replace(self.service(), payments=self.service().payments + 1))

    # -- one step ----------------------------------------------------------------------------------

    def context(self, job_id: str = JOB, *, deadline: float = 300.0) -> StepContext:
        return StepContext(
            job_id=job_id,
            service_id="s1",
            ports=self.ports,
            deadline=deadline,
            progress=lambda _fraction, _sentence: None,
            stopping=lambda: self.stop_asked,
        )

    def check(self, name: str, args: Facts, *, job: str = JOB) -> Done | Needed:
        step = STEPS[name]
        return step.check(self.context(job), parse(step.args, args))

    def apply(self, name: str, args: Facts, *, job: str = JOB) -> Facts:
        step: Step[Any] = STEPS[name]
        return step.apply(self.context(job, deadline=step.deadline_seconds), parse(step.args, args))

    def undo(self, name: str, args: Facts, *, job: str = JOB) -> None:
        """Without the facts of the act: after a crash there may be none."""
        step = STEPS[name]
        step.undo(self.context(job), parse(step.args, args), {})

    def run(self, name: str, args: Facts, *, job: str = JOB) -> Facts:
        """As the engine does: look, and act where it is needed."""
        found = self.check(name, args, job=job)
        return found.facts if isinstance(found, Done) else self.apply(name, args, job=job)

    def snapshot(self, *, tokens: bool = False) -> dict[str, Any]:
        """Everything outside: nodes, promises, addresses. Logs and, unless asked for, the traces in marks are left out."""
        found: dict[str, Any] = {}
        for name, node in self.world.read()["nodes"].items():
            guests = {k: {**v, "boots": 0} for k, v in node["guests"].items()}
            for guest in guests.values():
                guest["definition"] = {**guest["definition"], "mark": None}
                if not tokens and guest["mark"]:
                    guest["mark"] = {**guest["mark"], "tokens": []}
            found[name] = {"guests": guests, "volumes": node["volumes"], "secrets": sorted(node["secrets"])}
        lease, standing = self.addresses.lease("s1"), self.ledger.reservation("s1")
        return {**found, "lease": lease, "reservation": standing and asdict(standing)}

    # -- the service's guest, made by job j1 ----------------------------------------------------------

    def make(self) -> dict[str, Facts]:
        """Provision with the real steps; the facts by step id, as the service's record keeps them."""
        made: dict[str, Facts] = {}
        for step_id, name in PROVISION:
            made[step_id] = self.run(name, self.provision_args(step_id, made))
        return made

    def provision_args(self, step_id: str, made: dict[str, Facts]) -> Facts:
        """What the playbook vps-provision hands to the step, given the facts of those before it."""
        guest, template = self.spec["guest"], self.spec["template"]
        node = made["place"]["node"] if "place" in made else "n1"
        verify: Facts = {"node": node, "guest": guest, "digest": self.spec["digest"]}
        if "addresses" in made:
            verify["lease"] = made["addresses"]["lease"]
        if "disk" in made:
            verify["volume"] = made["disk"]["volume"]
        table: dict[str, Facts] = {
            "place": {"guest": guest},
            "addresses": {"node": node, "ipv4": 1, "ipv6": 1},
            "template": {"node": node, **{k: template[k] for k in ("volume", "sha256", "kernel", "initrd")}},
            "disk": {
                "node": node,
                "capacity_bytes": guest["disk_bytes"],
                "template": template["volume"],
                "template_format": template["format"],
                "full_copy": guest["full_copy"],
                "encrypted": guest["encrypted"],
            },
            "seed": {
                "node": node,
                "hostname": guest["hostname"],
                "lease": verify.get("lease"),
                **self.spec["access"],
            },
            "define": {**verify, "template": template},
            "start": {"node": node, "autostart": True},
            "wait": {"node": node, "ready": "ssh", "addresses": made.get("addresses", {}).get("addresses", [])},
            "verify": verify,
        }
        return table[step_id]

    def guest(self) -> dict[str, Any]:
        """The service's guest as the simulated node holds it."""
        found: dict[str, Any] = self.world.node("n1")["guests"]["orch.s1"]
        return found

    def fails(self, method: str, error: OrchestratorError, **where: Any) -> None:
        self.world.fault(method, error=error, **where)


def spec_of(stage: Stage, plan: GuestPlan) -> dict[str, Any]:
    """What the service is to have by that plan."""
    return specs.to_json(specs.guest_spec(stage.service(), plan, TEMPLATE))


def hold_by_hand(stage: Stage) -> None:
    """Mark the guest as suspended for abuse, by an act that no job of ours made."""
    with stage.world.change() as state:
        guest = state["nodes"]["n1"]["guests"]["orch.s1"]
        guest["mark"] = {**guest["mark"], "holds": ["abuse"], "power_before": "running", "autostart_before": True}
        guest["autostart"] = False


def set_up(directory: Path, *, with_guest: bool = False) -> Stage:
    """A stage of the usual plan and template; each kind is built once and copied."""
    files, made = _built(with_guest)
    for name, (mode, content) in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    stage = Stage(directory)
    stage.made = json.loads(made)
    return stage


@cache
def _built(with_guest: bool) -> tuple[dict[str, tuple[int, bytes]], str]:
    """The files of a stage, by their names in its directory, and the facts of its guest."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stage = Stage(directory)
        made = json.dumps(stage.make() if with_guest else {})
        stage.close()
        paths = [p for p in directory.rglob("*") if p.is_file()]
        return {str(p.relative_to(directory)): (p.stat().st_mode & 0o777, p.read_bytes()) for p in paths}, made


PROVISION = (
    ("place", "node.reserve"),
    ("addresses", "address.allocate"),
    ("template", "template.check"),
    ("disk", "volume.create"),
    ("seed", "seed.create"),
    ("define", "guest.define"),
    ("start", "guest.start"),
    ("wait", "guest.wait"),
    ("verify", "guest.verify"),
)
