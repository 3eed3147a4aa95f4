"""Does what falls due: each deadline once, in one transaction with what follows from it.

The deadlines of a service are computed anew from its record at each look; the store knows only when to look. A turn that was
missed is caught up: what is late is done in its order, and nothing is passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain import archives, decisions
from orchestrator.domain.deadlines import Action, Deadline, deadlines, next_due, pending
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.jobs import decided_at
from orchestrator.domain.policies import Policy
from orchestrator.domain.services import Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk
from orchestrator.engine.confirming import Confirming
from orchestrator.engine.guard import Guard
from orchestrator.engine.looks import pass_over
from orchestrator.engine.overtaking import comes_back
from orchestrator.engine.settings import Catalog
from orchestrator.store import audit, evidence, outbox, services, settings
from orchestrator.store import deadlines as store
from orchestrator.store import jobs as job_store
from orchestrator.store.database import Connection

_log = logging.getLogger(__name__)
BATCH = 200
# A deadline that waits for something, or whose job failed, is looked at again after so long; failures double it.
AGAIN = timedelta(minutes=10)
AGAIN_CEILING = timedelta(hours=6)


class Due:
    """One turn is ``once``; it may be called at any time and repeated."""

    def __init__(self, works: Works, *, clerk: Clerk, confirming: Confirming, guard: Guard, catalog: Catalog) -> None:
        self._works = works
        self._clerk = clerk
        self._confirming = confirming
        self._guard = guard
        self._catalog = catalog
        self._first = True

    def once(self) -> int:
        """Look at the services whose time has come, a batch at a time; returns how many deadlines were seen to."""
        now = self._works.clock.now()
        self._guard.look()
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
            seen += sum(self._guarded(service_id, now) for service_id in acting if not self._works.halting.is_set())
            full = len(waiting) == BATCH
            if full:
                self._guard.look()  # a long turn is no time in which nobody was here
        return seen

    def _guarded(self, service_id: str, now: datetime) -> int:
        """One service whose deadlines cannot be seen to does not keep the others from theirs."""
        try:
            with self._works.db.write() as conn:
                seen = self._look(conn, service_id, now)
                self._works.at("due/before")
            return seen
        except OrchestratorError as exc:
            _log.error("the deadlines of service %s could not be seen to: %s", service_id, exc)
        except Exception:  # noqa: BLE001 - the rim of one service: what nobody foresaw is not to keep the others from their turn
            _log.exception("the deadlines of service %s could not be seen to", service_id)
        with self._works.db.write() as conn:
            store.look_again(conn, service_id, now + AGAIN)
        return 0

    def _look(self, conn: Connection, service_id: str, now: datetime) -> int:
        service = services.get(conn, service_id)
        if service is None:
            return 0
        if self._confirming.call_off_stale(conn, service_id):
            service = services.get(conn, service_id) or service
        terms = self._catalog.terms_of(service)
        known = store.seen_to(conn, [service_id])[service_id]
        left = pending(deadlines(service, terms, told=known.told), known.settled)
        tried = store.attempts(conn, service_id)
        store.look_again(conn, service_id, next_due(left, now=now, again=AGAIN))
        seen = 0
        for deadline in left:
            if deadline.action.marks or deadline.at > now or deadline.waits:
                continue
            if self._too_early(conn, service, deadline, tried, now):
                continue
            seen += 1
            if deadline.action.tells:
                self._tell(conn, service, terms, deadline, now)
            else:
                # It changes the record, and with it what else falls due: that is looked at in the next turn.
                self._act(conn, service, terms, deadline, now)
                break
        return seen

    def _too_early(
        self,
        conn: Connection,
        service: Service,
        deadline: Deadline,
        tried: Mapping[tuple[Action, str], tuple[int, datetime]],
        now: datetime,
    ) -> bool:
        """A job of its kind is under way, it failed a short while ago, or nothing is to be destroyed now."""
        if deadline.action.destroys and settings.get(conn, settings.TERMINATIONS_WAIT) is not None:
            return True
        if deadline.action == Action.ERASE and self._comes_back(conn, service):
            return True
        wanted = deadline.action.intent
        if wanted is not None and any(job.intent == wanted for job in job_store.unfinished(conn, service.id)):
            return True
        times, last = tried.get((deadline.action, deadline.occurrence), (0, now))
        return times > 0 and now < last + retry_after(times)

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
