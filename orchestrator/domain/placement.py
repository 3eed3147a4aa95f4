"""Which node takes a guest, or an account, and why the others do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from orchestrator.domain.errors import NoCapacity
from orchestrator.domain.lost_nodes import Lost
from orchestrator.domain.plans import Node, NodeKind
from orchestrator.domain.sizes import size_words

_NODE = {NodeKind.HYPERVISOR: "hypervisor", NodeKind.HOSTING: "hosting node"}
_TAKES = {NodeKind.HYPERVISOR: "a guest", NodeKind.HOSTING: "an account"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Capacity promised to a service on one node. Bytes; vCPUs unweighted."""

    service_id: str
    job_id: str
    node: str
    vcpus: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How full a node's pool really is, whatever is promised of it; None = not known.

    ``metadata_percent``: what the pool keeps its own books in (inodes, the metadata of a thin pool).
    """

    data_percent: float | None = None
    metadata_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node with what it has (None = never seen) and what is promised on it. ``seen_at`` UTC.

    ``drained``: why nothing new is placed on it; '' = it is not. ``lost``: None = it is not.
    """

    node: Node
    enrolled: bool
    up: bool
    cpus: int | None
    memory_bytes: int | None
    disk_bytes: int | None
    promised_vcpus: int
    promised_memory_bytes: int
    promised_disk_bytes: int
    guests: int
    seen_at: datetime | None = None
    filled: Filled = Filled()
    drained: str = ""
    lost: Lost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a guest or an account needs, and the ``kind`` of its nodes. ``zone`` is the service's wish ('' = any); ``zones`` where
    its plan is sold (empty = everywhere). Of an account no processor is promised: its share is a cap.
    """

    vcpus: int
    memory_bytes: int
    disk_bytes: int
    kind: NodeKind = NodeKind.HYPERVISOR
    zone: str = ""
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """An amount of each resource of a node. vCPUs whole, the rest bytes."""

    vcpus: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one node can take the guest. ``reasons``: why not; where it fits, how it stood against the chosen one."""

    node: str
    fits: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The chosen node, and a verdict on every node, in order of their names."""

    node: str
    verdicts: tuple[Verdict, ...]


def capacity(state: NodeState) -> Capacity | None:
    """All that may ever be promised on the node: what it has, less what its host keeps, times its ratios.

    None where the node was never seen. Ratios count as the decimal numbers they are written as and fractions are
    dropped, so that the same node always gives the same whole numbers.
    """
    if state.cpus is None or state.memory_bytes is None or state.disk_bytes is None:
        return None
    node = state.node
    memory = max(0, state.memory_bytes - node.reserved_memory_bytes)
    return Capacity(
        vcpus=_times(state.cpus, node.cpu_ratio),
        memory_bytes=_times(memory, node.memory_ratio),
        disk_bytes=_times(state.disk_bytes, node.disk_ratio),
    )


def shortages(state: NodeState, *, vcpus: int, memory_bytes: int, disk_bytes: int) -> tuple[str, ...]:
    """By which resources the node is too full for this much more, one sentence each; empty = it has room."""
    limit = capacity(state)
    if limit is None:
        return ("its capacity is not known: it was never seen up",)
    rows = (
        ("vCPU", vcpus, limit.vcpus, state.promised_vcpus, str),
        ("memory", memory_bytes, limit.memory_bytes, state.promised_memory_bytes, size_words),
        ("disk", disk_bytes, limit.disk_bytes, state.promised_disk_bytes, size_words),
    )
    return tuple(
        f"{name} is full: {show(wanted)} wanted, {show(max(0, total - promised))} free of {show(total)}"
        for name, wanted, total, promised, show in rows
        if promised + wanted > total
    )


def over_watermarks(state: NodeState) -> tuple[str, ...]:
    """By which watermarks the node's pool is too full to take anything new, one sentence each; empty = by none.

    A thin pool that fills pauses every guest on it, so this looks at what is written, not at what is promised.
    """
    node, filled = state.node, state.filled
    rows = (
        ("its pool", filled.data_percent, node.disk_watermark_percent),
        ("the metadata of its pool", filled.metadata_percent, node.metadata_watermark_percent),
    )
    return tuple(
        f"{what} is {math.floor(percent)} % full, from {mark:g} % on it takes nothing new"
        for what, percent, mark in rows
        if percent is not None and percent >= mark
    )


def closed(state: NodeState) -> tuple[str, ...]:
    """Why the node takes nothing new now, whatever room it has, one sentence each; empty = it takes what there is room for."""
    reasons: list[str] = []
    if state.lost is not None:
        return (f"it is {state.lost}",)
    if state.node.maintenance:
        reasons.append("it is in maintenance")
    if state.drained:
        reasons.append(f"it is drained ({state.drained})")
    if not state.enrolled:
        reasons.append("it is not enrolled")
    elif not state.up:
        seen = f"last seen {state.seen_at:%Y-%m-%d %H:%M} UTC" if state.seen_at else "never seen up"
        reasons.append(f"it is down ({seen})")
    return (*reasons, *over_watermarks(state))


def place(wanted: Wanted, nodes: Sequence[NodeState]) -> Placement:
    """Choose the node that keeps most free in its tightest resource after taking the guest; of equals the first by name.

    The answer does not depend on the order of ``nodes``. Raises NoCapacity, with the verdicts of all nodes in its details,
    where none fits.
    """
    ordered = sorted(nodes, key=lambda state: state.node.name)
    refusals = {state.node.name: _refusals(wanted, state) for state in ordered}
    left = {state.node.name: _left(wanted, state) for state in ordered if not refusals[state.node.name]}
    if not left:
        raise _no_capacity(wanted, refusals)
    chosen = max(left, key=lambda name: left[name].share)  # of equals the first, and they are ordered by name
    verdicts = tuple(
        Verdict(node=name, fits=not reasons, reasons=reasons or (_standing(name, chosen, left),))
        for name, reasons in refusals.items()
    )
    return Placement(node=chosen, verdicts=verdicts)


class _Left(NamedTuple):
    """The smallest share of a resource that stays free once the guest is there, and of which resource."""

    share: Fraction
    resource: str


def _refusals(wanted: Wanted, state: NodeState) -> tuple[str, ...]:
    node = state.node
    reasons: list[str] = []
    if node.kind != wanted.kind:
        return (f"it is a {_NODE[node.kind]}, wanted is a {_NODE[wanted.kind]}",)
    if wanted.zone and node.zone != wanted.zone:
        reasons.append(f"it is in zone {node.zone}, wanted is {wanted.zone}")
    if wanted.zones and node.zone not in wanted.zones:
        reasons.append(f"it is in zone {node.zone}, the plan is sold in {', '.join(wanted.zones)}")
    reasons.extend(closed(state))
    reasons.extend(
        shortages(state, vcpus=wanted.vcpus, memory_bytes=wanted.memory_bytes, disk_bytes=wanted.disk_bytes),
    )
    return tuple(reasons)


def _left(wanted: Wanted, state: NodeState) -> _Left:
    limit = capacity(state)
    if limit is None:  # a node of unknown capacity was refused before
        return _Left(Fraction(0), "unknown")
    rows = (
        ("disk", limit.disk_bytes, state.promised_disk_bytes + wanted.disk_bytes),
        ("memory", limit.memory_bytes, state.promised_memory_bytes + wanted.memory_bytes),
        ("vCPU", limit.vcpus, state.promised_vcpus + wanted.vcpus),
    )
    return min(_Left(Fraction(total - taken, total) if total else Fraction(0), name) for name, total, taken in rows)


def _standing(name: str, chosen: str, left: Mapping[str, _Left]) -> str:
    own = f"{_per_cent(left[name])} of its {left[name].resource} would stay free"
    if name == chosen:
        return f"chosen: {own}, its tightest resource"
    if left[name].share == left[chosen].share:
        return f"fits, but {chosen} has as much left and comes first by name: {own}"
    return f"fits, but {chosen} has more left: {own}, there {_per_cent(left[chosen])} of the {left[chosen].resource}"


def _no_capacity(wanted: Wanted, refusals: Mapping[str, tuple[str, ...]]) -> NoCapacity:
    vcpus = f"{wanted.vcpus} vCPU, " if wanted.vcpus else ""
    what = f"{vcpus}{size_words(wanted.memory_bytes)} memory, {size_words(wanted.disk_bytes)} disk"
    why = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in refusals.items()) or "no node is declared"
    return NoCapacity(
        f"no node can take {_TAKES[wanted.kind]} of {what}: {why}",
        hint="free or add capacity, enrol a node, or end a maintenance or a drain; then retry the job",
        verdicts=[{"node": name, "fits": False, "reasons": list(reasons)} for name, reasons in refusals.items()],
    )


def _times(amount: int, ratio: float) -> int:
    return math.floor(amount * Fraction(str(ratio)))


def _per_cent(left: _Left) -> str:
    return f"{math.floor(left.share * 100)} %"
