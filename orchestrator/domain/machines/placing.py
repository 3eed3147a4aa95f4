"""Which machine takes a service, and why each other does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import NoCapacity
from orchestrator.domain.machines.differences import differing
from orchestrator.domain.machines.states import MachineState, Standing
from orchestrator.domain.placement import Placement, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineWanted:
    """``zone`` is the service's wish ('' = any); ``zones`` where its plan is sold (empty = everywhere)."""

    machine_class: str
    zone: str = ""
    zones: tuple[str, ...] = ()


def choose(wanted: MachineWanted, machines: Sequence[Standing]) -> Placement:
    """The first by name of those that can take it: of one class they are alike. The answer does not depend on their order.

    Raises NoCapacity, with the verdicts of all machines in its details, where none can.
    """
    refusals = {
        each.machine.name: tuple(_refusals(wanted, each)) for each in sorted(machines, key=lambda each: each.machine.name)
    }
    chosen = next((name for name, reasons in refusals.items() if not reasons), "")
    if not chosen:
        raise _none(wanted, refusals)
    said = {chosen: ("chosen: the first by name of those that can take it",)}
    verdicts = tuple(
        Verdict(node=name, fits=not reasons, reasons=reasons or said.get(name, (f"fits, but {chosen} comes first by name",)))
        for name, reasons in refusals.items()
    )
    return Placement(node=chosen, verdicts=verdicts)


def _refusals(wanted: MachineWanted, standing: Standing) -> Iterator[str]:
    machine, record = standing.machine, standing.record
    if machine.machine_class != wanted.machine_class:
        yield f"it is of class {machine.machine_class}, wanted is {wanted.machine_class}"
        return
    if wanted.zone and machine.zone != wanted.zone:
        yield f"it is in zone {machine.zone}, wanted is {wanted.zone}"
    if wanted.zones and machine.zone not in wanted.zones:
        yield f"it is in zone {machine.zone}, the plan is sold in {', '.join(wanted.zones)}"
    if machine.maintenance:
        yield "it is in maintenance (machines.yaml)"
    if record.state != MachineState.AVAILABLE:
        yield _not_free(standing)
    elif not record.up:
        seen = f"last heard {record.seen_at:%Y-%m-%d %H:%M} UTC" if record.seen_at else "never heard"
        yield f"its BMC does not answer ({seen})"
    elif grave := _grave(standing):
        yield grave


def _grave(standing: Standing) -> str:
    """Why nothing can be done on it safely, by what is known of it; '' = nothing is."""
    return next((each.says for each in differing(standing) if each.grave), "")


def _not_free(standing: Standing) -> str:
    record = standing.record
    if record.state == MachineState.DECLARED:
        return (_grave(standing) or "it is not inspected yet") if record.enrolled else "it is not enrolled"
    if record.state == MachineState.ALLOCATED:
        return f"it has service {record.service_id}"
    return f"it is {_SAID[record.state]}{f': {record.reason}' if record.reason else ''}"


_SAID = {
    MachineState.TESTING: "being tested",
    MachineState.CLEANING: "being cleaned",
    MachineState.BROKEN: "broken",
    MachineState.MAINTENANCE: "in maintenance",
}


def _none(wanted: MachineWanted, refusals: dict[str, tuple[str, ...]]) -> NoCapacity:
    why = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in refusals.items()) or "no machine is declared"
    return NoCapacity(
        f"no machine of class {wanted.machine_class} is free: {why}",
        hint="enrol a machine, or end a maintenance; then retry the job",
        verdicts=[{"node": name, "fits": False, "reasons": list(reasons)} for name, reasons in refusals.items()],
    )
