"""What falls due of holds that have an end, and of complaints: the effect of a copyright notice, and terminations for conduct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from orchestrator.domain.calendar import Days
from orchestrator.domain.complaints import Closed, Complaint, ComplaintKind, rule_of
from orchestrator.domain.deadlines.nonpayment import noticed
from orchestrator.domain.deadlines.words import Action, Deadline, Told
from orchestrator.domain.policies import Abuse, Effect, Rule
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms


def of_holds(service: Service) -> Iterator[Deadline]:
    """A hold that was set until a time is lifted then, whatever its reason."""
    for hold in service.holds:
        if hold.until is not None:
            yield Deadline(
                action=Action.LIFT_HOLD,
                at=hold.until,
                reason=f"the hold for {hold.reason} of {hold.by} was set until then",
                clause="the hold's own end",
                occurrence=f"{hold.reason} {hold.since.isoformat()}",
            )


def of_conduct(service: Service, terms: Terms, told: Told) -> Iterator[Deadline]:
    if service.state != Lifecycle.ACTIVE:
        return
    for complaint in service.complaints:
        if complaint.open:
            yield from _of_notice(service, complaint, terms)
            yield from _of_termination(service, complaint, terms, told)
    yield from _of_repetition(service, terms, told)


def _of_notice(service: Service, complaint: Complaint, terms: Terms) -> Iterator[Deadline]:
    """The effect of a copyright notice, until it is in force."""
    rule = terms.policy.conduct.copyright
    if rule is None or complaint.kind != ComplaintKind.COPYRIGHT:
        return
    stopped = service.suspension_proven_at
    in_force = stopped if complaint.effect == Effect.SUSPEND else stopped or service.limited_proven_at
    if complaint.held_at is not None and in_force is not None:
        return
    yield Deadline(
        action=Action.LIMIT_CONDUCT,
        at=complaint.received_at + rule.cease,
        reason=f"copyright notice {complaint.id} was received {_hours(rule.cease.total_seconds())} before, and not ceased",
        clause=rule.clause,
        occurrence=complaint.id,
        waits="it cannot be made read-only"
        if complaint.effect == Effect.READ_ONLY and terms.kind in ("vps", "hosting", "dedicated")
        else "",
    )


def _of_termination(service: Service, complaint: Complaint, terms: Terms, told: Told) -> Iterator[Deadline]:
    """What a complaint wants that asks for the end of the service. A person agrees to each."""
    rule = rule_of(complaint.kind, terms)
    if rule is None or complaint.effect != Effect.TERMINATE:
        return
    notice = Days(0) if isinstance(rule, Abuse) and rule.notice_before_terminate else None
    shows = isinstance(rule, Abuse) and rule.evidence_to_customer and bool(complaint.evidence)
    reason = f"complaint {complaint.id} of {complaint.kind}: {complaint.why}"
    ahead = _ahead(service, reason, rule, at=complaint.received_at, of=complaint.id)
    ahead = replace(ahead, evidence=(complaint.evidence,) if shows else ())
    yield from noticed(ahead, notice, terms, told, by=Action.NOTICE_CONDUCT)


def _of_repetition(service: Service, terms: Terms, told: Told) -> Iterator[Deadline]:
    """POLICIES: more than so many copyright notices within so many days, those left out that were waived."""
    rule = terms.policy.conduct.repeat_offender
    if rule is None:
        return
    counted = sorted(
        (each for each in service.complaints if each.kind == ComplaintKind.COPYRIGHT and each.closed != Closed.WAIVED),
        key=lambda each: each.received_at,
    )
    too_many = [
        last
        for first, last in zip(counted, counted[rule.more_than :], strict=False)
        if last.received_at <= terms.calendar.add(first.received_at, rule.within)
    ]
    if too_many:
        last = too_many[-1]
        reason = f"more than {rule.more_than} copyright notices within {rule.within}, the last of them {last.id}"
        ahead = _ahead(service, reason, rule, at=last.received_at, of=f"repeat {last.id}")
        yield from noticed(replace(ahead, asks=rule.asks), rule.notice, terms, told, by=Action.NOTICE_CONDUCT)


def _ahead(service: Service, reason: str, rule: Rule, *, at: datetime, of: str) -> Deadline:
    """A payment calls off the job of a termination, and ends no complaint: it is asked for anew."""
    return Deadline(
        action=Action.TERMINATE_CONDUCT,
        at=at,
        reason=reason,
        clause=rule.clause,
        occurrence=f"{of}/{service.payments}",
        asks=True,
        waits="" if service.erasable else "a hold forbids erasing",
    )


def _hours(seconds: float) -> str:
    return f"{int(seconds // 3600)} hours"
