"""A node that never comes back: what an operator states of it under his name, as a document that is signed. Pure.

A JSON object, signed and checked as the wipe certificate is (``domain.certificates``). It releases what the node bore: from then
on nothing is sent to it, its services may be restored elsewhere, and what they had is given back on that word alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.certificate_shapes import LOST, VERSION
from orchestrator.domain.certificates import embedded, utc_text
from orchestrator.domain.errors import NodeLost
from orchestrator.domain.intents import IntentKind
from orchestrator.domain.plans import Node, PlanKind

# How the reason begins of a job that waits because its node is lost: it goes on when its service is elsewhere, or the node found.
LOST_REASON = "its node is lost"
_WITHOUT_NODE = frozenset({IntentKind.RECOVER, IntentKind.ERASE, IntentKind.REACTIVATE, IntentKind.PROVISION})
LIMITS = (
    "Nobody has seen that the node is off: that is what was stated.",
    "Nothing of the node was wiped: its disks hold what they held, until somebody destroys them.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Since when a node is lost (UTC), on whose word and why. ``statement``: the id of the signed document."""

    at: datetime
    by: str
    why: str
    statement: str

    def __str__(self) -> str:
        return f"lost since {utc_text(self.at)} by {self.by} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A service that was on the node. ``disk``: the path that its disk had there, '' = none is known."""

    service_id: str
    state: str
    guest: str
    disk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """``id`` as ``statement_id`` made it; ``said``: the operator's own words; ``facts``: what the node told of itself last;
    ``last_seen_at``: when that was."""

    id: str
    provider: str
    node: Node
    host_key: str
    facts: Mapping[str, Any]
    last_seen_at: datetime | None
    by: str
    why: str
    said: str
    services: Sequence[Released]
    at: datetime


def statement_id(node: str, at: datetime, before: Collection[str] = ()) -> str:
    """A node may be lost more than once, and in one second too: ``before`` are the ids of what was stated of it already."""
    first = f"lost-{node}-{at:%Y%m%dT%H%M%SZ}"
    return first if first not in before else f"{first}-{len(before) + 1}"


def build(stated: Statement, *, public_key: bytes) -> dict[str, Any]:
    """The document, not yet signed, for the key it will be signed with (raw, 32 bytes)."""
    return {
        "format": LOST,
        "version": VERSION,
        "id": stated.id,
        "provider": stated.provider,
        "node": {
            "name": stated.node.name,
            "zone": stated.node.zone,
            "address": stated.node.address,
            "host_key": stated.host_key,
            "hostname": str(stated.facts.get("hostname", "")),
            "pool_path": str(stated.facts.get("pool_path", "")),
            "last_seen_at": "" if stated.last_seen_at is None else utc_text(stated.last_seen_at),
        },
        "stated_by": stated.by,
        "reason": stated.why,
        "statement": stated.said,
        "services": [
            {"service": each.service_id, "state": each.state, "guest": each.guest, "disk": each.disk} for each in stated.services
        ],
        "limits": list(LIMITS),
        "issued_at": utc_text(stated.at),
        "key": embedded(public_key),
    }


def refusal(node: str, lost: Lost) -> NodeLost:
    """What is raised instead of sending anything to the node."""
    return NodeLost(f"node {node} is {lost}", hint=f"orchestrator node restore {node}, or node found {node}", node=node)


def hinders(kind: IntentKind, of: PlanKind, node: str, lost: Lost | None) -> str:
    """Why a job of that kind can do nothing for a service of a plan of that kind now; '' = its node is not lost, or not needed: a
    guest is restored elsewhere, and ended, without it."""
    if lost is None or kind in _WITHOUT_NODE or (kind == IntentKind.TERMINATE and of == PlanKind.VPS):
        return ""
    return f"{LOST_REASON}: {node}, {str(lost).removeprefix('lost ')}"


def refused(kind: IntentKind, of: PlanKind, service_id: str, node: str, why: str) -> NodeLost:
    """What is raised instead of making a job that could not begin."""
    hint = f"where it is back: orchestrator node found {node}"
    if of == PlanKind.VPS:
        hint = f"bring it up elsewhere: orchestrator service restore {service_id} --to NODE; {hint}"
    return NodeLost(f"{kind} refused: {why}", hint=hint, node=node)


def refused_there(kind: IntentKind, node: str, lost: Lost) -> NodeLost:
    """The same of what is to be done on a node that the service is not on."""
    return NodeLost(f"{kind} refused: {node} is {lost}", hint=f"where it is back: orchestrator node found {node}", node=node)


def unreached(node: str, lost: Lost) -> str:
    """What a certificate says of a node that nobody could look at."""
    said = f"statement {lost.statement} of {lost.by} names what it had there"
    return f"{node} was not reached, and nothing on it was wiped or looked for: it is {lost}; {said}"
