"""A node that never comes back: an operator's signed statement, its services brought up elsewhere, and what if it returns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain import certificates, lost_nodes, recovering
from orchestrator.domain.backups import restoring
from orchestrator.domain.backups.words import Backup
from orchestrator.domain.errors import NotFound, OrchestratorError, TransientDriverError, WrongState
from orchestrator.domain.guest_records import adopted_name
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.jobs import Job
from orchestrator.domain.lost_nodes import Lost, Released, Statement
from orchestrator.domain.plans import Node, NodeKind, guest_name
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.received import Received
from orchestrator.domain.services import HoldReason, Lifecycle, Service, ServiceFacts
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Decide, Submitted
from orchestrator.engine.endings import Endings
from orchestrator.engine.fleet import Emptied, one_after_another
from orchestrator.engine.settings import Beside, Catalog, nothing_beside
from orchestrator.ports.hypervisor import GuestFacts, GuestMark, Hypervisor
from orchestrator.steps.let_go import keep_off, let_go
from orchestrator.store import absences, audit, backups, services
from orchestrator.store import jobs as job_store
from orchestrator.store import nodes as store
from orchestrator.store.database import Connection
from orchestrator.store.nodes import NodeRecord

_log = logging.getLogger(__name__)
ASK_SECONDS = 10.0
ACT_SECONDS = 60.0
# What the mark of a guest is held for whose service goes on elsewhere.
ELSEWHERE = "elsewhere"
# The reasons that a service is held for. Every other one in a mark is that of a job at work ("moving", "terminating").
_REASONS = frozenset(HoldReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """The signed document; ``under_way``: jobs of its services that were at work, and end by themselves."""

    statement: dict[str, Any]
    under_way: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``kept_off``: guests that are held and off there now, for their services go on elsewhere; ``freed``: those that go on
    there after all."""

    record: NodeRecord
    kept_off: tuple[str, ...]
    freed: tuple[str, ...]


