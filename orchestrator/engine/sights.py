"""What the nodes show, beside what the store knows: the two sides that ``domain.drift`` compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain import account_drift, accounts, drift, specs, wanted
from orchestrator.domain.accounts import AccountFacts
from orchestrator.domain.drift import Apart, Finding, Known, SeenAccount, SeenGuest, SeenVolume
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.guest_records import adopted_name
from orchestrator.domain.intents import JobState
from orchestrator.domain.plans import GuestPlan, HostingPlan, Node, NodeKind
from orchestrator.domain.services import Service
from orchestrator.engine.acts import Works
from orchestrator.engine.records import Records
from orchestrator.engine.settings import Catalog
from orchestrator.ports.hypervisor import GuestFacts
from orchestrator.ports.volumes import VolumeFacts
from orchestrator.steps.compare import Expected, limits_apart, mail_apart, others_apart
from orchestrator.steps.drift import holding, limiting
from orchestrator.store import jobs, nodes, services
from orchestrator.store.database import Connection

LOOK_SECONDS = 60.0
_LOOKS = 8  # nodes at a time
_PAGE = 500
# A job that rests touches nothing; one that is in doubt is a person's.
_AT_WORK = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING, JobState.NEEDS_OPERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One node as it showed itself; ``problem``: why it did not."""

    node: Node
    guests: tuple[GuestFacts, ...] = ()
    volumes: tuple[VolumeFacts, ...] = ()
    keys: tuple[str, ...] = ()
    accounts: tuple[AccountFacts, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Nodes, and the store as it was before and after they were looked at, the same."""

    sights: tuple[Sight, ...]
    known: Known
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Sights:
    """Looks only."""

    def __init__(self, works: Works, catalog: Catalog, records: Records) -> None:
        self._works = works
        self._catalog = catalog
        self._records = records

    def look(self, names: Sequence[str]) -> Seen:
        """Look at these nodes, several at a time. One that does not answer is told as such. Raises StoreUnavailable."""
        by_name = {node.name: node for node in self._catalog.nodes}
        with self._works.db.read() as conn:
            before, at_work = _everything(conn)
        with ThreadPoolExecutor(max_workers=min(_LOOKS, max(1, len(names))), thread_name_prefix="drift") as pool:
            sights = tuple(pool.map(lambda name: self._sight(by_name[name]), names))
        with self._works.db.read() as conn:
            after, later = _everything(conn)
            here = [service for service in after.values() if service.node in set(names)]
            facts = {service.id: services.facts(conn, service.id).values for service in here}
        moved = {service_id for service_id in {*before, *after} if before.get(service_id) != after.get(service_id)}
        templates = {file for each in self._catalog.templates.values() for file in (each.volume, each.kernel, each.initrd)}
        named = {service_id: adopted_name(values) for service_id, values in facts.items() if adopted_name(values)}
        known = Known(services=after, busy=at_work | later | moved, names=named, templates=templates)
        return Seen(sights=sights, known=known, facts=facts)

    def enrolled(self) -> tuple[str, ...]:
        """The nodes that there are to look at."""
        with self._works.db.read() as conn:
            there = {record.name for record in nodes.list_all(conn) if record.enrolled_at is not None}
        return tuple(node.name for node in self._catalog.nodes if node.name in there)

    def findings(self, seen: Seen) -> tuple[Finding, ...]:
        """What differs on the nodes that answered."""
        found: list[Finding] = []
        for sight in seen.sights:
            name, known = sight.node.name, seen.known
            if sight.problem:
                continue
            if sight.node.kind == NodeKind.HOSTING:
                accounts_there = [self._account(each, known) for each in sight.accounts if each.exists]
                found += drift.of_hosting(name, known, accounts_there)
                continue
            guests = [self._guest(sight.node, each, seen) for each in sight.guests]
            volumes = [SeenVolume(name=each.name, path=each.path, backing=each.backing_path) for each in sight.volumes]
            found += drift.of_hypervisor(name, known, guests=guests, volumes=volumes, keys=sight.keys)
        return tuple(found)

    def _sight(self, node: Node) -> Sight:
        ports = self._works.ports
        try:
            if node.kind == NodeKind.HOSTING:
                return Sight(node=node, accounts=ports.hosting(node.name).accounts((), deadline=LOOK_SECONDS))
            store = ports.volumes(node.name)
            return Sight(
                node=node,
                volumes=store.volumes(deadline=LOOK_SECONDS),
                keys=store.secrets(deadline=LOOK_SECONDS),
                guests=ports.hypervisor(node.name).guests(deadline=LOOK_SECONDS),
            )
        except OrchestratorError as exc:
            return Sight(node=node, problem=exc.message)

    def _guest(self, node: Node, facts: GuestFacts, seen: Seen) -> SeenGuest:
        disks = tuple(disk.path for disk in facts.disks if disk.path)
        if facts.mark is None:
            return SeenGuest(name=facts.name, service_id=None, disks=disks)
        record, hostile = self._records.read(node.name, facts)
        service = seen.known.services.get(facts.mark.service_id)
        return SeenGuest(
            name=facts.name,
            service_id=facts.mark.service_id,
            disks=disks,
            hostile=hostile,
            adoptable=record is not None and record.service.id == facts.mark.service_id,
            apart=Apart() if service is None else self._guest_apart(node, facts, service, seen.facts.get(service.id, {})),
        )

    def _guest_apart(self, node: Node, facts: GuestFacts, service: Service, values: Mapping[str, Any]) -> Apart:
        holds, throttle = holding(facts, service.stop_reasons), limiting(facts, limited=service.throttled)
        plan, lease = self._catalog.plans.get(service.plan), self._works.ports.addresses.lease(service.id)
        differs = () if lease is not None else ("the service holds no addresses",)
        if not isinstance(plan, GuestPlan) or lease is None:
            return Apart(holds=tuple(holds), throttle=tuple(throttle), differs=differs)
        try:
            spec = specs.guest_spec(service, plan, wanted.template_of(service, plan, self._catalog.templates))
        except OrchestratorError as exc:
            return Apart(holds=tuple(holds), throttle=tuple(throttle), differs=(f"what was sold is not known: {exc.message}",))
        expected = Expected(
            guest=specs.wanted(spec),
            lease=lease,
            disk_path=_disk_path(values),
            bridge=node.bridge,
            limited=service.throttled,
        )
        return Apart(
            limits=tuple(limits_apart(facts, expected)),
            holds=tuple(holds),
            throttle=tuple(throttle),
            mail=tuple(mail_apart(facts, expected)),
            differs=tuple(others_apart(self._works.ports.secrets, facts, expected)),
        )

    def _account(self, facts: AccountFacts, known: Known) -> SeenAccount:
        service = known.services.get(facts.service_id)
        plan = None if service is None else self._catalog.plans.get(service.plan)
        if service is None or not isinstance(plan, HostingPlan):
            return SeenAccount(user=facts.user, service_id=facts.service_id)
        try:
            account = accounts.wanted(service, plan)
        except OrchestratorError as exc:
            apart = Apart(differs=(f"what was sold is not known: {exc.message}",))
            return SeenAccount(user=facts.user, service_id=facts.service_id, apart=apart)
        apart = Apart(
            limits=account_drift.limits_apart(account, facts),
            holds=account_drift.holds_apart(facts, suspended=service.stopped),
            differs=account_drift.parts_apart(account, facts, suspended=service.stopped),
        )
        return SeenAccount(user=facts.user, service_id=facts.service_id, apart=apart)


def _everything(conn: Connection) -> tuple[dict[str, Service], set[str]]:
    """Every service, and those that a job works on."""
    found: dict[str, Service] = {}
    after: str | None = None
    while True:
        page, after = services.list_page(conn, limit=_PAGE, after=after)
        found |= {service.id: service for service in page}
        if after is None:
            return found, {job.service_id for job in jobs.in_states(conn, _AT_WORK)}


def _disk_path(values: Mapping[str, Any]) -> str:
    return str(((values.get("disk") or {}).get("volume") or {}).get("path", ""))
