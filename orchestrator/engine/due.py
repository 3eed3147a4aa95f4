"""Does what falls due: each deadline once, in one transaction with what follows from it.

The deadlines of a service are computed anew from its record at each look; the store knows only when to look. A turn that was
missed is caught up: what is late is done in its order, and nothing is passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain import archives, decisions
from orchestrator.domain.deadlines import Action, Deadline, next_due
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import Job, decided_at
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.announcing import Announcing
from orchestrator.engine.clerk import Clerk
from orchestrator.engine.confirming import Confirming
from orchestrator.engine.guard import Guard
from orchestrator.engine.looks import left_of, pass_over
from orchestrator.engine.overtaking import comes_back
from orchestrator.engine.settings import Catalog
from orchestrator.engine.turns import Turns
from orchestrator.store import audit, evidence, outbox, services, settings
from orchestrator.store import deadlines as store
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection
from orchestrator.store.deadlines import Seen

_log = logging.getLogger(__name__)
BATCH = 200
# So many of those for which there is something to do share a transaction: not one commit for each, and no long wait for others.
GROUP = 25
# A deadline that waits for something, or whose job failed, is looked at again after so long; failures double it.
AGAIN = timedelta(minutes=10)
AGAIN_CEILING = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class _Found:
    """A service as it stands when it is looked at: read once, in the transaction that acts on it. ``jobs``: those not over."""

    service: Service
    seen: Seen
    jobs: tuple[Job, ...]


class Due:
    """One turn is ``once``; it may be called at any time and repeated."""

    def __init__(
        self,
        works: Works,
        *,
        clerk: Clerk,
        confirming: Confirming,
        guard: Guard,
        announcing: Announcing,
        catalog: Catalog,
    ) -> None:
        self._works = works
        self._clerk = clerk
        self._confirming = confirming
        self._guard = guard
        self._announcing = announcing
        self._catalog = catalog
        self._first = True

    def once(self) -> int:
        """Look at the services whose time has come, a batch at a time; returns how many deadlines were seen to."""
        now = self._works.clock.now()
        self._guard.look()
        self._announcing.look()
        if self._first:  # policies, plans and the calendar are read at the start, and may be others than before
            with self._works.db.write() as conn:
                store.look_at_all(conn)
            self._first = False
        with self._works.db.write() as conn:
            self._confirming.remind(conn, now=now)
        seen, full = 0, True
        while full and not self._works.halting.is_set():
            with self._works.db.read() as conn:
                waiting = store.due(conn, now=now, limit=BATCH)
            acting = pass_over(self._works.db, self._catalog, waiting, now=now, again=AGAIN)
            groups = (acting[start : start + GROUP] for start in range(0, len(acting), GROUP))
            seen += sum(self._guarded(group, now) for group in groups if not self._works.halting.is_set())
            full = len(waiting) == BATCH
            if full:
                self._guard.look()  # a long turn is no time in which nobody was here
        return seen

    def _guarded(self, group: Sequence[str], now: datetime) -> int:
        """One service whose deadlines cannot be seen to does not keep the others from theirs: nothing is written then of those
        that it shares a transaction with, and each has its own."""
        try:
            with self._works.db.write() as conn:
                return self._look(conn, group, now)
        except Exception as exc:  # noqa: BLE001 - the rim of one service: what nobody foresaw is not to keep the others from their turn
            if len(group) == 1:
                self._put_off(group[0], exc, now)
                return 0
        return sum(self._guarded((service_id,), now) for service_id in group if not self._works.halting.is_set())

    def _put_off(self, service_id: str, problem: Exception, now: datetime) -> None:
        foreseen = isinstance(problem, OrchestratorError)
        words = "the deadlines of service %s could not be seen to: %s"
        _log.error(words, service_id, problem, exc_info=None if foreseen else problem)
        with self._works.db.write() as conn:
            store.look_again(conn, service_id, now + AGAIN)

    def _look(self, conn: Connection, group: Sequence[str], now: datetime) -> int:
        """How many deadlines of these services were seen to. What is written of each stands or falls with all of it."""
        found = self._found(conn, group)
        stale = [
            service_id
            for service_id, each in found.items()
            if self._confirming.call_off_stale(conn, each.service, each.jobs, told=each.seen.told)
        ]
        found |= self._found(conn, stale)
        left = {service_id: left_of(each.service, self._catalog, each.seen) for service_id, each in found.items()}
        # Before anything is done: whose record that changes is looked at in the next turn.
        store.look_again_all(conn, {key: next_due(each, now=now, again=AGAIN) for key, each in left.items()})
        seen, turns = 0, Turns(conn)
        for service_id in group:  # in their order: the longest overdue first
            if service_id in found:
                seen += self._see_to(conn, found[service_id], left[service_id], now, turns=turns)
            self._works.at("due/before")
        return seen

    def _see_to(self, conn: Connection, found: _Found, left: Iterable[Deadline], now: datetime, *, turns: Turns) -> int:
        service, terms = found.service, self._catalog.terms_of(found.service)
        seen = 0
        for deadline in left:
            if deadline.action.marks or deadline.at > now or deadline.waits:
                continue
            if self._too_early(conn, found, deadline, now):
                continue
            if deadline.action == Action.BACKUP and not turns.comes(service, terms, now=now):
                continue
            seen += 1
            if deadline.action.tells:
                self._tell(conn, service, terms, deadline, now)
            else:
                # It changes the record, and with it what else falls due: that is looked at in the next turn.
                self._act(conn, service, terms, deadline, now)
                break
        return seen

    def _found(self, conn: Connection, service_ids: Sequence[str]) -> dict[str, _Found]:
        if not service_ids:
            return {}
        seen, jobs = store.seen_to(conn, service_ids), job_store.unfinished_of(conn, service_ids)
        found = services.several(conn, service_ids)
        return {service.id: _Found(service, seen[service.id], jobs[service.id]) for service in found}

    def _too_early(self, conn: Connection, found: _Found, deadline: Deadline, now: datetime) -> bool:
        """A job of its kind is under way, it failed a short while ago, or nothing is to be destroyed now."""
        if deadline.action.destroys and settings.get(conn, settings.TERMINATIONS_WAIT) is not None:
            return True
        if deadline.action == Action.ERASE and self._comes_back(conn, found.service):
            return True
        wanted = deadline.action.intent
        if wanted is not None and any(job.intent == wanted for job in found.jobs):
            return True
        times, last = found.seen.tried.get((deadline.action, deadline.occurrence), (0, now))
        # A try that is dated later than now says nothing: the clock was ahead then.
        return times > 0 and last <= now < last + retry_after(times)

    def _comes_back(self, conn: Connection, service: Service) -> bool:
        """A job brings the archived service back, or is to: it was paid for while it was terminated, too late to stop that."""
        if comes_back(conn, service.id):
            return True
        ended = job_store.last_done(conn, service.id, IntentKind.TERMINATE)
        if ended is None or not archives.settled(service, since=ended.created_at):
            return False
        return archives.paid_meanwhile(service, self._catalog.terms_of(service), payments=decided_at(ended)) is not None

    def _tell(self, conn: Connection, service: Service, terms: Terms, deadline: Deadline, now: datetime) -> None:
        message_id = message_id_of(service, deadline)
        files = [evidence.get(conn, service.id, sha256)[1].told() for sha256 in deadline.evidence]
        shown: dict[str, Any] = {"evidence": files} if files else {}
        outbox.add(
            conn,
            message_id=message_id,
            kind=f"notice.{deadline.action}",
            service_id=service.id,
            data={"service_id": service.id, "client_id": service.client_id, **story(deadline, terms.policy), **shown},
            now=now,
        )
        store.note(conn, service.id, deadline.action, deadline.occurrence, now=now, message_id=message_id)
        self._audit(conn, service, terms, deadline, now=now, facts={"message_id": message_id})

    def _act(self, conn: Connection, service: Service, terms: Terms, deadline: Deadline, now: datetime) -> None:
        received = decisions.fall_due(deadline, service, terms=terms, now=now)
        received, waits = self._confirming.prepared(received, deadline, asks=_asks(deadline, terms), now=now)
        job = self._clerk.carry(conn, service, received, now=now, waits=waits)
        if job is not None:
            self._confirming.ask(conn, job, service, deadline, terms, now=now)
        job_id, decision = job.id if job else "", received.decision
        # What was charged is done: billing is told of it, and the charge has its message's id.
        charge_id = received.charges[0].id if received.charges else ""
        store.note(conn, service.id, deadline.action, deadline.occurrence, now=now, job_id=job_id, message_id=charge_id)
        outcome = {"decided": type(decision).__name__.lower(), "detail": decision.reason}
        self._audit(conn, service, terms, deadline, now=now, job_id=job_id, facts=outcome)

    def _audit(
        self,
        conn: Connection,
        service: Service,
        terms: Terms,
        deadline: Deadline,
        *,
        now: datetime,
        job_id: str = "",
        facts: Mapping[str, Any],
    ) -> None:
        audit.append(
            conn,
            at=now,
            who=f"policy {terms.policy.name}",
            what=f"deadline {deadline.action}",
            service_id=service.id,
            job_id=job_id,
            facts={**story(deadline, terms.policy), **facts},
        )


def _asks(deadline: Deadline, terms: Terms) -> str:
    """Why a person has to agree, whoever else does."""
    return f"the policy says 'may': {terms.policy.name}, {deadline.clause}" if deadline.asks else ""


def retry_after(times: int) -> timedelta:
    """How long a deadline that was tried so often without success is left alone."""
    return min(AGAIN * (1 << min(times - 1, 10)), AGAIN_CEILING)


def message_id_of(service: Service, deadline: Deadline) -> str:
    """The id of the message that tells of it: one word that goes into a URL and a command line as it is."""
    return f"{service.id}.{deadline.action}.{deadline.occurrence}".replace("/", ".").replace(" ", "-")


def story(deadline: Deadline, policy: Policy) -> dict[str, Any]:
    """The deadline as it is told, in an audit row or to billing."""
    return {
        "action": deadline.action.value,
        "at": deadline.at.isoformat(),
        "reason": deadline.reason,
        "policy": policy.name,
        "clause": deadline.clause,
        "occurrence": deadline.occurrence,
    }