class Losing:
    """Raises NotFound for a node that is not declared. ``reach`` opens a node's hypervisor also while it is lost."""

    def __init__(
        self, works: Works, *, catalog: Catalog, clerk: Clerk, endings: Endings, reach: Callable[[str], Hypervisor]
    ) -> None:
        self._works = works
        self._endings = endings
        self._clerk = clerk
        self._reach = reach
        self._catalog = catalog
        self._declared = {node.name: node for node in catalog.nodes}

    # -- the statement -------------------------------------------------------------------------------------------------------

    def lose(self, name: str, *, who: str, why: str, said: str, beside: Beside[Stated] = nothing_beside) -> Stated:
        """Write down, signed, that the node never comes back. Nothing is sent to it from then on.

        Raises WrongState where it is lost already, was never enrolled, or still answers: then its guests may run.
        """
        node = self._require(name)
        self._require_silent(node)
        with self._works.db.write() as conn:
            record = store.get(conn, name) or NodeRecord(name=name)
            if record.lost is not None:
                raise WrongState(f"node {name} is {record.lost} already", hint=f"orchestrator node statement {name}")
            now = self._works.clock.now()
            stated_before = {str(each["id"]) for each in store.statements(conn, name)}
            lost = Lost(at=now, by=who, why=why, statement=lost_nodes.statement_id(name, now, stated_before))
            statement = self._signed(conn, node, record, lost, said)
            store.set_lost(conn, name, lost)
            store.add_statement(conn, name, statement, now=now)
            absences.is_back(conn, name, now=now)  # what waits for it need not wait any longer to end
            facts = {"node": name, "why": why, "said": said, "statement": lost.statement}
            audit.append(conn, at=now, who=who, what="node lost", facts=facts)
            for each in statement["services"]:
                audit.append(conn, at=now, who=who, what="released from a lost node", service_id=each["service"], facts=facts)
            there = store.services_of(conn, name)
            at_work = tuple(job.id for key in there for job in job_store.unfinished(conn, key) if job.workflow is not None)
            stated = Stated(statement=statement, under_way=at_work)
            beside(conn, stated)
        return stated

    def statements(self, name: str) -> tuple[dict[str, Any], ...]:
        """What was ever stated of the node, the newest first."""
        self._require(name)
        with self._works.db.read() as conn:
            return store.statements(conn, name)

    def _signed(self, conn: Connection, node: Node, record: NodeRecord, lost: Lost, said: str) -> dict[str, Any]:
        there = [(key, services.get(conn, key), services.facts(conn, key)) for key in store.services_of(conn, node.name)]
        stated = Statement(
            id=lost.statement,
            provider=self._catalog.provider,
            node=node,
            host_key=record.host_key,
            facts=record.facts,
            last_seen_at=record.seen_at,
            by=lost.by,
            why=lost.why,
            said=said,
            services=[_released(key, service, facts) for key, service, facts in there],
            at=lost.at,
        )
        secrets = self._works.ports.secrets
        document = lost_nodes.build(stated, public_key=secrets.public_key())
        signature = secrets.sign(certificates.payload(document))
        return certificates.signed(document, key_id=signature.key_id, value=signature.value)

    def _require_silent(self, node: Node) -> None:
        """A libvirtd, or an agent, that answers means that guests may run there. Raises WrongState."""
        ports = self._works.ports
        asked: dict[str, Callable[[], object]] = {"agent": lambda: ports.agent(node.name).call("hello", {}, deadline=ASK_SECONDS)}
        if node.kind == NodeKind.HYPERVISOR:
            asked = {"libvirtd": lambda: ports.hypervisor(node.name).node_facts(deadline=ASK_SECONDS), **asked}
        hint = "switch it off, or cut it off, then state it"
        for what, ask in asked.items():
            try:
                ask()
            except TransientDriverError:
                continue
            except WrongState:
                raise
            except OrchestratorError as exc:
                raise WrongState(f"node {node.name} is not silent, its {what} says: {exc.message}", hint=hint) from exc
            raise WrongState(f"node {node.name} answers: its {what} does, and its guests may run", hint=hint)

    # -- its services --------------------------------------------------------------------------------------------------------

    def restore(
        self, service_id: str, *, to: str, backup: str, who: str, why: str, beside: Beside[Submitted] = nothing_beside
    ) -> Submitted:
        """Bring a service of a lost node up on another one. Raises NotFound, Refused, WrongState."""
        decide = self._deciding(service_id, to=to, backup=backup, who=who, why=why)
        facts = {"to": to, "backup": backup, "why": why}
        return self._clerk.act(service_id, decide, who=who, what="restore elsewhere", facts=facts, beside=beside)

    def would(self, service_id: str, *, to: str, backup: str) -> tuple[Workflow, str]:
        """What that would write down, and which backup it would bring back. Raises as ``restore``."""
        decide = self._deciding(service_id, to=to, backup=backup, who="dry-run", why="dry run")
        told: list[str] = []

        def noting(service: Service, terms: Terms, now: datetime) -> Received:
            received = decide(service, terms, now)
            told.append(received.note)
            return received

        return self._clerk.dry_run(service_id, noting), told[-1]

    def restore_all(self, name: str, *, who: str, why: str, at_once: int) -> Emptied:
        """Bring services of the lost node up elsewhere until ``at_once`` are under way; again for the next ones, and to see how
        far it is. One that failed since the node was lost stays until somebody has looked. Raises WrongState where it is not."""
        self._require(name)
        with self._works.db.read() as conn:
            record = store.get(conn, name)
            if record is None or record.lost is None:
                raise WrongState(f"node {name} is not lost: its services can be moved", hint=f"orchestrator node evacuate {name}")
            there = store.services_on(conn, name)
            last = [job for key in there if (job := job_store.last_of(conn, key, IntentKind.RECOVER)) is not None]

        def begin(service_id: str) -> Submitted:
            return self.restore(service_id, to="", backup="", who=who, why=why)

        return one_after_another(there, last, since=record.lost.at, at_once=at_once, begin=begin)

    def _deciding(self, service_id: str, *, to: str, backup: str, who: str, why: str) -> Decide:
        with self._works.db.read() as conn:
            service = services.get(conn, service_id)
            if service is None:
                raise NotFound(f"there is no service {service_id}", service_id=service_id)
            record = store.get(conn, service.node)
            picked: Backup | Refusal = restoring.pick(
                backups.of_service(conn, service_id), backups.generations(conn, service_id), backup
            )

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            lost = None if record is None else record.lost
            return recovering.decide(service, picked, lost, to=to, who=who, why=why, terms=terms, now=now)

        return decide

    # -- where it comes back -------------------------------------------------------------------------------------------------

    def found(self, name: str, *, who: str, why: str, beside: Beside[Found] = nothing_beside) -> Found:
        """The node is there again, and is used again: drained, for somebody is to look at it first. What runs elsewhere by now is
        held and off there before that; nothing is wiped.

        Raises WrongState where it is not lost, or a service of it is being restored elsewhere; what the node raises where it does
        not answer.
        """
        node = self._require(name)
        with self._works.db.read() as conn:
            record = store.get(conn, name)
            if record is None or record.lost is None:
                raise WrongState(f"node {name} is not lost", hint="`orchestrator node list` shows the state of each")
            self._require_none_under_way(conn, name)
            there = store.services_on(conn, name)
        kept_off, freed = ((), ()) if node.kind != NodeKind.HYPERVISOR else self._settle(name)
        try:
            found = self._take_back(record, there, kept_off, freed, who=who, why=why, beside=beside)
        except OrchestratorError:
            if freed:  # one of them may be on its way to another node by now
                self._keep_off(name)
            raise
        return found

    def _take_back(
        self,
        record: NodeRecord,
        there: tuple[str, ...],
        kept_off: tuple[str, ...],
        freed: tuple[str, ...],
        *,
        who: str,
        why: str,
        beside: Beside[Found],
    ) -> Found:
        """``there``: the services that were on it when its guests were looked at."""
        name = record.name
        with self._works.db.write() as conn:
            self._require_none_under_way(conn, name)
            if store.services_on(conn, name) != there or (store.get(conn, name) or record).lost != record.lost:
                raise WrongState(f"what is on node {name} has changed while its guests were looked at", hint="ask again")
            now = self._works.clock.now()
            store.set_found(conn, name)
            store.set_drained(conn, name, who=who, why=f"found again: {why}", now=now)
            for service_id in store.services_on(conn, name):
                self._endings.let_on(conn, service_id)
            statement = "" if record.lost is None else record.lost.statement
            facts = {"node": name, "why": why, "statement": statement, "kept_off": list(kept_off), "freed": list(freed)}
            audit.append(conn, at=now, who=who, what="node found", facts=facts)
            found = Found(record=store.get(conn, name) or record, kept_off=kept_off, freed=freed)
            beside(conn, found)
        return found

    def once(self) -> None:
        """Where a lost node answers after all, keep off what runs elsewhere by now. It is not used otherwise."""
        with self._works.db.read() as conn:
            back = [record.name for record in store.list_all(conn) if record.lost is not None and record.up]
        for name in back:
            if name in self._declared and self._declared[name].kind == NodeKind.HYPERVISOR:
                try:
                    off = self._keep_off(name)
                except OrchestratorError as exc:
                    _log.error("node %s is lost and answers, and its guests cannot be kept off: %s", name, exc.message)
                    continue
                _log.error("node %s is lost and answers; kept off there: %s", name, ", ".join(off) or "nothing has to be")

    def _settle(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The guests that are kept off there, and those that were held by what is over, and go on there after all."""
        kept_off = self._keep_off(name)
        freed = []
        for guest, service in self._ours(name):
            if guest.mark is None or guest.name in kept_off or service is None or (service.stopped and not guest.mark.holds):
                continue
            holds = self._holding(guest.mark, service)
            if let_go(self._reach(name), guest, guest.mark, holds, seconds=ACT_SECONDS):
                freed.append(guest.name)
        return kept_off, tuple(freed)

    def _holding(self, mark: GuestMark, service: Service) -> tuple[str, ...]:
        """What holds the guest on. A job that was taken back while the node was lost could not lift its own hold there; one that
        suspends it waits until the node is found, and finds it held then."""
        kept = set(mark.holds) - {ELSEWHERE}
        if service.state == Lifecycle.ACTIVE:
            with self._works.db.read() as conn:
                kept = kept if job_store.unfinished(conn, service.id) else kept & _REASONS
        return tuple(sorted(kept | set(service.stop_reasons)))

    def _keep_off(self, name: str) -> tuple[str, ...]:
        """Hold and switch off each guest there whose service goes on elsewhere, or is about to. Nothing of it is removed."""
        hypervisor = self._reach(name)
        with self._works.db.read() as conn:
            leaving = {job.service_id for job in _recovering(conn, name)}
        off = []
        for guest, service in self._ours(name):
            if guest.mark is None or service is None or (service.node == name and service.id not in leaving):
                continue
            keep_off(hypervisor, guest, guest.mark, ELSEWHERE, seconds=ACT_SECONDS)
            off.append(guest.name)
        return tuple(off)

    def _ours(self, name: str) -> list[tuple[GuestFacts, Service | None]]:
        guests = [each for each in self._reach(name).guests(deadline=ACT_SECONDS) if each.mark is not None]
        with self._works.db.read() as conn:
            return [(each, services.get(conn, each.mark.service_id)) for each in guests if each.mark is not None]

    def _require_none_under_way(self, conn: Connection, name: str) -> None:
        jobs = _recovering(conn, name)
        if jobs:
            named = ", ".join(f"job {job.id} of {job.service_id}" for job in jobs)
            hint = "wait for their end, or cancel them"
            raise WrongState(f"services of {name} are being restored elsewhere: {named}", hint=hint)

    def _require(self, name: str) -> Node:
        if name not in self._declared:
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")
        return self._declared[name]


def _recovering(conn: Connection, name: str) -> list[Job]:
    """Jobs, not over, that restore services of the node elsewhere."""
    open_jobs = [job for key in store.services_on(conn, name) for job in job_store.unfinished(conn, key)]
    return [job for job in open_jobs if job.intent == IntentKind.RECOVER]


def _released(service_id: str, service: Service | None, facts: ServiceFacts) -> Released:
    made: Any = facts.values.get("disk")
    disk: Mapping[str, Any] = made.get("volume") or {} if isinstance(made, Mapping) else {}
    return Released(
        service_id=service_id,
        state="" if service is None else service.state.value,
        guest=adopted_name(facts.values) or guest_name(service_id),
        disk=str(disk.get("path", "")),
    )
