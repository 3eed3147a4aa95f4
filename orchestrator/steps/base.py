"""The contract of a step: check the outside world, apply, undo.

``check`` observes the outside world only (hypervisor, node, pools), never our own job tables: after a crash it tells whether
the act is already there and whether this job made it. ``apply`` is repeatable. ``undo`` takes back what this job made,
and only that. Arguments are frozen dataclasses, validated when the playbook is loaded; facts are JSON objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from orchestrator.domain.plans import guest_name
from orchestrator.ports.account_uids import AccountUids
from orchestrator.ports.address_pool import AddressPool
from orchestrator.ports.backup_book import BackupBook
from orchestrator.ports.bmc import Bmc
from orchestrator.ports.clock import Clock
from orchestrator.ports.deployment import Deployments
from orchestrator.ports.disk_exports import DiskExports
from orchestrator.ports.fence import Fence
from orchestrator.ports.guest_access import GuestAccess
from orchestrator.ports.guest_meter import GuestMeter
from orchestrator.ports.guest_sizes import GuestSizes
from orchestrator.ports.hosting_node import HostingNode
from orchestrator.ports.hypervisor import Hypervisor
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.machine_pool import MachinePool
from orchestrator.ports.node_transport import NodeTransport
from orchestrator.ports.reach import Reach
from orchestrator.ports.repositories import Repositories
from orchestrator.ports.secrets import Secrets
from orchestrator.ports.site_certificates import SiteCertificates
from orchestrator.ports.volumes import VolumeStore

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """The act is already in force. ``made_by`` is the job that made it ('' = unknown or not tagged)."""

    facts: Facts = field(default_factory=dict)
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class Needed:
    """The act has still to be done, and what of it."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside world as a job sees it. The node-bound ports are opened by node name, ``bmc`` by the
    machine's, and kept by ``wiring``.

    ``keeper``: repositories as the controller's own machine reaches them, for what no node may do (``book.access(keeper=True)``).
    """

    hypervisor: Callable[[str], Hypervisor]
    sizes: Callable[[str], GuestSizes]
    access: Callable[[str], GuestAccess]
    volumes: Callable[[str], VolumeStore]
    agent: Callable[[str], NodeTransport]
    meter: Callable[[str], GuestMeter]
    repositories: Callable[[str], Repositories]
    keeper: Repositories
    book: BackupBook
    exports: Callable[[str], DiskExports]
    hosting: Callable[[str], HostingNode]
    bmc: Callable[[str], Bmc]
    machines: MachinePool
    deployments: Deployments
    uids: AccountUids
    certificates: SiteCertificates
    reach: Reach
    addresses: AddressPool
    ledger: Ledger
    fence: Fence
    secrets: Secrets
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """``progress(fraction 0..1, sentence)`` reaches ``job watch``; ``stopping()`` turns true when the job is asked to stop.

    ``deadline``: the seconds that this attempt may take, from its beginning. ``named``: what the service's guest is called where
    that is not as every guest of ours is, because it was there before us.
    """

    job_id: str
    service_id: str
    ports: Ports
    deadline: float
    progress: Callable[[float, str], None]
    stopping: Callable[[], bool]
    asked_by: str = ""
    named: str = ""

    @property
    def guest(self) -> str:
        """The name of the service's guest on its node."""
        return self.named or guest_name(self.service_id)


A = TypeVar("A")


class Step(Protocol[A]):
    """``heavy`` steps hold a slot of their node; ``destructive`` ones call ``ctx.ports.fence.require`` inside ``apply``.

    ``deadline_seconds`` bounds one attempt; ``attempts`` how often a transient failure is tried.
    """

    name: ClassVar[str]
    args: type[A]
    heavy: ClassVar[bool]
    destructive: ClassVar[bool]
    deadline_seconds: ClassVar[float]
    attempts: ClassVar[int]

    def check(self, ctx: StepContext, args: A) -> Done | Needed: ...

    def apply(self, ctx: StepContext, args: A) -> Facts: ...

    def undo(self, ctx: StepContext, args: A, facts: Mapping[str, Any]) -> None: ...
