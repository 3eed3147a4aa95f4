"""Complaints against a service: what follows from one by the policy, and what ends that.

Pure. The mildest effect that can be carried out is a hold, set at once; a copyright notice has its hours first, and a
termination its notice and a person (``deadlines.conduct``). A hold that a complaint set is lifted with the last complaint that
holds the service so, and by nothing that is paid. An expired domain is a complaint that billing makes and ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.domain import holding
from orchestrator.domain.complaints import Closed, Complaint, ComplaintKind, rule_of
from orchestrator.domain.deadlines import Action, Deadline
from orchestrator.domain.events import Event, EventType
from orchestrator.domain.evidence import Evidence
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Nothing, Refusal
from orchestrator.domain.policies import Abuse, Copyright, Effect, Measure, Rule
from orchestrator.domain.received import Received, Tell, refused
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service
from orchestrator.domain.terms import Terms

RULE_COMPLAINTS = "complaints"
REPORTED = "complaint.reported"
ANSWERED = "complaint.answered"
# So many complaints that are closed stay on the record; the audit has them all.
CLOSED_KEPT = 200

_OVER = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})
_EFFECTS = {Effect.SUSPEND: HoldEffect.STOP, Effect.LIMIT: HoldEffect.LIMIT, Effect.READ_ONLY: HoldEffect.READ_ONLY}
_STRONGER = (Effect.LIMIT, Effect.READ_ONLY, Effect.SUSPEND)
# What cannot be done to services of a kind.
_BEYOND: dict[str, frozenset[Effect]] = {
    "vps": frozenset({Effect.READ_ONLY}),
    "hosting": frozenset({Effect.READ_ONLY}),
    "dedicated": frozenset({Effect.LIMIT, Effect.READ_ONLY}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What somebody reports. ``forbids``: what the service's plan forbids. ``effect`` None: the mildest that the policy has."""

    kind: ComplaintKind
    by: str
    why: str
    received_at: datetime
    what: str = ""
    effect: Effect | None = None
    evidence: Evidence | None = None
    forbids: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a complaint is ended, by whom, and why."""

    how: Closed
    by: str
    why: str
    evidence: Evidence | None = None


def held_as(kind: ComplaintKind) -> HoldReason:
    """The reason of the hold that a complaint of this kind sets."""
    return HoldReason.QUOTA if kind == ComplaintKind.QUOTA else HoldReason.ABUSE


def report(service: Service, said: Report, terms: Terms, *, now: datetime) -> Received:
    """Take a complaint, and do what follows from it at once."""
    rule = rule_of(said.kind, terms)
    hindered = _hindered(service, said, rule, terms, now=now)
    if hindered is not None:
        return hindered
    assert rule is not None
    effect = said.effect or _mildest(rule, terms)
    if effect is None:
        return refused(
            service, f"nothing that the policy names can be done to a {terms.kind} [{terms.cite(rule)}]", terms.cite(rule)
        )
    complaint = Complaint(
        id=_next_id(service),
        kind=said.kind,
        received_at=said.received_at,
        by=said.by,
        why=said.why,
        effect=effect,
        what=said.what,
        evidence=said.evidence.sha256 if said.evidence else "",
    )
    record = replace(service, complaints=(*_kept(service.complaints), complaint))
    tells = (_told(complaint, rule, terms, said.evidence),)
    if effect == Effect.TERMINATE or isinstance(rule, Copyright):
        note = f"complaint {complaint.id} is noted; " + _to_come(rule, complaint)
        return Received(service=record, decision=Nothing(reason=note), note=note, tells=tells)
    received = _held(record, complaint, who=said.by, why=f"{said.why} [{terms.cite(rule)}]", now=now)
    return replace(received, tells=tells) if not isinstance(received.decision, Refusal) else replace(received, service=service)


def answer(service: Service, complaint_id: str, given: Answer, terms: Terms, *, now: datetime) -> Received:
    """End a complaint; its hold is lifted with it, unless another complaint holds the service so."""
    complaint = next((each for each in service.complaints if each.id == complaint_id), None)
    if complaint is None:
        return refused(service, f"there is no complaint {complaint_id} against it", RULE_COMPLAINTS)
    if not complaint.open:
        return refused(service, f"complaint {complaint_id} is closed already ({complaint.closed})", RULE_COMPLAINTS)
    if complaint.kind == ComplaintKind.DOMAIN:
        return refused(service, "the renewal of the domain ends it, which billing tells (domain.renewed)", RULE_COMPLAINTS)
    if given.how == Closed.WAIVED:
        hindered = _unwaivable(service, complaint, given, terms)
        if hindered is not None:
            return hindered
    return _closed(service, complaint, given, terms, now=now)


def fall_due(deadline: Deadline, service: Service, *, terms: Terms, now: datetime, why: str) -> Received:
    """A hold whose time is over is lifted; a copyright notice whose hours are over has its effect."""
    if deadline.action == Action.LIFT_HOLD:
        reason = HoldReason(deadline.occurrence.partition(" ")[0])
        return holding.lift_hold(service, reason, who="the clock", why=deadline.reason)
    complaint = next((each for each in service.complaints if each.id == deadline.occurrence), None)
    if complaint is None:
        return Received(service=service, decision=Nothing(reason="the complaint is not there any more"))
    return _held(service, complaint, who=f"policy {terms.policy.name}", why=why, now=now)


def own_domain(event: Event, service: Service) -> bool:
    """Whether the event is about the service's own domain, and no other one of its customer."""
    return not service.domain or not event.domain or event.domain.lower() == service.domain.lower()


