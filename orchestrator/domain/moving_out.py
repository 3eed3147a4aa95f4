"""Moving a guest to another node: whether it may, and what its job is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain.errors import NotFound, Refused, WrongState
from orchestrator.domain.intents import RULE_HOLDS, RULE_LIFECYCLE, Intent, IntentKind
from orchestrator.domain.plans import Node, NodeKind, PlanKind
from orchestrator.domain.received import Received, refused
from orchestrator.domain.services import Lifecycle, Service
from orchestrator.domain.terms import Terms

# The argument of the job: the node that is to take it in; '' = whichever placement chooses.
TO = "to"
RULE_MOVES = "moves between nodes"


def require(service: Service, to: str, nodes: Mapping[str, Node]) -> None:
    """That nothing is known which keeps it from moving there, before its guest is switched off for it.

    Raises NotFound for a node that is not declared, WrongState where it is there already, Refused.
    """
    left = nodes.get(service.node)
    if left is not None and not left.backups:
        why = f"move refused: node {left.name} has no target for backups, and a disk moves by one"
        raise Refused(why, rule=RULE_MOVES, hint="name one with 'backups' in nodes.yaml")
    require_place(service, to, nodes, what="move")


def require_place(service: Service, to: str, nodes: Mapping[str, Node], *, what: str) -> None:
    """That the node can take it in, as far as that is declared. ``what`` is asked for. Raises as ``require``."""
    left, wanted = nodes.get(service.node), nodes.get(to)
    if not to:
        return
    if wanted is None:
        raise NotFound(f"there is no node '{to}' in nodes.yaml", hint="`orchestrator node list` shows all of them")
    if to == service.node:
        raise WrongState(f"{service.id} is on {to} already")
    if wanted.kind != NodeKind.HYPERVISOR:
        raise Refused(f"{what} refused: {to} is a node of kind {wanted.kind}, and takes no guest", rule=RULE_MOVES)
    if left is not None and wanted.zone != left.zone:
        why = f"{what} refused: {to} is in zone {wanted.zone}, and its addresses are of zone {left.zone}"
        raise Refused(why, rule=RULE_MOVES)


def decide(service: Service, arguments: Mapping[str, object], *, who: str, why: str, terms: Terms) -> Received:
    """Move it. One that is suspended moves as it is, held and off; one whose data a hold keeps stays where it lies."""
    if terms.kind != PlanKind.VPS:
        return refused(service, f"move refused: only a guest can be moved, and this is of kind {terms.kind}", RULE_MOVES)
    if service.state != Lifecycle.ACTIVE:
        return refused(service, f"it is {service.state}: move needs an active service", RULE_LIFECYCLE)
    if not service.erasable:
        return refused(service, "a hold forbids to destroy the service's data, and its old disk would be wiped", RULE_HOLDS)
    if service.kept:
        names = ", ".join(each.name for each in service.kept)
        return refused(service, f"move refused: beside its disk is kept {names}; service tidy {service.id} first", RULE_MOVES)
    given = {TO: str(arguments.get(TO, "")), "limited": service.throttled}
    return Received(service=service, decision=Intent.on(IntentKind.MOVE, service, reason=why, who=who, arguments=given))
