"""What the beginning and the end of a job do to a service's record, and what a job's end leaves to do.

Pure. The engine calls ``begin`` when a job starts (again), and ``finish`` and ``follow_up`` in the transaction that ends it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.domain import own_systems, plan_changes
from orchestrator.domain.archives import archived
from orchestrator.domain.errors import Refused, WrongState
from orchestrator.domain.fence import LEAVES_COPIES
from orchestrator.domain.intents import RULE_HOLDS, Intent, IntentKind, JobState
from orchestrator.domain.services import Cause, HoldEffect, HoldReason, Lifecycle, Service, transition

# The effect of the hold that a job is to put in force.
SETS = {IntentKind.SUSPEND: HoldEffect.STOP, IntentKind.LIMIT: HoldEffect.LIMIT}
# What brings the guest to what the holds say.
KEEPS_HOLDS = frozenset({IntentKind.SUSPEND, IntentKind.UNSUSPEND, IntentKind.LIMIT, IntentKind.UNLIMIT})
_ENDED = frozenset({Lifecycle.ARCHIVED, Lifecycle.ERASED, Lifecycle.CANCELLED})
_ON_ARCHIVES = frozenset({IntentKind.ERASE, IntentKind.REACTIVATE})
_NEEDS_NO_HOLD = frozenset({IntentKind.UNSUSPEND, IntentKind.START, IntentKind.REBOOT}) | (
    own_systems.ON_SYSTEMS - own_systems.HELD_TOO
)


def begin(service: Service, kind: IntentKind, *, old_copy: bool = False) -> Service:
    """The record as a job of ``kind`` starts, or starts again; the same record where it is there already. ``old_copy``: it wipes
    what the service has left on another node.

    Raises WrongState where the service's state has left the intent behind, Refused where holds have changed since: a
    suspension, or a limit, whose last hold was lifted while the job waited is not to be carried out any more.
    """
    state = service.state
    if kind == IntentKind.PROVISION:
        return service if state == Lifecycle.PROVISIONING else replace(service, state=transition(state, Cause.PROVISION_STARTED))
    if kind == IntentKind.TERMINATE:
        if not service.erasable:
            raise Refused("a hold forbids to destroy the service's data", rule=RULE_HOLDS)
        return service if state == Lifecycle.TERMINATING else replace(service, state=transition(state, Cause.TERMINATE_STARTED))
    if kind in _ON_ARCHIVES:
        return _begin_archived(service, kind)
    if state != Lifecycle.ACTIVE and not (old_copy and state in LEAVES_COPIES):
        raise WrongState(f"the service is {state}: {kind} needs an active one", state=str(state))
    if kind == IntentKind.SUSPEND and not service.stopped:
        raise Refused("no hold stops the service any more: it is not suspended", rule=RULE_HOLDS)
    if kind in _NEEDS_NO_HOLD and service.stopped:
        raise Refused(f"the service is held for {', '.join(service.stop_reasons)}", rule=RULE_HOLDS)
    if kind == IntentKind.LIMIT and not service.limited:
        raise Refused("no hold limits the service any more: it is not limited", rule=RULE_HOLDS)
    if kind == IntentKind.UNLIMIT and service.limited:
        raise Refused(f"the service is limited for {', '.join(service.limit_reasons)}", rule=RULE_HOLDS)
    return service


def never(service: Service, kind: IntentKind, *, old_copy: bool = False) -> str:
    """Why a job of ``kind`` that has not begun never will; '' = it may yet. The service has ended while it waited."""
    if old_copy or service.state not in _ENDED or (service.state == Lifecycle.ARCHIVED and kind in _ON_ARCHIVES):
        return ""
    return f"the service is {service.state}"


def _begin_archived(service: Service, kind: IntentKind) -> Service:
    """It stays archived until the job has ended well. An erasure that has begun is carried to its end."""
    if service.state != Lifecycle.ARCHIVED:
        raise WrongState(f"the service is {service.state}: {kind} needs an archived one", state=str(service.state))
    if kind == IntentKind.ERASE and not service.erasable:
        raise Refused("a hold forbids to destroy the service's archive", rule=RULE_HOLDS)
    if kind == IntentKind.REACTIVATE and service.point_of_no_return is not None:
        raise WrongState("the service's archive is being erased: it cannot be brought back", state=str(service.state))
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
    kept: bool = False,
    on_request: bool = False,
    elsewhere: bool = False,
    plan: str = "",
) -> Service:
    """The record when a job of ``kind`` has come to rest in ``job_state``; the same job's again changes nothing.

    ``provisioned``: whether a guest of the service had ever been made; it says where a stopped termination returns to.
    ``error_code`` is the job's ('' where it went well). ``adds``: the hold that the decision to suspend or to limit added; who
    cancels the job takes that back, and no other. ``kept``: the termination kept an archive. ``on_request``: its customer asked
    for the backup. ``elsewhere``: another job has begun to terminate it, so that the end of this one moves nothing. ``plan``: the
    one that its limits were to be moved to.
    """
    ended_well = job_state == JobState.DONE and not error_code
    gave_up = job_state in (JobState.FAILED, JobState.CANCELLED)
    if kind == IntentKind.PROVISION and service.state == Lifecycle.PROVISIONING and (ended_well or gave_up):
        state = transition(service.state, Cause.PROVISION_DONE if ended_well else Cause.PROVISION_FAILED)
        return replace(service, state=state, activated_at=service.activated_at or (now if ended_well else None))
    if kind == IntentKind.BACKUP:
        return _backed_up(service, job_state, error_code, now=now, on_request=on_request)
    if kind == IntentKind.CHANGE_PLAN:
        return plan_changes.moved(service, plan) if ended_well else service
    if kind in SETS and job_state == JobState.CANCELLED and adds:
        return replace(service, holds=tuple(h for h in service.holds if (h.reason, h.effect) != (adds, SETS[kind])))
    if kind in KEEPS_HOLDS and ended_well:
        return _in_force(service, kind, now=now)
    if kind == IntentKind.TERMINATE and service.state == Lifecycle.TERMINATING and not elsewhere:
        if ended_well and kept:
            return archived(service, now=now)
        return _terminated(service, ended_well=ended_well, gave_up=gave_up, provisioned=provisioned, now=now)
    if service.state == Lifecycle.ARCHIVED and ended_well:
        return _out_of_the_archive(service, kind, now=now)
    return service


def _backed_up(service: Service, job_state: JobState, error_code: str, *, now: datetime, on_request: bool) -> Service:
    """What has passed of its slots is seen to where a backup was made, or was refused (it is over its cap, say), or a person
    called it off; what failed is tried again. Only one that was made counts as the last that was asked for."""
    ended_well = job_state == JobState.DONE and not error_code
    refused = job_state == JobState.FAILED and error_code == Refused.code
    if on_request:
        return replace(service, backup_asked_at=now) if ended_well else service
    if ended_well or refused or job_state == JobState.CANCELLED:
        return replace(service, backups_seen_to=max(now, service.backups_seen_to or now))
    return service


def follow_up(service: Service, *, ended: IntentKind) -> Intent | None:
    """What is left to do when a job of kind ``ended`` is over: the guest is to be as the record's holds say.

    A job refused because of the state it met (a suspension during a termination) leaves them apart. An intent is never
    followed by its like: one that cannot be carried out would be tried for ever.
    """
    kind = _apart(service)
    if kind is None or kind == ended:
        return None
    lifted: dict[str, object] = {"reason": HoldReason.NONPAYMENT.value}
    why, arguments = "nothing stops it any more", lifted
    if kind == IntentKind.UNLIMIT:
        why = "nothing limits it any more"
    if kind == IntentKind.SUSPEND:
        stopping = service.stop_reasons
        why = f"it is held for {', '.join(stopping)}, and was never stopped"
        arguments = {"reason": stopping[0], "holds": stopping}
    if kind == IntentKind.LIMIT:
        limiting = service.limit_reasons
        why = f"it is limited for {', '.join(limiting)}, and was never throttled"
        arguments = {"reason": limiting[0], "limits": limiting}
    return Intent.on(kind, service, reason=why, who="orchestrator", arguments=arguments)


def _apart(service: Service) -> IntentKind | None:
    """What brings the guest to what the holds say; None where it is there. Stopping wins: what is off needs no limit yet."""
    if service.state != Lifecycle.ACTIVE:
        return None
    if service.stopped != (service.suspension_proven_at is not None):
        return IntentKind.SUSPEND if service.stopped else IntentKind.UNSUSPEND
    if service.stopped or service.limited == (service.limited_proven_at is not None):
        return None
    return IntentKind.LIMIT if service.limited else IntentKind.UNLIMIT


def _in_force(service: Service, kind: IntentKind, *, now: datetime) -> Service:
    """It was seen that the guest is as the job was to make it; since when counts from the first time."""
    match kind:
        case IntentKind.SUSPEND:
            return replace(service, suspension_proven_at=service.suspension_proven_at or now)
        case IntentKind.UNSUSPEND:
            return replace(service, suspension_proven_at=None)
        case IntentKind.LIMIT:
            return replace(service, limited_proven_at=service.limited_proven_at or now)
        case _:
            return replace(service, limited_proven_at=None)


def _terminated(service: Service, *, ended_well: bool, gave_up: bool, provisioned: bool, now: datetime) -> Service:
    """Past the point of no return a failed termination stays one: there is nothing to go back to."""
    if ended_well:
        return _erased(service, now=now)
    if gave_up and service.point_of_no_return is None:
        cause = Cause.TERMINATE_STOPPED if provisioned else Cause.TERMINATE_STOPPED_UNMADE
        return replace(service, state=transition(service.state, cause))
    return service


def _out_of_the_archive(service: Service, kind: IntentKind, *, now: datetime) -> Service:
    if kind == IntentKind.ERASE:
        return _erased(service, now=now)
    if kind == IntentKind.REACTIVATE:
        # A new life, as far as terms and hours count it.
        state = transition(service.state, Cause.REACTIVATED)
        return replace(service, state=state, archived_at=None, ended_at=None, activated_at=now, cancellation=None)
    return service


def _erased(service: Service, *, now: datetime) -> Service:
    """Who might log in belongs to what was erased. Nothing is left to hold but, for a court, what is known of the customer."""
    erased = transition(service.state, Cause.ERASE_DONE)
    service = replace(service, ended_at=service.ended_at or now, suspension_proven_at=None, limited_proven_at=None)
    legal = tuple(hold for hold in service.holds if hold.reason == HoldReason.LEGAL)
    return replace(service, state=erased, ssh_keys=(), password_hash="", account=None, holds=legal)
