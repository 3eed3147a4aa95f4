"""The job that brings what was found apart back to what a service's record says. Pure; it decides on the record of its moment."""

from __future__ import annotations

from orchestrator.domain.drift import Repair
from orchestrator.domain.intents import Intent, IntentKind, Nothing
from orchestrator.domain.own_systems import MAIL, Mail
from orchestrator.domain.received import Received
from orchestrator.domain.services import HoldReason, Lifecycle, Service

_KINDS = {
    Repair.SUSPEND: IntentKind.SUSPEND,
    Repair.LIMIT: IntentKind.LIMIT,
    Repair.UNLIMIT: IntentKind.UNLIMIT,
    Repair.MAIL: IntentKind.SET_MAIL,
}


def mended(service: Service, repair: Repair, *, who: str, why: str) -> Received:
    """The job, or nothing where the record has moved on since it was looked."""
    kind = _KINDS.get(repair)
    if kind is None or not _holds(service, repair):
        return Received(service=service, decision=Nothing(reason="its record says something else by now"))
    arguments: dict[str, object] = {"reason": HoldReason.NONPAYMENT.value}
    if repair == Repair.SUSPEND:
        arguments = {"reason": service.stop_reasons[0], "holds": service.stop_reasons}
    if repair == Repair.LIMIT:
        arguments = {"reason": service.limit_reasons[0], "limits": service.limit_reasons}
    if repair == Repair.MAIL:
        arguments = {MAIL: Mail.of(service).value}
    return Received(service=service, decision=Intent.on(kind, service, reason=why, who=who, arguments=arguments))


def _holds(service: Service, repair: Repair) -> bool:
    if service.state != Lifecycle.ACTIVE:
        return False
    if repair == Repair.MAIL:
        return True
    if repair == Repair.SUSPEND:
        return service.stopped
    return not service.stopped and service.limited == (repair == Repair.LIMIT)
