"""The drivers of each node: opened when first used, kept, and opened anew when the node was enrolled anew."""

from __future__ import annotations

import base64
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.build import Bundle
from orchestrator.config.model import Config
from orchestrator.domain.errors import NotFound, OrchestratorError, WrongState
from orchestrator.domain.lost_nodes import refusal
from orchestrator.domain.plans import Node, NodeKind
from orchestrator.drivers.fake.access import FakeAccess
from orchestrator.drivers.fake.agent import FakeAgent
from orchestrator.drivers.fake.consoles import FakeConsoles
from orchestrator.drivers.fake.exports import FakeExports
from orchestrator.drivers.fake.hosting import FakeHostingNode
from orchestrator.drivers.fake.hypervisor import FakeHypervisor
from orchestrator.drivers.fake.outside import FakeEnrolment
from orchestrator.drivers.fake.reach import FakeReach
from orchestrator.drivers.fake.repositories import FakeRepositories
from orchestrator.drivers.fake.sizes import FakeSizes
from orchestrator.drivers.fake.volumes import FakeVolumes
from orchestrator.drivers.fake.world import FakeWorld
from orchestrator.drivers.hosting import AgentHostingNode
from orchestrator.drivers.libvirt.access import LibvirtAccess
from orchestrator.drivers.libvirt.connection import Connection as LibvirtConnection
from orchestrator.drivers.libvirt.consoles import LibvirtConsoles
from orchestrator.drivers.libvirt.exports import LibvirtExports
from orchestrator.drivers.libvirt.hypervisor import LibvirtHypervisor
from orchestrator.drivers.libvirt.meter import AgentGuestMeter
from orchestrator.drivers.libvirt.sizes import LibvirtSizes
from orchestrator.drivers.libvirt.uri import ssh_uri, write_wrapper
from orchestrator.drivers.libvirt.volumes import LibvirtVolumes
from orchestrator.drivers.local.agent import LocalTransport
from orchestrator.drivers.local.reach import TcpReach
from orchestrator.drivers.restic import ResticRepositories
from orchestrator.drivers.ssh import SshEnrolment, SshTransport
from orchestrator.drivers.ssh.host_keys import host_key
from orchestrator.ports.clock import Clock
from orchestrator.ports.disk_exports import DiskExports
from orchestrator.ports.enrolment import Enrolment, EnrolmentReport, HostKey
from orchestrator.ports.guest_access import GuestAccess
from orchestrator.ports.guest_console import GuestConsoles
from orchestrator.ports.guest_meter import GuestMeter
from orchestrator.ports.guest_sizes import GuestSizes
from orchestrator.ports.hosting_node import HostingNode, HostingReport, NodeResidue
from orchestrator.ports.hypervisor import Hypervisor, NodeFacts
from orchestrator.ports.node_transport import NodeTransport
from orchestrator.ports.reach import Reach
from orchestrator.ports.repositories import Repositories
from orchestrator.ports.secrets import Secrets
from orchestrator.ports.volumes import VolumeStore
from orchestrator.store import nodes as node_store
from orchestrator.store.database import Database
from orchestrator.wiring.backups import agent_root, run_limits

FAKE = "fake"
WORLD_FILE = "simulated-nodes.json"
_log = logging.getLogger(__name__)
_LOOK_SECONDS = 15.0
_FILL_SECONDS = 10.0
_DOCTOR_SECONDS = 60.0
_RESIDUE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """What is open to one node, and the pinned host key that it was opened with."""

    host_key: str
    hypervisor: Hypervisor
    sizes: GuestSizes
    access: GuestAccess
    consoles: GuestConsoles
    volumes: VolumeStore
    agent: NodeTransport
    repositories: Repositories
    exports: DiskExports
    hosting: HostingNode

    def close(self) -> None:
        self.hosting.close()
        self.exports.close()
        self.repositories.close()
        self.agent.close()
        self.volumes.close()
        self.hypervisor.close()


