"""Summaries over many rows, for lists and metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from orchestrator.domain.intents import JobState
from orchestrator.domain.services import Lifecycle
from orchestrator.store import settings
from orchestrator.store.database import Connection
from orchestrator.store.machine_tables import machines
from orchestrator.store.settings import Freeze, TerminationsWait
from orchestrator.store.tables import events, holds, jobs, outbox, services

# Of services that are named in a sentence.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How much waits for a person: jobs by why they wait, events on the dead-letter list, messages that
    billing did not take, and the freeze in force, and what keeps deadlines from terminating, if any."""

    approval: int
    operator: int
    dead_letters: int
    dead_messages: int
    freeze: Freeze | None
    terminations: TerminationsWait | None


def waiting(conn: Connection) -> Waiting:
    """What waits for a person at this moment."""

    def rows(table: sa.Table, *wanted: sa.ColumnElement[bool]) -> int:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table).where(*wanted)).scalar_one())

    return Waiting(
        approval=rows(jobs, jobs.c.state == JobState.WAITING_APPROVAL.value),
        operator=rows(jobs, jobs.c.state == JobState.NEEDS_OPERATOR.value),
        dead_letters=rows(events, events.c.outcome == "dead"),
        dead_messages=rows(outbox, outbox.c.dead_at.is_not(None)),
        freeze=settings.freeze(conn),
        terminations=settings.terminations_wait(conn),
    )


def nodes_of(conn: Connection, service_ids: Sequence[str]) -> dict[str, str]:
    """On which node each of these services is now; '' = on none. One query for a whole page."""
    query = sa.select(services.c.id, services.c.node).where(services.c.id.in_(service_ids))
    return {row.id: row.node for row in conn.execute(query)}


def undeclared(conn: Connection, declared: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Nodes and machines that are not ``declared`` and have services, or bear their data: whose, each by name."""
    gone, known = (Lifecycle.ERASED.value, Lifecycle.CANCELLED.value), ("", *declared)
    placed = sa.select(services.c.node, services.c.id).where(services.c.node.not_in(known), services.c.state.not_in(gone))
    borne = sa.select(machines.c.name, machines.c.service_id)
    borne = borne.where(machines.c.service_id != "", machines.c.name.not_in(known))
    found: dict[str, set[str]] = {}
    for name, service_id in (*conn.execute(placed), *conn.execute(borne)):
        found.setdefault(name, set()).add(service_id)
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def some_of(service_ids: Sequence[str]) -> str:
    """The first few by name, and how many more there are."""
    more = f" and {len(service_ids) - _SHOWN} more" if len(service_ids) > _SHOWN else ""
    return ", ".join(service_ids[:_SHOWN]) + more


def holds_by_reason(conn: Connection) -> dict[tuple[str, str], int]:
    """How many services have a hold, by (reason, effect)."""
    query = sa.select(holds.c.reason, holds.c.effect, sa.func.count()).group_by(holds.c.reason, holds.c.effect)
    return {(reason, effect): int(number) for reason, effect, number in conn.execute(query)}
