"""What comes in: billing's events and operators' commands, each decided and written in one transaction. No driver is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from orchestrator.domain import decisions, personal, plan_changes
from orchestrator.domain.decisions import ANSWERS, GONE, PAYMENTS, Received
from orchestrator.domain.errors import (
    ConfigError,
    EventConflict,
    NoCapacity,
    NotFound,
    OrchestratorError,
    PreconditionError,
    RequestError,
    WrongState,
)
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.intents import IntentKind, Refusal
from orchestrator.domain.playbooks import Workflow
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms
from orchestrator.engine.acts import Works
from orchestrator.engine.clerk import Clerk, Submitted, once
from orchestrator.engine.confirming import Confirming
from orchestrator.engine.endings import Endings
from orchestrator.engine.leaving import call_off_ends
from orchestrator.engine.orders import Orders
from orchestrator.engine.overtaking import call_off, call_off_return, comes_back, counts_as_paid, overtaken
from orchestrator.engine.settings import Beside
from orchestrator.store import access, audit, commands, events, forgetting, outbox, services
from orchestrator.store.database import Connection
from orchestrator.store.events import EventRecord

# An event with one of these outcomes set nothing going (of a dead one the payment counts): it can be processed once more when
# its cause is mended.
REPLAYABLE = ("refused", "dead")
# What a payment ends as that counts.
COUNTED = ("accepted", "nothing", "stale", "dead")
# What makes an event one that cannot be processed: the state, the configuration or the order is not as it assumes.
DEAD = (PreconditionError, RequestError, ConfigError)
# Of these the configuration is the cause, and a replay the end.
DECLARED_OTHERWISE = (NotFound, NoCapacity, ConfigError)


class EventParser(Protocol):
    """Reads a stored body again, for a replay; the rim's own parser."""

    def __call__(self, body: bytes, *, source: str, message_id: str, sent_at: datetime) -> Event: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """``outcome``: accepted, duplicate, duplicate-command, stale, nothing, refused or dead. ``detail`` is a sentence."""

    outcome: str
    job_id: str = ""
    detail: str = ""