class Links:
    """Safe for many threads. Every method raises NotFound for a node that is not declared, WrongState for one not enrolled, and
    NodeLost for one that is lost, but those that say otherwise."""

    def __init__(self, config: Config, db: Database, *, clock: Clock, secrets: Secrets, identity: Path, bundle: Bundle) -> None:
        self._nodes = {node.name: node for node in config.nodes}
        self._state_dir = config.settings.state_dir
        self._db = db
        self._clock = clock
        self._identity = identity
        self._lock = threading.Lock()
        self._open: dict[str, _Link] = {}
        self._world = _simulated(config)
        self._limits = run_limits(config)
        # Where all nodes are simulated, so is what their backups lie on.
        simulated = self._world is not None and all(node.driver == FAKE for node in config.nodes)
        self._here = LocalTransport(zipapp=bundle.zipapp, root=agent_root(config))
        self.own: Repositories = ResticRepositories(self._here, limits=self._limits)
        self.keeper: Repositories = self.own
        if simulated and self._world is not None:
            self.keeper = FakeRepositories(self._world, config.nodes[0].name, clock=clock)
        real = SshEnrolment(bundle=bundle, secrets=secrets, identity=identity)
        self.enrolment: Enrolment = real if self._world is None else _ByDriver(real, FakeEnrolment(self._world))
        self.reach: Reach = TcpReach() if self._world is None else FakeReach(self._world)

    def hypervisor(self, name: str) -> Hypervisor:
        return self._link(name).hypervisor

    def lost_hypervisor(self, name: str) -> Hypervisor:
        """Also of one that is lost: to see whether it is back, and to keep its old copies from running."""
        return self._link(name, lost=True).hypervisor

    def sizes(self, name: str) -> GuestSizes:
        return self._link(name).sizes

    def access(self, name: str) -> GuestAccess:
        return self._link(name).access

    def consoles(self, name: str) -> GuestConsoles:
        return self._link(name).consoles

    def volumes(self, name: str) -> VolumeStore:
        return self._link(name).volumes

    def agent(self, name: str) -> NodeTransport:
        return self._link(name).agent

    def meter(self, name: str) -> GuestMeter:
        return AgentGuestMeter(self._link(name).agent, name=name)

    def repositories(self, name: str) -> Repositories:
        return self._link(name).repositories

    def exports(self, name: str) -> DiskExports:
        return self._link(name).exports

    def hosting(self, name: str) -> HostingNode:
        return self._link(name).hosting

    def node_facts(self, name: str, deadline: float) -> NodeFacts:
        """What the node has, by its libvirt or, of a hosting node, by its agent. Also asked of one that is lost."""
        link = self._link(name, lost=True)
        if self._nodes[name].kind == NodeKind.HYPERVISOR:
            return _with_fill(link.hypervisor.node_facts(deadline=deadline), link.agent)
        return as_node(link.hosting.doctor(deadline=deadline, quick=True))

    def doctor(self, node: Node) -> dict[str, Any]:
        """What the node's agent says of the node (its command ``doctor``, or ``hosting-doctor``)."""
        if node.kind == NodeKind.HOSTING:
            return _requirements(self.hosting(node.name).doctor(deadline=_DOCTOR_SECONDS))
        facts = self.hypervisor(node.name).node_facts(deadline=_LOOK_SECONDS)
        request = {"pool_path": facts.pool_path, "bridge": node.bridge, **({"backups": True} if node.backups else {})}
        return self.agent(node.name).call("doctor", request, deadline=_DOCTOR_SECONDS)

    def node_residue(self, node: Node) -> NodeResidue:
        """What others left on a hosting node. Raises WrongState for a hypervisor."""
        if node.kind != NodeKind.HOSTING:
            raise WrongState(
                f"{node.name} is a hypervisor, and only a hosting node can be looked through",
                hint="`orchestrator node list` shows the kind of each",
            )
        return self.hosting(node.name).node_residue(deadline=_RESIDUE_SECONDS)

    def close(self) -> None:
        """Let every node go; those who still hold a port of one keep it until they end."""
        with self._lock:
            links, self._open = self._open, {}
        for link in links.values():
            link.close()
        self._here.close()

    def _link(self, name: str, *, lost: bool = False) -> _Link:
        node = self._nodes.get(name)
        if node is None:
            raise NotFound(f"there is no node {name} in nodes.yaml", hint="a node that had guests must stay declared", node=name)
        with self._db.read() as conn:
            record = node_store.get(conn, name)
        if record is None or record.enrolled_at is None:
            raise WrongState(f"the node {name} is not enrolled", hint=f"orchestrator node enrol {name}", node=name)
        if record.lost is not None and not lost:
            raise refusal(name, record.lost)
        with self._lock:
            link = self._open.get(name)
            if link is None or link.host_key != record.host_key:
                link = self._open[name] = self._connect(node, record.host_key)
            return link

    def _connect(self, node: Node, pinned: str) -> _Link:
        if node.driver == FAKE and self._world is not None:
            world = self._world
            return _Link(
                host_key=pinned,
                hypervisor=FakeHypervisor(world, node.name),
                sizes=FakeSizes(world, node.name),
                access=FakeAccess(world, node.name),
                consoles=FakeConsoles(world, node.name),
                volumes=FakeVolumes(world, node.name),
                agent=FakeAgent(world, node.name, clock=self._clock),
                repositories=FakeRepositories(world, node.name, clock=self._clock),
                exports=FakeExports(world, node.name),
                hosting=FakeHostingNode(world, node.name, clock=self._clock),
            )
        kind, _, blob = pinned.partition(" ")
        trusted = host_key(kind, base64.b64decode(blob))
        uri = node.libvirt_uri
        if not uri:
            uri = ssh_uri(node, write_wrapper(self._state_dir / "ssh", node, identity=self._identity, host_key=trusted))
        connection = LibvirtConnection(uri, node=node.name, clock=self._clock)
        agent = SshTransport(address=node.address, port=node.port, user=node.user, key_path=self._identity, host_key=trusted)
        volumes = LibvirtVolumes(connection, agent=agent, pool=node.pool, random=os.urandom)
        return _Link(
            host_key=pinned,
            hypervisor=LibvirtHypervisor(connection, pool=node.pool),
            sizes=LibvirtSizes(connection),
            access=LibvirtAccess(connection),
            consoles=LibvirtConsoles(connection),
            volumes=volumes,
            agent=agent,
            repositories=ResticRepositories(agent, limits=self._limits),
            exports=LibvirtExports(connection, volumes=volumes),
            hosting=AgentHostingNode(agent, name=node.name, backups=bool(node.backups)),
        )


