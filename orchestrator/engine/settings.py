"""What the engine is told by the configuration; ``wiring`` fills it in. Seconds unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import TypeVar

from orchestrator.domain.backups.offer import KEEP_RESTORED, NodeBackups, Offer
from orchestrator.domain.brakes import BrakeLimits
from orchestrator.domain.calendar import Calendar
from orchestrator.domain.machines import Machine
from orchestrator.domain.planned import Announced
from orchestrator.domain.plans import AddressRange, Node, Plan, PlanKind, Template
from orchestrator.domain.policies import SILENT, Policy
from orchestrator.domain.services import Service
from orchestrator.domain.tariffs import Tariff
from orchestrator.domain.terms import Prices, Terms, Windows
from orchestrator.store.database import Connection

T = TypeVar("T")
# What a caller wants written in the very transaction of its act, given the act's result: one is not to be without the other.
Beside = Callable[[Connection, T], None]


def nothing_beside(_conn: Connection, _result: object) -> None:
    """Only the act."""


_NO_WINDOWS = Windows()


class Tariffs:
    """What each plan cost since when, as the store keeps it; ``PriceAdoption`` fills it in before anything is charged."""

    def __init__(self) -> None:
        self.known: Mapping[str, tuple[Tariff, ...]] = {}

    def of(self, plan: str) -> tuple[Tariff, ...]:
        return self.known.get(plan, ())


class Announcements:
    """Maintenance that is announced, by node, as the store keeps it; ``Announcing`` fills it in at each turn."""

    def __init__(self) -> None:
        self.known: Mapping[str, Announced] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What is sold, what it is installed from, and what is promised with it, by name; the nodes and machines it could be on, and
    who sells it.

    Promises are counted in days of the ``calendar``. ``asks_billing``: a billing system is told things, and so can be asked to
    confirm a termination; else only people are. ``backups``: by node, where the copies of its services go; a node that is not
    named has no target, and no backup of its services is made.
    ``keep_restored``: how long what a restore replaced, or wrote beside a disk, is kept. ``drills``: so many restore drills
    a week on each node. ``windows``: by node, when its guests may be restarted.
    """

    plans: Mapping[str, Plan]
    templates: Mapping[str, Template]
    nodes: tuple[Node, ...]
    provider: str = ""
    asks_billing: bool = False
    policies: Mapping[str, Policy] = field(default_factory=dict)
    calendar: Calendar = field(default_factory=lambda: Calendar(UTC))
    tariffs: Tariffs = field(default_factory=Tariffs)
    backups: Mapping[str, NodeBackups] = field(default_factory=dict)
    keep_restored: timedelta = KEEP_RESTORED
    drills: int = 0
    machines: tuple[Machine, ...] = ()
    ranges: tuple[AddressRange, ...] = ()
    windows: Mapping[str, Windows] = field(default_factory=dict)
    announced: Announcements = field(default_factory=Announcements)

    @property
    def places(self) -> frozenset[str]:
        """The names of all nodes and machines that are declared."""
        return frozenset((*(node.name for node in self.nodes), *(machine.name for machine in self.machines)))

    def prices_of(self, plan: str) -> Prices:
        """What is declared of the plan now; nothing where it is not declared any more."""
        found = self.plans.get(plan)
        return Prices() if found is None else Prices(found.traffic_bytes, found.traffic_over_per_gb, found.price_per_hour)

    def policy_of(self, service: Service) -> Policy:
        """The policy of the service's plan; one that promises nothing where plan or policy are not declared any more."""
        plan = self.plans.get(service.plan)
        return SILENT if plan is None else self.policies.get(plan.policy, SILENT)

    def kind_of(self, service: Service) -> PlanKind:
        """Of its plan; a service outlives the plan it was sold under, and is then of the kind that its node takes."""
        plan = self.plans.get(service.plan)
        if plan is not None:
            return plan.kind
        if any(machine.name == service.node for machine in self.machines):
            return PlanKind.DEDICATED
        node = next((node for node in self.nodes if node.name == service.node), None)
        return PlanKind.VPS if node is None else node.kind.of_plans

    def terms_of(self, service: Service, *, policy: Policy | None = None) -> Terms:
        """What holds for the service: its policy, or ``policy`` in its place."""
        plan = self.plans.get(service.plan)
        return Terms(
            policy=policy or self.policy_of(service),
            calendar=self.calendar,
            kind=self.kind_of(service).value,
            prices=self.prices_of(service.plan),
            tariffs=self.tariffs.of(service.plan),
            backups=self._offer(service, plan),
            plan=plan,
            windows=self.windows.get(service.node, _NO_WINDOWS),
            announced=self.announced.known.get(service.node),
        )

    def _offer(self, service: Service, plan: Plan | None) -> Offer:
        """What is sold of backups with it. A service whose plan is not sold any more has them as any other."""
        node = self.backups.get(service.node)
        if plan is None:
            return Offer(node=node, keep_restored=self.keep_restored)
        return Offer(
            node=node,
            keep_restored=self.keep_restored,
            plan=plan.name,
            bought=plan.backups_bought,
            cap_bytes=plan.backup_cap_bytes,
            cap_inodes=plan.backup_cap_inodes,
        )


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """How a policy is written for the store and read again; ``read`` gives None where it cannot be read any more."""

    write: Callable[[Policy], str]
    read: Callable[[str], Policy | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """``workers``: jobs that run at the same time. ``heavy_slots``: heavy steps at a time by node, 1 where not named.

    ``confirm_wait``: how long billing has to answer before a person decides on a termination.
    ``drain_seconds``: how long ``stop`` waits for the steps under way; what then still runs is recovered at the next start.
    ``lease_seconds``: how long a controller that is not heard of counts as one that works; ``keys``: a word for its keys, which
    all controllers of a database have in common; ``version``: of this software.
    ``wait_for_nodes``: how long a job waits for a node, or whatever else it needs, that cannot be reached.
    ``give_up_after``: how long a message is posted again and again; ``keep_messages``: how long one is kept that was taken.
    """

    state_dir: Path
    limits: BrakeLimits
    workers: int = 4
    poll_seconds: float = 0.2
    heavy_slots: Mapping[str, int] = field(default_factory=dict)
    lease_seconds: float = 30.0
    keys: str = ""
    version: str = ""
    slot_lease_seconds: float = 60.0
    slot_wait_seconds: float = 1800.0
    drain_seconds: float = 20.0
    sweep_seconds: float = 10.0
    due_seconds: float = 60.0
    compare_seconds: float = 600.0
    drift_seconds: float = 300.0
    drill_seconds: float = 600.0
    usage_seconds: float = 900.0
    traffic_seconds: float = 60.0
    outbox_seconds: float = 1.0
    outbox_batch: int = 20
    notify_deadline_seconds: float = 15.0
    confirm_wait: timedelta = timedelta(days=3)
    keep_engine_rows: timedelta = timedelta(days=14)
    keep_events: timedelta = timedelta(days=60)
    keep_messages: timedelta = timedelta(days=400)
    give_up_after: timedelta = timedelta(days=3)
    wait_for_nodes: timedelta = timedelta(minutes=30)
