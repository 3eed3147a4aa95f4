"""Whether the fence is open: the rule behind the port Fence, on a service as it is at this moment."""

from __future__ import annotations

from orchestrator.domain.intents import IntentKind
from orchestrator.domain.services import HoldEffect, HoldReason, Lifecycle, Service

# Whatever is on a node that such a service is not on is an old copy: it goes on elsewhere, or has ended while that was lost.
LEAVES_COPIES = frozenset({Lifecycle.ACTIVE, Lifecycle.ARCHIVED, Lifecycle.ERASED})
# The states in which a job of each kind may do something destructive. A kind that is not here may not.
BELONGS: dict[IntentKind, frozenset[Lifecycle]] = {
    IntentKind.SUSPEND: frozenset({Lifecycle.ACTIVE}),
    IntentKind.TERMINATE: frozenset({Lifecycle.TERMINATING}),
    IntentKind.ERASE: frozenset({Lifecycle.ARCHIVED}),
    IntentKind.REACTIVATE: frozenset({Lifecycle.ARCHIVED}),
    IntentKind.STOP: frozenset({Lifecycle.ACTIVE}),
    IntentKind.REBOOT: frozenset({Lifecycle.ACTIVE}),
    IntentKind.CHANGE_PLAN: frozenset({Lifecycle.ACTIVE}),
    IntentKind.TIDY: LEAVES_COPIES,
    IntentKind.DRILL: frozenset({Lifecycle.ACTIVE}),
    IntentKind.REINSTALL: frozenset({Lifecycle.ACTIVE}),
    IntentKind.MOVE: frozenset({Lifecycle.ACTIVE}),
}


def closed(service: Service, *, kind: IntentKind, payments: int, cancellation: object = "") -> str:
    """Why the fence is closed for a job of this kind that was decided at this payment count; empty = it is open.

    A suspension survives a payment where something other than the debt stops the service: paying lifts nonpayment only.
    ``cancellation``: the token of the one that the job carries out, '' for any other job.
    """
    if service.state not in BELONGS.get(kind, frozenset()):
        return f"a service that is {service.state} does not belong to a {kind} job"
    if kind == IntentKind.SUSPEND:
        return _closed_for_suspending(service, payments=payments)
    # It was brought back, and its archive is a copy of what is there again, as is what a drill has written: no payment and no
    # hold minds that.
    if kind in (IntentKind.REACTIVATE, IntentKind.DRILL):
        return ""
    if kind == IntentKind.REINSTALL:  # it is not asked for because of a debt: no payment is against it
        return _suspended(service) or _kept_by_a_hold(service)
    # No payment makes a copy be kept longer than was said; a hold does. So of the disk that a guest has left behind.
    if kind in (IntentKind.TIDY, IntentKind.MOVE):
        return _kept_by_a_hold(service)
    if service.payments != payments:
        return "it was paid since the job was decided"
    if cancellation and (service.cancellation is None or service.cancellation.token != cancellation):
        return "its cancellation was taken back, or given another day, since the job was decided"
    if kind == IntentKind.ERASE and service.debt_disputed:
        return "the debt for which it was terminated is disputed"
    return _kept_by_a_hold(service) if kind.ends else ""


def _kept_by_a_hold(service: Service) -> str:
    for hold in service.holds:
        if hold.effect == HoldEffect.NO_ERASE or hold.reason == HoldReason.LEGAL:
            return f"a {hold.reason} hold of {hold.by} forbids erasing ({hold.why})"
    return ""


def _suspended(service: Service) -> str:
    return f"it is suspended, held for {', '.join(service.stop_reasons)}" if service.stopped else ""


def _closed_for_suspending(service: Service, *, payments: int) -> str:
    stopping = [hold for hold in service.holds if hold.effect == HoldEffect.STOP]
    if not stopping:
        return "no hold stops the service any more"
    if service.payments != payments and all(hold.reason == HoldReason.NONPAYMENT for hold in stopping):
        return "it was paid since the job was decided"
    return ""
