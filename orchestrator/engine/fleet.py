"""What operators decide about nodes: taking one out of placement, putting it back, and moving away what is on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.domain.errors import ConfigError, NotFound, PreconditionError, WrongState
from orchestrator.domain.intents import IntentKind, JobState
from orchestrator.domain.jobs import Job
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Submitted
from orchestrator.engine.settings import Beside, Catalog, nothing_beside
from orchestrator.store import audit
from orchestrator.store import jobs as job_store
from orchestrator.store import nodes as store
from orchestrator.store.database import Connection
from orchestrator.store.nodes import NodeRecord

_ON_THE_MOVE = (JobState.QUEUED, JobState.RUNNING, JobState.UNDOING)
_NEEDS_SOMEBODY = (JobState.NEEDS_OPERATOR, JobState.WAITING_APPROVAL)
_FAILED = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """``moving``: the jobs that bring its services elsewhere now, by service, ``begun`` of them just now; ``waiting``: services
    whose turn has not come; ``staying``: those that cannot be, and why."""

    moving: dict[str, str]
    begun: int
    waiting: tuple[str, ...]
    staying: dict[str, str]


class Command(Protocol):
    """``Engine.command``."""

    def __call__(
        self,
        kind: IntentKind,
        service_id: str,
        *,
        who: str,
        why: str,
        arguments: Mapping[str, object],
        beside: Beside[Submitted],
    ) -> Submitted: ...


class Fleet:
    """Each act is one transaction with its line in the audit. Raises NotFound for a node that is not declared."""

    def __init__(self, works: Works, *, catalog: Catalog, command: Command) -> None:
        self._works = works
        self._command = command
        self._declared = {node.name: node for node in catalog.nodes}

    def drain(self, name: str, *, who: str, why: str, beside: Beside[NodeRecord]) -> NodeRecord:
        """Nothing new is placed there from now on; what is there stays. One that is drained already keeps its first reason."""
        self._require(name)
        with self._works.db.write() as conn:
            record = store.get(conn, name) or NodeRecord(name=name)
            if record.drained_at is None:
                now = self._works.clock.now()
                store.set_drained(conn, name, who=who, why=why, now=now)
                audit.append(conn, at=now, who=who, what="node drained", facts={"node": name, "why": why})
            return self._told(conn, name, beside)

    def undrain(self, name: str, *, who: str, why: str, beside: Beside[NodeRecord]) -> NodeRecord:
        """It takes services again. One that is not drained stays as it is."""
        self._require(name)
        with self._works.db.write() as conn:
            record = store.get(conn, name)
            if record is not None and record.drained_at is not None:
                store.set_undrained(conn, name)
                facts = {"node": name, "why": why, "was": record.drained_why}
                audit.append(conn, at=self._works.clock.now(), who=who, what="node takes services again", facts=facts)
            return self._told(conn, name, beside)

    def evacuate(self, name: str, *, who: str, why: str, at_once: int) -> Emptied:
        """Move services of the node away until ``at_once`` are on the move; again for the next ones, and to see how far it is.

        Each is a command of its own, as if an operator had given it. One whose move failed since the node was drained stays until
        somebody has looked: its guest was switched off for it. Raises WrongState where the node takes services still.
        """
        self._require(name)
        with self._works.db.read() as conn:
            record = store.get(conn, name)
            if record is None or record.drained_at is None:
                raise WrongState(
                    f"the node {name} takes services still, and others would come after",
                    hint=f"orchestrator node drain {name} --why TEXT",
                )
            there = store.services_on(conn, name)
            moves = [job for service_id in there if (job := job_store.last_of(conn, service_id, IntentKind.MOVE)) is not None]

        def begin(service_id: str) -> Submitted:
            return self._command(IntentKind.MOVE, service_id, who=who, why=why, arguments={}, beside=nothing_beside)

        return one_after_another(there, moves, since=record.drained_at, at_once=at_once, begin=begin)

    def _told(self, conn: Connection, name: str, beside: Beside[NodeRecord]) -> NodeRecord:
        record = store.get(conn, name) or NodeRecord(name=name)
        beside(conn, record)
        return record

    def _require(self, name: str) -> None:
        if name not in self._declared:
            raise NotFound("there is no node of that name in nodes.yaml", hint="`orchestrator node list` shows all of them")


def one_after_another(
    there: Sequence[str], last: Sequence[Job], *, since: datetime, at_once: int, begin: Callable[[str], Submitted]
) -> Emptied:
    """Begin with services until ``at_once`` are under way. ``last``: the last job of each that has one. What failed since then
    stays until somebody has looked."""
    moving = {job.service_id: job.id for job in last if job.state in _ON_THE_MOVE}
    staying = {
        job.service_id: f"job {job.id} is {job.state}: {job.error}; orchestrator job retry {job.id}"
        for job in last
        if job.state in _FAILED and job.created_at >= since
    }
    staying |= {
        job.service_id: f"job {job.id} is {job.state}: {job.error or job.approval_reason}"
        for job in last
        if job.state in _NEEDS_SOMEBODY
    }
    waiting: list[str] = []
    begun = 0
    for service_id in there:
        if service_id in moving or service_id in staying:
            continue
        if len(moving) >= at_once:
            waiting.append(service_id)
            continue
        try:
            submitted = begin(service_id)
        except (PreconditionError, ConfigError) as exc:
            staying[service_id] = exc.message
            continue
        if submitted.job_id:
            moving[service_id] = submitted.job_id
            begun += 1
    return Emptied(moving=moving, begun=begun, waiting=tuple(waiting), staying=staying)
