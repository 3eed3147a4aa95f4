"""Setting and lifting a hold: what becomes of the record, and what is done to the guest.

Pure. A hold is on the record at once; where it stops the guest, or the last that did is lifted, a job sees to that.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind, Nothing
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Hold, HoldEffect, HoldReason, Lifecycle, Service

LIVING = frozenset({Lifecycle.PROVISIONING, Lifecycle.ACTIVE})
OVER = frozenset({Lifecycle.ERASED, Lifecycle.CANCELLED})
# Effects on a guest that runs. The others can be set on whatever still has data.
_ON_GUESTS = frozenset({HoldEffect.STOP, HoldEffect.LIMIT})


def set_hold(service: Service, hold: Hold) -> Received:
    """Set a hold that does not stand yet. Refused where one of its reason does, and where the effect cannot be carried out."""
    standing = service.hold(hold.reason)
    if standing is not None:
        return refused(
            service, f"a hold for {hold.reason} of {standing.by} stands ({standing.effect}): lift it first", RULE_HOLDS
        )
    return put_hold(service, hold)


def put_hold(service: Service, hold: Hold) -> Received:
    """Set a hold, in the place of the one of its reason where there is one."""
    hindered = _hindered(service, hold)
    if hindered:
        return refused(service, *hindered)
    adds = service.hold(hold.reason) is None
    record = replace(service.without_hold(hold.reason), holds=(*service.without_hold(hold.reason).holds, hold))
    note = ""
    if hold.effect == HoldEffect.NO_ERASE and service.point_of_no_return is not None:
        note = f"its data is being destroyed since {service.point_of_no_return.isoformat()}: the hold keeps what is left of it"
    return replace(_guest(service, record, hold.reason, who=hold.by, why=hold.why, adds=adds), note=note)


def lift_hold(service: Service, reason: HoldReason, *, who: str, why: str) -> Received:
    """Lift the hold of this reason, whatever its effect. Refused where there is none."""
    if service.hold(reason) is None:
        others = ", ".join(sorted(hold.reason.value for hold in service.holds)) or "nothing"
        return refused(service, f"it is not held for {reason}; it is held for {others}", RULE_HOLDS)
    return _guest(service, service.without_hold(reason), reason, who=who, why=why, adds=False)


def _guest(before: Service, record: Service, reason: HoldReason, *, who: str, why: str, adds: bool) -> Received:
    """The job that brings the guest to what the record's holds say, where one is needed."""
    standing = record.hold(reason)
    lifted, stops = standing is None, standing is not None and standing.effect == HoldEffect.STOP
    proven = record.suspension_proven_at is not None
    said = "the hold is lifted" if lifted else "the hold is set"
    if record.state not in LIVING:
        return Received(service=record, decision=Nothing(reason=said))
    if stops and not proven:
        # Whoever cancels the job takes back the hold that this decision added, and no other.
        arguments: dict[str, object] = {"reason": reason.value, "holds": record.stop_reasons, "adds": adds}
        intent = Intent.on(IntentKind.SUSPEND, record, reason=why, who=who, arguments=arguments)
        return Received(service=record, decision=intent)
    if not record.stopped and (before.stopped or proven):
        intent = Intent.on(IntentKind.UNSUSPEND, record, reason=why, who=who, arguments={"reason": reason.value})
        return Received(service=record, decision=intent)
    if not record.stopped and record.limited != (record.limited_proven_at is not None):
        kind = IntentKind.LIMIT if record.limited else IntentKind.UNLIMIT
        arguments = (
            {"reason": reason.value, "limits": record.limit_reasons, "adds": adds} if record.limited else {"reason": reason.value}
        )
        return Received(service=record, decision=Intent.on(kind, record, reason=why, who=who, arguments=arguments))
    if record.stopped:
        said += f"; it stays suspended, held for {', '.join(record.stop_reasons)}"
    return Received(service=record, decision=Nothing(reason=said))


def _hindered(service: Service, hold: Hold) -> tuple[str, str] | None:
    """Why the hold cannot be set, and by which rule."""
    # What is known of its customer outlives the service, and a court may want it kept.
    if service.state in OVER and hold.reason != HoldReason.LEGAL:
        return f"it is {service.state}: there is nothing left to hold", RULE_LIFECYCLE
    if hold.effect == HoldEffect.READ_ONLY:
        return "it cannot be made read-only: what a guest or an account writes is its own affair; limit or stop it", RULE_HOLDS
    if hold.effect in _ON_GUESTS and service.state not in LIVING:
        return f"it is {service.state}: only a provisioned service can be held by the effect {hold.effect}", RULE_LIFECYCLE
    if hold.until is not None and hold.until <= hold.since:
        return f"{hold.until.isoformat()} has passed: the hold would be over before it begins", RULE_HOLDS
    return None