def domain_said(event: Event, service: Service, terms: Terms, *, now: datetime) -> Received:
    """The domain has expired, or was renewed; ``service`` knows both times already. In whatever order: the later one counts."""
    if not own_domain(event, service):
        return Received(service=service, decision=Nothing(reason=f"{event.domain} is not the domain of this service: noted only"))
    standing = next((each for each in service.complaints if each.open and each.kind == ComplaintKind.DOMAIN), None)
    said, renewed = service.domain_expired_at, service.domain_renewed_at
    expired = said is not None and (renewed is None or said > renewed)
    who = f"event {event.source}/{event.id}"
    if standing is not None and not expired:
        why = event.reason or "the domain was renewed"
        return _closed(service, standing, Answer(how=Closed.RESOLVED, by=who, why=why), terms, now=now)
    if standing is not None or not expired or event.type != EventType.DOMAIN_EXPIRED:
        return Received(service=service, decision=Nothing(reason="it is noted"))
    why = event.reason or f"the domain {service.domain or 'of the account'} has expired"
    said_so = Report(kind=ComplaintKind.DOMAIN, by=who, why=why, received_at=min(event.sent_at, now))
    received = report(service, said_so, terms, now=now)
    if isinstance(received.decision, Refusal):  # a fact counts all the same: nothing follows from it
        return Received(service=service, decision=Nothing(reason=f"it is noted: {received.decision.reason}"))
    return received


def _hindered(service: Service, said: Report, rule: Rule | None, terms: Terms, *, now: datetime) -> Received | None:
    """Why the complaint is not taken."""
    if service.state in _OVER:
        return refused(service, f"it is {service.state}: a complaint comes too late", RULE_LIFECYCLE)
    if said.received_at > now:
        return refused(service, f"{said.received_at.isoformat()} is still to come: when was it received?", RULE_COMPLAINTS)
    if rule is None:
        silent = f"the policy {terms.policy.name} says nothing of {said.kind} for a {terms.kind}"
        return refused(service, f"{silent}: `orchestrator service hold` is an act of your own", RULE_COMPLAINTS)
    if said.what and said.kind != ComplaintKind.ABUSE:
        return refused(service, "what the plan forbids is reported as abuse", RULE_COMPLAINTS)
    if said.what and said.what not in said.forbids:
        return refused(service, f"plan {service.plan} does not forbid {said.what}", f"plan {service.plan}: forbids")
    if said.effect is not None and said.effect not in _effects(rule):
        may = " or ".join(effect.value for effect in _effects(rule))
        return refused(service, f"{said.effect} does not follow from {said.kind}: its rule has {may}", terms.cite(rule))
    if said.effect in _BEYOND.get(terms.kind, ()):
        return refused(service, f"a {terms.kind} cannot be made {said.effect}", terms.cite(rule))
    return None


def _effects(rule: Rule) -> tuple[Effect, ...]:
    if isinstance(rule, Abuse | Measure):
        return rule.effects
    return (rule.effect,) if isinstance(rule, Copyright) else ()


def _mildest(rule: Rule, terms: Terms) -> Effect | None:
    return next((effect for effect in _effects(rule) if effect not in _BEYOND.get(terms.kind, ())), None)


def _next_id(service: Service) -> str:
    return f"c{max((int(complaint.id[1:]) for complaint in service.complaints), default=0) + 1}"


def _kept(complaints: tuple[Complaint, ...]) -> tuple[Complaint, ...]:
    """All that are open, and the latest of the closed ones."""
    closed = [complaint.id for complaint in complaints if not complaint.open][-CLOSED_KEPT:]
    return tuple(complaint for complaint in complaints if complaint.open or complaint.id in closed)


def _to_come(rule: Rule, complaint: Complaint) -> str:
    if isinstance(rule, Copyright):
        until = (complaint.received_at + rule.cease).isoformat(timespec="minutes")
        return f"{complaint.effect} follows at {until}, unless it ceased"
    return "an operator is asked for the termination"


def _told(complaint: Complaint, rule: Rule, terms: Terms, evidence: Evidence | None) -> Tell:
    """What billing passes on to the customer; the evidence with it where the policy promises that."""
    shows = isinstance(rule, Abuse) and rule.evidence_to_customer and evidence is not None
    cease = (complaint.received_at + rule.cease).isoformat() if isinstance(rule, Copyright) else None
    data: dict[str, object] = {
        "complaint": complaint.id,
        "kind": complaint.kind.value,
        "what": complaint.what,
        "why": complaint.why,
        "effect": complaint.effect.value,
        "received_at": complaint.received_at.isoformat(),
        "cease_by": cease,
        "policy": terms.policy.name,
        "clause": rule.clause,
        "evidence": [evidence.told()] if shows and evidence is not None else [],
    }
    return Tell(kind=REPORTED, key=complaint.id, data=data)