def _with_fill(facts: NodeFacts, agent: NodeTransport) -> NodeFacts:
    """With how full its pool is. An agent that does not answer, or knows no such question yet, leaves that open: what libvirt
    told counts."""
    try:
        fill = agent.call("pool-fill", {"path": facts.pool_path}, deadline=_FILL_SECONDS)
    except OrchestratorError as exc:
        _log.warning("how full the pool of %s is was not told: %s", facts.hostname, exc.message)
        return facts
    return replace(facts, pool_data_percent=fill["data_percent"], pool_metadata_percent=fill["metadata_percent"])


def as_node(report: HostingReport) -> NodeFacts:
    """A hosting node as placement and metrics see every node: its disk is the file system of the accounts."""
    return NodeFacts(
        hostname=report.hostname,
        cpus=report.cpus,
        memory_bytes=report.memory_bytes,
        pool_capacity_bytes=report.disk_bytes,
        pool_available_bytes=report.disk_free_bytes,
        accelerated=True,
        libvirt_version="",
        hypervisor_version="",
        guests=report.accounts,
        details={"php": list(report.php), "lacks": [need.name for need in report.needs if not need.ok]},
    )


def _requirements(report: HostingReport) -> dict[str, Any]:
    rows = [
        {"name": need.name, "ok": need.ok, "found": need.says, "mend": "" if need.ok else need.hint, "package": ""}
        for need in report.needs
    ]
    return {"requirements": rows, "accelerated": None}


class _ByDriver:
    """Enrolment where some nodes are simulated."""

    def __init__(self, real: Enrolment, simulated: Enrolment) -> None:
        self._real = real
        self._simulated = simulated

    def host_keys(self, node: Node, *, deadline: float) -> tuple[HostKey, ...]:
        return self._of(node).host_keys(node, deadline=deadline)

    def enrol(
        self,
        node: Node,
        *,
        host_key: HostKey,
        identity: str,
        say: Callable[[str], None],
        deadline: float,
        install: bool = False,
    ) -> EnrolmentReport:
        enrolment = self._of(node)
        return enrolment.enrol(node, host_key=host_key, identity=identity, say=say, deadline=deadline, install=install)

    def _of(self, node: Node) -> Enrolment:
        return self._simulated if node.driver == FAKE else self._real


def _simulated(config: Config) -> FakeWorld | None:
    """The simulated nodes of the configuration with its templates in their pools, or None where there are none."""
    names = [node.name for node in config.nodes if node.driver == FAKE]
    if not names:
        return None
    world = FakeWorld(config.settings.state_dir / WORLD_FILE)
    for name in names:
        world.add_node(name)
        for template in config.templates.values():
            world.add_template(
                name, template.volume, size_bytes=template.size_bytes, sha256=template.sha256, format=template.format
            )
    return world