class Intake:
    """Turns what comes in into decisions and decisions into jobs."""

    def __init__(
        self,
        works: Works,
        *,
        orders: Orders,
        endings: Endings,
        clerk: Clerk,
        confirming: Confirming,
        parse: EventParser,
        wake: Callable[[], None],
    ) -> None:
        self._works = works
        self._orders = orders
        self._endings = endings
        self._clerk = clerk
        self._confirming = confirming
        self._parse = parse
        self._wake = wake

    # -- events ----------------------------------------

    def accept(self, event: Event, *, body: bytes, body_sha256: str) -> Acceptance:
        """Take an authentic event. Raises EventConflict for a known id with another body, StoreUnavailable."""
        now = self._works.clock.now()

        def change(conn: Connection) -> Acceptance:
            taken = self.take(conn, event, body=body, body_sha256=body_sha256, now=now)
            self._works.at("accept/before")
            return taken

        accepted = self._works.db.together(change)
        self._works.at("accept/after")
        self._wake()
        return accepted

    def take(self, conn: Connection, event: Event, *, body: bytes, body_sha256: str, now: datetime) -> Acceptance:
        """The same inside the transaction of whoever calls."""
        first = events.get(conn, event.source, event.id)
        if first is not None:
            return _again(first, body_sha256)
        record = EventRecord(
            source=event.source,
            id=event.id,
            body_sha256=body_sha256,
            body=body.decode("utf-8"),
            sent_at=event.sent_at,
            received_at=now,
            type=event.type.value,
            service_id=event.service_id,
            version=event.version,
            outcome="nothing",
        )
        return self._process(conn, event, seq=events.add(conn, record), now=now)

    def replay(self, seq: int, who: str, beside: Beside[Acceptance]) -> Acceptance:
        """Process a refused or dead event once more. Raises NotFound, and WrongState also where it is outdated."""
        now = self._works.clock.now()
        with self._works.db.write() as conn:
            record = events.by_seq(conn, seq)
            if record is None:
                raise NotFound(f"there is no event {seq}")
            if record.outcome not in REPLAYABLE:
                raise WrongState(f"event {seq} was processed ({record.outcome}): only refused and dead ones can be replayed")
            event = self._parse(record.body.encode("utf-8"), source=record.source, message_id=record.id, sent_at=record.sent_at)
            self._refuse_outdated(conn, record, event, now=now)
            events.count_replay(conn, seq)
            counted = record.outcome == "dead"
            accepted = self._process(conn, event, seq=seq, now=now, replayed_by=who, counted=counted)
            beside(conn, accepted)
        self._wake()
        return accepted

    def _refuse_outdated(self, conn: Connection, record: EventRecord, event: Event, *, now: datetime) -> None:
        """What billing asked for against a debt is not carried out once it was paid: raises WrongState."""
        if not decisions.against_debt(event):
            return
        hint = "if it is still wanted, billing sends a new command, or an operator gives it"
        if record.received_at < now - self._works.settings.keep_events:
            raise WrongState(f"event {record.seq} is so old that a payment since may be forgotten", hint=hint)
        after: int | None = None
        while True:
            page, after = events.list_page(conn, after=after, service_id=event.service_id)
            for later in page:
                if later.seq > record.seq and later.type in PAYMENTS and later.outcome in COUNTED:
                    raise WrongState(f"the service was paid (event {later.seq}) after event {record.seq} came", hint=hint)
            if after is None or after <= record.seq:
                return

    def _process(
        self, conn: Connection, event: Event, *, seq: int, now: datetime, replayed_by: str = "", counted: bool = False
    ) -> Acceptance:
        """Decide, then write: of an event that cannot be processed only its problem and its payment are kept.

        ``counted``: that was done with its payment before.
        """
        try:
            accepted = self._decide(conn, event, seq=seq, now=now, counted=counted)
        except DEAD as exc:
            service = services.get(conn, event.service_id)
            self._put(conn, service, service if counted else decisions.paid_only(event, service, now=now), now=now)
            accepted = Acceptance(outcome="dead", detail=_dead_letter(exc, seq))
        problem = accepted.detail if accepted.outcome in REPLAYABLE else ""
        came = {"outcome": accepted.outcome, "detail": accepted.detail, "job_id": accepted.job_id}
        events.set_outcome(conn, seq, problem=problem, **came)
        self._forget(conn, event, seq, outcome=accepted.outcome)
        facts = {"event": f"{event.source}/{event.id}", "type": event.type.value, "outcome": accepted.outcome}
        audit.append(
            conn,
            at=now,
            who=replayed_by or f"billing {event.source}",
            what="event replayed" if replayed_by else "event",
            service_id=event.service_id,
            job_id=accepted.job_id,
            facts=facts | {"detail": accepted.detail},
        )
        return accepted

    def _decide(self, conn: Connection, event: Event, *, seq: int, now: datetime, counted: bool) -> Acceptance:
        if event.type in ANSWERS:
            return self._answered(conn, event, seq=seq, now=now)
        service = services.get(conn, event.service_id)
        version = event.version if event.type.is_command else None
        if version is not None and commands.seen(conn, event.service_id, event.type.value, version):
            return Acceptance(outcome="duplicate-command", detail=f"version {version} of this command was taken before")
        terms = self._orders.terms(service, plan=event.plan)
        received = self._refused_change(event, service, terms) or once(
            conn, service, decisions.receive(event, service, now=now, counted=counted, terms=terms)
        )
        decision = received.decision
        job = self._clerk.carry(conn, service, received, now=now)
        if isinstance(decision, Refusal):
            return Acceptance(outcome="refused", detail=f"{decision.reason} [{decision.rule}]")
        if version is not None and not received.stale:
            commands.add(conn, event.service_id, event.type.value, version=version, source=event.source, event_id=event.id)
        self._tell_too_late(conn, event, received, seq=seq, now=now)
        ended = self._overtake(conn, event, service, received.service)
        if job is None:
            said = _said(received.note or decision.reason, ended)
            return Acceptance(outcome="stale" if received.stale else "nothing", detail=said)
        waits = f"the job waits for approval: {job.approval_reason}" if job.approval_reason else ""
        return Acceptance(outcome="accepted", job_id=job.id, detail=_said(received.note, ended, waits))

    def _overtake(self, conn: Connection, event: Event, before: Service | None, after: Service | None) -> str:
        """End what the event makes pointless; a sentence about it, '' where that was nothing."""
        if before is None:  # no jobs yet
            return ""
        by = f"event {event.source}/{event.id}"
        ended: tuple[str, ...] = ()
        paid = event.type in PAYMENTS or counts_as_paid(before, after)
        if paid or overtaken(before, after):
            ended = call_off(conn, self._endings, after, by=f"the {_word(event)} of {by}", paid=paid)
        if after is not None and event.type in (EventType.SERVICE_CANCEL, EventType.SERVICE_KEEP):
            ended = call_off_ends(conn, self._endings, after, by=by)
        if after is not None and event.type in (EventType.INVOICE_REFUNDED, EventType.INVOICE_CHARGED_BACK):
            ended = call_off_return(conn, self._endings, after, by=f"the {_word(event)} of {by}")
        return "" if not ended else f"called off: job {', job '.join(ended)}"

    def _answered(self, conn: Connection, event: Event, *, seq: int, now: datetime) -> Acceptance:
        """Billing's answer to our question. A refusal that says until when it is paid tells of a payment that was lost."""
        if event.type == EventType.TERMINATION_REFUSED and event.paid_until is not None:
            paid = replace(event, type=EventType.INVOICE_PAID, reason=event.reason or "paid, as billing answers")
            return self._decide(conn, paid, seq=seq, now=now, counted=False)
        job_id, detail = self._confirming.answer(conn, event, now=now)
        return Acceptance(outcome="accepted" if job_id else "nothing", job_id=job_id, detail=detail)

    def _refused_change(self, event: Event, service: Service | None, terms: Terms) -> Received | None:
        """A change to a smaller plan that the policy refuses now."""
        if event.type != EventType.SERVICE_CHANGE_PLAN or service is None:
            return None
        return self._refused_command(IntentKind.CHANGE_PLAN, service, {plan_changes.PLAN: event.plan}, terms)

    def _forget(self, conn: Connection, event: Event, seq: int, *, outcome: str) -> None:
        """Only what may be processed once more needs the password that came with it, and nothing of what is erased."""
        rest = services.rest(conn, event.service_id)
        lets_in = bool(event.password_hash or event.ssh_keys or event.account is not None)
        if lets_in and rest is not None and rest.state == Lifecycle.ERASED:
            events.forget_access(conn, event.service_id)
        elif rest is not None and rest.forgotten_at is not None:
            service = services.get(conn, event.service_id)
            forgetting.forget(conn, event.service_id, personal.blanks(self._orders.terms(service)))
        elif (event.password_hash or event.account is not None) and outcome not in REPLAYABLE:
            events.forget_password(conn, seq)

    def _put(self, conn: Connection, before: Service | None, after: Service | None, *, now: datetime) -> None:
        if after is not None and after != before:
            services.put(conn, after, now=now)

    def _tell_too_late(self, conn: Connection, event: Event, received: Received, *, seq: int, now: datetime) -> None:
        """Money for a service that is gone, also in a stale renewal. While it is being destroyed the end of that job tells it."""
        service = received.service
        if service is None or event.type not in PAYMENTS or service.state not in GONE:
            return
        if service.state == Lifecycle.ARCHIVED and (service.point_of_no_return or comes_back(conn, service.id)):
            return
        data = {"service_id": service.id, "event": f"{event.source}/{event.id}", "state": service.state.value}
        outbox.add(conn, message_id=f"late-{seq}", kind="payment.too_late", service_id=service.id, data=data, now=now)

    # -- commands ----------------------------------------

    def command(
        self,
        kind: IntentKind,
        service_id: str,
        *,
        who: str,
        why: str,
        arguments: Mapping[str, object],
        beside: Beside[Submitted],
    ) -> Submitted:
        """Take an operator's command. Raises NotFound, Refused, WrongState, StoreUnavailable."""
        # Who may log in is in the job, and goes with it; the audit stays for ever.
        facts = {"intent": kind.value, "why": why, "arguments": access.without(dict(arguments))}

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            apart = self._refused_command(kind, service, arguments, terms)
            return apart or decisions.command(kind, service, who=who, why=why, now=now, arguments=arguments, terms=terms)

        return self._clerk.act(service_id, decide, who=who, what="command", facts=facts, beside=beside)

    def dry_run(self, kind: IntentKind, service_id: str, arguments: Mapping[str, object]) -> Workflow:
        """What the command would write down now. Raises as ``command``, and WrongState where nothing is to be done."""

        def decide(service: Service, terms: Terms, now: datetime) -> Received:
            apart = self._refused_command(kind, service, arguments, terms)
            said = {"who": "dry-run", "why": "dry run"}
            return apart or decisions.command(kind, service, **said, now=now, arguments=arguments, terms=terms)

        return self._clerk.dry_run(service_id, decide)

    def _refused_command(
        self, kind: IntentKind, service: Service, arguments: Mapping[str, object], terms: Terms
    ) -> Received | None:
        """A change of plan that the two plans, or the policy, refuse."""
        plan = str(arguments.get(plan_changes.PLAN, ""))
        if kind != IntentKind.CHANGE_PLAN or not plan:
            return None
        refusal = self._orders.refused_change(service, plan, terms)
        return None if refusal is None else Received(service=service, decision=refusal, note=refusal.reason)


def _said(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _word(event: Event) -> str:
    """What it is that calls a job off."""
    if event.type in PAYMENTS:
        return "payment"
    if event.type in (EventType.INVOICE_REFUNDED, EventType.INVOICE_CHARGED_BACK):
        return "refund" if event.type == EventType.INVOICE_REFUNDED else "chargeback"
    return "dispute" if event.type == EventType.INVOICE_DISPUTED else "verdict"


def _dead_letter(problem: OrchestratorError, seq: int) -> str:
    """The problem as the dead-letter list shows it, and what to do about it."""
    if not isinstance(problem, DECLARED_OTHERWISE):
        return str(problem)
    return f"{problem.message} ({problem.hint or 'mend it'}, then `orchestrator event replay {seq}`)"


def _again(first: EventRecord, body_sha256: str) -> Acceptance:
    if first.body_sha256 != body_sha256:
        raise EventConflict(f"event {first.id} came before with another body", hint="give every event an id of its own")
    return Acceptance(outcome="duplicate", job_id=first.job_id, detail=f"taken before: {first.outcome}")
