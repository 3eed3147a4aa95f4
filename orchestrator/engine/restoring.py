"""Restores as they are asked for: the job, what it counts as and what it costs, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from orchestrator.domain.backups import allowance, parts, restoring
from orchestrator.domain.backups.allowance import Granted
from orchestrator.domain.backups.restoring import Asked
from orchestrator.domain.backups.words import Backup, Restore, RestoreState
from orchestrator.domain.errors import NotFound, OrchestratorError, Refused, WrongState
from orchestrator.domain.intents import Refusal
from orchestrator.domain.plans import PlanKind
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.received import Received
from orchestrator.domain.services import Service, ServiceFacts
from orchestrator.domain.sizes import compared
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Submitted
from orchestrator.engine.settings import Beside, Catalog
from orchestrator.store import backups, services
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

ROOM_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What becomes of a restore: its job, the backup it restores, and how it counts. ``kind``: of its service. ``workflow`` and
    ``room``, whether there is room for what it writes aside, in a sentence: only of a dry run."""

    submitted: Submitted
    backup: Backup
    granted: Granted
    kind: str
    workflow: Workflow | None = None
    room: str = ""


class Restoring:
    """Raises what the store raises; a refusal is raised as Refused before anything is written."""

    def __init__(self, works: Works, *, clerk: Clerk, catalog: Catalog) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog

    def restore(self, service_id: str, asked: Asked, *, who: str, beside: Beside[Restored]) -> Restored:
        """Make its job, count it, and charge what it costs. One that was asked for before, and counts, has its job already.

        Raises NotFound, Refused, WrongState, StoreUnavailable.
        """
        with self._works.db.write() as conn:
            before = self._before(conn, service_id, asked)
            if before is not None:
                beside(conn, before)
                return before
            backup = _picked(conn, service_id, asked)
        told: list[Restored] = []

        def count(conn: Connection, submitted: Submitted) -> None:
            if _picked(conn, service_id, asked) != backup or self._before(conn, service_id, asked) is not None:
                raise WrongState("what is known of its backups has changed in this moment", hint="ask again")
            assert isinstance(backup, Backup)  # a refusal was raised by the decision
            granted = self._granted(conn, service_id, asked, backup, who=who)
            backups.count_restore(conn, granted.restore, granted.charge, job_id=submitted.job_id, now=self._works.clock.now())
            counted = replace(granted, restore=replace(granted.restore, job_id=submitted.job_id))
            kind = self._kind(conn, service_id)
            told.append(Restored(submitted=submitted, backup=backup, granted=counted, kind=kind))
            beside(conn, told[-1])

        facts = {"backup": "" if isinstance(backup, Refusal) else backup.id, "beside": asked.beside, "pay": asked.pay}
        if asked.parts.named:
            facts["parts"] = asdict(asked.parts)
        self._clerk.act(
            service_id,
            _deciding(asked, backup, who=who),
            who=who,
            what="restore",
            facts=facts | {"why": asked.why, "request": asked.request_id},
            beside=count,
        )
        return told[-1]

    def would(self, service_id: str, asked: Asked, *, who: str) -> Restored:
        """What it would restore, how it would count and what it would cost; changes nothing. Raises as ``restore``."""
        with self._works.db.read() as conn:
            backup = _picked(conn, service_id, asked)
        workflow = self._clerk.dry_run(service_id, _deciding(asked, backup, who=who))
        assert isinstance(backup, Backup)  # a refusal was raised by the decision
        with self._works.db.read() as conn:
            granted = self._granted(conn, service_id, asked, backup, who=who)
            facts, kind = services.facts(conn, service_id), self._kind(conn, service_id)
        told = Restored(submitted=Submitted(job_id="", detail=""), backup=backup, granted=granted, kind=kind, workflow=workflow)
        if kind == PlanKind.HOSTING:
            return replace(told, room=self._room_on_disk(facts.node, backup.size_bytes) if asked.beside else "")
        return replace(told, room=self._room_in_pool(facts))

    def _kind(self, conn: Connection, service_id: str) -> str:
        service = services.get(conn, service_id)
        return "" if service is None else self._catalog.terms_of(service).kind

    def _room_in_pool(self, facts: ServiceFacts) -> str:
        """Whether the pool of its node has room for a second disk, as it is now; '' where it has no disk."""
        disk = facts.values.get("disk")
        if not isinstance(disk, dict):
            return ""
        node = self._works.ports.hypervisor
        return _room(
            f"the pool of {facts.node}",
            needed=int(disk["volume"]["capacity_bytes"]),
            free=lambda: node(facts.node).node_facts(deadline=ROOM_SECONDS).pool_available_bytes,
        )

    def _room_on_disk(self, node: str, needed: int) -> str:
        """Whether the node of an account has room for it beside its home."""
        host = self._works.ports.hosting
        return _room(node, needed=needed, free=lambda: host(node).doctor(deadline=ROOM_SECONDS).disk_free_bytes)

    def _before(self, conn: Connection, service_id: str, asked: Asked) -> Restored | None:
        """The same request, where it was granted before and counts."""
        known = next((each for each in backups.restores_of(conn, service_id) if each.id == asked.request_id), None)
        if known is None or known.state != RestoreState.COUNTED:
            return None
        found = next((each for each in backups.of_service(conn, service_id) if each.snapshot_id == known.snapshot_id), None)
        kind = self._kind(conn, service_id)
        wanted = parts.arguments(asked.parts, kind=kind, beside=asked.beside)
        same = parts.same(job_store.get(conn, known.job_id).arguments, wanted)
        if found is None or asked.backup_id not in ("", found.id) or not same:
            raise Refused(
                f"restore refused: {asked.request_id} was asked for before, and of something else [{allowance.RULE_REQUESTS}]",
                rule=allowance.RULE_REQUESTS,
            )
        said = Submitted(job_id=known.job_id, detail="it was asked for before: it counts once")
        return Restored(submitted=said, backup=found, granted=Granted(restore=known, charge=None, why=said.detail), kind=kind)

    def _granted(self, conn: Connection, service_id: str, asked: Asked, backup: Backup, *, who: str) -> Granted:
        service = services.get(conn, service_id)
        if service is None:
            raise NotFound(f"there is no service {service_id}", service_id=service_id)
        known: tuple[Restore, ...] = backups.restores_of(conn, service_id)
        request = restoring.request_of(asked, backup, who=who)
        terms = self._catalog.terms_of(service)
        granted = allowance.ask(service, request, known, terms=terms, now=self._works.clock.now())
        if isinstance(granted, Refusal):
            raise Refused(f"{granted.reason} [{granted.rule}]", rule=granted.rule)
        return granted


def _room(where: str, *, needed: int, free: Callable[[], int]) -> str:
    try:
        there = free()
    except OrchestratorError as exc:
        return f"whether {where} has room is not known: {exc.message}"
    words = "has room for it" if there >= needed else "has NO room for it: the restore would be refused"
    return "{} {} ({} are needed, {} are free)".format(where, words, *reversed(compared(there, needed)))


def _picked(conn: Connection, service_id: str, asked: Asked) -> Backup | Refusal:
    if services.get(conn, service_id) is None:
        raise NotFound(f"there is no service {service_id}", service_id=service_id)
    known = backups.of_service(conn, service_id)
    return restoring.pick(known, backups.generations(conn, service_id), asked.backup_id)


def _deciding(asked: Asked, backup: Backup | Refusal, *, who: str) -> Callable[[Service, Terms, datetime], Received]:
    def decide(service: Service, terms: Terms, _now: datetime) -> Received:
        return restoring.decide(service, asked, backup, who=who, terms=terms)

    return decide
