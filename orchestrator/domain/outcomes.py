"""What the beginning and the end of a job do to a service's record, and what a job's end leaves to do.

Pure. The engine calls ``begin`` when a job starts (again), and ``finish`` and ``follow_up`` in the transaction that ends it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.domain.errors import Refused, WrongState
from orchestrator.domain.intents import RULE_HOLDS, Intent, IntentKind, JobState
from orchestrator.domain.services import Cause, HoldReason, Lifecycle, Service, transition


def begin(service: Service, kind: IntentKind) -> Service:
    """The record as a job of ``kind`` starts, or starts again; the same record where it is there already.

    Raises WrongState where the service's state has left the intent behind, Refused where holds have changed since: a
    suspension whose last hold was lifted while the job waited is not to be carried out any more.
    """
    state = service.state
    if kind == IntentKind.PROVISION:
        return service if state == Lifecycle.PROVISIONING else replace(service, state=transition(state, Cause.PROVISION_STARTED))
    if kind == IntentKind.TERMINATE:
        if not service.erasable:
            raise Refused("a hold forbids to destroy the service's data", rule=RULE_HOLDS)
        return service if state == Lifecycle.TERMINATING else replace(service, state=transition(state, Cause.TERMINATE_STARTED))
    if state != Lifecycle.ACTIVE:
        raise WrongState(f"the service is {state}: {kind} needs an active one", state=str(state))
    if kind == IntentKind.SUSPEND and not service.stopped:
        raise Refused("no hold stops the service any more: it is not suspended", rule=RULE_HOLDS)
    if kind in (IntentKind.UNSUSPEND, IntentKind.START, IntentKind.REBOOT) and service.stopped:
        raise Refused(f"the service is held for {', '.join(service.stop_reasons)}", rule=RULE_HOLDS)
    return service


def finish(
    service: Service,
    kind: IntentKind,
    job_state: JobState,
    error_code: str,
    *,
    now: datetime,
    provisioned: bool = True,
    adds: str = "",
) -> Service:
    """The record when a job of ``kind`` has come to rest in ``job_state``; the same job's again changes nothing.

    ``provisioned``: whether a guest of the service had ever been made; it says where a stopped termination returns to.
    ``error_code`` is the job's ('' where it went well). ``adds``: the hold that a suspension's decision added; who cancels
    it takes that back, and no other.
    """
    ended_well = job_state == JobState.DONE and not error_code
    gave_up = job_state in (JobState.FAILED, JobState.CANCELLED)
    if kind == IntentKind.PROVISION and service.state == Lifecycle.PROVISIONING and (ended_well or gave_up):
        if not ended_well:
            return replace(service, state=transition(service.state, Cause.PROVISION_FAILED))
        return replace(service, state=transition(service.state, Cause.PROVISION_DONE), activated_at=service.activated_at or now)
    if kind == IntentKind.SUSPEND and ended_well:
        return replace(service, suspension_proven_at=service.suspension_proven_at or now)
    if kind == IntentKind.SUSPEND and job_state == JobState.CANCELLED and adds:
        return replace(service, holds=tuple(hold for hold in service.holds if hold.reason != adds))
    if kind == IntentKind.UNSUSPEND and ended_well:
        return replace(service, suspension_proven_at=None)
    if kind == IntentKind.TERMINATE and service.state == Lifecycle.TERMINATING:
        return _terminated(service, ended_well=ended_well, gave_up=gave_up, provisioned=provisioned, now=now)
    return service


def follow_up(service: Service, *, ended: IntentKind) -> Intent | None:
    """What is left to do when a job of kind ``ended`` is over: the guest is to be as the record's holds say.

    A job refused because of the state it met (a suspension during a termination) leaves them apart. An intent is never
    followed by its like: one that cannot be carried out would be tried for ever.
    """
    proven = service.suspension_proven_at is not None
    if service.state != Lifecycle.ACTIVE or service.stopped == proven:
        return None
    kind = IntentKind.SUSPEND if service.stopped else IntentKind.UNSUSPEND
    if kind == ended:
        return None
    who = "orchestrator"
    if kind == IntentKind.UNSUSPEND:
        arguments: dict[str, object] = {"reason": HoldReason.NONPAYMENT.value}
        return Intent.on(kind, service, reason="nothing stops it any more", who=who, arguments=arguments)
    stopping = service.stop_reasons
    why = f"it is held for {', '.join(stopping)}, and was never stopped"
    return Intent.on(kind, service, reason=why, who=who, arguments={"reason": stopping[0], "holds": stopping})


def _terminated(service: Service, *, ended_well: bool, gave_up: bool, provisioned: bool, now: datetime) -> Service:
    """Past the point of no return a failed termination stays one: there is nothing to go back to."""
    if ended_well:
        erased = transition(service.state, Cause.ERASE_DONE)
        # Who might log in belongs to what was erased, and there is nothing left to hold.
        left = replace(service, state=erased, suspension_proven_at=None, ssh_keys=(), password_hash="", holds=())
        return replace(left, ended_at=service.ended_at or now)
    if gave_up and service.point_of_no_return is None:
        cause = Cause.TERMINATE_STOPPED if provisioned else Cause.TERMINATE_STOPPED_UNMADE
        return replace(service, state=transition(service.state, cause))
    return service
