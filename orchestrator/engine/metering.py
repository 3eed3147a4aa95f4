"""Reads from every hosting node what its accounts use, keeps that, and tells billing of what is nearly used up."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from orchestrator.domain import account_settings, accounts, charges, usage
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.plans import HostingPlan, Node, NodeKind
from orchestrator.domain.services import Service
from orchestrator.domain.usage import Metered, Of, Share
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk
from orchestrator.engine.settings import Catalog
from orchestrator.engine.telling import tell
from orchestrator.ports.hosting_node import AccountUsage
from orchestrator.store import account_usage, services
from orchestrator.store import jobs as job_store
from orchestrator.store import nodes as node_store
from orchestrator.store.database import Connection

T = TypeVar("T")
_log = logging.getLogger(__name__)
_DEADLINE_SECONDS = 60.0
# So many accounts in one transaction.
_PIECE = 100


class Metering:
    """``once`` may be called at any time; how often a message is told does not depend on it."""

    def __init__(self, works: Works, catalog: Catalog, *, clerk: Clerk) -> None:
        self._works = works
        self._clerk = clerk
        self._catalog = catalog

    def once(self) -> int:
        """Read every hosting node that is enrolled; how many accounts were metered. A node that does not answer is left out."""
        hosts = enrolled(self._works, self._catalog, NodeKind.HOSTING)
        if not hosts:
            return 0
        metered = sum(self._read(node) for node in hosts if not self._works.halting.is_set())
        with self._works.db.write() as conn:
            account_usage.drop_erased(conn)
        return metered

    def _read(self, node: Node) -> int:
        try:
            found = self._works.ports.hosting(node.name).usage((), deadline=_DEADLINE_SECONDS)
        except OrchestratorError as exc:
            _log.warning("what the accounts on %s use is not known: %s", node.name, exc.message)
            return 0
        now = self._works.clock.now()
        return sum(self._keep(node, piece, now) for piece in pieces(found))

    def _keep(self, node: Node, found: Sequence[AccountUsage], now: datetime) -> int:
        kept = 0
        with self._works.db.write() as conn:
            owners = account_usage.services_by_uid(conn, [accounts.uid_of(each.user) for each in found])
            for each in found:
                service = services.get(conn, owners.get(accounts.uid_of(each.user), ""))
                if service is not None and service.node == node.name:
                    self._note(conn, service, node, each, now)
                    kept += 1
        return kept

    def _note(self, conn: Connection, service: Service, node: Node, read: AccountUsage, now: datetime) -> None:
        before = account_usage.get(conn, service.id)
        metered = Metered(
            service_id=service.id,
            node=node.name,
            at=now,
            bytes=read.bytes,
            inodes=read.inodes,
            database_bytes=_databases(read, before),
            cpu_seconds=usage.cpu_total(before, read.cpu_seconds),
            cpu_reading=read.cpu_seconds,
            traffic=read.traffic,
            told={} if before is None else before.told,
        )
        plan = self._catalog.plans.get(service.plan)
        if isinstance(plan, HostingPlan):
            month = usage.month_of(now, self._catalog.calendar)
            found = usage.shares(metered, plan, month)
            metered, tells = usage.notices(metered, found, month)
            tell(conn, service, tells, now=now)
            self._fill(conn, service, found, now)
            note_traffic(conn, service, read.traffic, catalog=self._catalog, now=now)
        account_usage.put(conn, metered)

    def _fill(self, conn: Connection, service: Service, found: Sequence[Share], now: datetime) -> None:
        """Databases of which nobody knows how much they may grow: at the end of the disk they take no more, and below it again.

        A job that is to see to it is waited for; one that failed is made anew at the next reading.
        """
        disk = next(share for share in found if share.of == Of.DISK)
        full = usage.databases_full(disk, now=service.databases_full)
        if full == service.databases_full:
            return
        under_way = job_store.unfinished(conn, service.id)
        if any(job.intent == IntentKind.SET_ACCOUNT and account_settings.FULL in job.arguments for job in under_way):
            return
        received = account_settings.fill(service, full=full, terms=self._catalog.terms_of(service))
        try:
            self._clerk.carry(conn, service, received, now=now)
        except OrchestratorError as exc:
            _log.warning("the databases of %s are not seen to: %s", service.id, exc.message)


def _databases(read: AccountUsage, before: Metered | None) -> int:
    """Where MariaDB cannot be asked, what it said last."""
    if read.database_bytes is not None:
        return read.database_bytes
    return 0 if before is None else before.database_bytes


def enrolled(works: Works, catalog: Catalog, kind: NodeKind) -> list[Node]:
    """The nodes of the kind that can be asked."""
    with works.db.read() as conn:
        there = (record for record in node_store.list_all(conn) if record.lost is None)
        known = {record.name for record in there if record.enrolled_at is not None}
    return [node for node in catalog.nodes if node.kind == kind and node.name in known]


def note_traffic(conn: Connection, service: Service, months: Mapping[str, int], *, catalog: Catalog, now: datetime) -> None:
    """What was counted of the traffic is charged as what billing tells of it: when its month has ended."""
    kept = services.get(conn, service.id) or service
    noted = charges.with_metered(kept, months, terms=catalog.terms_of(kept), now=now)
    if noted != kept:
        services.put(conn, noted, now=now, before=kept)


def pieces(found: Sequence[T]) -> Iterator[Sequence[T]]:
    """So many at a time as share a transaction."""
    for at in range(0, len(found), _PIECE):
        yield found[at : at + _PIECE]