def _held(service: Service, complaint: Complaint, *, who: str, why: str, now: datetime) -> Received:
    """The complaint's hold, set, or made as strong as this complaint wants it. One that a person set stays that person's."""
    reason, effect = held_as(complaint.kind), complaint.effect
    standing = service.hold(reason)
    record = _noted(service, replace(complaint, held_at=complaint.held_at or now))
    wanted = Hold(
        reason=reason,
        effect=_EFFECTS[effect],
        by=who,
        why=why,
        since=now,
        evidence=complaint.evidence,
        complaint=complaint.id,
    )
    stays = standing is not None and standing.until is None
    if standing is not None and stays and not _weaker(standing.effect, wanted.effect):
        again = holding.put_hold(record, standing) if standing.effect == HoldEffect.STOP else None
        if again is not None:  # its suspension may have failed: it is to be in force
            return replace(again, note=f"it is held for {reason} already")
        return Received(service=record, decision=Nothing(reason=f"it is held for {reason} already"))
    if standing is not None and not standing.complaint:  # what had an end has none while a complaint is open
        stronger = wanted.effect if _weaker(standing.effect, wanted.effect) else standing.effect
        wanted = replace(standing, effect=stronger, until=None, why=f"{standing.why}; {why}")
    return holding.put_hold(record, wanted)


def _weaker(effect: HoldEffect, than: HoldEffect) -> bool:
    order = (HoldEffect.NONE, HoldEffect.NO_ERASE, HoldEffect.LIMIT, HoldEffect.READ_ONLY, HoldEffect.STOP)
    return order.index(effect) < order.index(than)


def _noted(service: Service, complaint: Complaint) -> Service:
    """The record with this complaint in the place of the one of its id."""
    return replace(service, complaints=tuple(complaint if each.id == complaint.id else each for each in service.complaints))


def _unwaivable(service: Service, complaint: Complaint, given: Answer, terms: Terms) -> Received | None:
    rule = rule_of(complaint.kind, terms)
    if not isinstance(rule, Copyright):
        return refused(service, f"a complaint of {complaint.kind} is not waived but resolved", RULE_COMPLAINTS)
    if not rule.waivable:
        return refused(service, "the policy does not have a notice waived", terms.cite(rule))
    if given.evidence is None:
        return refused(service, "a notice is waived on evidence only: give it with --evidence", terms.cite(rule))
    return None


def _closed(service: Service, complaint: Complaint, given: Answer, terms: Terms, *, now: datetime) -> Received:
    done = replace(
        complaint,
        closed=given.how,
        closed_at=now,
        closed_by=given.by,
        closed_why=given.why,
        closed_evidence=given.evidence.sha256 if given.evidence else "",
    )
    record = _noted(service, done)
    received = _eased(record, done, who=given.by, why=f"complaint {done.id}: {given.how}: {given.why}")
    data = {
        "complaint": done.id,
        "kind": done.kind.value,
        "closed": given.how.value,
        "why": given.why,
        "policy": terms.policy.name,
    }
    note = received.note
    if service.state == Lifecycle.TERMINATING:
        note = "a termination is under way: cancel its job where it is not wanted any more"
    return replace(received, note=note, tells=(*received.tells, Tell(kind=ANSWERED, key=done.id, data=data)))


def _eased(record: Service, done: Complaint, *, who: str, why: str) -> Received:
    """The hold as the complaints that are left want it: as it is, milder, or lifted."""
    reason = held_as(done.kind)
    standing = record.hold(reason)
    if done.held_at is None or standing is None or not standing.complaint:
        kept = f"; the hold for {reason} of {standing.by} stands" if standing is not None else ""
        return Received(service=record, decision=Nothing(reason=f"complaint {done.id} is closed{kept}"))
    left = [each for each in record.complaints if each.open and each.held_at is not None and held_as(each.kind) == reason]
    if not left:
        return holding.lift_hold(record, reason, who=who, why=why)
    first = max(left, key=lambda each: _STRONGER.index(each.effect))
    hold = replace(standing, effect=_EFFECTS[first.effect], complaint=first.id, evidence=first.evidence)
    if hold.effect == standing.effect:
        record = replace(record.without_hold(reason), holds=(*record.without_hold(reason).holds, hold))
        return Received(service=record, decision=Nothing(reason=f"it stays held for {reason}: complaint {first.id} is open"))
    return holding.put_hold(record, hold)


def standing_domain(service: Service, reason: HoldReason) -> Received | None:
    """Why an operator may not lift the hold of this reason: an expired domain holds it, and only the renewal lifts that."""
    hold = service.hold(reason)
    open_ones = [c for c in service.complaints if c.open and c.kind == ComplaintKind.DOMAIN and c.held_at is not None]
    if hold is None or not hold.complaint or reason != HoldReason.ABUSE or not open_ones:
        return None
    return refused(service, "its domain has expired: the renewal lifts the hold, and nothing else", RULE_HOLDS)
